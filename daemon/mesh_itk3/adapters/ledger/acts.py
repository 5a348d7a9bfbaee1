"""What an operator does: moves of messages and of responses together. Every function runs inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, Row, select, text, update

from mesh_itk3.adapters.ledger import messages, responses
from mesh_itk3.adapters.ledger.collectors import Collectors
from mesh_itk3.adapters.ledger.messages import is_this_message, this_message
from mesh_itk3.adapters.ledger.schema import IN_PROGRESS, message
from mesh_itk3.ports import MessageInProgress, ResponseStep, Step


def act(
    connection: Connection,
    collectors: Collectors,
    steps: Sequence[Step],
    response_steps: Sequence[ResponseStep],
    now: datetime,
) -> None:
    """All or, by LedgerConflict or MessageInProgress, nothing."""
    for step in steps:
        _take_from_the_dead(connection, collectors, step, now)
    if steps:
        messages.apply(connection, steps)
    if response_steps:
        responses.apply(connection, response_steps)


def _take_from_the_dead(connection: Connection, collectors: Collectors, step: Step, now: datetime) -> None:
    """A claim that a living daemon does not have is what a dead one left: its message may be what killed it, and is tried
    alone from then on, as `claims.recover` would have it. The lock keeps anybody from claiming it before this commits.
    """
    query = select(message.c.sequence).where(is_this_message, text(IN_PROGRESS)).with_for_update()
    claimed: Row[tuple[int]] | None = connection.execute(query, this_message(step.key)).first()
    if claimed is None:
        return
    if collectors.is_alive(connection, step.key.mailbox_id, now):
        raise MessageInProgress(step.key.mesh_message_id)
    connection.execute(update(message).where(message.c.sequence == claimed.sequence).values(is_alone=True))
