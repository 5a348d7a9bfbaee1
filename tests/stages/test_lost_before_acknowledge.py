"""A file that is lost while MESH still has the message: the bytes come again, and nobody need be called."""

from __future__ import annotations

import pytest

from mesh_itk3.lifecycle import State
from mesh_itk3.simulator.messages import a_message
from mesh_itk3.stages.dispatch import dispatch
from mesh_itk3.stages.interpret import interpret
from support.fake_mailbox import FakeMailbox, a_mesh_message
from support.stage_world import WORKFLOW, a_small_daemon

NOT_ACKNOWLEDGED = {"fails_on": "acknowledge", "fails_times": 1}


def lost(tmp_path, *, turns, **failing):
    """A daemon whose message has lost its file and was tried so often since; its MESH id."""
    sent = a_mesh_message(a_message("ITK003D"))
    daemon, mesh_message_id = a_small_daemon(tmp_path, FakeMailbox([sent], **failing)), sent.mesh_message_id
    daemon.collect()
    daemon.world.payloads.discard(daemon.record(mesh_message_id).payload.name)
    for _ in range(turns):
        interpret(daemon.world)
        daemon.clock.advance(hours=1)
    return daemon, mesh_message_id


@pytest.mark.parametrize(
    ("turns", "stands"), [(1, State.RECEIVED), (3, State.PARKED)], ids=["it waits for its bytes", "it is parked for them"]
)
def test_what_lost_its_file_before_its_acknowledge_is_fetched_anew_and_goes_on_without_a_person(tmp_path, turns, stands):
    daemon, message = lost(tmp_path, turns=turns, **NOT_ACKNOWLEDGED)
    assert (daemon.record(message).state, daemon.record(message).reason) == (stands, "payload_missing")

    daemon.collect()
    assert daemon.mailbox.acknowledged == [message]
    assert daemon.said("collect.done")[-1]["outcome"] == "downloaded_again"
    interpret(daemon.world)
    dispatch(daemon.world)

    record = daemon.record(message)
    assert (record.state, record.reason) == (State.COMPLETED, None)
    assert daemon.codes(message) == {"infrastructure": "20013", "business": "30001"}
    assert len(daemon.handler.calls) == 1


def test_before_it_is_parked_two_polls_may_have_brought_its_bytes_again(tmp_path):
    daemon, message = lost(tmp_path, turns=0, **NOT_ACKNOWLEDGED)
    began = daemon.clock.now()
    for _ in range(3):
        interpret(daemon.world)
        if due_at := daemon.record(message).due_at:
            daemon.clock.advance(seconds=(due_at - daemon.clock.now()).total_seconds())
    assert daemon.record(message).state is State.PARKED
    assert (daemon.clock.now() - began).total_seconds() >= 2 * 300


def test_what_lost_its_file_after_its_acknowledge_waits_for_a_person(tmp_path):
    daemon, message = lost(tmp_path, turns=3)
    for _ in range(3):
        daemon.collect()
        interpret(daemon.world)
        daemon.clock.advance(hours=1)
    assert (daemon.record(message).state, daemon.record(message).reason) == (State.PARKED, "payload_missing")


def test_what_a_person_holds_gets_its_bytes_and_stays_held(tmp_path):
    from mesh_itk3.stages.intervene import hold

    daemon, message = lost(tmp_path, turns=1, **NOT_ACKNOWLEDGED)
    record, now = daemon.record(message), daemon.clock.now()
    daemon.ledger.act(hold(record, "Jo Smith", now).steps, (), now)
    daemon.collect()
    held = daemon.record(message)
    assert (held.state, held.reason) == (State.PARKED, "held_by_person")
    assert daemon.world.payloads.is_whole(held.payload.name, held.payload.bytes)


def test_a_response_that_is_left_in_mesh_until_it_is_matched_gets_its_bytes_too(tmp_path):
    sent = a_mesh_message(b"<Bundle/>", workflow_id=f"{WORKFLOW}_ACK")
    daemon, message = a_small_daemon(tmp_path, FakeMailbox([sent]), leaves_uncorrelated=True), sent.mesh_message_id
    daemon.collect()
    daemon.world.payloads.discard(daemon.record(message).payload.name)
    daemon.collect()
    record = daemon.record(message)
    assert daemon.world.payloads.is_whole(record.payload.name, record.payload.bytes)
    assert daemon.mailbox.acknowledged == []
