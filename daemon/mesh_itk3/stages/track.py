"""Responses that MESH has taken: asked about until they are delivered or given up, and raised where neither is ever said."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from mesh_itk3 import events
from mesh_itk3.lifecycle import ResponseState
from mesh_itk3.ports import Entry, Mailbox, MailboxUnavailable, ResponseChanges, ResponseRecord, ResponseStep, Tracking
from mesh_itk3.reasons import Reason
from mesh_itk3.retry import is_noted_ahead, latest_noted_at
from mesh_itk3.stages.attempt import Outcome, Said, commit, mesh_code, response_ids
from mesh_itk3.stages.world import World

STAGE: Final = "respond"
TRACK_EVERY: Final = timedelta(hours=1)
"""MESH: tracking "must not be polled frequently"; delivery is also reported by a REPORT after five days."""
TRACK_OVERDUE_EVERY: Final = timedelta(days=1)
MESH_KEEPS_UNREAD: Final = timedelta(days=5)
"""Then MESH gives an unread message up and reports that (MESH API, code 14)."""
OVERDUE_AFTER: Final = MESH_KEEPS_UNREAD + timedelta(hours=1)
"""An hour leaves room for the report to reach us."""
STOP_TRACKING_AFTER: Final = timedelta(days=30)
"""MESH deletes what it had 30 days after delivery: then it can no longer say what became of it."""

FAILURES_IN_A_ROW: Final = 3
"""A guess: one or two are about those responses, more are MESH that cannot be reached."""


def track(world: World, mailbox: Mailbox, *, limit: int = 50) -> int:
    """Asks MESH what became of responses sent some time ago; of how many it has answered. Raises CredentialsRejected, and
    MailboxUnavailable where MESH answers nothing, fails several times in a row or asks to be left in peace: one response
    that it cannot tell of holds up no other.
    """
    now = world.clock.now()
    answered = in_a_row = 0
    failure: MailboxUnavailable | None = None
    for record in _to_ask_about(world, mailbox, now, limit):
        failure = _ask(world, mailbox, record, now)
        answered, in_a_row = (answered + 1, 0) if failure is None else (answered, in_a_row + 1)
        world.progress()
        if failure is not None and (in_a_row >= FAILURES_IN_A_ROW or failure.retry_after_s is not None):
            raise failure
    if failure is not None and not answered:
        raise failure
    return answered


def _to_ask_about(world: World, mailbox: Mailbox, now: datetime, limit: int) -> list[ResponseRecord]:
    """Those asked about the longest time ago first."""
    records = world.ledger.sent_responses(mailbox.mailbox_id, now - TRACK_EVERY, limit, sent_after=now - OVERDUE_AFTER)
    if left := limit - len(records):
        older = world.ledger.sent_responses(
            mailbox.mailbox_id, now - TRACK_OVERDUE_EVERY, left, sent_after=now - STOP_TRACKING_AFTER
        )
        asked = {record.local_id for record in records}
        records += [record for record in older if record.local_id not in asked]
    return records


def _ask(world: World, mailbox: Mailbox, record: ResponseRecord, now: datetime) -> MailboxUnavailable | None:
    """What MESH answers is noted; where it fails, that it was asked: this one is asked about again after the others."""
    tracking, failure = None, None
    try:
        tracking = mailbox.track(record.mesh_message_id) if record.mesh_message_id else None
    except MailboxUnavailable as error:
        failure = error
    commit(world.ledger.apply_responses, [_tracked(record, tracking, now)])
    return failure


def _tracked(record: ResponseRecord, tracking: Tracking | None, now: datetime) -> Outcome[ResponseStep]:
    match tracking.state if tracking else None:
        case "acknowledged":
            return _delivered(record, now)
        case "undeliverable":
            return undelivered(record, now, STAGE, tracking.status_code if tracking else None)
        case _:
            still = ResponseStep(record.local_id, record.state, ResponseState.SENT, None, ResponseChanges(tracked_at=now))
            return Outcome(still)


def _delivered(record: ResponseRecord, now: datetime) -> Outcome[ResponseStep]:
    changes = ResponseChanges(tracked_at=now)
    if record.reason == Reason.NEVER_ACKNOWLEDGED:  # late, but it has arrived: nobody has to look any more
        changes |= ResponseChanges(reason=None, raised_at=None)
    entry = Entry(at=now, stage=STAGE, outcome="delivered", response_code=record.response_code)
    return Outcome(ResponseStep(record.local_id, record.state, ResponseState.DELIVERED, entry, changes))


def undelivered(record: ResponseRecord, now: datetime, stage: str, status_code: str | None) -> Outcome[ResponseStep]:
    """MESH says that it could not deliver it, by tracking or by a report: its sender has not been told. It stands anew even
    where a person had seen that it was late: now it is certain.
    """
    code = mesh_code(status_code)
    reason = Reason.REPORTED_UNDELIVERED
    changes = ResponseChanges(reason=reason, status_code=code, raised_at=now, seen_at=None)
    entry = Entry(at=now, stage=stage, outcome="undelivered", response_code=record.response_code, reason=reason)
    step = ResponseStep(record.local_id, record.state, ResponseState.UNDELIVERED, entry, changes)
    said: Said = ((events.RESPONSE_UNDELIVERED, {**response_ids(record, stage), "status_code": code}),)
    return Outcome(step, said)


def raise_overdue(world: World, *, limit: int = 200) -> int:
    """Raises, once each, the responses that MESH has taken and of which it has said nothing since; how many. Asks nobody:
    it works while MESH cannot be reached, too. Corrects times that have yet to come first, for `track` as well.
    """
    now = world.clock.now()
    before, noted_after = now - OVERDUE_AFTER, latest_noted_at(now)
    records = world.ledger.overdue_responses(world.mailbox_ids, before, limit, noted_after=noted_after)
    overdue = [_overdue(record, now) for record in records if not _is_ahead(record, now)]
    corrected = [_time_corrected(record, now) for record in records if _is_ahead(record, now)]
    commit(world.ledger.apply_responses, [*corrected, *overdue])
    return len(overdue)


def _is_ahead(record: ResponseRecord, now: datetime) -> bool:
    return is_noted_ahead(record.sent_at, now) or is_noted_ahead(record.tracked_at, now)


def _time_corrected(record: ResponseRecord, now: datetime) -> Outcome[ResponseStep]:
    """Noted by a clock that was ahead: it would not be asked about, nor missed, until that time comes. It counts as sent now,
    and as not asked about yet.
    """
    changes = ResponseChanges()
    if is_noted_ahead(record.sent_at, now):
        changes["sent_at"] = now
    if is_noted_ahead(record.tracked_at, now):
        changes["tracked_at"] = None
    entry = Entry(at=now, stage=STAGE, outcome="time_corrected", response_code=record.response_code)
    return Outcome(ResponseStep(record.local_id, record.state, ResponseState.SENT, entry, changes))


def _overdue(record: ResponseRecord, now: datetime) -> Outcome[ResponseStep]:
    reason = Reason.NEVER_ACKNOWLEDGED
    entry = Entry(at=now, stage=STAGE, outcome="overdue", response_code=record.response_code, reason=reason)
    changes = ResponseChanges(raised_at=now, reason=reason)
    step = ResponseStep(record.local_id, record.state, ResponseState.SENT, entry, changes)
    return Outcome(step, ((events.RESPONSE_OVERDUE, {**response_ids(record, STAGE), "reason": reason}),))
