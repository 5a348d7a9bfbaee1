"""Who is answered when: the five patterns of exchange, duplicates, and responses that come to us. Pure."""

from __future__ import annotations

from typing import Final

from mesh_itk3.simulator.conformance.case import (
    BOTH,
    Answer,
    Becomes,
    Case,
    NonDelivery,
    Raw,
    Redelivery,
    Reply,
    Step,
    accepted,
    letter,
    message,
    refused,
)
from mesh_itk3.simulator.conformance.edits import drop, key, rewrite, swap

_MOST_TWO: Final = "ITK3-UNNUMBERED-07"
_ENDS: Final = "ITK3-UNNUMBERED-06"
_RESPONSES: Final = "FHIR-BA-01"
_DUPLICATE: Final = ("FHIR-RR-05", "FHIR-RR-05/1", "FHIR-RR-05/2", "FHIR-RR-05/3", "RC-HS-02")

FLAGS: Final = (
    Case("technical-and-business", "Both flags: an infrastructure response, then a business response, and no more.", "standard",
         (accepted(letter(), *BOTH),), (_MOST_TWO,)),
    Case("technical-only", "InfAckRequested alone: 20013 and nothing after it; the letter is filed.", "standard",
         (accepted(letter(business_requested=False), "20013"),), (_MOST_TWO,)),
    Case("business-only", "BusAckRequested alone: the business response and nothing before it.", "standard",
         (accepted(letter(infrastructure_requested=False), "30001"),), (_MOST_TWO,)),
    Case("fire-and-forget", "Neither flag: no response at all; the letter is filed.", "standard",
         (accepted(letter(infrastructure_requested=False, business_requested=False)),), (_MOST_TWO,)),
    Case("answered-in-turn", "The hospital answers our business response: that is noted, and ends the matter.", "standard",
         (accepted(letter(), *BOTH), Step(Reply("20013", asks=False), (), "correlated")), (_MOST_TWO, _RESPONSES)),
    Case("negative-ends-it", "A refusal ends the matter: no business response follows although it was asked for.", "standard",
         (refused(letter(recipient_type="XX"), "10010"),), (_ENDS, _MOST_TWO)),
    Case("negative-with-business-only", "A faulty message that wants a business response only: nothing goes out.", "standard",
         (refused(letter(recipient_type="XX", infrastructure_requested=False), None),), (_ENDS,)),
)  # fmt: skip

DUPLICATES: Final = (
    Case("redelivery", "MESH lists a message again: it is acknowledged again, and nothing more is sent or filed.", "standard",
         (accepted(letter(), *BOTH), Step(Redelivery())), ()),
    Case("duplicate-message", "The same message sent twice: 20007, filed once.", "standard",
         (accepted(letter(seed="twice"), *BOTH), refused(letter(seed="twice"), "20007", repeats=0)), _DUPLICATE),
    Case("duplicate-message-other-bytes", "The same MessageHeader.id with other content: 20007, and marked for a person.",
         "standard",
         (accepted(letter(seed="differs"), *BOTH),
          refused(letter(seed="differs", coded=False), "20007", repeats=0, has_differing_bytes=True)), _DUPLICATE),
    Case("duplicate-message-urn", "The same id with urn:uuid: before it: 20007, filed once.", "standard",
         (accepted(letter(seed="urn"), *BOTH),
          refused(letter("ITK003D", rewrite('(?<=<MessageHeader>)<id value="', "\\g<0>urn:uuid:"), seed="urn"), "20007", repeats=0,
                  has_differing_bytes=True)), _DUPLICATE),
    Case("duplicate-document", "The same document in another message: 20008, filed once.", "standard",
         (accepted(letter(seed="document"), *BOTH),
          refused(letter(seed="document", header_id="0ddba11c-0000-4000-8000-000000000001"), "20008", repeats=0,
                  has_differing_bytes=True)), _DUPLICATE),
    Case("duplicate-not-asked", "A duplicate that wants no response gets none, and is not filed again.", "standard",
         (accepted(letter(seed="quiet", infrastructure_requested=False), "30001"),
          refused(letter(seed="quiet", infrastructure_requested=False), None, repeats=0)), ("FHIR-RR-05/1", "FHIR-RR-05/3")),
    Case("replacement", "A document that replaces another is no duplicate: it is taken and filed.", "standard",
         (accepted(letter(seed="replaced", composition_identifier="0ddba11c-0000-4000-8000-000000000002"), *BOTH),
          accepted(letter(seed="replacing", replaces="0ddba11c-0000-4000-8000-000000000002"), *BOTH)), ()),
    Case("replacement-same-document-id", "A replacement under its predecessor's document identifier is no duplicate either.",
         "standard",
         (accepted(letter(seed="replaced-2"), *BOTH),
          accepted(letter(seed="replaced-2", header_id="0ddba11c-0000-4000-8000-000000000003",
                          composition_identifier="0ddba11c-0000-4000-8000-000000000004",
                          replaces="0ddba11c-0000-4000-8000-000000000005"), *BOTH)), ()),
    Case("same-ids-other-sender", "Another hospital's message with the ids of one that is known is no duplicate.", "standard",
         (accepted(letter(seed="twice"), *BOTH),), ("FHIR-RR-05",)),
    Case("refused-then-corrected", "A message that was refused is not known: the corrected one is judged afresh.", "standard",
         (refused(letter(seed="corrected", recipient_type="XX"), "10010"), accepted(letter(seed="corrected"), *BOTH)), ()),
    Case("duplicate-faulty", "A known id in a message that is faulty otherwise: the fault comes first.", "standard",
         (accepted(letter(seed="faulty-again"), *BOTH), refused(letter(seed="faulty-again", recipient_type="XX"), "10010")), ()),
)  # fmt: skip


def _reply(becomes: Becomes, reply: Reply, *answers: Answer) -> Step:
    return Step(reply, answers, becomes)


_FLAG_JUNK: Final = key("InfAckRequested", '<valueBoolean value="perhaps"/>')
_NO_OUTCOME: Final = drop(
    r'<entry><fullUrl value="[^"]*"/><resource><OperationOutcome>.*?</OperationOutcome></resource></entry>'
)
_ONE: Final = Answer("20013")

RESPONSES: Final = (
    Case("infrastructure-response-to-ours", "An infrastructure response to our response is noted and never answered.", "standard",
         (accepted(letter(), *BOTH), _reply("correlated", Reply("20013", asks=True))), (_RESPONSES, _MOST_TWO)),
    Case("negative-response-to-ours", "A refusal of our response is noted and never answered.", "standard",
         (accepted(letter(), *BOTH, is_response_refused=True), _reply("correlated", Reply("10001", asks=True))), (_RESPONSES,)),
    Case("business-response-that-asks", "A business response that asks for an infrastructure response gets it, once.", "standard",
         (accepted(letter(), *BOTH), _reply("correlated", Reply("30001", asks=True), _ONE)), (_RESPONSES,)),
    Case("business-response-again", "The same business response once more gets nothing more.", "standard",
         (accepted(letter(), *BOTH), _reply("correlated", Reply("30001", asks=True), _ONE),
          _reply("correlated", Reply("30001", asks=True, again=True))), (_RESPONSES,)),
    Case("business-response-that-does-not-ask", "A business response that asks for nothing gets nothing; a negative one is raised.", "standard",
         (accepted(letter(), *BOTH, is_response_refused=True), _reply("correlated", Reply("30002", asks=False))), (_RESPONSES,)),
    Case("response-with-unreadable-flag", "On a response workflow an unreadable flag counts as not asked: no loop.", "standard",
         (accepted(letter(), *BOTH), _reply("correlated", Reply("30001", asks=True, edits=(_FLAG_JUNK,)))), (_RESPONSES,)),
    Case("response-to-nothing", "A response that answers nothing of ours is kept, marked, and not answered.", "standard",
         (_reply("uncorrelated", Reply("20013", asks=False, is_known=False)),), (_RESPONSES,)),
    Case("business-response-to-nothing", "A business response to nothing of ours that asks is told that it arrived.", "standard",
         (_reply("uncorrelated", Reply("30001", asks=True, is_known=False), _ONE),), (_RESPONSES,)),
    Case("broken-response", "Bytes that are no XML on a response workflow: kept, and never answered.", "standard",
         (Step(message(Raw(b"<Bundle this is no XML"), "TOC_FHIR_IP_DISCH_ACK"), (), "uncorrelated"),), ()),
    Case("letter-on-response-workflow", "A letter on a response workflow is no response: kept, and never answered.", "standard",
         (Step(message(letter(), "TOC_FHIR_IP_DISCH_ACK"), (), "uncorrelated"),), ()),
    Case("response-on-letter-workflow", "A response on the letters' workflow is treated as a response all the same.", "standard",
         (accepted(letter(), *BOTH), _reply("correlated", Reply("20013", asks=True, workflow_id="TOC_FHIR_IP_DISCH"))),
         (_RESPONSES,)),
    Case("broken-response-on-letter-workflow", "A response that is not well-formed, on the letters' workflow: no answer.",
         "standard",
         (accepted(letter(), *BOTH, is_response_refused=True),
          _reply("correlated", Reply("10001", asks=True, workflow_id="TOC_FHIR_IP_DISCH", edits=(swap("</OperationOutcome>", ""),)))),
         ()),
    Case("older-response-code", "A code of a draft of 2017 (41001) is shown as it is, and asks for nothing.", "standard",
         (accepted(letter(), *BOTH), _reply("correlated", Reply("20013", asks=True, edits=(swap('"20013"', '"41001"'),)))),
         (_RESPONSES,)),
    Case("response-without-outcome", "A response without OperationOutcome, as older systems write it, is matched all the same.",
         "standard", (accepted(letter(), *BOTH), _reply("correlated", Reply("20013", asks=True, edits=(_NO_OUTCOME,)))),
         (_RESPONSES,)),
    Case("response-left-for-another", "In a mailbox that another system sends from, its responses stay in MESH.", "shared",
         (_reply("left in MESH", Reply("20013", asks=False, is_known=False)),), ()),
    Case("own-response-in-shared-mailbox", "In such a mailbox, what answers ours is taken.", "shared",
         (accepted(letter(), *BOTH), _reply("correlated", Reply("20013", asks=False))), (_RESPONSES,)),
    Case("response-not-delivered", "MESH reports that our business response was not collected: marked as undelivered.", "standard",
         (accepted(letter(), *BOTH, response_states=("sent", "undelivered")), Step(NonDelivery())), ()),
)  # fmt: skip
