"""Messages: recording, known ones, steps, the timeline. Every function runs inside the caller's transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    Connection,
    Select,
    Update,
    bindparam,
    insert,
    select,
    text,
    update,
)

from mesh_itk3.adapters.ledger import rows
from mesh_itk3.adapters.ledger.followers import park_what_comes_after_refusal
from mesh_itk3.adapters.ledger.schema import ACCEPTED, document_key, id_key, message, message_event, response, response_body
from mesh_itk3.lifecycle import State
from mesh_itk3.ports import Entry, LedgerConflict, MessageKey, MessageRecord, Received, Step, StoredPayload

IDS_AT_ONCE: Final = 500
"""In one IN list; SQLite takes 32,766 parameters, a plan stays good with far fewer."""
NOT_IN_PROGRESS: Final = {"claimed_at": None}

_RECEIVED: Final = (
    "mailbox_id", "mesh_message_id", "workflow_id", "kind", "state", "received_at", "sender_mailbox_id", "local_id",
    "linked_message_id", "payload_name", "payload_bytes", "payload_sha256",
)  # fmt: skip
# As text, which both engines understand: SQLAlchemy does not cache an ON CONFLICT and would compile it for every message.
_INSERT_OR_TAKE_OVER: Final = text(
    f"""INSERT INTO message ({", ".join(_RECEIVED)}) VALUES ({", ".join(f":{name}" for name in _RECEIVED)})
    ON CONFLICT (mesh_message_id, mailbox_id) DO UPDATE
    SET {", ".join(f"{name} = excluded.{name}" for name in _RECEIVED[2:])},
        acknowledged_at = NULL, finished_at = NULL, reason = NULL
    WHERE message.state = '{State.FOREIGN}'"""  # noqa: S608 - constants only
).bindparams(*(bindparam(name, type_=message.c[name].type) for name in _RECEIVED))

is_this_message: Final = (message.c.mesh_message_id == bindparam("b_mesh_message_id")) & (
    message.c.mailbox_id == bindparam("b_mailbox_id")
)


def this_message(key: MessageKey) -> dict[str, Any]:
    """The parameters that name one message in this module's statements."""
    return {"b_mesh_message_id": key.mesh_message_id, "b_mailbox_id": key.mailbox_id}


def known(connection: Connection, mailbox_id: str, mesh_message_ids: Sequence[str]) -> dict[str, MessageRecord]:
    found: dict[str, MessageRecord] = {}
    for some in _slices(mesh_message_ids):
        query = select(message).where(message.c.mesh_message_id.in_(some), message.c.mailbox_id == mailbox_id)
        found.update((row.mesh_message_id, rows.message_record(row)) for row in connection.execute(query))
    return found


def record_received(connection: Connection, received: Received, entry: Entry, state: State) -> None:
    values = rows.received_values(received, state)
    # A row in state FOREIGN becomes the new one; any other stays, and no row is counted.
    if connection.execute(_INSERT_OR_TAKE_OVER, values).rowcount != 1:
        raise LedgerConflict("this message is in the ledger already")
    add_entries(connection, [(received.key, entry)])


def replace_payload(connection: Connection, key: MessageKey, payload: StoredPayload, entry: Entry) -> None:
    statement = update(message).where(is_this_message).values(rows.payload_values(payload))
    if connection.execute(statement, this_message(key)).rowcount != 1:
        raise LedgerConflict("this message is not in the ledger")
    add_entries(connection, [(key, entry)])


def record_acknowledged(connection: Connection, keys: Sequence[MessageKey], at: datetime) -> None:
    statement = update(message).where(is_this_message).values(acknowledged_at=bindparam("b_at"))
    connection.execute(statement, [{**this_message(key), "b_at": at} for key in keys])


def first_accepted(
    connection: Connection,
    mailbox_id: str,
    sender_mailbox_id: str | None,
    *,
    message_header_id: str | None = None,
    document_id: str | None = None,
) -> MessageRecord | None:
    """By one of the two ids, in its compare form."""
    key = id_key(message_header_id) if message_header_id is not None else document_key(document_id or "")
    query = _first_accepted(by_document=message_header_id is None, has_sender=sender_mailbox_id is not None)
    asked = {"b_mailbox_id": mailbox_id, "b_sender": sender_mailbox_id, "b_key": key}
    row = connection.execute(query, asked).first()
    return None if row is None else rows.message_record(row)


def apply(connection: Connection, steps: Sequence[Step]) -> None:
    """A few statements for any number of steps. Raises LedgerConflict; then the caller's transaction is undone."""
    for batch in _in_batches(steps):
        _move(connection, batch)
    add_entries(connection, [(step.key, step.entry) for step in steps])
    owed = [(step, new) for step in steps for new in step.responses]
    if owed:
        connection.execute(insert(response), [rows.response_values(step.key, new, step.entry) for step, new in owed])
        connection.execute(insert(response_body), [{"local_id": new.local_id, "body": new.body} for _, new in owed])
        park_what_comes_after_refusal(connection, steps)


def add_entries(connection: Connection, entries: Sequence[tuple[MessageKey, Entry]]) -> None:
    connection.execute(insert(message_event), [rows.event_values(key, entry) for key, entry in entries])


@lru_cache(maxsize=4)
def _first_accepted(*, by_document: bool, has_sender: bool) -> Select[Any]:
    """Built once: this is asked twice for every message."""
    column = message.c.document_id_key if by_document else message.c.message_header_id_key
    sender = message.c.sender_mailbox_id
    # No sender equals no sender.
    is_same_sender = sender == bindparam("b_sender") if has_sender else sender.is_(None)
    return (
        select(message)
        .where(column == bindparam("b_key"), message.c.mailbox_id == bindparam("b_mailbox_id"), is_same_sender, text(ACCEPTED))
        .order_by(message.c.accepted_at, message.c.sequence)
        .limit(1)
    )


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
    if connection.execute(statement, parameters).rowcount != len(batch):
        raise LedgerConflict("a message was no longer in the state that the step expected")


def _moved_values(step: Step) -> dict[str, Any]:
    values = rows.changed_values(step.changes)
    if step.old is State.RECEIVED and step.new is State.ACCEPTED:
        # What makes a message "known" for 20007 and 20008 must not hang on a caller's memory.
        values.setdefault("accepted_at", step.entry.at)
    return {**values, **NOT_IN_PROGRESS, "state": step.new.value}


@lru_cache(maxsize=128)
def _conditional_update(columns: tuple[str, ...]) -> Update:
    """The row count says whether the message still was in the old state: SQLite loses updates silently otherwise."""
    changed: dict[str, BindParameter[Any]] = {name: bindparam(name) for name in columns}
    return update(message).where(is_this_message, message.c.state == bindparam("b_old")).values(changed)


def _slices(items: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), IDS_AT_ONCE):
        yield items[start : start + IDS_AT_ONCE]
