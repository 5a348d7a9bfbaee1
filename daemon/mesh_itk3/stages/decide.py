"""Decisions that wait for a person: recorded when one is made; while none is, said again before and after the deadline; at
the deadline made by the configuration, where it says so.

What has been said is in the ledger, so a restart neither repeats nor forgets it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from mesh_itk3 import events
from mesh_itk3.deadlines import Due, due
from mesh_itk3.events import Event
from mesh_itk3.itk3.response_codes import BusinessCode
from mesh_itk3.lifecycle import Move, State, state_after
from mesh_itk3.ports import Changes, Entry, MessageRecord, Step
from mesh_itk3.reasons import Reason
from mesh_itk3.retry import is_noted_ahead
from mesh_itk3.stages.attempt import Outcome, commit, ids
from mesh_itk3.stages.world import World

STAGE: Final = "decide"
CONFIGURATION: Final = "[decisions] at_deadline"
"""Who decided where nobody did: no person may call themselves so."""


def decision(record: MessageRecord, code: BusinessCode, who: str, now: datetime) -> Step:
    """The step that records a decision. The attempts begin anew: what the handler could not do before, it may now."""
    reason = Reason.DEADLINE_DECIDED if who == CONFIGURATION else Reason.PERSON_DECIDED
    return Step(
        key=record.key,
        old=State.AWAITING_DECISION,
        new=state_after(State.AWAITING_DECISION, Move.DECIDE),
        entry=Entry(at=now, stage=STAGE, outcome="decided", response_code=code.value, reason=reason, who=who),
        changes=Changes(
            decision_code=code.value,
            decided_by=who,
            decided_at=now,
            reason=reason,
            attempts=0,
            due_at=None,
        ),
    )


def watch_decisions(world: World) -> int:
    """Says what is due about the decisions that wait, makes those that the configuration makes, and corrects times of a clock
    that was ahead; how many of all these were due. Safe to call at any time and as often as one likes.
    """
    now = world.clock.now()
    outcomes = list(_all_due(world, now))
    commit(world.ledger.apply, outcomes)
    return len(outcomes)


def _all_due(world: World, now: datetime) -> Iterator[Outcome[Step]]:
    for record in world.ledger.waiting([State.AWAITING_DECISION], world.mailbox_ids):
        if changes := _corrected_times(record, now):
            yield _time_corrected(record, changes, now)
            continue
        code = _configured_code(world, record)
        since = _waiting_since(record)
        match due(world.deadlines, since=since, said_at=record.reminded_at, now=now, may_decide=code is not None):
            case Due.REMIND:
                yield _said(world, record, events.DECISION_REMINDER, "reminded", now)
            case Due.ESCALATE:
                yield _said(world, record, events.DECISION_OVERDUE, "overdue", now)
            case Due.DECIDE if code is not None:
                yield _decided(record, code, now)


def _waiting_since(record: MessageRecord) -> datetime:
    return record.deferred_at or record.received_at


def _corrected_times(record: MessageRecord, now: datetime) -> Changes:
    """Noted by a clock that was ahead, nothing would be said until that time comes. It counts as waiting since now, and as not
    spoken of yet; so that nothing is decided early either.
    """
    changes = Changes()
    if is_noted_ahead(_waiting_since(record), now):
        changes["deferred_at"] = now
    if is_noted_ahead(record.reminded_at, now):
        changes["reminded_at"] = None
    return changes


def _time_corrected(record: MessageRecord, changes: Changes, now: datetime) -> Outcome[Step]:
    entry = Entry(at=now, stage=STAGE, outcome="time_corrected", reason=record.reason)
    return Outcome(Step(record.key, record.state, state_after(record.state, Move.REMIND), entry, changes))


def _configured_code(world: World, record: MessageRecord) -> BusinessCode | None:
    """Only what the handler of this message lets a person decide, only while it can carry it out, and never where no
    register could answer.
    """
    code = world.deadlines.code_for(record.reason)
    routed = world.routes.by_name(record.handler) if record.handler else None
    return code if routed is not None and code in routed.declaration.decisions else None


def _said(world: World, record: MessageRecord, event: Event, outcome: str, now: datetime) -> Outcome[Step]:
    step = Step(
        key=record.key,
        old=record.state,
        new=state_after(record.state, Move.REMIND),
        entry=Entry(at=now, stage=STAGE, outcome=outcome, reason=record.reason),
        changes=Changes(reminded_at=now),
    )
    left = world.deadlines.ends_at(_waiting_since(record)) - now
    said = {**_named(record), "reason": record.reason, "hours_left": round(left.total_seconds() / 3600, 1)}
    return Outcome(step, ((event, said),))


def _decided(record: MessageRecord, code: BusinessCode, now: datetime) -> Outcome[Step]:
    said = {**_named(record), "outcome": "decided", "response_code": code.value, "actor": CONFIGURATION}
    return Outcome(decision(record, code, CONFIGURATION, now), ((events.DECISION_BY_DEADLINE, said),))


def _named(record: MessageRecord) -> dict[str, Any]:
    return {**ids(record), "handler": record.handler, "stage": STAGE}
