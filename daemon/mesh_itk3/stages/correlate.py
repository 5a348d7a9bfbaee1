"""Stage 5: MESH reports and ITK3 responses that we receive -> what they answer. Nothing is ever answered negatively here:
two systems that answer each other's answers never stop (design rule 11).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from mesh_itk3 import events
from mesh_itk3.events import Event
from mesh_itk3.itk3.message_header import written_id
from mesh_itk3.itk3.response_codes import InfrastructureCode
from mesh_itk3.itk3.response_reading import ResponseReading, read_response
from mesh_itk3.lifecycle import RESPONSE_TRANSITIONS, Move, ResponseState, State, state_after
from mesh_itk3.ports import (
    Changes,
    Entry,
    Kind,
    LedgerConflict,
    MessageRecord,
    NewResponse,
    PayloadMissing,
    ResponseChanges,
    ResponseRecord,
    ResponseStep,
    Step,
)
from mesh_itk3.reasons import Reason
from mesh_itk3.stages import answer
from mesh_itk3.stages.attempt import Outcome, Said, id_for_ledger, ids, milliseconds, response_ids, take, work_through
from mesh_itk3.stages.read import read
from mesh_itk3.stages.track import undelivered
from mesh_itk3.stages.world import World

STAGE = "correlate"
UNMATCHED_FIELDS = ("mailbox_id", "mesh_message_id", "workflow_id", "message_header_id", "stage", "response_code", "reason")
TRIES = 5
"""Of noting on a response of ours what came in about it, against a stage that moves it at the same time."""
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
    fault: Reason | None = None
    """Why the one whom we answered does not know our answer, where this says so."""
    unmatched: Event | None = None
    """What is raised where nobody can tell what it refuses, or what it is: it stands until a person has seen it."""
    status_code: str | None = None
    """Of a report: MESH's code."""


def correlate(world: World, *, limit: int = 50) -> int:
    """Matches up to `limit` received responses and reports with what they answer; how many."""
    records = take(world, State.RECEIVED, (Kind.RESPONSE, Kind.REPORT), limit)
    # Committed one by one: a response that comes twice must find its first committed, or it would be answered twice.
    work_through(world, STAGE, records, partial(_correlate_one, world), commit_every_s=0.0)
    return len(records)


def _correlate_one(world: World, record: MessageRecord) -> Outcome[Step]:
    started = world.clock.monotonic()
    found = _report(world, record) if record.kind is Kind.REPORT else _response(world, record)
    if found.fault and found.ours is not None:
        _raise(world, found.ours, found)
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
    unmatched: Said = ((found.unmatched, {name: said[name] for name in UNMATCHED_FIELDS}),) if found.unmatched else ()
    return Outcome(step, ((events.CORRELATE_DONE, said), *unmatched))


def _report(world: World, record: MessageRecord) -> Found:
    """A REPORT has no body: it names the failed message by MESH id and local id."""
    ours = _ours(world, record, mesh_message_id=record.linked_message_id) or _ours(world, record, local_id=record.local_id)
    if ours is None:
        is_left = world.practices[record.key.mailbox_id].leaves_uncorrelated  # to somebody else, who finds it in MESH
        return Found(None, Reason.ANSWERS_NOTHING, unmatched=None if is_left else events.REPORT_UNMATCHED)
    return Found(ours, Reason.ANSWERS_OURS, fault=Reason.REPORTED_UNDELIVERED, status_code=_status_code(world, record))


def _status_code(world: World, record: MessageRecord) -> str | None:
    """Stands among the report's MESH headers; that it is undelivered is certain without."""
    with suppress(PayloadMissing):
        return world.payloads.headers(record.payload.name).status_code if record.payload else None
    return None


def _response(world: World, record: MessageRecord) -> Found:
    """An ITK008M. Only a readable business response that asks for an infrastructure response gets one, once."""
    reading, _ = read(world, record)
    response = read_response(reading)
    leaves = world.practices[record.key.mailbox_id].leaves_uncorrelated  # in MESH, to somebody else who hears of it there
    if response is None:
        named, unmatched = reading.header.message_header_id, None if leaves else events.ANSWER_UNREADABLE
        return Found(None, Reason.NOT_A_RESPONSE, message_header_id=named, unmatched=unmatched)
    ours = _answered(world, record, response)
    is_left = ours is None and leaves
    is_open = not _has_ended(world, ours) and not _is_answered(world, record, response)
    is_asked = not is_left and _asks_for_a_response(response) and is_open
    owed = answer.write(world, record, reading.header, InfrastructureCode.SUCCESS) if is_asked else ()
    return Found(
        ours=ours,
        reason=Reason.ANSWERS_OURS if ours else Reason.ANSWERS_NOTHING,
        response_code=response.said,
        message_header_id=response.message_header_id,
        owed=owed,
        fault=Reason.REFUSED_BY_RECEIVER if response.is_negative else None,
        unmatched=None if ours or is_left else _unmatched(response),
    )


def _unmatched(response: ResponseReading) -> Event | None:
    """A positive response to nothing of ours harms nobody; a letter that only calls itself a response says nothing."""
    if response.is_negative:
        return events.ANSWER_UNMATCHED
    return events.ANSWER_UNREADABLE if response.said is None else None


def _answered(world: World, record: MessageRecord, response: ResponseReading) -> ResponseRecord | None:
    """By the id that it quotes; where that names nothing of ours, by its local id, into which the NHS test harness and
    older systems write the id of what they answer. SenderReference names nothing: what we send repeats the other's.
    """
    if found := _ours(world, record, message_header_id=response.answers):
        return found
    local_id = (record.local_id or "").removeprefix("infAck-").removeprefix("busAck-") or None
    return _ours(world, record, message_header_id=local_id) or _ours(world, record, local_id=local_id)


def _ours(world: World, record: MessageRecord, **named: str | None) -> ResponseRecord | None:
    """The response of ours that this id names, if the mailbox that sent it is the one where this came in."""
    found = world.ledger.response_by(**named) if all(named.values()) else None
    return found if found is not None and found.key.mailbox_id == record.key.mailbox_id else None


def _asks_for_a_response(response: ResponseReading) -> bool:
    """Full acknowledgement: a readable business response whose InfAckRequested is readably true. An unreadable flag
    counts as not asked here, and an infrastructure response is never answered.
    """
    return response.level == "business" and response.inf_ack is True and _plain_id(response) is not None


def _plain_id(response: ResponseReading) -> str | None:
    """Its id as the ledger holds it: `urn:uuid:` before one is another spelling of the same id."""
    return id_for_ledger(written_id(response.message_header_id or ""))


def _has_ended(world: World, ours: ResponseRecord | None) -> bool:
    """What it answers is our 20013 to a response of theirs, or has had a response that we answered. Else whoever answers
    each of our answers with a new business response would be answered for ever.
    """
    answered = world.ledger.get(ours.key) if ours else None
    if ours is None or answered is None:
        return False
    return answered.kind is Kind.RESPONSE or any(each.accepted_at for each in world.ledger.answers_to([ours.local_id]))


def _is_answered(world: World, record: MessageRecord, response: ResponseReading) -> bool:
    """The same response came before, as another MESH message, and has had its answer."""
    message_header_id = _plain_id(response)
    if message_header_id is None:
        return False
    mailbox_id, sender = record.key.mailbox_id, record.sender_mailbox_id
    return world.ledger.is_accepted(mailbox_id, sender, message_header_id) is not None


def _step(world: World, record: MessageRecord, found: Found) -> Step:
    now = world.clock.now()
    move = Move.CORRELATE if found.ours else Move.FAIL_TO_CORRELATE
    return Step(
        key=record.key,
        old=record.state,
        new=state_after(record.state, move),
        changes=Changes(
            message_header_id=id_for_ledger(written_id(found.message_header_id or "")),
            response_code=found.response_code,
            reason=found.reason,
            linked_message_id=found.ours.mesh_message_id if found.ours else record.linked_message_id,
            answers_local_id=found.ours.local_id if found.ours else None,
            finished_at=now,
            accepted_at=now if found.owed else None,  # what "answered before" is known by
            sender_not_told=found.unmatched is not None,
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


def _raise(world: World, ours: ResponseRecord, found: Found) -> None:
    """The one whom we answered does not know our answer, and an operator has to know that. Safe to repeat after a crash.
    Where another stage moves the response at this moment it is read again: this must not be lost.
    """
    current: ResponseRecord | None = ours
    for _ in range(TRIES):
        outcome = _raised(world, current, found) if current else None
        if outcome is None:
            return
        try:
            world.ledger.apply_responses([outcome.step])
        except LedgerConflict:
            current = world.ledger.response_by(local_id=ours.local_id)
            continue
        for event, fields in outcome.said:
            events.emit(event, **fields)
        return
    raise LedgerConflict(ours.local_id)


def _raised(world: World, ours: ResponseRecord, found: Found) -> Outcome[ResponseStep] | None:
    """None: that is known already."""
    now = world.clock.now()
    if found.fault is Reason.REPORTED_UNDELIVERED:
        is_news = ours.state in _MAY_BE_UNDELIVERED
        return undelivered(ours, now, STAGE, found.status_code) if is_news else None
    if ours.reason == found.fault or (ours.state, ours.state) not in RESPONSE_TRANSITIONS:
        return None
    entry = Entry(at=now, stage=STAGE, outcome="refused", response_code=ours.response_code, reason=found.fault)
    changes = ResponseChanges(reason=found.fault, raised_at=now, seen_at=None)
    said = {**response_ids(ours, STAGE), "response_code": found.response_code, "reason": found.fault}
    return Outcome(ResponseStep(ours.local_id, ours.state, ours.state, entry, changes), ((events.RESPONSE_REFUSED, said),))
