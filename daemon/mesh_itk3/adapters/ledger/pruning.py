"""Retention: what rows may let go of, in bounded steps. Every function runs inside the caller's transaction.

A row, its ids and its states are never removed: duplicates and redeliveries are recognised by them for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, exists, func, not_, or_, select, text, update

from mesh_itk3.adapters.ledger.messages import add_entries
from mesh_itk3.adapters.ledger.schema import (
    DELIVERED_WITH_BYTES,
    FINISHED_WITH_PAYLOAD,
    UNSEEN,
    message,
    message_event,
    response,
    response_body,
)
from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import Entry, Expired, MessageKey, Prunable, StoredPayload
from mesh_itk3.retention import PRUNABLE

_later: Final = message.alias("later")
_FAILED: Final = (ResponseState.UNDELIVERED.value, ResponseState.PARKED.value)


def prunable(connection: Connection, expired: Expired, mailbox_ids: Sequence[str]) -> Iterator[Prunable]:
    """What would go now, kind by kind; reads every row that would."""
    for state, before in expired.payloads.items():
        count = select(func.count(), func.coalesce(func.sum(message.c.payload_bytes), 0), func.min(message.c.finished_at))
        row = connection.execute(count.where(*_may_let_go(state, before, mailbox_ids))).one()
        if row[0]:
            yield Prunable("payloads", row[0], int(row[1]), row[2], state)
    if expired.events is not None:
        count = select(func.count(), func.min(message_event.c.at)).select_from(_events_of_messages())
        row = connection.execute(count.where(*_may_go(expired.events, mailbox_ids))).one()
        if row[0]:
            yield Prunable("events", row[0], None, row[1])
    if expired.response_bytes is not None:
        bodies = response.join(response_body, response_body.c.local_id == response.c.local_id)
        size = func.coalesce(func.sum(func.length(response_body.c.body)), 0)
        count = select(func.count(), size, func.min(response.c.created_at)).select_from(bodies)
        row = connection.execute(count.where(*_is_delivered(expired.response_bytes, mailbox_ids))).one()
        if row[0]:
            yield Prunable("response_bytes", row[0], int(row[1]), row[2])


def let_go_of_payloads(
    connection: Connection, state: State, before: datetime, mailbox_ids: Sequence[str], limit: int, entry: Entry
) -> list[StoredPayload]:
    columns = (message.c.sequence, message.c.mailbox_id, message.c.mesh_message_id, message.c.payload_name)
    query = select(*columns, message.c.payload_bytes, message.c.payload_sha256)
    query = query.where(*_may_let_go(state, before, mailbox_ids)).order_by(message.c.finished_at).limit(limit)
    found = connection.execute(query.with_for_update(skip_locked=True)).all()
    if found:
        sequences = [row.sequence for row in found]
        gone = update(message).where(message.c.sequence.in_(sequences)).values(payload_name=None, payload_pruned_at=entry.at)
        connection.execute(gone)
        add_entries(connection, [(MessageKey(row.mailbox_id, row.mesh_message_id), entry) for row in found])
    return [StoredPayload(row.payload_name, row.payload_bytes, row.payload_sha256) for row in found]


def prune_events(
    connection: Connection, before: datetime, mailbox_ids: Sequence[str], after: int, limit: int, now: datetime
) -> tuple[int, int | None]:
    """In the order of the table, which is that of time, so that nothing has to be indexed by time for this."""
    found = connection.execute(
        select(message_event.c.sequence, message_event.c.at, message_event.c.mailbox_id, message_event.c.mesh_message_id)
        .where(message_event.c.sequence > after)
        .order_by(message_event.c.sequence)
        .limit(limit)
    ).all()
    old = [row for row in found if row.at < before]
    settled = _settled(connection, sorted({row.mesh_message_id for row in old}), before, mailbox_ids)
    gone = [row for row in old if (row.mailbox_id, row.mesh_message_id) in settled]
    if gone:
        connection.execute(delete(message_event).where(message_event.c.sequence.in_([row.sequence for row in gone])))
        of = sorted({settled[row.mailbox_id, row.mesh_message_id] for row in gone})
        connection.execute(update(message).where(message.c.sequence.in_(of)).values(events_pruned_at=now))
    is_end = len(found) < limit or found[-1].at >= before
    return len(gone), None if is_end else found[-1].sequence


def _settled(
    connection: Connection, mesh_message_ids: Sequence[str], before: datetime, mailbox_ids: Sequence[str]
) -> dict[tuple[str, str], int]:
    """Mailbox and MESH message id -> row. Asked by id and not joined: the engine would begin with every old message."""
    columns = (message.c.mailbox_id, message.c.mesh_message_id, message.c.sequence)
    query = select(*columns).where(message.c.mesh_message_id.in_(mesh_message_ids), *_is_settled(before, mailbox_ids))
    return {(row.mailbox_id, row.mesh_message_id): row.sequence for row in connection.execute(query)}


def prune_response_bytes(
    connection: Connection, before: datetime, mailbox_ids: Sequence[str], limit: int, now: datetime
) -> int:
    query = select(response.c.local_id).where(*_is_delivered(before, mailbox_ids)).order_by(response.c.created_at).limit(limit)
    found = connection.execute(query.with_for_update(skip_locked=True)).scalars().all()
    if found:
        connection.execute(delete(response_body).where(response_body.c.local_id.in_(found)))
        connection.execute(update(response).where(response.c.local_id.in_(found)).values(body_pruned_at=now))
    return len(found)


# Conditions of indexes stand as text, word for word: see `schema`. No other table here has columns of these names, and in a
# subquery they mean its own.


def _may_let_go(state: State, before: datetime, mailbox_ids: Sequence[str]) -> list[Any]:
    return [text(FINISHED_WITH_PAYLOAD), message.c.state == state.value, *_is_settled(before, mailbox_ids)]


def _may_go(before: datetime, mailbox_ids: Sequence[str]) -> list[Any]:
    return [message_event.c.at < before, *_is_settled(before, mailbox_ids)]


def _is_settled(before: datetime, mailbox_ids: Sequence[str]) -> list[Any]:
    """Finished, acknowledged and answered before that time, and nothing about it waits for anybody."""
    return [
        message.c.state.in_([state.value for state in PRUNABLE]),
        message.c.finished_at < before,
        _is_of(message, mailbox_ids),
        message.c.claimed_at.is_(None),
        # One that was never acknowledged may come again; so long ago MESH has given it up.
        func.coalesce(message.c.acknowledged_at, message.c.received_at) < before,
        text(f"NOT ({UNSEEN})"),
        message.c.mesh_message_id.not_in(_compared_with()),
        not_(_has_an_open_answer()),
    ]


def _is_of(table: Table, mailbox_ids: Sequence[str]) -> ColumnElement[bool]:
    """In a form that no index answers: SQLite would take it for the narrower condition, and read all of a mailbox."""
    return func.coalesce(table.c.mailbox_id, "").in_(mailbox_ids)


def _compared_with() -> Any:
    """A duplicate whose bytes differ stands in `status`: a person compares it with its first."""
    return select(_later.c.duplicate_of).where(text(UNSEEN), _later.c.duplicate_of.is_not(None))


def _has_an_open_answer() -> ColumnElement[bool]:
    """Owed, on its way, or gone wrong and seen by nobody."""
    unseen = and_(response.c.seen_at.is_(None), or_(response.c.raised_at.is_not(None), response.c.state.in_(_FAILED)))
    on_its_way = and_(
        response.c.state == ResponseState.SENT.value, or_(response.c.raised_at.is_(None), response.c.seen_at.is_(None))
    )
    return exists().where(
        response.c.answered_mesh_message_id == message.c.mesh_message_id,
        response.c.mailbox_id == message.c.mailbox_id,
        or_(response.c.state == ResponseState.OWED.value, on_its_way, unseen),
    )


def _is_delivered(before: datetime, mailbox_ids: Sequence[str]) -> list[Any]:
    return [
        text(DELIVERED_WITH_BYTES),
        response.c.created_at < before,
        _is_of(response, mailbox_ids),
        or_(response.c.raised_at.is_(None), response.c.seen_at.is_not(None)),
    ]


def _events_of_messages() -> Any:
    same = (message.c.mesh_message_id == message_event.c.mesh_message_id) & (message.c.mailbox_id == message_event.c.mailbox_id)
    return message_event.join(message, same)
