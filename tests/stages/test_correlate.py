"""Stage 5: reports and responses that we receive -> what they answer; never a loop of answers."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from mesh_itk3.itk3.envelope import Caps, read_message
from mesh_itk3.itk3.response_reading import read_response
from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import Entry
from mesh_itk3.simulator.messages import a_message
from mesh_itk3.stages.correlate import correlate
from mesh_itk3.stages.dispatch import dispatch
from mesh_itk3.stages.interpret import interpret
from mesh_itk3.stages.respond import respond
from support.fake_mailbox import FakeMailbox, a_mesh_message, a_report
from support.responses import a_response
from support.stage_world import ACK_WORKFLOW, a_small_daemon


def incoming(tmp_path, *messages, **collector):
    daemon = a_small_daemon(tmp_path, FakeMailbox(messages), **collector)
    daemon.collect()
    correlate(daemon.world)
    return daemon


def having_responded(tmp_path):
    """A daemon that has sent both responses to one message."""
    message = a_mesh_message(a_message("ITK003D"))
    daemon = a_small_daemon(tmp_path, FakeMailbox([message]))
    daemon.collect()
    interpret(daemon.world)
    dispatch(daemon.world)
    respond(daemon.world, daemon.mailbox)
    return daemon, daemon.responses(message.mesh_message_id)


def arrives(daemon, message):
    daemon.mailbox.deliver(message)
    daemon.collect()
    correlate(daemon.world)
    return daemon.record(message.mesh_message_id)


def test_a_report_marks_the_response_that_mesh_could_not_deliver(tmp_path):
    daemon, responses = having_responded(tmp_path)
    ours = responses["business"]
    record = arrives(daemon, a_report(linked_message_id=ours.mesh_message_id))
    assert record.state is State.CORRELATED
    assert daemon.ledger.response_by(local_id=ours.local_id).state is ResponseState.UNDELIVERED
    assert len(daemon.said("response.undelivered")) == 1


def test_a_report_is_correlated_by_local_id_too(tmp_path):
    daemon, responses = having_responded(tmp_path)
    record = arrives(daemon, a_report(local_id=responses["infrastructure"].local_id))
    assert record.state is State.CORRELATED


def test_a_report_about_something_else_is_uncorrelated_and_acknowledged(tmp_path):
    report = a_report(linked_message_id="UNHEARD-OF")
    daemon = incoming(tmp_path, report)
    assert daemon.record(report.mesh_message_id).state is State.UNCORRELATED
    assert daemon.mailbox.acknowledged == [report.mesh_message_id]


def test_a_report_about_something_else_stands_until_a_person_has_seen_it(tmp_path):
    report = a_report(linked_message_id="UNHEARD-OF")
    daemon = incoming(tmp_path, report)
    assert [line["mesh_message_id"] for line in daemon.said("report.unmatched")] == [report.mesh_message_id]
    assert [record.is_unmatched for record in daemon.ledger.unseen().messages] == [True]


def test_a_report_that_is_left_to_another_system_is_not_raised(tmp_path):
    daemon = a_small_daemon(tmp_path, FakeMailbox([a_report(linked_message_id="THEIRS")]), leaves_uncorrelated=True)
    practices = {mailbox: replace(one, leaves_uncorrelated=True) for mailbox, one in daemon.world.practices.items()}
    daemon.collect()
    correlate(replace(daemon.world, practices=practices))
    assert daemon.said("correlate.done")
    assert daemon.said("report.unmatched") == []
    assert daemon.ledger.unseen().messages == ()


def test_a_response_to_our_response_is_correlated_whatever_the_case_of_the_id(tmp_path):
    daemon, responses = having_responded(tmp_path)
    answers = responses["business"].message_header_id.upper()
    record = arrives(daemon, a_mesh_message(a_response(answers, "20013"), workflow_id=ACK_WORKFLOW))
    assert (record.state, record.response_code) == (State.CORRELATED, "20013")


def test_an_infrastructure_response_is_never_answered(tmp_path):
    daemon, responses = having_responded(tmp_path)
    answers = responses["business"].message_header_id
    message = a_mesh_message(a_response(answers, "20013", asks=True), workflow_id=ACK_WORKFLOW)
    arrives(daemon, message)
    assert daemon.responses(message.mesh_message_id) == {}


def test_a_business_response_that_asks_gets_20013_on_the_same_workflow(tmp_path):
    message = a_mesh_message(a_response(asks=True), workflow_id=ACK_WORKFLOW)
    daemon = incoming(tmp_path, message)
    response = daemon.responses(message.mesh_message_id)["infrastructure"]
    assert (response.response_code, response.workflow_id, response.to_mailbox_id) == ("20013", ACK_WORKFLOW, "X26ABC1")
    owed = daemon.ledger.claim_responses("X26ABC2", daemon.clock.now(), 5)[0]
    written = read_response(read_message(owed.body, Caps()))
    assert (written.inf_ack, written.bus_ack) == (False, False)


def test_a_business_response_that_asks_twice_is_answered_once(tmp_path):
    first, again = (a_mesh_message(a_response(asks=True), workflow_id=ACK_WORKFLOW) for _ in range(2))
    daemon = incoming(tmp_path, first, again)
    assert set(daemon.responses(first.mesh_message_id)) == {"infrastructure"}
    assert daemon.responses(again.mesh_message_id) == {}


def test_a_business_response_whose_id_is_written_as_a_urn_is_answered_once_in_either_spelling(tmp_path):
    plain = a_response(asks=True)
    identifier = re.search(rb'<id value="([^"]+)"', plain[plain.index(b"<MessageHeader") :])[1]
    urn = plain.replace(b'<id value="' + identifier, b'<id value="urn:uuid:' + identifier)
    first, again = (a_mesh_message(body, workflow_id=ACK_WORKFLOW) for body in (urn, plain))
    daemon = incoming(tmp_path, first, again)
    assert set(daemon.responses(first.mesh_message_id)) == {"infrastructure"}
    assert daemon.responses(again.mesh_message_id) == {}


def test_a_business_response_that_does_not_ask_is_not_answered(tmp_path):
    message = a_mesh_message(a_response(asks=False), workflow_id=ACK_WORKFLOW)
    daemon = incoming(tmp_path, message)
    assert daemon.responses(message.mesh_message_id) == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not xml",
        b'<!DOCTYPE x [<!ENTITY e "e">]><Bundle xmlns="http://hl7.org/fhir"/>',
        a_message("ITK003D"),
        a_response(asks=True).replace(b'<valueBoolean value="true"/>', b'<valueBoolean value="junk"/>'),
        a_response(asks=True)[:-200],
    ],
    ids=["empty", "not xml", "doctype", "a payload", "unreadable flag", "cut off"],
)
def test_whatever_comes_on_a_response_workflow_nothing_negative_is_ever_sent(tmp_path, body):
    message = a_mesh_message(body, workflow_id=ACK_WORKFLOW)
    daemon = incoming(tmp_path, message)
    assert daemon.record(message.mesh_message_id).state is State.UNCORRELATED
    assert daemon.responses(message.mesh_message_id) == {}
    assert daemon.mailbox.acknowledged == [message.mesh_message_id]


def unmatched(daemon):
    return [record.key.mesh_message_id for record in daemon.ledger.unseen().messages if record.is_unmatched]


@pytest.mark.parametrize("body", [b"", b"not xml", a_message("ITK003D"), a_message("ITK003D")[:-300]])
def test_what_is_no_readable_response_on_a_response_workflow_is_raised_and_stands_until_it_is_seen(tmp_path, body):
    message = a_mesh_message(body, workflow_id=ACK_WORKFLOW)
    daemon = incoming(tmp_path, message)
    (said,) = daemon.said("answer.unreadable")
    assert (said["mesh_message_id"], said["reason"]) == (message.mesh_message_id, "not_a_response")
    assert unmatched(daemon) == [message.mesh_message_id]
    record = daemon.record(message.mesh_message_id)
    daemon.ledger.mark_seen(record.key, Entry(at=daemon.clock.now(), stage="seen", outcome="seen", who="Jo"))
    assert unmatched(daemon) == []


@pytest.mark.parametrize("code", ["10009", "20006", "20007", "30002"])
def test_a_negative_response_that_answers_nothing_of_ours_is_raised_and_stands(tmp_path, code):
    message = a_mesh_message(a_response(code=code), workflow_id=ACK_WORKFLOW)
    daemon = incoming(tmp_path, message)
    (said,) = daemon.said("answer.unmatched")
    assert (said["mesh_message_id"], said["response_code"]) == (message.mesh_message_id, code)
    assert unmatched(daemon) == [message.mesh_message_id]
    assert daemon.responses(message.mesh_message_id) == {}


@pytest.mark.parametrize("code", ["20013", "30001"])
def test_a_positive_response_to_nothing_of_ours_needs_nobody(tmp_path, code):
    daemon = incoming(tmp_path, a_mesh_message(a_response(code=code), workflow_id=ACK_WORKFLOW))
    assert (unmatched(daemon), daemon.said("answer.unmatched")) == ([], [])


@pytest.mark.parametrize(
    ("answers", "code"), [(None, "10009"), ("66666666-0000-4000-8000-00000000000a", "20006")], ids=["unreadable", "payload's"]
)
def test_a_refusal_that_names_our_response_by_its_local_id_alone_is_a_refusal_of_it(tmp_path, answers, code):
    daemon, responses = having_responded(tmp_path)
    ours = responses["business"]
    body = a_response(answers, code)
    record = arrives(daemon, a_mesh_message(body, workflow_id=ACK_WORKFLOW, local_id=ours.local_id))
    assert (record.state, record.answers_local_id) == (State.CORRELATED, ours.local_id)
    (said,) = daemon.said("response.refused")
    assert (said["local_id"], said["response_code"]) == (ours.local_id, code)
    assert unmatched(daemon) == []


def test_a_letter_that_calls_itself_a_response_is_raised_and_stands(tmp_path):
    message = a_mesh_message(a_message("ITK003D", event="ITK008M"))
    daemon = a_small_daemon(tmp_path, FakeMailbox([message]))
    daemon.collect()
    interpret(daemon.world)
    correlate(daemon.world)
    assert unmatched(daemon) == [message.mesh_message_id]
    assert len(daemon.said("answer.unreadable")) == 1


def test_an_id_that_is_quoted_goes_before_the_local_id(tmp_path):
    daemon, responses = having_responded(tmp_path)
    body = a_response(responses["business"].message_header_id, "10009")
    message = a_mesh_message(body, workflow_id=ACK_WORKFLOW, local_id=responses["infrastructure"].local_id)
    assert arrives(daemon, message).answers_local_id == responses["business"].local_id


def test_what_is_left_in_mesh_for_somebody_else_is_not_raised_here(tmp_path):
    messages = [a_mesh_message(body, workflow_id=ACK_WORKFLOW) for body in (b"not xml", a_response(code="20006"))]
    daemon = a_small_daemon(tmp_path, FakeMailbox(messages), leaves_uncorrelated=True)
    daemon.world.practices["X26ABC2"] = replace(daemon.world.practices["X26ABC2"], leaves_uncorrelated=True)
    daemon.collect()
    assert correlate(daemon.world) == 2
    assert (unmatched(daemon), daemon.said("answer.unreadable"), daemon.said("answer.unmatched")) == ([], [], [])


def test_a_response_on_a_payload_workflow_is_correlated(tmp_path):
    daemon, responses = having_responded(tmp_path)
    message = a_mesh_message(a_response(responses["business"].message_header_id, "20013"))
    daemon.mailbox.deliver(message)
    daemon.collect()
    interpret(daemon.world)
    correlate(daemon.world)
    assert daemon.record(message.mesh_message_id).state is State.CORRELATED


def test_where_uncorrelated_ones_are_left_only_what_answers_ours_is_acknowledged(tmp_path):
    daemon, responses = having_responded(tmp_path)
    daemon.collector.leaves_uncorrelated = True
    ours = a_mesh_message(a_response(responses["business"].message_header_id, "20013"), workflow_id=ACK_WORKFLOW)
    theirs = a_mesh_message(a_response(number=2), workflow_id=ACK_WORKFLOW)
    for message in (ours, theirs):
        arrives(daemon, message)
    daemon.collect()
    assert ours.mesh_message_id in daemon.mailbox.acknowledged
    assert theirs.mesh_message_id not in daemon.mailbox.acknowledged


def test_a_business_response_that_is_left_for_somebody_else_is_not_answered_by_us(tmp_path):
    message = a_mesh_message(a_response(asks=True), workflow_id=ACK_WORKFLOW)
    daemon = a_small_daemon(tmp_path, FakeMailbox([message]), leaves_uncorrelated=True)
    daemon.world.practices["X26ABC2"] = replace(daemon.world.practices["X26ABC2"], leaves_uncorrelated=True)
    daemon.collect()
    correlate(daemon.world)
    assert daemon.responses(message.mesh_message_id) == {}


def test_a_business_response_without_a_readable_id_of_its_own_is_not_answered(tmp_path):
    body = a_response(asks=True).replace(b"00000001-0000-4000-8000-000000000002", b"no id at all")
    message = a_mesh_message(body, workflow_id=ACK_WORKFLOW)
    daemon = incoming(tmp_path, message)
    assert daemon.responses(message.mesh_message_id) == {}
