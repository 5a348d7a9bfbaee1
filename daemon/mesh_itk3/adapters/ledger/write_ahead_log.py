"""SQLite's write-ahead log after an unclean end: made durable before anything is built on it.

A commit whose fsync failed has been undone for whoever asked for it. But the kernel drops what it could not write and keeps
showing it, and so a process that opens the ledger later finds that commit in the log, whole, and takes it for one that is
durable: a message would be acknowledged that the next power cut makes forgotten, and with it all that was committed behind
it. So whoever opens the ledger while no daemon lives, a daemon or a command, first writes the log once more, the same bytes,
and fsyncs them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from mesh_itk3.adapters.durable import storage_failures
from mesh_itk3.adapters.ledger.collectors import FileLock
from mesh_itk3.adapters.ledger.engine import connect
from mesh_itk3.ports import LedgerUnavailable, StorageFailed

BLOCK_BYTES: Final = 1024 * 1024


def settle_log(url: str) -> bool:
    """Makes the log of a SQLite ledger durable, if one was left behind; whether one was. Left alone where another process
    collects into the ledger: it has done so. Raises LedgerUnavailable.
    """
    database = connect(url)
    file = database.sqlite_file
    if file is None or not _size(log := file.with_name(f"{file.name}-wal")) or FileLock(file).is_held():
        return False
    try:
        # Nobody appends to the log or begins it anew while we hold the ledger's own write lock, and whoever else settles it
        # writes the same bytes; that it is read does no harm.
        with database.writing(), storage_failures():
            _write_again(log)
    except StorageFailed as error:
        raise LedgerUnavailable(f"the ledger's log cannot be made durable: {error}") from error
    finally:
        database.close()
    return True


def _write_again(log: Path) -> None:
    with log.open("r+b", buffering=0) as file:
        at = 0
        while block := os.pread(file.fileno(), BLOCK_BYTES, at):
            at += os.pwrite(file.fileno(), block, at)
        os.fsync(file.fileno())


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
