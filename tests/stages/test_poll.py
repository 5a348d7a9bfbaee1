"""Around collect: the mailbox itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mesh_itk3.ports import CertificateUnusable, CredentialsRejected
from mesh_itk3.stages.poll import Backoff, handshake_if_due, poll
from support.fake_mailbox import FakeMailbox, a_mesh_message
from support.stage_world import PRACTICE, a_small_daemon


def test_a_dead_mesh_is_said_once_and_its_recovery_once(tmp_path):
    daemon = a_small_daemon(tmp_path, FakeMailbox(fails_on="pages", fails_times=10))
    for _ in range(12):
        poll(daemon.collector)
        daemon.clock.advance(minutes=5)
    assert len(daemon.said("mailbox.unavailable")) == 1
    assert len(daemon.said("mailbox.recovered")) == 1


def test_failures_are_counted_for_status(tmp_path):
    daemon = a_small_daemon(tmp_path, FakeMailbox(fails_on="pages", error=CredentialsRejected()))
    poll(daemon.collector)
    poll(daemon.collector)
    state = daemon.ledger.mailbox_state(PRACTICE)
    assert (state.failures, state.reason) == (2, "credentials_rejected")


def test_a_certificate_that_cannot_be_loaded_here_is_not_said_to_be_refused_by_mesh(tmp_path):
    daemon = a_small_daemon(tmp_path, FakeMailbox(fails_on="pages", error=CertificateUnusable()))
    poll(daemon.collector)
    assert [line["reason"] for line in daemon.said("credentials.rejected")] == ["certificate_unusable"]
    assert daemon.ledger.mailbox_state(PRACTICE).reason == "certificate_unusable"


def test_the_time_of_a_poll_is_noted_also_when_it_failed(tmp_path):
    daemon = a_small_daemon(tmp_path, FakeMailbox(fails_on="pages"))
    poll(daemon.collector)
    assert daemon.ledger.mailbox_state(PRACTICE).last_poll_at == daemon.clock.now()


def test_a_poll_repeats_at_once_after_a_full_page_of_which_something_was_acknowledged(tmp_path):
    messages = [a_mesh_message(b"<x/>") for _ in range(10)]
    daemon = a_small_daemon(tmp_path, FakeMailbox(messages, page_size=10))
    poll(daemon.collector)
    assert len(daemon.mailbox.verbs("pages")) == 2


def test_a_poll_of_a_page_that_was_not_full_does_not_repeat(tmp_path):
    daemon = a_small_daemon(tmp_path, FakeMailbox([a_mesh_message(b"<x/>")]))
    poll(daemon.collector)
    assert len(daemon.mailbox.verbs("pages")) == 1


def test_a_handshake_is_repeated_within_a_day(tmp_path):
    daemon = a_small_daemon(tmp_path)
    for hours in (0, 10, 11, 3):
        daemon.clock.advance(hours=hours)
        handshake_if_due(daemon.mailbox, daemon.ledger, daemon.clock)
    assert len(daemon.mailbox.verbs("handshake")) == 2


def test_a_handshake_that_failed_is_due_again(tmp_path):
    daemon = a_small_daemon(tmp_path, FakeMailbox(fails_on="handshake", fails_times=1))
    assert not handshake_if_due(daemon.mailbox, daemon.ledger, daemon.clock)
    assert handshake_if_due(daemon.mailbox, daemon.ledger, daemon.clock)


def test_a_disk_that_refuses_is_said_and_the_next_poll_tries_again(tmp_path):
    daemon = a_small_daemon(tmp_path, FakeMailbox([a_mesh_message(b"<x/>")]))
    (tmp_path / "payloads").write_text("in the way")
    assert poll(daemon.collector) is None
    assert daemon.said("storage.failed")
    (tmp_path / "payloads").unlink()
    assert poll(daemon.collector).collected == 1


# ---------------------------------------------------------------------------------------------- rejected credentials

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def test_a_mailbox_that_was_never_rejected_may_be_asked_at_once():
    assert Backoff().wait_until(NOW) is None


def test_after_each_rejection_the_wait_doubles_up_to_a_quarter_of_an_hour():
    backoff, waits = Backoff(), []
    for _ in range(40):
        backoff = backoff.rejected(NOW)
        waits.append((backoff.wait_until(NOW) - NOW) / timedelta(minutes=1))
    assert waits == [1, 2, 4, 8, *[15] * 36]


def test_when_the_wait_is_over_it_may_be_asked():
    backoff = Backoff().rejected(NOW)
    assert backoff.wait_until(NOW + timedelta(seconds=59)) == NOW + timedelta(minutes=1)
    assert backoff.wait_until(NOW + timedelta(minutes=1)) is None
