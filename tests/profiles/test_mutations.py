"""The checker is not blind: whatever is done to a good response is reported, by the rules by hand alone and with the
published profiles.
"""

from __future__ import annotations

import copy

import pytest
from lxml import etree

from profiles import definitions, responses
from profiles.elements import FHIR
from profiles.response_table import RESPONSE_CODES
from profiles.test_every_code import a_response

IN_FHIR = f"{{{FHIR}}}"


@pytest.fixture(params=["by hand", "published"])
def judges(request, monkeypatch):
    """Each mutation twice: without the published profiles, and with them where they are."""
    if request.param == "by hand":
        monkeypatch.delenv("ITK3_EXAMPLES", raising=False)
    elif definitions.folder() is None:
        pytest.skip("the published profiles are not here: set ITK3_EXAMPLES to the folder of the public samples")


def good(code: str = "30002") -> etree._Element:
    from mesh_itk3.itk3.response_codes import response_code_of

    return etree.fromstring(a_response(code=response_code_of(code), diagnostics="not_found: Composition.subject"))


def written(root: etree._Element) -> bytes:
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + etree.tostring(root)


def findings(root: etree._Element) -> list[str]:
    return [str(found) for found in responses.findings(written(root))]


def path_of(element: etree._Element) -> str:
    """Unique in a response: names from the root, extensions with their url."""
    names = [part.get("url", etree.QName(part).localname).rpartition("/")[2] for part in (element, *element.iterancestors())]
    return ".".join(reversed(names))


def numbered(paths: list[str]) -> dict[str, int]:
    """Each path with its place in document order; the second of one path is called `…#2`."""
    found: dict[str, int] = {}
    for number, path in enumerate(paths):
        before = sum(path == each.partition("#")[0] for each in found)
        found[f"{path}#{before + 1}" if before else path] = number
    return found


ELEMENTS = numbered([path_of(each) for each in good().iter()])


def element(root: etree._Element, path: str) -> etree._Element:
    return list(root.iter())[ELEMENTS[path]]


def test_a_good_response_has_no_findings(judges):
    assert findings(good()) == []


# ------------------------------------------------------------------------- every element of a response, in turn

MAY_BE_LEFT_OUT = {"Bundle.id", "Bundle.identifier.system"}
# The parent's other children stand on their own.
AT_ROOT = "Bundle"


@pytest.mark.parametrize("path", [path for path in ELEMENTS if path not in {AT_ROOT, *MAY_BE_LEFT_OUT}])
def test_each_element_left_out_is_reported(judges, path):
    root = good()
    found = element(root, path)
    found.getparent().remove(found)
    assert findings(root)


@pytest.mark.parametrize("path", sorted(MAY_BE_LEFT_OUT))
def test_what_may_be_left_out_is_not_reported(judges, path):
    root = good()
    found = element(root, path)
    found.getparent().remove(found)
    assert findings(root) == []


@pytest.mark.parametrize("path", [path for path in ELEMENTS if path != AT_ROOT])
def test_each_element_twice_is_reported(judges, path):
    root = good()
    found = element(root, path)
    found.addnext(copy.deepcopy(found))
    assert findings(root)


def has_a_follower(path: str) -> bool:
    following = element(good(), path).getnext()
    # Entries after the first, and keys among themselves, may stand in any order.
    return following is not None and following.tag != element(good(), path).tag


@pytest.mark.parametrize("path", [path for path in ELEMENTS if has_a_follower(path)])
def test_each_element_after_its_follower_is_reported(judges, path):
    root = good()
    found = element(root, path)
    found.getnext().addnext(found)
    assert any(line.startswith("order: ") for line in findings(root))


@pytest.mark.parametrize("path", ELEMENTS)
def test_each_element_under_another_name_is_reported(judges, path):
    root = good()
    element(root, path).tag = f"{IN_FHIR}somethingElse"
    assert findings(root)


@pytest.mark.parametrize("path", ELEMENTS)
def test_each_element_in_another_namespace_is_reported(judges, path):
    root = good()
    found = element(root, path)
    found.tag = f"{{urn:elsewhere}}{etree.QName(found).localname}"
    assert findings(root)


@pytest.mark.parametrize("path", ELEMENTS)
def test_a_child_that_no_profile_knows_is_reported_in_each_element(judges, path):
    root = good()
    etree.SubElement(element(root, path), f"{IN_FHIR}somethingElse", value="x")
    assert any(line.startswith(("unknown_element: ", "unknown_resource: ", "not_one_resource: ")) for line in findings(root))


@pytest.mark.parametrize("path", ELEMENTS)
def test_an_attribute_that_no_profile_knows_is_reported_on_each_element(judges, path):
    root = good()
    element(root, path).set("somethingElse", "x")
    assert any(line.startswith("unknown_attribute: ") for line in findings(root))


@pytest.mark.parametrize("path", ELEMENTS)
def test_text_between_elements_is_reported_in_each_element(judges, path):
    root = good()
    element(root, path).text = "Edith"
    assert any(line.startswith("text: ") for line in findings(root))


WITH_A_VALUE = [path for path in ELEMENTS if "value" in element(good(), path).attrib]
FREE = {
    "Bundle.id",
    "Bundle.identifier.system",
    "Bundle.identifier.value",
    "Bundle.entry.resource.MessageHeader.Extension-ITK-MessageHandling-2.SenderReference.valueString",
    "Bundle.entry.resource.MessageHeader.Extension-ITK-MessageHandling-2.LocalExtension.valueString",
    "Bundle.entry.resource.MessageHeader.response.identifier",
    "Bundle.entry.resource.Organization.identifier.value",
    "Bundle.entry.resource.OperationOutcome.issue.diagnostics",
}
"""Where a response says something of its own; everything else is fixed by the standard or by the rest of the response."""


@pytest.mark.parametrize("path", [path for path in WITH_A_VALUE if path not in FREE])
def test_each_value_replaced_is_reported(judges, path):
    root = good()
    element(root, path).set("value", "x")
    assert findings(root)


@pytest.mark.parametrize("path", sorted(FREE))
def test_values_of_ones_own_are_not_reported(judges, path):
    root = good()
    element(root, path).set("value", "x")
    assert findings(root) == []


@pytest.mark.parametrize("value", ["", "   "])
@pytest.mark.parametrize("path", WITH_A_VALUE)
def test_each_value_emptied_is_reported(judges, path, value):
    root = good()
    element(root, path).set("value", value)
    assert findings(root)


# ------------------------------------------------------------------------------------------ what each must be called

CODING = "Bundle.entry.resource.OperationOutcome.issue.details.coding"
HEADER = "Bundle.entry.resource.MessageHeader"
OUTCOME = "Bundle.entry.resource.OperationOutcome"
KEYS = f"{HEADER}.Extension-ITK-MessageHandling-2"
ID = "urn:uuid:0a0a0a0a-0000-4000-8000-00000000000"
"""All but the last digit: 3 is the header, 4 the organisation, 5 the outcome."""
CITED = f"{KEYS}.MessageDefinition.valueReference"
DEFINITIONS = "https://fhir.nhs.uk/STU3/MessageDefinition/"
VALUES = {
    "display in other words": (f"{CODING}.display", "Patient not known here", "not_of_this_code"),
    "display in another case": (f"{CODING}.display", "SUCCESS", "not_of_this_code"),
    "system of responses": (f"{CODING}.system", "https://fhir.nhs.uk/STU3/CodeSystem/ITK-ResponseCodes-2", "fixed_value"),
    "system of the event": (f"{HEADER}.event.system", "https://fhir.nhs.uk/STU3/CodeSystem/ITK-MessageEvent-1", "fixed_value"),
    "a code that does not exist": (f"{CODING}.code", "10006", "unknown_code"),
    "a code of the older standard": (f"{CODING}.code", "41001", "binding"),
    "another code than its display": (f"{CODING}.code", "30003", "not_of_this_code"),
    "severity of no value set": (f"{OUTCOME}.issue.severity", "bad", "binding"),
    "severity of another code": (f"{OUTCOME}.issue.severity", "error", "not_of_this_code"),
    "issue code of another code": (f"{OUTCOME}.issue.code", "duplicate", "not_of_this_code"),
    "response code of another code": (f"{HEADER}.response.code", "ok", "not_of_this_code"),
    "response code that is used nowhere": (f"{HEADER}.response.code", "transient-error", "not_of_this_code"),
    "identifier with its urn": (f"{HEADER}.response.identifier", "urn:uuid:0b0e2b0e-6d6e-4a55-8f0e-0a1b2c3d4e01", "not_a_id"),
    "identifier too long": (f"{HEADER}.response.identifier", "a" * 65, "not_a_id"),
    "time without a zone": (f"{HEADER}.timestamp", "2026-03-02T09:00:00", "not_a_instant"),
    "time of a day only": (f"{HEADER}.timestamp", "2026-03-02", "not_a_instant"),
    "day that does not exist": (f"{HEADER}.timestamp", "2026-02-30T09:00:00Z", "no_such_time"),
    "sender that is not here": (f"{HEADER}.sender.reference", f"{ID}9", "unresolved_reference"),
    "sender without its urn": (f"{HEADER}.sender.reference", "0a0a0a0a-0000-4000-8000-000000000004", "unresolved_reference"),
    "sender that is an outcome": (f"{HEADER}.sender.reference", f"{ID}5", "reference_to_another_kind"),
    "details that are not here": (f"{HEADER}.response.details.reference", f"{ID}9", "unresolved_reference"),
    "details that are an organisation": (f"{HEADER}.response.details.reference", f"{ID}4", "reference_to_another_kind"),
    "endpoint that is an ODS address": (f"{HEADER}.source.endpoint", "urn:nhs-uk:addressing:ods:A81001", "not_a_mailbox_id"),
    "a business answer asked for": (f"{KEYS}.BusAckRequested.valueBoolean", "true", "value: BusAckRequested"),
    "a flag that is no boolean": (f"{KEYS}.InfAckRequested.valueBoolean", "True", "not_a_boolean"),
    "recipient type of no value set": (f"{KEYS}.RecipientType.valueCoding.code", "XX", "binding"),
    "recipient type of another display": (f"{KEYS}.RecipientType.valueCoding.display", "For Action", "display: RecipientType"),
    "the payload's definition": (f"{CITED}.reference", f"{DEFINITIONS}ITK-OPL-MessageDefinition-4", "value: MessageDefinition"),
    "sender reference too long": (f"{KEYS}.SenderReference.valueString", "x" * 256, "too_long"),
    "bundle that is a document": ("Bundle.type", "document", "fixed_value"),
    "full url that is not the id": ("Bundle.entry.fullUrl", f"{ID}9", "not_the_id"),
    "full url in capitals": ("Bundle.entry.fullUrl", "urn:uuid:0A0A0A0A-0000-4000-8000-000000000003", "not_a_uuid"),
    "another profile": ("Bundle.meta.profile", "https://fhir.nhs.uk/STU3/StructureDefinition/ITK-Message-Bundle-2", "profile"),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_a_wrong_value_is_called_what_it_is(judges, name):
    path, value, rule = VALUES[name]
    root = good()
    element(root, path).set("value", value)
    assert [line for line in findings(root) if rule in line], findings(root)


def header(root: etree._Element) -> etree._Element:
    return root.find(f"{IN_FHIR}entry/{IN_FHIR}resource/{IN_FHIR}MessageHeader")


def inserted(root, path: str, before: str | None, xml: str) -> None:
    """Into the element at this path, before its child of this name; at its end without one."""
    parent = element(root, path)
    new = etree.fromstring(f'<x xmlns="{FHIR}">{xml}</x>')[0]
    at = next((child for child in parent if etree.QName(child).localname == before), None)
    parent.append(new) if at is None else at.addprevious(new)


NOT_ALLOWED = {
    "destination": (HEADER, "sender", '<destination><endpoint value="X"/></destination>'),
    "enterer": (HEADER, "source", '<enterer><reference value="x"/></enterer>'),
    "author": (HEADER, "source", '<author><reference value="x"/></author>'),
    "source.name": (f"{HEADER}.source", "endpoint", '<name value="x"/>'),
    "source.software": (f"{HEADER}.source", "endpoint", '<software value="x"/>'),
    "responsible": (HEADER, "response", '<responsible><reference value="x"/></responsible>'),
    "reason": (HEADER, "response", '<reason><text value="x"/></reason>'),
    "event.version": (f"{HEADER}.event", "code", '<version value="2"/>'),
    "event.userSelected": (f"{HEADER}.event", None, '<userSelected value="true"/>'),
    "total": ("Bundle", "entry", '<total value="3"/>'),
    "entry.search": ("Bundle.entry", None, '<search><mode value="match"/></search>'),
    "entry.response": ("Bundle.entry", None, '<response><status value="200"/></response>'),
    "name": ("Bundle.entry.resource.Organization", None, '<name value="x"/>'),
    "telecom": ("Bundle.entry.resource.Organization", None, '<telecom><value value="x"/></telecom>'),
    "details.coding.version": (CODING, "code", '<version value="1"/>'),
}


@pytest.mark.parametrize("name", NOT_ALLOWED)
def test_what_a_profile_rules_out_is_reported_as_not_allowed(judges, name):
    path, before, xml = NOT_ALLOWED[name]
    root = good()
    inserted(root, path, before, xml)
    assert [line for line in findings(root) if line.startswith("not_allowed: ") and line.endswith(f".{name}")], findings(root)


@pytest.mark.parametrize("key", ["BusAckRequested", "RecipientType", "LocalExtension"])
def test_a_key_with_a_value_and_extensions_is_reported(judges, key):
    root = good()
    element(root, f"{KEYS}.{key}").insert(
        0, etree.fromstring(f'<extension xmlns="{FHIR}" url="x"><valueString value="x"/></extension>')
    )
    assert [line for line in findings(root) if line.startswith("value_and_extensions: ")]


def test_a_local_extension_of_extensions_is_reported_for_its_missing_value(judges):
    root = good()
    key = element(root, f"{KEYS}.LocalExtension")
    key.remove(key[0])
    key.append(etree.fromstring(f'<extension xmlns="{FHIR}" url="x"><valueString value="x"/></extension>'))
    assert [line for line in findings(root) if line.startswith("missing: ") and line.endswith(".value[x]")]


def test_a_payload_in_a_response_is_reported(judges):
    root = good()
    header(root).append(etree.fromstring(f'<focus xmlns="{FHIR}"><reference value="urn:uuid:x"/></focus>'))
    patient = f"<entry><fullUrl value='{ID}7'/><resource><Patient/></resource></entry>"
    inserted(root, "Bundle", None, patient)
    found = findings(root)
    assert "not_in_a_response: MessageHeader.focus" in found
    assert "not_in_a_response: Bundle.entry.resource.Patient" in found
    assert "unresolved_reference: Bundle.entry.resource.MessageHeader.focus" in found


@pytest.mark.parametrize("kind", ["MessageHeader", "OperationOutcome"])
def test_a_second_header_or_outcome_is_reported(judges, kind):
    root = good()
    entry = next(
        each for each in root.iterfind(f"{IN_FHIR}entry") if each.find(f"{IN_FHIR}resource/{IN_FHIR}{kind}") is not None
    )
    root.append(copy.deepcopy(entry))
    assert {f"not_exactly_one: Bundle.entry.resource.{kind}", "not_unique: Bundle.entry.fullUrl"} <= {*findings(root)}


def test_a_header_that_is_not_the_first_entry_is_reported(judges):
    root = good()
    root.append(root.find(f"{IN_FHIR}entry"))
    assert findings(root) == ["header_is_not_first: Bundle.entry"]


def test_an_infrastructure_response_that_asks_for_an_answer_is_reported(judges):
    root = good("20013")
    element(root, f"{KEYS}.InfAckRequested.valueBoolean").set("value", "true")
    assert findings(root) == ["value: InfAckRequested"]
    business = good("30001")
    element(business, f"{KEYS}.InfAckRequested.valueBoolean").set("value", "true")
    assert findings(business) == []


@pytest.mark.parametrize("code", RESPONSE_CODES)
def test_a_code_with_the_elements_of_another_is_reported(judges, code):
    """Its own display, but everything else of the code that differs from it most."""
    row = RESPONSE_CODES[code]
    root = good("20013" if row.is_negative else "30002")
    element(root, f"{CODING}.code").set("value", code)
    element(root, f"{CODING}.display").set("value", row.display)
    assert {"not_of_this_code: MessageHeader.response.code"} <= {
        line.replace("Bundle.entry.resource.", "") for line in findings(root)
    }


WIRE = {
    "a byte order mark": lambda raw: b"\xef\xbb\xbf" + raw,
    "no declaration": lambda raw: raw.partition(b"\n")[2],
    "another encoding": lambda raw: raw.replace(b"UTF-8", b"ISO-8859-1"),
    "a document type": lambda raw: raw.replace(b"\n<Bundle", b"\n<!DOCTYPE Bundle []><Bundle", 1),
    "a comment": lambda raw: raw.replace(b"<type ", b"<!-- x --><type ", 1),
    "a processing instruction": lambda raw: raw.replace(b"<type ", b"<?x y?><type ", 1),
    "half of it": lambda raw: raw[: len(raw) // 2],
    "nothing": lambda _: b"",
    "JSON": lambda _: b'{"resourceType":"Bundle"}',
}


@pytest.mark.parametrize("name", WIRE)
def test_what_is_not_plain_xml_in_utf_8_is_reported(judges, name):
    assert responses.findings(WIRE[name](a_response()))
