"""Business responses that cannot follow: MESH has refused the infrastructure response of the same message for good. They
come back with it when an operator lets it be sent again.

Both ways round, whichever is written first. Every function runs inside the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import ColumnElement, Connection, insert, select, text, update

from mesh_itk3.adapters.ledger import rows
from mesh_itk3.adapters.ledger.schema import OWED, message_event, response
from mesh_itk3.lifecycle import ResponseState
from mesh_itk3.ports import Entry, MessageKey, ResponseStep, Step
from mesh_itk3.reasons import Reason

_PARKED: Final = {"state": ResponseState.PARKED.value, "reason": Reason.INFRASTRUCTURE_REFUSED.value, "due_at": None}

_OWED_AGAIN: Final = {
    "state": ResponseState.OWED.value,
    "reason": None,
    "due_at": None,
    "unresolved_since": response.c.created_at,
    "seen_at": None,
}
"""Looked up before it is sent: it may have been let go by a person before, in a ledger that is gone."""


def park_after_refusal(connection: Connection, steps: Sequence[ResponseStep]) -> None:
    """An infrastructure response has been parked: what was to follow it is parked too."""
    entries = {step.local_id: step.entry for step in steps if step.new is ResponseState.PARKED}
    if not entries:
        return
    query = select(response).where(response.c.local_id.in_(entries), response.c.level == "infrastructure")
    _park(connection, {rows.answered_key(row): entries[row.local_id] for row in connection.execute(query)})


def return_with_infrastructure(connection: Connection, steps: Sequence[ResponseStep]) -> None:
    """A parked infrastructure response is owed again: so is what was parked with it, and what was written and parked since
    (the steps' own update has waited for whoever was writing it).
    """
    back = {(ResponseState.PARKED, ResponseState.OWED)}
    entries = {step.local_id: step.entry for step in steps if (step.old, step.new) in back}
    if not entries:
        return
    query = select(response).where(response.c.local_id.in_(entries), response.c.level == "infrastructure")
    causes = {rows.answered_key(row): entries[row.local_id] for row in connection.execute(query)}
    is_follower = (response.c.level == "business") & (response.c.reason == Reason.INFRASTRUCTURE_REFUSED.value)
    parked = response.c.state == ResponseState.PARKED.value
    found = connection.execute(select(response).where(_is_of(causes), is_follower, parked)).all()
    returned = [(row, key) for row in found if (key := rows.answered_key(row)) in causes]
    if not returned:
        return
    sequences = [row.sequence for row, _ in returned]
    connection.execute(update(response).where(response.c.sequence.in_(sequences)).values(_OWED_AGAIN))
    said = [(key, replace(entry, response_code=row.response_code)) for row, key in returned if (entry := causes[key])]
    if said:
        connection.execute(insert(message_event), [rows.event_values(key, entry) for key, entry in said])


def park_what_comes_after_refusal(connection: Connection, steps: Sequence[Step]) -> None:
    """A business response is written whose infrastructure response stands parked already."""
    entries = {step.key: step.entry for step in steps if any(new.level == "business" for new in step.responses)}
    if not entries:
        return
    # The lock waits for a sender that is parking one of them at this moment, and then reads what it has written.
    query = (
        select(response)
        .where(_is_of(entries), response.c.level == "infrastructure")
        .order_by(response.c.sequence)
        .with_for_update(read=True)
    )
    keys = {rows.answered_key(row) for row in connection.execute(query) if row.state == ResponseState.PARKED.value}
    _park(connection, {key: entry for key, entry in entries.items() if key in keys})


def _park(connection: Connection, entries: Mapping[MessageKey, Entry | None]) -> None:
    if not entries:
        return
    query = select(response).where(_is_of(entries), response.c.level == "business", text(f"response.{OWED}"))
    found = [(row, rows.answered_key(row)) for row in connection.execute(query)]
    parked = [(row, key) for row, key in found if key in entries]
    if not parked:
        return
    sequences = [row.sequence for row, _ in parked]
    connection.execute(update(response).where(response.c.sequence.in_(sequences)).values(_PARKED))
    said = [(key, _entry(entry, row.response_code)) for row, key in parked if (entry := entries[key])]
    if said:
        connection.execute(insert(message_event), [rows.event_values(key, entry) for key, entry in said])


def _is_of(keys: Collection[MessageKey]) -> ColumnElement[bool]:
    """Of one of these messages, or of one of the same MESH id in another mailbox: SQLite has no index for pairs."""
    return response.c.answered_mesh_message_id.in_({key.mesh_message_id for key in keys})


def _entry(cause: Entry, response_code: str) -> Entry:
    reason = Reason.INFRASTRUCTURE_REFUSED
    return replace(cause, outcome="parked", response_code=response_code, reason=reason, attempt=None)
