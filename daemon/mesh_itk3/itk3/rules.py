"""Every rule of a verdict, in the order in which they are evaluated. PURE.

The specification gives no precedence. What reading itself finds comes first: 10009, 20015, the bundle's structure. Then
what a MessageHeader cannot do without, the handling specification key by key, finer points of the header (so that a
message of the years before 2.5.0 gets the 10001 that says most about it), known messages, recipients and senders, the
payload, known documents.

`waived_in` is the one place that says what each strictness lets pass. `standard` waives what design and samples name, and
what the profiles forbid but no receiver needs to mind. `lenient` takes what can be read, routed and answered: it refuses
a message without an id or an event, with two of them or with two receivers (which one comes first may not decide), one
that is known, not for us, from nobody we take messages from, or no document.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mesh_itk3.itk3 import attachment_checks as attachment
from mesh_itk3.itk3 import header_checks as header
from mesh_itk3.itk3 import party_checks as party
from mesh_itk3.itk3 import payload_checks as payload
from mesh_itk3.itk3 import profile_checks as profile
from mesh_itk3.itk3.envelope import Reading
from mesh_itk3.itk3.facts import Facts, Found, Strictness
from mesh_itk3.itk3.response_codes import InfrastructureCode


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: a message that breaks it gets this code, unless the workflow's strictness waives it."""

    code: InfrastructureCode
    name: str
    source: str
    waived_in: frozenset[Strictness]
    check: Callable[[Reading, Facts], Found]


_NEVER: Final = frozenset[Strictness]()
_LENIENT: Final = frozenset({Strictness.LENIENT})
_STANDARD: Final = frozenset({Strictness.STANDARD, Strictness.LENIENT})
_ALWAYS: Final = frozenset(Strictness)

_HEADER: Final = "ITK-MessageHeader-2"
_HANDLING: Final = "Extension-ITK-MessageHandling-2"
_CODES: Final = "explore_response_structure"
_CODE_TEXTS: Final = "ITK-ResponseCodes-1"
_ATTACHMENTS: Final = "build_attachments"
_MESSAGE: Final = "ITK-Message-Bundle-1"
_DOCUMENT: Final = "ITK-Document-Bundle-1"


def _row(code: str, name: str, source: str, waived_in: frozenset[Strictness], check: Callable[[Reading, Facts], Found]) -> Rule:
    return Rule(InfrastructureCode(code), name, source, waived_in, check)


RULES: Final = (
    # What a MessageHeader cannot do without
    _row("20006", "message_header_id_missing", _HEADER, _NEVER, header.id_missing),
    _row("20006", "message_header_id_invalid", "FHIR STU3 id", _NEVER, header.id_invalid),
    _row("20006", "message_header_id_repeated", _HEADER, _NEVER, profile.id_repeated),
    _row("20006", "event_missing", _HEADER, _NEVER, header.event_missing),
    _row("20006", "event_repeated", _HEADER, _NEVER, profile.event_repeated),
    _row("20006", "event_system_wrong", _HEADER, _LENIENT, header.event_system_wrong),
    _row("20006", "event_not_taken", _CODES, _NEVER, header.event_not_taken),
    _row("20006", "receiver_repeated", _HEADER, _NEVER, profile.receiver_repeated),
    _row("20006", "sender_repeated", _HEADER, _LENIENT, profile.sender_repeated),
    _row("20006", "sender_missing", _HEADER, _LENIENT, header.sender_missing),
    _row("20006", "sender_unresolved", _HEADER, _LENIENT, header.sender_unresolved),
    _row("20006", "timestamp_missing", _HEADER, _LENIENT, header.timestamp_missing),
    _row("20006", "timestamp_unreadable", "FHIR STU3 instant", _LENIENT, header.timestamp_unreadable),
    _row("20006", "source_missing", _HEADER, _LENIENT, header.source_missing),
    # Handling specification
    _row("10001", "handling_specification_missing", _HEADER, _LENIENT, header.handling_missing),
    _row("10001", "handling_specification_repeated", _HEADER, _LENIENT, header.handling_repeated),
    _row("10001", "inf_ack_missing", _HANDLING, _LENIENT, header.inf_ack_missing),
    _row("10001", "bus_ack_missing", _HANDLING, _LENIENT, header.bus_ack_missing),
    _row("10002", "inf_ack_unusable", _CODES, _LENIENT, header.inf_ack_unusable),
    _row("10003", "bus_ack_unusable", _CODES, _LENIENT, header.bus_ack_unusable),
    _row("10001", "message_definition_missing", "FHIR-SR-05", _LENIENT, header.definition_missing),
    _row("10004", "message_definition_unusable", _CODES, _LENIENT, header.definition_unusable),
    _row("10004", "message_definition_unknown", _CODES, _LENIENT, header.definition_unknown),
    _row("10005", "message_definition_version", _CODES, _LENIENT, header.definition_version),
    _row("10005", "message_definition_instance", "release note 2.5.1", _STANDARD, header.definition_instance),
    _row("10001", "sender_reference_missing", "FHIR-SR-03", _STANDARD, header.reference_missing),
    _row("10007", "sender_reference_unusable", "FHIR-SR-03", _LENIENT, header.reference_unusable),
    _row("10007", "sender_reference_type", _HANDLING, _LENIENT, header.reference_type),
    _row("10001", "recipient_type_missing", "FHIR-SR-01", _LENIENT, header.recipient_missing),
    _row("10010", "recipient_type_unusable", _CODES, _LENIENT, header.recipient_unusable),
    _row("10010", "recipient_type_display", "ITK-RecipientType-1", _STANDARD, header.recipient_display),
    _row("10001", "local_extension_missing", "FHIR-SR-06", _STANDARD, header.local_missing),
    _row("10001", "local_extension_unusable", "FHIR-SR-06", _LENIENT, header.local_unusable),
    _row("10001", "priority_present", "release note 2.5.0", _STANDARD, header.priority_present),
    _row("10008", "message_definition_of_another_payload", "FHIR-SR-05", _STANDARD, header.definition_of_another_payload),
    _row("10001", "handling_element_forbidden", _HANDLING, _STANDARD, profile.forbidden_in_keys),
    _row("10008", "inf_ack_not_requested", "GPCM-SD-CS-045, GPCM-SD-OC-144", _STANDARD, header.inf_ack_not_requested),
    _row("10008", "bus_ack_not_requested", "GPCM-SD-CS-044, GPCM-SD-OC-143", _LENIENT, header.bus_ack_not_requested),
    _row(
        "10008", "local_extension_not_allowed", "GPCM-SD-CS-048, GPCM-SD-OC-147", _STANDARD, header.local_extension_not_allowed
    ),
    # Finer points of bundle and MessageHeader
    _row("20006", "source_no_mailbox", _HEADER, _STANDARD, header.source_no_mailbox),
    _row("20006", "event_display", "ITK-MessageEvent-2", _STANDARD, header.event_display),
    _row("20006", "header_padding", "FHIR STU3 code, id", _STANDARD, header.padding),
    _row("20006", "event_of_another_workflow", "NHS test-harness cross-reference", _STANDARD, header.event_of_another_workflow),
    _row("20006", "bundle_identifier_missing", _MESSAGE, _STANDARD, profile.bundle_identifier_missing),
    _row("20006", "bundle_element_forbidden", _MESSAGE, _STANDARD, profile.forbidden_in_bundle),
    _row("20006", "message_header_not_first", "FHIR STU3 messaging", _STANDARD, profile.header_not_first),
    _row("20006", "header_element_forbidden", _HEADER, _STANDARD, profile.forbidden_in_header),
    _row("20006", "header_element_repeated", _HEADER, _STANDARD, profile.repeated_in_header),
    _row("20006", "receiver_unresolved", _HEADER, _STANDARD, profile.receiver_unresolved),
    _row(
        "20006",
        "organisation_element_forbidden",
        "CareConnect-ITK-Header-Organization-1",
        _STANDARD,
        profile.forbidden_in_organisation,
    ),
    # Known already; for somebody else; from somebody else
    _row("20007", "message_known", "FHIR-RR-05", _NEVER, payload.message_known),
    _row("20002", "receiver_not_ours", "FHIR-RR-01", _NEVER, party.receiver_not_ours),
    _row("20001", "receiver_person_unknown", "FHIR-RR-01", _NEVER, party.person_not_ours),
    _row("20003", "sender_unknown", _CODE_TEXTS, _NEVER, party.sender_unknown),
    _row("20012", "sender_not_authorised", _CODE_TEXTS, _NEVER, party.sender_not_authorised),
    # Payload
    _row("20009", "document_missing", "FHIR-PAY-01", _NEVER, payload.document_missing),
    _row("20009", "document_repeated", "FHIR-PAY-01", _NEVER, payload.document_repeated),
    _row("20009", "composition_missing", _DOCUMENT, _NEVER, payload.no_composition),
    _row("20009", "patient_unreachable", "Composition.subject 1..1", _NEVER, payload.no_patient),
    _row("20009", "date_without_zone", "FHIR STU3 dateTime", _STANDARD, payload.date_without_zone),
    _row("20009", "payload_padding", "FHIR STU3 code", _STANDARD, payload.padding),
    _row("20009", "document_identifier_missing", _DOCUMENT, _STANDARD, profile.document_identifier_missing),
    _row("20009", "composition_not_first", _DOCUMENT, _STANDARD, profile.composition_not_first),
    _row("20009", "document_element_forbidden", _DOCUMENT, _STANDARD, profile.forbidden_in_document),
    # Never 20014: that says that both documents have been marked void here, which the sender then does on his side.
    _row("20009", "replacement_names_nothing", "GPCM-SD-039", _LENIENT, payload.replacement_names_nothing),
    _row("20009", "attachment_unreadable", "ITK-Attachment-Binary-1", _LENIENT, attachment.unreadable),
    _row("20004", "attachment_not_approved", _ATTACHMENTS, _LENIENT, attachment.type_not_approved),
    _row("20004", "attachment_content_not_approved", _ATTACHMENTS, _LENIENT, attachment.content_not_approved),
    _row("20005", "attachment_unsupported", _ATTACHMENTS, _LENIENT, attachment.type_unsupported),
    _row("20005", "attachment_content_unsupported", _ATTACHMENTS, _LENIENT, attachment.content_unsupported),
    _row("20004", "attachment_content_unknown", _ATTACHMENTS, _STANDARD, attachment.content_unknown),
    _row("20004", "attachment_content_differs", _ATTACHMENTS, _STANDARD, attachment.content_differs),
    # For somebody else by what the document says; known already; not to be applied
    _row("20010", "practice_in_document_not_ours", "FHIR-RR-01", _STANDARD, party.practice_without_receiver),
    _row("20010", "practice_in_document_differs", "FHIR-RR-01", _ALWAYS, party.practice_beside_receiver),
    _row("20011", "person_in_document_unknown", _CODE_TEXTS, _NEVER, party.person_in_document_unknown),
    _row("20008", "document_known", "FHIR-RR-05", _NEVER, payload.document_known),
)
