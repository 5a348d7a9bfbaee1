"""What the stages share in trying: committing what became of messages, counting a failed attempt, timing."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mesh_itk3 import events
from mesh_itk3.events import Event
from mesh_itk3.lifecycle import Move, state_after
from mesh_itk3.ports import Changes, Entry, LedgerConflict, MessageRecord, Step
from mesh_itk3.reasons import Reason
from mesh_itk3.retry import Park, after_failed_attempt
from mesh_itk3.stages.world import World

FHIR_ID = re.compile(r"[A-Za-z0-9.\-]{1,64}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one message, and what is said of it once that is durable."""

    step: Step
    said: tuple[tuple[Event, Mapping[str, Any]], ...] = ()


def in_turn(world: World, records: Sequence[MessageRecord]) -> Iterator[MessageRecord]:
    """The claimed messages one after another. When the daemon is told to stop, those not begun are given back."""
    for done, record in enumerate(records):
        if world.is_stopping():
            world.ledger.unclaim([left.key for left in records[done:]])
            return
        yield record


def commit(world: World, outcomes: Sequence[Outcome]) -> None:
    """Applies the steps in one transaction, then logs them. Where somebody (an operator) has moved one of the messages
    meanwhile, that one is left as it is and the others are applied one by one.
    """
    if not outcomes:
        return
    try:
        world.ledger.apply([outcome.step for outcome in outcomes])
    except LedgerConflict:
        outcomes = [outcome for outcome in outcomes if _is_applied(world, outcome.step)]
    for outcome in outcomes:
        for event, fields in outcome.said:
            events.emit(event, **fields)


def _is_applied(world: World, step: Step) -> bool:
    try:
        world.ledger.apply([step])
    except LedgerConflict:  # moved by somebody else: theirs stands, and their entry is in the timeline
        return False
    return True


def failed_attempt(world: World, record: MessageRecord, stage: str, reason: Reason, error: Exception | None) -> Outcome:
    """An attempt that failed: again later, or parked (design rule 8). The error's text is not logged: it may quote the
    message.
    """
    attempts = record.attempts + 1
    now = world.clock.now()
    said = {**ids(record), "stage": stage, "outcome": "failed", "attempt": attempts, "reason": reason}
    failed = (events.STAGE_FAILED, {**said, **(events.where(error) if error else {})})
    after = after_failed_attempt(attempts, now, jitter=random.random())
    if isinstance(after, Park):
        parked = park(world, record, stage, reason, attempts=attempts)
        return Outcome(parked.step, (failed, *parked.said))
    waits = after.at - now
    return Outcome(later(world, record, stage, reason, waits, attempts=attempts, outcome="failed").step, (failed,))


def later(
    world: World,
    record: MessageRecord,
    stage: str,
    reason: Reason,
    waits: timedelta,
    *,
    attempts: int,
    outcome: str = "waits",
) -> Outcome:
    """It stays where it is and is taken up again after this long."""
    now = world.clock.now()
    step = Step(
        key=record.key,
        old=record.state,
        new=state_after(record.state, Move.TRY_LATER),
        changes=Changes(attempts=attempts, due_at=now + waits, reason=reason),
        entry=Entry(at=now, stage=stage, outcome=outcome, reason=reason, attempt=attempts),
    )
    return Outcome(step)


def park(world: World, record: MessageRecord, stage: str, reason: Reason, *, attempts: int | None = None) -> Outcome:
    """It is set aside for an operator; its bytes are kept."""
    counted = record.attempts if attempts is None else attempts
    step = Step(
        key=record.key,
        old=record.state,
        new=state_after(record.state, Move.PARK),
        changes=Changes(attempts=counted, reason=reason, parked_from=record.state, due_at=None),
        entry=Entry(at=world.clock.now(), stage=stage, outcome="parked", reason=reason, attempt=counted),
    )
    return Outcome(step, ((events.MESSAGE_PARKED, {**ids(record), "stage": stage, "reason": reason}),))


def ids(record: MessageRecord, message_header_id: str | None = None) -> dict[str, str | None]:
    """The canonical fields that name a message in a log line. A sender's id that is no FHIR id is not repeated: it
    could hold anything.
    """
    header_id = message_header_id or record.message_header_id
    return {
        "mailbox_id": record.key.mailbox_id,
        "mesh_message_id": record.key.mesh_message_id,
        "workflow_id": record.workflow_id,
        "message_header_id": header_id if header_id and FHIR_ID.fullmatch(header_id) else None,
    }


def milliseconds(world: World, started: float) -> float:
    """Since `started`, a reading of the monotonic clock."""
    return round((world.clock.monotonic() - started) * 1000, 1)
