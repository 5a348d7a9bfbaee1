"""A disk that refuses: said when it begins and when it ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final

from mesh_itk3 import events
from mesh_itk3.ports import MailboxState, MessageKey, StorageFailed
from mesh_itk3.stages.walk import STAGE, Collector

FORGET_AFTER_S: Final = 3600.0
"""A guess. Each is tried every minute; one that was not for so long is held by somebody, and no longer waits for the disk."""


@dataclass(slots=True)
class Refusals:
    """The messages that wait because the disk has refused something of theirs. Safe to use from several threads."""

    _waiting: dict[MessageKey, float] = field(default_factory=dict)
    """And when they were last refused."""
    _lock: Lock = field(default_factory=Lock)

    def refused(self, key: MessageKey, error: StorageFailed, said: Mapping[str, Any], now: float) -> None:
        """Says so for the first of them. `now`: monotonic seconds."""
        with self._lock:
            self._waiting = {each: at for each, at in self._waiting.items() if now - at < FORGET_AFTER_S}
            is_first = not self._waiting
            self._waiting[key] = now
        if is_first:
            events.emit(events.STORAGE_FAILED, **said, reason=str(error), **events.where(error))

    def passed(self, key: MessageKey, stage: str, now: float) -> None:
        """Nothing was refused; says so for the last that had waited."""
        with self._lock:
            had_waited = self._waiting.pop(key, None) is not None
            is_last = had_waited and all(now - at >= FORGET_AFTER_S for at in self._waiting.values())
        if is_last:
            events.emit(events.STORAGE_USABLE, stage=stage)


def collecting_failed(c: Collector, state: MailboxState, error: StorageFailed) -> None:
    """Nothing can be collected now: said once, also across restarts."""
    is_new = c.storage_problem is None and not state.disk_failures
    c.storage_problem = str(error)
    if is_new:
        said = {"mailbox_id": state.mailbox_id, "stage": STAGE, "reason": c.storage_problem}
        events.emit(events.STORAGE_FAILED, **said, **events.where(error))


def collecting_works(c: Collector, state: MailboxState) -> None:
    """Something could be collected, had there been anything."""
    if c.storage_problem is not None or state.disk_failures:
        events.emit(events.STORAGE_USABLE, mailbox_id=state.mailbox_id, stage=STAGE)
    c.storage_problem = None


def spooling_failed(c: Collector, error: StorageFailed) -> None:
    """The spool refuses: said once, whatever the number of messages and polls."""
    with c.lock:
        is_new, c.is_spool_failing = not c.is_spool_failing, True
    if is_new:
        said = {"mailbox_id": c.mailbox.mailbox_id, "stage": STAGE, "reason": "spool"}
        events.emit(events.STORAGE_FAILED, **said, **events.where(error))


def spooling_works(c: Collector) -> None:
    """A message was spooled."""
    with c.lock:
        was_failing, c.is_spool_failing = c.is_spool_failing, False
    if was_failing:
        events.emit(events.STORAGE_USABLE, mailbox_id=c.mailbox.mailbox_id, stage=STAGE, reason="spool")
