"""The same message at three levels of strictness. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from mesh_itk3.simulator.choices import HOSPITAL_MAILBOX
from mesh_itk3.simulator.conformance.case import BOTH, Case, Letter, accepted, letter, message, refused
from mesh_itk3.simulator.conformance.edits import drop, header_last, inside_document, rewrite, swap

_DEFINITION: Final = "https://fhir.nhs.uk/STU3/MessageDefinition/"
_LEVELS: Final = ("strict", "standard", "lenient")


def _three(
    name: str,
    shows: str,
    content: Letter,
    rule: str,
    *codes: str | None,
    workflow_id: str | None = None,
    answers: tuple[str, ...] = BOTH,
    when_taken: tuple[str, ...] = BOTH,
) -> Iterator[Case]:
    """`codes` for strict, standard, lenient; None: it is taken, and the rule that it breaks stands in the record.

    The three are the same bytes. `answers`: what comes where it is taken; none, where nothing is asked for, which holds for
    a refusal too. `when_taken`: the same, where that holds for no refusal.
    """
    same = replace(content, seed=name, changes={"source_endpoint": HOSPITAL_MAILBOX} | dict(content.changes))
    sent = message(same, workflow_id)
    for level, code in zip(_LEVELS, codes, strict=True):
        unheard = "" if answers else ", which nobody wants to hear"
        outcome = f"{level} refuses it: {code}{unheard}." if code else f"{level} takes it, and records the deviation."
        step = refused(sent, code if answers else None) if code else accepted(sent, *(answers and when_taken), warnings=(rule,))
        yield Case(f"{name}-{level}", f"{shows}: {outcome}", level, (step,), ("RC-HS-02",) if code else ())


def _waived_by_standard() -> Iterator[Case]:
    yield from _three("no-sender-reference", "SenderReference is missing", letter(sender_reference=None),
                      "sender_reference_missing", "10001", None, None)  # fmt: skip
    yield from _three("no-local-extension", "LocalExtension is missing", letter(local_extension=None),
                      "local_extension_missing", "10001", None, None)  # fmt: skip
    yield from _three("priority", "Priority, removed in 2.5.0, is there", letter(priority="routine"),
                      "priority_present", "10001", None, None)  # fmt: skip
    yield from _three("instance-definition", "MessageDefinition in its old -Instance- form",
                      letter(definition=_DEFINITION + "ITK-eDischarge-MessageDefinition-Instance-4"),
                      "message_definition_instance", "10005", None, None)  # fmt: skip
    yield from _three("other-payloads-definition", "The MessageDefinition of another payload",
                      letter(definition=_DEFINITION + "ITK-OPL-MessageDefinition-4"),
                      "message_definition_of_another_payload", "10008", None, None)  # fmt: skip
    yield from _three("recipient-display", "RecipientType with another display",
                      letter("ITK003D", swap("For Action", "for action please")),
                      "recipient_type_display", "10010", None, None)  # fmt: skip
    yield from _three("event-display", "The event with another display", letter("ITK003D", swap("ITK eDischarge", "eDischarge")),
                      "event_display", "20006", None, None)  # fmt: skip
    yield from _three("source-no-mailbox", "A source endpoint that is no mailbox id", letter(source_endpoint="urn:oid:1.2.3"),
                      "source_no_mailbox", "20006", None, None)  # fmt: skip
    yield from _three("padded-event", "A blank after the event's code", letter("ITK003D", swap('"ITK003D"', '"ITK003D "')),
                      "header_padding", "20006", None, None)  # fmt: skip
    yield from _three("date-without-zone", "A document date without zone",
                      letter("ITK003D", inside_document(rewrite('(<date value="[^"+Z]*)[+Z][^"]*"', '\\1"'))),
                      "date_without_zone", "20009", None, None)  # fmt: skip
    yield from _three("padded-section-code", "A blank after a section's code",
                      letter("ITK003D", inside_document(swap('"887161000000102"', '"887161000000102 "'))),
                      "payload_padding", "20009", None, None)  # fmt: skip
    yield from _three("practice-in-document", "No receiver, and the document names another practice",
                      letter("ITK010D", receiver_ods=None, practice_ods="B99999"),
                      "practice_in_document_not_ours", "20010", None, None)  # fmt: skip


def _of_the_profiles() -> Iterator[Case]:
    """What the profiles forbid and no receiver needs to mind."""
    yield from _three("header-last", "The MessageHeader stands last", letter("ITK003D", header_last),
                      "message_header_not_first", "20006", None, None)  # fmt: skip
    yield from _three("no-bundle-identifier", "The bundle has no identifier",
                      letter("ITK003D", drop("<identifier>.*?</identifier>")),
                      "bundle_identifier_missing", "20006", None, None)  # fmt: skip
    yield from _three("receiver-nowhere", "The receiver's reference leads nowhere",
                      letter("ITK003D", rewrite('<receiver><reference value="[^"]*"/>', '<receiver><reference value="urn:uuid:0ddba11c"/>')),
                      "receiver_unresolved", "20006", None, None)  # fmt: skip
    yield from _three("source-software", "The source names its software",
                      letter("ITK003D", swap("<source>", '<source><name value="PAS"/>')),
                      "header_element_forbidden", "20006", None, None)  # fmt: skip
    yield from _three("organisation-name", "The header's Organization has a name",
                      letter("ITK003D", rewrite("(</identifier>)(</Organization>)", '\\1<name value="A hospital"/>\\2')),
                      "organisation_element_forbidden", "20006", None, None)  # fmt: skip
    yield from _three("document-without-identifier", "The document has no identifier",
                      letter("ITK003D", inside_document(drop("<identifier>.*?</identifier>"))),
                      "document_identifier_missing", "20009", None, None)  # fmt: skip


def _of_the_guides() -> Iterator[Case]:
    """What a payload's guide asks for."""
    yield from _three("other-workflows-event", "An outpatient letter on the workflow of discharges",
                      letter("ITK006D"), "event_of_another_workflow", "20006", None, None,
                      workflow_id="TOC_FHIR_IP_DISCH")  # fmt: skip
    yield from _three("inf-ack-not-asked", "GP Connect wants InfAckRequested true, and it is false with the other",
                      letter("ITK007C", infrastructure_requested=False, business_requested=False),
                      "inf_ack_not_requested", "10008", None, None, answers=())  # fmt: skip
    yield from _three("local-extension-of-no-guide", "A LocalExtension that GP Connect does not know",
                      letter("ITK007C", local_extension="Something-Else"), "local_extension_not_allowed", "10008", None, None)  # fmt: skip


def _waived_by_lenient() -> Iterator[Case]:
    yield from _three("no-flags", "Both flags are missing, which asks for nothing where it is taken",
                      letter(infrastructure_requested=None, business_requested=None),
                      "inf_ack_missing", "10001", "10001", None, when_taken=())  # fmt: skip
    yield from _three("no-definition", "MessageDefinition is missing", letter(definition=None),
                      "message_definition_missing", "10001", "10001", None)  # fmt: skip
    yield from _three("unknown-definition", "A MessageDefinition that nobody has heard of",
                      letter(definition=_DEFINITION + "ITK-Unheard-MessageDefinition-1"),
                      "message_definition_unknown", "10004", "10004", None)  # fmt: skip
    yield from _three("other-version", "A known MessageDefinition in an unknown version",
                      letter(definition=_DEFINITION + "ITK-eDischarge-MessageDefinition-99"),
                      "message_definition_version", "10005", "10005", None)  # fmt: skip
    yield from _three("empty-sender-reference", "SenderReference is empty", letter(sender_reference=""),
                      "sender_reference_unusable", "10007", "10007", None)  # fmt: skip
    yield from _three("strange-recipient-type", "A RecipientType that is neither FA nor FI", letter(recipient_type="XX"),
                      "recipient_type_unusable", "10010", "10010", None)  # fmt: skip
    yield from _three("sender-reference-nowhere", "The sender's reference leads nowhere",
                      letter("ITK003D", drop(r"<entry><fullUrl value=\"[^\"]*\"/><resource><Organization>.*?</Organization></resource></entry>")),
                      "sender_unresolved", "20006", "20006", None)  # fmt: skip


CASES: Final = (*_waived_by_standard(), *_of_the_profiles(), *_of_the_guides(), *_waived_by_lenient())
