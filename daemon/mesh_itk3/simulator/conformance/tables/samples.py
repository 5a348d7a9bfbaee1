"""The official samples, sent byte for byte as they are published. They are not ours to distribute. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Final

from mesh_itk3.simulator.conformance.case import Answer, Becomes, Case, Message, Sample, Step
from mesh_itk3.simulator.conformance.codes import CODES

_TAKEN: Final = (
    ("test-harness/ITK003D_ITK_eDischarge.xml", "TOC_FHIR_IP_DISCH"),
    ("test-harness/ITK004D_ITK_MentalHealtheDischarge.xml", "TOC_FHIR_MH_DISCH"),
    ("test-harness/ITK005D_ITK_EmergencyCareeDischarge.xml", "TOC_FHIR_EC_DISCH"),
    ("test-harness/ITK006D_OutpatientLetter.xml", "TOC_FHIR_OP_ATTEN"),
    ("test-harness/ITK009D_ITK_Immunization_Document.xml", "DIGMED_FLU_VAC"),
    ("test-harness/ITK010D_ITK_EmergencySupply.xml", "DIGMED_EMG_MED"),
    ("toc-message/ITK-EDIS-TEST-032a.xml", "TOC_FHIR_IP_DISCH"),
    ("send-document/consultation_report.xml", "GPFED_CONSULT_REPORT"),
    ("send-document/example-generic-wireframe-moe-degrasse.xml", "GPCONNECT_SEND_DOCUMENT"),
    ("digital-medicines/vaccination--digimeds--covid-19--data-processing-service.xml", "DIGMED_FLU_VAC"),
    ("digital-medicines/vaccination--digimeds--seasonal-influenza--pharmacy.xml", "DIGMED_FLU_VAC"),
    ("digital-medicines/Example-DigiMeds-Emergency-Supply-Of-Medicines-1.xml", "DIGMED_EMG_MED"),
    ("parser-traps/engage_jack_smith_mirc.block2.xml", "DIGMED_MINOR_ILLNESS_PEM"),
    ("parser-traps/example-oc-anne-teak.xml", "GPFED_CONSULT_REPORT"),
)
"""20013 in `standard`, although most of them break the profiles; without a register the business decision waits."""


def _case(file: str, shows: str, workflow_id: str, becomes: Becomes, *answers: Answer) -> Case:
    name = f"sample-{PurePosixPath(file).stem}"
    return Case(name, shows, "samples", (Step(Message(Sample(file), workflow_id), answers, becomes),), ())


def _cases() -> Iterator[Case]:
    for file, workflow_id in _TAKEN:
        yield _case(file, f"Official sample {file}: 20013 in standard; a person decides.", workflow_id, "awaiting_decision",
                    Answer("20013", sender_reference=_REFERENCES.get(file, "None")))  # fmt: skip
    file = "send-document/oc_consultation_report_consent.xml"
    yield _case(file, f"Official sample {file}, whose Composition names no Patient of the message (patient_unreachable): 20009.", "GPFED_CONSULT_REPORT",
                "rejected", Answer("20009", sender_reference=_REFERENCES[file]))  # fmt: skip
    for file, workflow_id, names_message in (
        ("not-well-formed/engage_william_smith_meds.block1.xml", "DIGMED_EMG_MED", False),
        ("not-well-formed/NP-Single-Test-Bundle-Example-1.malformed.xml", "TOC_FHIR_IP_DISCH", True),
    ):
        yield _case(file, f"Official sample {file}, which is not well-formed: 10009.", workflow_id, "rejected",
                    Answer("10009", names_message))  # fmt: skip
    file = "pathology/ITK-Pathology-FBC-Bundle-Example-1.xml"
    yield _case(file, f"Official sample {file} on a workflow that does not take its event: 20006.", "TOC_FHIR_OP_ATTEN",
                "rejected", Answer("20006"))  # fmt: skip
    file = "update-record/pharmacy-first-service--example-1.xml"
    yield _case(file, f"Official sample {file}: no handler here takes its workflow, and it stays in MESH.",
                "GPCONNECT_UPDATE_RECORD", "left in MESH")  # fmt: skip
    file = "test-harness/ITK008M_ITK_Response.xml"
    yield _case(file, f"Official sample {file}: a business response to nothing of ours, which asks: 20013, once.",
                "TOC_FHIR_IP_DISCH_ACK", "uncorrelated", Answer("20013"))  # fmt: skip


_SEND_DOCUMENT: Final = "846ebe66-5ff8-4499-bc57-a112d3d0daa3"
_REFERENCES: Final = {
    "test-harness/ITK009D_ITK_Immunization_Document.xml": "Int-20190904-001",
    "toc-message/ITK-EDIS-TEST-032a.xml": "NULL",
    "send-document/consultation_report.xml": _SEND_DOCUMENT,
    "send-document/example-generic-wireframe-moe-degrasse.xml": _SEND_DOCUMENT,
    "send-document/oc_consultation_report_consent.xml": "affb3cf2-a710-4f74-a19a-ba8bd59cbfd3",
    "digital-medicines/Example-DigiMeds-Emergency-Supply-Of-Medicines-1.xml": "urn:uuid:7ceafc48-fa50-4b21-8175-ca4fc744a1eb",
    "parser-traps/example-oc-anne-teak.xml": _SEND_DOCUMENT,
}
"""SenderReference of those that have one of their own."""


def _responses() -> Iterator[Case]:
    """Published responses, as a receiver of responses takes them. They answer nothing of ours."""
    for code in CODES:
        file = f"responses/{code}.xml"
        is_asked = code.startswith("3")  # those published with InfAckRequested true
        shows = "a business response that asks: 20013, once" if is_asked else "kept, and never answered"
        answers = (Answer("20013"),) if is_asked else ()
        yield replace(_case(file, f"Published response {code}: {shows}.", "TOC_FHIR_IP_DISCH_ACK", "uncorrelated", *answers),
                      name=f"sample-response-{code}", requirements=("FHIR-BA-01",))  # fmt: skip


CASES: Final = (*_cases(), *_responses())
