"""Housekeeping of the payload store: what may be removed, and what may be the only copy."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from mesh_itk3.stages.sweep import Swept, has_kept_payloads, sweep
from support.fake_mailbox import FakeMailbox, a_mesh_message
from support.stage_world import PRACTICE, a_small_daemon

BODY = b"<Bundle xmlns='http://hl7.org/fhir'/>"
OTHER = "X26ABC9"


@pytest.fixture
def message():
    return a_mesh_message(BODY)


@pytest.fixture
def daemon(tmp_path, message):
    return a_small_daemon(tmp_path, FakeMailbox([message]))


def left_by_a_crash(daemon, message, mailbox_id=PRACTICE):
    """The bytes of a message under a name that no row has."""
    payloads = daemon.world.payloads
    return payloads.write(payloads.new_name(mailbox_id), lambda file: file.write(message.body) and None, message.headers).name


def swept(daemon, mailbox_id=PRACTICE, days=2):
    for path in daemon.payload_files():
        at = (daemon.clock.now() - timedelta(days=days)).timestamp()
        os.utime(path, (at, at))
    return sweep(daemon.ledger, daemon.world.payloads, mailbox_id, daemon.clock.now() - timedelta(days=1))


def is_there(daemon, name):
    return daemon.world.payloads.is_whole(name, len(BODY))


def test_what_a_crash_left_is_removed_once_the_message_is_held_in_another_file(daemon, message):
    orphan = left_by_a_crash(daemon, message)
    daemon.collect()
    assert swept(daemon) == Swept(removed=1)
    assert not is_there(daemon, orphan)
    assert is_there(daemon, daemon.record(message.mesh_message_id).payload.name)
    assert swept(daemon) == Swept()


def test_what_was_never_finished_is_removed(daemon, message):
    daemon.collect()
    (daemon.payload_files()[0].parent / ".0123456789abcdef.partial").write_bytes(b"half")
    assert swept(daemon) == Swept(removed=1)


def test_what_is_younger_than_a_day_is_left_alone(daemon, message):
    left_by_a_crash(daemon, message)
    daemon.collect()
    assert swept(daemon, days=0.5) == Swept()


def test_a_file_of_a_message_that_the_ledger_has_never_seen_is_kept(daemon, message):
    """A new ledger, one restored from an older copy, or two over one directory."""
    only_copy = left_by_a_crash(daemon, message)
    assert swept(daemon) == Swept(unexplained=1)
    assert is_there(daemon, only_copy)


def test_the_only_copy_is_kept_when_the_file_that_the_row_names_is_lost(daemon, message):
    only_copy = left_by_a_crash(daemon, message)
    daemon.collect()
    daemon.world.payloads.discard(daemon.record(message.mesh_message_id).payload.name)
    assert swept(daemon) == Swept(unexplained=1)
    assert is_there(daemon, only_copy)


def test_a_file_without_its_sidecar_is_kept(daemon, message):
    orphan = left_by_a_crash(daemon, message)
    (daemon.directory / "payloads" / orphan).with_suffix(".headers.json").unlink()
    daemon.collect()
    assert swept(daemon) == Swept(unexplained=1)
    assert is_there(daemon, orphan)


def test_files_of_another_mailbox_are_never_touched(daemon, message):
    theirs = left_by_a_crash(daemon, message, OTHER)
    daemon.collect()
    assert swept(daemon) == Swept()
    assert is_there(daemon, theirs)


def test_a_mailbox_has_kept_payloads_from_its_first_message_of_ours_on(tmp_path, message):
    daemon = a_small_daemon(tmp_path, FakeMailbox([a_mesh_message(BODY, workflow_id="SOMETHING_ELSE")]))
    daemon.collect()
    assert not has_kept_payloads(daemon.ledger, PRACTICE)
    daemon.mailbox.deliver(message)
    daemon.collect()
    assert has_kept_payloads(daemon.ledger, PRACTICE)
    assert not has_kept_payloads(daemon.ledger, OTHER)
