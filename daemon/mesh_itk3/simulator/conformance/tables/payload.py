"""Every payload that is taken, every fault of a payload, and every business response that a letter can get. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from mesh_itk3.simulator.conformance.case import (
    BOTH,
    Answer,
    Case,
    Decision,
    Letter,
    Step,
    accepted,
    letter,
    message,
    refused,
)
from mesh_itk3.simulator.conformance.edits import (
    Edit,
    document_twice,
    drop,
    inside_document,
    renamed,
    rewrite,
    swap,
    without_document,
    without_resource,
)
from mesh_itk3.simulator.patients import (
    EDITH,
    MARGARET_DECEASED,
    PIOTR_UNKNOWN,
    RAJESH,
    SUSAN_DISAGREES,
    THOMAS_LEFT,
    WALTER_DECEASED_LONG_AGO,
)

_MUST: Final = "RC-HS-01"
_SHOULD: Final = "RC-HS-02"
_TAKEN: Final = ("ITK3-UNNUMBERED-01", "ITK3-UNNUMBERED-03", "GPCM-C-01")
_CONSULTATION: Final = ("GPCM-SD-CS-054", "GPCM-SD-CS-055", "GPCM-SD-CS-056", "GPCM-SD-CS-057", "GPCM-SD-CS-058",
                        "GPCM-SD-CS-059", "GPCM-SD-CS-062", "FHIR-HA-01", "FHIR-HA-01/2")  # fmt: skip
_ONLINE: Final = (*(f"GPCM-SD-OC-{number}" for number in range(153, 159)), "GPCM-SD-OC-161")
_SEND_DOCUMENT_2: Final = ("SD2-050..055", "SD2-093/057")

PAYLOADS: Final = (
    Case("inpatient-discharge", "Transfer of Care, inpatient discharge (ITK003D): 20013, then 30001; filed.", "standard",
         (accepted(letter("ITK003D"), *BOTH),), (*_TAKEN, _MUST, "FHIR-DOC-01", "GP-GFR-18", "GP-GFR-19")),
    Case("mental-health-discharge", "Transfer of Care, mental health discharge (ITK004D).", "standard",
         (accepted(letter("ITK004D"), *BOTH),), _TAKEN),
    Case("emergency-care-discharge", "Transfer of Care, emergency care discharge (ITK005D).", "standard",
         (accepted(letter("ITK005D"), *BOTH),), _TAKEN),
    Case("outpatient-letter", "Transfer of Care, outpatient letter (ITK006D).", "standard",
         (accepted(letter("ITK006D"), *BOTH),), _TAKEN),
    Case("consultation-report", "GP Connect consultation report (ITK007C) with its PDF.", "standard",
         (accepted(letter("ITK007C", sender_reference="ENC-7"), *BOTH, reference="ENC-7", attachments=1),),
         (*_TAKEN, *_CONSULTATION)),
    Case("online-consultation-report", "GP Connect online consultation report (ITK007C) with its PDF.", "standard",
         (accepted(letter("ITK007C", sender_reference="ENC-8", local_extension="SendDocument-OnlineConsultationReport"), *BOTH,
                   reference="ENC-8", attachments=1),), (*_TAKEN, *_ONLINE)),
    Case("send-document", "GP Connect Send Document 2 (ITK007C) on its own workflow.", "standard",
         (accepted(message(letter("ITK007C"), "GPCONNECT_SEND_DOCUMENT"), *BOTH, attachments=1),),
         (*_TAKEN, *_SEND_DOCUMENT_2)),
    Case("online-consultation", "Online consultation (ITK007C) on the draft guide's workflow.", "standard",
         (accepted(message(letter("ITK007C"), "DF_ONLINE_CONSULTATION"), *BOTH, attachments=1),), _TAKEN),
    Case("vaccination", "Digital Medicines vaccination (ITK009D).", "standard", (accepted(letter("ITK009D"), *BOTH),), _TAKEN),
    Case("vaccination-other-spelling", "The same on DIGIMED_FLU_VAC, the other spelling.", "standard",
         (accepted(message(letter("ITK009D"), "DIGIMED_FLU_VAC"), *BOTH),), _TAKEN),
    Case("emergency-supply", "Digital Medicines emergency supply (ITK010D).", "standard",
         (accepted(letter("ITK010D"), *BOTH),), _TAKEN),
    Case("minor-illness", "Digital Medicines minor illness (ITK013D).", "standard",
         (accepted(message(letter("ITK010D", swap("ITK010D", "ITK013D"), swap("ITK-DM-EmergencySupply-", "ITK-DM-MIRC-")),
                           "DIGMED_MINOR_ILLNESS_PEM"), *BOTH),), _TAKEN),
    Case("no-coded-entries", "A letter without coded entries: its text is filed.", "standard",
         (accepted(letter(coded=False), *BOTH),), ()),
)  # fmt: skip

FAULTS: Final = (
    Case("document-missing", "A bundle without document: 20009.", "standard",
         (refused(letter("ITK003D", without_document), "20009"),), (_SHOULD, "FHIR-V&V-01", "FHIR-V&V-01/1")),
    Case("document-twice", "Two documents in one message: 20009.", "standard",
         (refused(letter("ITK003D", document_twice), "20009"),), (_SHOULD, "FHIR-V&V-01")),
    Case("composition-missing", "A document without Composition: 20009.", "standard",
         (refused(letter("ITK003D", renamed("Composition", "Basic")), "20009"),), (_SHOULD, "FHIR-V&V-01", "FHIR-V&V-01/1")),
    Case("patient-missing", "A document without Patient: 20009.", "standard",
         (refused(letter("ITK003D", without_resource("Patient")), "20009"),), (_SHOULD, "FHIR-V&V-01")),
    Case("subject-missing", "A Composition without subject, the Patient being there: 20009.", "standard",
         (refused(letter("ITK003D", drop("<subject>.*?</subject>")), "20009"),), (_SHOULD, "FHIR-V&V-01")),
    Case("nothing-to-read", "A Composition without any section: nothing that a person could read, 20009.", "standard",
         (refused(letter("ITK003D", drop("<section>.*</section>(?=</Composition>)")), "20009"),), (_SHOULD, "FHIR-V&V-01")),
    Case("send-document-without-document", "An invalid Send Document payload: 20009, with where and why.", "standard",
         (refused(letter("ITK007C", without_document), "20009"),),
         ("GPCM-SD-040", "GPCM-SD-041", "GPCM-SD-042", "ITK3-UNNUMBERED-06")),
    Case("send-document-2-without-document", "The same on the workflow of Send Document 2.", "standard",
         (refused(message(letter("ITK007C", without_document), "GPCONNECT_SEND_DOCUMENT"), "20009"),),
         ("SD2-065/066", "SD2-074")),
    Case("refused-not-told", "A faulty message that wants no response: refused and logged, and nothing goes out.", "standard",
         (refused(letter("ITK003D", without_document, infrastructure_requested=False), None),),
         ("FHIR-RR-01/NB", "FHIR-V&V-01/1")),
)  # fmt: skip


def _decided(code: str, words: str, *, is_filed: bool) -> Case:
    return Case(
        f"decided-{code}",
        f"The birth date differs: nothing is answered until a person decides; they say {words}: {code}.",
        "standard",
        (
            Step(message(letter(patient=SUSAN_DISAGREES)), (Answer("20013"),), "completed", is_filed),
            Step(Decision(code), (Answer(code, about=0),)),
        ),
        (_MUST,),
    )


def _business() -> Iterator[Case]:
    known = accepted(letter(patient=RAJESH), "20013", "30001")
    yield Case(
        "patient-known", "The patient is registered here: 30001, and the letter is filed.", "standard", (known,), (_MUST,)
    )
    yield Case("patient-unknown", "The patient is not known here: 30002, and nothing is filed.", "standard",
               (accepted(letter(patient=PIOTR_UNKNOWN), "20013", "30002", is_filed=False),), (_MUST, "FHIR-RR-02"))  # fmt: skip
    yield Case("patient-unknown-not-asked", "Not known here, and no business response is wanted: only 20013.", "standard",
               (accepted(letter(patient=PIOTR_UNKNOWN, business_requested=False), "20013", is_filed=False),),
               ("FHIR-RR-02/NB",))  # fmt: skip
    yield Case("patient-left", "The patient has left: 30003, and nothing is filed.", "standard",
               (accepted(letter(patient=THOMAS_LEFT), "20013", "30003", is_filed=False),), (_MUST,))  # fmt: skip
    yield Case("patient-died", "The patient died three weeks ago: 30004, and the letter is filed.", "standard",
               (accepted(letter(patient=MARGARET_DECEASED), "20013", "30004"),), (_MUST,))  # fmt: skip
    yield Case("patient-died-long-ago", "The patient died more than six months ago: 30003, and nothing is filed.", "standard",
               (accepted(letter(patient=WALTER_DECEASED_LONG_AGO), "20013", "30003", is_filed=False),), (_MUST,))  # fmt: skip
    yield _decided("30001", "that the patient is theirs", is_filed=True)
    yield _decided("30002", "that nobody knows the patient", is_filed=False)
    yield _decided("30003", "that the patient has left", is_filed=False)
    yield _decided("30004", "that the patient has recently died", is_filed=True)
    yield _waits("birth-date-differs", "The birth date differs: 20013, and a person decides.", patient=SUSAN_DISAGREES)
    yield _waits("birth-date-differs-not-asked", "The same without a wish for a business response: a person decides all the same.",
                 patient=SUSAN_DISAGREES, business_requested=False)  # fmt: skip
    yield Case("nhs-number-faulty", "An NHS number whose check digit is wrong is no proof of anything: a person decides.", "standard",
               (_waiting(letter("ITK003D", _other_number())),), ())  # fmt: skip
    yield Case("register-missing", "No patient register: every business decision waits for a person.", "samples",
               (_waiting(letter(receiver_ods="RY6")),), ())  # fmt: skip
    spaced = inside_document(swap(EDITH.nhs_number, f"{EDITH.nhs_number[:3]} {EDITH.nhs_number[3:6]} {EDITH.nhs_number[6:]}"))
    yield Case("nhs-number-with-spaces", "An NHS number written with spaces is the same number.", "standard",
               (accepted(letter("ITK003D", spaced), *BOTH),), ())  # fmt: skip


def _other_number() -> Edit:
    faulty = EDITH.nhs_number[:-1] + str((int(EDITH.nhs_number[-1]) + 1) % 10)
    return inside_document(rewrite(f'(<value value="){EDITH.nhs_number}"', f'\\g<1>{faulty}"'))


def _waiting(sent: Letter) -> Step:
    return accepted(sent, "20013", becomes="awaiting_decision", is_filed=False)


def _waits(name: str, shows: str, **changes: Any) -> Case:
    return Case(name, shows, "standard", (_waiting(letter(**changes)),), ())


BUSINESS: Final = tuple(_business())
