"""`mesh-itk3 ledger adopt`: what lies in the payload store and in no row becomes messages again, on either engine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from mesh_itk3 import events
from mesh_itk3.adapters.ledger import migrate
from mesh_itk3.adapters.payload_store import DirectoryPayloadStore
from mesh_itk3.commands.console import Exit, counted, print_json, say
from mesh_itk3.commands.one_person import person
from mesh_itk3.commands.opened import become_owner, ledger_to_change, read_settings
from mesh_itk3.ports import HeldByAnother, LeaseLost, Ledger
from mesh_itk3.registry import registry_of
from mesh_itk3.settings import Settings
from mesh_itk3.stages.adopt import EVER, MESH_REMEMBERS, TakenUp, take_up

RENEW_EVERY_S: Final = 20.0
"""A lease lasts 90 seconds; a large store takes longer."""


def adopt_letters(config: Path, credentials: Path | None, *, by: str, takes_older: bool, as_json: bool) -> int:
    """Brings the ledger up to date first, or makes it: a dump may be older than the program. Raises HeldByAnother while a
    daemon collects.
    """
    who, settings = person(by), read_settings(config, credentials, needs_secrets=False)
    become_owner(settings)
    now = datetime.now(UTC)
    schema = migrate(settings.ledger.url.get_secret_value(), now).revision
    with ledger_to_change(settings) as ledger:
        taken_up = _take_up(settings, ledger, now, who, EVER if takes_older else now - MESH_REMEMBERS)
    events.emit(events.LEDGER_ADOPTED, actor=who, count=taken_up.total.messages, schema=schema)
    if as_json:
        print_json(document_of(taken_up, schema))
    else:
        print_taken_up(taken_up)
    return Exit.DONE


def _take_up(settings: Settings, ledger: Ledger, now: datetime, who: str, since: datetime) -> TakenUp:
    payloads, registry = DirectoryPayloadStore(settings.payloads.directory), registry_of(settings)
    mailbox_ids = tuple(settings.mailboxes)
    ledger.hold(mailbox_ids, now)
    try:
        renewing = Renewing(ledger, mailbox_ids)
        return take_up(ledger, payloads, registry, mailbox_ids, now, who=who, since=since, progress=renewing)
    except LeaseLost as error:
        raise HeldByAnother(f"{error}: a daemon was started meanwhile; stop it and give this command again") from error


@dataclass(slots=True)
class Renewing:
    """Keeps the leases while it is called: another may take one that has run out."""

    ledger: Ledger
    mailbox_ids: Sequence[str]
    renewed_at: float = field(default_factory=time.monotonic)

    def __call__(self) -> None:
        if time.monotonic() - self.renewed_at >= RENEW_EVERY_S:
            self.ledger.hold(self.mailbox_ids, datetime.now(UTC))
            self.renewed_at = time.monotonic()


def document_of(taken_up: TakenUp, schema: str) -> dict[str, Any]:
    """What `--json` says of it, here and after a restore."""
    total = taken_up.total
    return {
        "schema": schema,
        "adopted": total.received,
        "found_again": total.found_again,
        "unexplained": total.unexplained,
        "older": total.older,
        "owed_to_be_looked_up": taken_up.owed,
    }


def print_taken_up(taken_up: TakenUp) -> None:
    """The same for a person."""
    total = taken_up.total
    received = counted(total.received, "message")
    say(f"{received} that the ledger did not know: taken up from the payload store, to be judged again")
    if total.found_again:
        say(f"{counted(total.found_again, 'message')}: the bytes were found under another name")
    if total.unexplained:
        say(f"{counted(total.unexplained, 'file')} of the payload store without a word of which message: kept, to be looked at")
    if total.older:
        came = f"{counted(total.older, 'message')} that came more than {MESH_REMEMBERS.days} days ago"
        say(f"{came}: left in the payload store, for MESH cannot say any more whether")
        say("they were answered. `ledger adopt --older` takes them up, and may answer them again.")
    say(f"{counted(taken_up.owed, 'response')} owed. MESH is asked for each of these, and for each answer to a message that is")
    say("in the ledger now, before it is sent: what went out already does not go out again.")
    say("Decisions of people that the ledger does not know are to be made again: see `mesh-itk3 owed`.")
