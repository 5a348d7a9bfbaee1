"""SIGKILL at every system call by which a ledger is made, or brought up from any schema that was ever released: afterwards it
has the old schema or the new one, with all that it held; a backup is whole or absent; and the next start brings it up.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from crash.sweep import MOST, say
from crash.system_calls import is_possible
from mesh_itk3.adapters.ledger import migrate, open_ledger
from mesh_itk3.adapters.ledger.migrate import SHIPPED, Migrations, alembic_config
from mesh_itk3.adapters.ledger.schema import REVISION, VERSION_TABLE
from support.ledger_rows import HERE, NOW

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(is_possible() is not None, reason=str(is_possible())),
]
NO_LEDGER = "none"
RELEASED = [script.revision for script in ScriptDirectory.from_config(alembic_config(SHIPPED)).walk_revisions()]
OLDER = [revision for revision in reversed(RELEASED) if revision != REVISION]
VALUES = {
    "mailbox_id": HERE, "workflow_id": "W", "kind": "message", "received_at": "2024-05-01T08:00:00.000000+00:00",
    "at": "2024-05-01T09:30:00.000000+00:00", "stage": "dispatch", "outcome": "awaiting_decision", "level": "infrastructure",
    "response_code": "20009", "message_header_id": "id", "message_header_id_key": "id", "to_mailbox_id": "THERE",
    "created_at": "2024-05-01T08:00:00.000000+00:00",
}  # fmt: skip
STATES = ("rejected", "awaiting_decision", "completed", "accepted", "parked")
MESSAGES = 200


def fill(file: Path) -> None:
    """Messages in every state, each with an event and every second with a response: as the columns were in any version."""
    with closing(sqlite3.connect(file)) as connection, connection:
        for number in range(MESSAGES):
            name = {"mesh_message_id": f"message-{number}", "state": STATES[number % len(STATES)]}
            answer = {"local_id": f"local-{number}", "answered_mesh_message_id": f"message-{number}", "state": "sent"}
            _insert(connection, "message", {**VALUES, **name, "response_code": None})
            _insert(connection, "message_event", {**VALUES, **name})
            if number % 2:
                _insert(connection, "response", {**VALUES, **answer})
        state = {"mailbox_id": HERE, "failures": "7", "last_poll_at": VALUES["at"], "reason": "storage_failed"}
        _insert(connection, "mailbox_state", state)


def _insert(connection: sqlite3.Connection, table: str, values: dict[str, str]) -> None:
    columns = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
    given = {name: value for name, value in values.items() if name in columns}
    places = ", ".join("?" * len(given))
    statement = f"INSERT INTO {table} ({', '.join(given)}) VALUES ({places})"  # noqa: S608  names of this file
    connection.execute(statement, list(given.values()))


def held(file: Path) -> list:
    """What every version of the ledger tells of its messages and responses."""
    with closing(sqlite3.connect(file)) as connection:
        messages = connection.execute("SELECT mesh_message_id, state, received_at FROM message ORDER BY 1").fetchall()
        responses = connection.execute("SELECT local_id, state FROM response ORDER BY 1").fetchall()
        events = connection.execute("SELECT mesh_message_id, at, outcome FROM message_event ORDER BY 1").fetchall()
        return [messages, responses, events, _failures(connection)]


def _failures(connection: sqlite3.Connection) -> list:
    """How often each mailbox had failed, in whichever columns this version keeps it."""
    columns = {row[1] for row in connection.execute("PRAGMA table_info(mailbox_state)")} & {"failures", "disk_failures"}
    return connection.execute(f"SELECT mailbox_id, {' + '.join(columns)} FROM mailbox_state").fetchall()  # noqa: S608  as above


def revision(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (VERSION_TABLE,)).fetchone():
            assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,), "half a schema"
            return NO_LEDGER
        return str(connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()[0])  # noqa: S608  a constant


def copied(directory: Path, to: Path) -> Path:
    """A copy to look into: what SQLite mends when it opens a ledger is mended there."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(directory, to)
    return to / "ledger.db"


def the_ledger_before(directory: Path, old: str) -> list:
    directory.mkdir()
    if old == NO_LEDGER:
        return [[], [], [], []]
    migrate(f"sqlite:///{directory}/ledger.db", NOW, Migrations(SHIPPED.directory, old))
    fill(directory / "ledger.db")
    return held(directory / "ledger.db")


@pytest.mark.parametrize("old", [NO_LEDGER, *OLDER])
def test_a_kill_during_migrate_leaves_the_old_schema_or_the_new_one_and_the_next_start_brings_it_up(tmp_path, warm, old):
    before = the_ledger_before(tmp_path / "before", old)
    state, kills = tmp_path / "state", 0
    for k in range(1, MOST):
        shutil.rmtree(state, ignore_errors=True)
        shutil.copytree(tmp_path / "before", state)
        asked = {"url": f"sqlite:///{state}/ledger.db"}
        died = warm.run("migrate", tmp_path, **asked, now=NOW.isoformat(), counts_calls=True, kill_at=k)
        look_after_the_kill(state, tmp_path / "look", old, before)
        again = warm.run("migrate", tmp_path, **asked, now=(NOW + timedelta(hours=1)).isoformat())
        assert again.code == 0, (tmp_path / "daemon.log").read_text()[-2000:]
        look_after_the_restart(state, tmp_path / "look", old, before)
        if not died.was_killed:
            break
        kills += 1
    say(f"migrate from {old}", kills, len(died.passed))
    assert died.code == 0
    assert kills > 50


def look_after_the_kill(state: Path, look: Path, old: str, before: list) -> None:
    ledger = copied(state, look)
    found = revision(ledger) if ledger.exists() else NO_LEDGER
    assert found in (old, REVISION)
    if found != NO_LEDGER:
        assert held(ledger) == before
    check_backups(look, old, before, is_one_needed=old not in (NO_LEDGER, found))


def look_after_the_restart(state: Path, look: Path, old: str, before: list) -> None:
    ledger = copied(state, look)
    assert revision(ledger) == REVISION
    assert held(ledger) == before
    check_backups(look, old, before, is_one_needed=old != NO_LEDGER)
    with closing(open_ledger(f"sqlite:///{ledger}", owner="the next start")) as opened:
        opened.hold([HERE], NOW)


def check_backups(look: Path, old: str, before: list, *, is_one_needed: bool) -> None:
    """Whole or absent; and there before anything of the ledger has changed."""
    backups = list(look.glob("*.backup"))
    assert backups or not is_one_needed
    for backup in backups:
        assert revision(backup) == old
        assert held(backup) == before
