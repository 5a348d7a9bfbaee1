"""The same message at three levels of strictness. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from mesh_itk3.simulator.choices import HOSPITAL_MAILBOX
from mesh_itk3.simulator.conformance.case import BOTH, Case, Letter, Step, accepted, letter, refused
from mesh_itk3.simulator.conformance.edits import drop, inside_document, rewrite, swap

_DEFINITION: Final = "https://fhir.nhs.uk/STU3/MessageDefinition/"
_LEVELS: Final = ("strict", "standard", "lenient")


def _three(name: str, shows: str, content: Letter, rule: str, *codes: str | None) -> Iterator[Case]:
    """`codes` for strict, standard, lenient; None: it is taken, and the rule that it breaks stands in the record.

    The three are the same bytes.
    """
    same = replace(content, seed=name, changes={"source_endpoint": HOSPITAL_MAILBOX} | dict(content.changes))
    for level, code in zip(_LEVELS, codes, strict=True):
        outcome = f"{level} refuses it: {code}." if code else f"{level} takes it, and records the deviation."
        yield Case(f"{name}-{level}", f"{shows}: {outcome}", level, (_step(same, rule, code),), ("RC-HS-02",) if code else ())


def _step(content: Letter, rule: str, code: str | None) -> Step:
    return refused(content, code) if code else accepted(content, *BOTH, warnings=(rule,))


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


def _waived_by_lenient() -> Iterator[Case]:
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


CASES: Final = (*_waived_by_standard(), *_waived_by_lenient())
