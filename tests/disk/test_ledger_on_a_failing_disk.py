"""The ledger after a commit whose fsync failed: undone for whoever asked, never taken for durable later, said once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from mesh_itk3.adapters.ledger import migrate, open_ledger, settle_log, undurable_settings
from mesh_itk3.adapters.ledger.collectors import FileLock
from mesh_itk3.commands.opened import existing_ledger, ledger_to_change
from mesh_itk3.ports import LedgerUnavailable, StorageFailed
from mesh_itk3.scheduler import Complaints
from mesh_itk3.settings import load_settings
from power_loss.power_cut import PowerCuts
from support.file_size import no_file_longer_than
from support.ledger_rows import NOW, key, record
from support.practice import Practice
from support.stage_world import captured

DIE_WITH_A_LOG = """
import os, sys
from datetime import UTC, datetime
from mesh_itk3.adapters.ledger import migrate, open_ledger
sys.path.insert(0, {tests!r})
from support.ledger_rows import record
migrate({url!r}, datetime(2026, 3, 2, tzinfo=UTC))
ledger = open_ledger({url!r}, owner="this:1")
record(ledger, 1, 2, 3)
os._exit(0)
"""


def url_of(directory: Path) -> str:
    return f"sqlite:///{directory}/ledger.db"


@pytest.fixture
def left_by_a_crash(tmp_path):
    """A ledger whose process died: three messages are in its write-ahead log."""
    disk = tmp_path / "disk"
    disk.mkdir()
    program = DIE_WITH_A_LOG.format(tests=str(Path(__file__).parents[1]), url=url_of(disk))
    subprocess.run([sys.executable, "-c", program], check=True, timeout=180)
    assert (disk / "ledger.db-wal").stat().st_size > 0
    return disk


def test_the_log_that_a_crash_leaves_is_written_and_fsynced_again_before_anything_is_built_on_it(left_by_a_crash):
    """In the record nothing of it was durable: as after a commit whose fsync failed, which the kernel still shows."""
    written = (left_by_a_crash / "ledger.db-wal").read_bytes()
    disk = PowerCuts(left_by_a_crash)
    log = left_by_a_crash / "ledger.db-wal"
    disk.forget(log)
    seen = []
    with disk.recording():
        settle_log(url_of(left_by_a_crash))
        seen.append(disk.durable_content_was(written))
    assert seen == [True]
    with closing(open_ledger(url_of(left_by_a_crash), owner="this:2")) as ledger:
        assert len(list(ledger.messages())) == 3


def durable_before_it_is_opened(disk_of: Path, opens) -> bool:
    """Whether the log that nothing had made durable is durable when the ledger is given to a command."""
    written = (disk_of / "ledger.db-wal").read_bytes()
    practice = Practice(disk_of.parent / "practice", "http://127.0.0.1:9", extra=f'[ledger]\nurl = "{url_of(disk_of)}"')
    settings = load_settings(practice.config, None, {})
    disk = PowerCuts(disk_of)
    disk.forget(disk_of / "ledger.db-wal")
    with disk.recording(), opens(settings):
        return disk.durable_content_was(written)


@pytest.mark.parametrize("opens", [ledger_to_change, existing_ledger])
def test_a_command_makes_the_log_of_a_daemon_that_died_durable_before_it_builds_on_it_or_shows_it(left_by_a_crash, opens):
    assert durable_before_it_is_opened(left_by_a_crash, opens)


def test_a_command_beside_a_living_daemon_leaves_its_log_to_it(left_by_a_crash):
    lock = FileLock(left_by_a_crash / "ledger.db")
    lock.hold((), NOW)
    assert not durable_before_it_is_opened(left_by_a_crash, ledger_to_change)
    lock.release()


def test_what_cannot_be_made_durable_is_shown_and_not_built_on(left_by_a_crash):
    practice = Practice(
        left_by_a_crash.parent / "p", "http://127.0.0.1:9", extra=f'[ledger]\nurl = "{url_of(left_by_a_crash)}"'
    )
    settings = load_settings(practice.config, None, {})
    disk = PowerCuts(left_by_a_crash, fails_at=1)
    with disk.recording(), pytest.raises(LedgerUnavailable, match="cannot be made durable"), ledger_to_change(settings):
        pass
    disk = PowerCuts(left_by_a_crash, fails_at=1)
    with disk.recording(), existing_ledger(settings) as ledger:
        assert len(list(ledger.messages())) == 3


def test_a_log_that_cannot_be_made_durable_is_not_built_on(left_by_a_crash):
    disk = PowerCuts(left_by_a_crash, fails_at=1)
    with disk.recording(), pytest.raises(LedgerUnavailable, match="cannot be made durable"):
        settle_log(url_of(left_by_a_crash))
    settle_log(url_of(left_by_a_crash))


def test_settling_the_log_does_not_hide_from_the_start_that_follows_that_the_last_daemon_died(left_by_a_crash):
    file = left_by_a_crash / "ledger.db"
    file.with_name("ledger.db.lock").write_text("pid 1 on here\n")
    assert settle_log(url_of(left_by_a_crash))

    lock = FileLock(file)
    lock.hold((), NOW)
    lock.release()

    assert not lock.was_clean


def test_there_is_nothing_to_settle_after_a_clean_end_or_before_the_first_start(tmp_path):
    assert not settle_log(url_of(tmp_path))
    migrate(url_of(tmp_path), NOW)
    assert not settle_log(url_of(tmp_path))


def test_the_log_of_a_ledger_that_another_process_collects_into_is_left_alone(tmp_path):
    migrate(url_of(tmp_path), NOW)
    with closing(open_ledger(url_of(tmp_path), owner="this:1")) as ledger:
        ledger.hold((), NOW)
        record(ledger, 1)
        assert not settle_log(url_of(tmp_path))
        assert ledger.get(key(1)) is not None


def test_a_connection_that_met_an_io_error_is_not_used_again(tmp_path):
    migrate(url_of(tmp_path), NOW)
    with closing(open_ledger(url_of(tmp_path), owner="this:1")) as ledger:
        record(ledger, 1)
        opened = []
        sa.event.listen(ledger._database._engine, "connect", lambda connection, _: opened.append(connection))
        with no_file_longer_than(100), pytest.raises(LedgerUnavailable, match="IOERR"):
            record(ledger, 2)
        record(ledger, 3)
        assert len(opened) == 1
        assert (ledger.get(key(2)), ledger.get(key(3)) is not None) == (None, True)


# ------------------------------------------------------------------------------------------------ said once


def test_a_ledger_that_fails_is_said_once_whatever_job_meets_it_and_its_return_once():
    said, now = captured(), [0.0]
    complaints = Complaints(lambda: now[0])
    full = LedgerUnavailable("the disk under the ledger is full (SQLITE_FULL)")
    for _ in range(20):
        for job in ("collect:X26ABC2", "respond:X26ABC2", "interpret"):
            complaints.say(job, full)
        complaints.forget("track:X26ABC2")  # it only reads
        now[0] += 30
    assert complaints.ledger_problem == "the disk under the ledger is full (SQLITE_FULL)"
    complaints.forget("interpret")
    complaints.forget("collect:X26ABC2")
    assert [line["event"] for line in said] == ["ledger.failed"]
    complaints.forget("respond:X26ABC2")

    assert [line["event"] for line in said] == ["ledger.failed", "ledger.usable"]
    assert said[0]["reason"] == "the disk under the ledger is full (SQLITE_FULL)"
    assert complaints.ledger_problem is None


def test_a_ledger_that_stays_away_is_said_again_after_an_hour():
    said, now = captured(), [0.0]
    complaints = Complaints(lambda: now[0])
    for _ in range(121):
        complaints.say("collect:X26ABC2", LedgerUnavailable("full"))
        now[0] += 60
    assert len(said) == 3


def test_a_job_that_the_disk_refuses_is_no_fault_of_the_program():
    said = captured()
    Complaints(lambda: 0.0).say("sweep", StorageFailed("Read-only file system (EROFS)"))
    assert [(line["event"], line["reason"]) for line in said] == [("storage.failed", "Read-only file system (EROFS)")]


# ------------------------------------------------------------------------------------------------ the server's own disk


@pytest.mark.postgres
def test_a_server_that_keeps_what_it_commits_is_told_from_one_that_does_not(new_postgresql):
    admin = sa.create_engine(new_postgresql.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        fsync = connection.exec_driver_sql("SHOW fsync").scalar()
        full_pages = connection.exec_driver_sql("SHOW full_page_writes").scalar()
    admin.dispose()

    found = undurable_settings(new_postgresql)

    off = [f"{name} = off" for name, value in (("fsync", fsync), ("full_page_writes", full_pages)) if value == "off"]
    assert found == off


def test_sqlite_has_no_server_to_ask(tmp_path):
    assert undurable_settings(url_of(tmp_path)) == []


# ------------------------------------------------------------------------------------------------ real system calls


def can_trace() -> bool:
    if shutil.which("strace") is None:
        return False
    command = ["strace", "-f", "--seccomp-bpf", "-e", "inject=fsync:error=EIO:when=1", "true"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_trace(), reason="strace is missing or may not trace here")
@pytest.mark.parametrize(("call", "error"), [("fdatasync", "EIO"), ("pwrite64", "ENOSPC")])
def test_a_system_call_that_truly_fails_leaves_the_ledger_as_it_was(tmp_path, call, error):
    """Past every library: the kernel's answer is changed, for the log of the ledger alone."""
    migrate(url_of(tmp_path), NOW)
    program = DIE_WITH_A_LOG.format(tests=str(Path(__file__).parents[1]), url=url_of(tmp_path))
    traced = [
        "strace", "-f", "--seccomp-bpf", "-o", os.devnull, "-P", str(tmp_path / "ledger.db-wal"),
        "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when=1+",
    ]  # fmt: skip
    done = subprocess.run([*traced, sys.executable, "-c", program], capture_output=True, text=True, timeout=180, check=False)
    assert "LedgerUnavailable: the disk under the ledger" in done.stderr
    settle_log(url_of(tmp_path))
    with closing(open_ledger(url_of(tmp_path), owner="this:2")) as ledger:
        known = {message.key for message, _ in ledger.messages()}
        record(ledger, 7)
        assert {message.key for message, _ in ledger.messages()} == known | {key(7)}
