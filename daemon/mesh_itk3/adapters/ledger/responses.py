"""The outbox: responses owed, sent, delivered. Every function runs inside the caller's transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    insert,
    literal,
    or_,
    select,
    text,
    update,
)

from mesh_itk3.adapters.ledger import rows
from mesh_itk3.adapters.ledger.followers import park_after_refusal, return_with_infrastructure
from mesh_itk3.adapters.ledger.prepared import Prepared
from mesh_itk3.adapters.ledger.schema import (
    ASKED_AT,
    OWED,
    SENT,
    due_now,
    id_key,
    is_due,
    message_event,
    response,
    response_body,
)
from mesh_itk3.lifecycle import ResponseState
from mesh_itk3.ports import LedgerConflict, ResponseRecord, ResponseStep

_infrastructure: Final = response.alias("infrastructure")
_PAST: Final = (ResponseState.SENT, ResponseState.DELIVERED, ResponseState.UNDELIVERED)


def claim(connection: Connection, mailbox_id: str, now: datetime, limit: int) -> list[ResponseRecord]:
    """The records carry `unresolved_since` as it was before: None means that no send was ever begun."""
    asked = {"b_mailbox_id": mailbox_id, "b_limit": limit, **due_now(now)}
    found = _TO_BE_SENT.rows(connection, asked)
    # Before any send: after a crash, "never begun" and "maybe taken by MESH" must not look the same.
    fresh = [row["sequence"] for row in found if row["unresolved_since"] is None]
    if fresh:
        _IN_DOUBT.execute(connection, [{"b_sequence": sequence, "unresolved_since": now} for sequence in fresh])
    return [rows.response_record(row) for row in found]


_IN_DOUBT: Final = Prepared(
    update(response)
    .where(response.c.sequence == bindparam("b_sequence"))
    .values(unresolved_since=bindparam("unresolved_since"))
)


def sent(
    connection: Connection, mailbox_id: str, tracked_before: datetime, limit: int, sent_after: datetime | None
) -> list[ResponseRecord]:
    query = (
        _records()
        .where(text(f"response.{SENT}"), response.c.mailbox_id == mailbox_id, tracked_before > ASKED_AT)
        .order_by(ASKED_AT)
        .limit(limit)
    )
    if sent_after is not None:
        query = query.where(response.c.sent_at >= sent_after)
    return [rows.response_record(row) for row in connection.execute(query)]


def by_id(
    connection: Connection, mesh_message_id: str | None, local_id: str | None, message_header_id: str | None
) -> ResponseRecord | None:
    """By each id that is given; the first where several fit."""
    same: list[ColumnElement[bool]] = []
    if mesh_message_id is not None:
        same.append(response.c.mesh_message_id == mesh_message_id)
    if local_id is not None:
        same.append(response.c.local_id == local_id)
    if message_header_id is not None:
        same.append(response.c.message_header_id_key == id_key(message_header_id))
    if not same:
        return None
    row = connection.execute(_records(may_be_pruned=True).where(*same).order_by(response.c.sequence).limit(1)).first()
    return None if row is None else rows.response_record(row)


def apply(connection: Connection, steps: Sequence[ResponseStep]) -> None:
    """All or, by LedgerConflict, nothing."""
    alike: dict[frozenset[str], list[ResponseStep]] = defaultdict(list)
    for step in steps:
        alike[frozenset(step.changes)].append(step)
    for batch in alike.values():
        _move(connection, batch)
    entries = [{"b_local_id": step.local_id, **_entry_parameters(step)} for step in steps if step.entry is not None]
    if entries:
        _ADD_ENTRY.execute(connection, entries)
    park_after_refusal(connection, steps)
    return_with_infrastructure(connection, steps)


def mailboxes_of(connection: Connection, steps: Sequence[ResponseStep]) -> set[str]:
    query = select(response.c.mailbox_id).distinct().where(response.c.local_id.in_([step.local_id for step in steps]))
    return set(connection.execute(query).scalars())


def _records(*, may_be_pruned: bool = False) -> Select[Any]:
    """With body and, for business responses, the state of the infrastructure response of the same message. What is to be sent
    has its bytes, or is not found: empty ones must never go out.
    """
    of_same_message = and_(
        response.c.level == "business",
        _infrastructure.c.level == "infrastructure",
        _infrastructure.c.answered_mesh_message_id == response.c.answered_mesh_message_id,
        _infrastructure.c.mailbox_id == response.c.mailbox_id,
    )
    is_its_body = response_body.c.local_id == response.c.local_id
    joined = response.join(response_body, is_its_body, isouter=may_be_pruned)
    joined = joined.outerjoin(_infrastructure, of_same_message)
    return select(response, response_body.c.body, _infrastructure.c.state.label("infrastructure_state")).select_from(joined)


def _is_not_held_up() -> ColumnElement[bool]:
    """A business response does not overtake its infrastructure response (design rule 15)."""
    state = _infrastructure.c.state
    is_on_its_way = and_(state == ResponseState.OWED.value, is_due(_infrastructure))
    # Literals one by one: a list would be put into words at each execution, which `Prepared` leaves out.
    is_past = state.in_([literal(past.value) for past in _PAST])
    return or_(state.is_(None), is_on_its_way, is_past)


_is_of_mailbox: Final = response.c.mailbox_id == bindparam("b_mailbox_id")
_TO_BE_SENT: Final = Prepared(
    _records()
    .where(text(f"response.{OWED}"), _is_of_mailbox, is_due(response), _is_not_held_up())
    .order_by(response.c.sequence)
    .limit(bindparam("b_limit"))
    .with_for_update(of=response, skip_locked=True)
)


def _move(connection: Connection, batch: Sequence[ResponseStep]) -> None:
    parameters = [
        {
            "b_local_id": step.local_id,
            "b_old": step.old.value,
            "state": step.new.value,
            **rows.changed_response_values(step.changes),
        }
        for step in batch
    ]
    statement = _conditional_update(tuple(sorted(batch[0].changes)))
    if statement.execute(connection, parameters).rowcount != len(batch):
        raise LedgerConflict("a response was no longer in the state that the step expected")


@lru_cache(maxsize=64)
def _conditional_update(columns: tuple[str, ...]) -> Prepared:
    changed: dict[str, BindParameter[Any]] = {name: bindparam(name) for name in (*columns, "state")}
    is_unmoved = and_(response.c.local_id == bindparam("b_local_id"), response.c.state == bindparam("b_old"))
    return Prepared(update(response).where(is_unmoved).values(changed))


_ENTRY_COLUMNS: Final = ("at", "stage", "outcome", "response_code", "reason", "attempt", "who")
_ADD_ENTRY: Final = Prepared(
    insert(message_event)
    .inline()
    .from_select(
        ["mailbox_id", "mesh_message_id", *_ENTRY_COLUMNS],
        select(
            response.c.mailbox_id,
            response.c.answered_mesh_message_id,
            *(bindparam(f"b_{name}", type_=message_event.c[name].type) for name in _ENTRY_COLUMNS),
        ).where(response.c.local_id == bindparam("b_local_id")),
    )
)


def _entry_parameters(step: ResponseStep) -> dict[str, Any]:
    return {f"b_{name}": value for name, value in rows.entry_values(step.entry).items()} if step.entry else {}
