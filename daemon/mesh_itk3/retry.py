"""When a failed attempt is tried again, and when it is parked. PURE: attempt, failure and `now` in, a time out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

MAX_ATTEMPTS: Final = 3
"""Attempts that raised, before a message is parked (design rule 8)."""
MAX_INTERRUPTED: Final = 10
"""Attempts cut off by the death of the process while the message was alone, before it is parked (design rule 8)."""
RESEND_UNRESOLVED_AFTER: Final = timedelta(hours=1)
"""A send whose outcome no look-up can tell is repeated with identical bytes after this long: a doubled response is
harmless, a missing one is not (design rule 15)."""
LONGEST_WAIT: Final = timedelta(days=1)
"""What a handler may ask for at most; MESH's Retry-After and the waits between attempts are shorter."""
_CORRECTION: Final = timedelta(minutes=1)
"""By so much a clock may be set right, or two machines differ, and what has happened is not taken for what has yet to come."""
_SET_BACK: Final = timedelta(hours=2)
"""By so much a clock may be set back, and nothing that waits comes early for it. MESH refuses one that is further off (MESH
API, Authorization header)."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the waits between failures grow, in seconds."""

    first_s: float
    factor: float
    ceiling_s: float

    def delay_s(self, failures: int, *, jitter: float = 0.0, at_least_s: float | None = None) -> float:
        """After the `failures`-th failure in a row, in seconds. `jitter` in [0, 1) adds up to a quarter, so that many who
        failed together do not come back together. `at_least_s`: what the other side asked for (Retry-After); never less.
        """
        grown = self.first_s * self.factor ** max(0, min(failures, 16) - 1)
        return max(min(self.ceiling_s, grown) * (1.0 + 0.25 * jitter), at_least_s or 0.0)


ATTEMPTS: Final = Pace(first_s=2.0, factor=4.0, ceiling_s=900.0)
"""Of one message or one response."""
MAILBOX: Final = Pace(first_s=15.0, factor=2.0, ceiling_s=900.0)
"""Of a mailbox where MESH does not answer. Guesses: a restart of MESH's is over in seconds, an outage is not."""
CREDENTIALS: Final = Pace(first_s=60.0, factor=2.0, ceiling_s=900.0)
"""Of a mailbox that is refused. Guesses: that wants an operator, and a MESH asked every few seconds may lock the mailbox."""


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Try again, not before `at` (UTC)."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Park:
    """Stop trying; an operator has to look."""


def after_failed_attempt(attempts: int, now: datetime, *, jitter: float = 0.0) -> TryAgain | Park:
    """What follows an attempt on a message that raised; `attempts` counts it."""
    if attempts >= MAX_ATTEMPTS:
        return Park()
    return TryAgain(now + timedelta(seconds=ATTEMPTS.delay_s(attempts, jitter=jitter)))


def is_parked_after_interruption(interrupted: int) -> bool:
    """Whether a message that was alone at the `interrupted`-th death of the process is set aside for an operator."""
    return interrupted >= MAX_INTERRUPTED


def may_resend_unresolved(unresolved_since: datetime, now: datetime) -> bool:
    """Whether a send of unknown outcome is repeated although no look-up has answered. Noted by a clock that was ahead, it has
    waited nobody knows how long.
    """
    return abs(now - unresolved_since) >= RESEND_UNRESOLVED_AFTER


def latest_due_at(now: datetime) -> datetime:
    """Nothing that was put off by a clock that was nearly right is due later. What is due later was put off when the clock was
    ahead, years perhaps, and is due now, or nobody would ever know.
    """
    return now + LONGEST_WAIT + _SET_BACK


def latest_noted_at(now: datetime) -> datetime:
    """Nothing that has happened is noted with a later time, unless the clock was ahead when it was: then nobody knows when."""
    return now + _CORRECTION


def is_noted_ahead(at: datetime | None, now: datetime) -> bool:
    """Whether the clock was ahead when this time was noted."""
    return at is not None and at > latest_noted_at(now)
