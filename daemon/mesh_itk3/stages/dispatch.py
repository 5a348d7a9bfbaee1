"""Stage 3: accepted -> completed (business response owed), awaiting a person's decision, again later, or parked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mesh_itk3 import events
from mesh_itk3.handler import BusinessCode, Context, Decision, Defer, Message, Respond, RetryLater
from mesh_itk3.itk3.envelope import Reading
from mesh_itk3.itk3.owed import is_business_response_owed
from mesh_itk3.lifecycle import Move, State, state_after
from mesh_itk3.ports import Changes, Entry, Kind, MessageRecord, NewResponse, PayloadMissing, Routed, Step, StorageFailed
from mesh_itk3.reasons import Reason
from mesh_itk3.retry import MAX_ATTEMPTS
from mesh_itk3.stages import answer
from mesh_itk3.stages.attempt import Outcome, commit, failed_attempt, ids, in_turn, later, milliseconds, park
from mesh_itk3.stages.read import message_for_handler, read
from mesh_itk3.stages.world import World

STAGE = "dispatch"
COMMIT_EVERY_S = 0.5
"""What handlers have finished is committed at least this often: a slow handler does not hold back the others' answers."""
WAIT_FOR_HANDLER = timedelta(minutes=1)
WAIT_FOR_DISK = timedelta(minutes=1)
MAX_WAIT = timedelta(days=1)


class _HandlerFailed(Exception):
    """Wraps whatever a handler raised."""


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
    records = world.ledger.claim(State.ACCEPTED, (Kind.MESSAGE,), world.mailbox_ids, world.clock.now(), limit)
    finished: list[Outcome] = []
    committed_at = world.clock.monotonic()
    for record in in_turn(world, records):
        finished.append(_dispatch_safely(world, record))
        if world.clock.monotonic() - committed_at >= COMMIT_EVERY_S:
            commit(world, finished)
            finished, committed_at = [], world.clock.monotonic()
    commit(world, finished)
    return len(records)


def _dispatch_safely(world: World, record: MessageRecord) -> Outcome:
    try:
        return _dispatch_one(world, record)
    except PayloadMissing:
        return park(world, record, STAGE, Reason.PAYLOAD_MISSING)
    except StorageFailed as error:
        events.emit(events.STORAGE_FAILED, **ids(record), stage=STAGE, **events.where(error))
        return later(world, record, STAGE, Reason.STORAGE_FAILED, WAIT_FOR_DISK, attempts=record.attempts)
    except _HandlerFailed as error:
        cause = error.__cause__
        return failed_attempt(world, record, STAGE, Reason.HANDLER_FAILED, cause if isinstance(cause, Exception) else error)
    except Exception as error:  # noqa: BLE001 - the per-message loop: one message's fault must not hold up the others
        return failed_attempt(world, record, STAGE, Reason.STAGE_FAILED, error)
    finally:
        world.progress()


def _dispatch_one(world: World, record: MessageRecord) -> Outcome:
    started = world.clock.monotonic()
    routed = world.routes.by_name(record.handler) if record.handler else None
    if routed is None:
        outcome = later(world, record, STAGE, Reason.HANDLER_GONE, WAIT_FOR_HANDLER, attempts=record.attempts)
        said = {**ids(record), "handler": record.handler, "reason": Reason.HANDLER_GONE}
        return Outcome(outcome.step, ((events.HANDLER_UNAVAILABLE, said),))
    reading, raw = read(world, record)
    message = message_for_handler(world, record, reading, raw, record.warnings)
    answered = _handle(world, record, routed, message)
    return _follow(world, record, routed, reading, answered, started)


def _handle(world: World, record: MessageRecord, routed: Routed, message: Message) -> Respond | Defer | RetryLater:
    """The handler call. StorageFailed passes: a full disk is not the message's fault and is not counted against it."""
    try:
        return routed.handler.handle(message, _context(world, record, routed))
    except StorageFailed:
        raise
    except Exception as error:
        raise _HandlerFailed from error


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
    return Decision(BusinessCode(record.decision_code), record.decided_by or "", record.decided_at)


# ------------------------------------------------------------------------------------------------ what follows


def _follow(
    world: World,
    record: MessageRecord,
    routed: Routed,
    reading: Reading,
    answered: Respond | Defer | RetryLater,
    started: float,
) -> Outcome:
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
            needed = {**said, "reason": reason}
            return Outcome(
                _deferred(world, record), ((events.DISPATCH_DONE, {**said, **done}), (events.DECISION_NEEDED, needed))
            )
        case RetryLater(after=after):
            return _retried(world, record, after)
        case _:
            return failed_attempt(world, record, STAGE, Reason.HANDLER_FAILED, None)


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


def _deferred(world: World, record: MessageRecord) -> Step:
    now = world.clock.now()
    return Step(
        key=record.key,
        old=record.state,
        new=state_after(record.state, Move.DEFER),
        changes=Changes(reason=Reason.HANDLER_DEFERRED, due_at=None, attempts=0),
        entry=Entry(at=now, stage=STAGE, outcome="awaiting_decision", reason=Reason.HANDLER_DEFERRED),
    )


def _retried(world: World, record: MessageRecord, after: timedelta) -> Outcome:
    """The handler asked for time: with its own waiting time, but counted like any other attempt, so that a message
    cannot wait for ever unseen.
    """
    attempts = record.attempts + 1
    if attempts >= MAX_ATTEMPTS:
        return park(world, record, STAGE, Reason.HANDLER_ASKED, attempts=attempts)
    waits = min(max(after, timedelta(seconds=1)), MAX_WAIT)
    said = {**ids(record), "stage": STAGE, "outcome": "waits", "attempt": attempts, "retry_in_s": waits.total_seconds()}
    outcome = later(world, record, STAGE, Reason.HANDLER_ASKED, waits, attempts=attempts)
    return Outcome(outcome.step, ((events.DISPATCH_DONE, said),))
