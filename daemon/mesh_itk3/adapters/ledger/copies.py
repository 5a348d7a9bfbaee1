"""Whole copies of a SQLite ledger: before an upgrade, as a backup, and back in its place."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import Final
from urllib.parse import quote

from mesh_itk3.adapters.durable import file_aside, fsync_directory, fsync_file, storage_failures
from mesh_itk3.adapters.ledger.failures import DAMAGED, ledger_failures
from mesh_itk3.ports import LedgerDamaged, LedgerUnavailable

CUT_OFF: Final = "a restore of this ledger was cut off: run `mesh-itk3 ledger restore` again, with the same backup"


def back_up(ledger: Path, target: Path, *, is_at_rest: bool = False) -> None:
    """A consistent copy of a ledger, whoever writes into it meanwhile: durable and looked over on return, mode 0600. Through
    SQLite's backup interface: a plain copy of the file would lack what is still in the write-ahead log. Raises LedgerDamaged,
    LedgerUnavailable, StorageFailed; then there is no copy.

    `is_at_rest`: nobody has it open and it has no log. Then nothing is made beside it, and it may stand where nothing can be.
    """
    how = "mode=ro&immutable=1" if is_at_rest else "mode=ro"
    with ledger_failures(), file_aside(target) as aside:
        _copy(f"file:{quote(str(ledger))}?{how}", aside)


def prepare(backup: Path, ledger: Path) -> Path:
    """A copy of the backup beside the ledger, under a name of its own, to be made ready there. Raises as `back_up`."""
    clear(ledger)
    aside = _aside(ledger)
    back_up(backup, aside, is_at_rest=not _log_of(backup).exists())
    return aside


def clear(ledger: Path) -> None:
    """Removes what `prepare` has made, with the files that SQLite and the lock put beside it. Raises StorageFailed."""
    with storage_failures():
        for left in _made_beside(ledger):  # and no other name that begins so: it may be the backup's own
            left.unlink(missing_ok=True)


def switch(ledger: Path, aside: Path, now: datetime) -> Path | None:
    """Puts `aside`, which nobody has open, in the ledger's place; where the old ledger is kept now, None where there was
    none. Only while nobody collects. Cut off half way, the ledger is refused until a restore has ended. Raises
    StorageFailed; LedgerUnavailable where somebody has `aside` open after all.
    """
    marker, log = _marker(ledger), _log_of(ledger)
    kept = _free_name(ledger, now)
    with storage_failures():
        _empty_log(aside)
        fsync_file(aside)
        # Under their new names before anything goes: the log may hold the last minutes of the old ledger.
        is_kept = _keep(ledger, kept) | _keep(log, _log_of(kept))
        marker.touch(mode=0o600)
        fsync_directory(ledger.parent)
        # Before the rename: SQLite would play an old log into a new file.
        for path in (log, ledger.with_name(f"{ledger.name}-shm")):
            path.unlink(missing_ok=True)
        fsync_directory(ledger.parent)
        aside.replace(ledger)
        fsync_directory(ledger.parent)
        marker.unlink()
        fsync_directory(ledger.parent)
    return kept if is_kept else None


def require_whole(ledger: Path) -> None:
    """Raises LedgerUnavailable where a restore was cut off between the old ledger and the new one, and where the ledger's
    directory may not be looked into.
    """
    try:
        is_cut_off = _marker(ledger).exists()
    except OSError as error:  # a directory that may not be entered, a name that is too long
        raise LedgerUnavailable(f"the ledger file cannot be looked for ({type(error).__name__})") from error
    if is_cut_off:
        raise LedgerUnavailable(CUT_OFF)


def is_in_the_way(path: Path, ledger: Path) -> bool:
    """Whether a restore makes a file of its own under this name."""
    return path in _made_beside(ledger)


def _aside(ledger: Path) -> Path:
    return ledger.with_name(f"{ledger.name}.restored")


def _made_beside(ledger: Path) -> list[Path]:
    return [ledger.with_name(f"{_aside(ledger).name}{end}") for end in ("", "-wal", "-shm", "-journal", ".lock")]


def _marker(ledger: Path) -> Path:
    return ledger.with_name(f"{ledger.name}.restoring")


def _log_of(ledger: Path) -> Path:
    return ledger.with_name(f"{ledger.name}-wal")


def _free_name(ledger: Path, now: datetime) -> Path:
    first = f"{ledger.name}.{now.astimezone(UTC):%Y%m%dT%H%M%SZ}.replaced"
    names = chain([first], (f"{first}.{number}" for number in count(2)))
    return next(path for name in names if not (path := ledger.with_name(name)).exists())


def _keep(path: Path, name: Path) -> bool:
    """A second name for a file, if it is there."""
    with suppress(FileNotFoundError):
        os.link(path, name)
        return True
    return False


def _empty_log(database: Path) -> None:
    # SQLite refuses it while anybody else has the file open.
    with ledger_failures(), closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")


def _copy(location: str, target: Path) -> None:
    with closing(sqlite3.connect(location, uri=True)) as reading, closing(sqlite3.connect(target)) as writing:
        writing.execute("PRAGMA journal_mode = OFF")
        reading.backup(writing)
        if writing.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise LedgerDamaged(DAMAGED)
