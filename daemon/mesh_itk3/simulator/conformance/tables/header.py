"""Bundle, MessageHeader and the parties that it names. Pure."""

from __future__ import annotations

from typing import Final

from mesh_itk3.simulator.conformance.case import BOTH, Case, accepted, letter, refused
from mesh_itk3.simulator.conformance.edits import drop, header_last, header_twice, renamed, rewrite, swap

_SHOULD: Final = "RC-HS-02"
_INVALID: Final = ("GPCM-SD-040", "GPCM-SD-041", "GPCM-SD-042")
_UNREADABLE: Final = "ITK3-UNNUMBERED-08"
_RECIPIENT: Final = ("FHIR-RR-01", "FHIR-RR-01/1")
_SENDER: Final = '<sender><reference value="[^"]*"/></sender>'
_NOBODY: Final = '<receiver><reference value="urn:uuid:0ddba11c"/></receiver>'

CASES: Final = (
    Case("header-id-missing", "A MessageHeader without id: 20006, which names it by the fixed string.", "standard",
         (refused(letter("ITK003D", drop('(?<=<MessageHeader>)<id value="[^"]*"/>')), "20006", names_message=False),),
         (_SHOULD, _UNREADABLE)),
    Case("header-id-no-fhir-id", "An id with characters that no FHIR id may have: 20006, the fixed string.", "standard",
         (refused(letter(header_id="no id, this!"), "20006", names_message=False),), (_SHOULD, _UNREADABLE)),
    Case("event-missing", "No event: 20006.", "standard", (refused(letter(event=None), "20006"),), (_SHOULD,)),
    Case("event-of-another-system", "The event's code is of another code system: 20006.", "standard",
         (refused(letter("ITK003D", swap("CodeSystem/ITK-MessageEvent-2", "CodeSystem/ITK-MessageEvent-1")), "20006"),),
         (_SHOULD,)),
    Case("event-not-taken-here", "An event that nothing takes on this workflow: 20006.", "standard",
         (refused(letter(event="ITK012M"), "20006"),), (_SHOULD,)),
    Case("sender-missing", "No sender: 20006.", "standard", (refused(letter("ITK003D", drop(_SENDER)), "20006"),), (_SHOULD,)),
    Case("sender-nowhere", "The sender's reference leads nowhere: 20006.", "standard",
         (refused(letter("ITK003D", rewrite(_SENDER, '<sender><reference value="urn:uuid:0ddba11c"/></sender>')), "20006"),),
         (_SHOULD,)),
    Case("timestamp-missing", "No timestamp: 20006.", "standard",
         (refused(letter("ITK003D", drop('<timestamp value="[^"]*"/>')), "20006"),), (_SHOULD,)),
    Case("timestamp-without-zone", "A timestamp without zone, which is no instant: 20006.", "standard",
         (refused(letter("ITK003D", rewrite('<timestamp value="[^"]*"/>', '<timestamp value="2025-03-11T09:40:00"/>')), "20006"),),
         (_SHOULD,)),
    Case("timestamp-no-date", "A timestamp on 30 February: 20006.", "standard",
         (refused(letter("ITK003D", rewrite('<timestamp value="[^"]*"/>', '<timestamp value="2025-02-30T09:40:00Z"/>')),
                  "20006"),), (_SHOULD,)),
    Case("source-missing", "No source endpoint: 20006.", "standard",
         (refused(letter("ITK003D", drop("<source>.*?</source>")), "20006"),), (_SHOULD,)),
    Case("bundle-type-missing", "A bundle without type: 20006.", "standard",
         (refused(letter("ITK003D", drop('<type value="message"/>')), "20006"),), (_SHOULD,)),
    Case("bundle-type-wrong", "A bundle of type collection: 20006.", "standard",
         (refused(letter("ITK003D", swap('<type value="message"/>', '<type value="collection"/>')), "20006"),), (_SHOULD,)),
    Case("header-nowhere", "A bundle without MessageHeader: 20006, the fixed string.", "standard",
         (refused(letter("ITK004D", renamed("MessageHeader", "Basic")), "20006", names_message=False),), (_SHOULD, _UNREADABLE)),
    Case("header-twice", "Two MessageHeaders: 20006.", "standard", (refused(letter("ITK003D", header_twice), "20006"),),
         (_SHOULD,)),
    Case("header-last", "The MessageHeader stands last: it is found there, and the letter is taken.", "standard",
         (accepted(letter("ITK003D", header_last), *BOTH),), ()),
    Case("no-bundle", "A Composition without any bundle around it: 20006, the fixed string.", "standard",
         (refused(letter("ITK003D", rewrite(".*(<Composition)(>.*</Composition>).*", '\\1 xmlns="http://hl7.org/fhir"\\2')),
                  "20006", names_message=False),), (_SHOULD, _UNREADABLE)),
    Case("receiver-elsewhere", "Addressed to another organisation: 20002, nothing is filed.", "standard",
         (refused(letter(receiver_ods="B99999"), "20002"),), (_SHOULD, *_RECIPIENT)),
    Case("receiver-elsewhere-not-asked", "Addressed elsewhere, and no response is wanted: none goes out.", "standard",
         (refused(letter(receiver_ods="B99999", infrastructure_requested=False), None),), (*_RECIPIENT, "FHIR-RR-01/NB")),
    *(
        Case(f"receiver-twice-{order}", f"Two receivers, {order.replace('-', ' ')}: 20006.", "standard",
             (refused(letter("ITK003D", rewrite("<receiver>.*?</receiver>", receivers)), "20006"),), (_SHOULD,))
        for order, receivers in (("ours-first", "\\g<0>" + _NOBODY), ("ours-second", _NOBODY + "\\g<0>"))
    ),
    Case("header-id-twice", "Two ids in one MessageHeader: 20006, which answers to the first.", "standard",
         (refused(letter("ITK003D", rewrite('(?<=<MessageHeader>)<id value="[^"]*"/>', '\\g<0><id value="0ddba11c"/>')), "20006"),),
         (_SHOULD,)),
    Case("sender-twice", "Two senders: 20006.", "standard",
         (refused(letter("ITK003D", rewrite(_SENDER, "\\g<0>\\g<0>")), "20006"),), (_SHOULD,)),
    Case("receiver-also-served", "Addressed to an organisation that this mailbox also answers for.", "standard",
         (accepted(letter(receiver_ods="A81002"), *BOTH),), ("FHIR-RR-01",)),
    Case("receiver-not-known-to-sender", "Addressed to V81999, which stands for a practice that is not known.", "standard",
         (accepted(letter(receiver_ods="V81999"), *BOTH),), ("FHIR-RR-01",)),
    Case("receiver-absent", "No receiver in the header: taken.", "standard",
         (accepted(letter(receiver_ods=None), *BOTH),), ()),
    Case("send-document-invalid", "An invalid Send Document message: a negative response on its own response workflow.",
         "standard", (refused(letter("ITK007C", event=None), "20006"),), (_SHOULD, *_INVALID, "GPCM-SD-CS-062")),
)  # fmt: skip
