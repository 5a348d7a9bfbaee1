"""Whether a SQLite ledger is sound: the file itself, and what this program relies on in it. Changes nothing."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from mesh_itk3 import events
from mesh_itk3.adapters.ledger.failures import DAMAGED, ledger_failures
from mesh_itk3.ports import LedgerDamaged, LedgerUnavailable

AFTER_UNCLEAN_STOP_S: Final = 20.0
"""What a start may cost after the last process died: a million messages are looked through in about half of it."""
AFTER_CLEAN_STOP_S: Final = 0.5
MOST_LINES: Final = 20
"""Of one kind of damage; a damaged file can give thousands."""

BROKEN_RULES: Final[dict[str, str]] = {
    "responses that are owed and have no bytes": """SELECT count(*) FROM response WHERE state = 'owed'
        AND NOT EXISTS (SELECT 1 FROM response_body WHERE response_body.local_id = response.local_id)""",
    "unfinished messages whose bytes retention has removed": """SELECT count(*) FROM message
        WHERE payload_pruned_at IS NOT NULL AND payload_name IS NULL AND finished_at IS NULL""",
    "unfinished messages that name no payload": """SELECT count(*) FROM message
        WHERE payload_name IS NULL AND payload_pruned_at IS NULL AND state IN ('received', 'accepted', 'awaiting_decision')""",
    "business responses beside a negative infrastructure response": """SELECT count(*) FROM response AS negative
        JOIN response AS business ON business.answered_mesh_message_id = negative.answered_mesh_message_id
        AND business.mailbox_id = negative.mailbox_id AND business.level = 'business'
        WHERE negative.level = 'infrastructure' AND negative.response_code <> '20013'""",
}
"""What must never be there, and how many of it there are."""


def look_at_start(ledger: Path, *, was_clean: bool, limit_s: float | None = None) -> None:
    """Looks through the file for as long as a start may take (`limit_s`): longer where the last process did not end by itself.
    Damage is seldom, and what is not found now is found where it is met. Raises LedgerDamaged.
    """
    if limit_s is None:
        limit_s = AFTER_CLEAN_STOP_S if was_clean else AFTER_UNCLEAN_STOP_S
    began = time.monotonic()
    is_whole = _quick_check(ledger, limit_s)
    if not is_whole and not was_clean:
        events.emit(events.LEDGER_UNCHECKED, seconds=round(time.monotonic() - began, 1))


def is_found_damaged(ledger: Path) -> bool:
    """Whether a connection of its own finds damage in the file, in as long as a start may take."""
    try:
        _quick_check(ledger, AFTER_UNCLEAN_STOP_S)
    except LedgerUnavailable as error:  # else the disk says nothing now: it is asked again when it does
        return isinstance(error, LedgerDamaged)
    return False


def _quick_check(ledger: Path, limit_s: float) -> bool:
    """False where the time was over first. Raises LedgerDamaged."""
    over = threading.Event()
    with ledger_failures(), closing(_reading(ledger)) as connection:
        limit = threading.Thread(target=_interrupt_every, args=(limit_s, connection, over))
        limit.start()
        try:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            return False
        finally:
            over.set()
            limit.join()
    if found != "ok":
        raise LedgerDamaged(DAMAGED)
    return True


def _interrupt_every(limit_s: float, connection: sqlite3.Connection, over: threading.Event) -> None:
    # More than once: SQLite takes no notice of an interrupt that comes just before its statement begins.
    while not over.wait(limit_s):
        connection.interrupt()


def damage(ledger: Path) -> Iterator[str]:
    """One line for each thing that is wrong with the file: SQLite's own whole check, and rows that name rows which are not
    there. Raises LedgerDamaged where it cannot even be read so far.
    """
    with ledger_failures(), closing(_reading(ledger)) as connection:
        lines = [row[0] for row in connection.execute(f"PRAGMA integrity_check({MOST_LINES})")]
        if lines != ["ok"]:
            # SQLite quotes no content, but pages and the names of tables.
            yield from (line for text in lines for line in text.splitlines())
            return
        orphans = connection.execute("PRAGMA foreign_key_check").fetchmany(MOST_LINES)
        yield from (f"{table}, row {row}: names a row of {parent} that is not there" for table, row, parent, _ in orphans)


def broken_rules(ledger: Path) -> Iterator[tuple[str, int]]:
    """What this program relies on and does not hold: in words, and how often. Raises LedgerDamaged, LedgerUnavailable."""
    with ledger_failures(), closing(_reading(ledger)) as connection:
        for words, query in BROKEN_RULES.items():
            if count := connection.execute(query).fetchone()[0]:
                yield words, count


def _reading(ledger: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(ledger))}?mode=ro", uri=True, check_same_thread=False, isolation_level=None)
