"""Refused without being asked: whom nobody has told, and what a person has to see."""

from __future__ import annotations

import pytest

from mesh_itk3.handler import Declaration, InfrastructureCode, Refuse
from mesh_itk3.lifecycle import State
from mesh_itk3.ports import Entry
from mesh_itk3.simulator.messages import a_message
from mesh_itk3.stages.interpret import interpret
from support.fake_mailbox import FakeMailbox, a_mesh_message
from support.stage_world import ScriptedHandler, a_registry, a_small_daemon


def judged(tmp_path, *bodies, routes=a_registry, refuses=False, **changes):
    messages = [a_mesh_message(body, **changes) for body in bodies]
    daemon = a_small_daemon(tmp_path, FakeMailbox(messages), routes=routes)
    if refuses:
        daemon.handler.examined = Refuse(InfrastructureCode.UNSUPPORTED_ATTACHMENT, "Bundle.entry[2]")
    daemon.collect()
    interpret(daemon.world)
    return daemon, *(message.mesh_message_id for message in messages)


def untold(daemon):
    return [record.key.mesh_message_id for record in daemon.ledger.unseen().messages if record.sender_not_told]


REFUSED = {
    "missing definition": {"definition": None},
    "receiver that is not ours": {"receiver_ods": "B99999"},
    "unusable recipient type": {"recipient_type": "XX"},
}


@pytest.mark.parametrize("changes", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("business", [True, False], ids=["business only", "fire and forget"])
def test_a_refusal_that_was_not_asked_for_is_marked_raised_and_stands_until_seen(tmp_path, changes, business):
    body = a_message("ITK003D", infrastructure_requested=False, business_requested=business, **changes)
    daemon, message = judged(tmp_path, body)
    record = daemon.record(message)
    assert (record.state, record.sender_not_told) == (State.REJECTED, True)
    assert daemon.responses(message) == {}
    (event,) = daemon.said("sender.not_told")
    assert (event["mesh_message_id"], event["response_code"]) == (message, record.response_code)
    assert untold(daemon) == [message]
    daemon.ledger.mark_seen(record.key, Entry(at=daemon.clock.now(), stage="seen", outcome="seen", who="Jo"))
    assert untold(daemon) == []
    assert daemon.record(message).sender_not_told


@pytest.mark.parametrize("flag", [True, None, "junk"], ids=["asked", "absent", "unreadable"])
def test_a_refusal_that_was_asked_for_or_whose_flag_is_unreadable_is_told_and_marks_nothing(tmp_path, flag):
    daemon, message = judged(tmp_path, a_message("ITK003D", infrastructure_requested=flag, recipient_type="XX"))
    assert daemon.record(message).state is State.REJECTED
    assert set(daemon.responses(message)) == {"infrastructure"}
    assert (untold(daemon), daemon.said("sender.not_told")) == ([], [])


def test_what_is_accepted_without_being_asked_for_an_answer_marks_nothing(tmp_path):
    body = a_message("ITK003D", infrastructure_requested=False, business_requested=False)
    daemon, message = judged(tmp_path, body)
    assert daemon.record(message).state is State.ACCEPTED
    assert (untold(daemon), daemon.said("sender.not_told")) == ([], [])


def test_a_handlers_refusal_that_was_not_asked_for_is_marked_too(tmp_path):
    daemon, message = judged(tmp_path, a_message("ITK003D", infrastructure_requested=False), refuses=True)
    assert untold(daemon) == [message]


def test_a_message_that_cannot_be_read_at_all_is_answered_and_not_marked(tmp_path):
    daemon, message = judged(tmp_path, b"no letter")
    assert daemon.codes(message) == {"infrastructure": "10009"}
    assert untold(daemon) == []


def test_a_refusal_without_a_mailbox_to_answer_to_stands_too_and_is_said_once(tmp_path):
    daemon, message = judged(tmp_path, a_message("ITK003D", definition=None), sender_mailbox_id=None)
    assert untold(daemon) == [message]
    assert [len(daemon.said(name)) for name in ("message.unanswerable", "sender.not_told")] == [1, 0]


def test_a_refusal_on_a_workflow_that_is_never_answered_stands_too(tmp_path):
    class NeverAnswered(ScriptedHandler):
        declaration = Declaration(name="scripted", workflows={"LOCAL_LETTERS": None})

    def routes(_handler):
        return a_registry(NeverAnswered())

    daemon, message = judged(tmp_path, a_message("ITK003D", definition=None), routes=routes, workflow_id="LOCAL_LETTERS")
    assert daemon.record(message).state is State.REJECTED
    assert untold(daemon) == [message]
    assert len(daemon.said("sender.not_told")) == 1


def test_a_duplicate_that_differs_stands_until_seen(tmp_path):
    header_id = "22222222-0000-4000-8000-000000000001"
    bodies = [a_message("ITK003D", seed=seed, header_id=header_id) for seed in ("one", "two")]
    daemon, _, second = judged(tmp_path, *bodies)
    assert [record.key.mesh_message_id for record in daemon.ledger.unseen().messages] == [second]
    key = daemon.record(second).key
    assert daemon.ledger.mark_seen(key, Entry(at=daemon.clock.now(), stage="seen", outcome="seen", who="Jo")) == 1
    assert daemon.ledger.unseen().messages == ()
    assert daemon.record(second).differs_from_first
