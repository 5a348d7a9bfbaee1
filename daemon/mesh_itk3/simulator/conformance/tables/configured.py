"""What a practice or a payload's guide adds: lists of persons and senders, attachment types, flags, full acknowledgement. Pure."""

from __future__ import annotations

from typing import Final

from mesh_itk3.simulator.conformance.case import (
    BOTH,
    Answer,
    Case,
    Letter,
    Reply,
    Step,
    accepted,
    letter,
    message,
    refused,
)
from mesh_itk3.simulator.conformance.edits import attachment, drop, inside_document, receiver_person, rewrite

_SHOULD: Final = "RC-HS-02"
_RECIPIENT: Final = ("FHIR-RR-01", "FHIR-RR-01/1")
_LISTED: Final = "999900000001"
"""On the list of persons of the practice `lists`."""
_UNLISTED: Final = "999900000002"
_DISTRIBUTION: Final = (
    '<section><title value="Distribution list"/><code><coding><system value="http://snomed.info/sct"/>'
    '<code value="887261000000109"/><display value="Distribution list"/></coding></code><text><status value="additional"/>'
    '<div xmlns="http://www.w3.org/1999/xhtml"><p>A copy for the doctor.</p></div></text>'
    '<entry><reference value="urn:uuid:{}"/></entry></section>'
)


def _to_the_author() -> Letter:
    """A consultation report whose distribution list names its author, and nothing else says whose it is."""
    seed = "person-in-document-unknown"
    author = letter("ITK007C", seed=seed).ids(seed)("author")
    return letter("ITK007C", inside_document(rewrite("(</Composition>)", _DISTRIBUTION.format(author) + "\\1")), seed=seed)


PARTIES: Final = (
    Case("person-known", "Addressed to a person on the practice's list: taken.", "lists",
         (accepted(letter("ITK003D", receiver_person(_LISTED)), *BOTH),), ("FHIR-RR-01",)),
    Case("person-unknown", "Addressed to a person who is not on the list: 20001.", "lists",
         (refused(letter("ITK003D", receiver_person(_UNLISTED)), "20001"),), (_SHOULD, *_RECIPIENT)),
    Case("person-not-checked", "The same where the practice keeps no list: taken.", "standard",
         (accepted(letter("ITK003D", receiver_person(_UNLISTED)), *BOTH),), ()),
    Case("person-in-document-unknown", "Only the distribution list says whose it is, and names a person who is not ours: 20011.",
         "lists", (refused(_to_the_author(), "20011"),), (_SHOULD, "FHIR-RR-01")),
    Case("sender-known", "A sender on the practice's list: taken.", "lists", (accepted(letter("ITK009D"), *BOTH),), ()),
    Case("sender-unknown", "A sender that is not on the list: 20003.", "lists",
         (refused(letter("ITK009D", sender_ods="RX999"), "20003"),), (_SHOULD,)),
    Case("sender-unknown-by-look-up", "Where MESH finds the practice by the patient, senders are not checked: taken.", "lists",
         (accepted(letter("ITK003D", sender_ods="RX999"), *BOTH),), ()),
    Case("sender-authorised", "A sender whose MESH mailbox is on the list: taken.", "closed",
         (accepted(letter("ITK009D"), *BOTH),), ()),
    Case("sender-not-authorised", "A sender whose MESH mailbox is not on the list: 20012.", "closed",
         (refused(letter("ITK009D"), "20012"),), (_SHOULD,)),
    Case("sender-not-authorised-to-stand-in", "Addressing it to V81999 frees no sender from the list: 20012.", "closed",
         (refused(letter("ITK009D", receiver_ods="V81999"), "20012"),), (_SHOULD,)),
    Case("sender-not-authorised-by-look-up", "Where MESH finds the practice by the patient, the list does not count: taken.",
         "closed", (accepted(letter("ITK003D"), *BOTH),), ()),
)  # fmt: skip

_GIF: Final = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
_PNG: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
_PROGRAM: Final = "TVqQAAMAAAAEAAAA//8AALgAAAAAAAAAQAAAAAAAAAA="
_TEXT: Final = "RGVhciBjb2xsZWFndWUsIHNlZSBhYm92ZS4="
_ODD_TEXT: Final = "RGVhciBjb2xsZWFndWUsIHNlZSCBYm92ZS4="
_ATTACHED: Final = ("FHIR-HA-01", "FHIR-HA-01/2")

ATTACHMENTS: Final = (
    Case("attachment-not-approved", "A GIF, which the payload's guide does not list: 20004.", "standard",
         (refused(letter("ITK007C", attachment("image/gif", _GIF)), "20004"),), (_SHOULD, *_ATTACHED)),
    Case("attachment-program", "A program that calls itself a PDF: 20004.", "standard",
         (refused(letter("ITK007C", attachment("application/pdf", _PROGRAM)), "20004"),), (_SHOULD, *_ATTACHED)),
    Case("attachment-unsupported", "An approved PNG at a practice that can open PDF only: 20005.", "lists",
         (refused(letter("ITK007C", attachment("image/png", _PNG)), "20005"),), (_SHOULD, *_ATTACHED)),
    Case("attachment-png", "A PNG that calls itself one: taken and filed.", "standard",
         (accepted(letter("ITK007C", attachment("image/png", _PNG)), *BOTH, attachments=1),), _ATTACHED),
    Case("attachment-text", "A plain text: taken and filed.", "standard",
         (accepted(letter("ITK007C", attachment("text/plain; charset=utf-8", _TEXT)), *BOTH, attachments=1),), _ATTACHED),
    Case("attachment-odd-byte", "A plain text with a byte of no character set: taken and filed, with a warning.", "standard",
         (accepted(letter("ITK007C", attachment("text/plain", _ODD_TEXT)), *BOTH, attachments=1,
                   warnings=("attachment_content_unknown",)),), _ATTACHED),
    Case("attachment-other-type", "A PNG that calls itself a PDF, both approved: taken, with a warning.", "standard",
         (accepted(letter("ITK007C", attachment("application/pdf", _PNG)), *BOTH, attachments=1,
                   warnings=("attachment_content_differs",)),), _ATTACHED),
    Case("attachment-no-base64", "An attachment that cannot be decoded: 20009.", "standard",
         (refused(letter("ITK007C", attachment("application/pdf", "this is no base64!")), "20009"),), (_SHOULD,)),
)  # fmt: skip

RULES: Final = (
    Case("flag-required", "GP Connect wants BusAckRequested true, and it is false: 10008.", "standard",
         (refused(letter("ITK007C", business_requested=False), "10008"),), (_SHOULD, "GPCM-SD-040", "GPCM-SD-041")),
    Case("flag-required-other-payload", "The same flag on a payload whose guide does not want it: taken.", "standard",
         (accepted(letter("ITK003D", business_requested=False), "20013"),), ()),
    Case("replacement-of-nothing", "A replacement that does not say what it replaces: 20009.", "standard",
         (refused(letter("ITK003D", drop("<targetIdentifier>.*?</targetIdentifier>"),
                         replaces="0ddba11c-0000-4000-8000-000000000006"), "20009"),), (_SHOULD,)),
)  # fmt: skip

FULL_ACKNOWLEDGEMENT: Final = (
    Case("full-acknowledgement", "Full acknowledgement: our business response asks in turn; the hospital's 20013 ends the matter.",
         "full", (Step(message(letter()), (Answer("20013"), Answer("30001", asks=True)), "completed", is_filed=True),
                  Step(Reply("20013", asks=False), (), "correlated")), ("ITK3-UNNUMBERED-07", "FHIR-BA-01")),
    Case("full-acknowledgement-refused", "The hospital refuses our business response: noted, and never answered.", "full",
         (Step(message(letter()), (Answer("20013"), Answer("30001", asks=True)), "completed", is_filed=True,
               is_response_refused=True),
          Step(Reply("10001", asks=True), (), "correlated")), ("FHIR-BA-01",)),
    Case("full-acknowledgement-refusal", "Of a message that is refused, the one negative asks for nothing.", "full",
         (refused(letter(recipient_type="XX"), "10010"),), ("ITK3-UNNUMBERED-06",)),
)  # fmt: skip
