"""Which messages are in progress: claimed before their bytes are touched, found again after a process has died."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from itertools import chain, zip_longest
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, bindparam, select, text, update

from mesh_itk3 import retry
from mesh_itk3.adapters.ledger import rows
from mesh_itk3.adapters.ledger.messages import NOT_IN_PROGRESS, add_entries, is_this_message, this_message
from mesh_itk3.adapters.ledger.prepared import Prepared, Values
from mesh_itk3.adapters.ledger.schema import IN_PROGRESS, due_now, is_due, message
from mesh_itk3.lifecycle import Move, State, state_after
from mesh_itk3.ports import Entry, Kind, MessageKey, MessageRecord
from mesh_itk3.reasons import Reason


@dataclass(frozen=True, slots=True)
class Due:
    """What a stage asks for."""

    state: State
    kinds: tuple[Kind, ...]
    mailbox_ids: tuple[str, ...]
    now: datetime


def claim(connection: Connection, due: Due, limit: int, served_last: str | None) -> list[MessageRecord]:
    """Up to `limit` messages, now in progress, mailboxes taken in turn beginning after `served_last`."""
    if not due.mailbox_ids or not due.kinds or limit < 1 or _is_one_alone_in_progress(connection, due.mailbox_ids):
        return []
    found = _take_in_turn(connection, due, limit, served_last) or _take_one_alone(connection, due)
    return [rows.message_record(row) for row in found]


def unclaim(connection: Connection, keys: Sequence[MessageKey]) -> None:
    statement = update(message).where(is_this_message).values(NOT_IN_PROGRESS)
    connection.execute(statement, [this_message(key) for key in keys])


def recover(connection: Connection, mailbox_ids: Sequence[str], now: datetime) -> list[MessageRecord]:
    """Frees everything in progress: whoever had claimed it is dead, for this process alone holds these mailboxes."""
    query = select(message).where(text(IN_PROGRESS), message.c.mailbox_id.in_(mailbox_ids))
    left = connection.execute(query).all()
    return [_free(connection, row, now, was_alone=row.is_alone or len(left) == 1) for row in left]


def in_turn(mailbox_ids: Sequence[str], served_last: str | None) -> list[str]:
    """The mailboxes, beginning with the one after `served_last`."""
    if served_last not in mailbox_ids:
        return list(mailbox_ids)
    start = mailbox_ids.index(served_last) + 1
    return [*mailbox_ids[start:], *mailbox_ids[:start]]


def _take_in_turn(connection: Connection, due: Due, limit: int, served_last: str | None) -> list[Values]:
    """Equal shares; what one mailbox does not use goes to the others."""
    waiting = in_turn(_mailboxes_with_work(connection, due), served_last)
    taken: dict[str, list[Values]] = {mailbox_id: [] for mailbox_id in waiting}
    left = limit
    while waiting and left:
        share = max(1, left // len(waiting))
        hungry = waiting[left:]
        for mailbox_id in waiting[:left]:
            some = _take(connection, due, [mailbox_id], share)
            taken[mailbox_id].extend(some)
            left -= len(some)
            if len(some) == share:
                hungry.append(mailbox_id)
        waiting = hungry
    return [row for row in chain.from_iterable(zip_longest(*taken.values())) if row is not None]


def _take_one_alone(connection: Connection, due: Due) -> list[Values]:
    """One that was in progress when a process died, and only while nothing else is: if the process dies again, it was
    this one.
    """
    if _is_any_in_progress(connection, due.mailbox_ids):
        return []
    return _take(connection, due, due.mailbox_ids, 1, is_alone=True)


def _take(connection: Connection, due: Due, mailbox_ids: Sequence[str], limit: int, *, is_alone: bool = False) -> list[Values]:
    """Up to `limit` of what is due, now in progress."""
    query = _due_messages(len(due.kinds), len(mailbox_ids), is_alone=is_alone)
    found = query.rows(connection, {**_parameters(due), **_named("b_mailbox", mailbox_ids), "b_limit": limit})
    if found:
        _MARK.execute(connection, [{"b_sequence": row["sequence"], "claimed_at": due.now} for row in found])
    return found


def _mailboxes_with_work(connection: Connection, due: Due) -> list[str]:
    if len(due.mailbox_ids) == 1:
        return list(due.mailbox_ids)
    query = _mailboxes_of_due(len(due.kinds), len(due.mailbox_ids))
    parameters = {**_parameters(due), **_named("b_mailbox", due.mailbox_ids)}
    found = {row["mailbox_id"] for row in query.rows(connection, parameters)}
    return [mailbox_id for mailbox_id in due.mailbox_ids if mailbox_id in found]


def _is_one_alone_in_progress(connection: Connection, mailbox_ids: Sequence[str]) -> bool:
    return bool(_in_progress(len(mailbox_ids), is_alone=True).rows(connection, _named("b_mailbox", mailbox_ids)))


def _is_any_in_progress(connection: Connection, mailbox_ids: Sequence[str]) -> bool:
    return bool(_in_progress(len(mailbox_ids), is_alone=False).rows(connection, _named("b_mailbox", mailbox_ids)))


# ------------------------------------------------------------------------------------------------ the statements
# One for each number of kinds and mailboxes, which are the daemon's own and few.


@lru_cache(maxsize=64)
def _due_messages(kinds: int, mailboxes: int, *, is_alone: bool) -> Prepared:
    return Prepared(
        select(message)
        .where(*_is_claimable(kinds), _is_one_of(mailboxes), message.c.is_alone.is_(is_alone))
        .order_by(message.c.received_at, message.c.sequence)
        .limit(bindparam("b_limit"))
        .with_for_update(skip_locked=True)
    )


@lru_cache(maxsize=64)
def _mailboxes_of_due(kinds: int, mailboxes: int) -> Prepared:
    return Prepared(select(message.c.mailbox_id).distinct().where(*_is_claimable(kinds), _is_one_of(mailboxes)))


@lru_cache(maxsize=64)
def _in_progress(mailboxes: int, *, is_alone: bool) -> Prepared:
    query = select(message.c.sequence).where(text(IN_PROGRESS), _is_one_of(mailboxes)).limit(1)
    return Prepared(query.where(message.c.is_alone) if is_alone else query)


_MARK: Final = Prepared(
    update(message).where(message.c.sequence == bindparam("b_sequence")).values(claimed_at=bindparam("claimed_at"))
)


def _is_claimable(kinds: int) -> list[ColumnElement[bool]]:
    return [
        message.c.state == bindparam("b_state"),
        message.c.kind.in_([bindparam(name) for name in _names("b_kind", kinds)]),
        message.c.claimed_at.is_(None),
        is_due(message),
    ]


def _is_one_of(mailboxes: int) -> ColumnElement[bool]:
    return message.c.mailbox_id.in_([bindparam(name) for name in _names("b_mailbox", mailboxes)])


def _parameters(due: Due) -> dict[str, Any]:
    return {"b_state": due.state.value, **_named("b_kind", [kind.value for kind in due.kinds]), **due_now(due.now)}


def _names(name: str, count: int) -> list[str]:
    return [f"{name}_{number}" for number in range(count)]


def _named(name: str, values: Sequence[str]) -> dict[str, str]:
    return dict(zip(_names(name, len(values)), values, strict=True))


# ------------------------------------------------------------------------------------------------ after a death


def _free(connection: Connection, row: Row[Any], now: datetime, *, was_alone: bool) -> MessageRecord:
    """As it is then. Counted only where no other message, in whatever stage, can have been what killed the process."""
    record = rows.message_record(row)
    interrupted = record.interrupted + (1 if was_alone else 0)
    is_parked = was_alone and retry.is_parked_after_interruption(interrupted)
    changed: dict[str, Any] = {**NOT_IN_PROGRESS, "interrupted": interrupted, "is_alone": True}
    if is_parked:
        changed |= {
            "state": state_after(record.state, Move.PARK).value,
            "parked_from": record.state.value,
            "reason": Reason.PROCESS_DIED.value,
        }
    # On PostgreSQL a commit of the dead process may still arrive: what it has moved is moved.
    is_as_seen = (message.c.sequence == row.sequence) & (message.c.state == row.state) & message.c.claimed_at.is_not(None)
    if connection.execute(update(message).where(is_as_seen).values(changed)).rowcount != 1:
        return record
    outcome = "parked" if is_parked else "interrupted"
    entry = Entry(at=now, stage="recover", outcome=outcome, reason=Reason.PROCESS_DIED, attempt=interrupted)
    add_entries(connection, [(record.key, entry)])
    return replace(record, state=State(changed.get("state", record.state)), interrupted=interrupted, is_alone=True)
