"""A ledger that was restored: which messages may have been answered by one that is gone. Every function runs inside the
caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, bindparam, exists, func, insert, or_, select, text, true, update

from mesh_itk3.adapters.ledger.prepared import Prepared
from mesh_itk3.adapters.ledger.schema import OWED, mailbox_state, message, response
from mesh_itk3.ports import NewResponse, Step


def begin(connection: Connection, mailbox_ids: Collection[str], now: datetime) -> int:
    for mailbox_id in sorted(mailbox_ids):
        mark = {"restored_at": now, "restored_up_to": None}
        known = update(mailbox_state).where(mailbox_state.c.mailbox_id == mailbox_id).values(mark)
        if connection.execute(known).rowcount == 0:
            connection.execute(insert(mailbox_state), {"mailbox_id": mailbox_id, **mark})
    # Also those whose doubt is older: after the backup one may have gone out, and the hour counts from there.
    owed = update(response).where(text(OWED), response.c.mailbox_id.in_(mailbox_ids))
    return connection.execute(owed.values(unresolved_since=now)).rowcount


def end(connection: Connection, mailbox_ids: Collection[str]) -> None:
    newest = connection.execute(select(func.max(message.c.sequence))).scalar() or 0
    is_begun = mailbox_state.c.mailbox_id.in_(mailbox_ids) & mailbox_state.c.restored_at.is_not(None)
    connection.execute(update(mailbox_state).where(is_begun).values(restored_up_to=newest))


def doubt(connection: Connection, owed: Sequence[tuple[Step, NewResponse]]) -> None:
    """Of what has just been written: what answers a message of before a restore is looked up before it is ever sent."""
    mailbox_ids = {step.key.mailbox_id for step, _ in owed}
    restored = {each for each in mailbox_ids if _RESTORED_AT.execute(connection, {"b_mailbox_id": each}).scalar() is not None}
    doubtful = [(step, new) for step, new in owed if step.key.mailbox_id in restored]
    if doubtful:
        _DOUBT.execute(connection, [{"b_local_id": new.local_id, "b_at": step.entry.at} for step, new in doubtful])


_RESTORED_AT: Final = Prepared(
    select(mailbox_state.c.restored_at).where(mailbox_state.c.mailbox_id == bindparam("b_mailbox_id"))
)
_is_of_before: Final = (
    exists()
    .where(
        message.c.mesh_message_id == response.c.answered_mesh_message_id,
        message.c.mailbox_id == response.c.mailbox_id,
        mailbox_state.c.mailbox_id == message.c.mailbox_id,
        mailbox_state.c.restored_at.is_not(None),
        or_(mailbox_state.c.restored_up_to.is_(None), message.c.sequence <= mailbox_state.c.restored_up_to),
    )
    .correlate(response)
)
_DOUBT: Final = Prepared(
    update(response)
    .where(response.c.local_id == bindparam("b_local_id"), _is_of_before)
    .values(unresolved_since=bindparam("b_at", type_=response.c.unresolved_since.type), written_anew=true())
)
