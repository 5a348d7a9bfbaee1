"""Around collect: the mailbox itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from mesh_itk3.breaker import Errand
from mesh_itk3.ports import CertificateUnusable, CredentialsRejected, MailboxUnavailable
from mesh_itk3.stages.guard import Guard
from mesh_itk3.stages.poll import handshake_if_due, is_poll_due, poll
from support.fake_mailbox import FakeMailbox, a_mesh_message
from support.stage_world import PRACTICE, a_small_daemon


def test_a_dead_mesh_is_said_once_and_its_recovery_once(tmp_path):
    daemon = a_small_daemon(tmp_path, FakeMailbox(fails_on="pages", fails_times=10))
    for _ in range(40):
        poll(daemon.collector, daemon.guard)
        daemon.clock.advance(minutes=5)
    assert len(daemon.said("mailbox.unavailable")) == 1
    assert len(daemon.said("mailbox.recovered")) == 1


def test_failures_are_counted_for_status(tmp_path):
    daemon = a_small_daemon(tmp_path, FakeMailbox(fails_on="pages", error=CredentialsRejected()))
    poll(daemon.collector, daemon.guard)
    daemon.clock.advance(minutes=5)
    poll(daemon.collector, daemon.guard)
    state = daemon.ledger.mailbox_state(PRACTICE)
    assert (state.failures, state.reason) == (2, "credentials_rejected")


def test_a_certificate_that_cannot_be_loaded_here_is_not_said_to_be_refused_by_mesh(tmp_path):
    daemon = a_small_daemon(tmp_path, FakeMailbox(fails_on="pages", error=CertificateUnusable()))
    poll(daemon.collector, daemon.guard)
    assert [line["reason"] for line in daemon.said("credentials.rejected")] == ["certificate_unusable"]
    assert daemon.ledger.mailbox_state(PRACTICE).reason == "certificate_unusable"


@pytest.mark.parametrize("failed_before", [False, True], ids=["well", "had failed"])
def test_a_clock_that_jumps_while_mesh_answers_is_not_vouched_for_by_that_answer(tmp_path, failed_before):
    """Retention goes by `last_success_at`: MESH was asked with the old time, and would have refused the new one."""
    daemon = a_small_daemon(tmp_path, FakeMailbox(fails_on="pages", fails_times=int(failed_before)))
    poll(daemon.collector, daemon.guard)
    daemon.clock.advance(minutes=5)
    asked_at, pages = daemon.clock.now(), daemon.mailbox.pages

    def jumping():
        yield from pages()
        daemon.clock.advance(days=3 * 365)

    daemon.mailbox.pages = jumping
    poll(daemon.collector, daemon.guard)
    assert daemon.ledger.mailbox_state(PRACTICE).last_success_at == asked_at


def test_the_time_of_a_poll_is_noted_also_when_it_failed(tmp_path):
    daemon = a_small_daemon(tmp_path, FakeMailbox(fails_on="pages"))
    poll(daemon.collector, daemon.guard)
    assert daemon.ledger.mailbox_state(PRACTICE).last_poll_at == daemon.clock.now()


def test_a_poll_is_due_at_first_and_when_its_interval_has_passed_since_the_last_began_whatever_became_of_it(tmp_path):
    daemon = a_small_daemon(tmp_path, FakeMailbox(fails_on="pages"))
    due = [is_poll_due(daemon.collector, 300)]
    poll(daemon.collector, daemon.guard)
    for seconds in (0, 299, 1):
        daemon.clock.advance(seconds=seconds)
        due.append(is_poll_due(daemon.collector, 300))
    assert due == [True, False, False, True]


def test_a_poll_repeats_at_once_after_a_full_page_of_which_something_was_acknowledged(tmp_path):
    messages = [a_mesh_message(b"<x/>") for _ in range(10)]
    daemon = a_small_daemon(tmp_path, FakeMailbox(messages, page_size=10))
    poll(daemon.collector, daemon.guard)
    assert len(daemon.mailbox.verbs("pages")) == 2


def test_a_poll_of_a_page_that_was_not_full_does_not_repeat(tmp_path):
    daemon = a_small_daemon(tmp_path, FakeMailbox([a_mesh_message(b"<x/>")]))
    poll(daemon.collector, daemon.guard)
    assert len(daemon.mailbox.verbs("pages")) == 1


def test_a_handshake_is_repeated_within_a_day(tmp_path):
    daemon = a_small_daemon(tmp_path)
    for hours in (0, 10, 11, 3):
        daemon.clock.advance(hours=hours)
        handshake_if_due(daemon.mailbox, daemon.guard)
    assert len(daemon.mailbox.verbs("handshake")) == 2


def test_a_handshake_that_was_noted_by_a_clock_that_was_ahead_does_not_keep_the_next_from_its_time(tmp_path):
    daemon = a_small_daemon(tmp_path)
    daemon.guard.note(last_handshake_at=daemon.clock.now() + timedelta(days=3650))
    handshake_if_due(daemon.mailbox, daemon.guard)
    assert daemon.ledger.mailbox_state(PRACTICE).last_handshake_at == daemon.clock.now()


class AnswersWhileTheClockIsSet(FakeMailbox):
    """The clock of this machine is set years ahead while MESH answers a handshake."""

    clock = None

    def handshake(self):
        super().handshake()
        self.clock.advance(days=3650)


def test_mesh_vouches_for_the_time_at_which_it_was_asked_and_for_no_later_one(tmp_path):
    daemon = a_small_daemon(tmp_path, AnswersWhileTheClockIsSet())
    daemon.mailbox.clock, asked_at = daemon.clock, daemon.clock.now()
    assert handshake_if_due(daemon.mailbox, daemon.guard)
    assert daemon.ledger.mailbox_state(PRACTICE).answered_at == asked_at


def test_a_handshake_that_failed_is_due_again(tmp_path):
    daemon = a_small_daemon(tmp_path, FakeMailbox(fails_on="handshake", fails_times=1))
    assert not handshake_if_due(daemon.mailbox, daemon.guard)
    daemon.clock.advance(minutes=1)
    assert handshake_if_due(daemon.mailbox, daemon.guard)


def test_a_disk_that_refuses_is_said_and_the_next_poll_tries_again(tmp_path):
    daemon = a_small_daemon(tmp_path, FakeMailbox([a_mesh_message(b"<x/>")]))
    (tmp_path / "payloads").write_text("in the way")
    assert poll(daemon.collector, daemon.guard) is None
    assert daemon.said("storage.failed")
    (tmp_path / "payloads").unlink()
    assert poll(daemon.collector, daemon.guard).collected == 1


def test_mesh_that_answers_again_does_not_hush_that_the_disk_works_again_after_a_restart(tmp_path):
    mailbox = FakeMailbox([a_mesh_message(b"<x/>")], fails_on="handshake", fails_times=1)
    daemon = a_small_daemon(tmp_path, mailbox)
    handshake_if_due(mailbox, daemon.guard, at_once=True)
    daemon.clock.advance(minutes=5)
    (tmp_path / "payloads").write_text("in the way")
    poll(daemon.collector, daemon.guard)
    handshake_if_due(mailbox, daemon.guard, at_once=True)
    assert len(daemon.said("mailbox.recovered")) == 1
    daemon.ledger.close()

    again = a_small_daemon(tmp_path, mailbox)
    (tmp_path / "payloads").unlink()
    poll(again.collector, again.guard)
    assert len(again.said("storage.usable")) == 1


# ---------------------------------------------------------------------------------------------- the breaker, shared


@dataclass
class SetClock:
    """Its time of day can be set apart from its steady one."""

    at: datetime
    steady: list[float]

    def now(self):
        return self.at

    def monotonic(self):
        return self.steady[0]


def unavailable(*, retry_after_s=None):
    def call(is_probe):
        raise MailboxUnavailable("http_503", retry_after_s=retry_after_s)

    return call


def test_a_clock_that_is_set_back_while_it_is_open_does_not_keep_it_open(tmp_path):
    daemon = a_small_daemon(tmp_path)
    years_ahead, steady = daemon.clock.at + timedelta(days=3650), [0.0]
    daemon.guard.clock = clock = SetClock(years_ahead, steady)
    daemon.guard.ask(Errand.RESPOND, unavailable(retry_after_s=1800))
    clock.at, steady[0] = daemon.clock.at, 1801.0
    assert daemon.guard.ask(Errand.RESPOND, lambda _: "answered") == "answered"


def test_while_it_is_open_nothing_is_asked(tmp_path):
    daemon = a_small_daemon(tmp_path)
    daemon.guard.ask(Errand.RESPOND, unavailable())
    assert poll(daemon.collector, daemon.guard) is None
    assert not handshake_if_due(daemon.mailbox, daemon.guard)
    assert daemon.mailbox.done == []


@pytest.mark.parametrize("errand", Errand)
def test_what_mesh_asks_for_holds_for_every_errand(tmp_path, errand):
    daemon, asked = a_small_daemon(tmp_path), []
    daemon.guard.ask(errand, unavailable(retry_after_s=1800))
    for _ in range(40):
        daemon.clock.advance(minutes=1)
        for each in Errand:
            daemon.guard.ask(each, lambda _: asked.append(daemon.clock.now()) or True)
    assert len(asked) == 11 * 4
    assert [line["retry_in_s"] >= 1800 for line in daemon.said("mailbox.unavailable")] == [True]


def test_the_first_errand_after_its_time_is_a_probe_and_the_next_is_not(tmp_path):
    daemon, probes = a_small_daemon(tmp_path), []
    daemon.guard.ask(Errand.COLLECT, unavailable())
    daemon.clock.advance(minutes=1)
    for errand in (Errand.RESPOND, Errand.COLLECT, Errand.TRACK):
        daemon.guard.ask(errand, lambda is_probe: probes.append(is_probe) or True)
    assert probes == [True, True, False]


def test_an_errand_that_is_under_way_is_not_begun_again(tmp_path):
    daemon, begun = a_small_daemon(tmp_path), []

    def call(is_probe):
        begun.append("outer")
        assert daemon.guard.ask(Errand.RESPOND, lambda _: begun.append("inner")) is None
        return True

    assert daemon.guard.ask(Errand.RESPOND, call)
    assert begun == ["outer"]
    assert daemon.guard.ask(Errand.RESPOND, lambda _: "again") == "again"


def test_an_errand_that_raises_something_else_can_be_begun_again(tmp_path):
    daemon = a_small_daemon(tmp_path)
    with pytest.raises(ZeroDivisionError):
        daemon.guard.ask(Errand.RESPOND, lambda _: 1 / 0)
    assert daemon.guard.ask(Errand.RESPOND, lambda _: "again") == "again"


def test_sends_that_fail_while_everything_else_works_hold_up_only_themselves_and_are_said_once(tmp_path):
    daemon, sends = a_small_daemon(tmp_path, FakeMailbox([a_mesh_message(b"<x/>")])), []

    def send(is_probe):
        sends.append(daemon.clock.now())
        raise MailboxUnavailable("http_503")

    polled = 0
    for _ in range(24 * 60):
        daemon.guard.ask(Errand.RESPOND, send)
        polled += poll(daemon.collector, daemon.guard) is not None
        daemon.clock.advance(minutes=1)
    assert 24 * 60 - polled <= 2
    assert 24 * 3 <= len(sends) <= 24 * 4 + 6
    assert len(daemon.said("mailbox.unavailable")) == 1
    assert daemon.said("mailbox.recovered") == []
    daemon.clock.advance(minutes=20)
    daemon.guard.ask(Errand.RESPOND, lambda _: True)
    assert len(daemon.said("mailbox.recovered")) == 1


def test_being_refused_is_another_line_than_being_away(tmp_path):
    daemon = a_small_daemon(tmp_path)
    for error in (MailboxUnavailable("timeout"), MailboxUnavailable("http_503"), CredentialsRejected(), CertificateUnusable()):
        daemon.mailbox.fails_on, daemon.mailbox.error = "pages", error
        daemon.clock.advance(minutes=20)
        poll(daemon.collector, daemon.guard)
    said = [(line["event"], line["reason"]) for line in daemon.events if line["event"].startswith(("mailbox.", "cred"))]
    assert said == [
        ("mailbox.unavailable", "timeout"),
        ("credentials.rejected", "credentials_rejected"),
        ("credentials.rejected", "certificate_unusable"),
    ]


def test_a_restart_says_nothing_again_and_asks_within_a_minute(tmp_path):
    daemon = a_small_daemon(tmp_path, FakeMailbox(fails_on="pages", fails_times=8))
    for _ in range(8):
        poll(daemon.collector, daemon.guard)
        daemon.clock.advance(minutes=20)
    restarted = Guard.restored(PRACTICE, daemon.ledger, daemon.clock)
    assert restarted.breaker.until <= daemon.clock.now() + timedelta(minutes=1)
    daemon.clock.advance(minutes=1)
    assert poll(daemon.collector, restarted) is not None
    assert (len(daemon.said("mailbox.unavailable")), len(daemon.said("mailbox.recovered"))) == (1, 1)
    assert daemon.ledger.mailbox_state(PRACTICE).failures == 0


def test_hundreds_of_mailboxes_do_not_come_back_together(tmp_path):
    daemon = a_small_daemon(tmp_path)
    daemon.ledger.record_mailbox_state(replace(daemon.ledger.mailbox_state(PRACTICE), failures=5, reason="timeout"))
    moments = {Guard.restored(PRACTICE, daemon.ledger, daemon.clock).breaker.until.second // 10 for _ in range(300)}
    assert moments == set(range(6))


def test_one_that_had_failed_is_asked_by_once_at_once_and_its_success_noted(tmp_path):
    daemon = a_small_daemon(tmp_path)
    daemon.guard.ask(Errand.RESPOND, unavailable())
    daemon.guard.for_one_try()
    assert poll(daemon.collector, daemon.guard) is not None
    assert daemon.ledger.mailbox_state(PRACTICE).failures == 0
