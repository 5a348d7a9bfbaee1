"""Housekeeping: payload files that a crash between payload and ledger left behind (design rule 3).

That no row names a file is not enough to remove it: the ledger may be a new one, or restored from a copy, or another
daemon's may stand beside it over the same directory. Removed is only what was never finished, and what the ledger holds
a second time: after the crash MESH has delivered the same message again; or whose row says that retention let go of it,
and the process died before the file was gone. Everything else may be the only copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mesh_itk3.lifecycle import State
from mesh_itk3.ports import Ledger, MessageRecord, PayloadMissing, PayloadStore, Records


@dataclass(frozen=True, slots=True)
class Swept:
    """How many files."""

    removed: int = 0
    unexplained: int = 0
    """Named by no row, and of no message that the ledger holds: kept."""


def sweep(ledger: Ledger, payloads: PayloadStore, mailbox_id: str, older_than: datetime) -> Swept:
    """Sweeps one mailbox's payloads; only for a mailbox whose lease is held. Raises LedgerUnavailable, StorageFailed."""
    unnamed = ledger.unnamed(list(payloads.orphans(older_than, mailbox_id)))
    superfluous = _superfluous(ledger, payloads, mailbox_id, unnamed)
    return Swept(ledger.sweep(superfluous, payloads.discard), len(unnamed) - len(superfluous))


def has_kept_payloads(ledger: Records, mailbox_id: str) -> bool:
    """Whether any message of this mailbox has its bytes in the payload store, or had."""
    kept = [state for state in State if state is not State.FOREIGN]
    return any(True for _ in ledger.messages(states=kept, mailbox_ids=(mailbox_id,), limit=1))


def _superfluous(ledger: Ledger, payloads: PayloadStore, mailbox_id: str, names: Sequence[str]) -> list[str]:
    message_of = {name: _mesh_message_id(payloads, name) for name in names}
    known = ledger.known(mailbox_id, [mesh_message_id for mesh_message_id in message_of.values() if mesh_message_id])
    return [
        name
        for name, mesh_message_id in message_of.items()
        if _is_unfinished(name) or (mesh_message_id and _is_held(payloads, known.get(mesh_message_id)))
    ]


def _is_unfinished(name: str) -> bool:
    return name.rpartition("/")[2].startswith(".")


def _mesh_message_id(payloads: PayloadStore, name: str) -> str | None:
    """Which message a file holds; None where its sidecar does not say."""
    try:
        return payloads.headers(name).mesh_message_id
    except PayloadMissing:
        return None


def _is_held(payloads: PayloadStore, record: MessageRecord | None) -> bool:
    """Whether the message is there, whole, in a file of the ledger's own; or is not wanted any more."""
    if record is not None and record.pruned is not None:
        return True
    return record is not None and record.payload is not None and payloads.is_whole(record.payload.name, record.payload.bytes)
