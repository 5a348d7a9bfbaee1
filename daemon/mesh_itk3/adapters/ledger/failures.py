"""What databases raise, as the ports' errors. Texts hold no values: they go to logs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from mesh_itk3.ports import LedgerConflict, LedgerDamaged, LedgerUnavailable, StepRefused

DAMAGED: Final = (
    "the ledger file is damaged: stop the service, see `mesh-itk3 ledger check`, then put a backup in its place with"
    " `mesh-itk3 ledger restore`; the damaged file is kept beside it"
)
_SQLITE: Final = {
    sqlite3.SQLITE_FULL: "the disk under the ledger is full",
    sqlite3.SQLITE_IOERR: "the disk under the ledger failed to read or write",
    sqlite3.SQLITE_READONLY: "the ledger cannot be written",
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_NOTADB: DAMAGED,
    sqlite3.SQLITE_CANTOPEN: "the ledger file cannot be opened",
    sqlite3.SQLITE_PERM: "the ledger file may not be opened",
    sqlite3.SQLITE_BUSY: "another process holds the ledger file for too long",
    sqlite3.SQLITE_LOCKED: "another process holds the ledger file for too long",
}
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_POSTGRESQL: Final = {
    "08": "the connection to the ledger's server is lost",
    "28": "the ledger's server refuses the user or password",
    "3D": "the ledger's server has no such database",
    "40": "the ledger's server gave up a transaction that stood against another; it is tried again",
    "42": "the database's tables are none of this program, or may not be used by this user",
    "53": "the ledger's server is out of disk space, memory or connections",
    "55": "another transaction holds the ledger for too long",
    "57": "the ledger's server stopped the transaction, or is shutting down",
    "58": "the disk under the ledger's server failed",
    "XX": "the ledger's server reports damage",
}
"""By class of SQLSTATE (PostgreSQL, Appendix A)."""
_OF_THE_VALUE: Final = frozenset({"22", "54"})
"""Classes of SQLSTATE that the server raises for what it was given: no text, too long for an index."""


@contextmanager
def ledger_failures() -> Iterator[None]:
    """Turns what SQLAlchemy and the drivers raise into LedgerConflict (a second row where one may be), StepRefused (a
    value that cannot be held) or LedgerUnavailable, where what was to be written is not at fault: no attempt is counted.
    """
    try:
        yield
    except IntegrityError as error:
        raise LedgerConflict("a row that may exist once exists already, or one that it needs does not") from error
    except DBAPIError as error:
        if isinstance(error, DataError) or _is_of_the_value(error.orig):
            raise StepRefused("the ledger cannot hold a value: it is too long, or no text") from error
        raise _unavailable(error.orig) from error
    except UnicodeEncodeError:
        # Not chained: this error carries the whole value.
        raise StepRefused("the ledger cannot hold a value: it is no text") from None
    except sqlite3.Error as error:
        raise _unavailable(error) from error
    except PoolTimeout as error:
        raise LedgerUnavailable("every connection to the ledger is busy for too long") from error


def is_distrusted(error: BaseException | None) -> bool:
    """Whether a connection that has raised this may believe what is not on the disk."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF if isinstance(error, sqlite3.Error) else 0
    return code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT)


@contextmanager
def faults_of_steps() -> Iterator[None]:
    """Inside `ledger_failures`: a step that breaks a constraint, which no other process can bring about, is at fault
    itself. As a conflict it would be taken for one that somebody else has moved, and be forgotten.
    """
    try:
        yield
    except IntegrityError as error:
        raise StepRefused("the step contradicts what is in the ledger already") from error


def _is_of_the_value(error: BaseException | None) -> bool:
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF == sqlite3.SQLITE_TOOBIG
    return (getattr(error, "sqlstate", None) or "")[:2] in _OF_THE_VALUE


def _unavailable(error: BaseException | None) -> LedgerUnavailable:
    is_damage = isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE
    return (LedgerDamaged if is_damage else LedgerUnavailable)(_said(error))


def _said(error: BaseException | None) -> str:
    if isinstance(error, sqlite3.Error):
        # The low byte is the error, the rest its details (https://www.sqlite.org/rescode.html).
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
        return f"{_SQLITE.get(code & 0xFF, 'the ledger cannot be used')} ({name})"
    state = getattr(error, "sqlstate", None)
    if state is None:
        return "the ledger's server cannot be reached"
    return f"{_POSTGRESQL.get(state[:2], 'the ledger cannot be used')} (SQLSTATE {state})"
