"""After a restore: letters that were acknowledged since the backup are in the payload store and in no row. They become rows.

MESH has deleted them, so these files are the only copies. Their sidecars say what the headers said; they are judged and filed
like any message that has just come. A ledger that is gone may have answered them: MESH is asked before anything is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from typing import Final

from mesh_itk3.lifecycle import State
from mesh_itk3.ports import (
    Entry,
    Ledger,
    MeshHeaders,
    MessageKey,
    MessageRecord,
    PayloadMissing,
    PayloadStore,
    Received,
    Routes,
    StoredPayload,
)
from mesh_itk3.stages.secure import kind_of
from mesh_itk3.stages.track import STOP_TRACKING_AFTER

STAGE: Final = "restore"
LOOKED_AT: Final = 200
"""Messages among which one should have its bytes here."""
MESH_REMEMBERS: Final = STOP_TRACKING_AFTER
"""Of a message that came longer ago nobody can say any more whether it was answered."""
EVER: Final = datetime.min.replace(tzinfo=UTC)
_EVERY_FILE: Final = datetime.max.replace(tzinfo=UTC)
"""Nobody collects meanwhile: no file is too young, whatever the clock of this machine has been."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """How many files of one mailbox."""

    received: int = 0
    """Messages that the ledger did not know."""
    found_again: int = 0
    """Messages that it knew, and whose own file is not there: this one stands in for it."""
    unexplained: int = 0
    """Files that do not say which message they are. They are kept."""
    older: int = 0
    """Files of messages that the ledger does not know and that came too long ago. They are kept, too."""

    @property
    def messages(self) -> int:
        """Those that became rows, or have their bytes again."""
        return self.received + self.found_again


@dataclass(frozen=True, slots=True)
class Orphan:
    """A whole file that no row names."""

    headers: MeshHeaders
    payload: StoredPayload
    written_at: datetime


@dataclass(frozen=True, slots=True)
class TakenUp:
    """What became of a ledger that was restored, or begun anew beside what an older one has left."""

    adopted: Mapping[str, Adopted]
    """By mailbox."""
    owed: int
    """Responses owed, each of which is looked up in MESH before it is sent."""

    @property
    def total(self) -> Adopted:
        """Over all mailboxes."""
        counts = [astuple(adopted) for adopted in self.adopted.values()]
        return Adopted(*map(sum, zip(*counts, strict=True)))


def _nothing() -> None:
    """Nobody waits for a sign of life."""


def take_up(
    ledger: Ledger,
    payloads: PayloadStore,
    routes: Routes,
    mailbox_ids: Sequence[str],
    now: datetime,
    *,
    who: str,
    since: datetime = EVER,
    progress: Callable[[], None] = _nothing,
) -> TakenUp:
    """`adopt` for each mailbox, and doubt of every answer: that none is given twice. Only while nobody collects. Safe to
    repeat, and killed anywhere: the doubt is durable before the first letter. Raises as `adopt`; then nothing is changed
    where the payload store is away.
    """
    for mailbox_id in mailbox_ids:
        _require_store(ledger, payloads, mailbox_id)
    owed = ledger.mark_restored(mailbox_ids, now)
    adopted = {one: adopt(ledger, payloads, routes, one, now, who=who, since=since, progress=progress) for one in mailbox_ids}
    ledger.end_restoring(mailbox_ids)
    return TakenUp(adopted, owed)


def adopt(
    ledger: Ledger,
    payloads: PayloadStore,
    routes: Routes,
    mailbox_id: str,
    now: datetime,
    *,
    who: str,
    since: datetime = EVER,
    progress: Callable[[], None] = _nothing,
) -> Adopted:
    """Only while nobody collects into the ledger. Safe to repeat. Raises LedgerUnavailable, StorageFailed: also where the
    payload store is away, for then nothing can be said of what is in it. What came before `since` is left where it is and
    counted. `progress` is called for each file.
    """
    _require_store(ledger, payloads, mailbox_id)
    unnamed = ledger.unnamed(sorted(payloads.orphans(_EVERY_FILE, mailbox_id)))
    whole = [name for name in unnamed if not name.rpartition("/")[2].startswith(".")]
    found = list(_orphans(payloads, whole, progress))
    orphans = _newest_of_each(found)
    known = ledger.known(mailbox_id, list(orphans))
    received = found_again = older = 0
    for mesh_message_id, orphan in orphans.items():
        progress()
        key, record = MessageKey(mailbox_id, mesh_message_id), known.get(mesh_message_id)
        if record is not None and record.state is not State.FOREIGN:
            if _is_lost(payloads, record):
                ledger.replace_payload(key, orphan.payload, Entry(now, STAGE, "payload_found", who=who))
                found_again += 1
        elif orphan.written_at < since:
            older += 1
        else:
            ledger.record_received(_received(key, orphan, routes), Entry(now, STAGE, "adopted", who=who))
            received += 1
    return Adopted(received, found_again, unexplained=len(whole) - len(found), older=older)


def _require_store(ledger: Ledger, payloads: PayloadStore, mailbox_id: str) -> None:
    """An empty mount point looks like a store without orphans; asked for a file of its own, it says that it is away."""
    newest = (record.payload for record, _ in ledger.messages(mailbox_ids=(mailbox_id,), limit=LOOKED_AT) if record.payload)
    if (payload := next(newest, None)) is not None:
        with suppress(PayloadMissing):
            payloads.headers(payload.name)


def _orphans(payloads: PayloadStore, names: Iterable[str], progress: Callable[[], None]) -> Iterator[Orphan]:
    """Without those whose file or sidecar is not there, or whose sidecar says nothing."""
    for name in names:
        progress()
        with suppress(PayloadMissing):
            headers = payloads.headers(name)
            yield Orphan(headers, *payloads.look_at(name))


def _newest_of_each(orphans: Iterable[Orphan]) -> dict[str, Orphan]:
    """A message that was downloaded twice has two files, and both are whole. In the order in which they came."""
    in_order = sorted(orphans, key=lambda orphan: orphan.written_at)
    return {orphan.headers.mesh_message_id: orphan for orphan in in_order}


def _is_lost(payloads: PayloadStore, record: MessageRecord) -> bool:
    """Not one that retention has let go of: its file is superfluous, and is swept."""
    return record.payload is not None and not payloads.is_whole(record.payload.name, record.payload.bytes)


def _received(key: MessageKey, orphan: Orphan, routes: Routes) -> Received:
    headers = orphan.headers
    return Received(
        key=key,
        workflow_id=headers.workflow_id,
        kind=kind_of(headers, routes),
        # To the second when it came: a letter that was filed already is found under the same day.
        received_at=orphan.written_at,
        sender_mailbox_id=headers.sender_mailbox_id,
        local_id=headers.local_id,
        linked_message_id=headers.linked_message_id,
        payload=orphan.payload,
    )
