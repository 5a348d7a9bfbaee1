"""After a restore: what came since the backup is in the payload store alone, and must become messages again."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from mesh_itk3.adapters.ledger import open_ledger
from mesh_itk3.adapters.ledger.copies import back_up
from mesh_itk3.lifecycle import State
from mesh_itk3.ports import MessageKey, StorageFailed
from mesh_itk3.simulator.messages import a_message
from mesh_itk3.stages.adopt import Adopted, adopt
from mesh_itk3.stages.dispatch import dispatch
from mesh_itk3.stages.interpret import interpret
from support.fake_mailbox import FakeMailbox, a_mesh_message, a_report
from support.ledger_rows import an_entry
from support.stage_world import ACK_WORKFLOW, PRACTICE, a_small_daemon


def a_letter(seed):
    return a_mesh_message(a_message("ITK003D", seed=seed))


@pytest.fixture
def daemon(tmp_path):
    return a_small_daemon(tmp_path, FakeMailbox([a_letter("before")]))


@pytest.fixture
def backup(daemon, tmp_path):
    """Made when the first letter had come."""
    daemon.collect()
    back_up(tmp_path / "ledger.db", tmp_path / "backup.db")
    return closing(open_ledger(f"sqlite:///{tmp_path}/backup.db", owner="restored"))


def adopted(daemon, ledger):
    return adopt(ledger, daemon.world.payloads, daemon.world.routes, PRACTICE, daemon.clock.now(), who="Jo")


def test_a_letter_that_was_acknowledged_after_the_backup_is_a_message_again_with_all_its_headers(daemon, backup):
    letter = a_letter("after")
    daemon.mailbox.deliver(letter)
    daemon.collect()
    was = daemon.record(letter.mesh_message_id)
    assert letter.mesh_message_id in daemon.mailbox.acknowledged, "MESH no longer has it"

    with backup as ledger:
        assert adopted(daemon, ledger) == Adopted(received=1)
        found = ledger.get(was.key)
        assert [entry.who for entry in ledger.timeline(was.key)] == ["Jo"]
        assert adopted(daemon, ledger) == Adopted(), "safe to repeat"

    assert (found.state, found.payload) == (State.RECEIVED, was.payload)
    for header in ("workflow_id", "kind", "sender_mailbox_id", "local_id"):
        assert getattr(found, header) == getattr(was, header)


def test_what_was_taken_up_counts_new_messages_and_those_whose_bytes_were_found_and_not_what_was_left():
    assert Adopted(received=2, found_again=3, unexplained=5, older=7).messages == 5


def test_responses_and_reports_that_came_after_the_backup_keep_their_kind(daemon, backup):
    response = a_mesh_message(b"<Bundle/>", workflow_id=ACK_WORKFLOW)
    report = a_report(linked_message_id="SENT-1", status_code="14")
    for each in (response, report):
        daemon.mailbox.deliver(each)
    daemon.collect()

    with backup as ledger:
        assert adopted(daemon, ledger) == Adopted(received=2)
        for each in (response, report):
            key = MessageKey(PRACTICE, each.mesh_message_id)
            assert (ledger.get(key).kind, ledger.get(key).linked_message_id) == (
                daemon.record(each.mesh_message_id).kind,
                daemon.record(each.mesh_message_id).linked_message_id,
            )


def test_what_came_too_long_ago_is_left_and_counted_and_of_known_messages_nothing_is(daemon, backup):
    daemon.mailbox.deliver(a_letter("old"))
    daemon.collect()
    since = datetime.now(UTC) + timedelta(days=1)

    with backup as ledger:
        world = daemon.world
        found = adopt(ledger, world.payloads, world.routes, PRACTICE, daemon.clock.now(), who="Jo", since=since)
        assert found == Adopted(older=1)
        assert adopted(daemon, ledger) == Adopted(received=1)


def test_of_a_message_that_was_downloaded_twice_one_file_is_taken(daemon, backup):
    letter = a_letter("twice")
    payloads = daemon.world.payloads
    payloads.write(payloads.new_name(PRACTICE), lambda file: file.write(letter.body) and None, letter.headers)
    daemon.mailbox.deliver(letter)
    daemon.collect()

    with backup as ledger:
        assert adopted(daemon, ledger) == Adopted(received=1)


def test_bytes_that_were_downloaded_again_since_are_found_under_their_new_name(daemon, backup):
    """The backup names a file that was lost afterwards; the ledger in force named its second download."""
    with backup as ledger:
        (first,) = [record for record, _ in ledger.messages()]
        headers, bytes_ = daemon.world.payloads.headers(first.payload.name), daemon.world.payloads.read(first.payload.name)
        daemon.world.payloads.discard(first.payload.name)
        again = daemon.world.payloads.write(
            daemon.world.payloads.new_name(PRACTICE), lambda file: file.write(bytes_) and None, headers
        )

        assert adopted(daemon, ledger) == Adopted(found_again=1)
        assert ledger.get(first.key).payload == again


def test_a_file_that_does_not_say_what_it_is_is_kept_and_counted(daemon, backup):
    letter = a_letter("nameless")
    daemon.mailbox.deliver(letter)
    daemon.collect()
    name = daemon.record(letter.mesh_message_id).payload.name
    (daemon.directory / "payloads" / name.replace(".bin", ".headers.json")).unlink()

    with backup as ledger:
        assert adopted(daemon, ledger) == Adopted(unexplained=1)
    assert (daemon.directory / "payloads" / name).exists()


def test_while_the_payload_store_is_away_nothing_is_said_of_what_is_in_it(daemon, backup):
    (daemon.directory / "payloads").rename(daemon.directory / "away")
    (daemon.directory / "payloads").mkdir()

    with backup as ledger, pytest.raises(StorageFailed, match="not there"):
        adopted(daemon, ledger)


def test_what_retention_has_let_go_of_is_not_taken_up_again(daemon, backup):
    with backup as ledger:
        (first,) = [record for record, _ in ledger.messages()]
        interpret(daemon.world)
        dispatch(daemon.world)
        world = daemon.ledger
        with world._database.writing() as connection:
            connection.exec_driver_sql("UPDATE response SET state = 'delivered'")
        daemon.clock.advance(days=90)
        entry = an_entry("payload_pruned", daemon.clock.now())
        assert world.let_go_of_payloads(State.COMPLETED, daemon.clock.now(), (PRACTICE,), 10, entry)

        assert adopted(daemon, world) == Adopted(), "its file is still there, and superfluous"
        assert world.get(first.key).payload is None
        assert ledger.get(first.key).payload is not None
