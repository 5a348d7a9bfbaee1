"""Messages that break a rule which depends on what is configured or on the workflow's row: rule -> message, facts, codes in
strict, standard and lenient, and where.
"""

from __future__ import annotations

from typing import Any

from itk3.a_message import (
    RECEIVER_ID,
    SENDER_ID,
    a_message,
    binary,
    composition,
    definition,
    document,
    entry,
    event,
    flag,
    handling,
    organisation,
    patient,
    section,
)
from mesh_itk3.itk3.attachment_types import KINDS
from mesh_itk3.itk3.workflows import Workflow

SDS_USER = "https://fhir.nhs.uk/Id/sds-user-id"
US, OTHERS = frozenset({"555253716105"}), frozenset({"999999999999"})
PDF, PNG, PROGRAM = b"%PDF-1.7\n...", b"\x89PNG\r\n\x1a\n...", b"MZ\x90\x00\x03\x00"


def practitioner(identifier: str, national: str = "555253716105", system: str = SDS_USER) -> str:
    inner = f'<identifier><system value="{system}"/><value value="{national}"/></identifier>'
    return entry(f'<Practitioner><id value="{identifier}"/>{inner}</Practitioner>', f"urn:uuid:{identifier}")


LEGIBLE = document(composition() + patient() + binary("b1", PDF))
"""With an attachment, so that a shipped handler takes it."""
TO_A_PERSON = a_message(
    receiver=f'<receiver><reference value="urn:uuid:{RECEIVER_ID}"/></receiver>',
    after=practitioner(RECEIVER_ID),
    documents=LEGIBLE,
)
FROM_A_PERSON = a_message(sender_entry=practitioner(SENDER_ID))


def distributed(*names: str, sections: str = "", more: str = "") -> bytes:
    """A document whose distribution list names these entries."""
    entries = "".join(f'<entry><reference value="urn:uuid:{name}"/></entry>' for name in names)
    listed = section("Distribution list", "887261000000109", more=entries)
    return a_message(documents=document(composition(sections=listed + sections) + patient() + practitioner("doctor") + more))


def attached(content: bytes | str, content_type: str = "application/pdf") -> bytes:
    return a_message(documents=document(composition() + patient() + binary("b1", content, content_type=content_type)))


def a_row(**columns: Any) -> Workflow:
    return Workflow("W", "W_REPLY", **columns)


APPROVED = {"workflow": a_row(approved_attachments=frozenset({"pdf", "txt", "png"}))}
SUPPORTED = {"supported_attachments": KINDS}
ASKED = {"workflow": a_row(required_flags=frozenset({"InfAckRequested", "BusAckRequested"}))}
NAMED = {"workflow": a_row(local_extensions=frozenset({"SendDocument-ConsultationReport"}))}
LOOKED_UP = {"workflow": a_row(routed_by_look_up=True)}
CONTENT_TYPE = "entry[2].resource.contentType"

BY_CONFIGURATION: dict[str, tuple[bytes, dict[str, Any], tuple[str, str, str], str]] = {
    "receiver_person_unknown": (TO_A_PERSON, {"our_persons": OTHERS}, ("20001",) * 3, ".receiver"),
    "sender_unknown": (a_message(), {"known_senders": frozenset({"RX001"})}, ("20003",) * 3, ".sender"),
    "sender_unknown (person)": (FROM_A_PERSON, {"known_senders": OTHERS}, ("20003",) * 3, ".sender"),
    "sender_not_authorised": (
        a_message(),
        {"authorised_senders": frozenset({"X26ABC1"}), "sender_mailbox_id": "X26ABC3"},
        ("20012",) * 3,
        ".sender",
    ),
    "sender_unknown (to the stand-in)": (
        a_message(receiver_ods_code="V81999"),
        {"known_senders": OTHERS},
        ("20003",) * 3,
        ".sender",
    ),
    "sender_not_authorised (to the stand-in)": (
        a_message(receiver_ods_code="V81999"),
        {"authorised_senders": OTHERS},
        ("20012",) * 3,
        ".sender",
    ),
    "sender_not_authorised (nobody)": (a_message(), {"authorised_senders": frozenset({"X1"})}, ("20012",) * 3, ".sender"),
    "person_in_document_unknown": (distributed("doctor"), {"our_persons": OTHERS}, ("20011",) * 3, "entry[2].resource"),
    "inf_ack_not_requested": (
        a_message(specification=handling(InfAckRequested=flag("false"))),
        ASKED,
        ("10008", "20013", "20013"),
        "extension(InfAckRequested)",
    ),
    "inf_ack_not_requested (nor the other)": (
        a_message(specification=handling(InfAckRequested=flag("false"), BusAckRequested=flag("false"))),
        ASKED,
        ("10008", "20013", "20013"),
        "extension(InfAckRequested)",
    ),
    "bus_ack_not_requested": (
        a_message(specification=handling(BusAckRequested=flag("false"))),
        ASKED,
        ("10008", "10008", "20013"),
        "extension(BusAckRequested)",
    ),
    "local_extension_not_allowed": (
        a_message(specification=handling(LocalExtension='<valueString value="SendDocument-ConsultationSummary"/>')),
        NAMED,
        ("10008", "20013", "20013"),
        "extension(LocalExtension)",
    ),
    "event_of_another_workflow": (
        a_message(
            event=event("ITK006D", "ITK Outpatient Letter"),
            specification=handling(MessageDefinition=definition("ITK-OPL-MessageDefinition-4")),
        ),
        {"workflow": a_row(event_code="ITK003D")},
        ("20006", "20013", "20013"),
        ".event.code",
    ),
    "attachment_not_approved": (
        attached("R0lGODlh", "image/gif"),
        {**APPROVED, **SUPPORTED},
        ("20004", "20004", "20013"),
        CONTENT_TYPE,
    ),
    "attachment_unsupported": (attached("R0lGODlh", "image/gif"), SUPPORTED, ("20005", "20005", "20013"), CONTENT_TYPE),
    "attachment_content_not_approved (a program)": (
        attached(PROGRAM),
        {**APPROVED, **SUPPORTED},
        ("20004", "20004", "20013"),
        CONTENT_TYPE,
    ),
    "attachment_content_not_approved": (attached(b"no PDF"), APPROVED, ("20004", "20004", "20013"), CONTENT_TYPE),
    "attachment_content_not_approved (not on the list)": (
        attached(b"II*\x00", "image/png"),
        APPROVED,
        ("20004", "20004", "20013"),
        CONTENT_TYPE,
    ),
    "attachment_content_unsupported": (attached(b"no PDF"), SUPPORTED, ("20005", "20005", "20013"), CONTENT_TYPE),
    "attachment_content_unsupported (a program)": (
        attached(PROGRAM, "text/plain"),
        SUPPORTED,
        ("20005", "20005", "20013"),
        CONTENT_TYPE,
    ),
    "attachment_content_not_approved (no name, and nothing known)": (
        attached(b"\x00\x01\x02", "; charset=utf-8"),
        APPROVED,
        ("20004", "20004", "20013"),
        CONTENT_TYPE,
    ),
    **{
        f"attachment_content_unknown ({name})": (
            attached(content, content_type),
            {**APPROVED, **SUPPORTED},
            ("20004", "20013", "20013"),
            CONTENT_TYPE,
        )
        for name, (content, content_type) in {
            "end of file as DOS writes it": (b"Dear colleague\r\n\x1a", "text/plain"),
            "a byte of no character set": (b"Dear colleague \x81", "text/plain"),
            "UTF-16 without a mark": ("Dear colleague".encode("utf-16-le"), "text/plain"),
            "text that begins like a program": (b"MZ twins \x81", "text/plain"),
            "nothing known": (b"\x00\x01\x02", "application/pdf"),
        }.items()
    },
    "attachment_content_differs": (
        attached(PNG, "application/pdf"),
        {**APPROVED, **SUPPORTED},
        ("20004", "20013", "20013"),
        CONTENT_TYPE,
    ),
    "attachment_content_differs (a text)": (attached(b"Dear colleague"), {}, ("20004", "20013", "20013"), CONTENT_TYPE),
    "attachment_content_differs (no type)": (attached(PDF, ""), APPROVED, ("20004", "20013", "20013"), CONTENT_TYPE),
}

PRACTICE_SECTION = section("GP practice", "886711000000101", more='<entry><reference value="urn:uuid:practice"/></entry>')
RECIPIENT_EXTENSION = (
    '<extension url="https://fhir.nhs.uk/STU3/StructureDefinition/Extension-ITK-InformationRecipient-1">'
    '<valueReference><reference value="urn:uuid:doctor"/></valueReference></extension>'
)
OLD_DOCUMENT = a_message(documents=document(composition(relates_to=RECIPIENT_EXTENSION) + patient() + practitioner("doctor")))
ACCEPTED: dict[str, tuple[bytes, dict[str, Any]]] = {
    "person on the list": (TO_A_PERSON, {"our_persons": US}),
    "person, and no list": (TO_A_PERSON, {}),
    "organisation, and a list of persons": (a_message(receiver_ods_code="A81001"), {"our_persons": OTHERS}),
    "sender on the list": (a_message(), {"known_senders": frozenset({"RA901"})}),
    "sending person on the list": (FROM_A_PERSON, {"known_senders": US}),
    "sending mailbox on the list": (a_message(), {"authorised_senders": frozenset({"X1"}), "sender_mailbox_id": "x1"}),
    "unknown sender by look-up": (a_message(), {"known_senders": OTHERS, **LOOKED_UP}),
    "unauthorised sender by look-up": (a_message(), {"authorised_senders": OTHERS, **LOOKED_UP}),
    "unknown sender to the stand-in for the practice, by look-up": (
        a_message(receiver_ods_code="V81999"),
        {"known_senders": OTHERS, "authorised_senders": OTHERS, **LOOKED_UP},
    ),
    "person in the document on the list": (distributed("doctor"), {"our_persons": US}),
    "person in the document beside a receiver": (
        distributed("doctor").replace(
            b"<sender>", b'<receiver><reference value="urn:uuid:' + SENDER_ID.encode() + b'"/></receiver><sender>'
        ),
        {"our_persons": OTHERS, "our_ods_codes": frozenset({"RA901"})},
    ),
    "person in the document beside our practice": (
        distributed("doctor", sections=PRACTICE_SECTION, more=organisation("practice", "A81001")),
        {"our_persons": OTHERS},
    ),
    "person in the document beside the stand-in": (
        distributed("doctor", sections=PRACTICE_SECTION, more=organisation("practice", "V81999")),
        {"our_persons": OTHERS},
    ),
    "person and our practice on the distribution list": (
        distributed("doctor", "practice", more=organisation("practice", "A81001")),
        {"our_persons": OTHERS},
    ),
    "patient on the distribution list": (distributed(), {"our_persons": OTHERS}),
    "flags as the guide wants them": (a_message(), ASKED),
    "local extension as the guide wants it": (
        a_message(specification=handling(LocalExtension='<valueString value="SendDocument-ConsultationReport"/>')),
        NAMED,
    ),
    "approved and supported": (attached(PDF), {**APPROVED, **SUPPORTED}),
    "with parameters and capitals": (attached(b"Dear all", "Text/Plain; charset=utf-8"), {**APPROVED, **SUPPORTED}),
    "further type on both lists": (
        attached("R0lGODlh", "image/gif"),
        {"workflow": a_row(approved_attachments=frozenset({"image/gif"})), "supported_attachments": KINDS | {"image/gif"}},
    ),
    "no list at all": (attached("R0lGODlh", "image/gif"), {}),
    "RTF after a line end": (attached(b"\r\n {\\rtf1 x}", "application/rtf"), SUPPORTED),
    "RTF after a byte order mark": (attached(b"\xef\xbb\xbf\n{\\rtf1 x}", "text/rtf"), SUPPORTED),
    "HTML called text": (attached(b"<p>Dear all</p>", "text/html"), SUPPORTED),
}
SPELLINGS = {
    "application/pdf": PDF,
    "application/msword": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1...",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": b"PK\x03\x04...",
    "application/rtf": b"{\\rtf1 x}",
    "text/rtf": b"{\\rtf1 x}",
    "application/mswrtford": b"{\\rtf1 x}",
    "text/html": b"<html><body>x</body></html>",
    "text/plain": b"Dear colleague",
    "text/xml": b"<?xml version='1.0'?><x/>",
    "image/jpeg": b"\xff\xd8\xff\xe0...",
    "image/jpg": b"\xff\xd8\xff\xe0...",
    "image/png": PNG,
    "image/tiff": b"II*\x00...",
    "image/tif": b"MM\x00*...",
}
