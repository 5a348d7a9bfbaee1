"""The MessageHeader of a message, as far as it can be read. PURE.

Source: ITK-MessageHeader-2 v2.1.0. Elements are read in any order: published examples do not keep STU3's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Protocol

from lxml import etree

from mesh_itk3.itk3 import xml
from mesh_itk3.itk3.handling_specification import HandlingSpecification, read_handling_specification
from mesh_itk3.itk3.resource import Resource, normalise_id, ods_codes, written_id

__all__ = ["FHIR_ID", "MessageHeader", "normalise_id", "written_id"]

FHIR_ID: Final = re.compile(r"[A-Za-z0-9.-]{1,64}")
"""What FHIR STU3 allows as an id. Use `fullmatch`."""
EVENT_SYSTEM: Final = "https://fhir.nhs.uk/STU3/CodeSystem/ITK-MessageEvent-2"
RESPONSE_EVENT: Final = "ITK008M"


@dataclass(frozen=True, slots=True)
class MessageHeader:
    """None: absent, or it could not be read."""

    message_header_id: str | None = None
    """As written; `normalise_id` gives the form to compare."""
    event_system: str | None = None
    event_code: str | None = None
    event_display: str | None = None
    timestamp: str | None = None
    """As written."""
    source_endpoint: str | None = None
    """The sending system's MESH mailbox id by the standard; official samples carry other things."""
    handling: HandlingSpecification = field(default_factory=HandlingSpecification)
    has_receiver: bool = False
    receiver_reference: str | None = None
    receiver: Resource | None = field(default=None, repr=False)
    receiver_ods_codes: tuple[str, ...] = ()
    has_sender: bool = False
    sender_party_reference: str | None = None
    """MessageHeader.sender.reference; not the handling key SenderReference."""
    sender: Resource | None = field(default=None, repr=False)
    sender_ods_codes: tuple[str, ...] = ()
    focus: str | None = None
    response_identifier: str | None = None
    """Of a response: the MessageHeader.id that it answers."""
    response_code: str | None = None
    """Of a response: `ok`, `transient-error` or `fatal-error`."""
    outcome_codes: tuple[str, ...] = ()
    """Of a response: the codes in its OperationOutcomes, the one that response.details names first; where none is coded,
    their texts."""
    where: str = "Bundle.entry[0].resource"
    """Path of the MessageHeader."""
    padded: tuple[str, ...] = ()
    """Paths of header values with white space around them, which FHIR does not allow."""

    @property
    def is_response(self) -> bool:
        """Whether this one is an ITK008M. Whether to answer is `Reading.is_response`: a message may hold several headers."""
        return self.event_code == RESPONSE_EVENT


class _Entries(Protocol):
    @property
    def entries(self) -> tuple[Resource, ...]: ...

    def resolve(self, reference: str | None) -> Resource | None: ...


_MEASURED: Final = ("id", "event/system", "event/code", "event/display", "timestamp", "source/endpoint")


def read_message_header(element: etree._Element, bundle: _Entries | None, where: str) -> MessageHeader:
    """Reads one MessageHeader; `bundle` resolves what it refers to, None where there is nothing to resolve in."""
    receiver_reference = xml.value(element, "receiver/reference")
    sender_reference = xml.value(element, "sender/reference")
    receiver = bundle.resolve(receiver_reference) if bundle else None
    sender = bundle.resolve(sender_reference) if bundle else None
    values, padded = _measured(element)
    return MessageHeader(
        message_header_id=values.get("id"),
        event_system=values.get("event/system"),
        event_code=values.get("event/code"),
        event_display=values.get("event/display"),
        timestamp=values.get("timestamp"),
        source_endpoint=values.get("source/endpoint"),
        handling=read_handling_specification(element),
        has_receiver=xml.first(element, "receiver") is not None,
        receiver_reference=receiver_reference,
        receiver=receiver,
        receiver_ods_codes=ods_codes(receiver),
        has_sender=xml.first(element, "sender") is not None,
        sender_party_reference=sender_reference,
        sender=sender,
        sender_ods_codes=ods_codes(sender),
        focus=xml.value(element, "focus/reference"),
        response_identifier=xml.value(element, "response/identifier"),
        response_code=xml.value(element, "response/code"),
        outcome_codes=_outcome_codes(element, bundle),
        where=where,
        padded=tuple(padded),
    )


def _outcome_codes(element: etree._Element, bundle: _Entries | None) -> tuple[str, ...]:
    outcomes = [entry for entry in bundle.entries if entry.type == "OperationOutcome"] if bundle else []
    if outcomes and bundle:
        named = bundle.resolve(xml.value(element, "response/details/reference"))
        outcomes.sort(key=lambda outcome: named is None or outcome.element is not named.element)
    # Where the standard has it; then where older systems have put it.
    coded = [code for outcome in outcomes for code in outcome.values("issue/details/coding/code")]
    coded += xml.values(element, "contained/OperationOutcome/issue/details/coding/code")
    return tuple(coded or [text for outcome in outcomes for text in outcome.values("issue/details/text")])


def _measured(element: etree._Element) -> tuple[dict[str, str], list[str]]:
    """The first value at each of these paths, and the paths where white space stands around one."""
    values: dict[str, str] = {}
    padded: list[str] = []
    for path in _MEASURED:
        for found in xml.descend(element, path):
            text = found.get("value") or ""
            if text != (stripped := text.strip()):
                padded.append(path.replace("/", "."))
            if stripped:
                values.setdefault(path, stripped)
    return values, padded
