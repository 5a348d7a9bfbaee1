"""Around collect: the mailbox itself. When it was polled, the daily handshake."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from mesh_itk3 import events
from mesh_itk3.breaker import Errand
from mesh_itk3.ports import Mailbox, StorageFailed
from mesh_itk3.stages.collect import Collector, Walk, collect
from mesh_itk3.stages.guard import Guard
from mesh_itk3.stages.storage import collecting_failed, collecting_works

HANDSHAKE_EVERY: Final = timedelta(hours=20)
"""MESH wants a handshake at least once in 24 hours; four hours are left for a MESH that is away."""


def poll(c: Collector, guard: Guard) -> Walk | None:
    """Walks the inbox until there is no more reason to walk again at once; the last walk, or None where the mailbox
    could not be walked, or is not to be asked now: the next poll tries again. Raises LedgerUnavailable, LeaseLost.
    """
    while True:
        walk = guard.ask(Errand.COLLECT, lambda _: _poll_once(c, guard))
        if walk is None or not walk.should_repeat or c.is_stopping():
            return walk


def is_poll_due(c: Collector, interval_s: float) -> bool:
    """Whether so long has passed since the last walk began, however late that was, and whatever the clock of this machine has
    been set to since.
    """
    return c.walked_at is None or c.clock.monotonic() - c.walked_at >= interval_s


def _poll_once(c: Collector, guard: Guard) -> Walk | None:
    # Noted before the walk: MESH's five minutes count from here, also for a daemon that restarts.
    began_at = c.clock.now()
    guard.note(last_poll_at=began_at)
    c.walked_at = started = c.clock.monotonic()
    try:
        walk = collect(c)
    except StorageFailed as error:
        state = guard.state()
        collecting_failed(c, state, error)
        guard.note(disk_failures=state.disk_failures + 1, disk_since=state.disk_since or began_at)
        return None
    collecting_works(c, guard.state())
    # When it began: what MESH has answered vouches for that time, and not for what the clock has been set to since.
    guard.note(last_success_at=began_at, disk_failures=0, disk_since=None)
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


def handshake_if_due(mailbox: Mailbox, guard: Guard, *, at_once: bool = False) -> bool:
    """Handshakes where the last one is long enough ago (or `at_once`), or was noted by a clock that was ahead; whether MESH
    answered, or none was due.
    """
    last = guard.state().last_handshake_at
    if not at_once and last is not None and timedelta(0) <= guard.clock.now() - last < HANDSHAKE_EVERY:
        return True
    return bool(guard.ask(Errand.HANDSHAKE, lambda _: _handshake(mailbox, guard)))


def _handshake(mailbox: Mailbox, guard: Guard) -> bool:
    asked_at = guard.clock.now()  # what the clock is set to while MESH answers nobody vouches for
    mailbox.handshake()
    guard.note(last_handshake_at=asked_at)
    events.emit(events.MAILBOX_HANDSHAKE, mailbox_id=mailbox.mailbox_id)
    return True
