"""`mesh-itk3 parked`: what waits for an operator, why, and what to do about it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from mesh_itk3.commands.console import Exit, counted, instant, print_folded, print_json_list, print_table, say
from mesh_itk3.commands.messages import say_reason
from mesh_itk3.commands.opened import existing_ledger, read_settings
from mesh_itk3.commands.rows import reason_text
from mesh_itk3.commands.what_to_do import about_message, about_response
from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import Entry, MessageRecord, Records, ResponseRecord
from mesh_itk3.reasons import Reason
from mesh_itk3.registry import Registry, registry_of
from mesh_itk3.stages.intervene import is_held, parked_from

Row = dict[str, Any]
_OF_A_MESSAGE: Final = ("parked", "held")
_OF_A_RESPONSE: Final = ("refused", "parked")
"""Outcomes in the timeline that say since when."""
_ABANDONED: Final = ("abandoned",)


def list_parked(config: Path, credentials: Path | None, *, mailbox_id: str | None, as_json: bool) -> int:
    """Oldest first. Exit code 0 whatever is parked: it has been said."""
    settings = read_settings(config, credentials, needs_secrets=False)
    registry = registry_of(settings)
    with existing_ledger(settings) as ledger:
        parked = all_parked(ledger, registry, mailbox_id)
    if as_json:
        print_json_list("parked", parked)
    else:
        _print(parked)
    return Exit.DONE


def all_parked(ledger: Records, registry: Registry, mailbox_id: str | None = None) -> list[Row]:
    """Messages, and responses that nobody has settled with `seen`. The keys are a contract; new ones may be added."""
    mailbox_ids = (mailbox_id,) if mailbox_id else ()
    rows = [_message(record, ledger.timeline(record.key), registry) for record in ledger.waiting([State.PARKED], mailbox_ids)]
    rows += [
        _response(response, ledger.timeline(response.key))
        for response in ledger.unseen(mailbox_ids).responses
        if response.state is ResponseState.PARKED
    ]
    return sorted(rows, key=lambda row: str(row["since"]))


def _message(record: MessageRecord, timeline: Sequence[Entry], registry: Registry) -> Row:
    entry = _last(timeline, _OF_A_MESSAGE)
    return {
        "kind": "message",
        "mesh_message_id": record.key.mesh_message_id,
        "mailbox_id": record.key.mailbox_id,
        "workflow_id": record.workflow_id,
        "message_header_id": record.message_header_id,
        "handler": record.handler,
        "parked_from": parked_from(record).value,
        "is_held": is_held(record),
        "by": entry.who if entry else None,
        "level": None,
        "response_code": None,
        "local_id": None,
        "to_mailbox_id": record.sender_mailbox_id,
        "since": instant(entry.at if entry else record.received_at),
        "received_at": instant(record.received_at),
        "attempts": record.interrupted if record.reason == Reason.PROCESS_DIED else record.attempts,
        "reason": record.reason,
        "reason_text": reason_text(registry, record.handler, record.reason),
        "status_code": None,
        "to_do": about_message(record.reason, record.key.mesh_message_id),
    }


def _response(response: ResponseRecord, timeline: Sequence[Entry]) -> Row:
    entry = _last(timeline, _OF_A_RESPONSE, response.response_code)
    is_abandoned = _last(timeline, _ABANDONED) is not None
    reason = Reason(response.reason) if response.reason else None
    return {
        "kind": "response",
        "mesh_message_id": response.key.mesh_message_id,
        "mailbox_id": response.key.mailbox_id,
        "workflow_id": response.workflow_id,
        "message_header_id": response.message_header_id,
        "handler": None,
        "parked_from": ResponseState.OWED.value,
        "is_held": False,
        "by": None,
        "level": response.level,
        "response_code": response.response_code,
        "local_id": response.local_id,
        "to_mailbox_id": response.to_mailbox_id,
        "since": instant(entry.at if entry else response.created_at),
        "received_at": None,
        "attempts": response.attempts,
        "reason": response.reason,
        "reason_text": reason.text if reason else None,
        "status_code": response.status_code,
        "to_do": about_response(response.reason, response.key.mesh_message_id, is_abandoned=is_abandoned),
    }


def _last(timeline: Sequence[Entry], outcomes: Sequence[str], response_code: str | None = None) -> Entry | None:
    fitting = (
        entry for entry in reversed(timeline) if entry.outcome in outcomes and response_code in (None, entry.response_code)
    )
    return next(fitting, None)


# ------------------------------------------------------------------------------------------------ for a person


def _print(parked: Sequence[Row]) -> None:
    """One block for each reason: a broken handler parks many for one, and what to do is the same for all of them."""
    blocks: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in parked:
        blocks[row["kind"], row["reason"] or "", _of_any(row)].append(row)
    has_several_mailboxes = len({row["mailbox_id"] for row in parked}) > 1
    for rows in blocks.values():
        _print_block(rows, has_several_mailboxes=has_several_mailboxes)
        say()
    print_folded(_total(parked))


def _print_block(rows: Sequence[Row], *, has_several_mailboxes: bool) -> None:
    first = rows[0]
    why = say_reason(first["reason"] or "parked", first["reason_text"])
    print_folded(f"{counted(len(rows), first['kind'])}: {why}", is_bold=True)
    print_folded(_of_any(first), indent=4)
    headings, cells = _columns(first)
    # A practice has one mailbox: its column would take the room that a narrow terminal needs for the others.
    mailbox = ("mailbox",) if has_several_mailboxes else ()
    print_table(
        ("message", *mailbox, "since", *headings),
        ((row["mesh_message_id"], *(row["mailbox_id"] for _ in mailbox), _minutes(row["since"]), *cells(row)) for row in rows),
        whole=2 + len(mailbox),
    )


def _of_any(row: Row) -> str:
    """What to do, without saying with which."""
    return str(row["to_do"]).replace(row["mesh_message_id"], "ID")


def _columns(first: Row) -> tuple[tuple[str, ...], Callable[[Row], tuple[str, ...]]]:
    """What a block of this kind says beside which message and since when."""
    if first["kind"] == "response":
        return ("response", "MESH code"), lambda row: (row["response_code"], row["status_code"] or "-")
    if first["is_held"]:
        return ("held from", "by"), lambda row: (row["parked_from"], row["by"] or "-")
    return ("parked from", "tries"), lambda row: (row["parked_from"], str(row["attempts"]))


def _minutes(moment: str) -> str:
    """An ISO instant, cut to the minute."""
    return f"{moment[:10]} {moment[11:16]}Z"


def _total(parked: Sequence[Row]) -> str:
    if not parked:
        return "nothing is parked"
    kinds = Counter(row["kind"] for row in parked)
    held = sum(row["is_held"] for row in parked)
    said = [counted(count, kind) for kind, count in sorted(kinds.items())]
    again = "; after a repair, all at once: mesh-itk3 retry --all --by WHO" if held < len(parked) else ""
    return f"parked: {' and '.join(said)}{f', {held} of them held' if held else ''}{again}"
