"""`mesh-itk3 seen`: a person knows of what stands in `status` about a message."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from mesh_itk3 import events
from mesh_itk3.commands.console import CommandRefused, Exit, print_json, say, say_moment, shown
from mesh_itk3.commands.one_message import find_one
from mesh_itk3.commands.one_person import person
from mesh_itk3.commands.opened import ledger_to_change, read_settings
from mesh_itk3.commands.rows import message_row
from mesh_itk3.ports import Entry, Ledger, MessageRecord, Unseen
from mesh_itk3.registry import registry_of

STAGE = "seen"


def mark_as_seen(
    config: Path, credentials: Path | None, identifier: str, *, by: str, mailbox_id: str | None, as_json: bool
) -> int:
    """Records who has seen it; durable on return. Sends nothing, changes no state."""
    who = person(by)
    settings = read_settings(config, credentials, needs_secrets=False)
    registry = registry_of(settings)
    with ledger_to_change(settings) as ledger:
        unseen = ledger.unseen()
        standing = {message.key for message in unseen.messages} | {response.key for response in unseen.responses}
        found = find_one(ledger, identifier, mailbox_id=mailbox_id, acts_on=lambda each: each.key in standing)
        if found.key not in standing:
            raise CommandRefused(_nothing_stands(found))
        things = list(_things(unseen, found))
        _mark(ledger, found, who)
        record, responses = ledger.get(found.key) or found, ledger.responses_to(found.key)
    if as_json:
        print_json({**message_row(record, responses, registry), "seen": things})
    else:
        say(shown(f"{record.key.mesh_message_id}: {'; '.join(things)}: seen by {who}"))
    return Exit.DONE


def _nothing_stands(record: MessageRecord) -> str:
    by = f"; {record.seen_by} has seen it ({say_moment(record.seen_at)})" if record.seen_at else ""
    return f"nothing stands in `status` about {record.key.mesh_message_id}{by}"


def _things(unseen: Unseen, record: MessageRecord) -> Iterator[str]:
    for message in unseen.messages:
        if message.key == record.key and message.is_unmatched:
            yield f"response {message.response_code or 'that cannot be read'} to nothing that we sent"
        elif message.key == record.key and message.sender_not_told:
            yield "its sender has not been told"
        if message.key == record.key and message.differs_from_first:
            yield f"it differs from its first, {message.duplicate_of}"
    for response in unseen.responses:
        if response.key == record.key:
            yield f"{response.level} response {response.response_code} {response.reason or response.state}"


def _mark(ledger: Ledger, record: MessageRecord, who: str) -> None:
    count = ledger.mark_seen(record.key, Entry(at=datetime.now(UTC), stage=STAGE, outcome="seen", who=who))
    if not count:
        raise CommandRefused("somebody else has just seen it; see `mesh-itk3 trace`")
    events.emit(
        events.MESSAGE_SEEN,
        mailbox_id=record.key.mailbox_id,
        mesh_message_id=record.key.mesh_message_id,
        workflow_id=record.workflow_id,
        stage=STAGE,
        outcome="seen",
        count=count,
        actor=who,
    )
