"""Carries out what an operator does: durable first, said then."""

from __future__ import annotations

from datetime import datetime

from mesh_itk3 import events
from mesh_itk3.commands.console import CommandRefused, Exit
from mesh_itk3.ports import Ledger, LedgerConflict, MessageInProgress, MessageRecord, ResponseRecord
from mesh_itk3.stages.intervene import Act


def carry_out(ledger: Ledger, act: Act, now: datetime) -> None:
    """Durable on return. Raises LedgerConflict, MessageInProgress: then nothing of it is."""
    ledger.act(act.steps, act.responses, now)
    for event, fields in act.said:
        events.emit(event, **fields)


def carry_out_for(
    ledger: Ledger, record: MessageRecord, act: Act, now: datetime
) -> tuple[MessageRecord, tuple[ResponseRecord, ...]]:
    """The message and our responses as they stand afterwards. Raises CommandRefused where somebody else was faster, or a
    living daemon has it in its hands: nothing was changed then.
    """
    named = record.key.mesh_message_id
    try:
        carry_out(ledger, act, now)
    except MessageInProgress:
        raise CommandRefused(
            f"the daemon works on {named} at this moment and cannot be stopped in the middle; nothing was changed: try again",
            Exit.HELD,
        ) from None
    except LedgerConflict:
        state = (ledger.get(record.key) or record).state
        raise CommandRefused(
            f"{named} or a response to it has just moved on, and nothing was changed: it is {state} now"
        ) from None
    return ledger.get(record.key) or record, ledger.responses_to(record.key)
