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
from mesh_itk3.adapters.ledger.engine import connect
from mesh_itk3.adapters.ledger.failures import ledger_failures
from mesh_itk3.adapters.ledger.migrate import _MIGRATION_LOCK, REVISION
from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import HeldByAnother, LedgerUnavailable, ResponseStep
from support.ledger_rows import HERE, NOW, THERE, a_response, a_step, claimed, key, later, owe_both, record


def test_nothing_to_do_leaves_no_trace(ledger):
    record(ledger, 1)
    before = ledger.get(key(1)), ledger.timeline(key(1))

    ledger.record_all_received([])
    ledger.record_acknowledged([], NOW)
    ledger.unclaim([])
    ledger.apply([])
    ledger.apply_responses([])

    assert (ledger.get(key(1)), ledger.timeline(key(1))) == before


def test_a_page_of_one_mailbox_has_no_response_of_the_same_mesh_id_in_another(ledger):
    for mailbox_id, number in ((HERE, 1), (THERE, 2)):
        record(ledger, 1, mailbox_id=mailbox_id)
        ledger.apply([a_step(1, responses=[a_response(number)], mailbox_id=mailbox_id)])

    found = {found.key.mailbox_id: [each.local_id for each in of] for found, of in ledger.messages(mailbox_ids=(HERE,))}

    assert found == {HERE: ["infrastructure-1"]}


def test_a_refusal_without_an_entry_parks_the_business_response_and_writes_none(ledger):
    owe_both(ledger, 1)
    timeline = ledger.timeline(key(1))

    ledger.apply_responses([ResponseStep("infrastructure-1", ResponseState.OWED, ResponseState.PARKED, None, {})])

    assert ledger.response_by(local_id="business-1").state is ResponseState.PARKED
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
        recovering.result(timeout=10)

        found = ledger.get(key(1))
        assert (found.state, found.interrupted) == (State.ACCEPTED, 0)
        assert [entry.outcome for entry in ledger.timeline(key(1))] == ["received"]


# ------------------------------------------------------------------------------------------------ what cannot be used


def test_a_ledger_below_a_file_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LedgerUnavailable, match="cannot be made"):
        migrate(f"sqlite:///{tmp_path}/file/ledger.db", NOW)


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
        results = [each.result(timeout=30) for each in both]

    assert sorted(result.is_new for result in results) == [False, True]
    assert {result.revision for result in results} == {REVISION}
