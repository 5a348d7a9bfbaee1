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

FIRST_DELAY_S: Final = 2.0
MAX_DELAY_S: Final = 900.0


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Try again, not before `at` (UTC)."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Park:
    """Stop trying; an operator has to look."""


def delay_s(attempts: int, *, jitter: float = 0.0) -> float:
    """Exponential delay after the `attempts`-th failure, in seconds. `jitter` in [0, 1) adds up to a quarter of it."""
    base = min(MAX_DELAY_S, FIRST_DELAY_S * 4.0 ** max(0, min(attempts, 16) - 1))
    return base * (1.0 + 0.25 * jitter)


def after_failed_attempt(attempts: int, now: datetime, *, jitter: float = 0.0) -> TryAgain | Park:
    """What follows an attempt on a message that raised; `attempts` counts it."""
    if attempts >= MAX_ATTEMPTS:
        return Park()
    return TryAgain(now + timedelta(seconds=delay_s(attempts, jitter=jitter)))


def is_parked_after_interruption(interrupted: int) -> bool:
    """Whether a message that was alone at the `interrupted`-th death of the process is set aside for an operator."""
    return interrupted >= MAX_INTERRUPTED


def may_resend_unresolved(unresolved_since: datetime, now: datetime) -> bool:
    """Whether a send of unknown outcome is repeated although no look-up has answered."""
    return now - unresolved_since >= RESEND_UNRESOLVED_AFTER
