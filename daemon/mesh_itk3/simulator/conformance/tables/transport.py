"""What MESH does with a message on its way, and what it may refuse. Pure."""

from __future__ import annotations

from typing import Final

from mesh_itk3.simulator.conformance.case import BOTH, Case, Raw, Step, accepted, letter, message, refused
from mesh_itk3.simulator.conformance.edits import gzipped

_MESH: Final = ("GPCM-C-01",)
CROWD: Final = 600

CASES: Final = (
    Case("chunked", "A report of 900 kB in four MESH chunks is put together again.", "standard",
         (accepted(message(letter("ITK007C", size=900_000, bulk="attachment"), chunk_bytes=250_000), *BOTH, attachments=1),),
         (*_MESH, "FHIR-HA-01")),
    Case("line-gzip", "Compressed for the line (Content-Encoding).", "standard",
         (accepted(message(letter(), line_gzip=True), *BOTH),), _MESH),
    Case("line-gzip-chunked", "In chunks, each compressed for the line.", "standard",
         (accepted(message(letter(size=200_000), line_gzip=True, chunk_bytes=50_000), *BOTH),), _MESH),
    Case("sender-gzip", "Compressed by its sender (Mex-Content-Compressed): what was compressed is read and filed.", "standard",
         (accepted(message(letter(), is_gzip=True), *BOTH),), _MESH),
    Case("large", "A letter of 1.2 MB.", "standard", (accepted(letter(size=1_200_000), *BOTH),), ()),
    Case("too-large", "Larger than this practice reads: 20015, naming the message; kept, not filed.", "standard",
         (refused(letter(size=1_600_000), "20015"),), ("RC-HS-02",)),
    Case("too-large-chunked", "The same in chunks.", "standard",
         (refused(message(letter("ITK007C", size=1_600_000, bulk="attachment"), chunk_bytes=400_000), "20015"),), ()),
    Case("gzip-bomb", "A hundred megabytes in a hundred kilobytes are never unpacked whole: 20015.", "standard",
         (refused(message(Raw(gzipped(b" " * 100_000_000)), claims_gzip=True), "20015", names_message=False),), ()),
    Case("foreign-workflow", "A message for another system's workflow stays in MESH, unread.", "standard",
         (Step(message(letter(), "TOC_DISCH_DMS"), (), "left in MESH"),), ()),
    Case("handler-switched-off", "The handler of this workflow is switched off here: the message stays in MESH, unanswered.", "shared",
         (Step(message(letter("ITK007C")), (), "left in MESH"),), ()),
    Case("crowd", f"{CROWD} letters in one inbox, answered within one poll: the next would be five minutes later.", "crowd",
         (accepted(message(letter(), times=CROWD), *BOTH),), _MESH),
    Case("mailbox-refuses", "The hospital's mailbox is gone (417): the letter is filed, its response set aside for a person.",
         "refusing", (Step(message(letter(business_requested=False)), (), "completed", is_filed=True,
                           response_states=("parked",)),), ()),
)  # fmt: skip
