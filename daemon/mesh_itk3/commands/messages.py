"""`mesh-itk3 messages`: what was received, newest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from mesh_itk3.commands.console import Exit, print_json_list, say, say_moment, shown
from mesh_itk3.commands.opened import existing_ledger, read_settings
from mesh_itk3.commands.rows import message_row, reason_text
from mesh_itk3.lifecycle import State
from mesh_itk3.ports import MessageRecord, ResponseRecord
from mesh_itk3.registry import Registry, registry_of


def list_messages(
    config: Path,
    credentials: Path | None,
    *,
    states: Sequence[State],
    mailbox_id: str | None,
    limit: int | None,
    as_json: bool,
) -> int:
    """Prints row by row: memory does not grow with the ledger."""
    settings = read_settings(config, credentials, needs_secrets=False)
    registry = registry_of(settings)
    with existing_ledger(settings) as ledger:
        found = ledger.messages(states=states, mailbox_ids=(mailbox_id,) if mailbox_id else (), limit=limit)
        if as_json:
            print_json_list("messages", (message_row(record, responses, registry) for record, responses in found))
        else:
            _print_lines(found, registry)
    return Exit.DONE


def _print_lines(found: Iterable[tuple[MessageRecord, Sequence[ResponseRecord]]], registry: Registry) -> None:
    nothing = True
    for record, responses in found:
        nothing = False
        say(message_line(record))
        if record.reason:
            say(f"    {say_reason(record.reason, reason_text(registry, record.handler, record.reason))}")
        if record.is_unmatched:
            say("    nobody can tell what it answers")
        elif record.sender_not_told:
            say("    the sender has not been told")
        if record.pruned:
            say(f"    its bytes were pruned on {say_moment(record.pruned.at)}")
        if record.answers_local_id:
            say(shown(f"    {record.response_code or record.kind} to our response {record.answers_local_id}"))
        for response in responses:
            say(f"    {response_line(response)}")
    if nothing:
        say("no messages")


def message_line(record: MessageRecord) -> str:
    """One line that fits most terminals; the id stands first, to be copied."""
    parts = (
        record.key.mesh_message_id,
        say_moment(record.received_at),
        record.key.mailbox_id,
        record.workflow_id,
        record.state,
    )
    return "  ".join(map(shown, parts))


def say_reason(word: str, text: str | None) -> str:
    """The word, to look it up or search for it, and its sentence where there is one."""
    return shown(f"{word}: {text}" if text else word)


def response_line(response: ResponseRecord) -> str:
    """What a sender was told, and whether it has arrived."""
    why = ", MESH code ".join(filter(None, (response.reason, response.status_code)))
    because = f" ({why})" if why else ""
    # After a restore MESH may have an answer that this ledger has never seen.
    code = f"{response.response_code}{' or another' if response.written_anew else ''}"
    return shown(f"{response.level} response {code} to {response.to_mailbox_id}: {response.state}{because}")
