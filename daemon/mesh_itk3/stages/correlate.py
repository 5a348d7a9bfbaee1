"""Stage 5: MESH reports and ITK3 responses that we receive -> what they answer. Nothing is ever answered negatively here:
two systems that answer each other's answers never stop (design rule 11).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from mesh_itk3 import events
from mesh_itk3.itk3.response_bundle import ResponseReading, read_response
from mesh_itk3.itk3.response_codes import InfrastructureCode, level_of, response_code_of
from mesh_itk3.lifecycle import RESPONSE_TRANSITIONS, Move, ResponseState, State, state_after
from mesh_itk3.ports import (
    Changes,
    Entry,
    Kind,
    MessageRecord,
    NewResponse,
    ResponseChanges,
    ResponseRecord,
    ResponseStep,
    Step,
)
from mesh_itk3.reasons import Reason
from mesh_itk3.stages import answer
from mesh_itk3.stages.attempt import Outcome, commit, id_for_ledger, ids, milliseconds, take, work_through
from mesh_itk3.stages.read import read
from mesh_itk3.stages.world import World

STAGE = "correlate"
_MAY_BE_UNDELIVERED = frozenset(old for old, new in RESPONSE_TRANSITIONS if new is ResponseState.UNDELIVERED)


@dataclass(frozen=True, slots=True)
class Found:
    """What an incoming response or report refers to."""

    ours: ResponseRecord | None
    """The response of ours that it answers or reports on."""
    reason: Reason
    response_code: str | None = None
    message_header_id: str | None = None
    owed: tuple[NewResponse, ...] = ()
    undelivered: bool = False


def correlate(world: World, *, limit: int = 50) -> int:
    """Matches up to `limit` received responses and reports with what they answer; how many."""
    records = take(world, State.RECEIVED, (Kind.RESPONSE, Kind.REPORT), limit)
    # Committed one by one: a response that comes twice must find its first committed, or it would be answered twice.
    work_through(world, STAGE, records, partial(_correlate_one, world), commit_every_s=0.0)
    return len(records)


def _correlate_one(world: World, record: MessageRecord) -> Outcome[Step]:
    started = world.clock.monotonic()
    found = _report(world, record) if record.kind is Kind.REPORT else _response(world, record)
    if found.undelivered and found.ours is not None:
        _mark_undelivered(world, found.ours)
    step = _step(world, record, found)
    said = {
        **ids(record, found.message_header_id),
        "stage": STAGE,
        "outcome": step.entry.outcome,
        "response_code": found.response_code,
        "reason": found.reason,
        "local_id": found.ours.local_id if found.ours else None,
        "attempt": record.attempts + 1,
        "duration_ms": milliseconds(world, started),
    }
    return Outcome(step, ((events.CORRELATE_DONE, said),))


def _report(world: World, record: MessageRecord) -> Found:
    """A REPORT has no body: it names the failed message by MESH id and local id."""
    ours = world.ledger.response_by(mesh_message_id=record.linked_message_id) if record.linked_message_id else None
    if ours is None and record.local_id:
        ours = world.ledger.response_by(local_id=record.local_id)
    reason = Reason.ANSWERS_OURS if ours else Reason.ANSWERS_NOTHING
    return Found(ours=ours, reason=reason, undelivered=ours is not None)


def _response(world: World, record: MessageRecord) -> Found:
    """An ITK008M. Only a readable business response that asks for an infrastructure response gets one, once."""
    reading, _ = read(world, record)
    response = read_response(reading)
    if response is None:
        return Found(None, Reason.NOT_A_RESPONSE, message_header_id=reading.header.message_header_id)
    ours = world.ledger.response_by(message_header_id=response.answers) if response.answers else None
    is_left = ours is None and world.practices[record.key.mailbox_id].leaves_uncorrelated
    is_asked = not is_left and _asks_for_a_response(response) and not _is_answered(world, record, response)
    owed = answer.write(world, record, reading.header, InfrastructureCode.SUCCESS) if is_asked else ()
    return Found(
        ours=ours,
        reason=Reason.ANSWERS_OURS if ours else Reason.ANSWERS_NOTHING,
        response_code=id_for_ledger(response.code),
        message_header_id=response.message_header_id,
        owed=owed,
    )


def _asks_for_a_response(response: ResponseReading) -> bool:
    """Full acknowledgement: a readable business response whose InfAckRequested is readably true. An unreadable flag
    counts as not asked here, and an infrastructure response is never answered.
    """
    code = response_code_of(response.code) if response.code else None
    if code is None or id_for_ledger(response.message_header_id) is None:
        return False
    return level_of(code) == "business" and response.inf_ack is True


def _is_answered(world: World, record: MessageRecord, response: ResponseReading) -> bool:
    """The same response came before, as another MESH message, and has had its answer."""
    if response.message_header_id is None:
        return False
    mailbox_id, sender = record.key.mailbox_id, record.sender_mailbox_id
    return world.ledger.is_accepted(mailbox_id, sender, response.message_header_id) is not None


def _step(world: World, record: MessageRecord, found: Found) -> Step:
    now = world.clock.now()
    move = Move.CORRELATE if found.ours else Move.FAIL_TO_CORRELATE
    return Step(
        key=record.key,
        old=record.state,
        new=state_after(record.state, move),
        changes=Changes(
            message_header_id=id_for_ledger(found.message_header_id),
            response_code=found.response_code,
            reason=found.reason,
            linked_message_id=found.ours.mesh_message_id if found.ours else record.linked_message_id,
            finished_at=now,
            accepted_at=now if found.owed else None,  # what "answered before" is known by
            due_at=None,
        ),
        entry=Entry(
            at=now,
            stage=STAGE,
            outcome="correlated" if found.ours else "uncorrelated",
            response_code=found.response_code,
            reason=found.reason,
        ),
        responses=found.owed,
    )


def _mark_undelivered(world: World, ours: ResponseRecord) -> None:
    """MESH could not deliver a response of ours: its sender has not been told, and an operator has to know. Safe to
    repeat after a crash.
    """
    if ours.state not in _MAY_BE_UNDELIVERED:
        return
    now = world.clock.now()
    step = ResponseStep(
        local_id=ours.local_id,
        old=ours.state,
        new=ResponseState.UNDELIVERED,
        entry=Entry(
            at=now,
            stage=STAGE,
            outcome="undelivered",
            response_code=ours.response_code,
            reason=Reason.REPORTED_UNDELIVERED,
        ),
        changes=ResponseChanges(reason=Reason.REPORTED_UNDELIVERED),
    )
    said = {
        "mailbox_id": ours.key.mailbox_id,
        "mesh_message_id": ours.key.mesh_message_id,
        "local_id": ours.local_id,
        "response_code": ours.response_code,
        "stage": STAGE,
    }
    commit(world.ledger.apply_responses, [Outcome(step, ((events.RESPONSE_UNDELIVERED, said),))])
