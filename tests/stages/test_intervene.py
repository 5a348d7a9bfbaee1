"""What an operator does, beside the stages: the steps as values, and real stages over a real ledger that meet them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_itk3.deadlines import Deadlines
from mesh_itk3.handler import BusinessCode, Defer, Respond
from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import Kind, MessageKey, MessageRecord, ResponseRecord, SendRefused
from mesh_itk3.reasons import ABANDON_REASONS, MustBeTold, Reason
from mesh_itk3.simulator.messages import a_message
from mesh_itk3.stages import intervene
from mesh_itk3.stages.decide import decision, watch_decisions
from mesh_itk3.stages.dispatch import dispatch
from mesh_itk3.stages.interpret import interpret
from mesh_itk3.stages.respond import respond
from mesh_itk3.stages.track import track
from support.fake_mailbox import FakeMailbox, a_mesh_message
from support.stage_world import a_small_daemon

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
KEY = MessageKey("X26ABC2", "M1")
FAILED = RuntimeError("a handler's fault")


# ------------------------------------------------------------------------------------------------ the steps


def a_record(state=State.PARKED, **changes) -> MessageRecord:
    return MessageRecord(KEY, "TOC_FHIR_IP_DISCH", Kind.MESSAGE, state, NOW, **changes)


def a_response(level="infrastructure", state=ResponseState.PARKED, **changes) -> ResponseRecord:
    code = "20013" if level == "infrastructure" else "30001"
    return ResponseRecord(level, KEY, level, code, state, f"id-{level}", "X26HC005", "ACK", b"", NOW, **changes)


parked_records = st.builds(
    a_record,
    parked_from=st.sampled_from([State.RECEIVED, State.ACCEPTED]),
    reason=st.sampled_from(sorted(set(Reason) - {Reason.HELD_BY_PERSON})),
    attempts=st.integers(0, 9),
    interrupted=st.integers(0, 20),
    is_alone=st.booleans(),
    bus_ack_requested=st.sampled_from([True, False, None]),
    accepted_at=st.sampled_from([None, NOW]),
)
some_responses = st.lists(
    st.builds(
        a_response,
        level=st.sampled_from(["infrastructure", "business"]),
        state=st.sampled_from(list(ResponseState)),
        reason=st.sampled_from([None, "send_refused", "infrastructure_refused"]),
    ),
    max_size=2,
    unique_by=lambda each: each.level,
)


@given(parked_records, some_responses)
def test_a_retry_forgets_what_was_counted_and_why_and_nothing_else(record, responses):
    act = intervene.retry(record, responses, "Jo", NOW)
    (step,) = act.steps
    assert step.new is record.parked_from
    assert step.changes == {"attempts": 0, "interrupted": 0, "due_at": None, "reason": None, "parked_from": None}
    assert (step.entry.who, step.entry.reason) == ("Jo", record.reason)
    assert {each.old for each in act.responses} <= {ResponseState.PARKED}
    assert {each.new for each in act.responses} <= {ResponseState.OWED}
    assert {fields["actor"] for _, fields in act.said} == {"Jo"}


@given(parked_records, some_responses, st.sampled_from(sorted(ABANDON_REASONS)))
def test_an_abandoned_message_keeps_its_bytes_and_stands_where_its_sender_has_to_be_told(record, responses, word):
    reason = Reason(word)
    act = intervene.abandon(record, responses, reason, "Jo", NOW)
    (step,) = act.steps
    assert (step.new, step.responses, step.changes["reason"], step.changes["finished_at"]) == (State.ABANDONED, (), reason, NOW)
    assert not step.changes.keys() & {"payload", "accepted_at", "message_header_id"}
    told = ABANDON_REASONS[reason]
    refused = any(each.state is ResponseState.PARKED for each in responses)
    is_asked = record.parked_from is State.RECEIVED or record.bus_ack_requested is not False or refused
    assert step.changes.get("sender_not_told", False) == (
        told is MustBeTold.SENDER or (told is MustBeTold.WHO_ASKED and is_asked)
    )
    assert {(each.old, each.new) for each in act.responses} <= {(ResponseState.PARKED, ResponseState.PARKED)}


@pytest.mark.parametrize("kind", [Kind.RESPONSE, Kind.REPORT])
def test_nobody_waits_for_an_answer_to_a_response_or_report(kind):
    record = replace(a_record(parked_from=State.RECEIVED), kind=kind)
    act = intervene.abandon(record, (), Reason.CANNOT_BE_READ, "Jo", NOW)
    assert "sender_not_told" not in act.steps[0].changes


def test_what_was_accepted_never_goes_back_to_be_judged_even_where_nothing_says_from_where_it_was_parked():
    assert intervene.parked_from(a_record(accepted_at=NOW)) is State.ACCEPTED
    assert intervene.parked_from(a_record()) is State.RECEIVED


@pytest.mark.parametrize("state", sorted(set(State) - {State.PARKED}))
def test_only_what_is_parked_is_retried_released_or_abandoned(state):
    record = a_record(state)
    assert not intervene.is_failed(record)
    assert not intervene.is_held(record)
    assert intervene.can_be_held(record) == (state in {State.RECEIVED, State.ACCEPTED, State.AWAITING_DECISION})
    assert intervene.retry(record, (), "Jo", NOW) == intervene.Act()


def test_a_held_message_is_not_retried_but_a_refused_response_to_it_is():
    record = a_record(reason=Reason.HELD_BY_PERSON, parked_from=State.ACCEPTED)
    assert not intervene.can_be_retried(record, ())
    act = intervene.retry(record, [a_response()], "Jo", NOW)
    assert (act.steps, len(act.responses)) == ((), 1)


def test_the_ledger_brings_back_what_was_parked_with_the_infrastructure_response():
    both = [a_response(reason="send_refused"), a_response("business", reason="infrastructure_refused")]
    act = intervene.retry(a_record(State.COMPLETED), both, "Jo", NOW)
    assert [step.local_id for step in act.responses] == ["infrastructure"]
    assert [fields["level"] for _, fields in act.said] == ["infrastructure", "business"]
    alone = intervene.retry(a_record(State.COMPLETED), both[1:], "Jo", NOW)
    assert [step.local_id for step in alone.responses] == ["business"]


# ------------------------------------------------------------------------------------------------ beside the stages


@pytest.fixture
def daemon(tmp_path):
    made = a_small_daemon(tmp_path, FakeMailbox([a_mesh_message(a_message("ITK003D"))]))
    made.collect()
    return made


def the(daemon) -> MessageRecord:
    ((record, _),) = daemon.ledger.messages()
    return record


def do(daemon, verb, *arguments) -> None:
    now = daemon.clock.now()
    act = verb(the(daemon), *arguments, "Jo", now)
    daemon.ledger.act(act.steps, act.responses, now)


def fail_until_parked(daemon) -> None:
    interpret(daemon.world)
    daemon.handler.answers = [FAILED] * 3
    for _ in range(3):
        dispatch(daemon.world)
        daemon.clock.advance(minutes=5)
    assert the(daemon).state is State.PARKED


def test_a_message_whose_handler_was_broken_is_dealt_with_after_the_repair(daemon):
    fail_until_parked(daemon)
    do(daemon, intervene.retry, ())
    dispatch(daemon.world)
    assert the(daemon).state is State.COMPLETED
    respond(daemon.world, daemon.mailbox)
    assert [b"20013" in sent.body or b"30001" in sent.body for sent in daemon.mailbox.sent] == [True, True]


def test_a_handler_that_is_still_broken_gets_its_three_attempts_again_and_is_parked_again(daemon):
    fail_until_parked(daemon)
    do(daemon, intervene.retry, ())
    daemon.handler.answers = [FAILED] * 3
    seen = []
    for _ in range(3):
        dispatch(daemon.world)
        daemon.clock.advance(minutes=5)
        seen.append((the(daemon).state, the(daemon).attempts))
    assert seen == [(State.ACCEPTED, 1), (State.ACCEPTED, 2), (State.PARKED, 3)]


def test_a_held_message_is_taken_by_no_stage_until_it_is_released(daemon):
    do(daemon, intervene.hold)
    assert (interpret(daemon.world), dispatch(daemon.world)) == (0, 0)
    assert daemon.mailbox.sent == []
    do(daemon, intervene.release, None)
    assert (interpret(daemon.world), dispatch(daemon.world)) == (1, 1)
    assert the(daemon).state is State.COMPLETED


def test_a_redelivery_of_what_is_abandoned_is_acknowledged_and_a_resend_is_a_duplicate(daemon):
    fail_until_parked(daemon)
    do(daemon, intervene.abandon, (), Reason.HANDLED_BY_HAND)
    body, first = a_message("ITK003D"), the(daemon).key.mesh_message_id
    daemon.mailbox.list_again(a_mesh_message(body, mesh_message_id=first))
    again = daemon.mailbox.deliver(a_mesh_message(body))
    daemon.collect()
    interpret(daemon.world)
    assert daemon.record(first).state is State.ABANDONED
    assert daemon.codes(first) == {"infrastructure": "20013"}
    assert (daemon.record(again).state, daemon.record(again).response_code) == (State.REJECTED, "20007")
    assert daemon.mailbox.acknowledged == [first, first, again]


def test_a_resend_of_what_was_abandoned_before_it_was_read_is_judged_afresh(daemon):
    do(daemon, intervene.hold)
    do(daemon, intervene.abandon, (), Reason.CANNOT_BE_READ)
    again = daemon.mailbox.deliver(a_mesh_message(a_message("ITK003D")))
    daemon.collect()
    interpret(daemon.world)
    assert daemon.record(again).state is State.ACCEPTED


# ------------------------------------------------------------------------------------------------ decisions


def defer(daemon, reason="date_of_birth_differs") -> None:
    interpret(daemon.world)
    daemon.handler.answers = [Defer(reason)]
    dispatch(daemon.world)
    assert the(daemon).state is State.AWAITING_DECISION


def release(daemon) -> None:
    began = intervene.began_to_wait(daemon.ledger.timeline(the(daemon).key))
    do(daemon, intervene.release, began.reason)


def test_a_decision_that_was_held_has_its_reason_its_deadline_and_new_notice(daemon):
    object.__setattr__(daemon.world, "deadlines", Deadlines(at_deadline=BusinessCode.PATIENT_NOT_KNOWN))
    defer(daemon)
    began = the(daemon).deferred_at
    daemon.clock.advance(hours=69)
    assert watch_decisions(daemon.world) == 1
    do(daemon, intervene.hold)
    daemon.clock.advance(hours=50)
    assert watch_decisions(daemon.world) == 0
    release(daemon)
    assert (the(daemon).state, the(daemon).reason, the(daemon).deferred_at) == (
        State.AWAITING_DECISION, "date_of_birth_differs", began,
    )  # fmt: skip
    assert watch_decisions(daemon.world) == 1
    assert daemon.events[-1]["event"] == "decision.overdue"
    daemon.clock.advance(hours=4)
    watch_decisions(daemon.world)
    assert the(daemon).decision_code == "30002"


def test_what_waits_for_a_register_is_not_decided_by_itself_because_it_was_held(daemon):
    object.__setattr__(daemon.world, "deadlines", Deadlines(at_deadline=BusinessCode.PATIENT_NOT_KNOWN))
    defer(daemon, "no_register")
    watch_decisions(daemon.world)
    do(daemon, intervene.hold)
    release(daemon)
    for _ in range(200):
        daemon.clock.advance(hours=1)
        watch_decisions(daemon.world)
    assert (the(daemon).state, the(daemon).reason) == (State.AWAITING_DECISION, "no_register")


def test_a_message_held_after_its_decision_is_carried_out_when_it_is_released(daemon):
    defer(daemon)
    daemon.ledger.apply([decision(the(daemon), BusinessCode.PATIENT_LEFT, "Sam", daemon.clock.now())])
    do(daemon, intervene.hold)
    release(daemon)
    daemon.handler.answers = [Respond(BusinessCode.PATIENT_LEFT)]
    dispatch(daemon.world)
    assert (the(daemon).state, daemon.codes(the(daemon).key.mesh_message_id)["business"]) == (State.COMPLETED, "30003")


# ------------------------------------------------------------------------------------------------ responses


def test_a_refused_response_that_is_retried_reaches_its_sender_once_with_the_same_bytes(daemon):
    interpret(daemon.world)
    daemon.mailbox.fails_on, daemon.mailbox.error = "send", SendRefused("12")
    respond(daemon.world, daemon.mailbox)
    dispatch(daemon.world)
    mesh_message_id = the(daemon).key.mesh_message_id
    assert {each.state for each in daemon.responses(mesh_message_id).values()} == {ResponseState.PARKED}
    written = {each.local_id for each in daemon.responses(mesh_message_id).values()}
    do(daemon, intervene.retry, daemon.ledger.responses_to(the(daemon).key))
    daemon.mailbox.heal()
    for _ in range(3):
        respond(daemon.world, daemon.mailbox)
        daemon.clock.advance(minutes=10)
    track(daemon.world, daemon.mailbox)
    assert sorted(sent.local_id for sent in daemon.mailbox.sent) == sorted(written)
    assert [b"20013" in sent.body for sent in daemon.mailbox.sent] == [True, False], "the infrastructure response goes first"


def test_a_response_that_mesh_has_after_all_is_found_and_not_sent_again(daemon):
    """It was taken, the answer lost, looked up in vain for an hour, sent again and refused: MESH has it all the same."""
    interpret(daemon.world)
    dispatch(daemon.world)
    respond(daemon.world, daemon.mailbox)
    sent = len(daemon.mailbox.sent)
    with daemon.ledger._database.writing() as connection:
        connection.exec_driver_sql("UPDATE response SET state = 'parked', reason = 'send_refused', sent_at = NULL")
    daemon.clock.advance(hours=2)
    do(daemon, intervene.retry, daemon.ledger.responses_to(the(daemon).key))
    respond(daemon.world, daemon.mailbox)
    assert len(daemon.mailbox.sent) == sent
    assert {each.state for each in daemon.responses(the(daemon).key.mesh_message_id).values()} == {ResponseState.SENT}
