"""The handling extension: every code that a fault in it gets. Pure."""

from __future__ import annotations

from typing import Final

from mesh_itk3.simulator.conformance.case import BOTH, Case, accepted, letter, refused
from mesh_itk3.simulator.conformance.edits import handling_twice, key, key_twice, without_key

_DEFINITION: Final = "https://fhir.nhs.uk/STU3/MessageDefinition/"
_MUST: Final = "RC-HS-01"
_SHOULD: Final = "RC-HS-02"
_UNREADABLE_FLAG: Final = "ITK3-UNNUMBERED-05"
_ENDS: Final = "ITK3-UNNUMBERED-06"

CASES: Final = (
    Case("handling-missing", "Without handling extension both flags count as asked: 10001.", "standard",
         (refused(letter(handling=False), "10001"),), (_MUST, _UNREADABLE_FLAG, _ENDS)),
    Case("handling-repeated", "Two handling extensions: 10001.", "standard",
         (refused(letter("ITK003D", handling_twice), "10001"),), (_MUST,)),
    Case("inf-ack-missing", "InfAckRequested is missing and counts as asked: 10001.", "standard",
         (refused(letter(infrastructure_requested=None), "10001"),), (_MUST, _UNREADABLE_FLAG)),
    Case("bus-ack-missing", "BusAckRequested is missing: 10001, and no business response follows.", "standard",
         (refused(letter(business_requested=None), "10001"),), (_MUST, _ENDS)),
    Case("inf-ack-no-boolean", "InfAckRequested is no boolean and counts as asked: 10002.", "standard",
         (refused(letter(infrastructure_requested="perhaps"), "10002"),), (_SHOULD, _UNREADABLE_FLAG)),
    Case("inf-ack-contradicts-itself", "InfAckRequested stands there twice, once true and once false: 10002.", "standard",
         (refused(letter("ITK003D", key_twice("InfAckRequested", '<valueBoolean value="false"/>')), "10002"),),
         (_SHOULD, _UNREADABLE_FLAG)),
    Case("bus-ack-no-boolean", "BusAckRequested is a text: 10003.", "standard",
         (refused(letter("ITK003D", key("BusAckRequested", '<valueString value="true"/>')), "10003"),), (_SHOULD,)),
    Case("definition-missing", "No MessageDefinition: 10001.", "standard",
         (refused(letter(definition=None), "10001"),), (_MUST,)),
    Case("definition-empty", "A MessageDefinition that refers to nothing: 10004.", "standard",
         (refused(letter("ITK003D", key("MessageDefinition", "<valueReference/>")), "10004"),), (_SHOULD,)),
    Case("definition-unknown", "A MessageDefinition that nobody has heard of: 10004.", "standard",
         (refused(letter(definition=_DEFINITION + "ITK-Unheard-MessageDefinition-1"), "10004"),), (_SHOULD,)),
    Case("definition-version", "A known MessageDefinition in an unknown version: 10005.", "standard",
         (refused(letter(definition=_DEFINITION + "ITK-eDischarge-MessageDefinition-99"), "10005"),), (_SHOULD,)),
    Case("sender-reference-empty", "An empty SenderReference: 10007.", "standard",
         (refused(letter(sender_reference=""), "10007"),), (_SHOULD,)),
    Case("sender-reference-long", "A SenderReference of 256 characters: 10007.", "standard",
         (refused(letter(sender_reference="x" * 256), "10007"),), (_SHOULD,)),
    Case("recipient-type-missing", "No RecipientType: 10001.", "standard",
         (refused(letter(recipient_type=None), "10001"),), (_MUST,)),
    Case("recipient-type-unknown", "A RecipientType that is neither FA nor FI: 10010.", "standard",
         (refused(letter(recipient_type="XX"), "10010"),), (_SHOULD,)),
    Case("recipient-type-system", "A RecipientType of another code system: 10010.", "standard",
         (refused(letter("ITK003D", key("RecipientType", '<valueCoding><system value="urn:x"/><code value="FA"/></valueCoding>')),
                  "10010"),), (_SHOULD,)),
    Case("local-extension-empty", "An empty LocalExtension: 10001.", "standard",
         (refused(letter(local_extension=""), "10001"),), (_MUST,)),
    Case("two-faults-one-code", "An unusable flag and an unknown definition: one response with one code, the flag's.", "standard",
         (refused(letter(infrastructure_requested="perhaps", definition=_DEFINITION + "ITK-Unheard-MessageDefinition-1"),
                  "10002"),), ("ITK3-UNNUMBERED-07", _ENDS)),
    Case("sender-reference-echoed", "SenderReference is repeated in both responses, letter by letter.", "standard",
         (accepted(letter(sender_reference="  Ward 7/B & <Théâtre> \u2116 12  "), *BOTH,
                   reference="  Ward 7/B & <Théâtre> \u2116 12  "),), ("GPCM-SD-CS-056",)),
    Case("sender-reference-in-refusal", "A refusal repeats SenderReference too.", "standard",
         (refused(letter(sender_reference="ENC-0042", recipient_type="XX"), "10010", reference="ENC-0042"),),
         ("GPCM-SD-CS-056",)),
    Case("for-information", "RecipientType FI is taken like FA.", "standard",
         (accepted(letter(recipient_type="FI"), *BOTH),), ()),
    Case("handling-and-key-order", "The keys of the handling extension in another order are the same message.", "standard",
         (accepted(letter("ITK003D", without_key("RecipientType"),
                          key("LocalExtension", '<valueString value="None"/></extension><extension url="RecipientType">'
                              '<valueCoding><system value="https://fhir.nhs.uk/STU3/CodeSystem/ITK-RecipientType-1"/>'
                              '<code value="FA"/><display value="For Action"/></valueCoding>')), *BOTH),), ()),
)  # fmt: skip
