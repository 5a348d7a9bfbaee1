"""Turns of the ledger that come seldom: nothing to do, a damaged or foreign file, two processes at the same moment."""

from __future__ import annotations

import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from adapters.test_ledger_outbox import wait_until_one_waits_for_a_lock
from adapters.test_migrations import a_ledger_of_the_first_version
from mesh_itk3.adapters.ledger import migrate, open_held_ledger, open_ledger
from mesh_itk3.adapters.ledger.collectors import Borrowed
from mesh_itk3.adapters.ledger.engine import connect, create_sqlite_file
from mesh_itk3.adapters.ledger.failures import ledger_failures
from mesh_itk3.adapters.ledger.health import is_found_damaged, look_at_start
from mesh_itk3.adapters.ledger.migrate import _MIGRATION_LOCK, REVISION
from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import HeldByAnother, LedgerDamaged, LedgerUnavailable, MessageInProgress, ResponseStep
from mesh_itk3.stages.intervene import hold
from support.ledger_rows import HERE, NOW, THERE, a_response, a_step, claimed, key, later, owe_both, record
from support.stage_world import captured
from support.unprivileged import let_others_enter, unprivileged


def test_nothing_to_do_leaves_no_trace(ledger):
    record(ledger, 1)
    before = ledger.get(key(1)), ledger.timeline(key(1))

    ledger.record_all_received([])
    ledger.record_acknowledged([], NOW)
    ledger.unclaim([])
    ledger.apply([])
    ledger.apply_responses([])
    ledger.act([], [], NOW)

    assert (ledger.get(key(1)), ledger.timeline(key(1))) == before


def test_a_page_of_one_mailbox_has_no_response_of_the_same_mesh_id_in_another(ledger):
    for mailbox_id, number in ((HERE, 1), (THERE, 2)):
        record(ledger, 1, mailbox_id=mailbox_id)
        ledger.apply([a_step(1, responses=[a_response(number)], mailbox_id=mailbox_id)])

    found = {found.key.mailbox_id: [each.local_id for each in of] for found, of in ledger.messages(mailbox_ids=(HERE,))}

    assert found == {HERE: ["infrastructure-1"]}


def test_a_refusal_without_an_entry_parks_the_business_response_until_it_is_taken_back_and_writes_none(ledger):
    owe_both(ledger, 1)
    timeline = ledger.timeline(key(1))

    ledger.apply_responses([ResponseStep("infrastructure-1", ResponseState.OWED, ResponseState.PARKED, None, {})])

    assert ledger.response_by(local_id="business-1").state is ResponseState.PARKED
    assert ledger.timeline(key(1)) == timeline

    ledger.apply_responses([ResponseStep("infrastructure-1", ResponseState.PARKED, ResponseState.OWED, None, {})])

    assert ledger.response_by(local_id="business-1").state is ResponseState.OWED
    assert ledger.timeline(key(1)) == timeline


# ------------------------------------------------------------------------------------------------ who holds it


@pytest.fixture
def sqlite_url(tmp_path) -> str:
    url = f"sqlite:///{tmp_path}/ledger.db"
    migrate(url, NOW)
    return url


def test_a_lock_file_that_is_a_link_is_not_followed(sqlite_url, tmp_path):
    (tmp_path / "elsewhere").touch()
    (tmp_path / "ledger.db.lock").unlink(missing_ok=True)
    (tmp_path / "ledger.db.lock").symlink_to(tmp_path / "elsewhere")

    with closing(open_ledger(sqlite_url, owner="this")) as ledger, pytest.raises(LedgerUnavailable, match="lock file"):
        ledger.hold([HERE], NOW)

    assert (tmp_path / "elsewhere").read_bytes() == b""


def test_what_is_borrowed_is_not_lent_again(sqlite_url):
    with closing(open_ledger(sqlite_url, owner="this")) as ledger:
        ledger.hold([HERE], NOW)
        with closing(open_held_ledger(sqlite_url, ledger.held())) as helper, pytest.raises(HeldByAnother):
            helper.held()


def test_a_borrowed_file_lock_needs_no_look(sqlite_url):
    borrowed, database = Borrowed(None), connect(sqlite_url)
    with database.reading() as connection:
        borrowed.check(connection, [HERE])
    database.close()
    assert not borrowed.checks


def in_progress(ledger):
    """What a person asks for while the message is in somebody's hands."""
    record(ledger, 1)
    assert claimed(ledger) == [key(1)]
    return hold(ledger.get(key(1)), "Jo", NOW).steps, (), NOW


def test_what_this_process_or_the_one_that_it_works_for_has_in_hand_nobody_takes_away(sqlite_url):
    with closing(open_ledger(sqlite_url, owner="this")) as ledger:
        ledger.hold([HERE], NOW)
        act = in_progress(ledger)
        with pytest.raises(MessageInProgress):
            ledger.act(*act)
        with closing(open_held_ledger(sqlite_url, ledger.held())) as helper, pytest.raises(MessageInProgress):
            helper.act(*act)
        assert ledger.get(key(1)).state is State.RECEIVED


def test_what_is_in_progress_in_a_ledger_that_nobody_has_ever_collected_into_a_person_may_hold(sqlite_url, tmp_path):
    (tmp_path / "ledger.db.lock").unlink(missing_ok=True)
    with closing(open_ledger(sqlite_url, owner="this")) as ledger:
        ledger.act(*in_progress(ledger))
        assert (ledger.get(key(1)).state, ledger.get(key(1)).is_alone) == (State.PARKED, True)
    assert not (tmp_path / "ledger.db.lock").exists()


def test_a_lock_that_cannot_be_looked_at_counts_as_held(sqlite_url, tmp_path):
    (tmp_path / "elsewhere").touch()
    (tmp_path / "ledger.db.lock").unlink(missing_ok=True)
    (tmp_path / "ledger.db.lock").symlink_to(tmp_path / "elsewhere")
    with closing(open_ledger(sqlite_url, owner="this")) as ledger:
        act = in_progress(ledger)
        with pytest.raises(MessageInProgress):
            ledger.act(*act)


@pytest.mark.postgres
def test_a_commit_of_the_dead_process_that_arrives_during_the_recovery_stands(new_postgresql):
    migrate(new_postgresql, NOW)
    with closing(open_ledger(new_postgresql, owner="this:1")) as ledger, ThreadPoolExecutor(1) as pool:
        record(ledger, 1)
        assert claimed(ledger) == [key(1)]

        with ledger._database.writing() as connection:
            connection.execute(sa.text("UPDATE message SET state = 'accepted', claimed_at = NULL"))
            recovering = pool.submit(ledger.recover, [HERE], later(minutes=1))
            wait_until_one_waits_for_a_lock(connection)
        recovering.result(timeout=120)

        found = ledger.get(key(1))
        assert (found.state, found.interrupted) == (State.ACCEPTED, 0)
        assert [entry.outcome for entry in ledger.timeline(key(1))] == ["received"]


# ------------------------------------------------------------------------------------------------ what cannot be used


def test_a_ledger_below_a_file_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LedgerUnavailable, match="cannot be made"):
        migrate(f"sqlite:///{tmp_path}/file/ledger.db", NOW)


@pytest.mark.parametrize("name", ["ledger.db", "file/ledger.db"])
def test_a_ledger_that_is_not_there_is_not_made_by_who_reads_it(tmp_path, name):
    (tmp_path / "file").touch()
    with (
        closing(connect(f"sqlite:///{tmp_path}/{name}")) as database,
        pytest.raises(LedgerUnavailable, match="cannot be opened"),
        database.reading(),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.open_to_others
def test_a_ledger_whose_directory_may_not_be_entered_or_whose_name_is_too_long_is_one_clear_line(tmp_path):
    let_others_enter(tmp_path)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o600)
    with unprivileged(), pytest.raises(LedgerUnavailable, match="cannot be looked for"):
        migrate(f"sqlite:///{closed}/ledger.db", NOW)
    with pytest.raises(LedgerUnavailable, match="cannot be looked for"):
        migrate(f"sqlite:///{tmp_path}/{'l' * 250}", NOW)


@pytest.mark.open_to_others
def test_a_ledger_in_a_directory_that_may_not_be_written_cannot_be_made(tmp_path):
    let_others_enter(tmp_path)
    (tmp_path / "read_only").mkdir(mode=0o555)
    with unprivileged(), pytest.raises(LedgerUnavailable, match="cannot be made"):
        migrate(f"sqlite:///{tmp_path}/read_only/ledger.db", NOW)


@pytest.mark.parametrize("content", [b"", b"made by another process"])
@pytest.mark.open_to_others
def test_a_ledger_file_whose_name_cannot_be_made_durable_is_taken_away_while_nothing_is_in_it(tmp_path, content):
    """Files can be made in this directory, and it cannot be opened, which an fsync needs."""
    let_others_enter(tmp_path)
    file = tmp_path / "unreadable" / "ledger.db"
    file.parent.mkdir()
    if content:
        file.write_bytes(content)
    file.parent.chmod(0o333)
    with unprivileged(), pytest.raises(LedgerUnavailable, match="cannot be made"):
        create_sqlite_file(file)
    assert (file.read_bytes() if file.exists() else b"") == content
    assert file.exists() is bool(content)


def test_postgresql_without_its_driver_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(LedgerUnavailable, match=r"mesh-itk3\[postgres\]"):
        connect("postgresql://localhost/ledger")


def test_a_fault_of_sqlite_outside_sqlalchemy_is_translated_too():
    with pytest.raises(LedgerUnavailable, match="SQLITE_ERROR"), ledger_failures():
        raise sqlite3.OperationalError


def test_a_pool_without_a_free_connection_is_the_ledger_being_busy():
    with pytest.raises(LedgerUnavailable, match="busy"), ledger_failures():
        raise PoolTimeout


@pytest.mark.postgres
def test_a_fault_of_the_server_is_named_by_its_state(new_postgresql):
    database = connect(new_postgresql)
    with pytest.raises(LedgerUnavailable, match="SQLSTATE 42P01") as failed, database.reading() as connection:
        connection.execute(sa.text("SELECT * FROM nowhere"))
    database.close()
    assert isinstance(failed.value.__cause__, ProgrammingError)


# ------------------------------------------------------------------------------------------------ damage


def known(database, *, at_the_end=lambda: None) -> list[object]:
    """Looks into the index that `damage_an_index` damages."""
    with database.reading() as connection:
        try:
            query = "SELECT sequence FROM message WHERE mailbox_id = :here AND mesh_message_id = 'M1'"
            return connection.execute(sa.text(query), {"here": HERE}).all()
        finally:
            at_the_end()


def test_a_page_that_is_read_wrongly_once_does_not_end_the_use_of_a_ledger_that_is_whole(sqlite_url, tmp_path):
    file = tmp_path / "ledger.db"
    whole = file.read_bytes()
    damage_an_index(file)
    with closing(connect(sqlite_url)) as database:
        with pytest.raises(LedgerDamaged):
            known(database, at_the_end=lambda: file.write_bytes(whole))

        assert not database.is_damaged
        assert known(database) == []


def test_damage_that_no_other_connection_can_look_at_is_looked_for_when_it_is_met_again(sqlite_url, tmp_path):
    file = tmp_path / "ledger.db"
    damage_an_index(file)
    with closing(connect(sqlite_url)) as database:
        with pytest.raises(LedgerDamaged):
            known(database, at_the_end=lambda: file.rename(tmp_path / "away.db"))
        assert not database.is_damaged

        (tmp_path / "away.db").rename(file)
        with pytest.raises(LedgerDamaged):
            known(database)
        assert database.is_damaged


def test_a_ledger_that_cannot_be_looked_through_is_refused_and_not_called_damaged(sqlite_url, tmp_path):
    (tmp_path / "ledger.db-shm").unlink(missing_ok=True)
    (tmp_path / "ledger.db-shm").symlink_to(tmp_path / "elsewhere")  # SQLite follows no link there
    with pytest.raises(LedgerUnavailable, match="cannot be opened") as refused:
        look_at_start(tmp_path / "ledger.db", was_clean=True)
    assert not isinstance(refused.value, LedgerDamaged)
    assert not is_found_damaged(tmp_path / "ledger.db")


@pytest.mark.parametrize(("was_clean", "events"), [(True, []), (False, ["ledger.unchecked"])])
def test_a_look_that_takes_too_long_is_given_up_which_is_said_after_an_unclean_end(sqlite_url, tmp_path, was_clean, events):
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection, connection:
        connection.execute("CREATE TABLE slow (row)")
        connection.executemany("INSERT INTO slow VALUES (?)", [(row,) for row in range(2000)])
        connection.execute("PRAGMA writable_schema = ON")
        # The look makes the second column of each row: ten seconds in all.
        slow = "CREATE TABLE slow (row, made NOT NULL AS (hex(zeroblob(10000000 + row))))"
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'slow'", [slow])
    said = captured()

    look_at_start(tmp_path / "ledger.db", was_clean=was_clean, limit_s=0.05)

    assert [line["event"] for line in said] == events


# ------------------------------------------------------------------------------------------------ its schema


def test_an_older_ledger_is_not_opened_before_it_is_brought_up_to_date(tmp_path):
    url = f"sqlite:///{tmp_path}/ledger.db"
    a_ledger_of_the_first_version(url)
    with pytest.raises(LedgerUnavailable, match="older schema 0001"):
        open_ledger(url, owner="this")


def test_a_ledger_that_does_not_say_its_schema_is_damaged(sqlite_url, tmp_path):
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection, connection:
        connection.execute("DELETE FROM mesh_itk3_schema")
    with pytest.raises(LedgerUnavailable, match="does not say which schema"):
        open_ledger(sqlite_url, owner="this")


def test_a_damaged_ledger_is_not_upgraded(tmp_path):
    url = f"sqlite:///{tmp_path}/ledger.db"
    a_ledger_of_the_first_version(url)
    damage_an_index(tmp_path / "ledger.db")

    with pytest.raises(LedgerUnavailable, match="damaged"):
        migrate(url, NOW)

    assert list(tmp_path.glob("*.backup")) == []


def damage_an_index(file) -> None:
    """The page of one index is overwritten: the file opens, says its schema, and fails its check."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        query = "SELECT rootpage FROM sqlite_master WHERE type = 'index' AND tbl_name = 'message' ORDER BY rootpage"
        (page,) = connection.execute(query).fetchone()
    with file.open("r+b") as raw:
        raw.seek((page - 1) * size)
        raw.write(b"\xff" * size)


@pytest.mark.postgres
def test_two_programs_that_upgrade_at_the_same_moment_do_it_once(new_postgresql):
    with closing(connect(new_postgresql)) as database, ThreadPoolExecutor(2) as pool:
        with database.writing() as connection:
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
            both = [pool.submit(migrate, new_postgresql, NOW) for _ in range(2)]
            wait_until_one_waits_for_a_lock(connection)
            waiting = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'")
            while connection.execute(waiting).scalar() != 2:
                pass
        results = [each.result(timeout=120) for each in both]

    assert sorted(result.is_new for result in results) == [False, True]
    assert {result.revision for result in results} == {REVISION}
