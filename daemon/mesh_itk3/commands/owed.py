"""`mesh-itk3 owed`: every answer that somebody still waits for, and how long there is left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from mesh_itk3.commands.console import Exit, instant, print_json_list, say, shown
from mesh_itk3.commands.messages import say_reason
from mesh_itk3.commands.opened import existing_ledger, read_settings
from mesh_itk3.commands.rows import reason_text
from mesh_itk3.commands.what_to_do import about_message, about_response
from mesh_itk3.deadlines import Deadlines
from mesh_itk3.itk3.owed import is_business_response_owed
from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import Kind, MessageRecord, Records, ResponseRecord
from mesh_itk3.reasons import Reason
from mesh_itk3.registry import Registry, registry_of
from mesh_itk3.stages.intervene import parked_from
from mesh_itk3.stages.track import MESH_KEEPS_UNREAD

_TELL = "Tell the sender another way, then mesh-itk3 seen {id} --by WHO"
_TO_DO = {
    ResponseState.OWED: "Nothing: it is sent, or looked up in MESH first.",
    ResponseState.SENT: "Nothing: MESH gives the other mailbox five days to fetch it.",
    ResponseState.UNDELIVERED: _TELL,
}
_TO_DO_BY_REASON: Mapping[Reason | None, str] = {
    Reason.NEVER_ACKNOWLEDGED: "Ask the sender whether they have it, then mesh-itk3 seen {id} --by WHO",
    Reason.REFUSED_BY_RECEIVER: _TELL,
}

_TO_DO_UNFINISHED: Mapping[str | None, str] = {
    None: "See that the daemon runs (mesh-itk3 status): then it goes on by itself.",
    Reason.HANDLER_GONE: "Install, enable or repair its handler (mesh-itk3 status): then it goes on by itself.",
    Reason.STORAGE_FAILED: "Free space or repair the disk: then it goes on by itself.",
}
_TRIED_AGAIN = "Nothing: it is tried again by itself."

UNFINISHED: Final = (State.RECEIVED, State.ACCEPTED)
UNFINISHED_AFTER: Final = timedelta(minutes=15)
"""A guess: a daemon that runs judges and dispatches within seconds, and its first retries come within minutes."""

Row = dict[str, Any]


def list_owed(config: Path, credentials: Path | None, *, mailbox_id: str | None, as_json: bool) -> int:
    """Oldest first. Exit code 0 whatever is owed: it has been said."""
    settings = read_settings(config, credentials, needs_secrets=False)
    registry = registry_of(settings)
    with existing_ledger(settings) as ledger:
        owed = all_owed(ledger, registry, settings.decisions.rules, datetime.now(UTC), mailbox_id)
    if settings.ledger.sqlite_file is not None:  # on PostgreSQL another daemon may serve it
        owed = [row if row["mailbox_id"] in settings.mailboxes else _unserved(row) for row in owed]
    if as_json:
        print_json_list("owed", owed)
    else:
        _print(owed)
    return Exit.DONE


def all_owed(
    ledger: Records, registry: Registry, deadlines: Deadlines, now: datetime, mailbox_id: str | None = None
) -> list[Row]:
    """Everything that `owed` says, oldest first. The keys are a contract; new ones may be added."""
    mailbox_ids = (mailbox_id,) if mailbox_id else ()
    records = ledger.waiting([State.AWAITING_DECISION, State.PARKED, *UNFINISHED], mailbox_ids)
    # What is abandoned without its sender knowing: the sender still waits, though nothing more comes from here.
    records += [record for record in ledger.unseen(mailbox_ids).messages if record.state is State.ABANDONED]
    rows = [row for record in records if (row := _message(record, registry, deadlines, now))]
    rows += [_response(response, ledger, now) for response in ledger.outstanding_responses(mailbox_ids)]
    return sorted(rows, key=lambda row: str(row["since"]))


def _unserved(row: Row) -> Row:
    why = f"Nothing is done for {row['mailbox_id']}: it is not configured here."
    return row | {"to_do": f"{why} Configure it again, or tell the sender another way."}


def unfinished_since(record: MessageRecord) -> datetime:
    """When it last got on: a message that is ours, MESH has it no more, and whose turn should long have come."""
    return max(at for at in (record.received_at, record.accepted_at, record.decided_at) if at is not None)


def is_unfinished(record: MessageRecord, now: datetime) -> bool:
    """Whether it stands still: nothing but this ledger knows of it, and its letter is not filed."""
    return record.state in UNFINISHED and now - unfinished_since(record) >= UNFINISHED_AFTER


def _message(record: MessageRecord, registry: Registry, deadlines: Deadlines, now: datetime) -> Row | None:
    """None where nobody waits for an answer, or one is on its way by itself."""
    is_still = is_unfinished(record, now)
    if record.kind is not Kind.MESSAGE and not is_still:
        return None
    match record.state:
        case State.AWAITING_DECISION:
            since = record.deferred_at or record.received_at
            row = _row(record, "decision", since, deadlines.ends_at(since), now)
            row["to_do"] = _to_decide(record, deadlines)
        case State.PARKED if _is_answer_missing(record):
            row = _row(record, "parked", record.received_at, _held_deadline(record, deadlines), now)
            row["to_do"] = about_message(record.reason, record.key.mesh_message_id)
        case State.ABANDONED:
            row = _row(record, "abandoned", record.received_at, None, now)
            row["to_do"] = _TELL.format(id=record.key.mesh_message_id)
        case State.RECEIVED if is_still:
            row = _row(record, "unjudged", record.received_at, None, now)
            row["to_do"] = _TO_DO_UNFINISHED.get(record.reason, _TRIED_AGAIN)
        case State.ACCEPTED if is_still or (record.reason and is_business_response_owed(record.bus_ack_requested)):
            row = _row(record, "waiting", record.received_at, None, now)
            row["to_do"] = _TO_DO_UNFINISHED.get(record.reason, _TRIED_AGAIN)
        case _:
            return None
    return row | {"reason": record.reason, "reason_text": reason_text(registry, record.handler, record.reason)}


def _is_answer_missing(record: MessageRecord) -> bool:
    """Of a parked message. A decision waits whether or not an answer was asked for."""
    if parked_from(record) is not State.ACCEPTED:
        return True
    return is_business_response_owed(record.bus_ack_requested)


def _held_deadline(record: MessageRecord, deadlines: Deadlines) -> datetime | None:
    """The clock of a decision goes on while its message is held."""
    is_decision = parked_from(record) is State.AWAITING_DECISION
    return deadlines.ends_at(record.deferred_at or record.received_at) if is_decision else None


def _to_decide(record: MessageRecord, deadlines: Deadlines) -> str:
    code = deadlines.code_for(record.reason)
    by_itself = f"; at the deadline {code} is decided" if code else ""
    return f"Read the letter, then mesh-itk3 respond {record.key.mesh_message_id} CODE --by WHO{by_itself}"


def _row(record: MessageRecord, kind: str, since: datetime, deadline: datetime | None, now: datetime) -> Row:
    is_unread = State.RECEIVED in (record.state, record.parked_from)
    is_asked = record.kind is Kind.MESSAGE and (is_unread or is_business_response_owed(record.bus_ack_requested))
    return {
        "kind": kind,
        "mesh_message_id": record.key.mesh_message_id,
        "mailbox_id": record.key.mailbox_id,
        "workflow_id": record.workflow_id,
        "message_header_id": record.message_header_id,
        "handler": record.handler,
        "level": "infrastructure" if is_unread else "business",
        "response_code": record.decision_code,
        "state": record.state.value,
        "local_id": None,
        "to_mailbox_id": record.sender_mailbox_id,
        "is_asked": is_asked,
        **_times(since, deadline, now),
    }


def _response(response: ResponseRecord, ledger: Records, now: datetime) -> Row:
    is_counted = response.state is ResponseState.SENT and response.raised_at is None
    deadline = response.sent_at + MESH_KEEPS_UNREAD if is_counted and response.sent_at else None
    reason = Reason(response.reason) if response.reason else None
    to_do = _TO_DO_BY_REASON.get(reason) or _TO_DO.get(response.state) or _about_parked(response, ledger)
    return {
        "kind": "response",
        "mesh_message_id": response.key.mesh_message_id,
        "mailbox_id": response.key.mailbox_id,
        "workflow_id": response.workflow_id,
        "message_header_id": response.message_header_id,
        "handler": None,
        "level": response.level,
        "response_code": response.response_code,
        "state": response.state.value,
        "local_id": response.local_id,
        "to_mailbox_id": response.to_mailbox_id,
        "is_asked": True,
        **_times(response.created_at, deadline, now),
        "reason": response.reason,
        "reason_text": reason.text if reason else None,
        "status_code": response.status_code,
        "to_do": to_do.format(id=response.key.mesh_message_id),
    }


def _about_parked(response: ResponseRecord, ledger: Records) -> str:
    answered = ledger.get(response.key)
    is_abandoned = answered is not None and answered.state is State.ABANDONED
    return about_response(response.reason, response.key.mesh_message_id, is_abandoned=is_abandoned)


def _times(since: datetime, deadline: datetime | None, now: datetime) -> Row:
    left = None if deadline is None else round((deadline - now).total_seconds() / 3600, 1)
    return {"since": instant(since), "deadline_at": instant(deadline), "hours_left": left}


# ------------------------------------------------------------------------------------------------ for a person


def _print(owed: Sequence[Mapping[str, Any]]) -> None:
    for row in owed:
        for line in _lines(row):
            say(shown(line))
    if not owed:
        say("nothing is owed")


def _lines(row: Mapping[str, Any]) -> Iterator[str]:
    what = f"{row['level']} response {row['response_code']} {row['state']}" if row["kind"] == "response" else row["state"]
    since = f"since {row['since'][:10]} {row['since'][11:16]}Z"
    parts = (row["mesh_message_id"], row["mailbox_id"], what, since, _left(row["hours_left"]))
    yield "  ".join(filter(None, parts))
    if row["reason"]:
        yield f"    {say_reason(row['reason'], row['reason_text'])}"
    yield f"    {row['to_do']}"


def _left(hours: float | None) -> str:
    if hours is None:
        return ""
    return f"{hours} hours left" if hours >= 0 else f"{-hours} hours late"
