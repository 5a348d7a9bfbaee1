"""`mesh-itk3 retry`: what is parked is tried again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mesh_itk3 import events
from mesh_itk3.commands.acting import carry_out, carry_out_for
from mesh_itk3.commands.console import CommandRefused, Exit, counted, print_json, say, shown
from mesh_itk3.commands.one_message import find_one
from mesh_itk3.commands.one_person import person
from mesh_itk3.commands.opened import ledger_to_change, read_settings
from mesh_itk3.commands.rows import message_row
from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import Ledger, LedgerConflict, MessageKey, MessageRecord, ResponseRecord
from mesh_itk3.registry import registry_of
from mesh_itk3.stages.intervene import Act, can_be_retried, is_failed, is_held, retry, retry_message, retry_responses, together

AT_ONCE: Final = 100
"""Messages that share a transaction: a daemon that writes beside us waits for no longer."""
_GOES_ON = "The daemon goes on with it within seconds; without a daemon: mesh-itk3 run --once"


def retry_one(
    config: Path, credentials: Path | None, identifier: str, *, by: str, mailbox_id: str | None, as_json: bool
) -> int:
    """One message and our parked responses to it; durable on return."""
    who = person(by)
    settings = read_settings(config, credentials, needs_secrets=False)
    with ledger_to_change(settings) as ledger:
        found = find_one(
            ledger, identifier, mailbox_id=mailbox_id, acts_on=lambda each: can_be_retried(each, ledger.responses_to(each.key))
        )
        responses = ledger.responses_to(found.key)
        _check_parked(found, responses)
        now = datetime.now(UTC)
        act = retry(found, responses, who, now)
        record, after = carry_out_for(ledger, found, act, now)
    if as_json:
        print_json(message_row(record, after, registry_of(settings)))
        return Exit.DONE
    named = record.key.mesh_message_id
    if act.steps:
        say(shown(f"{named}: tried again, as {record.state}, by {who}"))
    for response in after:
        if response.state is ResponseState.OWED:
            say(shown(f"{named}: {response.level} response {response.response_code} is owed again"))
    say(_GOES_ON)
    return Exit.DONE


def _check_parked(record: MessageRecord, responses: Sequence[ResponseRecord]) -> None:
    if can_be_retried(record, responses):
        return
    named = record.key.mesh_message_id
    if is_held(record):
        raise CommandRefused(f"{named} is held, not failed: mesh-itk3 release {named} --by WHO lets it go on")
    raise CommandRefused(f"{named} is {record.state}: nothing of it is parked")


# ------------------------------------------------------------------------------------------------ all of them


@dataclass(slots=True)
class Retried:
    """How many."""

    messages: int = 0
    responses: int = 0
    held: int = 0
    """Left: they are released, not retried."""
    moved: int = 0
    """Left: somebody else has just moved them."""


def retry_all(
    config: Path, credentials: Path | None, *, by: str, mailbox_id: str | None, reason: str | None, as_json: bool
) -> int:
    """Everything that is parked, not held and not settled by `seen`; so many messages in a transaction."""
    who = person(by)
    settings = read_settings(config, credentials, needs_secrets=False)
    with ledger_to_change(settings) as ledger:
        now = datetime.now(UTC)
        done = Retried()
        acts = list(_acts(ledger, (mailbox_id,) if mailbox_id else (), reason, who, now, done))
        for start in range(0, len(acts), AT_ONCE):
            carry_out_together(ledger, acts[start : start + AT_ONCE], now, done)
    if as_json:
        print_json(asdict(done))
    else:
        _say(done)
    return Exit.DONE


def _acts(
    ledger: Ledger, mailbox_ids: Sequence[str], reason: str | None, who: str, now: datetime, done: Retried
) -> Iterator[Act]:
    """One for each message of which something is parked."""
    messages = {record.key: record for record in ledger.waiting([State.PARKED], mailbox_ids)}
    done.held = sum(map(is_held, messages.values()))
    responses = _messages_with_parked_responses(ledger, mailbox_ids, reason)
    for key in dict.fromkeys([*messages, *responses]):
        record = messages.get(key) or ledger.get(key)
        if record is None:
            continue
        acts = [retry_message(record, who, now)] if is_failed(record) and reason in (None, record.reason) else []
        if key in responses:
            acts.append(retry_responses(record, ledger.responses_to(key), who, now))
        if any(act.said for act in acts):
            yield together(acts)


def _messages_with_parked_responses(ledger: Ledger, mailbox_ids: Sequence[str], reason: str | None) -> dict[MessageKey, None]:
    """In the order in which the responses were written."""
    return dict.fromkeys(
        response.key
        for response in ledger.unseen(mailbox_ids).responses
        if response.state is ResponseState.PARKED and reason in (None, response.reason)
    )


def carry_out_together(ledger: Ledger, acts: Sequence[Act], now: datetime, done: Retried) -> None:
    """Where one of them cannot be done, because somebody has moved something meanwhile, the others are, one by one."""
    try:
        carry_out(ledger, together(acts), now)
    except LedgerConflict:
        if len(acts) == 1:
            done.moved += 1
            return
        for act in acts:
            carry_out_together(ledger, [act], now, done)
        return
    said = [event for act in acts for event, _ in act.said]
    done.messages += said.count(events.MESSAGE_RETRIED)
    done.responses += said.count(events.RESPONSE_RETRIED)


def _say(done: Retried) -> None:
    if done.messages or done.responses:
        what = [counted(done.messages, "message")] if done.messages else []
        what += [counted(done.responses, "response")] if done.responses else []
        say(f"tried again: {' and '.join(what)}")
        say(_GOES_ON)
    else:
        say("nothing is parked that can be tried again")
    if done.held:
        say(f"held, and left: {counted(done.held, 'message')} (mesh-itk3 release ID --by WHO)")
    if done.moved:
        say(f"moved by somebody else meanwhile, and left: {counted(done.moved, 'message')}")
