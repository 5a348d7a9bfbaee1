"""The hospital against the real sandbox, with a second mailbox that plays the practice."""

import json

import pytest
from mesh_client import MeshClient

from mesh_itk3.simulator.failure import SimulationFailed
from mesh_itk3.simulator.hospital import Hospital
from mesh_itk3.simulator.messages import a_message, choose, without_header_id
from mesh_itk3.simulator.response_reader import UNREADABLE
from support.sandbox import HOSPITAL, PASSWORD, PRACTICE, SHARED_KEY

pytestmark = [pytest.mark.sandbox, pytest.mark.plays_the_practice]

WORKFLOW = "TOC_FHIR_IP_DISCH"


@pytest.fixture
def hospital(sandbox, tmp_path):
    with Hospital(sandbox.url, HOSPITAL, PASSWORD, SHARED_KEY, log=tmp_path / "hospital.jsonl") as hospital:
        yield hospital


@pytest.fixture
def practice(sandbox):
    with MeshClient(sandbox.url, PRACTICE, PASSWORD, shared_key=SHARED_KEY.encode(), max_retries=0) as client:
        yield client


def a_response(answers, code):
    return (
        f'<Bundle xmlns="http://hl7.org/fhir"><MessageHeader><id value="r"/><event><code value="ITK008M"/></event><response>'
        f'<identifier value="{answers}"/></response></MessageHeader><OperationOutcome><issue><details><coding><system '
        f'value="https://fhir.nhs.uk/STU3/CodeSystem/ITK-ResponseCodes-1"/><code value="{code}"/></coding></details></issue>'
        f"</OperationOutcome></Bundle>"
    ).encode()


def respond(practice, answers, code, workflow_id=f"{WORKFLOW}_ACK"):
    return practice.send_message(HOSPITAL, a_response(answers, code), workflow_id=workflow_id)


def codes(answers):
    found = {level: answers.to(level) for level in ("infrastructure", "business")}
    return {level: response.code for level, response in found.items() if response}


def test_a_message_arrives_as_it_was_sent(hospital, practice):
    letter = a_message("ITK003D")
    sent = hospital.send(letter, to=PRACTICE, workflow_id=WORKFLOW, local_id="L-1", subject="s", filename="f.xml")
    message = practice.retrieve_message(sent.mesh_message_id)
    assert message.read() == letter
    assert (message.local_id, message.subject, message.filename) == ("L-1", "s", "f.xml")
    assert sent.message_header_id == choose("ITK003D").message_header_id


@pytest.mark.parametrize("compress", [False, True])
def test_a_message_travels_in_chunks(hospital, practice, compress):
    letter = a_message("ITK007C", size=100_000, bulk="attachment")
    sent = hospital.send(letter, to=PRACTICE, workflow_id=WORKFLOW, chunk_bytes=30_000, compress=compress)
    assert sent.chunks == 4
    assert practice.retrieve_message_chunk(sent.mesh_message_id, 1).headers["mex-chunk-range"] == "1:4"
    assert practice.retrieve_message(sent.mesh_message_id).read() == letter


def test_both_responses_are_filed_under_their_message_and_acknowledged(hospital, practice):
    first, second = (hospital.send(a_message("ITK003D", seed=seed), to=PRACTICE, workflow_id=WORKFLOW) for seed in ("1", "2"))
    respond(practice, second.message_header_id, "20013")
    respond(practice, second.message_header_id, "30002")
    respond(practice, first.message_header_id, "10009")
    assert len(hospital.read_inbox()) == 3
    assert codes(hospital.responses_to(first)) == {"infrastructure": "10009"}
    assert codes(hospital.responses_to(second)) == {"infrastructure": "20013", "business": "30002"}
    assert hospital.waiting() == ()
    assert hospital.read_inbox() == []


@pytest.mark.parametrize("order", [("20013", "20007"), ("20007", "20013")])
def test_the_answer_to_a_duplicate_is_told_from_the_answer_to_the_first(hospital, practice, order):
    first, again = (hospital.send(a_message("ITK003D"), to=PRACTICE, workflow_id=WORKFLOW) for _ in range(2))
    for code in order:
        respond(practice, first.message_header_id, code)
    hospital.read_inbox()
    assert codes(hospital.responses_to(first)) == {"infrastructure": "20013"}
    assert codes(hospital.responses_to(again)) == {"infrastructure": "20007"}


def test_a_second_answer_of_one_level_is_surplus(hospital, practice):
    sent = hospital.send(a_message("ITK003D"), to=PRACTICE, workflow_id=WORKFLOW)
    for _ in range(2):
        respond(practice, sent.message_header_id, "20013")
    hospital.read_inbox()
    assert len(hospital.responses_to(sent).surplus) == 1


def test_an_answer_that_names_nothing_is_for_what_had_no_legible_id(hospital, practice):
    legible = hospital.send(a_message("ITK003D", seed="1"), to=PRACTICE, workflow_id=WORKFLOW)
    letter = a_message("ITK003D", seed="2", header_id="h")
    nameless = hospital.send(without_header_id(letter, "h"), to=PRACTICE, workflow_id=WORKFLOW)
    assert nameless.message_header_id is None
    respond(practice, UNREADABLE, "20006")
    hospital.read_inbox()
    assert codes(hospital.responses_to(nameless)) == {"infrastructure": "20006"}
    assert codes(hospital.responses_to(legible)) == {}


def test_an_answer_to_nothing_of_ours_is_kept_as_unexplained(hospital, practice):
    respond(practice, "somebody-elses", "20013")
    practice.send_message(HOSPITAL, b"hello", workflow_id="X")
    hospital.read_inbox()
    assert len(hospital.unexplained) == 2


def test_a_mesh_report_is_filed_under_the_message_it_is_about(hospital, sandbox):
    sent = hospital.send(a_message("ITK003D"), to=PRACTICE, workflow_id=WORKFLOW)
    sandbox.put_report(HOSPITAL, linked_message_id=sent.mesh_message_id, workflow_id=WORKFLOW, code="14")
    hospital.read_inbox()
    [report] = hospital.responses_to(sent).reports
    assert (report.report_of, report.report_code) == (sent.mesh_message_id, "14")


def test_the_log_names_what_was_sent_and_received_without_its_content(hospital, practice, tmp_path):
    sent = hospital.send(a_message("ITK003D"), to=PRACTICE, workflow_id=WORKFLOW)
    respond(practice, sent.message_header_id, "20013")
    hospital.read_inbox()
    lines = [json.loads(line) for line in (tmp_path / "hospital.jsonl").read_text().splitlines()]
    assert [line["what"] for line in lines] == ["sent", "received"]
    assert lines[1]["response"]["code"] == "20013"
    assert "Fothergill" not in (tmp_path / "hospital.jsonl").read_text()


def test_a_mesh_that_is_not_there_is_one_clear_failure():
    with Hospital("http://127.0.0.1:9", HOSPITAL, PASSWORD, SHARED_KEY) as hospital, pytest.raises(SimulationFailed):
        hospital.read_inbox()


def test_refused_credentials_are_one_clear_failure(sandbox):
    with Hospital(sandbox.url, HOSPITAL, "wrong", SHARED_KEY) as hospital, pytest.raises(SimulationFailed, match="HTTPError"):
        hospital.read_inbox()
