"""Stage 4: the outbox. owed -> sent through MESH; what becomes of it then is `track`.

A send has no idempotency key: when its outcome is not known, MESH is asked by local id before anything is sent again
(design rule 15).
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from itertools import chain
from typing import Final

from mesh_itk3 import events
from mesh_itk3.lifecycle import ResponseState
from mesh_itk3.ports import (
    CertificateUnusable,
    CredentialsRejected,
    Entry,
    LeaseLost,
    LedgerConflict,
    LedgerUnavailable,
    LookUpUnsupported,
    Mailbox,
    MailboxUnavailable,
    MessageKey,
    Outgoing,
    ResponseChanges,
    ResponseRecord,
    ResponseStep,
    SendRefused,
    SendUnresolved,
)
from mesh_itk3.reasons import Reason
from mesh_itk3.retry import ATTEMPTS, may_resend_unresolved
from mesh_itk3.stages.at_once import work_at_once
from mesh_itk3.stages.attempt import Outcome, commit, mesh_code, milliseconds, response_ids
from mesh_itk3.stages.world import World

STAGE: Final = "respond"
FOUND_SENT: Final = "found_sent"
MAX_UNRESOLVED_IN_A_ROW: Final = 3
"""Sends without an answer one after another, before the rest of the batch is put off: MESH is ill."""


@dataclass(slots=True)
class Sending:
    """One batch on its way, shared by those who send."""

    waiting: deque[list[ResponseRecord]]
    """One list for each message: its responses go out in their order, one after the other."""
    outcomes: list[Outcome[ResponseStep]] = field(default_factory=list)
    sent: set[tuple[str, str]] = field(default_factory=set)
    """MESH ids of the messages whose infrastructure response went out in this batch."""
    untouched: list[ResponseRecord] = field(default_factory=list)
    doubtful: set[str] = field(default_factory=set)
    """Local ids of those that MESH refused with our credentials: probably not taken, and not certainly."""
    never_asked: set[str] = field(default_factory=set)
    """Local ids of those that cannot be sent at all: refused, and not by MESH."""
    most_unresolved: int = MAX_UNRESOLVED_IN_A_ROW
    unresolved_in_a_row: int = 0
    reason: str = Reason.SEND_UNRESOLVED
    """Of the last one without an answer."""
    retry_after_s: float | None = None
    """MESH has asked to be left in peace so long."""
    is_over: bool = False
    """Nobody begins another."""


def respond(
    world: World, mailbox: Mailbox, *, limit: int = 50, workers: int = 1, most_unresolved: int = MAX_UNRESOLVED_IN_A_ROW
) -> int:
    """Sends up to `limit` owed responses of one mailbox, `workers` at a time; of how many MESH has answered, be it that it
    refuses them for good. Raises CredentialsRejected, MailboxUnavailable when MESH is ill (it has left `most_unresolved` in a
    row without an answer) or asks to be left in peace; what was sent until then is recorded.
    """
    waiting = _by_message(world.ledger.claim_responses(mailbox.mailbox_id, world.clock.now(), limit))
    batch = Sending(waiting, most_unresolved=most_unresolved)
    try:
        work_at_once(min(workers, len(batch.waiting)) or 1, STAGE, partial(_send_in_turn, world, mailbox, batch))
    finally:
        _record(world, batch)
    return sum(outcome.step.new is not ResponseState.OWED for outcome in batch.outcomes) - len(batch.never_asked)


def _by_message(records: Iterable[ResponseRecord]) -> deque[list[ResponseRecord]]:
    of: dict[MessageKey, list[ResponseRecord]] = {}
    for record in records:
        of.setdefault(record.key, []).append(record)
    return deque(of.values())


def _send_in_turn(world: World, mailbox: Mailbox, batch: Sending) -> None:
    """Until none waits. Whatever ends one sender ends the batch: the others finish the response in hand."""
    while (of_one_message := _next(batch)) is not None:
        try:
            _send_of_one_message(world, mailbox, batch, of_one_message)
        except BaseException:
            batch.is_over = True
            raise
        finally:
            batch.untouched += of_one_message


def _next(batch: Sending) -> list[ResponseRecord] | None:
    """None where the batch is over, or none waits: asked before, another sender might be quicker."""
    try:
        return None if batch.is_over else batch.waiting.popleft()
    except IndexError:
        return None


def _send_of_one_message(world: World, mailbox: Mailbox, batch: Sending, records: list[ResponseRecord]) -> None:
    """Takes away from `records` what it has tried."""
    while records and not batch.is_over:
        _send_first(world, mailbox, batch, records)
        records.pop(0)
        world.progress()
        if batch.unresolved_in_a_row >= batch.most_unresolved or batch.retry_after_s is not None:
            raise MailboxUnavailable(batch.reason, retry_after_s=batch.retry_after_s)


def _record(world: World, batch: Sending) -> None:
    """Whatever happened: what was sent is recorded, and what was not tried waits as it was."""
    for record in [*batch.untouched, *chain.from_iterable(batch.waiting)]:
        is_doubtful = record.local_id in batch.doubtful
        batch.outcomes.append(_put_off(world, record, Reason.MAILBOX_UNAVAILABLE, was_tried=False, is_doubtful=is_doubtful))
    commit(world.ledger.apply_responses, batch.outcomes)


# ------------------------------------------------------------------------------------------------ one response


def _send_first(world: World, mailbox: Mailbox, batch: Sending, records: list[ResponseRecord]) -> None:
    record = records[0]
    if _waits_for_infrastructure(batch, record):
        batch.outcomes.append(_put_off(world, record, None, was_tried=False))
        return
    started = world.clock.monotonic()
    try:
        if record.unresolved_since is not None:
            if not _is_to_be_sent_again(world, mailbox, batch, records, started):
                return
            record = records[0]
        mesh_message_id = mailbox.send(_outgoing(record))
    except SendRefused as refused:
        _refused(world, batch, record, refused)
    except SendUnresolved as unresolved:
        _unresolved(world, batch, record, unresolved)
    except (CertificateUnusable, LedgerUnavailable, LeaseLost):  # nothing was sent
        raise
    except CredentialsRejected:
        # Whoever repeats a call on the way repeats its token too: MESH takes the first and refuses the second, and we see the
        # refusal. So it is looked up before it is sent again.
        batch.doubtful.add(record.local_id)
        raise
    except Exception as error:  # noqa: BLE001 - the per-message loop; MESH may have taken it, so it is looked up
        _unresolved(world, batch, record, SendUnresolved(type(error).__name__))
    else:
        _sent(world, batch, record, mesh_message_id, started, "sent")


def _waits_for_infrastructure(batch: Sending, record: ResponseRecord) -> bool:
    """A business response is not sent before MESH has taken the infrastructure response of the same message."""
    if record.level != "business" or record.infrastructure_state is None:
        return False
    if record.infrastructure_state is ResponseState.OWED:
        return (record.key.mailbox_id, record.key.mesh_message_id) not in batch.sent
    return record.infrastructure_state is ResponseState.PARKED


def _is_to_be_sent_again(world: World, mailbox: Mailbox, batch: Sending, records: list[ResponseRecord], started: float) -> bool:
    """An earlier send's outcome is not known, or after a restore whether there was one. MESH is asked; only its "no", or an
    hour without an answer, lets the bytes go out: a doubled response is harmless, a missing one is not.
    """
    record = records[0]
    try:
        mesh_message_id = mailbox.find_sent(record.local_id, size=len(record.body))
    except (MailboxUnavailable, LookUpUnsupported) as error:
        if isinstance(error, MailboxUnavailable) and record.written_anew and not record.attempts:
            # Nobody has asked for it before, and what would go out is not the bytes of before: the hour counts from now.
            record = replace(record, unresolved_since=None)
        since = record.unresolved_since or world.clock.now()
        if may_resend_unresolved(since, world.clock.now()):
            return _is_begun_again(world, records, written_anew=record.written_anew)
        retry_after_s = error.retry_after_s if isinstance(error, MailboxUnavailable) else None
        batch.outcomes.append(_put_off(world, record, Reason.SEND_UNRESOLVED, was_tried=True, at_least_s=retry_after_s))
        if isinstance(error, MailboxUnavailable):
            _count_unresolved(batch, error)
        return False
    if mesh_message_id is None:  # what it will have is what goes out now
        return _is_begun_again(world, records, written_anew=False)
    _sent(world, batch, record, mesh_message_id, started, FOUND_SENT)
    return False


def _is_begun_again(world: World, records: list[ResponseRecord], *, written_anew: bool) -> bool:
    """Notes the send before its bytes go out, so that the hour counts from it, also where we die in it: what MESH has said of
    the one before says nothing of this one. False: a person or a report has moved the response meanwhile, and it is theirs.
    """
    record, changes = records[0], ResponseChanges(unresolved_since=world.clock.now(), written_anew=written_anew)
    try:
        world.ledger.apply_responses([ResponseStep(record.local_id, record.state, record.state, None, changes)])
    except LedgerConflict:
        return False
    records[0] = replace(record, **changes)
    return True


def _outgoing(record: ResponseRecord) -> Outgoing:
    return Outgoing(
        to_mailbox_id=record.to_mailbox_id,
        workflow_id=record.workflow_id,
        local_id=record.local_id,
        body=record.body,
    )


# ------------------------------------------------------------------------------------------------ what became of it


def _sent(world: World, batch: Sending, record: ResponseRecord, mesh_message_id: str, started: float, outcome: str) -> None:
    now = world.clock.now()
    batch.unresolved_in_a_row = 0
    if record.level == "infrastructure":
        batch.sent.add((record.key.mailbox_id, record.key.mesh_message_id))
    is_of_before = record.written_anew and outcome == FOUND_SENT
    reason = Reason.ANSWERED_BEFORE_RESTORE if is_of_before else None
    changes = ResponseChanges(
        mesh_message_id=mesh_message_id,
        sent_at=now,
        unresolved_since=None,
        due_at=None,
        reason=reason,
        attempts=record.attempts + 1,
        written_anew=is_of_before,  # what has been sent from here is known
    )
    code, attempt = record.response_code, record.attempts + 1
    entry = Entry(at=now, stage=STAGE, outcome=outcome, response_code=code, reason=reason, attempt=attempt)
    step = ResponseStep(record.local_id, record.state, ResponseState.SENT, entry, changes)
    said = {
        **response_ids(record, STAGE),
        "outcome": outcome,
        "reason": reason,
        "response_mesh_message_id": mesh_message_id,
        "attempt": attempt,
        "duration_ms": milliseconds(world, started),
    }
    batch.outcomes.append(Outcome(step, ((events.RESPOND_DONE, said),)))


def _refused(world: World, batch: Sending, record: ResponseRecord, refused: SendRefused) -> None:
    """400 and 417 are final: the sender has not been told, and an operator has to know."""
    batch.unresolved_in_a_row = 0
    if not refused.was_asked:
        batch.never_asked.add(record.local_id)
    entry = Entry(
        at=world.clock.now(),
        stage=STAGE,
        outcome="refused",
        response_code=record.response_code,
        reason=Reason.SEND_REFUSED,
        attempt=record.attempts + 1,
    )
    code = mesh_code(refused.code)
    changes = ResponseChanges(reason=Reason.SEND_REFUSED, status_code=code, unresolved_since=None, attempts=record.attempts + 1)
    step = ResponseStep(record.local_id, record.state, ResponseState.PARKED, entry, changes)
    said = {**response_ids(record, STAGE), "outcome": "refused", "status_code": code}
    batch.outcomes.append(Outcome(step, ((events.RESPONSE_PARKED, said),)))


def _unresolved(world: World, batch: Sending, record: ResponseRecord, unresolved: SendUnresolved) -> None:
    _count_unresolved(batch, unresolved)
    put_off = _put_off(
        world, record, Reason.SEND_UNRESOLVED, was_tried=True, at_least_s=unresolved.retry_after_s, outcome="unresolved"
    )
    said = {**response_ids(record, STAGE), "outcome": "unresolved", "reason": unresolved.reason, "attempt": record.attempts + 1}
    batch.outcomes.append(Outcome(put_off.step, ((events.RESPONSE_UNRESOLVED, said),)))


def _count_unresolved(batch: Sending, fault: SendUnresolved | MailboxUnavailable) -> None:
    batch.unresolved_in_a_row += 1
    batch.reason = fault.reason
    batch.retry_after_s = fault.retry_after_s or batch.retry_after_s


def _put_off(
    world: World,
    record: ResponseRecord,
    reason: Reason | None,
    *,
    was_tried: bool,
    is_doubtful: bool = False,
    at_least_s: float | None = None,
    outcome: str | None = None,
) -> Outcome[ResponseStep]:
    """Still owed, later. What was not tried keeps its history: it is not unresolved, unless
    it is doubtful.
    """
    now = world.clock.now()
    attempts = record.attempts + (1 if was_tried else 0)
    waits = ATTEMPTS.delay_s(max(attempts, 1), jitter=random.random(), at_least_s=at_least_s) if reason else 0.0
    changes = ResponseChanges(
        attempts=attempts,
        due_at=now + timedelta(seconds=waits) if waits else None,
        unresolved_since=(record.unresolved_since or now) if was_tried or is_doubtful else record.unresolved_since,
        reason=reason,
    )
    entry = Entry(at=now, stage=STAGE, outcome=outcome, reason=reason, attempt=attempts) if outcome else None
    return Outcome(ResponseStep(record.local_id, record.state, ResponseState.OWED, entry, changes))
