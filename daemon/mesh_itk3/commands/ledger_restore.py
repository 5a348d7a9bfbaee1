"""`mesh-itk3 ledger restore`: a backup takes the ledger's place, and no letter that came since is lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from mesh_itk3.commands.console import CommandRefused, Exit, counted, print_json, say, shown
from mesh_itk3.commands.one_person import person
from mesh_itk3.commands.sqlite_ledger import settings_of_file
from mesh_itk3.ports import LedgerDamaged, LedgerUnavailable, Records
from mesh_itk3.registry import registry_of
from mesh_itk3.settings import Settings
from mesh_itk3.stages.adopt import Adopted, adopt


@dataclass(frozen=True, slots=True)
class Ready:
    """The copy beside the ledger, ready to take its place."""

    file: Path
    schema: str
    adopted: Mapping[str, Adopted]
    """By mailbox."""
    owed: int

    def total(self, what: str) -> int:
        return sum(getattr(adopted, what) for adopted in self.adopted.values())


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
    adopted = ready.total("received") + ready.total("found_again")
    events.emit(events.LEDGER_RESTORED, actor=who, count=adopted, schema=ready.schema)
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
        adopted = {one: adopt(ledger, payloads, registry, one, now, who=who) for one in settings.mailboxes}
        owed = ledger.doubt_owed(now)
    return Ready(aside, schema, adopted, owed)


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
        "schema": ready.schema,
        "adopted": ready.total("received"),
        "found_again": ready.total("found_again"),
        "unexplained": ready.total("unexplained"),
        "owed_to_be_looked_up": ready.owed,
    }


def _print(backup: Path, kept: Path | None, ready: Ready) -> None:
    say(shown(f"restored from {backup}, schema {ready.schema}"))
    if kept:
        say(shown(f"the old ledger is kept as {kept}"))
    received, found_again = ready.total("received"), ready.total("found_again")
    say(f"{counted(received, 'message')} that came after the backup: taken up from the payload store, to be judged again")
    if found_again:
        say(f"{counted(found_again, 'message')}: the bytes were found under another name")
    if unexplained := ready.total("unexplained"):
        say(f"{counted(unexplained, 'file')} of the payload store say not what they are: kept, look at them")
    say(f"{counted(ready.owed, 'response')} owed: each is looked up in MESH before it is sent")
    say("Decisions of people made after the backup are to be made again: see `mesh-itk3 owed`.")
