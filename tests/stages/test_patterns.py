"""ITK3's response patterns, end to end: what goes out, what comes back, and that every conversation ends.

Source: pages explore_response_patterns_1 to _4; "business only" is no named pattern, but the flags allow it.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh_itk3.handler import BusinessCode, Respond
from mesh_itk3.itk3.envelope import Caps, read_message
from mesh_itk3.itk3.response_reading import read_response
from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import MessageKey
from mesh_itk3.simulator.messages import a_message
from mesh_itk3.stages.collect import collect
from mesh_itk3.stages.correlate import correlate
from mesh_itk3.stages.dispatch import dispatch
from mesh_itk3.stages.interpret import interpret
from mesh_itk3.stages.respond import respond
from support.fake_mailbox import FakeMailbox, a_mesh_message, a_report
from support.responses import a_response
from support.stage_world import ACK_WORKFLOW, PRACTICE, WORKFLOW, a_small_daemon

BAD = {"definition": None}


def run(daemon, *messages):
    """Everything that these messages bring about, until nothing is left to do."""
    for message in messages:
        daemon.mailbox.deliver(message)
    daemon.collect()
    for _ in range(20):
        done = interpret(daemon.world) + dispatch(daemon.world) + correlate(daemon.world)
        done += respond(daemon.world, daemon.mailbox)
        if not done:
            return
    raise AssertionError("it does not end")


def conversing(tmp_path, *bodies, full=False, code=BusinessCode.PATIENT_KNOWN, workflow_id=WORKFLOW):
    daemon = a_small_daemon(tmp_path)
    if full:
        object.__setattr__(daemon.world, "full_acknowledgement", frozenset({WORKFLOW}))
    daemon.handler.answers = [Respond(code) for _ in bodies]
    run(daemon, *(a_mesh_message(body, workflow_id=workflow_id) for body in bodies))
    return daemon


def said(daemon):
    """The codes that went out, in order."""
    return [read_response(read_message(sent.body, Caps())).code for sent in daemon.mailbox.sent]


# ---------------------------------------------------------------------------------------------- we are asked

PATTERNS = {
    "technical and business": (True, True, ["20013", "30001"], ["10001"]),
    "technical only": (True, False, ["20013"], ["10001"]),
    "business only": (False, True, ["30001"], []),
    "fire and forget": (False, False, [], []),
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_was_asked_for_goes_out_and_nothing_else(tmp_path, pattern):
    infrastructure, business, good, _ = PATTERNS[pattern]
    body = a_message("ITK003D", infrastructure_requested=infrastructure, business_requested=business)
    daemon = conversing(tmp_path, body)
    assert said(daemon) == good


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_technical_failure_ends_every_pattern_after_the_one_response_that_was_asked_for(tmp_path, pattern):
    infrastructure, business, _, bad = PATTERNS[pattern]
    body = a_message("ITK003D", infrastructure_requested=infrastructure, business_requested=business, **BAD)
    daemon = conversing(tmp_path, body)
    assert said(daemon) == bad


@pytest.mark.parametrize("infrastructure", [None, "junk"])
def test_fire_and_forget_ends_with_a_negative_only_where_the_flags_cannot_be_read(tmp_path, infrastructure):
    body = a_message("ITK003D", infrastructure_requested=infrastructure, business_requested=False)
    daemon = conversing(tmp_path, body)
    assert said(daemon) == ["10001" if infrastructure is None else "10002"]


@pytest.mark.parametrize("code", ["30002", "30003"])
def test_a_negative_business_response_follows_a_20013_like_a_positive_one(tmp_path, code):
    daemon = conversing(tmp_path, a_message("ITK003D"), code=BusinessCode(code))
    assert said(daemon) == ["20013", code]


@pytest.mark.parametrize("full", [False, True], ids=["technical and business", "full acknowledgement"])
def test_our_business_response_asks_back_only_where_full_acknowledgement_is_configured(tmp_path, full):
    daemon = conversing(tmp_path, a_message("ITK003D"), full=full)
    asked = [read_response(read_message(sent.body, Caps())).inf_ack for sent in daemon.mailbox.sent]
    assert asked == [False, full]


def test_full_acknowledgement_ends_with_the_senders_infrastructure_response_to_our_business_response(tmp_path):
    daemon = conversing(tmp_path, a_message("ITK003D"), full=True)
    ours = read_response(read_message(daemon.mailbox.sent[1].body, Caps())).message_header_id
    answer = a_mesh_message(a_response(ours, "20013"), workflow_id=ACK_WORKFLOW)
    run(daemon, answer)
    record = daemon.record(answer.mesh_message_id)
    local_id = daemon.mailbox.sent[1].local_id
    assert (record.state, record.response_code, record.answers_local_id) == (State.CORRELATED, "20013", local_id)
    assert len(daemon.mailbox.sent) == 2
    assert [each.key for each in daemon.ledger.answers_to([local_id])] == [record.key]


@pytest.mark.parametrize("code", ["10009", "20006"])
def test_a_refusal_of_our_business_response_is_raised_and_never_answered(tmp_path, code):
    daemon = conversing(tmp_path, a_message("ITK003D"), full=True)
    ours = read_response(read_message(daemon.mailbox.sent[1].body, Caps())).message_header_id
    refusal = a_response(ours, code)
    run(daemon, *(a_mesh_message(refusal, workflow_id=ACK_WORKFLOW) for _ in range(2)))
    response = daemon.ledger.response_by(message_header_id=ours)
    assert (response.state, response.reason) == (ResponseState.SENT, "refused_by_receiver")
    assert [event["response_code"] for event in daemon.said("response.refused")] == [code]
    assert [each.message_header_id for each in daemon.ledger.unseen().responses] == [ours]
    assert len(daemon.mailbox.sent) == 2


# ---------------------------------------------------------------------------------------------- we are answered


def test_a_business_response_that_asks_is_answered_once_however_often_it_comes(tmp_path):
    daemon = a_small_daemon(tmp_path)
    for workflow_id in (ACK_WORKFLOW, ACK_WORKFLOW, WORKFLOW):
        run(daemon, a_mesh_message(a_response(asks=True), workflow_id=workflow_id))
    assert said(daemon) == ["20013"]


@pytest.mark.parametrize("code", ["20013", "10009", "20007", "20015"])
@pytest.mark.parametrize("workflow_id", [ACK_WORKFLOW, WORKFLOW])
def test_an_infrastructure_response_is_never_answered_whatever_it_asks(tmp_path, code, workflow_id):
    daemon = a_small_daemon(tmp_path)
    run(daemon, a_mesh_message(a_response(code=code, asks=True), workflow_id=workflow_id))
    assert daemon.mailbox.sent == []


def test_a_peer_that_answers_each_of_our_answers_with_a_new_business_response_is_not_answered_for_ever(tmp_path):
    """Full acknowledgement: its response to ours gets the one 20013 that the standard has, and what answers that nothing."""
    daemon = conversing(tmp_path, a_message("ITK003D"), full=True)
    for number in range(1, 6):
        ours = read_response(read_message(daemon.mailbox.sent[-1].body, Caps())).message_header_id
        run(daemon, a_mesh_message(a_response(ours, asks=True, number=number), workflow_id=ACK_WORKFLOW))
    assert said(daemon) == ["20013", "30001", "20013"]


def test_of_many_business_responses_to_one_of_ours_one_is_answered(tmp_path):
    daemon = conversing(tmp_path, a_message("ITK003D"), full=True)
    ours = read_response(read_message(daemon.mailbox.sent[-1].body, Caps())).message_header_id
    for number in range(1, 4):
        run(daemon, a_mesh_message(a_response(ours, asks=True, number=number), workflow_id=ACK_WORKFLOW))
    assert said(daemon) == ["20013", "30001", "20013"]


def test_a_business_response_to_something_of_anothers_still_gets_its_one_answer(tmp_path):
    daemon = a_small_daemon(tmp_path)
    run(daemon, a_mesh_message(a_response(asks=True), workflow_id=ACK_WORKFLOW))
    ours = read_response(read_message(daemon.mailbox.sent[-1].body, Caps())).message_header_id
    run(daemon, a_mesh_message(a_response(ours, asks=True, number=2), workflow_id=ACK_WORKFLOW))
    run(daemon, a_mesh_message(a_response(asks=True, number=3), workflow_id=ACK_WORKFLOW))
    assert said(daemon) == ["20013", "20013"]


def test_an_answer_that_comes_to_another_mailbox_of_ours_moves_nothing_of_this_ones(tmp_path):
    """Whoever knows an id could else move the outbox of a mailbox that another daemon serves."""
    daemon = conversing(tmp_path, a_message("ITK003D"))
    ours = read_response(read_message(daemon.mailbox.sent[1].body, Caps())).message_header_id
    daemon.world.practices["X26ABC3"] = daemon.world.practices[PRACTICE]
    answer = a_mesh_message(a_response(ours, "10009"), workflow_id=ACK_WORKFLOW)
    other = replace(daemon.collector, mailbox=FakeMailbox([answer], mailbox_id="X26ABC3"))
    collect(other)
    correlate(daemon.world)
    assert daemon.ledger.get(MessageKey("X26ABC3", answer.mesh_message_id)).state is State.UNCORRELATED
    assert daemon.ledger.unseen().responses == ()


@pytest.mark.parametrize("prefix", ["", "busAck-", "infAck-"])
def test_a_response_that_cannot_name_what_it_answers_is_correlated_by_its_local_id(tmp_path, prefix):
    """As the NHS test harness writes it: infAck- or busAck- and the id of what is answered."""
    daemon = conversing(tmp_path, a_message("ITK003D"), full=True)
    ours = read_response(read_message(daemon.mailbox.sent[1].body, Caps())).message_header_id
    body = a_response(None, "20013")
    assert b"UNREADABLE-IN-ORIGINAL-MESSAGE" in body
    answer = a_mesh_message(body, workflow_id=ACK_WORKFLOW, local_id=prefix + ours)
    run(daemon, answer)
    assert daemon.record(answer.mesh_message_id).answers_local_id == daemon.mailbox.sent[1].local_id


@pytest.mark.parametrize("local_id", [None, "RA9", "infAck-", "x" * 300])
def test_a_local_id_that_names_nothing_correlates_nothing(tmp_path, local_id):
    daemon = conversing(tmp_path, a_message("ITK003D"))
    answer = a_mesh_message(a_response(None, "20013"), workflow_id=ACK_WORKFLOW, local_id=local_id)
    run(daemon, answer)
    assert daemon.record(answer.mesh_message_id).state is State.UNCORRELATED


# ---------------------------------------------------------------------------------------------- every conversation ends


def echoing(daemon, message, *, rounds=8):
    """The other side is a mirror: it sends back, unchanged, whatever it gets. How many responses went out in all."""
    run(daemon, message)
    echoed = 0
    for _ in range(rounds):
        fresh = daemon.mailbox.sent[echoed:]
        if not fresh:
            return len(daemon.mailbox.sent)
        echoed = len(daemon.mailbox.sent)
        run(daemon, *(a_mesh_message(sent.body, workflow_id=sent.workflow_id, local_id=sent.local_id) for sent in fresh))
    raise AssertionError("two systems answer each other's answers")


BODIES = {
    "a good message": a_message("ITK003D"),
    "a bad message": a_message("ITK003D", **BAD),
    "an unreadable flag": a_message("ITK003D", infrastructure_requested="junk"),
    "garbage": b"garbage",
    "nothing": b"",
    "a business response that asks": a_response(asks=True),
    "an infrastructure response that asks": a_response(code="10009", asks=True),
    "a response with junk flags": a_response(asks=True).replace(b'"true"', b'"junk"'),
    "a response cut off": a_response(asks=True)[:-300],
    "a response without a code": a_response(asks=True).replace(b"30001", b"41001"),
    "a letter that says ITK008M": a_message("ITK003D", event="ITK008M"),
}


@pytest.mark.parametrize("full", [False, True], ids=["", "full"])
@pytest.mark.parametrize("workflow_id", [WORKFLOW, ACK_WORKFLOW], ids=["payload workflow", "response workflow"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_with_a_mirror_on_the_other_side_every_conversation_ends(tmp_path, body, workflow_id, full):
    daemon = a_small_daemon(tmp_path)
    if full:
        object.__setattr__(daemon.world, "full_acknowledgement", frozenset({WORKFLOW}))
    # At most two responses to a message, and in full acknowledgement one to the second of them.
    assert echoing(daemon, a_mesh_message(body, workflow_id=workflow_id)) <= 3


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_nothing_negative_is_ever_sent_on_a_response_workflow(tmp_path, body):
    daemon = a_small_daemon(tmp_path)
    run(daemon, a_mesh_message(body, workflow_id=ACK_WORKFLOW))
    assert set(said(daemon)) <= {"20013"}


def test_a_report_on_any_workflow_is_answered_to_nobody(tmp_path):
    daemon = a_small_daemon(tmp_path)
    run(daemon, a_report(local_id="x"), a_report(linked_message_id="y", workflow_id=WORKFLOW))
    assert daemon.mailbox.sent == []


RESPONSE = a_response(asks=True)
EDITS = st.lists(
    st.tuples(st.integers(0, len(RESPONSE) - 1), st.integers(0, 80), st.binary(max_size=6)), min_size=1, max_size=4
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=EDITS, workflow_id=st.sampled_from([WORKFLOW, ACK_WORKFLOW]))
def test_a_response_damaged_anywhere_never_breaks_the_stage_and_is_never_refused(tmp_path_factory, edits, workflow_id):
    body = RESPONSE
    for at, length, other in edits:
        body = body[:at] + other + body[at + length :]
    daemon = a_small_daemon(tmp_path_factory.mktemp("damaged"))
    message = a_mesh_message(body, workflow_id=workflow_id)
    run(daemon, message)
    daemon.ledger.close()
    assert daemon.said("stage.failed") == []
    if workflow_id == ACK_WORKFLOW:
        assert set(said(daemon)) <= {"20013"}
    assert len(daemon.mailbox.sent) <= 1
