"""Brings a ledger's schema up to date, after a backup copy; refuses what it does not know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, inspect, text

from mesh_itk3.adapters.ledger.collectors import FileLock
from mesh_itk3.adapters.ledger.copies import back_up, require_whole
from mesh_itk3.adapters.ledger.engine import Database, connect, create_sqlite_file
from mesh_itk3.adapters.ledger.schema import REVISION, VERSION_TABLE
from mesh_itk3.ports import HeldByAnother, LedgerUnavailable, StorageFailed

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATION_LOCK: Final = 0x4D455348
"""PostgreSQL advisory lock (any number of our own): two daemons that start at once do not both migrate."""


@dataclass(frozen=True, slots=True)
class MigrationResult:
    """What `migrate` did."""

    upgraded: bool
    """The schema of a ledger that was there was changed."""
    revision: str
    """The schema that the ledger has now."""
    backup: Path | None
    """The copy of the ledger as it was: only where there was one, in a file."""
    is_new: bool = False
    """There was no ledger: it was made."""


@dataclass(frozen=True, slots=True)
class Migrations:
    """Where the steps are, and which is the last."""

    directory: Path
    revision: str


SHIPPED: Final = Migrations(Path(__file__).parent / "migrations", REVISION)


def migrate(url: str, now: datetime, migrations: Migrations = SHIPPED, *, keeps_copy: bool = True) -> MigrationResult:
    """Makes the ledger where there is none, and brings an older one up to date in one transaction. Safe to repeat.

    An existing SQLite ledger is first copied, consistently, to a file beside it, unless `keeps_copy` is false. While a ledger
    changes, nobody can become its collector. Raises LedgerUnavailable where the ledger is newer than this program, damaged or
    not ours;
    HeldByAnother where an older ledger is still being collected into (on PostgreSQL: a lease has not expired at `now`).
    """
    database = connect(url)
    try:
        if database.sqlite_file:
            require_whole(database.sqlite_file)
        if database.sqlite_file and not database.sqlite_file.exists():
            create_sqlite_file(database.sqlite_file)
        if _revision(database) == migrations.revision:
            return MigrationResult(upgraded=False, revision=migrations.revision, backup=None)
        with _sqlite_collector_lock(database, now):
            return _upgrade(database, now, migrations, keeps_copy=keeps_copy)
    finally:
        database.close()


def schema_revision(url: str) -> str | None:
    """The ledger's schema revision; None where there is a database but no ledger in it yet. Changes nothing.

    Raises LedgerUnavailable where there is no ledger file, or it is damaged or another program's.
    """
    database = connect(url)
    try:
        return _revision(database)
    finally:
        database.close()


def require_current_schema(database: Database) -> None:
    """Raises LedgerUnavailable, saying what to do, unless the ledger is there with exactly this program's schema."""
    found = _revision(database)
    if found is None:
        raise LedgerUnavailable("there is no ledger here yet: `mesh-itk3 run` makes it")
    if found != REVISION:
        _require_known(found, SHIPPED)
        raise LedgerUnavailable(f"the ledger has the older schema {found}: `mesh-itk3 run` brings it up to date")


def _revision(database: Database) -> str | None:
    if database.sqlite_file:
        require_whole(database.sqlite_file)
    if database.sqlite_file and not database.sqlite_file.is_file():
        raise LedgerUnavailable("there is no ledger file here yet: `mesh-itk3 run` makes it")
    with database.reading() as connection:
        return _read_revision(connection)


def _read_revision(connection: Connection) -> str | None:
    tables = set(inspect(connection).get_table_names())
    if VERSION_TABLE in tables:
        found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - a constant
        if found is None:
            raise LedgerUnavailable("the ledger does not say which schema it has: it is damaged; restore a backup")
        return str(found)
    if tables and (connection.dialect.name == "sqlite" or "message" in tables):
        raise LedgerUnavailable("the database belongs to another program")
    return None


def _upgrade(database: Database, now: datetime, migrations: Migrations, *, keeps_copy: bool) -> MigrationResult:
    with database.writing() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
        # Read again: whoever held the lock before us may have done it.
        found = _read_revision(connection)
        if found == migrations.revision:
            return MigrationResult(upgraded=False, revision=migrations.revision, backup=None)
        if found is not None:
            _require_known(found, migrations)
            _require_no_lease(connection, now)
        backup = _back_up(database.sqlite_file, found, now) if database.sqlite_file and found and keeps_copy else None
        _run_migrations(connection, migrations)
    is_new = found is None
    return MigrationResult(upgraded=not is_new, revision=migrations.revision, backup=backup, is_new=is_new)


def _run_migrations(connection: Connection, migrations: Migrations) -> None:
    # Imported here: Alembic is needed once in a ledger's life, and not by commands that only read.
    from alembic import command

    config = alembic_config(migrations)
    config.attributes["connection"] = connection
    command.upgrade(config, migrations.revision)


def alembic_config(migrations: Migrations) -> Config:
    """What Alembic has to be told, without a file of its own."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations.directory).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _require_known(revision: str, migrations: Migrations) -> None:
    from alembic.script import ScriptDirectory

    known = {script.revision for script in ScriptDirectory.from_config(alembic_config(migrations)).walk_revisions()}
    if revision not in known:
        raise LedgerUnavailable(
            f"the ledger's schema {revision} is newer than this program, which knows {migrations.revision}:"
            " install the newer version"
        )


def _require_no_lease(connection: Connection, now: datetime) -> None:
    """On SQLite the collector's lock stands for this."""
    if connection.dialect.name == "sqlite":
        return
    # Until the upgrade commits, nobody takes one either.
    connection.execute(text("LOCK TABLE lease IN ACCESS EXCLUSIVE MODE"))
    held = text("SELECT mailbox_id, owner FROM lease WHERE owner IS NOT NULL AND expires_at > :now ORDER BY mailbox_id")
    if found := connection.execute(held, {"now": now}).first():
        raise HeldByAnother(f"mailbox {found.mailbox_id} is collected by {found.owner}: stop it before the ledger is upgraded")


@contextmanager
def _sqlite_collector_lock(database: Database, now: datetime) -> Iterator[None]:
    if database.sqlite_file is None:
        yield
        return
    lock = FileLock(database.sqlite_file)
    lock.hold((), now)
    try:
        yield
    finally:
        lock.release()


def _back_up(ledger: Path, revision: str, now: datetime) -> Path:
    backup = ledger.with_name(f"{ledger.name}.{revision}.{now.astimezone(UTC):%Y%m%dT%H%M%SZ}.backup")
    try:
        back_up(ledger, backup)
    except StorageFailed as error:
        raise LedgerUnavailable(f"the ledger cannot be backed up before its upgrade: {error}") from error
    return backup
