"""`mesh-itk3 trace`: the story of one message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from mesh_itk3.commands.console import Exit, print_json, say, say_moment, shown
from mesh_itk3.commands.messages import response_line, say_reason
from mesh_itk3.commands.one_message import find_one
from mesh_itk3.commands.opened import existing_ledger, read_settings
from mesh_itk3.commands.rows import answer_row, entry_reason_text, entry_row, message_row, reason_text
from mesh_itk3.itk3.response_codes import ELEMENTS, response_code_of
from mesh_itk3.lifecycle import State
from mesh_itk3.ports import Entry, MessageRecord, ResponseRecord
from mesh_itk3.registry import Registry, registry_of


def show_trace(config: Path, credentials: Path | None, identifier: str, *, mailbox_id: str | None, as_json: bool) -> int:
    """Prints one message with its timeline and its responses."""
    settings = read_settings(config, credentials, needs_secrets=False)
    registry = registry_of(settings)
    with existing_ledger(settings) as ledger:
        record = find_one(ledger, identifier, mailbox_id=mailbox_id, acts_on=lambda _: True)
        timeline = ledger.timeline(record.key)
        responses = ledger.responses_to(record.key)
        answers = ledger.answers_to([response.local_id for response in responses])
    file = settings.payloads.directory / record.payload.name if record.payload else None
    if as_json:
        row = message_row(record, responses, registry)
        steps = [entry_row(entry, record.handler, registry) for entry in timeline]
        answered_by = [answer_row(answer) for answer in answers]
        print_json({**row, "payload_file": file and str(file), "timeline": steps, "answered_by": answered_by})
        return Exit.DONE
    for line in _story(record, file, timeline, registry):
        say(line)
    for line in _conversation(responses, answers):
        say(line)
    return Exit.DONE


def _story(
    record: MessageRecord,
    file: Path | None,
    timeline: Sequence[Entry],
    registry: Registry,
) -> Iterator[str]:
    yield shown(f"message      {record.key.mesh_message_id} in mailbox {record.key.mailbox_id}")
    yield shown(f"workflow     {record.workflow_id} from {record.sender_mailbox_id or 'MESH'}")
    yield shown(f"header id    {record.message_header_id or '-'}")
    yield shown(f"state        {record.state}{_because(record.reason, reason_text(registry, record.handler, record.reason))}")
    if record.handler:
        yield shown(f"handler      {record.handler}")
    yield from _bytes(record, file)
    if record.duplicate_of:
        differs = ", whose bytes differ" if record.differs_from_first else ""
        yield shown(f"duplicate of {record.duplicate_of}{differs}")
    if record.sender_not_told and not record.is_unmatched:
        yield f"sender       not told that it was {'abandoned' if record.state is State.ABANDONED else 'refused'}"
    if record.seen_at:
        yield shown(f"seen         {say_moment(record.seen_at)} by {record.seen_by}")
    if record.answers_local_id:
        yield shown(f"answers      our response {record.answers_local_id}")
    if record.warnings:
        yield shown(f"waived       {', '.join(record.warnings)}")
    yield ""
    if record.events_pruned_at:
        yield f"earlier lines were pruned on {say_moment(record.events_pruned_at)}, as the configured retention says"
    for entry in timeline:
        yield shown(_entry_line(entry, entry_reason_text(registry, record.handler, entry)))
    yield ""


def _bytes(record: MessageRecord, file: Path | None) -> Iterator[str]:
    if record.payload:
        yield shown(f"kept as      {file}")
        yield shown(f"             {record.payload.bytes} bytes, SHA-256 {record.payload.sha256}")
    if record.pruned:
        yield f"bytes        pruned on {say_moment(record.pruned.at)}, as the configured retention says"
        yield shown(f"             they were {record.pruned.bytes} bytes, SHA-256 {record.pruned.sha256}")


def _conversation(responses: Sequence[ResponseRecord], answers: Sequence[MessageRecord]) -> Iterator[str]:
    """What the sender was told, and what came back about it."""
    for response in responses:
        yield response_line(response)
        for answer in (each for each in answers if each.answers_local_id == response.local_id):
            code = say_code(answer.response_code) if answer.response_code else "-"
            yield shown(f"    {answer.kind} {answer.key.mesh_message_id} {say_moment(answer.received_at)}: {code}")
    if not responses:
        yield "no responses"


def _entry_line(entry: Entry, reason: str | None) -> str:
    parts = [say_moment(entry.at), f"{entry.stage:<9}", entry.outcome]
    if entry.response_code:
        parts.append(say_code(entry.response_code))
    if entry.attempt:
        parts.append(f"attempt {entry.attempt}")
    if entry.who:
        parts.append(f"by {entry.who}")
    return "  ".join(parts) + _because(entry.reason, reason)


def say_code(text: str) -> str:
    """A response code with the standard's words for it."""
    code = response_code_of(text)
    return f"{text} {ELEMENTS[code].display}" if code else text


def _because(word: str | None, text: str | None) -> str:
    return f": {say_reason(word, text)}" if word else ""
