"""Stage 2: received -> accepted (20013 owed) or rejected (one negative infrastructure response owed, nothing more)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from mesh_itk3 import events
from mesh_itk3.events import Event
from mesh_itk3.handler import Refuse
from mesh_itk3.itk3.envelope import Reading
from mesh_itk3.itk3.message_header import normalise_id, written_id
from mesh_itk3.itk3.owed import business_flag, infrastructure_flag, is_infrastructure_response_owed
from mesh_itk3.itk3.response_codes import InfrastructureCode
from mesh_itk3.itk3.verdict import Verdict, judge, refuse
from mesh_itk3.lifecycle import Move, State, state_after
from mesh_itk3.ports import Changes, Entry, Kind, MessageRecord, NewResponse, Routed, Step
from mesh_itk3.reasons import Reason
from mesh_itk3.stages import answer
from mesh_itk3.stages.attempt import Outcome, Said, id_for_ledger, ids, milliseconds, take, waits_for_handler, work_through
from mesh_itk3.stages.facts import facts, have_same_bytes
from mesh_itk3.stages.read import keep, message_for_handler, read
from mesh_itk3.stages.world import World

STAGE = "interpret"


@dataclass(slots=True)
class AcceptedHere:
    """Messages accepted in this batch, whose rows are not committed yet: the second of two equals is a duplicate too."""

    by_message: dict[tuple[str, str | None, str], MessageRecord] = field(default_factory=dict)
    by_document: dict[tuple[str, str | None, str], MessageRecord] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Earlier:
    """The accepted messages that this one may be a duplicate of."""

    message: MessageRecord | None
    document: MessageRecord | None


def interpret(world: World, *, limit: int = 50) -> int:
    """Judges up to `limit` received messages and commits what became of them; how many."""
    records = take(world, State.RECEIVED, (Kind.MESSAGE,), limit)
    accepted = AcceptedHere()
    # One commit for all of them: `accepted` knows only what is not committed yet.
    work_through(world, STAGE, records, partial(_interpret_one, world, accepted), commit_every_s=math.inf)
    return len(records)


def _interpret_one(world: World, accepted: AcceptedHere, record: MessageRecord) -> Outcome[Step]:
    started = world.clock.monotonic()
    reading, raw = read(world, record)
    if reading.is_response:
        return _hand_to_correlate(world, record)
    if not _has_handler(world, record.workflow_id):
        return _wait_for_handler(world, record)
    earlier = _earlier(world, record, reading, accepted)
    verdict, routed = _verdict(world, record, reading, raw, earlier)
    step = _step(world, record, reading, verdict, routed, earlier)
    if verdict.is_positive:
        keep(world, record, reading, raw)
        _remember(accepted, replace(record, **_identity(reading, verdict)))
    return Outcome(step, _said(world, record, reading, verdict, step, started))


def _has_handler(world: World, workflow_id: str) -> bool:
    """A handler that is switched off, broken or uninstalled since the message was collected is our fault, and must not
    be told to the sender as his.
    """
    return world.routes.is_ours(workflow_id) and world.routes.unavailable(workflow_id) is None


# ------------------------------------------------------------------------------------------------ judging


def _verdict(
    world: World, record: MessageRecord, reading: Reading, raw: bytes, earlier: Earlier
) -> tuple[Verdict, Routed | None]:
    """ITK3's rules first, then the handler's own examination."""
    verdict = judge(reading, facts(world, record, earlier.message, earlier.document))
    if not verdict.is_positive or reading.envelope is None:
        return verdict, None
    document = reading.envelope.document
    composition_type = document.type_code if document else None
    routed = world.routes.route(record.workflow_id, reading.header.event_code, composition_type)
    if routed is None:
        where = "Bundle.entry.resource.ofType(Composition).type"
        return refuse(InfrastructureCode.PAYLOAD_VALIDATION_FAILURE, where, "not-supported", "no_handler"), None
    message = message_for_handler(world, record, reading, raw, verdict.warnings)
    examined = routed.handler.examine(message)
    if isinstance(examined, Refuse):
        return refuse(examined.code, examined.where, examined.issue_code, examined.rule), routed
    return verdict, routed


def _earlier(world: World, record: MessageRecord, reading: Reading, accepted: AcceptedHere) -> Earlier:
    """Known means accepted, in the same receiving mailbox, from the same Mex-From (design rule 2)."""
    place = (record.key.mailbox_id, record.sender_mailbox_id)
    header_id, document_id = _message_header_id(reading), _document_id(reading)
    message, document = world.ledger.accepted_before(*place, header_id, document_id)
    return Earlier(
        message or accepted.by_message.get((*place, normalise_id(header_id or ""))),
        document or accepted.by_document.get((*place, document_id or "")),
    )


def _remember(accepted: AcceptedHere, record: MessageRecord) -> None:
    place = (record.key.mailbox_id, record.sender_mailbox_id)
    # Nothing is accepted without an id (20006).
    accepted.by_message[(*place, normalise_id(record.message_header_id or ""))] = record
    if record.document_id:
        accepted.by_document[(*place, record.document_id)] = record


def _message_header_id(reading: Reading) -> str | None:
    """As the ledger holds it: with `urn:uuid:` before it, it would be no id, and the message known to nobody."""
    return id_for_ledger(written_id(reading.header.message_header_id or ""))


def _document_id(reading: Reading) -> str | None:
    document = reading.envelope.document if reading.envelope else None
    document_id = document.document_id if document else None
    # A sender's free text could hold anything; as a digest it still tells the same document from another.
    return hashlib.sha256(document_id.encode("utf-8", "surrogatepass")).hexdigest() if document_id else None


# ------------------------------------------------------------------------------------------------ what follows


def _step(
    world: World, record: MessageRecord, reading: Reading, verdict: Verdict, routed: Routed | None, earlier: Earlier
) -> Step:
    now = world.clock.now()
    move = Move.ACCEPT if verdict.is_positive else Move.REJECT
    is_owed = is_infrastructure_response_owed(verdict, infrastructure_flag(verdict, reading.header.handling))
    responses = _written(world, record, reading, verdict) if is_owed else ()
    cannot_be_told = is_owed and answer.is_unanswerable(world, record)
    changes = Changes(
        **_identity(reading, verdict),
        response_code=verdict.code,
        handler=routed.name if routed else None,
        warnings=verdict.warnings,
        reason=Reason.NO_SENDER if cannot_be_told else _reason(verdict, routed),
        attempts=0,
        due_at=None,
    )
    if verdict.is_positive:
        changes["accepted_at"] = now
    else:
        changes["finished_at"] = now
        changes["sender_not_told"] = not responses
        changes.update(_duplicate(record, verdict, earlier))
    entry = Entry(at=now, stage=STAGE, outcome=_outcome(verdict), response_code=verdict.code, reason=verdict.rule)
    return Step(
        key=record.key,
        old=record.state,
        new=state_after(record.state, move),
        entry=entry,
        changes=changes,
        responses=responses,
    )


def _reason(verdict: Verdict, routed: Routed | None) -> Reason | None:
    if verdict.is_positive:
        return None
    return Reason.VERDICT if routed is None else Reason.HANDLER_REFUSED


def _identity(reading: Reading, verdict: Verdict) -> Changes:
    """What a message calls itself and asks for, as far as it could be read."""
    header = reading.header
    document = reading.envelope.document if reading.envelope else None
    return Changes(
        message_header_id=_message_header_id(reading),
        event_code=id_for_ledger(header.event_code),
        document_id=_document_id(reading),
        is_replacement=document is not None and document.is_replacement,
        bus_ack_requested=business_flag(verdict, header.handling),
        inf_ack_requested=infrastructure_flag(verdict, header.handling),
    )


def _duplicate(record: MessageRecord, verdict: Verdict, earlier: Earlier) -> Changes:
    """What the answer "duplicate" refers to. Bytes that differ are for a person to look at."""
    first = {
        InfrastructureCode.DUPLICATE_MESSAGE: earlier.message,
        InfrastructureCode.DUPLICATE_DOCUMENT: earlier.document,
    }.get(verdict.code)
    if first is None:
        return Changes()
    differs = not have_same_bytes(first, record)
    return Changes(duplicate_of=first.key.mesh_message_id, differs_from_first=differs)


def _written(world: World, record: MessageRecord, reading: Reading, verdict: Verdict) -> tuple[NewResponse, ...]:
    diagnostics = None if verdict.is_positive else verdict.diagnostics
    return answer.write(world, record, reading.header, verdict.code, issue_code=verdict.issue_code, diagnostics=diagnostics)


def _outcome(verdict: Verdict) -> str:
    return "accepted" if verdict.is_positive else "rejected"


def _hand_to_correlate(world: World, record: MessageRecord) -> Outcome[Step]:
    """An ITK3 response on a payload workflow: never judged, never refused (design rule 11)."""
    step = Step(
        key=record.key,
        old=record.state,
        new=state_after(record.state, Move.TRY_LATER),
        changes=Changes(kind=Kind.RESPONSE),
        entry=Entry(at=world.clock.now(), stage=STAGE, outcome="is_response"),
    )
    return Outcome(step)


def _wait_for_handler(world: World, record: MessageRecord) -> Outcome[Step]:
    """Its handler was switched off after it had been collected: it waits, uncounted."""
    reason = world.routes.unavailable(record.workflow_id) or Reason.HANDLER_GONE
    return waits_for_handler(world, record, STAGE, reason)


def _said(world: World, record: MessageRecord, reading: Reading, verdict: Verdict, step: Step, started: float) -> Said:
    named = {**ids(record, _message_header_id(reading)), "stage": STAGE, "response_code": verdict.code}
    done = {
        **named,
        "outcome": _outcome(verdict),
        "attempt": record.attempts + 1,
        "duration_ms": milliseconds(world, started),
        "warnings": list(verdict.warnings) or None,
    }
    said: list[tuple[Event, Mapping[str, Any]]] = [(events.INTERPRET_DONE, done)]
    if not verdict.is_positive:
        said.append((events.MESSAGE_REJECTED, {**named, "rule": verdict.rule}))
    if step.changes.get("differs_from_first"):
        said.append((events.DUPLICATE_DIFFERS, named))
    if step.changes.get("reason") == Reason.NO_SENDER:
        said.append((events.MESSAGE_UNANSWERABLE, {**named, "reason": Reason.NO_SENDER}))
    elif step.changes.get("sender_not_told"):
        said.append((events.SENDER_NOT_TOLD, {**named, "rule": verdict.rule}))
    return tuple(said)
