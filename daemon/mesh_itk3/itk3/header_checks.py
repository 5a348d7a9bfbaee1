"""What may be wrong with a MessageHeader: one question each, answered with where. PURE."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from mesh_itk3.itk3 import message_definitions
from mesh_itk3.itk3.envelope import Reading
from mesh_itk3.itk3.facts import Facts, Found
from mesh_itk3.itk3.handling_specification import Key
from mesh_itk3.itk3.message_header import EVENT_SYSTEM, FHIR_ID, MessageHeader, written_id

EVENT_DISPLAYS: Final = {
    # CodeSystem ITK-MessageEvent-2 v2.8.0
    "ITK003D": "ITK eDischarge",
    "ITK004D": "ITK Mental Health eDischarge",
    "ITK005D": "ITK Emergency Care eDischarge",
    "ITK006D": "ITK Outpatient Letter",
    "ITK007C": "ITK GP Connect Send Document",
    "ITK008M": "ITK Response",
    "ITK009D": "ITK Digital Medicine Immunization Document",
    "ITK010D": "ITK Digital Medicine Emergency Supply Document",
    "ITK011M": "ITK Events Management Service",
    "ITK012M": "ITK National Pathology",
    "ITK013D": "ITK Digital Medicine Minor Illness Document",
    "ITK014M": "ITK Update Record",
}

_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
# MESH mailbox ids are letters and digits; an OID, a URN or a word with underscores is something else.
_MAILBOX_ID = re.compile(r"[A-Za-z0-9]{3,40}")


def _at(reading: Reading, element: str, issue_code: str) -> Found:
    return f"{reading.header.where}.{element}", issue_code


# ------------------------------------------------------------------------------------------- MessageHeader


def id_missing(reading: Reading, _: Facts) -> Found:
    return None if reading.header.message_header_id else _at(reading, "id", "required")


def id_invalid(reading: Reading, _: Facts) -> Found:
    # As it is written: in lower case the Kelvin sign would pass for a k, and the ledger would hold no id at all.
    identifier = written_id(reading.header.message_header_id or "")
    return None if FHIR_ID.fullmatch(identifier) else _at(reading, "id", "value")


def event_missing(reading: Reading, _: Facts) -> Found:
    return None if reading.header.event_code else _at(reading, "event.code", "required")


def event_system_wrong(reading: Reading, _: Facts) -> Found:
    if not reading.header.event_system:
        return _at(reading, "event.system", "required")
    return None if reading.header.event_system == EVENT_SYSTEM else _at(reading, "event.system", "code-invalid")


def event_not_taken(reading: Reading, facts: Facts) -> Found:
    is_taken = not facts.event_codes or reading.header.event_code in facts.event_codes
    return None if is_taken else _at(reading, "event.code", "code-invalid")


def sender_missing(reading: Reading, _: Facts) -> Found:
    if not reading.header.has_sender:
        return _at(reading, "sender", "required")
    return None if reading.header.sender_party_reference else _at(reading, "sender.reference", "required")


def sender_unresolved(reading: Reading, _: Facts) -> Found:
    return None if reading.header.sender else _at(reading, "sender.reference", "value")


def timestamp_missing(reading: Reading, _: Facts) -> Found:
    return None if reading.header.timestamp else _at(reading, "timestamp", "required")


def timestamp_unreadable(reading: Reading, _: Facts) -> Found:
    return None if _is_instant(reading.header.timestamp or "") else _at(reading, "timestamp", "value")


def _is_instant(text: str) -> bool:
    if not _INSTANT.fullmatch(text):
        return False
    try:
        # Seconds may be 60 in FHIR, and Python knows no leap second.
        datetime.fromisoformat(text.replace(":60", ":59"))
    except ValueError:
        return False
    return True


def source_missing(reading: Reading, _: Facts) -> Found:
    return None if reading.header.source_endpoint else _at(reading, "source.endpoint", "required")


def source_no_mailbox(reading: Reading, _: Facts) -> Found:
    is_mailbox = _MAILBOX_ID.fullmatch(reading.header.source_endpoint or "")
    return None if is_mailbox else _at(reading, "source.endpoint", "value")


def event_display(reading: Reading, _: Facts) -> Found:
    expected = EVENT_DISPLAYS.get(reading.header.event_code or "")
    is_right = expected is None or reading.header.event_display == expected
    return None if is_right else _at(reading, "event.display", "value")


def padding(reading: Reading, _: Facts) -> Found:
    padded = reading.header.padded
    return _at(reading, padded[0], "value") if padded else None


# ------------------------------------------------------------------------------------------- handling specification


def _key_at(header: MessageHeader, name: str) -> Found:
    return f"{header.where}.extension({name})", ""


def handling_missing(reading: Reading, _: Facts) -> Found:
    return None if reading.header.handling.present else _key_at(reading.header, "ITKMessageHandling")


def handling_repeated(reading: Reading, _: Facts) -> Found:
    return _key_at(reading.header, "ITKMessageHandling") if reading.header.handling.repeated else None


def _missing(reading: Reading, key: Key, name: str) -> Found:
    return None if key.present else _key_at(reading.header, name)


def _unusable(reading: Reading, key: Key, name: str) -> Found:
    return _key_at(reading.header, name) if key.problem else None


def inf_ack_missing(reading: Reading, _: Facts) -> Found:
    return _missing(reading, reading.header.handling.inf_ack_requested, "InfAckRequested")


def inf_ack_unusable(reading: Reading, _: Facts) -> Found:
    return _unusable(reading, reading.header.handling.inf_ack_requested, "InfAckRequested")


def bus_ack_missing(reading: Reading, _: Facts) -> Found:
    return _missing(reading, reading.header.handling.bus_ack_requested, "BusAckRequested")


def bus_ack_unusable(reading: Reading, _: Facts) -> Found:
    return _unusable(reading, reading.header.handling.bus_ack_requested, "BusAckRequested")


def _cited(reading: Reading, facts: Facts) -> message_definitions.Cited | None:
    """None where there is no usable reference: other rules say so."""
    key = reading.header.handling.message_definition
    return message_definitions.cited(key.value, facts.message_definitions) if key.value and not key.problem else None


def definition_missing(reading: Reading, _: Facts) -> Found:
    return _missing(reading, reading.header.handling.message_definition, "MessageDefinition")


def definition_unusable(reading: Reading, _: Facts) -> Found:
    return _unusable(reading, reading.header.handling.message_definition, "MessageDefinition")


def definition_unknown(reading: Reading, facts: Facts) -> Found:
    cited = _cited(reading, facts)
    return _key_at(reading.header, "MessageDefinition") if cited and not cited.is_known else None


def definition_version(reading: Reading, facts: Facts) -> Found:
    cited = _cited(reading, facts)
    is_other = cited is not None and cited.is_known and not cited.is_version_known
    return _key_at(reading.header, "MessageDefinition") if is_other else None


def definition_instance(reading: Reading, facts: Facts) -> Found:
    cited = _cited(reading, facts)
    return _key_at(reading.header, "MessageDefinition") if cited and cited.has_instance_form else None


def definition_of_another_payload(reading: Reading, facts: Facts) -> Found:
    cited = _cited(reading, facts)
    is_other = cited is not None and cited.is_of_another_payload(reading.header.event_code)
    return _key_at(reading.header, "MessageDefinition") if is_other else None


def reference_missing(reading: Reading, _: Facts) -> Found:
    return _missing(reading, reading.header.handling.sender_reference, "SenderReference")


def reference_unusable(reading: Reading, _: Facts) -> Found:
    return _unusable(reading, reading.header.handling.sender_reference, "SenderReference")


def reference_type(reading: Reading, _: Facts) -> Found:
    is_other = reading.header.handling.sender_reference.deviation is not None
    return _key_at(reading.header, "SenderReference") if is_other else None


def recipient_missing(reading: Reading, _: Facts) -> Found:
    return _missing(reading, reading.header.handling.recipient_type, "RecipientType")


def recipient_unusable(reading: Reading, _: Facts) -> Found:
    return _unusable(reading, reading.header.handling.recipient_type, "RecipientType")


def recipient_display(reading: Reading, _: Facts) -> Found:
    return _key_at(reading.header, "RecipientType") if reading.header.handling.recipient_type.deviation else None


def local_missing(reading: Reading, _: Facts) -> Found:
    return _missing(reading, reading.header.handling.local_extension, "LocalExtension")


def local_unusable(reading: Reading, _: Facts) -> Found:
    return _unusable(reading, reading.header.handling.local_extension, "LocalExtension")


def priority_present(reading: Reading, _: Facts) -> Found:
    return _key_at(reading.header, "Priority") if reading.header.handling.has_priority else None


# ------------------------------------------------------------------------------------------- rules of the payload's guide


def inf_ack_not_requested(reading: Reading, facts: Facts) -> Found:
    is_wrong = "InfAckRequested" in facts.workflow.required_flags and reading.header.handling.inf_ack is False
    return _key_at(reading.header, "InfAckRequested") if is_wrong else None


def bus_ack_not_requested(reading: Reading, facts: Facts) -> Found:
    """Where the other flag is false too, that one's rule decides: a refusal would be told to nobody."""
    handling = reading.header.handling
    is_wrong = "BusAckRequested" in facts.workflow.required_flags and handling.bus_ack is False
    return _key_at(reading.header, "BusAckRequested") if is_wrong and handling.inf_ack is not False else None


def local_extension_not_allowed(reading: Reading, facts: Facts) -> Found:
    key, allowed = reading.header.handling.local_extension, facts.workflow.local_extensions
    is_wrong = bool(allowed) and key.present and not key.problem and key.value not in allowed
    return _key_at(reading.header, "LocalExtension") if is_wrong else None


def event_of_another_workflow(reading: Reading, facts: Facts) -> Found:
    expected = facts.workflow.event_code
    is_other = expected is not None and reading.header.event_code != expected
    return _at(reading, "event.code", "code-invalid") if is_other else None
