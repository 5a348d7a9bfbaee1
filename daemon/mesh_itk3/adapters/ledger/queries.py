"""What people and tools ask: find, list, timeline, counts. Every function runs inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Connection, Table, bindparam, exists, func, or_, select, text, union_all, update

from mesh_itk3.adapters.ledger import rows
from mesh_itk3.adapters.ledger.messages import is_this_message, this_message
from mesh_itk3.adapters.ledger.schema import (
    OWED,
    WAITING,
    id_key,
    local_id_start,
    message,
    message_event,
    response,
)
from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import Entry, MessageKey, MessageRecord, Overview, ResponseRecord

Page = list[tuple[MessageRecord, tuple[ResponseRecord, ...]]]

EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNFINISHED: Final = (State.RECEIVED.value, State.ACCEPTED.value)
_WAITING_STATES: Final = frozenset({State.RECEIVED, State.ACCEPTED, State.AWAITING_DECISION, State.PARKED})
_OPEN_RESPONSES: Final = tuple(state.value for state in ResponseState if state is not ResponseState.DELIVERED)


def get(connection: Connection, key: MessageKey) -> MessageRecord | None:
    row = connection.execute(select(message).where(is_this_message), this_message(key)).first()
    return None if row is None else rows.message_record(row)


def find(connection: Connection, identifier: str) -> list[MessageRecord]:
    """By any id of the message (of its local id, the first 64 characters), or of a response of ours to it."""
    key = id_key(identifier)
    of_message = select(message.c.sequence)
    answered = select(message.c.sequence).join(
        response,
        (message.c.mesh_message_id == response.c.answered_mesh_message_id) & (message.c.mailbox_id == response.c.mailbox_id),
    )
    ways = union_all(
        of_message.where(message.c.mesh_message_id == identifier),
        of_message.where(message.c.message_header_id_key == key),
        of_message.where(local_id_start == identifier[:64]),
        answered.where(response.c.local_id == identifier),
        answered.where(response.c.mesh_message_id == identifier),
        answered.where(response.c.message_header_id_key == key),
    )
    query = select(message).where(message.c.sequence.in_(ways)).order_by(message.c.sequence)
    return [rows.message_record(row) for row in connection.execute(query)]


def page(
    connection: Connection, states: Sequence[State], mailbox_ids: Sequence[str], before: int | None, size: int
) -> tuple[Page, int | None]:
    """Up to `size` messages newest first, and where the next page begins: None after the last."""
    query = select(message).limit(size)
    if states and _WAITING_STATES.issuperset(states):
        # Few, wherever they stand: found by their state and sorted. `+ 0` keeps SQLite from reading the whole table backwards.
        mailbox_ids = mailbox_ids or mailboxes(connection)
        query = query.order_by((message.c.sequence + 0).desc())
    else:
        query = query.order_by(message.c.sequence.desc())
    if states:
        query = query.where(message.c.state.in_([state.value for state in states]))
    if mailbox_ids:
        query = query.where(message.c.mailbox_id.in_(mailbox_ids))
    if before is not None:
        query = query.where(message.c.sequence < before)
    found = connection.execute(query).all()
    records = [rows.message_record(row) for row in found]
    answers = _responses_of(connection, [record.key for record in records])
    return [(record, tuple(answers[record.key])) for record in records], found[-1].sequence if len(found) == size else None


def responses_to(connection: Connection, key: MessageKey) -> tuple[ResponseRecord, ...]:
    return tuple(_responses_of(connection, [key])[key])


def timeline(connection: Connection, key: MessageKey) -> list[Entry]:
    columns = [column for column in message_event.columns if column.name not in ("sequence", "mailbox_id", "mesh_message_id")]
    query = select(*columns).where(
        message_event.c.mesh_message_id == key.mesh_message_id, message_event.c.mailbox_id == key.mailbox_id
    )
    return [rows.entry_record(row) for row in connection.execute(query.order_by(message_event.c.sequence))]


def mailboxes(connection: Connection) -> list[str]:
    """Every mailbox that has a message: one step down the index for each, however many messages they have."""
    found: list[str] = []
    first = func.min(message.c.mailbox_id)
    mailbox_id = connection.execute(select(first)).scalar()
    while mailbox_id is not None:
        found.append(mailbox_id)
        mailbox_id = connection.execute(select(first).where(message.c.mailbox_id > mailbox_id)).scalar()
    return found


def overview(connection: Connection, *, is_whole: bool) -> Overview:
    """Not `is_whole`: of what waits only, which takes as long as there is much of it, and not as long as the ledger."""
    of_messages = select(message.c.mailbox_id, message.c.state, func.count(), func.min(message.c.received_at))
    of_responses = select(response.c.mailbox_id, response.c.state, func.count())
    if not is_whole:
        here = mailboxes(connection)
        of_messages = of_messages.where(message.c.mailbox_id.in_(here), message.c.state.in_(sorted(_WAITING_STATES)))
        of_responses = of_responses.where(response.c.mailbox_id.in_(here), response.c.state.in_(_OPEN_RESPONSES))
    groups = connection.execute(of_messages.group_by(message.c.mailbox_id, message.c.state)).all()
    responses = connection.execute(of_responses.group_by(response.c.mailbox_id, response.c.state))
    return Overview(
        messages={(mailbox_id, State(state)): count for mailbox_id, state, count, _ in groups},
        responses={(mailbox_id, ResponseState(state)): count for mailbox_id, state, count in responses},
        oldest_waiting={
            (mailbox_id, State(state)): oldest for mailbox_id, state, _, oldest in groups if State(state) in _WAITING_STATES
        },
    )


def has_work(connection: Connection, mailbox_ids: Sequence[str]) -> bool:
    unfinished = exists().where(message.c.mailbox_id.in_(mailbox_ids), message.c.state.in_(_UNFINISHED))
    owed = exists().where(response.c.mailbox_id.in_(mailbox_ids), text(f"response.{OWED}"))
    return bool(connection.execute(select(or_(unfinished, owed))).scalar())


def make_all_due(connection: Connection, mailbox_ids: Sequence[str]) -> None:
    waiting = message.c.mailbox_id.in_(mailbox_ids) & message.c.state.in_(_UNFINISHED)
    connection.execute(update(message).where(waiting, text(WAITING)).values(due_at=None))
    connection.execute(update(response).where(response.c.mailbox_id.in_(mailbox_ids), text(OWED)).values(due_at=None))


def move_back(connection: Connection, mailbox_ids: Sequence[str], by: timedelta) -> None:
    _move_back(connection, message, message.c.mailbox_id.in_(mailbox_ids) & text(WAITING), by)
    _move_back(connection, response, response.c.mailbox_id.in_(mailbox_ids) & text(OWED) & response.c.due_at.is_not(None), by)


def _move_back(connection: Connection, table: Table, is_waiting: ColumnElement[bool], by: timedelta) -> None:
    # Reckoned here: SQLite holds times as text, and its own arithmetic loses the microseconds.
    waiting = connection.execute(select(table.c.sequence, table.c.due_at).where(is_waiting).with_for_update()).all()
    if waiting:
        moved = update(table).where(table.c.sequence == bindparam("b_sequence")).values(due_at=bindparam("b_due_at"))
        # No further back than clocks begin: one that was thousands of years ahead would lead to before the year 1.
        earlier = [(row.sequence, row.due_at - min(by, row.due_at - EARLIEST)) for row in waiting]
        connection.execute(moved, [{"b_sequence": sequence, "b_due_at": due_at} for sequence, due_at in earlier])


def unnamed_payloads(connection: Connection, names: Sequence[str]) -> list[str]:
    """Those of these names that no row names, in their order."""
    in_use = set(connection.execute(select(message.c.payload_name).where(message.c.payload_name.in_(names))).scalars())
    return [name for name in names if name not in in_use]


def _responses_of(connection: Connection, keys: Sequence[MessageKey]) -> dict[MessageKey, list[ResponseRecord]]:
    """One query for a whole page, oldest first within a message; bodies stay where they are."""
    answers: dict[MessageKey, list[ResponseRecord]] = {key: [] for key in keys}
    # By one column, and sorted here: SQLite reads the whole table for a list of pairs, or to save itself the sorting.
    ids = {key.mesh_message_id for key in keys}
    found = connection.execute(select(response).where(response.c.answered_mesh_message_id.in_(ids))).all()
    for row in sorted(found, key=lambda row: row.sequence):
        record = rows.response_record(row)
        if record.key in answers:
            answers[record.key].append(record)
    return answers
