"""What is still owed to somebody, and what a person has yet to see. Every function runs inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Table, and_, or_, select, text, true, update

from mesh_itk3.adapters.ledger import rows
from mesh_itk3.adapters.ledger.messages import add_entries
from mesh_itk3.adapters.ledger.queries import mailboxes
from mesh_itk3.adapters.ledger.schema import OWED, RAISED, SENT, UNSEEN, message, response
from mesh_itk3.lifecycle import State
from mesh_itk3.ports import Entry, MessageKey, MessageRecord, ResponseRecord, Unseen


def waiting(connection: Connection, states: Sequence[State], mailbox_ids: Sequence[str]) -> list[MessageRecord]:
    is_waiting = message.c.state.in_([state.value for state in states])
    # The index begins with the mailbox: without one it would be read whole.
    mailbox_ids = mailbox_ids or mailboxes(connection)
    found = _messages(connection, is_waiting & _is_of(message, mailbox_ids))
    return sorted(found, key=lambda record: record.received_at)


def outstanding_responses(connection: Connection, mailbox_ids: Sequence[str]) -> list[ResponseRecord]:
    # A raised one that a person has seen is settled, whatever its state.
    is_open = or_(response.c.raised_at.is_(None), response.c.seen_at.is_(None))
    is_of = _is_of(response, mailbox_ids)
    return _responses(connection, text(OWED) & is_of, text(SENT) & is_open & is_of, text(RAISED) & is_of)


def overdue_responses(
    connection: Connection, mailbox_ids: Sequence[str], sent_before: datetime, limit: int, noted_after: datetime | None
) -> list[ResponseRecord]:
    is_meant = and_(response.c.sent_at < sent_before, response.c.raised_at.is_(None))
    if noted_after is not None:
        is_meant = or_(is_meant, response.c.sent_at > noted_after, response.c.tracked_at > noted_after)
    query = select(response).where(text(SENT), is_meant, _is_of(response, mailbox_ids))
    query = query.order_by(response.c.sent_at).limit(limit)
    return [rows.response_record(row) for row in connection.execute(query)]


def unseen(connection: Connection, mailbox_ids: Sequence[str]) -> Unseen:
    return Unseen(
        messages=tuple(_messages(connection, text(UNSEEN) & _is_of(message, mailbox_ids))),
        responses=tuple(_responses(connection, text(RAISED) & _is_of(response, mailbox_ids))),
    )


def mark_seen(connection: Connection, key: MessageKey, entry: Entry) -> int:
    is_message = (message.c.mesh_message_id == key.mesh_message_id) & (message.c.mailbox_id == key.mailbox_id)
    answers = (response.c.answered_mesh_message_id == key.mesh_message_id) & (response.c.mailbox_id == key.mailbox_id)
    known = update(message).where(is_message, text(UNSEEN)).values(seen_at=entry.at, seen_by=entry.who)
    settled = connection.execute(known).rowcount
    settled += connection.execute(update(response).where(answers, text(RAISED)).values(seen_at=entry.at)).rowcount
    if settled:
        add_entries(connection, [(key, entry)])
    return settled


def answers_to(connection: Connection, local_ids: Sequence[str]) -> list[MessageRecord]:
    return _messages(connection, message.c.answers_local_id.in_(local_ids))


def _is_of(table: Table, mailbox_ids: Sequence[str]) -> ColumnElement[bool]:
    """None named: all."""
    return table.c.mailbox_id.in_(mailbox_ids) if mailbox_ids else true()


# Sorted here and not by the engine: to save itself the sorting, SQLite would read the whole table in its own order.


def _messages(connection: Connection, which: ColumnElement[bool]) -> list[MessageRecord]:
    found = connection.execute(select(message).where(which)).all()
    return [rows.message_record(row) for row in sorted(found, key=lambda row: row.sequence)]


def _responses(connection: Connection, *ways: ColumnElement[bool]) -> list[ResponseRecord]:
    """Of several conditions each is answered from an index of its own; what meets two of them is there once."""
    found = [row for way in ways for row in connection.execute(select(response).where(way))]
    by_sequence = {row.sequence: row for row in found}
    return [rows.response_record(by_sequence[sequence]) for sequence in sorted(by_sequence)]
