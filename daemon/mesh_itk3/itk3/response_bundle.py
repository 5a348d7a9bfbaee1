"""Writes ITK008M, the response message. PURE; what is written is drawn once and kept, so resends are identical.

Sources: ITK3 Distribution 2.10.0 (profiles ITK-Message-Bundle-1, ITK-MessageHeader-2, ITK-Response-OperationOutcome-1),
GP Connect Messaging 1.6.0 (GPCM-SD-CS-054 to -059, GPCM-SD-042) and the harness checks GP-GFR-18 and -19.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from lxml import etree

from mesh_itk3.itk3 import handling_specification, message_definitions, xml
from mesh_itk3.itk3.message_header import EVENT_SYSTEM, FHIR_ID, RESPONSE_EVENT
from mesh_itk3.itk3.resource import ODS_SYSTEMS, written_id
from mesh_itk3.itk3.response_codes import ELEMENTS, RESPONSE_CODES_SYSTEM, ResponseCode

UNREADABLE: Final = "UNREADABLE-IN-ORIGINAL-MESSAGE"
"""Fixed by the page explore_response_examples, under 10009."""
NO_SENDER_REFERENCE: Final = "None"

_PROFILE: Final = "https://fhir.nhs.uk/STU3/StructureDefinition/"
_RFC4122: Final = "https://tools.ietf.org/html/rfc4122"
_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
_MAX_DIAGNOSTICS: Final = 1000
_DEFAULT_NAMESPACE: Final[Any] = {None: xml.FHIR}
# What XML 1.0 cannot hold even as a character reference.
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PLAIN = re.compile("[ !#-%'-;=?-~]*")
_TO_ESCAPE = re.compile('[&<>"\t\n\r]')
_ESCAPED: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
_NOT_ON_ONE_LINE = re.compile(f"{_NOT_XML.pattern}|[\t\n\r]")


@dataclass(frozen=True, slots=True)
class ResponseIds:
    """Five UUIDs of a new response, drawn by the caller when it is written and never again."""

    bundle_id: str
    bundle_identifier: str
    message_header_id: str
    organization_id: str
    outcome_id: str


def write_response(
    *,
    code: ResponseCode,
    issue_code: str | None,
    diagnostics: str | None,
    ids: ResponseIds,
    now: datetime,
    mailbox_id: str,
    ods_code: str,
    answers: str | None,
    sender_reference: str | None,
    asks_infrastructure_response: bool = False,
) -> bytes:
    """The bytes of a response: XML, UTF-8, no byte order mark.

    `answers` is the MessageHeader.id of the original; None, or one that is no FHIR id, becomes the fixed string for
    unreadable ones. `sender_reference` is echoed exactly, `None` where there was none to echo. `diagnostics` goes out on
    negatives only and must hold no value from the message (FHIR-BA-02). `now` is aware.
    """
    elements = ELEMENTS[code]
    values = {
        "bundle_id": ids.bundle_id,
        "bundle_identifier": ids.bundle_identifier,
        "message_header_id": ids.message_header_id,
        "organization_id": ids.organization_id,
        "outcome_id": ids.outcome_id,
        "inf_ack": "true" if asks_infrastructure_response else "false",
        "sender_reference": _echo(sender_reference),
        "timestamp": now.astimezone(UTC).isoformat(timespec="seconds"),
        "mailbox_id": mailbox_id,
        "ods_code": ods_code,
        "answers": _answered(answers),
        "response_code": elements.response_code,
        "severity": elements.severity,
        "issue_code": issue_code if issue_code in elements.issue_codes else elements.issue_code,
        "code": code.value,
        "display": elements.display,
        # GPCM-SD-042: every negative says why
        "diagnostics": "" if elements.is_positive else _legal(diagnostics) or elements.display,
    }
    return (_skeleton(is_positive=elements.is_positive) % {name: _escaped(value) for name, value in values.items()}).encode()


def _escaped(value: str) -> str:
    """As it stands between double quotes, and as a parser gives it back: it makes blanks of bare tabs and line ends."""
    if _PLAIN.fullmatch(value):
        return value
    if _NOT_XML.search(value):
        raise ValueError("a value of this response holds what XML cannot")
    return _TO_ESCAPE.sub(lambda found: _ESCAPED[found.group()], value)


@lru_cache(maxsize=2)
def _skeleton(*, is_positive: bool) -> str:
    """A whole response with a `%(name)s` for each value that differs: building the tree for every response costs as much
    as reading a message.
    """
    bundle = etree.Element(xml.IN_FHIR + "Bundle", nsmap=_DEFAULT_NAMESPACE)
    _add(bundle, "id", "%(bundle_id)s")
    _add_profile(bundle, "ITK-Message-Bundle-1")
    identifier = _add(bundle, "identifier")
    _add(identifier, "system", _RFC4122)
    _add(identifier, "value", "%(bundle_identifier)s")
    _add(bundle, "type", "message")
    header = _add_resource(bundle, "MessageHeader", "%(message_header_id)s", "ITK-MessageHeader-2")
    _add_handling(header)
    _add_header(header)
    organisation = _add_resource(bundle, "Organization", "%(organization_id)s", "CareConnect-ITK-Header-Organization-1")
    own = _add(organisation, "identifier")
    _add(own, "system", ODS_SYSTEMS[0])
    _add(own, "value", "%(ods_code)s")
    _add_outcome(bundle, is_positive=is_positive)
    return _DECLARATION + etree.tostring(bundle, encoding="unicode")


def _add(parent: etree._Element, name: str, value: str | None = None) -> etree._Element:
    element = etree.SubElement(parent, xml.IN_FHIR + name)
    if value is not None:
        element.set("value", value)
    return element


def _add_profile(resource: etree._Element, name: str) -> None:
    _add(_add(resource, "meta"), "profile", _PROFILE + name)


def _add_resource(bundle: etree._Element, kind: str, identifier: str, profile: str) -> etree._Element:
    entry = _add(bundle, "entry")
    _add(entry, "fullUrl", f"urn:uuid:{identifier}")
    resource = _add(_add(entry, "resource"), kind)
    _add(resource, "id", identifier)
    _add_profile(resource, profile)
    return resource


def _add_key(handling: etree._Element, key: str, kind: str, value: str | None = None) -> etree._Element:
    part = etree.SubElement(handling, xml.IN_FHIR + "extension", url=key)
    return _add(part, kind, value)


def _add_handling(header: etree._Element) -> None:
    handling = etree.SubElement(header, xml.IN_FHIR + "extension", url=handling_specification.EXTENSION_URL)
    # GP Connect wants both false; nothing but full acknowledgement asks for an answer to an answer.
    _add_key(handling, "BusAckRequested", "valueBoolean", "false")
    _add_key(handling, "InfAckRequested", "valueBoolean", "%(inf_ack)s")
    recipient = _add_key(handling, "RecipientType", "valueCoding")
    _add(recipient, "system", handling_specification.RECIPIENT_TYPE_SYSTEM)
    _add(recipient, "code", "FI")
    _add(recipient, "display", handling_specification.RECIPIENT_TYPES["FI"])
    _add(_add_key(handling, "MessageDefinition", "valueReference"), "reference", message_definitions.RESPONSE)
    _add_key(handling, "SenderReference", "valueString", "%(sender_reference)s")
    _add_key(handling, "LocalExtension", "valueString", "None")


def _add_header(header: etree._Element) -> None:
    # STU3 order: event, receiver, sender, timestamp, source, response, focus.
    event = _add(header, "event")
    _add(event, "system", EVENT_SYSTEM)
    _add(event, "code", RESPONSE_EVENT)
    _add(event, "display", "ITK Response")
    _add(_add(header, "sender"), "reference", "urn:uuid:%(organization_id)s")
    _add(header, "timestamp", "%(timestamp)s")
    _add(_add(header, "source"), "endpoint", "%(mailbox_id)s")
    response = _add(header, "response")
    _add(response, "identifier", "%(answers)s")
    _add(response, "code", "%(response_code)s")
    _add(_add(response, "details"), "reference", "urn:uuid:%(outcome_id)s")


def _add_outcome(bundle: etree._Element, *, is_positive: bool) -> None:
    outcome = _add_resource(bundle, "OperationOutcome", "%(outcome_id)s", "ITK-Response-OperationOutcome-1")
    issue = _add(outcome, "issue")
    _add(issue, "severity", "%(severity)s")
    _add(issue, "code", "%(issue_code)s")
    coding = _add(_add(issue, "details"), "coding")
    _add(coding, "system", RESPONSE_CODES_SYSTEM)
    _add(coding, "code", "%(code)s")
    _add(coding, "display", "%(display)s")
    if not is_positive:
        _add(issue, "diagnostics", "%(diagnostics)s")


def _answered(answers: str | None) -> str:
    """The original id as it was written, for many compare it letter by letter; without `urn:uuid:`, which no id may hold."""
    if answers is None:
        return UNREADABLE
    written = written_id(answers)
    return written if FHIR_ID.fullmatch(written) else UNREADABLE


def _echo(sender_reference: str | None) -> str:
    """Exactly what was received, or `None` where that cannot stand in a response (absent, empty, too long, no XML text).
    Tabs and line ends go out as character references, for a parser makes blanks of bare ones.
    """
    text = sender_reference or ""
    is_usable = text.strip() and len(text) <= handling_specification.MAX_SENDER_REFERENCE and not _NOT_XML.search(text)
    return text if is_usable else NO_SENDER_REFERENCE


def _legal(diagnostics: str | None) -> str:
    return _NOT_ON_ONE_LINE.sub(" ", diagnostics or "").strip()[:_MAX_DIAGNOSTICS]
