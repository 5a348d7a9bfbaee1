"""What is let go of: received bytes, bytes of responses, lines of timelines; and files that no row names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from mesh_itk3.lifecycle import State
from mesh_itk3.ports.messages import Entry
from mesh_itk3.ports.payloads import StoredPayload


@dataclass(frozen=True, slots=True)
class Expired:
    """What retention lets go of: the time before which each kind must have been settled. Absent or None: kept for ever."""

    payloads: Mapping[State, datetime] = field(default_factory=dict)
    events: datetime | None = None
    response_bytes: datetime | None = None


@dataclass(frozen=True, slots=True)
class Prunable:
    """How much of one kind would go now."""

    kind: Literal["payloads", "events", "response_bytes"]
    count: int
    bytes: int | None = None
    """None where there are no bytes to speak of (lines of a timeline)."""
    oldest_at: datetime | None = None
    """When the oldest of it was finished or written."""
    state: State | None = None
    """Payloads only: of the messages in this state."""


class Pruning(Protocol):
    """Retention, a bounded step at a time."""

    def prunable(self, expired: Expired, mailbox_ids: Sequence[str]) -> list[Prunable]:
        """What `let_go_of_payloads`, `prune_events` and `prune_response_bytes` would take now; changes nothing."""

    def let_go_of_payloads(
        self, state: State, before: datetime, mailbox_ids: Sequence[str], limit: int, entry: Entry
    ) -> list[StoredPayload]:
        """Up to `limit` settled messages in this state, finished before that time, no longer name their payload; their rows
        keep its size and digest. The caller then removes the files, through `sweep`; a file that a crash leaves behind is
        swept later. Never of a message that is unanswered, has an answer on its way or lost and unseen, stands in `status`,
        or is what such a one is compared with. Raises LeaseLost.
        """

    def prune_events(
        self, before: datetime, mailbox_ids: Sequence[str], after: int, limit: int, now: datetime
    ) -> tuple[int, int | None]:
        """Looks at `limit` lines of the timelines behind position `after`, oldest first, and removes those written before
        that time of messages that were settled before it. How many, and where to go on: None at the end.
        """

    def prune_response_bytes(self, before: datetime, mailbox_ids: Sequence[str], limit: int, now: datetime) -> int:
        """Removes the bytes of up to `limit` responses that were written before that time and are delivered; how many."""

    def unnamed(self, names: Sequence[str]) -> list[str]:
        """Those of these payload names that no row names at this moment, in their order; changes nothing."""

    def sweep(self, names: Sequence[str], discard: Callable[[str], None]) -> int:
        """Calls `discard` for the payload names that no row names, inside a write transaction; how many."""
