"""Is this a response as ITK3 has it? Says everything that is wrong with it, or nothing.

Judges, in this order: the published StructureDefinitions (where their folder is) and the same profiles by hand; here what
no profile says: one bundle's ids and references, the values that go together for each code; then GP Connect, and the wire.
"""

from __future__ import annotations

import re
from datetime import datetime

from lxml import etree

from profiles import by_hand, definitions
from profiles.elements import FHIR, Finding, Pointer, Rules, Walk, local_name
from profiles.response_table import RECIPIENT_TYPES, RESPONSE_CODES, Row

PROFILE = "https://fhir.nhs.uk/STU3/StructureDefinition/"
RESPONSE_DEFINITION = "https://fhir.nhs.uk/STU3/MessageDefinition/ITK-Response-MessageDefinition-1"
CLAIMED = {
    "Bundle": "ITK-Message-Bundle-1",
    "MessageHeader": "ITK-MessageHeader-2",
    "Organization": "CareConnect-ITK-Header-Organization-1",
    "Practitioner": "CareConnect-ITK-Header-Practitioner-1",
    "OperationOutcome": "ITK-Response-OperationOutcome-1",
}
"""What each resource says that it follows (GP-GFR-18 for the outcome; meta.profile is how ITK3 carries versions)."""
KIND_OF = {profile: kind for kind, profile in CLAIMED.items()}

_NS = {"f": FHIR}
_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_DECLARATION = re.compile(rb"<\?xml version=[\"']1\.0[\"'] encoding=[\"'](?i:utf-8)[\"']\s*\?>")
# MESH mailbox ids: letters and digits, in the examples of the MESH API and of GP Connect 7 to 12 of them.
_MAILBOX_ID = re.compile("[A-Z0-9]{5,20}")
_HEADER = "/f:Bundle/f:entry/f:resource/f:MessageHeader"
_ISSUE = "/f:Bundle/f:entry/f:resource/f:OperationOutcome/f:issue"
_KEYS = f"{_HEADER}/f:extension[@url='{by_hand.HANDLING}']/f:extension"


def is_response(raw: bytes) -> bool:
    """Whether this says of itself that it is an ITK response, however broken."""
    return b"ITK008M" in raw and b"MessageHeader" in raw


def findings(raw: bytes) -> list[Finding]:
    """Everything that is wrong, by every judge that is here."""
    root, found = _tree(raw)
    if root is None:
        return found
    return sorted(set(found + by_itk3(root) + by_gp_connect(root) + wire(raw, root)))


def by_itk3(root: etree._Element) -> list[Finding]:
    """What any ITK3 response has to keep, whatever it answers."""
    found = by_profile(root, by_hand.RULES) + in_the_bundle(root) + values(root)
    directory = definitions.folder()
    if directory is not None:
        found += by_profile(root, definitions.published(directory))
    return sorted(set(found))


def _tree(raw: bytes) -> tuple[etree._Element | None, list[Finding]]:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        return etree.fromstring(raw, parser), []
    except (etree.XMLSyntaxError, ValueError):
        return None, [Finding("", "not_xml")]


def wire(raw: bytes, root: etree._Element) -> list[Finding]:
    """XML in UTF-8 without a byte order mark, document type, comment or processing instruction."""
    found = [] if _DECLARATION.match(raw) else [Finding("", "xml_declaration")]
    if root.getroottree().docinfo.doctype:
        found.append(Finding("", "document_type"))
    if any(not isinstance(node.tag, str) for node in root.iter()):
        found.append(Finding("", "not_an_element"))
    return found


def by_profile(root: etree._Element, rules: Rules) -> list[Finding]:
    """Cardinality, order, fixed values, bindings, primitives, and references that lead to the right kind of resource."""
    walk = Walk(rules)
    walk.resource(root)
    return walk.findings + [found for pointer in walk.pointers for found in _unresolved(root, pointer)]


def _unresolved(root: etree._Element, pointer: Pointer) -> list[Finding]:
    for entry in root.iterfind(f"{{{FHIR}}}entry"):
        if _one(entry, "f:fullUrl/@value") == pointer.reference:
            kinds = {KIND_OF.get(target, target) for target in pointer.targets}
            resource = entry.find(f"{{{FHIR}}}resource/*")
            is_right = "Resource" in kinds or (resource is not None and local_name(resource) in kinds)
            return [] if is_right else [Finding(pointer.path, "reference_to_another_kind")]
    return [Finding(pointer.path, "unresolved_reference")]


# ------------------------------------------------------------------------------------------- one bundle


def in_the_bundle(root: etree._Element) -> list[Finding]:
    """FHIR 3.0.2, pages bundle (bdl-7; fullUrl and id) and messaging (the header is the first entry), and profiles claimed."""
    kinds = [local_name(resource) for resource in root.iterfind(f"{{{FHIR}}}entry/{{{FHIR}}}resource/*")]
    found = [] if kinds[:1] == ["MessageHeader"] else [Finding("Bundle.entry", "header_is_not_first")]
    found += [Finding(f"Bundle.entry.resource.{kind}", "not_exactly_one") for kind in _not_once(kinds)]
    found += [Finding(f"Bundle.entry.resource.{kind}", "not_in_a_response") for kind in kinds if kind not in CLAIMED]
    urls = [entry.get("value", "") for entry in root.iterfind(f"{{{FHIR}}}entry/{{{FHIR}}}fullUrl")]
    if len(set(urls)) != len(urls):
        found.append(Finding("Bundle.entry.fullUrl", "not_unique"))
    for entry in root.iterfind(f"{{{FHIR}}}entry"):
        found += _identity(entry)
    for resource in [root, *root.iterfind(f"{{{FHIR}}}entry/{{{FHIR}}}resource/*")]:
        found += _claim(resource)
    return found


def _not_once(kinds: list[str]) -> list[str]:
    """One header and one outcome: at most one code in a response."""
    return [kind for kind in ("MessageHeader", "OperationOutcome") if kinds.count(kind) != 1]


def _identity(entry: etree._Element) -> list[Finding]:
    url, identifier = _one(entry, "f:fullUrl/@value") or "", _one(entry, "f:resource/*/f:id/@value")
    if not re.fullmatch(f"urn:uuid:{_UUID}", url):
        return [Finding("Bundle.entry.fullUrl", "not_a_uuid")]
    return [] if url == f"urn:uuid:{identifier}" else [Finding("Bundle.entry.fullUrl", "not_the_id")]


def _claim(resource: etree._Element) -> list[Finding]:
    kind = local_name(resource)
    claimed = _all(resource, "f:meta/f:profile/@value")
    return [] if claimed == [PROFILE + CLAIMED.get(kind, "")] else [Finding(f"{kind}.meta.profile", "profile")]


# ------------------------------------------------------------------------------------------- values


def values(root: etree._Element) -> list[Finding]:
    """The values of a response, and that they belong together."""
    code = _one(root, f"{_ISSUE}/f:details/f:coding/f:code/@value")
    row = RESPONSE_CODES.get(code or "")
    found = _header(root) + _flags(root, code) + _keys(root)
    return found + (_outcome(root, row) if row else [Finding("OperationOutcome.issue.details.coding.code", "unknown_code")])


def _header(root: etree._Element) -> list[Finding]:
    expected = {
        "event.code": (f"{_HEADER}/f:event/f:code/@value", "ITK008M"),
        "event.display": (f"{_HEADER}/f:event/f:display/@value", "ITK Response"),
    }
    found = [Finding(f"MessageHeader.{name}", "value") for name, (path, is_) in expected.items() if _one(root, path) != is_]
    if not _MAILBOX_ID.fullmatch(_one(root, f"{_HEADER}/f:source/f:endpoint/@value") or ""):
        found.append(Finding("MessageHeader.source.endpoint", "not_a_mailbox_id"))
    if root.xpath(f"{_HEADER}/f:focus", namespaces=_NS):
        found.append(Finding("MessageHeader.focus", "not_in_a_response"))
    if not root.xpath(f"{_HEADER}/f:response", namespaces=_NS):
        found.append(Finding("MessageHeader.response", "missing"))
    try:
        datetime.fromisoformat(_one(root, f"{_HEADER}/f:timestamp/@value") or "")
    except ValueError:
        found.append(Finding("MessageHeader.timestamp", "no_such_time"))
    return found


def _flags(root: etree._Element, code: str | None) -> list[Finding]:
    """GPCM-SD-CS-054: BusAckRequested is false. InfAckRequested may be true on a business response only (page
    explore_response_patterns_1, full acknowledgement); an infrastructure response is never answered.
    """
    found = []
    if _key(root, "BusAckRequested", "f:valueBoolean/@value") != "false":
        found.append(Finding("BusAckRequested", "value"))
    allowed = ("false", "true") if (code or "").startswith("3") else ("false",)
    if _key(root, "InfAckRequested", "f:valueBoolean/@value") not in allowed:
        found.append(Finding("InfAckRequested", "value"))
    return found


def _keys(root: etree._Element) -> list[Finding]:
    """GP-GFR-18: the definition of responses, and a sender reference with something in it."""
    found = []
    recipient = _key(root, "RecipientType", "f:valueCoding/f:code/@value")
    if _key(root, "RecipientType", "f:valueCoding/f:display/@value") != RECIPIENT_TYPES.get(recipient or ""):
        found.append(Finding("RecipientType.display", "display"))
    if _key(root, "MessageDefinition", "f:valueReference/f:reference/@value") != RESPONSE_DEFINITION:
        found.append(Finding("MessageDefinition", "value"))
    if not re.search(r"\w", _key(root, "SenderReference", "f:valueString/@value") or ""):
        found.append(Finding("SenderReference", "no_word_character"))
    return found


def _outcome(root: etree._Element, row: Row) -> list[Finding]:
    """Display, severity, issue code and response.code are those of the code."""
    found = []
    if len(_all(root, f"{_ISSUE}/f:severity/@value")) != 1:
        found.append(Finding("OperationOutcome.issue", "not_exactly_one"))
    allowed = {
        f"{_HEADER}/f:response/f:code": (row.response_code,),
        f"{_ISSUE}/f:severity": (row.severity,),
        f"{_ISSUE}/f:code": row.issue_codes,
        f"{_ISSUE}/f:details/f:coding/f:display": (row.display,),
    }
    for path, texts in allowed.items():
        if _one(root, f"{path}/@value") not in texts:
            found.append(Finding(".".join(path.replace("f:", "").split("/")[4:]), "not_of_this_code"))
    return found


# ------------------------------------------------------------------------------------------- GP Connect


def by_gp_connect(root: etree._Element) -> list[Finding]:
    """GP Connect Messaging 1.6.0, which asks more of a response than ITK3 does; this daemon keeps it for every sender."""
    found = []
    # GPCM-SD-CS-057: the sender is an organisation. It is known by its ODS code.
    sender = _one(root, f"{_HEADER}/f:sender/f:reference/@value")
    inside = "f:resource/f:Organization/f:identifier[starts-with(f:system/@value, 'https://fhir.nhs.uk/Id/ods-')]/f:value"
    senders = [entry for entry in root.iterfind(f"{{{FHIR}}}entry") if _one(entry, "f:fullUrl/@value") == sender]
    if not any(_one(entry, f"{inside}/@value") for entry in senders):
        found.append(Finding("MessageHeader.sender", "no_organisation"))
    # GPCM-SD-042: a negative says why.
    row = RESPONSE_CODES.get(_one(root, f"{_ISSUE}/f:details/f:coding/f:code/@value") or "")
    if row and row.is_negative and not _one(root, f"{_ISSUE}/f:diagnostics/@value"):
        found.append(Finding("OperationOutcome.issue.diagnostics", "missing_on_a_negative"))
    return found


def _key(root: etree._Element, url: str, path: str) -> str | None:
    return _one(root, f"{_KEYS}[@url='{url}']/{path}")


def _all(element: etree._Element, path: str) -> list[str]:
    return [str(value) for value in element.xpath(path, namespaces=_NS)]


def _one(element: etree._Element, path: str) -> str | None:
    found = _all(element, path)
    return found[0] if found else None
