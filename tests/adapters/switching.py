"""Run as a process of its own: puts a backup in the place of a ledger and dies before the n-th file operation, n rising until
one ends by itself. Prints what each left behind, one word a line: `old`, `new`, `refused`.
"""

from __future__ import annotations

import shutil
import sys
from contextlib import closing
from pathlib import Path

from mesh_itk3.adapters.ledger import open_ledger
from mesh_itk3.adapters.ledger.copies import prepare, switch
from mesh_itk3.ports import LedgerUnavailable
from mesh_itk3.simulator.prove.points import Watch
from mesh_itk3.simulator.prove.warm import fork, wait
from support.ledger_rows import NOW, key

OPERATIONS = {"os.link", "os.remove", "os.rename", "open"}


def main(old: Path, scratch: Path) -> None:
    """`old`: a directory with `ledger.db` (two messages, its log not emptied) and `backup.db` (the first alone)."""
    number, is_over = 0, False
    while not is_over:
        number += 1
        place = scratch / str(number)
        shutil.copytree(old, place)
        ended = wait(fork(lambda place=place, number=number: restore(place, Watch(kill_at=number)), scratch / "log"))
        is_over = ended.code == 0
        if ended.code not in (None, 0):
            sys.exit(f"the restore failed: {(scratch / 'log').read_text()}")
        sys.stdout.write(f"{what_is_there(place)}\n")


def restore(place: Path, passing: Watch) -> int:
    aside = prepare(place / "backup.db", place / "ledger.db")
    sys.addaudithook(lambda event, _: passing(event) if event in OPERATIONS else None)
    switch(place / "ledger.db", aside, NOW)
    return 0


def what_is_there(place: Path) -> str:
    try:
        ledger = open_ledger(f"sqlite:///{place}/ledger.db", owner="next")
    except LedgerUnavailable as refused:
        assert "ledger restore" in str(refused)  # noqa: PT017 - no test, but what one reads
        return "refused"
    with closing(ledger):
        assert ledger.get(key(1)) is not None
        return "new" if ledger.get(key(2)) is None else "old"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
