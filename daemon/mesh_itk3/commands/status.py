"""`mesh-itk3 status`: how the mailboxes are doing and what needs a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mesh_itk3 import __version__
from mesh_itk3.adapters.disk_space import free_bytes, problem_of
from mesh_itk3.adapters.ledger import schema_revision
from mesh_itk3.commands.console import Exit, counted, instant, print_json, print_table, say, shown
from mesh_itk3.commands.letter_places import LetterPlace, letter_places
from mesh_itk3.commands.one_message import MOST_LISTED
from mesh_itk3.commands.opened import existing_ledger, read_settings
from mesh_itk3.commands.owed import UNFINISHED, is_unfinished, unfinished_since
from mesh_itk3.commands.rows import response_row
from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import Kind, Ledger, MailboxState, MessageKey, MessageRecord, Overview, ResponseRecord, StorageFailed
from mesh_itk3.reasons import Reason
from mesh_itk3.registry import Found, Registry, registry_of
from mesh_itk3.settings import Settings
from mesh_itk3.stages.intervene import is_held

NEEDS_A_PERSON = (State.AWAITING_DECISION, State.PARKED)


def show_status(config: Path, credentials: Path | None, *, as_json: bool) -> int:
    """Prints it; exit code 0 whatever it says, for it has been said."""
    settings = read_settings(config, credentials, needs_secrets=False)
    registry = registry_of(settings)
    now = datetime.now(UTC)
    with existing_ledger(settings) as ledger:
        revision = schema_revision(settings.ledger.url.get_secret_value())
        document = overall(settings, registry, ledger, now) | {"schema_revision": revision}
    if as_json:
        print_json(document)
    else:
        _print(document)
    return Exit.DONE


def overall(settings: Settings, registry: Registry, ledger: Ledger, now: datetime) -> dict[str, Any]:
    """Everything that `status` says. The keys are a contract; new ones may be added."""
    overview, unseen = ledger.overview(), ledger.unseen()
    return {
        "version": __version__,
        "at": instant(now),
        "mailboxes": [_mailbox(settings, ledger.mailbox_state(one), overview) for one in settings.mailboxes],
        "storage": [
            *(_storage(settings, name, place) for name, place in settings.kept_in.items()),
            *(_letters(each) for each in letter_places(settings, registry)),
        ],
        "messages": _totals(overview.messages),
        "responses": _totals(overview.responses),
        **{state.value: _waiting(overview, state, now) for state in NEEDS_A_PERSON},
        "held": sum(map(is_held, ledger.waiting([State.PARKED]))),
        "unfinished": _unfinished(ledger, now),
        "waiting_for_disk": sum(each.reason == Reason.STORAGE_FAILED for each in ledger.waiting(UNFINISHED)),
        "overdue_decisions": _overdue_decisions(settings, ledger, now),
        "sender_not_told": [_key(each.key) for each in unseen.messages if _is_refused_untold(each)],
        "abandoned_not_told": [_abandoned(each) for each in unseen.messages if each.state is State.ABANDONED],
        "differing_duplicates": [_key(each.key) for each in unseen.messages if each.differs_from_first],
        "unmatched_answers": [_unmatched(each) for each in unseen.messages if each.is_unmatched],
        "failed_responses": [_failed(each) for each in unseen.responses],
        "handlers": [_handler(found) for found in registry.all],
    }


def _mailbox(settings: Settings, state: MailboxState, overview: Overview) -> dict[str, Any]:
    return {
        "mailbox_id": state.mailbox_id,
        "ods_code": settings.mailboxes[state.mailbox_id].ods_code,
        "last_handshake_at": instant(state.last_handshake_at),
        "last_poll_at": instant(state.last_poll_at),
        "last_success_at": instant(state.last_success_at),
        "failures": state.failures,
        "reason": state.reason,
        "is_unavailable": state.failures > 0,
        "unavailable_since": instant(state.last_success_at) if state.failures else None,
        "disk_failures": state.disk_failures,
        "disk_since": instant(state.disk_since),
        "restored_at": instant(state.restored_at),
        "messages": {one.value: n for (mailbox_id, one), n in overview.messages.items() if mailbox_id == state.mailbox_id},
        "responses": {one.value: n for (mailbox_id, one), n in overview.responses.items() if mailbox_id == state.mailbox_id},
    }


def _storage(settings: Settings, name: str, directory: Path) -> dict[str, Any]:
    try:
        free = free_bytes(directory)
    except StorageFailed:
        free = None
    problem = problem_of(directory, settings.limits.free_bytes_min)
    return {"kept": name, "directory": str(directory), "free_bytes": free, "problem": problem}


def _letters(each: LetterPlace) -> dict[str, Any]:
    try:
        free = free_bytes(each.output)
    except StorageFailed:
        free = None
    return {"kept": "letters", "directory": str(each.output), "free_bytes": free, "problem": each.problem}


def _totals(counts: Mapping[tuple[str, Any], int]) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for (_, state), count in counts.items():
        totals[state.value] += count
    return dict(totals)


def _waiting(overview: Overview, state: State, now: datetime) -> dict[str, Any]:
    count = sum(n for (_, one), n in overview.messages.items() if one is state)
    oldest = min((at for (_, one), at in overview.oldest_waiting.items() if one is state), default=None)
    return _oldest(count, oldest, now)


def _unfinished(ledger: Ledger, now: datetime) -> dict[str, Any]:
    """What is ours and stands still: received and not judged, or accepted and not dealt with."""
    since = [unfinished_since(record) for record in ledger.waiting(UNFINISHED) if is_unfinished(record, now)]
    return _oldest(len(since), min(since, default=None), now)


def _oldest(count: int, oldest: datetime | None, now: datetime) -> dict[str, Any]:
    age_s = None if oldest is None else max(0, int((now - oldest).total_seconds()))
    return {"count": count, "oldest_at": instant(oldest), "oldest_age_s": age_s}


def _key(key: MessageKey) -> dict[str, str]:
    return {"mailbox_id": key.mailbox_id, "mesh_message_id": key.mesh_message_id}


def _overdue_decisions(settings: Settings, ledger: Ledger, now: datetime) -> int:
    rules = settings.decisions.rules
    waiting = ledger.waiting([State.AWAITING_DECISION])
    return sum(rules.ends_at(record.deferred_at or record.received_at) <= now for record in waiting)


def _is_refused_untold(record: MessageRecord) -> bool:
    return record.sender_not_told and not record.is_unmatched and record.state is not State.ABANDONED


def _abandoned(record: MessageRecord) -> dict[str, Any]:
    return {**_key(record.key), "reason": record.reason}


def _unmatched(answer: MessageRecord) -> dict[str, Any]:
    return {
        **_key(answer.key),
        "kind": answer.kind.value,
        "response_code": answer.response_code,
        "reason": answer.reason,
    }


def _failed(response: ResponseRecord) -> dict[str, Any]:
    row = response_row(response)
    return {**_key(response.key), **{name: row[name] for name in ("level", "response_code", "state", "reason", "status_code")}}


def _handler(found: Found) -> dict[str, Any]:
    return {
        "name": found.name,
        "distribution": found.distribution,
        "version": found.version,
        "is_enabled": found.is_enabled,
        "is_available": found.loaded is not None,
        "problem": found.problem,
        "workflows": sorted(found.declaration.workflows) if found.declaration else [],
    }


# ------------------------------------------------------------------------------------------------ for a person


def _print(document: Mapping[str, Any]) -> None:
    print_table(
        ("mailbox", "ods code", "last poll", "last success", "failures", "messages", "responses"),
        [_mailbox_cells(mailbox) for mailbox in document["mailboxes"]],
    )
    say()
    for line in _needs(document):
        say(shown(line))
    say()
    print_table(("handler", "from", "takes", "works"), [_handler_cells(handler) for handler in document["handlers"]])
    say()
    say(shown(f"ledger schema {document['schema_revision']}, mesh-itk3 {document['version']}"))


def _mailbox_cells(mailbox: Mapping[str, Any]) -> Sequence[str]:
    failures = [f"{mailbox['failures']} ({mailbox['reason']})"] if mailbox["failures"] else []
    failures += [f"{mailbox['disk_failures']} (disk)"] if mailbox["disk_failures"] else []
    return (
        mailbox["mailbox_id"],
        mailbox["ods_code"],
        _seconds(mailbox["last_poll_at"]),
        _seconds(mailbox["last_success_at"]),
        ", ".join(failures) or "0",
        _counted(mailbox["messages"]),
        _counted(mailbox["responses"]),
    )


def _seconds(moment: str | None) -> str:
    """An ISO instant, cut to the second."""
    return "never" if moment is None else f"{moment[:10]} {moment[11:19]}Z"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none"


def _handler_cells(handler: Mapping[str, Any]) -> Sequence[str]:
    works = "yes" if handler["is_available"] else handler["problem"] if handler["is_enabled"] else "disabled"
    taken = counted(len(handler["workflows"]), "workflow")
    return (handler["name"], f"{handler['distribution']} {handler['version']}", taken, str(works))


def _needs(document: Mapping[str, Any]) -> Iterator[str]:
    """What a person has to do, or that there is nothing."""
    waiting, parked = document["awaiting_decision"], document["parked"]
    away = [_said_of_unavailable(mailbox) for mailbox in document["mailboxes"] if mailbox["is_unavailable"]]
    lines = [*_refused_by_disk(document), *away]
    if waiting["count"]:
        lines.append(f"for a person: {counted(waiting['count'], 'message')}, the oldest since {_age(waiting['oldest_age_s'])}")
        if overdue := document["overdue_decisions"]:
            lines[-1] += f"; {overdue} past the deadline"
        lines.append("    mesh-itk3 owed, then mesh-itk3 respond ID CODE --by WHO")
    if parked["count"]:
        held = f" ({document['held']} held)" if document["held"] else ""
        lines.append(f"parked: {counted(parked['count'], 'message')}{held}, the oldest since {_age(parked['oldest_age_s'])}")
        lines.append("    mesh-itk3 parked says why, and what to do")
    if (unfinished := document["unfinished"])["count"]:
        lines.append(
            f"stands still: {counted(unfinished['count'], 'message')}, the oldest since {_age(unfinished['oldest_age_s'])}"
        )
        lines.append("    mesh-itk3 owed says why")
    lines += _unseen(document)
    if owed := document["responses"].get("owed"):
        lines.append(f"still to be sent: {counted(owed, 'response')}")
    yield from lines or ["nothing needs a person"]


def _refused_by_disk(document: Mapping[str, Any]) -> Iterator[str]:
    lines = [f"{one['kept']} in {one['directory']}: {one['problem']}" for one in document["storage"] if one["problem"]]
    refused = [one for one in document["mailboxes"] if one["disk_failures"]]
    lines += [
        f"mailbox {one['mailbox_id']} is not collected: the disk has refused since {_seconds(one['disk_since'])}"
        for one in refused
    ]
    if count := document["waiting_for_disk"]:
        lines.append(f"wait for a disk that refused a write: {counted(count, 'message')}")
    yield from lines
    if refused or any(one["problem"] and one["kept"] != "letters" for one in document["storage"]):
        yield "    free space or repair the disk; all goes on by itself"
    elif lines:  # of the letters' directory, with its own way out, or of one that is full
        yield "    they wait until that is mended, and are filed by themselves then"


def _said_of_unavailable(mailbox: Mapping[str, Any]) -> str:
    """Its breaker is open, or half open. It closes by itself; a person may have to see why MESH does not answer."""
    since = _seconds(mailbox["unavailable_since"])
    return (
        f"mailbox {mailbox['mailbox_id']}: MESH does not answer, or refuses ({mailbox['reason']});"
        f" last well {since}; asked again at growing intervals, a quarter of an hour at most"
    )


def _unseen(document: Mapping[str, Any]) -> Iterator[str]:
    """What stands until somebody says that they have seen it."""
    stands = [
        *(f"refused, and its sender not told: {_named(one)}" for one in document["sender_not_told"]),
        *(f"abandoned, and its sender not told: {_named(one)}" for one in document["abandoned_not_told"]),
        *(f"duplicate {_named(one)} differs from its first" for one in document["differing_duplicates"]),
        *(_said_of_unmatched(one) for one in document["unmatched_answers"]),
        *(
            f"{one['level']} response {one['response_code']} to {_named(one)}: {one['reason'] or one['state']}"
            for one in document["failed_responses"]
        ),
    ]
    yield from stands[:MOST_LISTED]
    if len(stands) > MOST_LISTED:
        yield f"and {len(stands) - MOST_LISTED} more: mesh-itk3 status --json"
    if stands:
        yield "    mesh-itk3 trace ID, then mesh-itk3 seen ID --by WHO"
    if any(one["state"] == ResponseState.PARKED for one in document["failed_responses"]):
        yield "    what MESH refused can also be sent again: mesh-itk3 parked"


def _said_of_unmatched(one: Mapping[str, Any]) -> str:
    if one["kind"] == Kind.REPORT.value:
        return f"report on something undelivered that nothing here has sent: {_named(one)}"
    if one["response_code"] is None:
        return f"no response that can be read, on a response workflow: {_named(one)}"
    return f"negative response {one['response_code']} to nothing that we sent: {_named(one)}"


def _named(one: Mapping[str, Any]) -> str:
    return f"{one['mesh_message_id']} in {one['mailbox_id']}"


def _age(seconds: int | None) -> str:
    if seconds is None:
        return "an unknown time"
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} seconds"
