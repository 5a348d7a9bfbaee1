"""The public NHS samples, found through ITK3_EXAMPLES."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from mesh_itk3.itk3.attachment_types import KINDS
from mesh_itk3.itk3.envelope import Caps, Reading, read_message
from mesh_itk3.itk3.response_codes import BusinessCode, InfrastructureCode, level_of
from mesh_itk3.itk3.response_reading import read_response
from mesh_itk3.itk3.verdict import Facts, Strictness, judge
from mesh_itk3.workflow_table import shipped

FOLDER = os.environ.get("ITK3_EXAMPLES")
pytestmark = [
    pytest.mark.examples,
    pytest.mark.skipif(not FOLDER, reason="ITK3_EXAMPLES does not name the folder of public samples"),
]


def read(name: str) -> Reading:
    return read_message((Path(FOLDER or "") / name).read_bytes(), Caps())


ACCEPTED = {
    # file: event, sections, attachments, patient's number valid
    "test-harness/ITK003D_ITK_eDischarge.xml": ("ITK003D", 18, 0, False),
    "test-harness/ITK004D_ITK_MentalHealtheDischarge.xml": ("ITK004D", 22, 0, False),
    "test-harness/ITK005D_ITK_EmergencyCareeDischarge.xml": ("ITK005D", 18, 0, False),
    "test-harness/ITK006D_OutpatientLetter.xml": ("ITK006D", 17, 0, False),
    "test-harness/ITK009D_ITK_Immunization_Document.xml": ("ITK009D", 8, 0, True),
    "test-harness/ITK010D_ITK_EmergencySupply.xml": ("ITK010D", 9, 0, False),
    "toc-message/ITK-EDIS-TEST-032a.xml": ("ITK003D", 2, 0, False),
    "send-document/consultation_report.xml": ("ITK007C", 2, 1, False),
    "send-document/example-generic-wireframe-moe-degrasse.xml": ("ITK007C", 1, 1, False),
    "digital-medicines/Example-DigiMeds-Emergency-Supply-Of-Medicines-1.xml": ("ITK010D", 10, 0, False),
    "digital-medicines/vaccination--digimeds--covid-19--data-processing-service.xml": ("ITK009D", 5, 0, True),
    "digital-medicines/vaccination--digimeds--seasonal-influenza--pharmacy.xml": ("ITK009D", 8, 0, False),
    "parser-traps/engage_jack_smith_mirc.block2.xml": ("ITK013D", 10, 0, False),
    "parser-traps/example-oc-anne-teak.xml": ("ITK007C", 3, 1, False),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_sample_is_accepted_by_standard_and_its_document_read(name):
    event_code, sections, attachments, is_valid = ACCEPTED[name]
    reading = read(name)
    assert judge(reading, Facts()).code.value == "20013"
    assert judge(reading, Facts(strictness=Strictness.LENIENT)).code.value == "20013"
    found = reading.envelope.document
    assert reading.header.event_code == event_code
    assert (len(found.sections), len(found.attachments)) == (sections, attachments)
    assert found.patient_identity.nhs_number_valid is is_valid
    assert found.patient_identity.family_names
    assert all(section.title for section in found.sections)


OLD_HEADER = ("sender_reference_missing", "local_extension_missing", "priority_present")
OTHER_PAYLOAD = "message_definition_of_another_payload"
LEVELS = {
    # file: workflow, code and rule in strict, code in standard, code in lenient, what standard waived
    "test-harness/ITK003D_ITK_eDischarge.xml": (
        "TOC_FHIR_IP_DISCH", "10001 sender_reference_missing", "20013", "20013", (*OLD_HEADER, "source_no_mailbox"),
    ),
    "test-harness/ITK004D_ITK_MentalHealtheDischarge.xml": (
        "TOC_FHIR_MH_DISCH", "10001 sender_reference_missing", "20013", "20013",
        (*OLD_HEADER, OTHER_PAYLOAD, "source_no_mailbox"),
    ),
    "test-harness/ITK005D_ITK_EmergencyCareeDischarge.xml": (
        "TOC_FHIR_EC_DISCH", "10001 sender_reference_missing", "20013", "20013",
        (*OLD_HEADER, OTHER_PAYLOAD, "source_no_mailbox"),
    ),
    "test-harness/ITK006D_OutpatientLetter.xml": (
        "TOC_FHIR_OP_ATTEN", "10001 sender_reference_missing", "20013", "20013",
        (*OLD_HEADER, OTHER_PAYLOAD, "source_no_mailbox"),
    ),
    "test-harness/ITK009D_ITK_Immunization_Document.xml": ("DIGMED_FLU_VAC", "20013 accepted", "20013", "20013", ()),
    "test-harness/ITK010D_ITK_EmergencySupply.xml": (
        "DIGMED_EMG_MED", "10005 message_definition_instance", "20013", "20013", ("message_definition_instance", OTHER_PAYLOAD),
    ),
    "toc-message/ITK-EDIS-TEST-032a.xml": (
        "TOC_FHIR_IP_DISCH", "10005 message_definition_instance", "20013", "20013", ("message_definition_instance",),
    ),
    "send-document/consultation_report.xml": (
        "GPFED_CONSULT_REPORT", "10008 local_extension_not_allowed", "20013", "20013", ("local_extension_not_allowed",),
    ),
    "send-document/example-generic-wireframe-moe-degrasse.xml": (
        "GPCONNECT_SEND_DOCUMENT", "20013 accepted", "20013", "20013", (),
    ),
    "send-document/oc_consultation_report_consent.xml": (
        "GPFED_CONSULT_REPORT", "10008 local_extension_not_allowed", "20009", "20009", ("local_extension_not_allowed",),
    ),
    "digital-medicines/Example-DigiMeds-Emergency-Supply-Of-Medicines-1.xml": (
        "DIGMED_EMG_MED", "20006 source_no_mailbox", "20013", "20013", ("source_no_mailbox",),
    ),
    "digital-medicines/vaccination--digimeds--covid-19--data-processing-service.xml": (
        "DIGMED_FLU_VAC", "20013 accepted", "20013", "20013", (),
    ),
    "digital-medicines/vaccination--digimeds--seasonal-influenza--pharmacy.xml": (
        "DIGIMED_FLU_VAC", "20006 source_no_mailbox", "20013", "20013", ("source_no_mailbox",),
    ),
    "parser-traps/engage_jack_smith_mirc.block2.xml": (
        "DIGMED_MINOR_ILLNESS_PEM", "20006 event_display", "20013", "20013",
        ("event_display", "receiver_unresolved", "payload_padding"),
    ),
    "parser-traps/example-oc-anne-teak.xml": (
        "GPFED_CONSULT_REPORT", "10008 local_extension_not_allowed", "20013", "20013", ("local_extension_not_allowed",),
    ),
    "update-record/pharmacy-first-service--example-1.xml": (
        "GPCONNECT_UPDATE_RECORD", "10004 message_definition_unknown", "10004", "20013", (),
    ),
    "update-record/update-record--itk3--cpcs-minor-illness--justin-thyme.xml": (
        "GPCONNECT_UPDATE_RECORD", "20006 message_header_id_missing", "20006", "20006", (),
    ),
    "pathology/ITK-Pathology-FBC-Bundle-Example-1.xml": (
        "TOC_FHIR_IP_DISCH", "10001 message_definition_missing", "10001", "20009", (),
    ),
    "not-well-formed/engage_william_smith_meds.block1.xml": ("DIGMED_EMG_MED", "10009 not_well_formed", "10009", "10009", ()),
    "toc-documents/ITK-EC-Document-Bundle-1-Example-1.xml": (
        "TOC_FHIR_EC_DISCH", "20006 bundle_type_wrong", "20006", "20006", (),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LEVELS)
def test_each_strictness_makes_of_a_sample_what_it_should(name):
    workflow_id, strict, standard, lenient, warnings = LEVELS[name]
    reading, row = read(name), shipped().get(workflow_id)
    facts = (Facts(strictness=each, workflow=row, supported_attachments=KINDS) for each in Strictness)
    in_strict, in_standard, in_lenient = (judge(reading, each) for each in facts)
    assert f"{in_strict.code.value} {in_strict.rule}" == strict
    assert (in_standard.code.value, in_lenient.code.value) == (standard, lenient)
    assert in_standard.warnings == warnings


REFUSED = {
    "not-well-formed/engage_william_smith_meds.block1.xml": ("10009", "not_well_formed"),
    "not-well-formed/NP-Single-Test-Bundle-Example-1.malformed.xml": ("10009", "not_well_formed"),
    "update-record/update-record--itk3--cpcs-minor-illness--justin-thyme.xml": ("20006", "message_header_id_missing"),
    "update-record/pharmacy-first-service--example-1.xml": ("10004", "message_definition_unknown"),
    "pathology/ITK-Pathology-FBC-Bundle-Example-1.xml": ("10001", "message_definition_missing"),
    "pathology/NP-Single-Test-Bundle-Example-1.xml": ("10001", "message_definition_missing"),
    "toc-documents/ITK-EDIS-Example-1.xml": ("20006", "bundle_type_wrong"),
    # Its Composition.subject names no entry: the one Patient has another id.
    "send-document/oc_consultation_report_consent.xml": ("20009", "patient_unreachable"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_sample_is_refused_with_its_code(name):
    verdict = judge(read(name), Facts())
    assert (verdict.code.value, verdict.rule) == REFUSED[name]


def test_the_header_of_the_sample_with_a_broken_attribute_is_salvaged():
    header = read("not-well-formed/NP-Single-Test-Bundle-Example-1.malformed.xml").header
    assert header.message_header_id == "a4409d7c-b613-477c-b623-87e60406c2f0"
    assert (header.handling.inf_ack, header.handling.bus_ack) == (True, True)


ATTACHMENTS = {
    "send-document/consultation_report.xml": 38_203,
    "send-document/example-generic-wireframe-moe-degrasse.xml": 55_293,
    "send-document/oc_consultation_report_consent.xml": 1_980_011,
    "parser-traps/example-oc-anne-teak.xml": 56_750,
}


@pytest.mark.parametrize("name", ATTACHMENTS)
def test_the_attachment_of_a_sample_is_decoded(name):
    file = io.BytesIO()
    (attachment,) = read(name).envelope.document.attachments
    assert attachment.write_to(file) == ATTACHMENTS[name]
    assert file.getvalue().startswith(b"%PDF-")


RESPONSES = [*InfrastructureCode, *list(BusinessCode)[:4]]


@pytest.mark.parametrize("code", RESPONSES, ids=lambda code: code.value)
def test_a_sample_response_is_read(code):
    found = read_response(read(f"responses/{code.value}.xml"))
    assert (found.code, found.level) == (code, level_of(code))
    assert (found.answers is None) is (code.value in ("10009", "10010"))
    assert found.response_code == ("ok" if code.value in ("20013", "30001", "30004") else "fatal-error")
    assert (found.bus_ack, found.inf_ack) == (False, code.value.startswith("3"))


@pytest.mark.parametrize("prefix", ["itk3", "mesh"])
@pytest.mark.parametrize("kind", ["Business", "Infrastructure"])
def test_a_response_template_of_the_harness_is_known_for_a_response(prefix, kind):
    found = read_response(read(f"test-harness/{prefix}_ITK_{kind}_Acknowledgement_Bundle_Success.xml"))
    assert (found.code, found.answers) == (None, "__REQUEST_UUID__")
