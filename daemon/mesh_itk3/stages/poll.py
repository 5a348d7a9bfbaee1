"""Around collect: the mailbox itself. When it was polled, whether MESH answers, the daily handshake."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from mesh_itk3 import events
from mesh_itk3.ports import (
    Clock,
    CredentialsRejected,
    Ledger,
    Mailbox,
    MailboxState,
    MailboxUnavailable,
    StorageFailed,
)
from mesh_itk3.stages.collect import Collector, Walk, collect
from mesh_itk3.stages.storage import collecting_failed, collecting_works, is_of_the_disk

HANDSHAKE_EVERY: Final = timedelta(hours=20)
"""MESH wants a handshake at least once in 24 hours; four hours are left for a MESH that is away."""
FIRST_WAIT: Final = timedelta(minutes=1)
LONGEST_WAIT: Final = timedelta(minutes=15)
"""Guesses: rejected credentials want an operator, and a MESH that is asked every few seconds may lock the mailbox."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a mailbox whose credentials were rejected is not asked again. A success ends it: begin with a new one."""

    rejections: int = 0
    """In a row."""
    until: datetime | None = None

    def rejected(self, now: datetime) -> Backoff:
        """After one more: a minute, then twice as long each time, up to a quarter of an hour."""
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(self.rejections, 10))
        return Backoff(self.rejections + 1, now + wait)

    def wait_until(self, now: datetime) -> datetime | None:
        """Before this time nothing is to be asked; None: it may be now."""
        return self.until if self.until is not None and now < self.until else None


def poll(c: Collector) -> Walk | None:
    """Walks the inbox until there is no more reason to walk again at once; the last walk, or None where the mailbox
    could not be walked: that is said once, and the next poll tries again. Raises LedgerUnavailable, LeaseLost.
    """
    while True:
        walk = _poll_once(c)
        if walk is None or not walk.should_repeat or c.is_stopping():
            return walk


def _poll_once(c: Collector) -> Walk | None:
    state = c.ledger.mailbox_state(c.mailbox.mailbox_id)
    # Noted before the walk: MESH's five minutes count from here, also for a daemon that restarts.
    state = replace(state, last_poll_at=c.clock.now())
    c.ledger.record_mailbox_state(state)
    started = c.clock.monotonic()
    try:
        walk = collect(c)
    except (CredentialsRejected, MailboxUnavailable) as error:
        mailbox_failed(c.ledger, state, error)
        return None
    except StorageFailed as error:
        collecting_failed(c, state, error)
        return None
    mailbox_answered(c.ledger, c.clock, collecting_works(c, state))
    _say_polled(c, walk, started)
    return walk


def _say_polled(c: Collector, walk: Walk, started: float) -> None:
    events.emit(
        events.MAILBOX_POLLED,
        mailbox_id=c.mailbox.mailbox_id,
        pages=walk.pages,
        count=len(walk.seen),
        collected=walk.collected,
        acknowledged=walk.acknowledged,
        foreign=walk.foreign,
        duration_ms=round((c.clock.monotonic() - started) * 1000, 1),
    )


def handshake_if_due(mailbox: Mailbox, ledger: Ledger, clock: Clock, *, at_once: bool = False) -> bool:
    """Handshakes where the last one is long enough ago (or `at_once`); whether MESH answered, or none was due."""
    state = ledger.mailbox_state(mailbox.mailbox_id)
    last = state.last_handshake_at
    if not at_once and last is not None and clock.now() - last < HANDSHAKE_EVERY:
        return True
    try:
        mailbox.handshake()
    except (CredentialsRejected, MailboxUnavailable) as error:
        mailbox_failed(ledger, state, error)
        return False
    state = replace(ledger.mailbox_state(mailbox.mailbox_id), last_handshake_at=clock.now())
    ledger.record_mailbox_state(state)
    events.emit(events.MAILBOX_HANDSHAKE, mailbox_id=mailbox.mailbox_id)
    mailbox_answered(ledger, clock, state)
    return True


def mailbox_failed(ledger: Ledger, state: MailboxState, error: CredentialsRejected | MailboxUnavailable) -> None:
    """Says it when it begins or changes, not at every poll: a dead endpoint is one line, and a count in `status`."""
    event = events.MAILBOX_UNAVAILABLE if isinstance(error, MailboxUnavailable) else events.CREDENTIALS_REJECTED
    if state.failures == 0 or state.reason != error.reason:
        events.emit(event, mailbox_id=state.mailbox_id, reason=error.reason)
    ledger.record_mailbox_state(replace(state, failures=state.failures + 1, reason=error.reason))


def mailbox_answered(ledger: Ledger, clock: Clock, state: MailboxState) -> None:
    """Notes the success; says it where it ends a time without. What the disk refuses MESH cannot make good."""
    if is_of_the_disk(state):
        ledger.record_mailbox_state(replace(state, last_success_at=clock.now()))
        return
    if state.failures:
        events.emit(events.MAILBOX_RECOVERED, mailbox_id=state.mailbox_id, count=state.failures)
    ledger.record_mailbox_state(replace(state, last_success_at=clock.now(), failures=0, reason=None))
