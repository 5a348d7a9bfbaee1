"""`mesh-itk3 run` whose connections to MESH cannot be closed, nor its leases given up: `python unclosable.py CONFIG`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mesh_itk3 import service
from mesh_itk3.daemon import Daemon
from mesh_itk3.ports import Ledger, LedgerUnavailable, Mailbox


class _AllBut:
    """Does what another does, but for what a subclass says."""

    def __init__(self, other: Mailbox | Ledger) -> None:
        self._other = other

    def __getattr__(self, name: str) -> Any:
        return getattr(self._other, name)


class Unclosable(_AllBut):
    """A mailbox that cannot be closed."""

    def close(self) -> None:
        raise OSError("this connection stays")


class Unreleasable(_AllBut):
    """A ledger that keeps its leases."""

    def release(self) -> None:
        raise LedgerUnavailable("these leases stay")

    def close(self) -> None:
        raise LedgerUnavailable("this connection stays")


def built(daemon: Daemon) -> Daemon:
    if daemon.settings.ledger.sqlite_file is None:
        daemon.ledger = Unreleasable(daemon.ledger)
    daemon.mailboxes = {mailbox_id: Unclosable(mailbox) for mailbox_id, mailbox in daemon.mailboxes.items()}
    return daemon


if __name__ == "__main__":
    sys.exit(service.run(Path(sys.argv[1]), None, once=False, built=built))
