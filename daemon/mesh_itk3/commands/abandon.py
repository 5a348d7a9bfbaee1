"""`mesh-itk3 abandon`: a person ends a parked message for good."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from mesh_itk3.commands.acting import carry_out_for
from mesh_itk3.commands.console import CommandRefused, Exit, counted, print_json, say, shown
from mesh_itk3.commands.one_message import find_one
from mesh_itk3.commands.one_person import person
from mesh_itk3.commands.opened import ledger_to_change, read_settings
from mesh_itk3.commands.rows import message_row
from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import MessageRecord, ResponseRecord
from mesh_itk3.reasons import ABANDON_REASONS, Reason
from mesh_itk3.registry import registry_of
from mesh_itk3.stages.intervene import abandon, can_be_held


def abandon_message(
    config: Path,
    credentials: Path | None,
    identifier: str,
    *,
    by: str,
    reason: str,
    mailbox_id: str | None,
    as_json: bool,
) -> int:
    """Nothing more happens to it, for good; durable on return. Its bytes stay."""
    who, why = person(by), _reason(reason)
    settings = read_settings(config, credentials, needs_secrets=False)
    with ledger_to_change(settings) as ledger:
        found = find_one(ledger, identifier, mailbox_id=mailbox_id, acts_on=_is_parked)
        responses = ledger.responses_to(found.key)
        _check_parked(found, responses)
        now = datetime.now(UTC)
        record, after = carry_out_for(ledger, found, abandon(found, responses, why, who, now), now)
    if as_json:
        print_json(message_row(record, after, registry_of(settings)))
        return Exit.DONE
    for line in _lines(record, responses, why, who):
        say(shown(line))
    return Exit.DONE


def _reason(text: str) -> Reason:
    """Raises CommandRefused with the list: the record holds no free text."""
    if text in list(ABANDON_REASONS):
        return Reason(text)
    words = "\n".join(f"  {reason:<21} {reason.text}" for reason in ABANDON_REASONS)
    raise CommandRefused(f"{text!a} is no reason to abandon a message; take one of these:\n{words}")


def _is_parked(record: MessageRecord) -> bool:
    return record.state is State.PARKED


def _check_parked(record: MessageRecord, responses: Sequence[ResponseRecord]) -> None:
    if _is_parked(record):
        return
    named = record.key.mesh_message_id
    if can_be_held(record):
        raise CommandRefused(
            f"{named} is {record.state}, and only what is parked is abandoned: mesh-itk3 hold {named} --by WHO first"
        )
    if record.state is not State.ABANDONED and _parked(responses):
        raise CommandRefused(
            f"{named} is {record.state}; only a response to it is parked: mesh-itk3 retry {named} --by WHO, or tell the sender"
            f" another way and then mesh-itk3 seen {named} --by WHO"
        )
    raise CommandRefused(f"{named} is {record.state}: there is nothing to abandon")


def _parked(responses: Sequence[ResponseRecord]) -> int:
    return sum(response.state is ResponseState.PARKED for response in responses)


def _lines(record: MessageRecord, responses: Sequence[ResponseRecord], why: Reason, who: str) -> Iterator[str]:
    named = record.key.mesh_message_id
    yield f"{named}: abandoned by {who}: {why}: {why.text}"
    if parked := _parked(responses):
        yield f"With it {counted(parked, 'response')} that MESH refused; nothing more is sent"
    if record.sender_not_told:
        yield f"Its sender does not know. Tell them another way, then: mesh-itk3 seen {named} --by WHO"
    if record.accepted_at is not None:
        yield "It had been accepted: under the same ids it would be answered as a duplicate (20007, 20008). Ask for new ones"
