"""`mesh-itk3 run` whose connections to MESH cannot be closed: `python unclosable.py CONFIG`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mesh_itk3 import service
from mesh_itk3.daemon import Daemon
from mesh_itk3.ports import Mailbox


class Unclosable:
    """A mailbox that does all but that."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mailbox, name)

    def close(self) -> None:
        raise OSError("this connection stays")


def built(daemon: Daemon) -> Daemon:
    daemon.mailboxes = {mailbox_id: Unclosable(mailbox) for mailbox_id, mailbox in daemon.mailboxes.items()}
    return daemon


if __name__ == "__main__":
    sys.exit(service.run(Path(sys.argv[1]), None, once=False, built=built))
