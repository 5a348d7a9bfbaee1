"""Stage 3: accepted -> completed (business response owed), awaiting a person's decision, again later, or parked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from mesh_itk3 import events
from mesh_itk3.handler import BusinessCode, Context, Decision, Defer, Respond, RetryLater
from mesh_itk3.itk3.envelope import Reading
from mesh_itk3.itk3.owed import is_business_response_owed
from mesh_itk3.lifecycle import Move, State, state_after
from mesh_itk3.patient_match import CANNOT_SAY
from mesh_itk3.ports import Changes, Entry, Kind, MessageRecord, NewResponse, Routed, Step, StorageFailed
from mesh_itk3.reasons import Reason
from mesh_itk3.retry import LONGEST_WAIT, MAX_ATTEMPTS
from mesh_itk3.stages import answer
from mesh_itk3.stages.attempt import (
    Outcome,
    failed_attempt,
    ids,
    later,
    milliseconds,
    park,
    take,
    waits_for_handler,
    work_through,
)
from mesh_itk3.stages.decide import CONFIGURATION
from mesh_itk3.stages.read import message_for_handler, read
from mesh_itk3.stages.world import World

STAGE = "dispatch"
LONGEST_RUN_S = 2.0
"""A guess: the other stages wait for their turn meanwhile. A handler that takes longer over one message keeps them waiting
for that long."""


@dataclass(slots=True)
class HandlerLog:
    """A handler's logger, bound to its message: fixed fields, allow-listed extras."""

    bound: Mapping[str, Any]

    def info(self, outcome: str, **fields: Any) -> None:
        events.emit(events.HANDLER_SAID, **{**fields, **self.bound, "outcome": outcome})

    def warning(self, outcome: str, **fields: Any) -> None:
        events.emit(events.HANDLER_WARNED, **{**fields, **self.bound, "outcome": outcome})


def dispatch(world: World, *, limit: int = 50) -> int:
    """Hands up to `limit` accepted messages to their handlers and commits what became of them; how many."""
    records = take(world, State.ACCEPTED, (Kind.MESSAGE,), limit)
    work_through(world, STAGE, records, partial(_dispatch_one, world), longest_s=LONGEST_RUN_S)
    return len(records)


def _dispatch_one(world: World, record: MessageRecord) -> Outcome[Step]:
    started = world.clock.monotonic()
    routed = world.routes.by_name(record.handler) if record.handler else None
    if routed is None:
        return waits_for_handler(world, record, STAGE, Reason.HANDLER_GONE, handler=record.handler)
    reading, raw = read(world, record)
    message = message_for_handler(world, record, reading, raw, record.warnings)
    try:
        answered = routed.handler.handle(message, _context(world, record, routed))
    except StorageFailed:
        raise  # a full disk is not the message's fault and is not counted against it
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the handler call: a plug-in's fault becomes a counted attempt
        return failed_attempt(world, record, STAGE, Reason.HANDLER_FAILED, error)
    return _follow(world, record, routed, reading, answered, started)


def _context(world: World, record: MessageRecord, routed: Routed) -> Context:
    return Context(
        idempotency_key=f"{record.key.mailbox_id}/{record.key.mesh_message_id}",
        now=world.clock.now(),
        decision=_decision(record),
        patients=world.patients,
        files=world.files,
        log=HandlerLog({**ids(record), "handler": routed.name}),
    )


def _decision(record: MessageRecord) -> Decision | None:
    if record.decision_code is None or record.decided_at is None:
        return None
    code, by = BusinessCode(record.decision_code), record.decided_by or ""
    return Decision(code, by, record.decided_at, is_by_person=by != CONFIGURATION)


# ------------------------------------------------------------------------------------------------ what follows


def _follow(
    world: World,
    record: MessageRecord,
    routed: Routed,
    reading: Reading,
    answered: Respond | Defer | RetryLater,
    started: float,
) -> Outcome[Step]:
    said = {**ids(record), "stage": STAGE, "handler": routed.name, "attempt": record.attempts + 1}
    match answered:
        case Respond(code=BusinessCode() as code):
            if record.decision_code is not None and code != record.decision_code:
                return failed_attempt(world, record, STAGE, Reason.HANDLER_IGNORED_DECISION, None)
            step = _completed(world, record, reading, code)
            done = {"outcome": "completed", "response_code": code, "duration_ms": milliseconds(world, started)}
            return Outcome(step, ((events.DISPATCH_DONE, {**said, **done}),))
        case Defer(reason=reason):
            if record.decision_code is not None:
                return failed_attempt(world, record, STAGE, Reason.HANDLER_IGNORED_DECISION, None)
            done = {"outcome": "deferred", "duration_ms": milliseconds(world, started)}
            why = _declared(routed, reason, Reason.HANDLER_DEFERRED)
            needed = (events.DECISION_NEEDED, {**said, "reason": why})
            return Outcome(_deferred(world, record, why), ((events.DISPATCH_DONE, {**said, **done}), needed))
        case RetryLater(after=after, reason=reason):
            return _retried(world, record, after, _declared(routed, reason, Reason.HANDLER_ASKED))
        case _:
            return failed_attempt(world, record, STAGE, Reason.HANDLER_FAILED, None)


def _declared(routed: Routed, reason: str, otherwise: Reason) -> str:
    """The handler's own word where it has declared it: ledger and log hold a fixed vocabulary, never free text. That no
    register could answer is kept even undeclared: nothing may then be decided by itself.
    """
    return reason if reason in routed.declaration.reasons or reason in CANNOT_SAY else otherwise


def _completed(world: World, record: MessageRecord, reading: Reading, code: BusinessCode) -> Step:
    now = world.clock.now()
    return Step(
        key=record.key,
        old=record.state,
        new=state_after(record.state, Move.COMPLETE),
        changes=Changes(response_code=code, reason=None, due_at=None, finished_at=now, attempts=record.attempts + 1),
        entry=Entry(at=now, stage=STAGE, outcome="completed", response_code=code, attempt=record.attempts + 1),
        responses=_owed(world, record, reading, code),
    )


def _owed(world: World, record: MessageRecord, reading: Reading, code: BusinessCode) -> tuple[NewResponse, ...]:
    if not is_business_response_owed(record.bus_ack_requested):
        return ()
    return answer.write(world, record, reading.header, code)


def _deferred(world: World, record: MessageRecord, reason: str) -> Step:
    now = world.clock.now()
    return Step(
        key=record.key,
        old=record.state,
        new=state_after(record.state, Move.DEFER),
        changes=Changes(reason=reason, due_at=None, attempts=0, deferred_at=now, reminded_at=None),
        entry=Entry(at=now, stage=STAGE, outcome="awaiting_decision", reason=reason),
    )


def _retried(world: World, record: MessageRecord, after: timedelta, reason: str) -> Outcome[Step]:
    """The handler asked for time: with its own waiting time, but counted like any other attempt, so that a message
    cannot wait for ever unseen.
    """
    attempts = record.attempts + 1
    if attempts >= MAX_ATTEMPTS:
        return park(world, record, STAGE, reason, attempts=attempts)
    waits = min(max(after, timedelta(seconds=1)), LONGEST_WAIT)
    said = {**ids(record), "stage": STAGE, "outcome": "waits", "attempt": attempts, "retry_in_s": waits.total_seconds()}
    outcome = later(world, record, STAGE, reason, waits, attempts=attempts)
    return Outcome(outcome.step, ((events.DISPATCH_DONE, said),))
