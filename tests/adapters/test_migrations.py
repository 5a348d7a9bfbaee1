import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from mesh_itk3.adapters.ledger import migrate, open_ledger, schema_revision
from mesh_itk3.adapters.ledger.engine import connect
from mesh_itk3.adapters.ledger.migrate import SHIPPED, Migrations, alembic_config
from mesh_itk3.adapters.ledger.schema import REVISION, VERSION_TABLE, metadata
from mesh_itk3.lifecycle import State
from mesh_itk3.ports import HeldByAnother, LedgerUnavailable
from support.ledger_rows import HERE, NOW, key, later, record


def set_revision(url: str, revision: str) -> None:
    database = connect(url)
    with database.writing() as connection:
        connection.execute(sa.text("UPDATE mesh_itk3_schema SET version_num = :revision"), {"revision": revision})
    database.close()


def sqlite_url(directory) -> str:
    return f"sqlite:///{directory}/ledger.db"


# ------------------------------------------------------------------------------------------------ the schema


def test_the_newest_migration_is_the_one_that_this_program_reads():
    assert ScriptDirectory.from_config(alembic_config(SHIPPED)).get_current_head() == REVISION


def test_the_migrations_lead_to_exactly_the_tables_of_the_program_on_sqlite(tmp_path):
    migrate(sqlite_url(tmp_path), NOW)
    intended = sa.create_engine("sqlite://")
    metadata.create_all(intended)

    with intended.connect() as wanted, closing(sqlite3.connect(tmp_path / "ledger.db")) as found:
        assert _sqlite_shape(found) == _sqlite_shape(wanted.connection.driver_connection)


def _sqlite_shape(connection: sqlite3.Connection):
    """Every table's columns, references and indexes, as the engine itself tells them."""
    shape = {}
    for table in metadata.tables:
        columns = connection.execute(f"PRAGMA table_xinfo({table})").fetchall()
        references = sorted(row[2:] for row in connection.execute(f"PRAGMA foreign_key_list({table})"))
        indexes = sorted(row[1:] for row in connection.execute(f"PRAGMA index_list({table})"))
        shape[table] = columns, references, indexes
    shape["indexes"] = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name <> 'mesh_itk3_schema' ORDER BY name"
    ).fetchall()
    return shape


@pytest.mark.postgres
def test_the_migrations_lead_to_exactly_the_tables_of_the_program_on_postgresql(new_postgresql):
    migrate(new_postgresql, NOW)
    database = connect(new_postgresql)
    with database.writing() as connection:
        connection.execute(sa.text("CREATE SCHEMA intended"))
        metadata.create_all(connection.execution_options(schema_translate_map={None: "intended"}))
        found, intended = _postgresql_shape(connection, "public"), _postgresql_shape(connection, "intended")
    database.close()

    assert found == intended


def _postgresql_shape(connection: sa.Connection, schema: str):
    columns = sa.text(
        "SELECT table_name, column_name, data_type, is_nullable, is_identity, column_default FROM information_schema.columns"
        " WHERE table_schema = :schema AND table_name <> :version ORDER BY table_name, ordinal_position"
    )
    indexes = sa.text(
        "SELECT indexname, replace(indexdef, :schema || '.', '') FROM pg_indexes"
        " WHERE schemaname = :schema AND tablename <> :version ORDER BY 1"
    )
    asked = {"schema": schema, "version": VERSION_TABLE}
    return [tuple(row) for query in (columns, indexes) for row in connection.execute(query, asked)]


def test_migrating_twice_changes_nothing(empty_url):
    first = migrate(empty_url, NOW)
    second = migrate(empty_url, NOW)

    assert (first.is_new, first.upgraded, first.revision, first.backup) == (True, False, REVISION, None)
    assert (second.is_new, second.upgraded, second.revision, second.backup) == (False, False, REVISION, None)
    assert schema_revision(empty_url) == REVISION


# ------------------------------------------------------------------------------------------------ what is refused


def test_a_newer_ledger_is_refused_by_everything(url):
    set_revision(url, "9999")

    for use in (lambda: migrate(url, NOW), lambda: open_ledger(url, owner="x")):
        with pytest.raises(LedgerUnavailable, match="9999 is newer than this program"):
            use()
    assert schema_revision(url) == "9999"


def test_a_ledger_that_does_not_exist_is_said_so_and_never_made_by_reading(tmp_path):
    for use in (lambda: open_ledger(sqlite_url(tmp_path), owner="x"), lambda: schema_revision(sqlite_url(tmp_path))):
        with pytest.raises(LedgerUnavailable, match="mesh-itk3 run"):
            use()
    assert list(tmp_path.iterdir()) == []


def test_a_database_without_a_ledger_is_not_opened(empty_url, tmp_path):
    if empty_url.startswith("sqlite"):
        (tmp_path / "ledger.db").touch()

    assert schema_revision(empty_url) is None
    with pytest.raises(LedgerUnavailable, match="no ledger here yet"):
        open_ledger(empty_url, owner="x")


def test_another_programs_database_is_left_alone(empty_url, tmp_path):
    if empty_url.startswith("sqlite"):
        (tmp_path / "ledger.db").touch()
    database = connect(empty_url)
    with database.writing() as connection:
        connection.execute(sa.text("CREATE TABLE message (text VARCHAR)"))
    database.close()

    for use in (lambda: migrate(empty_url, NOW), lambda: open_ledger(empty_url, owner="x")):
        with pytest.raises(LedgerUnavailable, match="another program"):
            use()


@pytest.mark.parametrize(
    "content", [b"this is no database at all, whatever it is called " * 50, b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_file_that_is_no_ledger_or_is_damaged_is_refused_and_kept(tmp_path, content):
    (tmp_path / "ledger.db").write_bytes(content)

    for use in (lambda: migrate(sqlite_url(tmp_path), NOW), lambda: open_ledger(sqlite_url(tmp_path), owner="x")):
        with pytest.raises(LedgerUnavailable, match="damaged"):
            use()
    assert (tmp_path / "ledger.db").read_bytes() == content


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://u:secret@h/d", "sqlite://", "sqlite:///:memory:"])
def test_a_url_that_cannot_be_a_ledger_is_refused_without_being_quoted(url):
    with pytest.raises(LedgerUnavailable) as refused:
        open_ledger(url, owner="x")

    assert "secret" not in str(refused.value)


def test_a_server_that_is_not_there_is_said_so_without_the_password():
    with pytest.raises(LedgerUnavailable) as refused:
        open_ledger("postgresql://user:secret@127.0.0.1:1/ledger", owner="x")

    assert "cannot be reached" in str(refused.value)
    assert "secret" not in str(refused.value)


# ------------------------------------------------------------------------------------------------ files, backup


def test_a_new_ledger_and_its_directory_are_for_their_owner_only(tmp_path):
    before = os.umask(0)
    try:
        migrate(sqlite_url(tmp_path / "state"), NOW)
        ledger = open_ledger(sqlite_url(tmp_path / "state"), owner="x")
        record(ledger, 1)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").iterdir()}
        ledger.close()
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert {"ledger.db", "ledger.db-wal"} <= modes.keys()
    assert set(modes.values()) == {0o600}


# One more migration than there is, which a test writes, stands for the next program's.
NEXT_REVISION = "9000"
NEXT = f"""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "{NEXT_REVISION}", "{REVISION}"
def upgrade():
    op.add_column("message", sa.Column("next", sa.String))
"""


def next_program(directory, text: str = NEXT) -> Migrations:
    shutil.copytree(SHIPPED.directory, directory / "migrations", ignore=shutil.ignore_patterns("__pycache__"))
    (directory / "migrations" / "versions" / "r9000_next.py").write_text(text)
    return Migrations(directory / "migrations", NEXT_REVISION)


def with_one_message(url: str) -> str:
    with closing(open_ledger(url, owner="old")) as ledger:
        record(ledger, 1)
    return url


# ------------------------------------------------------------------------------------------------ from 0001 to 0002


FIRST = Migrations(SHIPPED.directory, "0001")
EIGHT = "2024-05-01T08:00:00.000000+00:00"
HALF_PAST_NINE = "2024-05-01T09:30:00.000000+00:00"
INSERT_MESSAGE = """INSERT INTO message (mailbox_id, mesh_message_id, workflow_id, kind, state, received_at, linked_message_id)
    VALUES (:here, :name, 'W', :kind, :state, :at, :linked)"""
INSERT_EVENT = """INSERT INTO message_event (mailbox_id, mesh_message_id, at, stage, outcome)
    VALUES (:here, 'waits', :at, 'dispatch', 'awaiting_decision')"""
INSERT_RESPONSE = """INSERT INTO response (local_id, mailbox_id, answered_mesh_message_id, level, response_code, state,
    message_header_id, message_header_id_key, to_mailbox_id, workflow_id, created_at, mesh_message_id)
    VALUES ('ours', :here, 'told', 'infrastructure', '20009', 'undelivered', 'id', 'id', 'THERE', 'W', :at, 'MESH-1')"""
MESSAGES_OF_0001 = (
    ("untold", "message", "rejected", None),
    ("told", "message", "rejected", None),
    ("waits", "message", "awaiting_decision", None),
    ("waits-long", "message", "awaiting_decision", None),
    ("answer", "response", "correlated", "MESH-1"),
    ("report", "report", "uncorrelated", "MESH-9"),
)


def a_ledger_of_the_first_version(url: str) -> None:
    migrate(url, NOW, FIRST)
    database = connect(url)
    with database.writing() as connection:
        for name, kind, state, linked in MESSAGES_OF_0001:
            row = {"here": HERE, "name": name, "kind": kind, "state": state, "at": EIGHT, "linked": linked}
            connection.execute(sa.text(INSERT_MESSAGE), row)
        connection.execute(sa.text(INSERT_EVENT), {"here": HERE, "at": HALF_PAST_NINE})
        connection.execute(sa.text(INSERT_RESPONSE), {"here": HERE, "at": EIGHT})
    database.close()


def test_a_ledger_of_the_first_version_says_afterwards_who_was_not_told_and_since_when_decisions_wait(empty_url):
    a_ledger_of_the_first_version(empty_url)

    assert migrate(empty_url, NOW).upgraded

    with closing(open_ledger(empty_url, owner="new")) as ledger:
        assert [found.key.mesh_message_id for found in ledger.unseen().messages] == ["untold"]
        assert [found.local_id for found in ledger.unseen().responses] == ["ours"]
        waiting = {found.key.mesh_message_id: found.deferred_at for found in ledger.waiting([State.AWAITING_DECISION])}
        assert waiting == {"waits": datetime(2024, 5, 1, 9, 30, tzinfo=UTC), "waits-long": datetime(2024, 5, 1, 8, tzinfo=UTC)}
        assert [found.key.mesh_message_id for found in ledger.answers_to(["ours"])] == ["answer"]


def test_a_ledger_of_the_first_version_is_copied_before_it_is_changed(tmp_path):
    url = sqlite_url(tmp_path)
    a_ledger_of_the_first_version(url)

    backup = migrate(url, NOW).backup

    assert backup.name == "ledger.db.0001.20240501T120000Z.backup"
    with closing(sqlite3.connect(backup)) as copy:
        assert copy.execute("SELECT count(*) FROM message").fetchone() == (6,)
        assert copy.execute("SELECT version_num FROM mesh_itk3_schema").fetchone() == ("0001",)


def backups(directory) -> list:
    return sorted(directory.glob("*.backup"))


def test_an_older_ledger_is_upgraded_and_keeps_what_it_held(url, tmp_path):
    with_one_message(url)

    result = migrate(url, NOW, next_program(tmp_path))

    assert (result.is_new, result.upgraded, result.revision) == (False, True, NEXT_REVISION)
    assert schema_revision(url) == NEXT_REVISION
    database = connect(url)
    with database.reading() as connection:
        assert connection.execute(sa.text("SELECT mesh_message_id, next FROM message")).all() == [
            (key(1).mesh_message_id, None)
        ]
    database.close()


def test_before_an_upgrade_the_file_is_copied_whole_for_its_owner_only(tmp_path):
    url = sqlite_url(tmp_path)
    migrate(url, NOW)
    # Left open: the message is still in the write-ahead log, which a plain copy of the file would miss.
    with closing(open_ledger(url, owner="old")) as ledger:
        record(ledger, 1)
        result = migrate(url, NOW, next_program(tmp_path))

    assert backups(tmp_path) == [result.backup]
    assert result.backup.name == f"ledger.db.{REVISION}.20240501T120000Z.backup"
    assert stat.S_IMODE(result.backup.stat().st_mode) == 0o600
    with closing(sqlite3.connect(result.backup)) as copy:
        assert copy.execute("SELECT mesh_message_id FROM message").fetchall() == [(key(1).mesh_message_id,)]
        assert copy.execute("SELECT version_num FROM mesh_itk3_schema").fetchone() == (REVISION,)


def test_a_backup_can_be_opened_as_the_ledger_it_was(tmp_path):
    url = sqlite_url(tmp_path)
    migrate(url, NOW)
    with_one_message(url)
    backup = migrate(url, NOW, next_program(tmp_path)).backup

    with closing(open_ledger(f"sqlite:///{backup}", owner="restored")) as ledger:
        assert ledger.get(key(1)) is not None


def test_an_upgrade_that_fails_changes_nothing(url, tmp_path):
    with_one_message(url)

    with pytest.raises(RuntimeError):
        migrate(url, NOW, next_program(tmp_path, NEXT + '    raise RuntimeError("half way")\n'))

    assert schema_revision(url) == REVISION
    with closing(open_ledger(url, owner="old")) as ledger:
        assert ledger.get(key(1)) is not None


def test_a_ledger_that_is_still_collected_into_is_not_upgraded(url, tmp_path):
    with closing(open_ledger(url, owner="old")) as ledger:
        ledger.hold([HERE], NOW)

        next_one = next_program(tmp_path)
        with pytest.raises(HeldByAnother):
            migrate(url, NOW, next_one)
        assert not migrate(url, NOW).upgraded
        assert schema_revision(url) == REVISION
        assert backups(tmp_path) == []
        ledger.release()

        assert migrate(url, NOW, next_one).revision == NEXT_REVISION


def test_a_ledger_that_another_process_collects_into_is_not_upgraded(url, tmp_path):
    hold = (
        "import sys; from datetime import datetime; from mesh_itk3.adapters.ledger import open_ledger;"
        f"open_ledger(sys.argv[1], owner='old:1').hold(['{HERE}'], datetime.fromisoformat(sys.argv[2]));"
        "print('held', flush=True); sys.stdin.read()"
    )
    arguments = [sys.executable, "-c", hold, url, NOW.isoformat()]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as old:
        try:
            assert old.stdout.readline() == "held\n"
            with pytest.raises(HeldByAnother, match=r"old:1" if url.startswith("postgres") else rf"pid {old.pid}"):
                migrate(url, NOW, next_program(tmp_path))
        finally:
            old.kill()

    assert schema_revision(url) == REVISION


@pytest.mark.postgres
def test_the_lease_of_a_daemon_that_died_holds_up_an_upgrade_only_until_it_expires(new_postgresql, tmp_path):
    migrate(new_postgresql, NOW)
    dead = open_ledger(new_postgresql, owner="dead:1")
    dead.hold([HERE], NOW)
    next_one = next_program(tmp_path)

    with pytest.raises(HeldByAnother):
        migrate(new_postgresql, later(seconds=89), next_one)

    assert migrate(new_postgresql, later(seconds=90), next_one).upgraded
    dead.close()


def test_a_ledger_whose_copy_cannot_be_written_is_not_upgraded(tmp_path):
    url = sqlite_url(tmp_path)
    migrate(url, NOW)
    (tmp_path / f"ledger.db.{REVISION}.20240501T120000Z.backup").mkdir()

    with pytest.raises(LedgerUnavailable, match="backed up"):
        migrate(url, NOW, next_program(tmp_path))

    assert schema_revision(url) == REVISION
