"""`mesh-itk3 ledger restore`: a backup takes the ledger's place, and no letter that came since is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mesh_itk3 import events
from mesh_itk3.adapters.ledger import migrate, open_ledger, schema_revision
from mesh_itk3.adapters.ledger.collectors import FileLock
from mesh_itk3.adapters.ledger.copies import clear, is_in_the_way, prepare, switch
from mesh_itk3.adapters.ledger.health import damage
from mesh_itk3.adapters.payload_store import DirectoryPayloadStore
from mesh_itk3.commands.console import CommandRefused, Exit, print_json, say, shown
from mesh_itk3.commands.ledger_adopt import document_of, print_taken_up
from mesh_itk3.commands.one_person import person
from mesh_itk3.commands.sqlite_ledger import settings_of_file
from mesh_itk3.ports import LedgerDamaged, LedgerUnavailable, Records
from mesh_itk3.registry import registry_of
from mesh_itk3.settings import Settings
from mesh_itk3.stages.adopt import TakenUp, take_up


@dataclass(frozen=True, slots=True)
class Ready:
    """The copy beside the ledger, ready to take its place."""

    file: Path
    schema: str
    taken_up: TakenUp


def restore_ledger(config: Path, credentials: Path | None, backup: Path, *, by: str, as_json: bool) -> int:
    """Everything is made ready beside the ledger, and only then takes its place. Raises HeldByAnother while a daemon runs."""
    who, backup = person(by), backup.absolute()
    settings, file = settings_of_file(config, credentials, "restore")
    if not backup.is_file():
        raise CommandRefused(f"there is no file {backup}")
    if file.exists() and backup.samefile(file):
        raise CommandRefused("this is the ledger itself")
    if is_in_the_way(backup, file):
        raise CommandRefused(f"a restore writes a file of this name itself: give {backup.name} another name first")
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    now, lock = datetime.now(UTC), FileLock(file)
    lock.hold((), now)
    try:
        ready = _make_ready(settings, file, backup, now, who)
        kept = switch(file, ready.file, now)
    finally:
        clear(file)
        lock.release()
    events.emit(events.LEDGER_RESTORED, actor=who, count=ready.taken_up.total.messages, schema=ready.schema)
    if as_json:
        print_json(_document(backup, kept, ready))
    else:
        _print(backup, kept, ready)
    return Exit.DONE


def _make_ready(settings: Settings, file: Path, backup: Path, now: datetime, who: str) -> Ready:
    with _faults_of(backup):
        aside = prepare(backup, file)
        url = f"sqlite:///{aside}"
        if schema_revision(url) is None:
            raise LedgerUnavailable("it holds no ledger")
        schema = migrate(url, now, keeps_copy=False).revision  # the backup stays as it is
        for line in damage(aside):
            raise LedgerDamaged(line)
    payloads, registry = DirectoryPayloadStore(settings.payloads.directory), registry_of(settings)
    with closing(open_ledger(url, owner="restore")) as ledger:
        _require_ours(ledger, backup, settings)
        taken_up = take_up(ledger, payloads, registry, tuple(settings.mailboxes), now, who=who)
    return Ready(aside, schema, taken_up)


@contextmanager
def _faults_of(backup: Path) -> Iterator[None]:
    """What is wrong with the backup must not read as if it were wrong with the ledger."""
    try:
        yield
    except LedgerUnavailable as error:
        why = "it is damaged, or no ledger" if isinstance(error, LedgerDamaged) else str(error)
        raise CommandRefused(shown(f"{backup} cannot be restored: {why}; nothing is changed"), Exit.FAILED) from error


def _require_ours(ledger: Records, backup: Path, settings: Settings) -> None:
    """With another practice's ledger every letter that is here would look new, and be answered once more."""
    newest = next(iter(ledger.messages(limit=1)), None)
    if newest is not None and not list(ledger.messages(mailbox_ids=tuple(settings.mailboxes), limit=1)):
        of = newest[0].key.mailbox_id
        why = f"it holds messages of {of}, and none of a mailbox that is configured here"
        raise CommandRefused(shown(f"{backup} cannot be restored: {why}; nothing is changed"), Exit.FAILED)


def _document(backup: Path, kept: Path | None, ready: Ready) -> dict[str, object]:
    return {
        "restored_from": str(backup),
        "old_ledger": kept and str(kept),
        **document_of(ready.taken_up, ready.schema),
    }


def _print(backup: Path, kept: Path | None, ready: Ready) -> None:
    say(shown(f"restored from {backup}, schema {ready.schema}"))
    if kept:
        say(shown(f"the old ledger is kept as {kept}"))
    print_taken_up(ready.taken_up)
