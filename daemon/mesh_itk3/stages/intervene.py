"""What an operator does to a message: hold and release it, have it tried again, abandon it. The steps only: the message as it
stands, who acts and `now` in, one `Act` out, which `Ledger.act` commits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from mesh_itk3 import events
from mesh_itk3.itk3.owed import is_business_response_owed
from mesh_itk3.lifecycle import TRANSITIONS, Move, ResponseState, State, state_after, state_back
from mesh_itk3.ports import Changes, Entry, Kind, MessageRecord, ResponseChanges, ResponseRecord, ResponseStep, Step
from mesh_itk3.reasons import ABANDON_REASONS, MustBeTold, Reason
from mesh_itk3.stages.attempt import Said, ids, response_ids

RETRY: Final = "retry"
HOLD: Final = "hold"
RELEASE: Final = "release"
ABANDON: Final = "abandon"


@dataclass(frozen=True, slots=True)
class Act:
    """Committed in one transaction, and what is said of it once that is durable."""

    steps: tuple[Step, ...] = ()
    responses: tuple[ResponseStep, ...] = ()
    said: Said = ()


# ------------------------------------------------------------------------------------------------ what stands


def is_held(record: MessageRecord) -> bool:
    """Whether a person stopped it, rather than a fault."""
    return record.state is State.PARKED and record.reason == Reason.HELD_BY_PERSON


def is_failed(record: MessageRecord) -> bool:
    """Whether it is parked because of a fault."""
    return record.state is State.PARKED and not is_held(record)


def can_be_held(record: MessageRecord) -> bool:
    """Whether something would happen to it yet."""
    return (record.state, Move.HOLD) in TRANSITIONS


def parked_from(record: MessageRecord) -> State:
    """Where a parked message stood before. What was accepted never goes back to be judged: it would be a duplicate of
    itself.
    """
    return record.parked_from or (State.ACCEPTED if record.accepted_at else State.RECEIVED)


def responses_to_retry(record: MessageRecord, responses: Iterable[ResponseRecord]) -> tuple[ResponseRecord, ...]:
    """Our parked responses to it; none where it is abandoned: nothing more happens to it."""
    if record.state is State.ABANDONED:
        return ()
    return tuple(response for response in responses if response.state is ResponseState.PARKED)


def can_be_retried(record: MessageRecord, responses: Iterable[ResponseRecord]) -> bool:
    """Whether `retry` has something to do with it."""
    return is_failed(record) or bool(responses_to_retry(record, responses))


def is_sender_to_be_told(record: MessageRecord, responses: Iterable[ResponseRecord], reason: Reason) -> bool:
    """Whether somebody still has to tell the sender when this message is abandoned for this reason. What was not read
    counts as asked for, and so does a response that MESH has refused.
    """
    if record.kind is not Kind.MESSAGE:
        return False
    told = ABANDON_REASONS[reason]
    if told is not MustBeTold.WHO_ASKED:
        return told is MustBeTold.SENDER
    is_asked = parked_from(record) is State.RECEIVED or is_business_response_owed(record.bus_ack_requested)
    return is_asked or any(response.state is ResponseState.PARKED for response in responses)


def began_to_wait(timeline: Sequence[Entry]) -> Entry | None:
    """The last time that the message began to wait for a decision: while it is held, only its timeline knows why."""
    waits = (entry for entry in reversed(timeline) if entry.outcome == State.AWAITING_DECISION.value)
    return next(waits, None)


# ------------------------------------------------------------------------------------------------ the acts


def hold(record: MessageRecord, who: str, now: datetime) -> Act:
    """Nothing more happens to it; attempts, waiting time and the clock of its decision stay as they are."""
    step = Step(
        key=record.key,
        old=record.state,
        new=state_after(record.state, Move.HOLD),
        changes=Changes(reason=Reason.HELD_BY_PERSON, parked_from=record.state),
        entry=Entry(at=now, stage=HOLD, outcome="held", reason=Reason.HELD_BY_PERSON, who=who),
    )
    said = {**_named(record, HOLD, who), "outcome": "held", "state": record.state}
    return Act((step,), said=((events.MESSAGE_HELD, said),))


def release(record: MessageRecord, reason: str | None, who: str, now: datetime) -> Act:
    """It goes on where it was held. `reason`: of a decision, why it waits, for a decision that waits because no register
    could answer is never made by itself. Its deadline counts from where it counted; but people have their notice again
    before anything is decided by itself, as after a downtime.
    """
    changes = Changes(reason=None, parked_from=None)
    if parked_from(record) is State.AWAITING_DECISION:
        changes = Changes(reason=reason, parked_from=None, reminded_at=None)
    step = Step(
        key=record.key,
        old=record.state,
        new=state_back(parked_from(record), Move.RELEASE),
        changes=changes,
        entry=Entry(at=now, stage=RELEASE, outcome="released", who=who),
    )
    said = {**_named(record, RELEASE, who), "outcome": "released", "state": step.new}
    return Act((step,), said=((events.MESSAGE_RELEASED, said),))


def retry(record: MessageRecord, responses: Iterable[ResponseRecord], who: str, now: datetime) -> Act:
    """All of it that is parked."""
    acts = [retry_message(record, who, now)] if is_failed(record) else []
    return together([*acts, retry_responses(record, responses, who, now)])


def retry_message(record: MessageRecord, who: str, now: datetime) -> Act:
    """It goes back to where it was parked, and what counts begins anew; what was tried alone still is."""
    step = Step(
        key=record.key,
        old=record.state,
        new=state_back(parked_from(record), Move.RETRY),
        changes=Changes(attempts=0, interrupted=0, due_at=None, reason=None, parked_from=None),
        entry=Entry(at=now, stage=RETRY, outcome="retried", reason=record.reason, who=who),
    )
    said = {**_named(record, RETRY, who), "outcome": "retried", "state": step.new, "reason": record.reason}
    return Act((step,), said=((events.MESSAGE_RETRIED, said),))


def retry_responses(record: MessageRecord, responses: Iterable[ResponseRecord], who: str, now: datetime) -> Act:
    """Our parked responses to it, of which all are to be given, are owed again, with the bytes and ids that they have. A
    business response that was parked with its infrastructure response is brought back by the ledger, with it.
    """
    parked = responses_to_retry(record, responses)
    is_with_infrastructure = any(response.level == "infrastructure" for response in parked)
    steps = tuple(
        _owed_again(response, who, now)
        for response in parked
        if not (is_with_infrastructure and response.reason == Reason.INFRASTRUCTURE_REFUSED)
    )
    said = ((events.RESPONSE_RETRIED, {**response_ids(each, RETRY), "outcome": "retried", "actor": who}) for each in parked)
    return Act(responses=steps, said=tuple(said))


def abandon(record: MessageRecord, responses: Iterable[ResponseRecord], reason: Reason, who: str, now: datetime) -> Act:
    """Nothing more happens to it, for good; its bytes stay. Parked responses to it are given up with it. Where the sender
    has yet to hear of it, that stands until a person says that they have told them.
    """
    responses = tuple(responses)
    is_to_be_told = is_sender_to_be_told(record, responses, reason)
    changes = Changes(reason=reason, parked_from=parked_from(record), due_at=None, finished_at=now)
    if is_to_be_told:
        changes["sender_not_told"] = True
    step = Step(
        key=record.key,
        old=record.state,
        new=state_after(record.state, Move.ABANDON),
        changes=changes,
        entry=Entry(at=now, stage=ABANDON, outcome="abandoned", reason=reason, who=who),
    )
    unseen = (response for response in responses_to_retry(record, responses) if response.seen_at is None)
    given_up = tuple(_given_up(response, reason, who, now) for response in unseen)
    said = {**_named(record, ABANDON, who), "outcome": "abandoned", "reason": reason}
    told: Said = ((events.SENDER_NOT_TOLD, {**ids(record), "stage": ABANDON}),) if is_to_be_told else ()
    return Act((step,), given_up, ((events.MESSAGE_ABANDONED, said), *told))


def together(acts: Sequence[Act]) -> Act:
    """Several in one transaction."""
    return Act(
        steps=tuple(step for act in acts for step in act.steps),
        responses=tuple(step for act in acts for step in act.responses),
        said=tuple(said for act in acts for said in act.said),
    )


def _owed_again(response: ResponseRecord, who: str, now: datetime) -> ResponseStep:
    changes = ResponseChanges(
        attempts=0,
        due_at=None,
        # MESH is asked for it before it is sent, whatever happened to it before it was refused; that nobody can tell has
        # lasted long enough.
        unresolved_since=response.created_at,
        reason=None,
        status_code=None,
        raised_at=None,
        seen_at=None,
    )
    entry = Entry(at=now, stage=RETRY, outcome="retried", response_code=response.response_code, reason=response.reason, who=who)
    return ResponseStep(response.local_id, response.state, ResponseState.OWED, entry, changes)


def _given_up(response: ResponseRecord, reason: Reason, who: str, now: datetime) -> ResponseStep:
    """It stays what it is, and stands nowhere any more: its message says what there is to say."""
    code = response.response_code
    entry = Entry(at=now, stage=ABANDON, outcome="given_up", response_code=code, reason=reason, who=who)
    return ResponseStep(response.local_id, response.state, ResponseState.PARKED, entry, ResponseChanges(seen_at=now))


def _named(record: MessageRecord, stage: str, who: str) -> dict[str, Any]:
    return {**ids(record), "handler": record.handler, "stage": stage, "actor": who}
