"""What the stages share in trying: taking messages in turn, committing what became of them, counting a failed attempt."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar

from mesh_itk3 import events
from mesh_itk3.events import Event
from mesh_itk3.itk3.message_header import FHIR_ID
from mesh_itk3.lifecycle import Move, State, state_after
from mesh_itk3.ports import (
    Changes,
    Entry,
    Kind,
    LeaseLost,
    LedgerConflict,
    LedgerUnavailable,
    MessageRecord,
    PayloadMissing,
    ResponseRecord,
    ResponseStep,
    Step,
    StepRefused,
    StorageFailed,
)
from mesh_itk3.reasons import Reason
from mesh_itk3.retry import Park, after_failed_attempt
from mesh_itk3.stages.world import World

WAIT_FOR_DISK = timedelta(minutes=1)
WAIT_FOR_HANDLER = timedelta(minutes=1)
WAIT_FOR_POLL = timedelta(minutes=6)
"""A little longer than MESH asks for between two polls: each of the three attempts has had one before it."""
COMMIT_EVERY_S = 0.05
"""What is finished is committed at least this often: its answers go out while the next are worked on. Measured: a longer time
lets those who send run dry, a shorter one costs commits."""

_MESH_CODE = re.compile(r"[A-Za-z0-9_-]{1,32}")

AnyStep = TypeVar("AnyStep", Step, ResponseStep)
Said = tuple[tuple[Event, Mapping[str, Any]], ...]


@dataclass(frozen=True, slots=True)
class Outcome(Generic[AnyStep]):
    """What became of one message or response, and what is said of it once that is durable."""

    step: AnyStep
    said: Said = ()


def take(world: World, state: State, kinds: Sequence[Kind], limit: int) -> list[MessageRecord]:
    """Claims messages that are due. What an earlier run could not give back is given back first."""
    if left := list(world.unreleased):
        world.ledger.unclaim(left)
        world.unreleased.difference_update(left)  # not clear(): another stage may have added to it meanwhile
    return world.ledger.claim(state, kinds, world.mailbox_ids, world.clock.now(), limit)


def work_through(
    world: World,
    stage: str,
    records: Sequence[MessageRecord],
    work: Callable[[MessageRecord], Outcome[Step]],
    *,
    commit_every_s: float = COMMIT_EVERY_S,
    longest_s: float = math.inf,
) -> None:
    """One claimed message after another, committed together. What was not begun after `longest_s` or when the daemon is
    told to stop, and what could not be committed, is given back. Raises LedgerUnavailable, LeaseLost: no attempt is
    counted then.
    """
    waiting = list(records)
    finished: list[Outcome[Step]] = []
    began = committed_at = world.clock.monotonic()
    try:
        while waiting and not world.is_stopping() and world.clock.monotonic() - began < longest_s:
            finished.append(_first_of(world, stage, waiting, work))
            if world.clock.monotonic() - committed_at >= commit_every_s:
                _commit_messages(world, stage, records, finished)
                finished, committed_at = [], world.clock.monotonic()
        _commit_messages(world, stage, records, finished)
        finished = []
    finally:
        _give_back(world, [*(outcome.step.key for outcome in finished), *(record.key for record in waiting)])


def _first_of(
    world: World, stage: str, waiting: list[MessageRecord], work: Callable[[MessageRecord], Outcome[Step]]
) -> Outcome[Step]:
    """Works on the first and takes it out; the ledger's own faults leave it there, to be given back with the others."""
    try:
        outcome = _safely(world, stage, waiting[0], work)
    except Exception:
        raise
    except BaseException:  # the process is about to end: this one stays in progress, to be tried alone
        waiting.pop(0)
        raise
    waiting.pop(0)
    return outcome


def _safely(world: World, stage: str, record: MessageRecord, work: Callable[[MessageRecord], Outcome[Step]]) -> Outcome[Step]:
    try:
        outcome = work(record)
    except (LedgerUnavailable, LeaseLost):
        raise  # not this message's fault: nothing is counted
    except PayloadMissing as error:
        # MESH may still have it: then the next poll brings the bytes again, and nobody need be called.
        at_least = timedelta() if record.acknowledged_at else WAIT_FOR_POLL
        outcome = failed_attempt(world, record, stage, Reason.PAYLOAD_MISSING, error, at_least=at_least)
    except StorageFailed as error:
        world.refusals.refused(record.key, error, {**ids(record), "stage": stage}, world.clock.monotonic())
        return later(world, record, stage, Reason.STORAGE_FAILED, WAIT_FOR_DISK, attempts=record.attempts)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the per-message loop: one message's fault must not hold up the others
        outcome = failed_attempt(world, record, stage, Reason.STAGE_FAILED, error)
    finally:
        world.progress()
    world.refusals.passed(record.key, stage, world.clock.monotonic())
    return outcome


def _give_back(world: World, keys: list[Any]) -> None:
    if not keys:
        return
    try:
        world.ledger.unclaim(keys)
    except (LedgerUnavailable, LeaseLost):  # remembered: `take` gives them back before it claims again
        world.unreleased.update(keys)


def commit(apply: Callable[[list[AnyStep]], None], outcomes: Sequence[Outcome[AnyStep]]) -> list[Outcome[AnyStep]]:
    """Applies the steps in one transaction, then logs them. Where one of them cannot be applied, the others are, one by
    one: what somebody else (an operator, a report) has moved meanwhile is theirs. Returns those that the ledger refused.
    """
    if not outcomes:
        return []
    refused: list[Outcome[AnyStep]] = []
    try:
        apply([outcome.step for outcome in outcomes])
    except (LedgerConflict, StepRefused):
        outcomes = [outcome for outcome in outcomes if _is_applied(apply, outcome, refused)]
    for outcome in outcomes:
        for event, fields in outcome.said:
            events.emit(event, **fields)
    return refused


def _is_applied(apply: Callable[[list[AnyStep]], None], outcome: Outcome[AnyStep], refused: list[Outcome[AnyStep]]) -> bool:
    try:
        apply([outcome.step])
    except LedgerConflict:  # moved by somebody else, whose entry is in the timeline
        return False
    except StepRefused:
        refused.append(outcome)
        return False
    return True


def _commit_messages(world: World, stage: str, records: Sequence[MessageRecord], outcomes: Sequence[Outcome[Step]]) -> None:
    """As `commit`; a message whose step the ledger refused has failed an attempt, and ends parked if that goes on."""
    refused = {outcome.step.key for outcome in commit(world.ledger.apply, outcomes)}
    failed = [record for record in records if record.key in refused]
    commit(world.ledger.apply, [failed_attempt(world, record, stage, Reason.STAGE_FAILED, None) for record in failed])
    if owing := {outcome.step.key.mailbox_id for outcome in outcomes if outcome.step.responses}:
        world.owed(owing)


def failed_attempt(
    world: World,
    record: MessageRecord,
    stage: str,
    reason: Reason,
    error: BaseException | None,
    *,
    at_least: timedelta = timedelta(),
) -> Outcome[Step]:
    """An attempt that failed: again later, or parked (design rule 8). The error's text is not logged: it may quote the
    message.
    """
    attempts = record.attempts + 1
    said = {**ids(record), "stage": stage, "outcome": "failed", "attempt": attempts, "reason": reason}
    failed = (events.STAGE_FAILED, {**said, **(events.where(error) if error else {})})
    now = world.clock.now()
    after = after_failed_attempt(attempts, now, jitter=random.random())
    if isinstance(after, Park):
        parked = park(world, record, stage, reason, attempts=attempts)
        return Outcome(parked.step, (failed, *parked.said))
    put_off = later(world, record, stage, reason, max(after.at - now, at_least), attempts=attempts, outcome="failed")
    return Outcome(put_off.step, (failed,))


def later(
    world: World,
    record: MessageRecord,
    stage: str,
    reason: str,
    waits: timedelta,
    *,
    attempts: int,
    outcome: str = "waits",
) -> Outcome[Step]:
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


def waits_for_handler(
    world: World, record: MessageRecord, stage: str, reason: str, *, handler: str | None = None
) -> Outcome[Step]:
    """Its handler is not there: it waits for it, uncounted. Said once for each handler, however many wait and however often
    they are looked at: `mesh-itk3 owed` lists them.
    """
    outcome = later(world, record, stage, Reason.HANDLER_GONE, WAIT_FOR_HANDLER, attempts=record.attempts)
    about = (handler or record.workflow_id, reason)
    if about in world.waited_for:
        return outcome
    world.waited_for.add(about)
    said = {**ids(record), "handler": handler, "stage": stage, "outcome": "waits", "state": record.state, "reason": reason}
    return Outcome(outcome.step, ((events.HANDLER_UNAVAILABLE, said),))


def park(world: World, record: MessageRecord, stage: str, reason: str, *, attempts: int | None = None) -> Outcome[Step]:
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


def id_for_ledger(text: str | None) -> str | None:
    """A sender's id or code as ledger and log may hold it: only in the form of a FHIR id, for anything else could be
    anything (design rule 18).
    """
    return text if text and FHIR_ID.fullmatch(text) else None


def ids(record: MessageRecord, message_header_id: str | None = None) -> dict[str, str | None]:
    """The canonical fields that name a message in a log line. A sender's id that is no FHIR id is not repeated: it
    could hold anything.
    """
    return {
        "mailbox_id": record.key.mailbox_id,
        "mesh_message_id": record.key.mesh_message_id,
        "workflow_id": record.workflow_id,
        "message_header_id": id_for_ledger(message_header_id or record.message_header_id),
    }


def response_ids(record: ResponseRecord, stage: str) -> dict[str, str | None]:
    """The same for a response of ours."""
    return {
        "mailbox_id": record.key.mailbox_id,
        "mesh_message_id": record.key.mesh_message_id,
        "workflow_id": record.workflow_id,
        "local_id": record.local_id,
        "level": record.level,
        "response_code": record.response_code,
        "stage": stage,
    }


def mesh_code(text: str | None) -> str | None:
    """A status code of MESH as ledger and log may hold it: codes are short words such as `14` or `EPL-151`."""
    return text if text and _MESH_CODE.fullmatch(text) else None


def milliseconds(world: World, started: float) -> float:
    """Since `started`, a reading of the monotonic clock."""
    return round((world.clock.monotonic() - started) * 1000, 1)
