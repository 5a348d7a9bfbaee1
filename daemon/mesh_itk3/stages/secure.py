"""The heart of collect: what has been downloaded becomes durable, is recorded, and only then acknowledged.

Several messages take these steps together, for an fsync and a commit cost about as much for ten messages as for one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO, Final, cast

from mesh_itk3 import events
from mesh_itk3.ports import (
    Download,
    Entry,
    Kind,
    LedgerConflict,
    MailboxUnavailable,
    MeshHeaders,
    MessageKey,
    PayloadDraft,
    Received,
    Routes,
    StepRefused,
)
from mesh_itk3.stages.walk import STAGE, Collector, Walk

MOST_MESSAGES: Final = 16
"""Measured with `make bench`: more gain nothing."""
MOST_BYTES: Final = 8 * 1024 * 1024
"""A guess: what is fetched again if the process dies now."""
LONGEST_S: Final = 0.5
"""A guess. A slow line must not keep what is here already from being answered."""
ACKNOWLEDGED_BATCH: Final = 50


@dataclass(frozen=True, slots=True)
class Taken:
    """One message that is downloaded: written, and not durable yet."""

    draft: PayloadDraft
    received: Received
    started: float
    """Monotonic seconds."""


@dataclass(slots=True)
class Batch:
    """What one worker of a walk has taken and not secured yet."""

    taken: list[Taken] = field(default_factory=list)
    taken_ever: int = 0

    def add(self, taken: Taken) -> None:
        """One more."""
        self.taken.append(taken)
        self.taken_ever += 1

    def is_due(self, now: float) -> bool:
        """Whether it is time to secure it; `now` is monotonic."""
        return bool(self.taken) and (
            len(self.taken) >= MOST_MESSAGES
            or sum(each.draft.stored.bytes for each in self.taken) >= MOST_BYTES
            or now - self.taken[0].started >= LONGEST_S
        )

    def empty(self) -> list[Taken]:
        """Takes everything out."""
        taken, self.taken = self.taken, []
        return taken


def take(c: Collector, walk: Walk, batch: Batch, mesh_message_id: str, download: Download, started: float) -> None:
    """Downloads it into the batch, and secures what is there already if that takes long. Raises what the download raises, and
    what `secure` raises; then nothing of this message is left.
    """

    def beat() -> None:
        c.progress()
        if batch.is_due(c.clock.monotonic()):
            secure(c, walk, batch)

    headers = download.headers
    draft = c.payloads.draft(c.payloads.new_name(c.mailbox.mailbox_id), beating(beat, download), headers)
    received = Received(
        key=MessageKey(c.mailbox.mailbox_id, mesh_message_id),
        workflow_id=headers.workflow_id,
        kind=kind_of(headers, c.routes),
        received_at=c.clock.now(),
        sender_mailbox_id=headers.sender_mailbox_id,
        local_id=headers.local_id,
        linked_message_id=headers.linked_message_id,
        payload=draft.stored,
    )
    batch.add(Taken(draft, received, started))


def secure(c: Collector, walk: Walk, batch: Batch) -> None:
    """Durable payloads, durable rows, then acknowledge: the order that nothing may change. Raises StorageFailed,
    LedgerUnavailable, LeaseLost: MESH keeps the messages, and offers them again.
    """
    taken, recorded = batch.empty(), []
    try:
        c.payloads.keep([each.draft for each in taken])
        recorded = _record(c, walk, taken)
    finally:
        walk.let_go(len(taken), collected=len(recorded))
    if recorded:
        c.collected()
    for each in recorded:
        _acknowledge_taken(c, walk, each)


def drop(c: Collector, walk: Walk, batch: Batch) -> None:
    """Nothing more may be made durable now: the messages stay in MESH."""
    taken = batch.empty()
    walk.let_go(len(taken))
    c.payloads.drop([each.draft for each in taken])


def _record(c: Collector, walk: Walk, taken: list[Taken]) -> list[Taken]:
    """Those that are in the ledger now. Where one of them cannot be, the others are recorded one by one."""
    try:
        c.ledger.record_all_received([(each.received, _entry(each)) for each in taken])
    except (LedgerConflict, StepRefused):
        return [each for each in taken if _is_recorded(c, walk, each)]
    return taken


def _is_recorded(c: Collector, walk: Walk, each: Taken) -> bool:
    try:
        c.ledger.record_received(each.received, _entry(each))
    except (LedgerConflict, StepRefused) as error:
        # Certainly not committed: the bytes stay in MESH, and a copy more of them at every poll would fill the disk.
        c.payloads.discard(each.draft.stored.name)
        _say_unrecorded(c, walk, each.received.key, error)
        return False
    return True


def _say_unrecorded(c: Collector, walk: Walk, key: MessageKey, error: Exception) -> None:
    said = {"mailbox_id": key.mailbox_id, "mesh_message_id": key.mesh_message_id, "stage": STAGE}
    if isinstance(error, LedgerConflict):
        events.emit(events.COLLECT_DONE, **said, outcome="collected_by_another")
        return
    c.failed.add(key.mesh_message_id)
    walk.count("failures")
    events.emit(events.COLLECT_FAILED, **said, **events.where(error))


def _entry(each: Taken) -> Entry:
    return Entry(at=each.received.received_at, stage=STAGE, outcome="received")


def _acknowledge_taken(c: Collector, walk: Walk, each: Taken) -> None:
    if not is_held_for_correlate(c, each.received.kind):
        acknowledge(c, walk, each.received.key)
    said = {"mesh_message_id": each.received.key.mesh_message_id, "workflow_id": each.received.workflow_id}
    say_done(c, **said, outcome="received", started=each.started)
    c.progress()


def acknowledge(c: Collector, walk: Walk, key: MessageKey) -> None:
    """A failing acknowledge holds up nothing: MESH lists the message again and the next walk repeats it. Raises
    MailboxUnavailable where MESH asks to be left in peace for a while.
    """
    try:
        c.mailbox.acknowledge(key.mesh_message_id)
    except MailboxUnavailable as error:
        said = {"mailbox_id": key.mailbox_id, "mesh_message_id": key.mesh_message_id, "stage": STAGE}
        walk.count("failures")
        events.emit(events.COLLECT_FAILED, **said, outcome="not_acknowledged", reason=error.reason)
        if error.retry_after_s is not None:  # MESH asks to be left in peace
            raise
        return
    walk.succeed()
    # In batches: losing this note in a crash costs nothing, since an acknowledged message is not listed again.
    if full := walk.note_acknowledged(key, ACKNOWLEDGED_BATCH):
        c.ledger.record_acknowledged(full, c.clock.now())


def say_done(c: Collector, *, mesh_message_id: str, workflow_id: str, outcome: str, started: float) -> None:
    """The canonical event of this stage. Its duration includes the waiting for those that were secured together."""
    events.emit(
        events.COLLECT_DONE,
        mailbox_id=c.mailbox.mailbox_id,
        mesh_message_id=mesh_message_id,
        workflow_id=workflow_id,
        stage=STAGE,
        outcome=outcome,
        duration_ms=round((c.clock.monotonic() - started) * 1000, 1),
    )


def kind_of(headers: MeshHeaders, routes: Routes) -> Kind:
    """What a message is, from its headers alone."""
    if headers.message_type == "REPORT":
        return Kind.REPORT
    return Kind.RESPONSE if routes.is_response_workflow(headers.workflow_id) else Kind.MESSAGE


def is_held_for_correlate(c: Collector, kind: Kind) -> bool:
    """Whether correlate decides if it is acknowledged at all (design rule 7)."""
    return c.leaves_uncorrelated and kind is not Kind.MESSAGE


@dataclass(slots=True)
class _BeatingFile:
    """Tells the watchdog of every block: a large message may take longer than any deadline, a stuck one sends none."""

    file: BinaryIO
    beat: Callable[[], None]

    def write(self, block: bytes) -> int:
        self.beat()
        return self.file.write(block)


def beating(beat: Callable[[], None], download: Download) -> Callable[[BinaryIO], None]:
    """What fills a file from this download, calling `beat` before every block."""
    return lambda file: download.write_to(cast("BinaryIO", _BeatingFile(file, beat)))
