"""Retention as the daemon does it: rows, files, and the moment between the two."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest
import sqlalchemy as sa

from mesh_itk3.adapters.payload_store import DirectoryPayloadStore
from mesh_itk3.lifecycle import TRANSITIONS, State
from mesh_itk3.ports import Expired
from mesh_itk3.retention import PRUNABLE, SHORTEST_DAYS, Retention
from mesh_itk3.settings_tables import RetentionSettings
from mesh_itk3.simulator.messages import a_message
from mesh_itk3.stages.correlate import correlate
from mesh_itk3.stages.dispatch import dispatch
from mesh_itk3.stages.interpret import interpret
from mesh_itk3.stages.prune import Pruned, expired, prune
from mesh_itk3.stages.respond import respond
from mesh_itk3.stages.sweep import Swept, sweep
from support.fake_mailbox import FakeMailbox, a_mesh_message
from support.stage_world import PRACTICE, a_small_daemon

RULES = Retention(payloads={State.COMPLETED: timedelta(days=SHORTEST_DAYS)})


@pytest.fixture
def message():
    return a_mesh_message(a_message("ITK003D", seed="prune"))


@pytest.fixture
def daemon(tmp_path, message):
    """One letter, filed, answered, its answers delivered; a year later."""
    daemon = a_small_daemon(tmp_path, FakeMailbox([message]))
    daemon.collect()
    interpret(daemon.world)
    dispatch(daemon.world)
    correlate(daemon.world)
    respond(daemon.world, daemon.mailbox)
    with daemon.ledger._database.writing() as connection:
        connection.execute(sa.text("UPDATE response SET state = 'delivered'"))
    daemon.clock.advance(days=365)
    return daemon


def pruned(daemon, rules=RULES):
    now = daemon.clock.now()
    return list(prune(daemon.ledger, daemon.world.payloads, expired(rules, now), (PRACTICE,), now))


def test_the_file_and_its_sidecar_go_and_the_message_says_when(daemon, message):
    size = daemon.record(message.mesh_message_id).payload.bytes

    assert pruned(daemon) == [Pruned("payloads", 1, size, State.COMPLETED)]

    assert daemon.payload_files() == []
    assert daemon.record(message.mesh_message_id).pruned.at == daemon.clock.now()


def test_the_bytes_of_delivered_responses_go_and_what_was_answered_stays(daemon, message):
    rules = Retention(response_bytes=timedelta(days=SHORTEST_DAYS))
    gone = expired(rules, daemon.clock.now())
    foreseen = [(each.kind, each.count) for each in daemon.ledger.prunable(gone, (PRACTICE,))]

    assert pruned(daemon, rules) == [Pruned("response_bytes", 2)]

    assert foreseen == [("response_bytes", 2)]
    assert pruned(daemon, rules) == []
    answers = daemon.ledger.responses_to(daemon.record(message.mesh_message_id).key)
    assert [each.response_code for each in answers] == ["20013", "30001"]


def test_nothing_goes_unless_the_practice_says_so(daemon):
    assert RetentionSettings().rules == Retention()
    assert not Retention().is_anything_pruned
    assert pruned(daemon, Retention()) == []
    assert len(daemon.payload_files()) == 2


def test_a_redelivery_of_a_pruned_message_is_acknowledged_and_nothing_is_fetched_or_sent(daemon, message):
    pruned(daemon)
    sent = len(daemon.mailbox.sent)
    daemon.mailbox.list_again(message)

    walk = daemon.collect()

    assert (walk.acknowledged, walk.collected) == (1, 0)
    assert daemon.payload_files() == []
    assert len(daemon.mailbox.sent) == sent


def test_a_resend_of_a_pruned_message_is_a_duplicate_and_not_one_that_differs(daemon, message):
    pruned(daemon)
    again = a_mesh_message(message.body)
    daemon.mailbox.deliver(again)

    daemon.collect()
    interpret(daemon.world)

    found = daemon.record(again.mesh_message_id)
    assert (found.response_code, found.duplicate_of) == ("20007", message.mesh_message_id)
    assert not found.differs_from_first


class DiesAtDiscard(DirectoryPayloadStore):
    def discard(self, name):
        raise KeyboardInterrupt


def test_a_crash_between_row_and_file_leaves_a_file_that_the_sweep_takes(daemon, message):
    dying = DiesAtDiscard(daemon.directory / "payloads")
    now = daemon.clock.now()
    with pytest.raises(KeyboardInterrupt):
        list(prune(daemon.ledger, dying, expired(RULES, now), (PRACTICE,), now))

    assert daemon.record(message.mesh_message_id).pruned is not None
    assert len(daemon.payload_files()) == 2
    for path in daemon.payload_files():
        os.utime(path, (0, 0))

    assert sweep(daemon.ledger, daemon.world.payloads, PRACTICE, now) == Swept(removed=1)
    assert daemon.payload_files() == []


def test_a_payload_file_that_two_messages_name_is_not_removed_with_one_of_them(daemon, message):
    """No ledger of ours has such rows: its index refuses them. A restored or edited one might."""
    name = daemon.record(message.mesh_message_id).payload.name
    with daemon.ledger._database.writing() as connection:
        connection.execute(sa.text("DROP INDEX message_payload_name"))
        columns = "mailbox_id, workflow_id, kind, received_at, payload_name, payload_bytes, payload_sha256"
        connection.execute(
            sa.text(
                f"INSERT INTO message (mesh_message_id, state, {columns}) SELECT 'other', 'accepted', {columns} FROM message"  # noqa: S608
            )
        )

    pruned(daemon)

    assert daemon.record(message.mesh_message_id).pruned is not None
    assert daemon.record("other").payload.name == name
    assert len(daemon.payload_files()) == 2


def test_pruning_one_of_two_messages_with_the_same_bytes_leaves_the_other_whole(tmp_path):
    first, second = (a_mesh_message(b"not ITK3") for _ in range(2))
    daemon = a_small_daemon(tmp_path, FakeMailbox([first, second]))
    daemon.collect()
    with daemon.ledger._database.writing() as connection:
        old = {"id": first.mesh_message_id, "at": daemon.clock.now().isoformat(timespec="microseconds")}
        connection.execute(
            sa.text("UPDATE message SET state = 'completed', finished_at = :at WHERE mesh_message_id = :id"), old
        )
    daemon.clock.advance(days=365)

    assert [step.count for step in pruned(daemon)] == [1]

    left = daemon.record(second.mesh_message_id).payload
    assert daemon.world.payloads.read(left.name) == b"not ITK3"


def test_whoever_stops_asking_leaves_the_rest_for_another_time(daemon):
    now = daemon.clock.now()
    steps = prune(daemon.ledger, daemon.world.payloads, Expired(events=now), (PRACTICE,), now)

    assert next(steps).count > 0
    assert sum(step.count for step in pruned(daemon, Retention(events=timedelta(days=90)))) == 0


# ------------------------------------------------------------------------------------------------ the table of states


def test_only_states_that_nothing_leaves_can_be_pruned_and_each_has_its_key():
    keys = {name.removesuffix("_payloads_days") for name in RetentionSettings.model_fields if name.endswith("_payloads_days")}

    assert keys == {state.value for state in PRUNABLE}
    assert not {state for state, _ in TRANSITIONS} & set(PRUNABLE)
    assert State.PARKED not in PRUNABLE


def test_each_key_is_its_states_rule():
    settings = RetentionSettings(**{f"{state}_payloads_days": 30 + n for n, state in enumerate(PRUNABLE)})

    assert settings.rules.payloads == {state: timedelta(days=30 + n) for n, state in enumerate(PRUNABLE)}
