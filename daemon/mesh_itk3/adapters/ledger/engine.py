"""Connections to the ledger: how each engine is set up so that a commit is durable and a transaction is what it says."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import ConnectionPoolEntry

from mesh_itk3.adapters.durable import DurableDirectories, fsync_directory
from mesh_itk3.adapters.ledger.failures import is_distrusted, ledger_failures
from mesh_itk3.adapters.ledger.health import is_found_damaged, look_at_start
from mesh_itk3.ports import LedgerDamaged, LedgerUnavailable, StorageFailed

BUSY_TIMEOUT_S: Final = 15.0
"""A guess: longer than any transaction of ours, shorter than a watchdog's patience."""
_POSTGRESQL_OPTIONS: Final = (
    "-c timezone=UTC -c synchronous_commit=on -c lock_timeout=15s -c statement_timeout=60s"
    " -c idle_in_transaction_session_timeout=60s"
)
_POSTGRESQL_DURABILITY: Final = ("fsync", "full_page_writes", "synchronous_commit")
_POOL: Final = {"pool_size": 8, "pool_use_lifo": True, "max_overflow": 8, "pool_timeout": BUSY_TIMEOUT_S}
_BEGIN: Final = "mesh_itk3_begin"
"""How a transaction begins on SQLite; empty: not at all, each statement being one of its own."""

GONE: Final = (
    "the ledger file was moved, deleted or replaced while it is in use: put it back with its -wal file, or stop the service and"
    " see docs/operations.md, Restore"
)


class Database:
    """The engine behind a ledger, and its two kinds of transaction. Safe to use from several threads."""

    def __init__(self, url: URL, *, sqlite_file: Path | None) -> None:
        self.url = url
        self.sqlite_file = sqlite_file
        """The ledger file, or None on PostgreSQL."""
        self._engine = _sqlite_engine(sqlite_file) if sqlite_file else _postgresql_engine(url)
        # IMMEDIATE takes the write lock before the first read, so that nothing read can have changed when it is written.
        self._writer = self._engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
        alone = {_BEGIN: ""} if sqlite_file else {"isolation_level": "AUTOCOMMIT"}
        self._single = self._engine.execution_options(**alone)
        # Threads of one process queue here: SQLite's own waiting is a sleep, up to 100 ms at a time.
        self._damage: str | None = None
        self._opened: tuple[int, int] | None = None
        """Device and inode of the file with which this began."""
        self._one_writer: AbstractContextManager[object] = threading.Lock() if sqlite_file else nullcontext()

    @property
    def is_sqlite(self) -> bool:
        return self.sqlite_file is not None

    @property
    def is_damaged(self) -> bool:
        """Damage was met: from then on nothing is read or written through this, whatever else of the file may be sound."""
        return self._damage is not None

    def look_at(self, file: Path, *, was_clean: bool) -> None:
        """Looks through the ledger file before anything is written into it. Raises LedgerDamaged."""
        with self._failures():
            look_at_start(file, was_clean=was_clean)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        if self._damage is not None:
            raise LedgerDamaged(self._damage)
        self._require_same_file()
        try:
            with ledger_failures():
                yield
        except LedgerDamaged as damaged:
            # After an I/O error a connection may call damaged what the disk holds well (`_distrust`): another one looks.
            if self.sqlite_file is None or is_found_damaged(self.sqlite_file):
                self._damage = str(damaged)
            raise

    def _require_same_file(self) -> None:
        """Connections go on writing into a file that has been moved or deleted, and a new one would open whatever stands in its
        place: what is committed then, and acknowledged to MESH, is in no ledger that the next start finds.
        """
        if self.sqlite_file is None:
            return
        try:
            found = self.sqlite_file.stat()
        except FileNotFoundError:
            if self._opened is not None:
                raise LedgerUnavailable(GONE) from None
        except OSError:
            return  # the disk: SQLite says how it fails
        else:
            opened = self._opened = self._opened or (found.st_dev, found.st_ino)
            if (found.st_dev, found.st_ino) != opened:
                raise LedgerUnavailable(GONE)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view of the ledger."""
        with self._failures(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def asking(self) -> Iterator[Connection]:
        """For questions of one statement: each is a view by itself. Cheaper by the beginning and end of a transaction."""
        with self._failures(), self._single.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction, durable when the block ends, undone when it raises."""
        with self._failures(), self._one_writer, self._writer.begin() as connection:
            yield connection

    def close(self) -> None:
        self._engine.dispose()


def connect(url: str) -> Database:
    """The database at this URL: `sqlite:////path` or `postgresql://…` (which means psycopg 3). Opens nothing yet.

    Raises LedgerUnavailable where the URL or the machine does not allow it. The text never quotes the URL, which may
    hold a password.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise LedgerUnavailable("ledger.url is no database URL") from None
    if parsed.get_backend_name() == "sqlite":
        return Database(parsed, sqlite_file=_sqlite_path(parsed))
    if parsed.get_backend_name() in ("postgresql", "postgres"):
        return Database(parsed.set(drivername="postgresql+psycopg"), sqlite_file=None)
    raise LedgerUnavailable("ledger.url is neither sqlite:// nor postgresql://")


def undurable_settings(url: str) -> list[str]:
    """The settings of a PostgreSQL server that let it forget what it has committed, as `fsync = off`; none on SQLite, where
    every connection of ours sets its own. Raises LedgerUnavailable.
    """
    database = connect(url)
    if database.is_sqlite:
        return []
    try:
        with database.reading() as connection:
            shown = {name: str(connection.execute(text(f"SHOW {name}")).scalar()) for name in _POSTGRESQL_DURABILITY}
    finally:
        database.close()
    return [f"{name} = {value}" for name, value in shown.items() if value != "on"]


def create_sqlite_file(path: Path) -> None:
    """Makes an empty ledger file, mode 0600, and its directory, mode 0700, where they are missing; durable on return."""
    try:
        DurableDirectories().make(path.parent, path.parent)
        with suppress(FileExistsError):  # another process was quicker
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        fsync_directory(path.parent)
    except StorageFailed as error:
        with suppress(OSError):
            if not path.stat().st_size:  # to be made anew: see `durable.make_durable`
                path.unlink()
        raise LedgerUnavailable(f"the ledger file cannot be made: {error}") from error
    except OSError as error:
        raise LedgerUnavailable(f"the ledger file cannot be made ({type(error).__name__})") from error


def _sqlite_path(url: URL) -> Path:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise LedgerUnavailable("ledger.url names no file: sqlite:////absolute/path/ledger.db")
    return Path(url.database).absolute()


def _sqlite_engine(path: Path) -> Engine:
    # mode=rw: nothing but `create_sqlite_file` ever makes a ledger, least of all a command that only reads.
    location = f"file:{quote(str(path))}?mode=rw"

    def open_file() -> sqlite3.Connection:
        return sqlite3.connect(
            location,
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            # The driver's own transactions begin too late: two readers would both see the old row and both write.
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )

    engine = create_engine("sqlite://", creator=open_file, poolclass=QueuePool, hide_parameters=True, **_POOL)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    event.listen(engine, "handle_error", _distrust)
    return engine


def _set_up_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    for pragma in (
        "journal_mode = WAL",
        # FULL: a commit that the power cuts off a moment later is still there. NORMAL in WAL mode does not promise that.
        "synchronous = FULL",
        f"busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}",
        "foreign_keys = ON",
        "journal_size_limit = 67108864",
        # Four times the default, 16 MB: the pages that every commit touches are copied to the file a quarter as often.
        "wal_autocheckpoint = 4000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _distrust(context: ExceptionContext) -> None:
    """After an I/O error nothing that a connection believes is believed: it is closed, and with it all that are idle. What
    was not committed is undone; SQLite writes the same part of its log anew with the next transaction.
    """
    if is_distrusted(context.original_exception):
        context.is_disconnect = True


def _begin_sqlite(connection: Connection) -> None:
    if begin := connection.get_execution_options().get(_BEGIN, "BEGIN"):
        # Past SQLAlchemy: it comes before every message's statements, which are few.
        driver: Any = connection.connection.driver_connection
        driver.execute(begin)


def _postgresql_engine(url: URL) -> Engine:
    try:
        return create_engine(
            url,
            connect_args={"options": _POSTGRESQL_OPTIONS, "connect_timeout": 10, "application_name": "mesh-itk3"},
            hide_parameters=True,
            **_POOL,
        )
    except (ImportError, NoSuchModuleError) as error:
        raise LedgerUnavailable("PostgreSQL needs the extra `postgres`: pip install mesh-itk3[postgres]") from error
