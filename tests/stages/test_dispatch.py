"""Stage 3: accepted -> completed, awaiting a decision, again later, or parked."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mesh_itk3.handler import BusinessCode, Defer, Respond, RetryLater
from mesh_itk3.lifecycle import Move, State, state_after
from mesh_itk3.ports import Changes, Entry, Kind, Step, StorageFailed
from mesh_itk3.simulator.messages import a_message
from mesh_itk3.stages.dispatch import dispatch
from mesh_itk3.stages.interpret import interpret
from support.fake_mailbox import FakeMailbox, a_mesh_message
from support.stage_world import a_registry, a_small_daemon


def accepted(tmp_path, *bodies):
    """A daemon that has accepted these messages, and their MESH ids."""
    messages = [a_mesh_message(body) for body in bodies or (a_message("ITK003D"),)]
    daemon = a_small_daemon(tmp_path, FakeMailbox(messages))
    daemon.collect()
    interpret(daemon.world)
    return daemon, *(message.mesh_message_id for message in messages)


def decide(daemon, mesh_message_id, code, who="Dr Example"):
    record = daemon.record(mesh_message_id)
    now = daemon.clock.now()
    changes = Changes(decision_code=code, decided_by=who, decided_at=now, reason="person_decided")
    entry = Entry(at=now, stage="decide", outcome="decided", who=who)
    daemon.ledger.apply([Step(record.key, record.state, state_after(record.state, Move.DECIDE), entry, changes)])


def test_a_handler_that_responds_completes_the_message_and_its_code_is_owed(tmp_path):
    daemon, message = accepted(tmp_path)
    daemon.handler.answers = [Respond(BusinessCode.PATIENT_LEFT)]
    dispatch(daemon.world)
    assert (daemon.record(message).state, daemon.record(message).response_code) == (State.COMPLETED, "30003")
    assert daemon.codes(message) == {"infrastructure": "20013", "business": "30003"}


@pytest.mark.parametrize(("flag", "owed"), [(True, {"business"}), (False, set())])
def test_a_business_response_is_owed_only_where_it_was_asked_for(tmp_path, flag, owed):
    body = a_message("ITK003D", business_requested=flag, infrastructure_requested=False)
    daemon, message = accepted(tmp_path, body)
    dispatch(daemon.world)
    assert daemon.record(message).state is State.COMPLETED
    assert set(daemon.responses(message)) == owed


def test_a_handler_sees_the_received_bytes_the_header_the_document_and_the_mesh_headers(tmp_path):
    body = a_message("ITK003D")
    daemon, mesh_message_id = accepted(tmp_path, body)
    dispatch(daemon.world)
    ((message, context),) = daemon.handler.calls
    assert (message.raw, message.mesh_message_id) == (body, mesh_message_id)
    assert message.header.event_code == "ITK003D"
    assert message.document.sections
    assert message.mesh_headers["workflowid"] == "TOC_FHIR_IP_DISCH"
    assert context.idempotency_key == f"X26ABC2/{mesh_message_id}"
    assert context.decision is None


def test_a_handler_that_raises_is_called_three_times_and_then_the_message_is_parked_without_an_invented_code(tmp_path):
    daemon, message = accepted(tmp_path)
    daemon.handler.answers = [RuntimeError("EDITH"), RuntimeError("EDITH"), RuntimeError("EDITH")]
    for _ in range(5):
        dispatch(daemon.world)
        daemon.clock.advance(hours=1)
    record = daemon.record(message)
    assert (record.state, record.reason, len(daemon.handler.calls)) == (State.PARKED, "handler_failed", 3)
    assert daemon.codes(message) == {"infrastructure": "20013"}
    assert "EDITH" not in repr(daemon.events)


def test_a_handler_that_failed_is_not_called_again_before_its_time(tmp_path):
    daemon, _ = accepted(tmp_path)
    daemon.handler.answers = [RuntimeError()]
    for _ in range(10):
        dispatch(daemon.world)
    assert len(daemon.handler.calls) == 1


def test_a_handler_that_returns_nonsense_has_failed(tmp_path):
    daemon, message = accepted(tmp_path)
    daemon.handler.answers = ["30001"]
    dispatch(daemon.world)
    assert daemon.record(message).reason == "handler_failed"
    assert set(daemon.codes(message)) == {"infrastructure"}


def test_one_failing_message_does_not_hold_up_the_others(tmp_path):
    daemon, *messages = accepted(tmp_path, *(a_message("ITK003D", seed=str(n)) for n in range(3)))
    daemon.handler.answers = [RuntimeError()]
    dispatch(daemon.world)
    assert [daemon.record(m).state for m in messages] == [State.ACCEPTED, State.COMPLETED, State.COMPLETED]


def test_a_handler_may_ask_to_be_called_again_later(tmp_path):
    daemon, message = accepted(tmp_path)
    daemon.handler.answers = [RetryLater(timedelta(minutes=10)), Respond(BusinessCode.PATIENT_KNOWN)]
    dispatch(daemon.world)
    daemon.clock.advance(minutes=9)
    dispatch(daemon.world)
    assert daemon.record(message).state is State.ACCEPTED
    daemon.clock.advance(minutes=2)
    dispatch(daemon.world)
    assert daemon.record(message).state is State.COMPLETED


def test_a_message_is_not_put_off_for_ever(tmp_path):
    daemon, message = accepted(tmp_path)
    daemon.handler.answers = [RetryLater(timedelta(0))] * 5
    for _ in range(5):
        dispatch(daemon.world)
        daemon.clock.advance(hours=1)
    assert (daemon.record(message).state, daemon.record(message).reason) == (State.PARKED, "handler_asked")


def test_a_full_disk_is_not_the_messages_fault(tmp_path):
    daemon, message = accepted(tmp_path)
    daemon.handler.answers = [StorageFailed("full")] * 5
    for _ in range(5):
        dispatch(daemon.world)
        daemon.clock.advance(hours=1)
    record = daemon.record(message)
    assert (record.state, record.attempts, record.reason) == (State.ACCEPTED, 0, "storage_failed")
    dispatch(daemon.world)
    assert daemon.record(message).state is State.COMPLETED


def test_a_message_whose_handler_is_gone_waits(tmp_path):
    daemon, message = accepted(tmp_path)
    object.__setattr__(daemon.world, "routes", a_registry())
    dispatch(daemon.world)
    assert (daemon.record(message).state, daemon.record(message).reason) == (State.ACCEPTED, "handler_gone")
    (said,) = daemon.said("handler.unavailable")
    assert (said["state"], said["outcome"], said["stage"], said["handler"]) == ("accepted", "waits", "dispatch", "scripted")
    assert "kept here" in said["text"]


def test_that_messages_wait_for_a_handler_is_said_once_however_many_wait_and_however_long(tmp_path):
    daemon, _ = accepted(tmp_path)
    for number in range(5):
        daemon.mailbox.deliver(a_mesh_message(a_message("ITK003D", seed=f"waits-{number}")))
    daemon.collect()
    interpret(daemon.world)
    object.__setattr__(daemon.world, "routes", a_registry())
    for _ in range(60):
        dispatch(daemon.world)
        daemon.clock.advance(minutes=1)
    assert len(daemon.said("handler.unavailable")) == 1


# ---------------------------------------------------------------------------------------------- a person decides


def test_a_deferred_message_waits_for_a_person_and_nothing_more_is_owed(tmp_path):
    daemon, message = accepted(tmp_path)
    daemon.handler.answers = [Defer("date_of_birth_differs")]
    dispatch(daemon.world)
    assert daemon.record(message).state is State.AWAITING_DECISION
    assert daemon.codes(message) == {"infrastructure": "20013"}
    assert daemon.said("decision.needed")[0]["reason"] == "date_of_birth_differs"
    assert daemon.record(message).reason == "date_of_birth_differs"


def test_a_reason_that_the_handler_has_not_declared_is_not_repeated(tmp_path):
    daemon, message = accepted(tmp_path)
    daemon.handler.answers = [Defer("Edith was born on 14 March")]
    dispatch(daemon.world)
    assert daemon.record(message).reason == "handler_deferred"
    assert "March" not in repr(daemon.events) + repr(daemon.ledger.timeline(daemon.record(message).key))


def test_a_deferred_message_waits_whether_or_not_a_business_response_was_asked_for(tmp_path):
    daemon, message = accepted(tmp_path, a_message("ITK003D", business_requested=False))
    daemon.handler.answers = [Defer("no_register")]
    dispatch(daemon.world)
    assert daemon.record(message).state is State.AWAITING_DECISION


def test_a_decision_goes_to_the_handler_and_out_as_its_code(tmp_path):
    daemon, message = accepted(tmp_path)
    daemon.handler.answers = [Defer("no_register"), Respond(BusinessCode.PATIENT_DECEASED)]
    dispatch(daemon.world)
    decide(daemon, message, "30004")
    dispatch(daemon.world)
    decision = daemon.handler.calls[-1][1].decision
    assert (decision.code, decision.by) == (BusinessCode.PATIENT_DECEASED, "Dr Example")
    assert daemon.codes(message) == {"infrastructure": "20013", "business": "30004"}


@pytest.mark.parametrize("answer", [Respond(BusinessCode.PATIENT_KNOWN), Defer("again")], ids=["another code", "defer"])
def test_a_handler_that_ignores_the_decision_has_failed_and_its_own_code_does_not_go_out(tmp_path, answer):
    daemon, message = accepted(tmp_path)
    daemon.handler.answers = [Defer("no_register"), answer]
    dispatch(daemon.world)
    decide(daemon, message, "30002")
    dispatch(daemon.world)
    assert daemon.record(message).reason == "handler_ignored_decision"
    assert set(daemon.codes(message)) == {"infrastructure"}


def test_the_timeline_tells_every_step(tmp_path):
    daemon, message = accepted(tmp_path)
    daemon.handler.answers = [Defer("no_register"), Respond(BusinessCode.PATIENT_KNOWN)]
    dispatch(daemon.world)
    decide(daemon, message, "30001")
    dispatch(daemon.world)
    timeline = daemon.ledger.timeline(daemon.record(message).key)
    assert [(entry.stage, entry.outcome) for entry in timeline] == [
        ("collect", "received"),
        ("interpret", "accepted"),
        ("dispatch", "awaiting_decision"),
        ("decide", "decided"),
        ("dispatch", "completed"),
    ]


# ---------------------------------------------------------------------------------------------- a process that died


def test_after_an_unclean_stop_the_messages_in_progress_are_tried_one_at_a_time(tmp_path):
    bodies = [a_message("ITK003D", seed=str(n)) for n in range(3)]
    dead, *messages = accepted(tmp_path, *bodies)
    dead.ledger.claim(State.ACCEPTED, (Kind.MESSAGE,), ("X26ABC2",), dead.clock.now(), 10)
    dead.ledger.close()
    daemon = a_small_daemon(tmp_path)
    assert [dispatch(daemon.world) for _ in range(4)] == [1, 1, 1, 0]
    assert {daemon.record(m).interrupted for m in messages} == {0}


def test_a_message_that_was_alone_at_ten_deaths_is_parked(tmp_path):
    daemon, message = accepted(tmp_path)
    for _ in range(10):
        assert daemon.record(message).state is State.ACCEPTED
        daemon.ledger.claim(State.ACCEPTED, (Kind.MESSAGE,), ("X26ABC2",), daemon.clock.now(), 10)
        daemon.ledger.close()
        daemon = a_small_daemon(tmp_path)
    record = daemon.record(message)
    assert (record.state, record.reason, record.interrupted) == (State.PARKED, "process_died", 10)
