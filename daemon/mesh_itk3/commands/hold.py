"""`mesh-itk3 hold` and `release`: a person stops a message that is not finished, and lets it go on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from mesh_itk3.commands.acting import carry_out_for
from mesh_itk3.commands.console import CommandRefused, Exit, print_json, say, say_moment, shown
from mesh_itk3.commands.messages import say_reason
from mesh_itk3.commands.one_message import find_one
from mesh_itk3.commands.one_person import person
from mesh_itk3.commands.opened import ledger_to_change, read_settings
from mesh_itk3.commands.rows import message_row, reason_text
from mesh_itk3.deadlines import Deadlines
from mesh_itk3.itk3.owed import is_business_response_owed
from mesh_itk3.lifecycle import State
from mesh_itk3.ports import Kind, Ledger, MessageRecord
from mesh_itk3.registry import Registry, registry_of
from mesh_itk3.stages.intervene import HOLD, began_to_wait, can_be_held, hold, is_held, parked_from, release


def hold_message(
    config: Path, credentials: Path | None, identifier: str, *, by: str, mailbox_id: str | None, as_json: bool
) -> int:
    """Nothing more happens to it from here on; durable on return."""
    who = person(by)
    settings = read_settings(config, credentials, needs_secrets=False)
    with ledger_to_change(settings) as ledger:
        found = find_one(ledger, identifier, mailbox_id=mailbox_id, acts_on=can_be_held)
        _check_unfinished(ledger, found)
        now = datetime.now(UTC)
        record, responses = carry_out_for(ledger, found, hold(found, who, now), now)
    if as_json:
        print_json(message_row(record, responses, registry_of(settings)))
        return Exit.DONE
    for line in _held(record, found, who, settings.decisions.rules):
        say(shown(line))
    return Exit.DONE


def _check_unfinished(ledger: Ledger, record: MessageRecord) -> None:
    if can_be_held(record):
        return
    named = record.key.mesh_message_id
    if is_held(record):
        raise CommandRefused(f"{named} is held already{_since(ledger, record)}")
    if record.state is State.PARKED:
        raise CommandRefused(f"{named} is parked: nothing happens to it until somebody says mesh-itk3 retry or abandon")
    raise CommandRefused(f"{named} is {record.state}: nothing more happens to it anyway")


def _since(ledger: Ledger, record: MessageRecord) -> str:
    held = [entry for entry in ledger.timeline(record.key) if entry.stage == HOLD]
    return f", by {held[-1].who} since {say_moment(held[-1].at)}" if held else ""


def _held(record: MessageRecord, before: MessageRecord, who: str, deadlines: Deadlines) -> Iterator[str]:
    named = record.key.mesh_message_id
    yield f"{named}: held by {who}; it was {before.state}"
    yield f"Nothing more happens to it until: mesh-itk3 release {named} --by WHO"
    if before.state is State.AWAITING_DECISION:
        yield _deadline(before, deadlines)
    elif record.kind is Kind.MESSAGE and (
        before.state is State.RECEIVED or is_business_response_owed(record.bus_ack_requested)
    ):
        yield "Its sender waits for an answer meanwhile"


def _deadline(record: MessageRecord, deadlines: Deadlines) -> str:
    return f"The deadline of its decision stays {say_moment(deadlines.ends_at(record.deferred_at or record.received_at))}"


# ------------------------------------------------------------------------------------------------ release


def release_message(
    config: Path, credentials: Path | None, identifier: str, *, by: str, mailbox_id: str | None, as_json: bool
) -> int:
    """It goes on where it was held; durable on return."""
    who = person(by)
    settings = read_settings(config, credentials, needs_secrets=False)
    registry = registry_of(settings)
    with ledger_to_change(settings) as ledger:
        found = find_one(ledger, identifier, mailbox_id=mailbox_id, acts_on=is_held)
        _check_held(found)
        now = datetime.now(UTC)
        record, responses = carry_out_for(ledger, found, release(found, _reason(ledger, found), who, now), now)
    if as_json:
        print_json(message_row(record, responses, registry))
        return Exit.DONE
    for line in _released(record, who, registry, settings.decisions.rules):
        say(shown(line))
    return Exit.DONE


def _check_held(record: MessageRecord) -> None:
    if is_held(record):
        return
    named = record.key.mesh_message_id
    if record.state is State.PARKED:
        raise CommandRefused(f"{named} is parked, not held: mesh-itk3 retry {named} --by WHO has it tried again")
    raise CommandRefused(f"{named} is not held: it is {record.state}")


def _reason(ledger: Ledger, record: MessageRecord) -> str | None:
    """Why it waits for a decision. Without it the configuration might decide what only a person may (design rule 5)."""
    if parked_from(record) is not State.AWAITING_DECISION:
        return None
    began = began_to_wait(ledger.timeline(record.key))
    if began is None:
        raise CommandRefused(f"nothing in the record says why {record.key.mesh_message_id} waited for a decision", Exit.FAILED)
    return began.reason


def _released(record: MessageRecord, who: str, registry: Registry, deadlines: Deadlines) -> Iterator[str]:
    yield f"{record.key.mesh_message_id}: released by {who}; it is {record.state} again"
    if record.state is State.AWAITING_DECISION:
        if record.reason:
            yield say_reason(record.reason, reason_text(registry, record.handler, record.reason))
        yield _deadline(record, deadlines)
    else:
        yield "The daemon goes on with it within seconds; without a daemon: mesh-itk3 run --once"
