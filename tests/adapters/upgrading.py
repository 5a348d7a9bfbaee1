"""Run as a process of its own: upgrades copies of an old ledger and dies at the n-th thing it does, n rising until one ends
by itself. A forked child for each, for the price of a fork. Prints what each left behind, one word a line.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from mesh_itk3.adapters.ledger import migrate, open_ledger
from mesh_itk3.adapters.ledger.schema import REVISION
from mesh_itk3.simulator.prove.points import Watch
from mesh_itk3.simulator.prove.warm import fork, wait
from support.ledger_rows import NOW


def main(old: Path, scratch: Path) -> None:
    """`old`: the directory of a ledger of an older schema, closed."""
    number, is_over = 0, False
    while not is_over:
        number += 1
        place = scratch / str(number)
        shutil.copytree(old, place)
        ended = wait(fork(lambda place=place, number=number: upgrade(place, Watch(kill_at=number)), scratch / "log"))
        is_over = ended.code == 0
        if ended.code not in (None, 0):
            sys.exit(f"the upgrade failed: {(scratch / 'log').read_text()}")
        sys.stdout.write(f"{what_is_there(place)} {what_a_next_start_makes(place)}\n")
        shutil.rmtree(place)


def upgrade(place: Path, passing: Watch) -> int:
    """Every file operation, and every statement that the engine is given, is a point where it may die."""
    sys.addaudithook(lambda event, _: passing(event) if event in HEARD else None)
    connected = sqlite3.connect

    class Told(sqlite3.Connection):
        def __init__(self, *given: object, **named: object) -> None:
            super().__init__(*given, **named)  # type: ignore[arg-type]
            self.set_trace_callback(passing)

    sqlite3.connect = lambda *given, **named: connected(*given, **{**named, "factory": Told})  # type: ignore[assignment]
    migrate(f"sqlite:///{place}/ledger.db", NOW)
    return 0


HEARD = {"os.rename", "os.remove", "os.truncate", "sqlite3.connect/handle"}


def what_is_there(place: Path) -> str:
    """`old` or `new`, and nothing half: by the tables themselves."""
    with closing(sqlite3.connect(place / "ledger.db")) as connection:
        revision = connection.execute("SELECT version_num FROM mesh_itk3_schema").fetchone()[0]
        columns = {row[1] for row in connection.execute("PRAGMA table_info(message)")}
        indexes = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert connection.execute("SELECT count(*) FROM message").fetchone()[0] > 0
    marks = {"payload_pruned_at" in columns, "message_finished_with_payload" in indexes, revision == REVISION}
    assert len(marks) == 1, f"half an upgrade: {revision} {columns} {indexes}"
    return "new" if marks.pop() else "old"


def what_a_next_start_makes(place: Path) -> str:
    """It goes through by itself."""
    migrate(f"sqlite:///{place}/ledger.db", NOW)
    with closing(open_ledger(f"sqlite:///{place}/ledger.db", owner="next")) as ledger:
        assert next(ledger.messages())
    return what_is_there(place)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
