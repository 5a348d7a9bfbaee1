"""Every rule of a verdict, in the order in which they are evaluated. PURE.

The specification gives no precedence; the order is: message bundle and MessageHeader, handling specification, known
message, recipient, payload, known document. What reading itself finds (10009, 20015, the bundle's structure) comes first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mesh_itk3.itk3 import header_checks, payload_checks
from mesh_itk3.itk3.envelope import Reading
from mesh_itk3.itk3.response_codes import InfrastructureCode as Code
from mesh_itk3.itk3.verdict import Facts, Found, Rule, Strictness

_NEVER: Final = frozenset[Strictness]()
_LENIENT: Final = frozenset({Strictness.LENIENT})
_STANDARD: Final = frozenset({Strictness.STANDARD, Strictness.LENIENT})
_ALWAYS: Final = frozenset(Strictness)

_HEADER: Final = "ITK-MessageHeader-2"
_HANDLING: Final = "Extension-ITK-MessageHandling-2"
_CODES: Final = "explore_response_structure"


def _row(
    code: Code, name: str, source: str, waived_in: frozenset[Strictness], check: Callable[[Reading, Facts], Found]
) -> Rule:
    return Rule(code, name, source, waived_in, check)


RULES: Final[tuple[Rule, ...]] = (
    # ---------------------------------------------------------------- 20006: message bundle and MessageHeader
    _row(Code.HEADER_VALIDATION_FAILURE, "message_header_id_missing", _HEADER, _NEVER, header_checks.id_missing),
    _row(Code.HEADER_VALIDATION_FAILURE, "message_header_id_invalid", "FHIR STU3 id", _NEVER, header_checks.id_invalid),
    _row(Code.HEADER_VALIDATION_FAILURE, "event_missing", _HEADER, _NEVER, header_checks.event_missing),
    _row(Code.HEADER_VALIDATION_FAILURE, "event_system_wrong", _HEADER, _NEVER, header_checks.event_system_wrong),
    _row(Code.HEADER_VALIDATION_FAILURE, "event_not_taken", _CODES, _NEVER, header_checks.event_not_taken),
    _row(Code.HEADER_VALIDATION_FAILURE, "sender_missing", _HEADER, _NEVER, header_checks.sender_missing),
    _row(Code.HEADER_VALIDATION_FAILURE, "sender_unresolved", _HEADER, _LENIENT, header_checks.sender_unresolved),
    _row(Code.HEADER_VALIDATION_FAILURE, "timestamp_missing", _HEADER, _NEVER, header_checks.timestamp_missing),
    _row(
        Code.HEADER_VALIDATION_FAILURE, "timestamp_unreadable", "FHIR STU3 instant", _NEVER, header_checks.timestamp_unreadable
    ),
    _row(Code.HEADER_VALIDATION_FAILURE, "source_missing", _HEADER, _NEVER, header_checks.source_missing),
    _row(Code.HEADER_VALIDATION_FAILURE, "source_no_mailbox", _HEADER, _STANDARD, header_checks.source_no_mailbox),
    _row(Code.HEADER_VALIDATION_FAILURE, "event_display", "ITK-MessageEvent-2", _STANDARD, header_checks.event_display),
    _row(Code.HEADER_VALIDATION_FAILURE, "header_padding", "FHIR STU3 code, id", _STANDARD, header_checks.padding),
    # ---------------------------------------------------------------- 1xxxx: handling specification
    _row(
        Code.HANDLING_SPECIFICATION_ERROR, "handling_specification_missing", _HANDLING, _NEVER, header_checks.handling_missing
    ),
    _row(
        Code.HANDLING_SPECIFICATION_ERROR, "handling_specification_repeated", _HEADER, _NEVER, header_checks.handling_repeated
    ),
    _row(Code.HANDLING_SPECIFICATION_ERROR, "inf_ack_missing", _HANDLING, _NEVER, header_checks.inf_ack_missing),
    _row(Code.HANDLING_SPECIFICATION_ERROR, "bus_ack_missing", _HANDLING, _NEVER, header_checks.bus_ack_missing),
    _row(Code.INFRASTRUCTURE_FLAG_ERROR, "inf_ack_unusable", _CODES, _NEVER, header_checks.inf_ack_unusable),
    _row(Code.BUSINESS_FLAG_ERROR, "bus_ack_unusable", _CODES, _NEVER, header_checks.bus_ack_unusable),
    _row(
        Code.HANDLING_SPECIFICATION_ERROR, "message_definition_missing", _HANDLING, _LENIENT, header_checks.definition_missing
    ),
    _row(Code.MESSAGE_DEFINITION_ERROR, "message_definition_unusable", _CODES, _LENIENT, header_checks.definition_unusable),
    _row(Code.MESSAGE_DEFINITION_ERROR, "message_definition_unknown", _CODES, _LENIENT, header_checks.definition_unknown),
    _row(
        Code.MESSAGE_DEFINITION_VERSION_ERROR, "message_definition_version", _CODES, _LENIENT, header_checks.definition_version
    ),
    _row(
        Code.MESSAGE_DEFINITION_VERSION_ERROR,
        "message_definition_instance",
        "Distribution release note 2.5.1",
        _STANDARD,
        header_checks.definition_instance,
    ),
    _row(
        Code.HANDLING_SPECIFICATION_ERROR, "sender_reference_missing", "FHIR-SR-03", _STANDARD, header_checks.reference_missing
    ),
    _row(Code.SENDER_REFERENCE_ERROR, "sender_reference_unusable", "FHIR-SR-03", _LENIENT, header_checks.reference_unusable),
    _row(Code.SENDER_REFERENCE_ERROR, "sender_reference_type", _HANDLING, _STANDARD, header_checks.reference_type),
    _row(Code.HANDLING_SPECIFICATION_ERROR, "recipient_type_missing", _HANDLING, _LENIENT, header_checks.recipient_missing),
    _row(Code.RECIPIENT_TYPE_ERROR, "recipient_type_unusable", _CODES, _LENIENT, header_checks.recipient_unusable),
    _row(
        Code.RECIPIENT_TYPE_ERROR, "recipient_type_display", "ITK-RecipientType-1", _STANDARD, header_checks.recipient_display
    ),
    _row(Code.HANDLING_SPECIFICATION_ERROR, "local_extension_missing", "FHIR-SR-06", _STANDARD, header_checks.local_missing),
    _row(
        Code.HANDLING_SPECIFICATION_ERROR,
        "priority_present",
        "Distribution release note 2.5.0",
        _STANDARD,
        header_checks.priority_present,
    ),
    _row(
        Code.HANDLING_BUSINESS_RULE_ERROR,
        "message_definition_of_another_payload",
        "FHIR-SR-05",
        _STANDARD,
        header_checks.definition_of_another_payload,
    ),
    # ---------------------------------------------------------------- who and whether again
    _row(Code.DUPLICATE_MESSAGE, "message_known", "FHIR-RR-05", _NEVER, payload_checks.message_known),
    _row(Code.UNRECOGNISED_RECIPIENT_ORGANISATION, "receiver_not_ours", "FHIR-RR-01", _NEVER, header_checks.receiver_not_ours),
    _row(Code.UNRECOGNISED_RECIPIENT_PERSON, "receiver_person_unknown", "FHIR-RR-01", _NEVER, header_checks.person_not_ours),
    _row(Code.UNRECOGNISED_SENDER, "sender_unknown", _CODES, _NEVER, header_checks.sender_unknown),
    # ---------------------------------------------------------------- 20009 and after: payload
    _row(Code.PAYLOAD_VALIDATION_FAILURE, "document_missing", "FHIR-PAY-01", _NEVER, payload_checks.document_missing),
    _row(Code.PAYLOAD_VALIDATION_FAILURE, "document_repeated", "FHIR-PAY-01", _NEVER, payload_checks.document_repeated),
    _row(
        Code.PAYLOAD_VALIDATION_FAILURE, "composition_missing", "ITK-Document-Bundle-1", _NEVER, payload_checks.no_composition
    ),
    _row(Code.PAYLOAD_VALIDATION_FAILURE, "patient_unreachable", "Composition.subject 1..1", _NEVER, payload_checks.no_patient),
    _row(
        Code.PAYLOAD_VALIDATION_FAILURE, "date_without_zone", "FHIR STU3 dateTime", _STANDARD, payload_checks.date_without_zone
    ),
    _row(Code.PAYLOAD_VALIDATION_FAILURE, "payload_padding", "FHIR STU3 code", _STANDARD, payload_checks.padding),
    _row(Code.NON_APPROVED_ATTACHMENT, "attachment_not_approved", "build_attachments", _NEVER, payload_checks.not_approved),
    _row(Code.UNSUPPORTED_ATTACHMENT, "attachment_unsupported", "build_attachments", _NEVER, payload_checks.unsupported),
    _row(
        Code.UNRECOGNISED_PAYLOAD_ORGANISATION,
        "practice_in_document_not_ours",
        "FHIR-RR-01",
        _STANDARD,
        payload_checks.practice_without_receiver,
    ),
    _row(
        Code.UNRECOGNISED_PAYLOAD_ORGANISATION,
        "practice_in_document_differs",
        "FHIR-RR-01",
        _ALWAYS,
        payload_checks.practice_beside_receiver,
    ),
    _row(Code.DUPLICATE_DOCUMENT, "document_known", "FHIR-RR-05", _NEVER, payload_checks.document_known),
)
