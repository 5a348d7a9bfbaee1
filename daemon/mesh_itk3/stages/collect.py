"""Stage 1: MESH inbox -> durable here -> acknowledged. One walk over one mailbox.

The order is the point: payload bytes durable, ledger row committed, only then acknowledge, because MESH deletes a
message on acknowledge. Nothing of a body is read before its row is committed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import Final, Literal

from mesh_itk3 import events
from mesh_itk3.lifecycle import State
from mesh_itk3.ports import (
    CredentialsRejected,
    Download,
    Entry,
    HeldByAnother,
    LeaseLost,
    LedgerConflict,
    LedgerUnavailable,
    MailboxUnavailable,
    MeshHeaders,
    MessageGone,
    MessageKey,
    MessageRecord,
    Received,
    Routes,
    StorageFailed,
    TruncatedDownload,
)
from mesh_itk3.reasons import Reason
from mesh_itk3.stages.at_once import work_at_once
from mesh_itk3.stages.secure import Batch, acknowledge, beating, drop, is_held_for_correlate, kind_of, say_done, secure, take
from mesh_itk3.stages.storage import spooling_failed, spooling_works
from mesh_itk3.stages.walk import FAULTS_OF_MESH, MAX_FAULTS_IN_A_ROW, STAGE, Collector, Walk

__all__ = ["Collector", "Walk", "collect", "kind_of"]


def collect(c: Collector) -> Walk:
    """Walks the whole inbox once. Raises MailboxUnavailable, CredentialsRejected (the walk ends; what it made durable
    stays), StorageFailed, LedgerUnavailable, LeaseLost (nothing more may be collected now).
    """
    walk = Walk()
    c.check_room()
    try:
        for page in c.mailbox.pages():
            walk.pages += 1
            walk.was_page_full = walk.was_page_full or len(page) >= c.mailbox.page_size
            _collect_page(c, walk, [i for i in dict.fromkeys(page) if i not in walk.seen])
            if walk.was_cut_short:
                break
        else:
            _collect_postponed(c, walk)
            c.failed &= walk.seen
    finally:
        if walk.to_record:
            c.ledger.record_acknowledged(walk.to_record, c.clock.now())
    return walk


def _collect_page(c: Collector, walk: Walk, mesh_message_ids: list[str]) -> None:
    walk.seen.update(mesh_message_ids)
    walk.postponed += [i for i in mesh_message_ids if i in c.failed]
    _collect_these(c, walk, [i for i in mesh_message_ids if i not in c.failed])


def _collect_postponed(c: Collector, walk: Walk) -> None:
    try:
        _collect_these(c, walk, walk.postponed)
    except MailboxUnavailable:
        # Where others came through in this walk, failing once more says nothing of MESH.
        if not walk.has_succeeded:
            raise


def _collect_these(c: Collector, walk: Walk, mesh_message_ids: list[str]) -> None:
    candidates = [i for i in mesh_message_ids if not _is_still_left(c, i)]
    known = c.ledger.known(c.mailbox.mailbox_id, candidates)
    work = partial(_collect_in_turn, c, walk, iter(candidates), known)
    work_at_once(min(c.workers, len(candidates)) or 1, STAGE, work)


def _collect_in_turn(c: Collector, walk: Walk, waiting: Iterator[str], known: Mapping[str, MessageRecord]) -> None:
    """Until none waits. Whatever ends one worker ends the walk: the others finish what they have in hand."""
    batch = Batch()
    try:
        _take_in_turn(c, walk, batch, waiting, known)
    except BaseException as error:
        walk.is_over = True
        if isinstance(error, _NOTHING_MORE_IS_KEPT):
            drop(c, walk, batch)
        raise
    finally:
        # Also after a fault of MESH: what is here need not be fetched again.
        if batch.taken:
            secure(c, walk, batch)


_NOTHING_MORE_IS_KEPT: Final = (StorageFailed, LedgerUnavailable, LeaseLost, HeldByAnother)


def _take_in_turn(c: Collector, walk: Walk, batch: Batch, waiting: Iterator[str], known: Mapping[str, MessageRecord]) -> None:
    while (mesh_message_id := _next(c, walk, waiting)) is not None:
        before = batch.taken_ever
        try:
            _collect_safely(c, walk, batch, mesh_message_id, known.get(mesh_message_id))
        finally:
            if batch.taken_ever == before:
                walk.let_go(1)
        c.progress()
        if batch.is_due(c.clock.monotonic()):
            secure(c, walk, batch)


def _next(c: Collector, walk: Walk, waiting: Iterator[str]) -> str | None:
    with walk.lock:
        if walk.is_over:
            return None
        mesh_message_id = next(waiting, None)
        if mesh_message_id is None:
            return None
        if c.is_stopping() or walk.collected + walk.in_hand >= c.max_messages:
            walk.was_cut_short = walk.is_over = True
            return None
        walk.in_hand += 1
        return mesh_message_id


def _is_still_left(c: Collector, mesh_message_id: str) -> bool:
    """Seen before and left, and its workflow is still not taken here: neither opened nor looked up again."""
    workflow_id = c.left.get(mesh_message_id)
    return workflow_id is not None and c.spool is None and _belonging(c.routes, workflow_id) != "ours"


def _collect_safely(c: Collector, walk: Walk, batch: Batch, mesh_message_id: str, record: MessageRecord | None) -> None:
    """One message; its own failure is not the others'."""
    said = {"mailbox_id": c.mailbox.mailbox_id, "mesh_message_id": mesh_message_id, "stage": STAGE}
    c.failed.discard(mesh_message_id)
    try:
        c.check_room()
        _collect_one(c, walk, batch, mesh_message_id, record)
    except (StorageFailed, LedgerUnavailable, LeaseLost, HeldByAnother, CredentialsRejected):
        raise
    except MessageGone:
        events.emit(events.COLLECT_DONE, **said, outcome="gone")
    except LedgerConflict:
        events.emit(events.COLLECT_DONE, **said, outcome="collected_by_another")
    except (TruncatedDownload, MailboxUnavailable) as error:
        c.failed.add(mesh_message_id)
        _count_failure(walk, error, said)
    except Exception as error:  # noqa: BLE001 - the per-message loop: one message's fault must not hold up the others
        c.failed.add(mesh_message_id)
        walk.count("failures")
        events.emit(events.COLLECT_FAILED, **said, **events.where(error))


def _count_failure(walk: Walk, error: Exception, said: dict[str, str]) -> None:
    event = events.COLLECT_TRUNCATED if isinstance(error, TruncatedDownload) else events.COLLECT_FAILED
    events.emit(event, **said, reason=getattr(error, "reason", None), error_type=type(error).__name__)
    walk.count("failures")
    if not isinstance(error, MailboxUnavailable):
        return
    if error.retry_after_s is not None:  # MESH asks to be left in peace: that is about every message
        raise error
    if error.reason in FAULTS_OF_MESH:
        walk.count("faults_in_a_row")
        if walk.faults_in_a_row >= MAX_FAULTS_IN_A_ROW:
            raise error


# ------------------------------------------------------------------------------------------------ one message


def _collect_one(c: Collector, walk: Walk, batch: Batch, mesh_message_id: str, record: MessageRecord | None) -> None:
    started = c.clock.monotonic()
    if record is not None and not _is_to_be_opened(c, record):
        outcome, workflow_id = _redelivered(c, walk, record), record.workflow_id
    else:
        outcome, workflow_id = _open(c, walk, batch, mesh_message_id, record, started)
    if outcome not in _NOT_DONE:
        say_done(c, mesh_message_id=mesh_message_id, workflow_id=workflow_id, outcome=outcome, started=started)


_NOT_DONE: Final = frozenset({"left", "held", "taken"})
"""Nothing happened; or more is to happen, when the batch is secured."""


def _is_to_be_opened(c: Collector, record: MessageRecord) -> bool:
    """Remembered as foreign, but its handler has been installed since, or a spool configured."""
    if record.state is not State.FOREIGN or record.reason == Reason.FOREIGN_SPOOLED:
        return False
    return c.spool is not None or _belonging(c.routes, record.workflow_id) == "ours"


def _redelivered(c: Collector, walk: Walk, record: MessageRecord) -> str:
    """MESH lists a message that we already hold: our acknowledge was lost, or we died before it. It is acknowledged
    and nothing is sent: this is no duplicate in the sense of ITK3.
    """
    if record.state is State.FOREIGN:
        return _foreign_again(c, walk, record)
    is_lost = record.payload is not None and not c.payloads.is_whole(record.payload.name, record.payload.bytes)
    if is_lost:
        _download_again(c, record)
    if is_held_for_correlate(c, record.kind) and record.state is not State.CORRELATED:
        return "held"
    acknowledge(c, walk, record.key)
    return "downloaded_again" if is_lost else "redelivered"


def _foreign_again(c: Collector, walk: Walk, record: MessageRecord) -> str:
    if record.reason != Reason.FOREIGN_SPOOLED:
        c.left[record.key.mesh_message_id] = record.workflow_id
        return "left"
    # Durable where the other client fetches it, and perhaps fetched: a second copy would be a second message to that client.
    acknowledge(c, walk, record.key)
    return "redelivered"


def _download_again(c: Collector, record: MessageRecord) -> None:
    """Its file is lost: acknowledging now would lose the message, so the bytes come first (design rule 3). Parked for want of
    it, it goes on: what MESH still has needs no person.
    """
    with closing(c.mailbox.open(record.key.mesh_message_id)) as download:
        name = c.payloads.new_name(record.key.mailbox_id)
        payload = c.payloads.write(name, beating(c.progress, download), download.headers)
    entry = Entry(at=c.clock.now(), stage=STAGE, outcome="downloaded_again")
    c.ledger.replace_payload(record.key, payload, entry)
    c.collected()


def _open(
    c: Collector, walk: Walk, batch: Batch, mesh_message_id: str, record: MessageRecord | None, started: float
) -> tuple[str, str]:
    with closing(c.mailbox.open(mesh_message_id)) as download:
        workflow_id = download.headers.workflow_id
        match _belonging(c.routes, workflow_id):
            case "ours":
                take(c, walk, batch, mesh_message_id, download, started)
                outcome = "taken"
            case "unavailable":
                outcome = _leave_unavailable(c, mesh_message_id, workflow_id)
            case _:
                outcome = _foreign(c, walk, mesh_message_id, download, record)
    walk.succeed()
    return outcome, workflow_id


def _belonging(routes: Routes, workflow_id: str) -> Literal["ours", "unavailable", "foreign"]:
    """Whose a workflow is (design rule 7)."""
    if not routes.is_ours(workflow_id):
        return "foreign"
    return "ours" if routes.unavailable(workflow_id) is None else "unavailable"


# ------------------------------------------------------------------------------------------------ not ours


def _leave_unavailable(c: Collector, mesh_message_id: str, workflow_id: str) -> str:
    """Ours, but its handler cannot work now: it stays in MESH, unread, until the handler can. Said once for a workflow: what
    is installed changes with a restart or a reload, which begin with a new collector.
    """
    c.left[mesh_message_id] = workflow_id
    about = (workflow_id, c.routes.unavailable(workflow_id))
    if about in c.waited_for:
        return "left"
    c.waited_for.add(about)
    events.emit(
        events.HANDLER_UNAVAILABLE,
        mailbox_id=c.mailbox.mailbox_id,
        mesh_message_id=mesh_message_id,
        workflow_id=workflow_id,
        reason=c.routes.unavailable(workflow_id),
    )
    return "left"


def _foreign(c: Collector, walk: Walk, mesh_message_id: str, download: Download, record: MessageRecord | None) -> str:
    walk.count("foreign")
    key = MessageKey(c.mailbox.mailbox_id, mesh_message_id)
    if c.spool is None:
        c.left[mesh_message_id] = download.headers.workflow_id
        if record is None:
            _remember_foreign(c, key, download.headers, Reason.FOREIGN_LEFT)
        events.emit(events.FOREIGN_LEFT, mailbox_id=key.mailbox_id, mesh_message_id=mesh_message_id)
        return "left"
    try:
        c.spool.spool(download.headers, beating(c.progress, download))
    except StorageFailed as error:
        # It stays in MESH for the next poll, and ours are collected all the same.
        walk.count("failures")
        spooling_failed(c, error)
        return "left"
    spooling_works(c)
    _remember_foreign(c, key, download.headers, Reason.FOREIGN_SPOOLED)
    acknowledge(c, walk, key)
    return "spooled"


def _remember_foreign(c: Collector, key: MessageKey, headers: MeshHeaders, reason: Reason) -> None:
    now = c.clock.now()
    received = Received(
        key=key,
        workflow_id=headers.workflow_id,
        kind=kind_of(headers, c.routes),
        received_at=now,
        sender_mailbox_id=headers.sender_mailbox_id,
        local_id=None,
        linked_message_id=headers.linked_message_id,
        payload=None,
    )
    entry = Entry(at=now, stage=STAGE, outcome="foreign", reason=reason)
    c.ledger.record_received(received, entry, state=State.FOREIGN)
