"""Messages: recording, known ones, steps, the timeline. Every function runs inside the caller's transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Subquery,
    bindparam,
    case,
    insert,
    literal_column,
    select,
    text,
    union_all,
    update,
)

from mesh_itk3.adapters.ledger import rows
from mesh_itk3.adapters.ledger.followers import park_what_comes_after_refusal
from mesh_itk3.adapters.ledger.prepared import Prepared
from mesh_itk3.adapters.ledger.restoring import doubt
from mesh_itk3.adapters.ledger.schema import ACCEPTED, document_key, id_key, message, message_event, response, response_body
from mesh_itk3.lifecycle import WAYS_BACK, Move, State
from mesh_itk3.ports import Entry, LedgerConflict, MessageKey, MessageRecord, Received, Step, StoredPayload
from mesh_itk3.reasons import Reason

IDS_AT_ONCE: Final = 500
"""In one IN list; SQLite takes 32,766 parameters, a plan stays good with far fewer."""
NOT_IN_PROGRESS: Final = {"claimed_at": None}

_RECEIVED: Final = (
    "mailbox_id", "mesh_message_id", "workflow_id", "kind", "state", "received_at", "sender_mailbox_id", "local_id",
    "linked_message_id", "reason", "payload_name", "payload_bytes", "payload_sha256",
)  # fmt: skip
# As text, which both engines understand: SQLAlchemy does not cache an ON CONFLICT and would compile it for every message.
_INSERT_OR_TAKE_OVER: Final = Prepared(
    text(
        f"""INSERT INTO message ({", ".join(_RECEIVED)}) VALUES ({", ".join(f":{name}" for name in _RECEIVED)})
    ON CONFLICT (mesh_message_id, mailbox_id) DO UPDATE
    SET {", ".join(f"{name} = excluded.{name}" for name in _RECEIVED[2:])},
        acknowledged_at = NULL, finished_at = NULL
    WHERE message.state = '{State.FOREIGN}'"""  # noqa: S608 - constants only
    ).bindparams(*(bindparam(name, type_=message.c[name].type) for name in _RECEIVED))
)
_ENTRY: Final = tuple(column.name for column in message_event.columns if column.name != "sequence")
_ADD_ENTRIES: Final = Prepared(insert(message_event).inline(), _ENTRY)
_OWED: Final = (
    "local_id", "mailbox_id", "answered_mesh_message_id", "level", "response_code", "state", "message_header_id",
    "message_header_id_key", "to_mailbox_id", "workflow_id", "created_at",
)  # fmt: skip
_ADD_RESPONSES: Final = Prepared(insert(response).inline(), _OWED)
_ADD_BODIES: Final = Prepared(insert(response_body).inline(), ("local_id", "body"))

is_this_message: Final = (message.c.mesh_message_id == bindparam("b_mesh_message_id")) & (
    message.c.mailbox_id == bindparam("b_mailbox_id")
)


_STANDS_AT: Final = case(
    (message.c.state != State.PARKED.value, message.c.state),
    (message.c.parked_from.is_not(None), message.c.parked_from),
    (message.c.accepted_at.is_not(None), State.ACCEPTED.value),
    else_=State.RECEIVED.value,
)
_GO_ON_WITH_BYTES: Final = (
    update(message)
    .where(
        is_this_message,
        message.c.reason == Reason.PAYLOAD_MISSING.value,
        _STANDS_AT.in_([old.value for old, move in WAYS_BACK if move is Move.FIND_BYTES]),
    )
    .values(state=_STANDS_AT, parked_from=None, reason=None, attempts=0, due_at=None)
)
"""What waits or is parked for want of its bytes goes on at once where it was, as if they had never been missing."""


def this_message(key: MessageKey) -> dict[str, Any]:
    """The parameters that name one message in this module's statements."""
    return {"b_mesh_message_id": key.mesh_message_id, "b_mailbox_id": key.mailbox_id}


def known(connection: Connection, mailbox_id: str, mesh_message_ids: Sequence[str]) -> dict[str, MessageRecord]:
    found: dict[str, MessageRecord] = {}
    for some in _slices(mesh_message_ids):
        query = select(message).where(message.c.mesh_message_id.in_(some), message.c.mailbox_id == mailbox_id)
        found.update((row.mesh_message_id, rows.message_record(row)) for row in connection.execute(query))
        found.update(_with_reason(connection, [found[each] for each in some if each in found]))
    return found


def _with_reason(connection: Connection, records: Sequence[MessageRecord]) -> dict[str, MessageRecord]:
    """Foreign ones whose row, being older than that, does not say whether they were left or spooled: their timeline does."""
    silent = {each.key.mesh_message_id: each for each in records if each.state is State.FOREIGN and each.reason is None}
    if not silent:
        return {}
    event = message_event.c
    is_theirs = event.mesh_message_id.in_(silent) & event.mailbox_id.in_({each.key.mailbox_id for each in silent.values()})
    query = select(event.mesh_message_id, event.reason).where(is_theirs, event.reason.is_not(None)).order_by(event.sequence)
    return {row.mesh_message_id: replace(silent[row.mesh_message_id], reason=row.reason) for row in connection.execute(query)}


def record_received(connection: Connection, received: Sequence[tuple[Received, Entry]], state: State) -> None:
    values = [rows.received_values(each, entry, state) for each, entry in received]
    # A row in state FOREIGN becomes the new one; any other stays, and no row is counted.
    if _INSERT_OR_TAKE_OVER.execute(connection, values).rowcount != len(values):
        raise LedgerConflict("this message is in the ledger already")
    add_entries(connection, [(each.key, entry) for each, entry in received])


def replace_payload(connection: Connection, key: MessageKey, payload: StoredPayload, entry: Entry) -> None:
    statement = update(message).where(is_this_message).values(rows.payload_values(payload) | {"payload_pruned_at": None})
    if connection.execute(statement, this_message(key)).rowcount != 1:
        raise LedgerConflict("this message is not in the ledger")
    connection.execute(_GO_ON_WITH_BYTES, this_message(key))
    add_entries(connection, [(key, entry)])


def record_acknowledged(connection: Connection, keys: Sequence[MessageKey], at: datetime) -> None:
    statement = update(message).where(is_this_message).values(acknowledged_at=bindparam("b_at"))
    connection.execute(statement, [{**this_message(key), "b_at": at} for key in keys])


def accepted_before(
    connection: Connection,
    mailbox_id: str,
    sender_mailbox_id: str | None,
    message_header_id: str | None,
    document_id: str | None,
) -> tuple[MessageRecord | None, MessageRecord | None]:
    """By each of the ids that is given. One statement where nothing is known, as nearly always."""
    asked = {
        "b_mailbox_id": mailbox_id,
        "b_sender": sender_mailbox_id,
        "b_header_key": None if message_header_id is None else id_key(message_header_id),
        "b_document_key": None if document_id is None else document_key(document_id),
    }
    found = _accepted_before(has_sender=sender_mailbox_id is not None).execute(connection, asked).all()
    records = {which: _by_sequence(connection, sequence) for which, sequence in found}
    return records.get("message"), records.get("document")


def apply(connection: Connection, steps: Sequence[Step]) -> None:
    """A few statements for any number of steps. Raises LedgerConflict; then the caller's transaction is undone."""
    for batch in _in_batches(steps):
        _move(connection, batch)
    add_entries(connection, [(step.key, step.entry) for step in steps])
    owed = [(step, new) for step in steps for new in step.responses]
    if owed:
        _ADD_RESPONSES.execute(connection, [rows.response_values(step.key, new, step.entry) for step, new in owed])
        _ADD_BODIES.execute(connection, [{"local_id": new.local_id, "body": new.body} for _, new in owed])
        doubt(connection, owed)
        park_what_comes_after_refusal(connection, steps)


def add_entries(connection: Connection, entries: Sequence[tuple[MessageKey, Entry]]) -> None:
    _ADD_ENTRIES.execute(connection, [rows.event_values(key, entry) for key, entry in entries])


@lru_cache(maxsize=2)
def _accepted_before(*, has_sender: bool) -> Prepared:
    by_message = _first_accepted("message", message.c.message_header_id_key == bindparam("b_header_key"), has_sender=has_sender)
    by_document = _first_accepted("document", message.c.document_id_key == bindparam("b_document_key"), has_sender=has_sender)
    return Prepared(union_all(select(by_message), select(by_document)))


def _first_accepted(which: str, has_this_id: ColumnElement[bool], *, has_sender: bool) -> Subquery:
    sender = message.c.sender_mailbox_id
    # No sender equals no sender.
    is_same_sender = sender == bindparam("b_sender") if has_sender else sender.is_(None)
    return (
        select(literal_column(f"'{which}'").label("which"), message.c.sequence)
        .where(has_this_id, message.c.mailbox_id == bindparam("b_mailbox_id"), is_same_sender, text(ACCEPTED))
        .order_by(message.c.accepted_at, message.c.sequence)
        .limit(1)
        .subquery()
    )


def _by_sequence(connection: Connection, sequence: int) -> MessageRecord:
    return rows.message_record(connection.execute(select(message).where(message.c.sequence == sequence)).one())


def _in_batches(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Steps that set the same columns together; step by step where one message moves twice, for then order matters."""
    if len({step.key for step in steps}) < len(steps):
        yield from ([step] for step in steps)
        return
    alike: dict[frozenset[str], list[Step]] = defaultdict(list)
    for step in steps:
        alike[frozenset(_moved_values(step))].append(step)
    yield from alike.values()


def _move(connection: Connection, batch: Sequence[Step]) -> None:
    values = [_moved_values(step) for step in batch]
    keys = [{**this_message(step.key), "b_old": step.old.value} for step in batch]
    statement = _conditional_update(tuple(sorted(values[0])))
    parameters = [{**key, **value} for key, value in zip(keys, values, strict=True)]
    if statement.execute(connection, parameters).rowcount != len(batch):
        raise LedgerConflict("a message was no longer in the state that the step expected")


def _moved_values(step: Step) -> dict[str, Any]:
    values = rows.changed_values(step.changes)
    if step.old is State.RECEIVED and step.new is State.ACCEPTED:
        # What makes a message "known" for 20007 and 20008 must not hang on a caller's memory.
        values.setdefault("accepted_at", step.entry.at)
    return {**values, **NOT_IN_PROGRESS, "state": step.new.value}


@lru_cache(maxsize=128)
def _conditional_update(columns: tuple[str, ...]) -> Prepared:
    """The row count says whether the message still was in the old state: SQLite loses updates silently otherwise."""
    changed: dict[str, BindParameter[Any]] = {name: bindparam(name) for name in columns}
    return Prepared(update(message).where(is_this_message, message.c.state == bindparam("b_old")).values(changed))


def _slices(items: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), IDS_AT_ONCE):
        yield items[start : start + IDS_AT_ONCE]
