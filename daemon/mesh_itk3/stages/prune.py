"""Retention, step by step: what the practice no longer wants kept goes, a little at a time.

The row lets go of its payload in one transaction, and then the file is removed: a crash between the two leaves a file that
no row names, of a message that says it is pruned, and the sweep takes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from mesh_itk3.lifecycle import State
from mesh_itk3.ports import Entry, Expired, MailboxStates, PayloadStore, Pruning
from mesh_itk3.retention import Retention, counts_from

STAGE: Final = "prune"
PAYLOADS_AT_ONCE: Final = 100
"""Two files each. A guess at what a slow disk removes in well under a second: the ledger's writers wait meanwhile."""
ROWS_AT_ONCE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one step has removed."""

    kind: Literal["payloads", "events", "response_bytes"]
    count: int
    bytes: int | None = None
    state: State | None = None
    after: int | None = None
    """Of timelines: where to go on. None: they have been looked through to their end."""


def counted_from(ledger: MailboxStates, mailbox_ids: Iterable[str], now: datetime) -> datetime | None:
    """What the days of retention are counted from (`retention.counts_from`), by what the ledger knows of these mailboxes."""
    return counts_from(now, [ledger.mailbox_state(each).answered_at for each in mailbox_ids])


def expired(retention: Retention, now: datetime) -> Expired:
    """What the rules let go of at this time."""
    return Expired(
        payloads=retention.payloads_before(now),
        events=retention.events_before(now),
        response_bytes=retention.response_bytes_before(now),
    )


def prune(
    ledger: Pruning, payloads: PayloadStore, gone: Expired, mailbox_ids: Sequence[str], now: datetime, *, events_after: int = 0
) -> Iterator[Pruned]:
    """One bounded step for each `next`; whoever stops asking leaves the rest for another time, and goes on in the timelines
    `events_after` the last step. Raises LedgerUnavailable, LeaseLost, StorageFailed.
    """
    for state, before in gone.payloads.items():
        yield from _payloads(ledger, payloads, state, before, mailbox_ids, Entry(now, STAGE, "payload_pruned"))
    if gone.response_bytes is not None:
        while count := ledger.prune_response_bytes(gone.response_bytes, mailbox_ids, ROWS_AT_ONCE, now):
            yield Pruned("response_bytes", count)
    # Last: the lines that this run has written are younger than anything that goes.
    after: int | None = events_after
    while gone.events is not None and after is not None:
        count, after = ledger.prune_events(gone.events, mailbox_ids, after, ROWS_AT_ONCE, now)
        yield Pruned("events", count, after=after)


def _payloads(
    ledger: Pruning, payloads: PayloadStore, state: State, before: datetime, mailbox_ids: Sequence[str], entry: Entry
) -> Iterator[Pruned]:
    while released := ledger.let_go_of_payloads(state, before, mailbox_ids, PAYLOADS_AT_ONCE, entry):
        # Committed. Through `sweep`, which looks again that no row names a file before it goes.
        ledger.sweep([payload.name for payload in released], payloads.discard)
        yield Pruned("payloads", len(released), sum(payload.bytes for payload in released), state)
