"""The public NHS samples through the whole daemon: what a hospital that sent them would get back."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from support.practice import Practice, a_hospital
from support.sandbox import PRACTICE

pytestmark = [pytest.mark.sandbox, pytest.mark.examples]

# sample, workflow it would come on, infrastructure code in `standard`
SAMPLES = [
    ("test-harness/ITK003D_ITK_eDischarge.xml", "TOC_FHIR_IP_DISCH", "20013"),
    ("test-harness/ITK004D_ITK_MentalHealtheDischarge.xml", "TOC_FHIR_MH_DISCH", "20013"),
    ("test-harness/ITK005D_ITK_EmergencyCareeDischarge.xml", "TOC_FHIR_EC_DISCH", "20013"),
    ("test-harness/ITK006D_OutpatientLetter.xml", "TOC_FHIR_OP_ATTEN", "20013"),
    ("test-harness/ITK009D_ITK_Immunization_Document.xml", "DIGMED_FLU_VAC", "20013"),
    ("test-harness/ITK010D_ITK_EmergencySupply.xml", "DIGMED_EMG_MED", "20013"),
    ("toc-message/ITK-EDIS-TEST-032a.xml", "TOC_FHIR_IP_DISCH", "20013"),
    ("send-document/consultation_report.xml", "GPFED_CONSULT_REPORT", "20013"),
    ("send-document/example-generic-wireframe-moe-degrasse.xml", "GPCONNECT_SEND_DOCUMENT", "20013"),
    ("send-document/oc_consultation_report_consent.xml", "GPFED_CONSULT_REPORT", "20009"),
    ("digital-medicines/vaccination--digimeds--covid-19--data-processing-service.xml", "DIGMED_FLU_VAC", "20013"),
    ("digital-medicines/vaccination--digimeds--seasonal-influenza--pharmacy.xml", "DIGMED_FLU_VAC", "20013"),
    ("digital-medicines/Example-DigiMeds-Emergency-Supply-Of-Medicines-1.xml", "DIGMED_EMG_MED", "20013"),
    ("parser-traps/engage_jack_smith_mirc.block2.xml", "DIGMED_MINOR_ILLNESS_PEM", "20013"),
    ("parser-traps/example-oc-anne-teak.xml", "GPFED_CONSULT_REPORT", "20013"),
    ("not-well-formed/engage_william_smith_meds.block1.xml", "DIGMED_EMG_MED", "10009"),
    ("not-well-formed/NP-Single-Test-Bundle-Example-1.malformed.xml", "TOC_FHIR_IP_DISCH", "10009"),
]
UUID = re.compile(rb"\b([0-9a-fA-F]{8})(-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})\b")
RECEIVER = re.compile(rb'(ods-(?:organization|site)-code"\s*/>\s*<value value=")[^"]+')


@pytest.fixture(scope="module")
def examples():
    folder = os.environ.get("ITK3_EXAMPLES")
    if not folder:
        pytest.skip("the public samples are not here: set ITK3_EXAMPLES to their folder")
    return Path(folder)


def test_every_sample_gets_the_code_that_the_standard_gives_it(tmp_path, sandbox, examples):
    """All in one inbox, with ids rewritten because the samples share some, and addressed to us."""
    practice = Practice(tmp_path, sandbox.url)
    expected = {}
    with a_hospital(sandbox.url) as hospital:
        for number, (name, workflow_id, code) in enumerate(SAMPLES):
            body = _ours(examples / name, number)
            sent = hospital.send(body, to=PRACTICE, workflow_id=workflow_id)
            expected[sent.mesh_message_id] = (name, code)
        practice.once()
        hospital.read_inbox()
    found = {
        expected[message["mesh_message_id"]][0]: [response["response_code"] for response in message["responses"][:1]]
        for message in practice.messages()
    }
    assert found == {name: [code] for name, code in expected.values()}


def _ours(file: Path, number: int) -> bytes:
    """The sample with ids of its own and our organisation as receiver; nothing else is changed."""
    body = RECEIVER.sub(rb"\g<1>V81999", file.read_bytes())
    return UUID.sub(lambda found: b"%08x" % (int(found[1], 16) ^ number) + found[2], body)
