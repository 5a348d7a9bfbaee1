"""Turns of the stages that come seldom: somebody was quicker, the process ends, a plug-in or a library misbehaves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import Entry, Kind, LedgerConflict, MailboxUnavailable, MessageKey, Received
from mesh_itk3.simulator.messages import a_message
from mesh_itk3.stages.correlate import correlate
from mesh_itk3.stages.dispatch import dispatch
from mesh_itk3.stages.interpret import interpret
from mesh_itk3.stages.readings import KEPT_BYTES, Readings
from mesh_itk3.stages.respond import respond
from stages.test_correlate import having_responded
from stages.test_dispatch import accepted
from stages.test_ledger_failures import Failing, failing
from stages.test_respond import owing
from support.fake_mailbox import FakeMailbox, a_mesh_message, a_report
from support.stage_world import ACK_WORKFLOW, PRACTICE, WORKFLOW, ScriptedHandler, a_registry, a_small_daemon

BODY = b"<Bundle/>"


# ------------------------------------------------------------------------------------------------ collect


def collecting(tmp_path, *messages, error=None, **fails):
    daemon = a_small_daemon(tmp_path, FakeMailbox(messages))
    if fails:
        daemon.collector.ledger = Failing(daemon.collector.ledger, error, **fails)
    return daemon


def test_a_message_that_another_process_has_recorded_meanwhile_is_its_own(tmp_path):
    message = a_mesh_message(BODY)
    twice = {"record_all_received": 1, "record_received": 1}
    daemon = collecting(tmp_path, message, error=LedgerConflict("recorded already"), **twice)
    daemon.collect()
    assert [event["outcome"] for event in daemon.said("collect.done")] == ["collected_by_another"]
    assert daemon.mailbox.acknowledged == []
    assert daemon.payload_files() == []


def test_a_foreign_message_that_another_process_has_noted_meanwhile_holds_up_nothing(tmp_path):
    foreign, ours = a_mesh_message(BODY, workflow_id="SOMEBODY_ELSES"), a_mesh_message(BODY)
    daemon = collecting(tmp_path, foreign, ours, error=LedgerConflict("noted already"), record_received=1)
    daemon.collect()
    assert daemon.mailbox.acknowledged == [ours.mesh_message_id]
    assert "collected_by_another" in [event["outcome"] for event in daemon.said("collect.done")]


def test_a_message_on_which_a_library_fails_stays_in_mesh_and_holds_up_no_other(tmp_path):
    broken, whole = a_mesh_message(BODY), a_mesh_message(BODY)
    mailbox = FakeMailbox([broken, whole], fails_on="open", fails_times=1, error=ZeroDivisionError("a library's fault"))
    daemon = a_small_daemon(tmp_path, mailbox)
    assert daemon.collect().failures == 1
    assert mailbox.acknowledged == [whole.mesh_message_id]
    assert [event["error_type"] for event in daemon.said("collect.failed")] == ["ZeroDivisionError"]
    assert daemon.collect().collected == 1


def test_a_walk_in_which_only_what_failed_before_is_left_and_fails_again_says_that_mesh_is_ill(tmp_path):
    mailbox = FakeMailbox([a_mesh_message(BODY) for _ in range(3)], fails_on="open")
    daemon = a_small_daemon(tmp_path, mailbox)
    for _ in range(2):
        with pytest.raises(MailboxUnavailable):
            daemon.collect()
    assert len(daemon.collector.failed) == 3


def test_a_foreign_message_that_comes_back_on_another_foreign_workflow_is_noted_once(tmp_path):
    message = a_mesh_message(BODY, workflow_id=WORKFLOW)
    daemon = a_small_daemon(tmp_path, FakeMailbox([message]), routes=lambda _: a_registry())
    daemon.collect()
    assert daemon.record(message.mesh_message_id).state is State.FOREIGN
    daemon.ledger.close()

    again = a_mesh_message(BODY, mesh_message_id=message.mesh_message_id, workflow_id="SOMEBODY_ELSES")
    daemon = a_small_daemon(tmp_path, FakeMailbox([again]))  # its first workflow is ours now
    daemon.collect()
    assert daemon.record(message.mesh_message_id).workflow_id == WORKFLOW
    assert daemon.mailbox.acknowledged == []


# ------------------------------------------------------------------------------------------------ interpret


class OfAnotherType(ScriptedHandler):
    declaration = replace(ScriptedHandler.declaration, composition_types=frozenset({"0"}))


class WithoutDocument(ScriptedHandler):
    declaration = replace(ScriptedHandler.declaration, needs_document=False)


def judged(tmp_path, body, handler):
    message = a_mesh_message(body)
    daemon = a_small_daemon(tmp_path, FakeMailbox([message]), routes=lambda _: a_registry(handler))
    daemon.collect()
    interpret(daemon.world)
    return daemon, daemon.record(message.mesh_message_id)


def test_a_document_of_a_type_that_no_handler_takes_is_20009(tmp_path):
    daemon, record = judged(tmp_path, a_message("ITK003D"), OfAnotherType())
    assert (record.state, record.response_code) == (State.REJECTED, "20009")
    assert [event["rule"] for event in daemon.said("message.rejected")] == ["no_handler"]


def test_a_payload_without_a_document_is_known_by_its_header_alone(tmp_path):
    body = a_message("ITK003D")
    start = body.rindex(b"<entry>", 0, body.index(b'<type value="document"/>'))
    bare = body[:start] + b"</Bundle>"
    messages = [a_mesh_message(bare) for _ in range(2)]
    daemon = a_small_daemon(tmp_path, FakeMailbox(messages), routes=lambda _: a_registry(WithoutDocument()))
    daemon.collect()
    interpret(daemon.world)
    found = [daemon.record(message.mesh_message_id) for message in messages]
    assert [(record.state, record.response_code) for record in found] == [(State.ACCEPTED, "20013"), (State.REJECTED, "20007")]


def test_a_row_without_bytes_is_parked_after_three_attempts(tmp_path):
    daemon = a_small_daemon(tmp_path)
    now, key = daemon.clock.now(), MessageKey(PRACTICE, "WITHOUT")
    received = Received(key, WORKFLOW, Kind.MESSAGE, now, "X26ABC1", None, None, payload=None)
    daemon.ledger.record_received(received, Entry(at=now, stage="collect", outcome="received"))
    for _ in range(3):
        interpret(daemon.world)
        daemon.clock.advance(hours=1)
    assert (daemon.record("WITHOUT").state, daemon.record("WITHOUT").reason) == (State.PARKED, "payload_missing")


# ------------------------------------------------------------------------------------------------ dispatch


def test_a_message_whose_bytes_were_damaged_after_its_acceptance_is_never_handed_over(tmp_path):
    daemon, message = accepted(tmp_path)
    payload = daemon.record(message).payload
    daemon.world.readings.take(payload.name)
    (tmp_path / "payloads" / payload.name).write_bytes(b"damaged".ljust(payload.bytes))
    dispatch(daemon.world)
    assert daemon.handler.calls == []
    assert (daemon.record(message).state, daemon.record(message).reason) == (State.ACCEPTED, "payload_missing")


def test_a_handler_can_go_through_the_mesh_headers(tmp_path):
    daemon, _ = accepted(tmp_path)
    dispatch(daemon.world)
    ((message, _),) = daemon.handler.calls
    assert dict(message.mesh_headers)["workflowid"] == WORKFLOW
    assert len(message.mesh_headers) == len(dict(message.mesh_headers))


def test_what_a_handler_says_names_its_message_whatever_it_claims(tmp_path):
    daemon, message = accepted(tmp_path)

    def talkative(_message, context):
        context.log.info("looked", mesh_message_id="another")
        context.log.warning("doubted", count=2)
        return "nonsense"

    daemon.handler.handle = talkative
    dispatch(daemon.world)
    (said,), (warned,) = daemon.said("handler.said"), daemon.said("handler.warned")
    assert (said["outcome"], said["mesh_message_id"], said["handler"]) == ("looked", message, "scripted")
    assert (warned["outcome"], warned["count"]) == ("doubted", 2)


def test_when_the_process_ends_in_a_handler_only_that_message_stays_in_progress(tmp_path):
    daemon, *messages = accepted(tmp_path, *(a_message("ITK003D", seed=str(n)) for n in range(3)))

    def ends(*_):
        raise KeyboardInterrupt

    daemon.handler.handle = ends
    with pytest.raises(KeyboardInterrupt):
        dispatch(daemon.world)
    claimed = daemon.ledger.claim(State.ACCEPTED, (Kind.MESSAGE,), (PRACTICE,), daemon.clock.now(), 9)
    assert [record.key.mesh_message_id for record in claimed] == messages[1:]


def test_of_what_was_read_the_oldest_gives_way():
    readings = Readings()
    reading = object()
    for name in ("first", "second", "third"):
        readings.keep(name, reading, bytes(KEPT_BYTES // 2))
    assert readings.take("first") is None
    assert readings.take("second") == (reading, bytes(KEPT_BYTES // 2))
    assert readings.take("second") is None


# ------------------------------------------------------------------------------------------------ respond, correlate


def test_a_library_that_fails_in_a_send_leaves_it_unresolved_and_it_is_looked_up(tmp_path):
    daemon, message = owing(tmp_path, fails_on="send_answer", fails_times=1, error=ZeroDivisionError("a library's fault"))
    respond(daemon.world, daemon.mailbox)
    assert daemon.responses(message)["infrastructure"].state is ResponseState.OWED
    daemon.clock.advance(minutes=1)
    respond(daemon.world, daemon.mailbox)
    assert {response.state for response in daemon.responses(message).values()} == {ResponseState.SENT}
    assert len({sent.local_id for sent in daemon.mailbox.sent}) == len(daemon.mailbox.sent) == 2


def test_a_report_on_a_response_that_keeps_moving_is_noted_at_a_later_turn(tmp_path):
    daemon, responses = having_responded(tmp_path)
    report = a_report(linked_message_id=responses["business"].mesh_message_id, workflow_id=ACK_WORKFLOW)
    daemon.mailbox.deliver(report)
    daemon.collect()
    failing(daemon, LedgerConflict("moved"), apply_responses=5)
    correlate(daemon.world)
    assert daemon.record(report.mesh_message_id).state is State.RECEIVED
    daemon.clock.advance(hours=1)
    correlate(daemon.world)
    assert daemon.record(report.mesh_message_id).state is State.CORRELATED
    assert daemon.ledger.response_by(local_id=responses["business"].local_id).state is ResponseState.UNDELIVERED
