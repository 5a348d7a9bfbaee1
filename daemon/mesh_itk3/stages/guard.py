"""One mailbox's breaker at work: collect, respond, track and the handshake ask MESH through it, so that a MESH that is away is
one line in the log, whatever is waiting to be sent.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from threading import Lock
from typing import Any, Final, Self, TypeVar

from mesh_itk3 import events
from mesh_itk3.breaker import Breaker, Errand
from mesh_itk3.ports import CertificateUnusable, Clock, CredentialsRejected, MailboxState, MailboxStates, MailboxUnavailable
from mesh_itk3.retry import CREDENTIALS, MAILBOX

Answer = TypeVar("Answer")

_REFUSED: Final = frozenset({CredentialsRejected.reason, CertificateUnusable.reason})
"""Reasons that an operator acts on, each in another way."""


@dataclass(slots=True)
class Guard:
    """Of one mailbox; safe to use from several threads. Remembered in the ledger: that MESH fails, how often, and why."""

    mailbox_id: str
    ledger: MailboxStates
    clock: Clock
    breaker: Breaker = field(default_factory=Breaker)
    _said: str | None = None
    """What of the present trouble has been said."""
    _at_work: set[Errand] = field(default_factory=set)
    _lock: Lock = field(default_factory=Lock)

    @classmethod
    def restored(cls, mailbox_id: str, ledger: MailboxStates, clock: Clock) -> Self:
        """As the last process has left it. What that one has said is not said again."""
        state = ledger.mailbox_state(mailbox_id)
        breaker = Breaker.restored(state.failures, _steady(clock), jitter=random.random())
        return cls(mailbox_id, ledger, clock, breaker, _said=_news(state.reason) if state.failures else None)

    def for_one_try(self) -> None:
        """Whatever has failed may be asked once more (`--once`)."""
        with self._lock:
            self.breaker = self.breaker.for_one_try()

    def state(self) -> MailboxState:
        """What the ledger remembers of this mailbox."""
        return self.ledger.mailbox_state(self.mailbox_id)

    def note(self, **changes: Any) -> None:
        """Changes some of it; what another errand notes at the same time is not lost."""
        with self._lock:
            self.ledger.record_mailbox_state(replace(self.state(), **changes))

    def ask(self, errand: Errand, call: Callable[[bool], Answer | None]) -> Answer | None:
        """What `call` gives, or None where MESH is not to be asked now, does not answer or refuses: that is noted and said.
        `call` is told whether it is a probe, which asks as little as it can; what it gives is false where MESH was not asked
        after all. An errand that is still under way is not begun a second time: not even by the daemon after a reload that
        could not wait for it, or a send would be looked up, and repeated, while MESH is still taking it.
        """
        is_probe = self._begin(errand)
        if is_probe is None:
            return None
        asked_at = self.clock.now()
        try:
            answer = call(is_probe)
        except (CredentialsRejected, MailboxUnavailable) as error:
            self._failed(errand, error)
            return None
        else:
            if answer:
                self._answered(errand, asked_at)
            return answer
        finally:
            with self._lock:
                self._at_work.discard(errand)
                self.breaker = self.breaker.released(errand)

    def _begin(self, errand: Errand) -> bool | None:
        """Whether it is a probe; None: not now."""
        with self._lock:
            admitting = None if errand in self._at_work else self.breaker.admitting(errand, _steady(self.clock))
            if admitting is None:
                return None
            self.breaker = admitting
            self._at_work.add(errand)
            return admitting.probe is errand

    def _failed(self, errand: Errand, error: CredentialsRejected | MailboxUnavailable) -> None:
        is_away = isinstance(error, MailboxUnavailable)
        event, pace = (events.MAILBOX_UNAVAILABLE, MAILBOX) if is_away else (events.CREDENTIALS_REJECTED, CREDENTIALS)
        retry_after_s = error.retry_after_s if isinstance(error, MailboxUnavailable) else None
        with self._lock:
            now = _steady(self.clock)
            self.breaker = self.breaker.failed(errand, now, pace, jitter=random.random(), retry_after_s=retry_after_s)
            news, retry_at = _news(error.reason), self.breaker.until
            self.ledger.record_mailbox_state(replace(self.state(), failures=self.breaker.failures, reason=error.reason))
            if news != self._said:
                self._said = news
                retry_in_s = round((retry_at - now).total_seconds()) if retry_at else None
                said = {"mailbox_id": self.mailbox_id, "stage": errand, "reason": error.reason, "retry_in_s": retry_in_s}
                events.emit(event, **said)

    def _answered(self, errand: Errand, asked_at: datetime) -> None:
        """Says it, and notes it, where it ends a time without."""
        with self._lock:
            before, self.breaker = self.breaker, self.breaker.succeeded(errand, _steady(self.clock))
            if not before.failures or self.breaker.failures:
                return
            self._said = None
            self.ledger.record_mailbox_state(replace(self.state(), last_success_at=asked_at, failures=0, reason=None))
            events.emit(events.MAILBOX_RECOVERED, mailbox_id=self.mailbox_id, count=before.failures)


def _steady(clock: Clock) -> datetime:
    """A time that nobody sets: the waits of a breaker are over when they are, whatever the clock of this machine says."""
    return datetime.fromtimestamp(clock.monotonic(), UTC)


def _news(reason: str | None) -> str | None:
    """What makes a failure worth a line of its own: an operator acts on each way of being refused, and on MESH being away once,
    whatever that looks like.
    """
    return reason if reason in _REFUSED else "unavailable"
