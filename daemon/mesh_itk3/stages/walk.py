"""What one walk over an inbox is given, what it remembers of the walks before, and what it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Final, Literal

from mesh_itk3.ports import Arrivals, Clock, Mailbox, MessageKey, PayloadStore, Routes, Spool

STAGE: Final = "collect"
MAX_FAULTS_IN_A_ROW: Final = 3
"""Faults of MESH one after another, with no success between, before the walk is given up."""
FAULTS_OF_MESH: Final = frozenset({"connection", "timeout", "tls", "closed", "http_429", "http_502", "http_503", "http_504"})
"""What says that MESH is ill. Any other fault (`bad_encoding`, `junk_range`, `http_500` …) may be one message's own, and
stays with it at every poll: counted, a few such messages would hide the whole inbox.
"""


@dataclass(slots=True)
class Collector:
    """One mailbox being collected. Keep it between walks: it remembers what was left in MESH."""

    mailbox: Mailbox
    ledger: Arrivals
    payloads: PayloadStore
    routes: Routes
    clock: Clock
    spool: Spool | None = None
    """Where foreign messages go; None leaves them in MESH."""
    leaves_uncorrelated: bool = False
    """Responses and reports that answer nothing of ours stay in MESH for whoever else reads this mailbox."""
    workers: int = 1
    """Messages fetched at the same time. Most of collect is waiting, for MESH and for the disk."""
    max_messages: int = 2_000
    """Collected in one walk at most; the next walk follows at once, so that stages and mailboxes share the machine."""
    collected: Callable[[], None] = lambda: None
    """Called after each batch that is durable: the next stages need not wait for the end of the walk."""
    progress: Callable[[], None] = lambda: None
    is_stopping: Callable[[], bool] = lambda: False
    left: dict[str, str] = field(default_factory=dict)
    """Ids seen on workflows that we do not take now, with their workflow: not opened again while that holds."""
    check_room: Callable[[], None] = lambda: None
    """Asked before a walk and before each message; raises StorageFailed where too little of the disk is free."""
    storage_problem: str | None = None
    """What the disk refused at the last poll."""
    is_spool_failing: bool = False
    lock: Lock = field(default_factory=Lock)
    """Held while `is_spool_failing` changes: several workers share a collector."""
    waited_for: set[tuple[str, str | None]] = field(default_factory=set)
    """Workflows whose handler cannot work, and why: that has been said."""
    walked_at: float | None = None
    """When the last walk began, on the monotonic clock; None: none yet."""
    failed: set[str] = field(default_factory=set)
    """Ids that could not be fetched at the last try. They come last in a walk: a slow one delays no other."""


@dataclass(slots=True)
class Walk:
    """What one walk did."""

    in_hand: int = 0
    """Messages being looked at now, or downloaded and not recorded yet."""
    collected: int = 0
    acknowledged: int = 0
    foreign: int = 0
    pages: int = 0
    was_page_full: bool = False
    was_cut_short: bool = False
    """More may be waiting: the walk ended at `max_messages`, or its time to stop had come."""
    failures: int = 0
    """Messages that could not be collected or acknowledged; they stay in MESH."""
    faults_in_a_row: int = 0
    """Faults of MESH since it last did something whole."""
    has_succeeded: bool = False
    is_over: bool = False
    """No worker begins another message."""
    seen: set[str] = field(default_factory=set)
    postponed: list[str] = field(default_factory=list)
    to_record: list[MessageKey] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)
    """Held while the counts change: several workers share a walk."""

    def succeed(self) -> None:
        """MESH has handed over a message, or taken an acknowledge."""
        self.faults_in_a_row = 0
        self.has_succeeded = True

    def let_go(self, messages: int, *, collected: int = 0) -> None:
        """So many are no longer in hand, some of them because they are recorded now."""
        with self.lock:
            self.in_hand -= messages
            self.collected += collected

    def count(self, what: Literal["acknowledged", "foreign", "failures", "faults_in_a_row"]) -> None:
        """One more of them."""
        with self.lock:
            setattr(self, what, getattr(self, what) + 1)

    def note_acknowledged(self, key: MessageKey, batch: int) -> list[MessageKey]:
        """One more to be recorded; all of them once there are so many, else none."""
        with self.lock:
            self.acknowledged += 1
            self.to_record.append(key)
            if len(self.to_record) < batch:
                return []
            full, self.to_record = self.to_record, []
            return full

    @property
    def should_repeat(self) -> bool:
        """Whether to walk again at once: only if a page was full and something was acknowledged (MESH allows one poll
        in five minutes otherwise, and a page full of messages that stay would repeat for ever).
        """
        return self.acknowledged > 0 and (self.was_page_full or self.was_cut_short)
