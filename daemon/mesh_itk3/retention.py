"""How long what is settled is kept: which states, and since when. PURE.

Nothing goes unless the practice says so. A message's row, its ids, codes and times stay for ever: duplicates and
redeliveries are recognised by them. What is unanswered, owed, on its way, parked, or waits for a person is never settled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from mesh_itk3.lifecycle import State

PRUNABLE: Final[tuple[State, ...]] = (
    State.COMPLETED,
    State.REJECTED,
    State.CORRELATED,
    State.UNCORRELATED,
    State.ABANDONED,
)
"""The states whose messages are settled, in the order of pruning: `[retention]` has a key `<state>_payloads_days` for each.
Whoever adds a state adds it here, and its key there; its row needs `finished_at`, from which the days count.
"""
SHORTEST_DAYS: Final = 30
"""MESH API: a message that nobody acknowledges leaves the inbox after 5 days, and MESH forgets what it delivered after 30.
Before that it may come again, or be reported on.
"""
SHORTEST_EVENTS_DAYS: Final = 90
"""A guess: how long somebody may ask what became of a letter, and be answered from the timeline."""
HELD_BACK_AFTER: Final = timedelta(days=2)
"""MESH is asked daily at least: if it has not answered for longer, it is away or this machine's clock is wrong."""


def counts_from(now: datetime, answered_at: Iterable[datetime | None]) -> datetime | None:
    """The time by which things are old: `now`, but never later than MESH has last answered one of these mailboxes (UTC, by this
    machine's clock; None: never). None: it has answered none, and nothing is old.

    A clock that is years ahead would make everything old at once. MESH vouches for it: it refuses requests whose time is more
    than two hours off (MESH API, Authorization header), so that what it answers was asked at the right time.
    """
    latest = max(filter(None, answered_at), default=None)
    return None if latest is None else min(now, latest)


def is_held_back(now: datetime, counted_from: datetime | None) -> bool:
    """Whether the clock has left behind what MESH vouches for: by so much that somebody should know."""
    return counted_from is not None and now - counted_from > HELD_BACK_AFTER


@dataclass(frozen=True, slots=True)
class Retention:
    """The practice's rules; None, or a state that is absent: kept for ever."""

    payloads: Mapping[State, timedelta] = field(default_factory=dict)
    events: timedelta | None = None
    response_bytes: timedelta | None = None

    @property
    def is_anything_pruned(self) -> bool:
        return bool(self.payloads) or self.events is not None or self.response_bytes is not None

    def payloads_before(self, now: datetime) -> dict[State, datetime]:
        """By state, the time before which a message must have been finished for its payload to go."""
        return {state: now - self.payloads[state] for state in PRUNABLE if state in self.payloads}

    def events_before(self, now: datetime) -> datetime | None:
        return None if self.events is None else now - self.events

    def response_bytes_before(self, now: datetime) -> datetime | None:
        return None if self.response_bytes is None else now - self.response_bytes
