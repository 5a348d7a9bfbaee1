"""`mesh-itk3 respond`: a person's decision about a message that waits for one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from mesh_itk3 import events
from mesh_itk3.commands.console import CommandRefused, Exit, print_json, say, shown
from mesh_itk3.commands.one_message import find_one
from mesh_itk3.commands.one_person import person
from mesh_itk3.commands.opened import ledger_to_change, read_settings
from mesh_itk3.commands.rows import message_row
from mesh_itk3.itk3.response_codes import ELEMENTS, BusinessCode
from mesh_itk3.lifecycle import State
from mesh_itk3.ports import Ledger, LedgerConflict, MessageRecord
from mesh_itk3.registry import Registry, registry_of
from mesh_itk3.stages.decide import STAGE, decision
from mesh_itk3.stages.intervene import is_held


def record_decision(
    config: Path,
    credentials: Path | None,
    identifier: str,
    code: str,
    *,
    by: str,
    mailbox_id: str | None,
    as_json: bool,
) -> int:
    """Records who decided what; durable on return. Filing and answering are the daemon's."""
    who = person(by)
    settings = read_settings(config, credentials, needs_secrets=False)
    registry = registry_of(settings)
    with ledger_to_change(settings) as ledger:
        record = decide(ledger, registry, identifier, code, who=who, mailbox_id=mailbox_id)
        responses = ledger.responses_to(record.key)
    if as_json:
        print_json(message_row(record, responses, registry))
    else:
        display = ELEMENTS[BusinessCode(code)].display
        say(shown(f"{record.key.mesh_message_id}: {code} {display}, decided by {who}"))
        say("The daemon will now file it and answer, or not, as the code says; without a daemon: mesh-itk3 run --once")
    return Exit.DONE


def decide(
    ledger: Ledger, registry: Registry, identifier: str, code: str, *, who: str, mailbox_id: str | None
) -> MessageRecord:
    """The message as it stands once the decision is durable. Raises CommandRefused: nothing was decided."""
    found = find_one(ledger, identifier, mailbox_id=mailbox_id, acts_on=_waits)
    _check_waiting(found)
    return _commit(ledger, found, _allowed_code(code, found, registry), who)


def _waits(record: MessageRecord) -> bool:
    return record.state is State.AWAITING_DECISION


def _check_waiting(record: MessageRecord) -> None:
    if _waits(record):
        return
    decided = f"; {record.decided_by} has decided {record.decision_code}" if record.decision_code else ""
    named = record.key.mesh_message_id
    held = f", held by a person: mesh-itk3 release {named} --by WHO lets it go on" if is_held(record) else ""
    raise CommandRefused(f"{named} does not wait for a decision: it is {record.state}{held}{decided}")


def _allowed_code(text: str, record: MessageRecord, registry: Registry) -> BusinessCode:
    declaration = registry.declaration(record.handler)
    if declaration is None:
        raise CommandRefused(
            f"the handler {record.handler} is not installed or not enabled, so nothing can be decided; see `mesh-itk3 status`",
            Exit.FAILED,
        )
    allowed = declaration.decisions
    if text not in allowed:
        raise CommandRefused(f"{text!a} cannot be decided here; allowed: {_list_of(allowed)}")
    return BusinessCode(text)


def _list_of(codes: Iterable[BusinessCode]) -> str:
    return "; ".join(f"{code} {ELEMENTS[code].display}" for code in sorted(codes))


def _commit(ledger: Ledger, record: MessageRecord, code: BusinessCode, who: str) -> MessageRecord:
    """The message as it stands afterwards. Raises CommandRefused if somebody else was faster."""
    step = decision(record, code, who, datetime.now(UTC))
    try:
        ledger.apply([step])
    except LedgerConflict:
        _check_waiting(ledger.get(record.key) or record)
        raise CommandRefused("somebody else has just decided this message; see `mesh-itk3 trace`") from None
    events.emit(
        events.DECISION_MADE,
        mailbox_id=record.key.mailbox_id,
        mesh_message_id=record.key.mesh_message_id,
        message_header_id=record.message_header_id,
        workflow_id=record.workflow_id,
        handler=record.handler,
        stage=STAGE,
        outcome="decided",
        response_code=code.value,
        actor=who,
    )
    return ledger.get(record.key) or record
