"""Duties of a receiver that no other test shows as a whole: one test each, over the stages from inbox to outbox."""

from __future__ import annotations

import json
import re

import pytest

from mesh_itk3.handler import Declaration
from mesh_itk3.lifecycle import State
from mesh_itk3.simulator.messages import a_message
from mesh_itk3.simulator.response_reader import read_response
from mesh_itk3.stages.correlate import correlate
from mesh_itk3.stages.dispatch import dispatch
from mesh_itk3.stages.interpret import interpret
from mesh_itk3.stages.respond import respond
from profiles.test_every_code import a_response
from support.fake_mailbox import FakeMailbox, a_mesh_message
from support.practice import Practice, a_hospital
from support.sandbox import PRACTICE
from support.stage_world import ScriptedHandler, a_registry, a_small_daemon

HEADER_ID = "11111111-0000-4000-8000-000000000001"


def whole_path(tmp_path, *messages, **daemon):
    """Everything in the inbox, through every stage."""
    small = a_small_daemon(tmp_path, FakeMailbox(messages), **daemon)
    small.collect()
    for stage in (interpret, dispatch, correlate):
        stage(small.world)
    respond(small.world, small.mailbox)
    return small


def answered(daemon, workflow_id=None) -> list[str]:
    """The codes of all responses that went out, in order."""
    return [read_response(sent.body).code for sent in daemon.mailbox.sent if workflow_id in (None, sent.workflow_id)]


def timeline(daemon, message) -> list[tuple[str, str]]:
    return [(entry.stage, entry.outcome) for entry in daemon.ledger.timeline(daemon.record(message.mesh_message_id).key)]


# ------------------------------------------------------------------------------------------ log and audit


def test_every_document_received_and_every_response_sent_is_logged_and_stands_in_the_timeline(tmp_path):
    """FHIR-DOC-01."""
    message = a_mesh_message(a_message("ITK003D", header_id=HEADER_ID))
    daemon = whole_path(tmp_path, message)
    assert [event["mesh_message_id"] for event in daemon.said("collect.done")] == [message.mesh_message_id]
    assert [event["message_header_id"] for event in daemon.said("interpret.done")] == [HEADER_ID]
    assert [event["response_code"] for event in daemon.said("respond.done")] == ["20013", "30001"]
    stages = [stage for stage, _ in timeline(daemon, message)]
    assert stages[0] == "collect"
    assert stages.count("respond") == 2


def test_a_message_that_fails_its_checks_is_logged_with_code_and_rule_and_without_a_value(tmp_path):
    """FHIR-V&V-01/1."""
    message = a_mesh_message(a_message("ITK003D", recipient_type="EDITH"))
    daemon = whole_path(tmp_path, message)
    [event] = daemon.said("message.rejected")
    assert (event["response_code"], event["rule"]) == ("10010", "recipient_type_unusable")
    assert "EDITH" not in json.dumps([str(each) for each in daemon.events])


def test_a_response_that_we_receive_is_logged_with_its_code_and_kept(tmp_path):
    """FHIR-BA-01, the first half."""
    body = a_response(answers=HEADER_ID)
    message = a_mesh_message(body, workflow_id="TOC_FHIR_IP_DISCH_ACK")
    daemon = whole_path(tmp_path, message)
    [event] = daemon.said("correlate.done")
    assert (event["mesh_message_id"], event["response_code"]) == (message.mesh_message_id, "20013")
    assert daemon.world.payloads.read(daemon.record(message.mesh_message_id).payload.name) == body


@pytest.mark.sandbox
def test_no_command_for_operators_shows_anything_clinical_or_who_the_patient_is(tmp_path, sandbox):
    """FHIR-DOC-09: section texts and attachments are clinical data; administration sees none of them."""
    practice = Practice(tmp_path, sandbox.url)
    body = a_message("ITK003D")
    with a_hospital(sandbox.url) as hospital:
        sent = hospital.send(body, to=PRACTICE, workflow_id="TOC_FHIR_IP_DISCH", subject="Edith Exemplar")
        practice.once()
    shown = ""
    for command in (["status"], ["messages"], ["trace", sent.mesh_message_id]):
        shown += practice.command(*command).stdout + practice.command(*command, "--json").stdout
    private = words_of(" ".join(narratives(body))) - words_of(ORDINARY)
    assert len(private) > 30
    assert shown.count(sent.mesh_message_id) >= 4
    assert those_of(private, shown.replace(str(tmp_path), "")) == set()


ORDINARY = "Patient 2025 2026 Discharge General Medicine Clinical Emergency"
"""Words that say nothing of this letter."""
DRAWN = re.compile(
    r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b[0-9a-f]{32,}\b|\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[0-9.:+Z]*",
    re.IGNORECASE,
)
"""Ids, digests and times: no two runs have the same, and any digits may stand in them."""


def words_of(text: str) -> set[str]:
    """Names and numbers."""
    return set(re.findall(r"[A-Z][a-z]{5,}|\d{4,}", text))


def those_of(words: set[str], shown: str) -> set[str]:
    """The words that are shown; a number as a whole, so that the year of a birth is not found in how much of a disk is free."""
    text = DRAWN.sub(" ", shown)
    return {word for word in words if re.search(rf"(?<!\d){word}(?!\d)" if word.isdigit() else word, text)}


PATIENTS = {"1946", "2009", "960111", "9990001014", "Fothergill"}


@pytest.mark.parametrize(
    "drawn",
    [
        "mesh_message_id: BB0B2009A9384E0B957B199984FC1946",
        "15465c02-2009-1946-a2e5-a7d6be961946",
        "payloads/X26ABC2/2026-11/6656063e55dc45c1a7e624ef20091946.bin",
        "a7129b6b14d318b058015fae9ca8421fea0c99c6546eeb0cb56d1d23ab342009",
        "2026-11-26T00:37:32.960111+00:00 and 2026-11-26 20:09:46Z",
        '"free_bytes": 75991946816',
    ],
)
def test_what_is_drawn_anew_in_each_run_is_nobodys_word(drawn):
    assert those_of(PATIENTS, drawn) == set()


@pytest.mark.parametrize(
    "leak", ["born 1946", "1946-05-23", '"Fothergill"', "FamilyFothergill2", "01632 960111", "9990001014", "of-2009-09"]
)
def test_a_word_of_the_patients_is_found_wherever_it_is_shown(leak):
    assert those_of(PATIENTS, f"15465c02-d29c-49e7-b62b-7899a64f4238 {leak}, 2026-11-26T00:37:32.123456+00:00") != set()


def narratives(body: bytes) -> list[str]:
    from lxml import etree

    root = etree.fromstring(body)
    people = root.iterfind(".//{http://hl7.org/fhir}Patient//{http://hl7.org/fhir}*[@value]")
    divs = root.iter("{http://www.w3.org/1999/xhtml}div")
    return ["".join(div.itertext()) for div in divs] + [found.get("value") for found in people]


# ------------------------------------------------------------------------------------------ flags and patterns

TRUE, FALSE = True, False
ABSENT, JUNK = None, "junk"
# InfAckRequested, BusAckRequested, what a good message is answered, what a bad one is
PATTERNS = {
    "technical and business": (TRUE, TRUE, ["20013", "30001"], ["20002"]),
    "technical only": (TRUE, FALSE, ["20013"], ["20002"]),
    "business only": (FALSE, TRUE, ["30001"], []),
    "fire and forget": (FALSE, FALSE, [], []),
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_whether_a_response_goes_out_is_governed_by_the_flags(tmp_path, pattern):
    """FHIR-RR-01/NB, FHIR-RR-02/NB; pages explore_response_patterns_1 to _4."""
    infrastructure, business, expected, _ = PATTERNS[pattern]
    flags = {"infrastructure_requested": infrastructure, "business_requested": business}
    daemon = whole_path(tmp_path, a_mesh_message(a_message("ITK003D", **flags)))
    assert answered(daemon) == expected
    assert len(daemon.handler.calls) == 1


@pytest.mark.parametrize("pattern", PATTERNS)
def test_after_a_negative_code_nothing_is_processed_and_nothing_follows_whatever_the_flags(tmp_path, pattern):
    """ITK3-UNNUMBERED-06."""
    infrastructure, business, _, expected = PATTERNS[pattern]
    flags = {"infrastructure_requested": infrastructure, "business_requested": business}
    message = a_mesh_message(a_message("ITK003D", receiver_ods="B99999", **flags))
    daemon = whole_path(tmp_path, message)
    for _ in range(3):
        daemon.clock.advance(days=1)
        daemon.collect()
        interpret(daemon.world)
        dispatch(daemon.world)
        respond(daemon.world, daemon.mailbox)
    assert answered(daemon) == expected
    assert daemon.handler.calls == []
    assert daemon.record(message.mesh_message_id).state is State.REJECTED


@pytest.mark.parametrize("business", [ABSENT, JUNK], ids=str)
@pytest.mark.parametrize("infrastructure", [ABSENT, JUNK], ids=str)
def test_flags_that_cannot_be_determined_are_answered_as_if_they_asked(tmp_path, infrastructure, business):
    """ITK3-UNNUMBERED-05: such a message is refused, and its sender is told."""
    flags = {"infrastructure_requested": infrastructure, "business_requested": business}
    daemon = whole_path(tmp_path, a_mesh_message(a_message("ITK003D", **flags)))
    assert answered(daemon) == ["10001" if ABSENT in (infrastructure, business) else "10002"]


@pytest.mark.parametrize("again", ["the same message", "the stages", "a restart"])
def test_no_message_is_ever_answered_more_than_twice_and_never_two_codes_in_one(tmp_path, again):
    """ITK3-UNNUMBERED-07."""
    message = a_mesh_message(a_message("ITK003D"))
    daemon = whole_path(tmp_path, message)
    if again == "the same message":
        daemon.mailbox.list_again(message)
    if again == "a restart":
        daemon.ledger.close()
        daemon = a_small_daemon(tmp_path, daemon.mailbox)
    for _ in range(3):
        daemon.clock.advance(hours=2)
        daemon.collect()
        interpret(daemon.world)
        dispatch(daemon.world)
        respond(daemon.world, daemon.mailbox)
    assert answered(daemon) == ["20013", "30001"]
    assert [sent.body.count(b"<coding>") for sent in daemon.mailbox.sent] == [1, 1]


# ------------------------------------------------------------------------------------------ duplicates, unreadable


def test_a_duplicate_document_reaches_no_handler_and_is_answered_logged_and_flagged(tmp_path):
    """FHIR-RR-05, /1, /2, /3."""
    document = {"document_identifier": "55555555-0000-4000-8000-000000000001"}
    first = a_mesh_message(a_message("ITK003D", seed="one", **document))
    second = a_mesh_message(a_message("ITK003D", seed="two", **document))
    daemon = whole_path(tmp_path, first, second)
    assert [message.mesh_message_id for message, _ in daemon.handler.calls] == [first.mesh_message_id]
    assert answered(daemon).count("20008") == 1
    assert [event["response_code"] for event in daemon.said("message.rejected")] == ["20008"]
    assert ("interpret", "rejected") in timeline(daemon, second)
    record = daemon.record(second.mesh_message_id)
    assert (record.response_code, record.duplicate_of) == ("20008", first.mesh_message_id)


@pytest.mark.parametrize("body", [b"", b"\x00\xff", b"<Bundle", b"{", b"<html/>", "\ufeff<Bundle/>".encode("utf-16")], ids=repr)
def test_an_unreadable_original_is_answered_to_the_mailbox_it_came_from_with_the_fixed_words(tmp_path, body):
    """ITK3-UNNUMBERED-08."""
    daemon = whole_path(tmp_path, a_mesh_message(body, sender_mailbox_id="X26ABC9"))
    [sent] = daemon.mailbox.sent
    response = read_response(sent.body)
    assert (sent.to_mailbox_id, response.answers) == ("X26ABC9", "UNREADABLE-IN-ORIGINAL-MESSAGE")
    assert response.code in ("10009", "20006")


# ------------------------------------------------------------------------------------------ GP Connect


class ConsultationReports(ScriptedHandler):
    declaration = Declaration(name="reports", workflows={"GPFED_CONSULT_REPORT": "GPFED_CONSULT_REPORT_ACK"})


def test_a_consultation_report_is_answered_on_its_own_acknowledgement_workflow(tmp_path):
    """GPCM-SD-CS-062, GPCM-SD-OC-161."""
    message = a_mesh_message(a_message("ITK007C"), workflow_id="GPFED_CONSULT_REPORT")
    daemon = whole_path(tmp_path, message, routes=lambda _: a_registry(ConsultationReports()))
    assert answered(daemon, "GPFED_CONSULT_REPORT_ACK") == answered(daemon) == ["20013", "30001"]


@pytest.mark.parametrize("reference", ["W-2026/17", " R&D  <1> ", "NULL"])
@pytest.mark.parametrize("change", [{}, {"receiver_ods": "B99999"}], ids=["positive", "negative"])
def test_responses_repeat_the_senders_reference_ask_for_nothing_and_say_when_they_were_made(tmp_path, reference, change):
    """GPCM-SD-CS-054 to -059."""
    body = a_message("ITK003D", sender_reference=reference, header_id=HEADER_ID, **change)
    daemon = whole_path(tmp_path, a_mesh_message(body))
    for sent in daemon.mailbox.sent:
        response = read_response(sent.body)
        assert (response.sender_reference, response.answers) == (reference, HEADER_ID)
        assert (response.business_requested, response.infrastructure_requested) == ("false", "false")
        assert (response.sender_ods, response.source_endpoint) == ("A81001", PRACTICE)
        assert f'<timestamp value="{daemon.clock.now():%Y-%m-%dT%H:%M:%S}+00:00"/>'.encode() in sent.body
