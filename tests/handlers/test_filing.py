"""What becomes of an accepted document: matched, decided, filed or not."""

import base64
import hashlib
import json
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from pydantic import ValidationError

from mesh_itk3.handler import MATCH_REASONS, Accept, BusinessCode, Defer, InfrastructureCode, Refuse, Respond
from mesh_itk3.workflow_table import shipped
from mesh_itk3_handlers.discharge_letters import DischargeLetters
from mesh_itk3_handlers.filing import LetterSettings, today
from mesh_itk3_handlers.transfer_of_care import TransferOfCare
from support.letters_builder import FixedPatients, RefusingWriter, a_context, a_message, binary, message_xml, patient, section

PDF = base64.b64encode(b"%PDF-1.4 words").decode()


@pytest.fixture
def handler(tmp_path):
    return TransferOfCare(LetterSettings(output=tmp_path))


def the_letter(tmp_path):
    (place,) = [path for path in tmp_path.glob("*/*") if path.is_dir()]
    return place


def metadata(tmp_path):
    return json.loads((the_letter(tmp_path) / "metadata.json").read_bytes())


# ------------------------------------------------------------------------------------------------ match and decision


@pytest.mark.parametrize("code", [BusinessCode.PATIENT_KNOWN, BusinessCode.PATIENT_DECEASED])
def test_a_patient_of_ours_is_answered_and_the_letter_filed(handler, tmp_path, code):
    assert handler.handle(a_message(), a_context(patients=FixedPatients(code))) == Respond(code)
    assert {path.name for path in the_letter(tmp_path).iterdir()} == {
        "letter.html",
        "message.xml",
        "structured.json",
        "metadata.json",
    }


@pytest.mark.parametrize("code", [BusinessCode.PATIENT_NOT_KNOWN, BusinessCode.PATIENT_LEFT])
def test_a_patient_who_is_not_ours_is_answered_and_nothing_is_filed(handler, code):
    context = a_context(patients=FixedPatients(code), files=RefusingWriter())
    assert handler.handle(a_message(), context) == Respond(code)


@pytest.mark.parametrize("handler_class", [TransferOfCare, DischargeLetters])
def test_every_reason_for_which_a_letter_can_wait_is_declared_with_its_sentence(handler_class):
    declared = handler_class.declaration.reasons
    assert set(declared) >= {*MATCH_REASONS, "document_missing", "patient_absent", "no_register", "register_unusable"}


def test_an_uncertain_match_waits_for_a_person_and_nothing_is_filed(handler):
    context = a_context(patients=FixedPatients(None, "family_name_differs"), files=RefusingWriter())
    assert handler.handle(a_message(), context) == Defer("family_name_differs")


@pytest.mark.parametrize("code", [BusinessCode.PATIENT_KNOWN, BusinessCode.PATIENT_DECEASED])
def test_a_persons_decision_to_keep_is_carried_out_without_asking_the_register(handler, tmp_path, code):
    patients = FixedPatients(None)
    assert handler.handle(a_message(), a_context(patients=patients, decision=code)) == Respond(code)
    assert patients.asked == []
    filed = metadata(tmp_path)
    assert filed["patient_match"] == "decided_by_person"
    assert filed["decision"] == {"code": code.value, "by": "A. Clerk", "at": "2026-01-16T08:00:00.000Z"}


def test_a_letter_that_the_configuration_files_at_the_deadline_does_not_say_that_a_person_decided(handler, tmp_path):
    context = a_context(decision=BusinessCode.PATIENT_KNOWN)
    by_deadline = replace(context, decision=replace(context.decision, is_by_person=False))
    handler.handle(a_message(), by_deadline)
    assert metadata(tmp_path)["patient_match"] == "decided_by_deadline"


@pytest.mark.parametrize("code", [BusinessCode.PATIENT_NOT_KNOWN, BusinessCode.PATIENT_LEFT])
def test_a_persons_decision_to_send_away_files_nothing(handler, code):
    assert handler.handle(a_message(), a_context(decision=code, files=RefusingWriter())) == Respond(code)


def test_the_patient_of_the_composition_is_matched_on_the_local_day(handler):
    patients = FixedPatients()
    handler.handle(a_message(), a_context(patients=patients, now=datetime(2026, 7, 1, 23, 30, tzinfo=UTC)))
    ((identity, day),) = patients.asked
    assert identity.nhs_number == "9990000018"
    assert day == date(2026, 7, 2)


@pytest.mark.parametrize(
    ("now", "day"),
    [
        (datetime(2026, 7, 1, 22, 59, tzinfo=UTC), date(2026, 7, 1)),
        (datetime(2026, 7, 1, 23, 0, tzinfo=UTC), date(2026, 7, 2)),
        (datetime(2026, 1, 1, 23, 30, tzinfo=UTC), date(2026, 1, 1)),
    ],
)
def test_today_is_the_day_on_the_practices_wall(now, day):
    assert today(now) == day


def test_a_second_handle_of_the_same_message_files_nothing_new(handler, tmp_path):
    for _ in range(2):
        assert handler.handle(a_message(), a_context()) == Respond(BusinessCode.PATIENT_KNOWN)
    assert len(list(tmp_path.glob("*/*"))) == 1


# ------------------------------------------------------------------------------------------------ examine


def test_a_letter_that_can_be_read_is_accepted(handler):
    assert handler.examine(a_message()) == Accept()


@pytest.mark.parametrize("sections", ["", section(text=None), section(text=" <p> </p> "), section(text="<br/>") * 3])
def test_a_document_without_a_word_is_refused(handler, sections):
    refusal = handler.examine(a_message(sections=sections))
    assert isinstance(refusal, Refuse)
    assert refusal.code == InfrastructureCode.PAYLOAD_VALIDATION_FAILURE
    assert refusal.where == "Bundle.entry[1].resource.entry[0].resource.section"


@pytest.mark.parametrize(
    "built",
    [
        {"sections": section(text=None) + section(nested=section())},
        {"sections": section(text=None, nested=section())},
        {"sections": section(text=None), "entries": binary("b", PDF)},
        {"sections": "", "composition_more": '<text><div xmlns="http://www.w3.org/1999/xhtml">One line</div></text>'},
        {"sections": section(code="000", title=None)},
        {"sections": section(), "entries": binary("b", "!!!", "application/dicom")},
    ],
    ids=["one of two", "nested", "attachment only", "summary only", "unknown section", "odd attachment"],
)
def test_whatever_a_person_could_read_is_accepted(handler, built):
    assert handler.examine(a_message(**built)) == Accept()


def test_examine_writes_nothing(handler, tmp_path):
    handler.examine(a_message(entries=binary("b", PDF)))
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------ what is filed


def test_the_received_bytes_are_kept_unchanged(handler, tmp_path):
    raw = message_xml().replace(b'<id value="outer"/>', b"<id   value='outer'  /><!-- as it came -->\r\n")
    handler.handle(a_message(raw), a_context())
    assert (the_letter(tmp_path) / "message.xml").read_bytes() == raw


def test_metadata_has_every_agreed_key(handler, tmp_path):
    relates = '<relatesTo><code value="replaces"/><targetIdentifier><value value="old-1"/></targetIdentifier></relatesTo>'
    message = a_message(entries=binary("b", PDF), composition_more=relates, warnings=("sender_reference_missing",))
    handler.handle(message, a_context())
    filed = metadata(tmp_path)
    agreed = {
        "message_header_id": "11111111-2222-3333-4444-555555555555",
        "document_id": "https://tools.ietf.org/html/rfc4122|document-1",
        "mesh_message_id": "20260115233000000001_A1B2C3",
        "workflow_id": "TOC_FHIR_IP_DISCH",
        "event_code": "ITK003D",
        "document_type": {"code": "373942005", "display": "Discharge summary"},
        "title": "Discharge summary",
        "created_at": "2026-01-16T08:00:00.000Z",
        "document_date": "2026-01-14T10:00:00+00:00",
        "recipient_type": "FA",
        "replaces": "old-1",
        "patient": {
            "nhs_number": "9990000018",
            "nhs_number_valid": True,
            "family_name": "Testcase",
            "given_names": ["Robin"],
            "date_of_birth": "1957-01-09",
        },
        "patient_match": "registered",
        "author": "Dr Asha Rowan",
        "custodian": {"ods_code": "RX1", "name": "Example General Hospital"},
        "attachments": [
            {
                "file": "attachments/01.pdf",
                "content_type": "application/pdf",
                "declared_type": "application/pdf",
                "bytes": 14,
                "sha256": hashlib.sha256(b"%PDF-1.4 words").hexdigest(),
            }
        ],
        "warnings": ["document_is_replacement", "sender_reference_missing"],
    }
    assert {key: filed[key] for key in agreed} == agreed
    assert (the_letter(tmp_path) / "attachments" / "01.pdf").read_bytes() == b"%PDF-1.4 words"


def test_a_document_that_says_little_is_filed_with_nulls(handler, tmp_path):
    bare = patient(nhs_number=None, family=None, born=None)
    handler.handle(a_message(patient_entry=bare, title=None), a_context(decision=BusinessCode.PATIENT_KNOWN))
    filed = metadata(tmp_path)
    assert filed["patient"] == {
        "nhs_number": None,
        "nhs_number_valid": False,
        "family_name": None,
        "given_names": ["Robin"],
        "date_of_birth": None,
    }
    assert (filed["title"], filed["replaces"], filed["encounter"]) == (None, None, None)
    assert {"nhs_number_missing", "patient_name_missing", "date_of_birth_missing"} <= set(filed["warnings"])


def test_an_attachment_that_cannot_be_read_does_not_hold_up_the_letter(handler, tmp_path):
    handler.handle(a_message(entries=binary("b1", "!!!") + binary("b2", PDF)), a_context())
    filed = metadata(tmp_path)
    assert [held["file"] for held in filed["attachments"]] == ["attachments/02.pdf"]
    assert "attachment_unreadable: attachment 1" in filed["warnings"]


def test_a_senders_file_names_and_ids_never_reach_the_disk(handler, tmp_path):
    handler.handle(a_message(message_header_id="../../x", entries=binary("../../evil.exe", PDF)), a_context())
    assert the_letter(tmp_path).name == "20260115233000000001_A1B2C3"
    assert not list(tmp_path.rglob("*evil*"))


# ------------------------------------------------------------------------------------------------ declarations, settings


@pytest.mark.parametrize("handler_class", [TransferOfCare, DischargeLetters])
def test_declared_response_workflows_are_those_of_the_workflow_table(handler_class):
    for workflow_id, response_workflow_id in handler_class.declaration.workflows.items():
        row = shipped().get(workflow_id)
        assert row is not None
        assert row.ack_workflow_id == response_workflow_id
        assert row.event_code in handler_class.declaration.event_codes


@pytest.mark.parametrize("settings", [{}, {"output": "relative/path"}, {"output": "/x", "colour": "blue"}])
def test_settings_that_would_file_somewhere_unexpected_are_refused(settings):
    with pytest.raises(ValidationError):
        LetterSettings(**settings)
