"""SQLite: one collector for the whole ledger, by a lock of the operating system that dies with its holder."""

import fcntl
import os
import subprocess
import sys

import pytest

from mesh_itk3.adapters.ledger import migrate, open_held_ledger, open_ledger
from mesh_itk3.adapters.ledger.collectors import FileLock
from mesh_itk3.ports import HeldByAnother
from support.eventually import eventually
from support.ledger_rows import HERE, NOW, THERE, claimed, record

HOLD = """
import sys
from datetime import UTC, datetime
from mesh_itk3.adapters.ledger import open_ledger
ledger = open_ledger(sys.argv[1], owner="holder")
ledger.hold(["X26ABC1"], datetime.now(UTC))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def url(tmp_path) -> str:
    url = f"sqlite:///{tmp_path}/ledger.db"
    migrate(url, NOW)
    return url


@pytest.fixture
def holder(url):
    """A second process that holds the ledger until it is killed."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait(timeout=120)
    process.stdin.close()
    process.stdout.close()


LOOK = """
import fcntl, os, sys, time
print("looking", flush=True)
while True:
    descriptor = os.open(sys.argv[1], os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        time.sleep(0.02)
    except OSError:
        pass
    os.close(descriptor)
    time.sleep(0.02)
"""
"""What `FileLock.is_held` does, on a machine so busy that each look takes 20 ms."""


@pytest.fixture
def looking(tmp_path, ledger, url):
    """A second process that looks again and again whether somebody collects, as operators' commands do now and then."""
    ledger.hold([HERE], NOW)  # which makes the file
    ledger.release()
    with subprocess.Popen(
        [sys.executable, "-c", LOOK, tmp_path / "ledger.db.lock"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "looking\n"
        yield process
        process.kill()


@pytest.fixture
def ledger(url):
    ledger = open_ledger(url, owner="this")
    yield ledger
    ledger.close()


def test_a_second_process_is_told_which_one_holds_the_ledger(ledger, holder):
    with pytest.raises(HeldByAnother, match=rf"\bpid {holder.pid}\b"):
        ledger.hold([HERE], NOW)


def test_the_lock_stands_for_every_mailbox_of_the_ledger(ledger, holder):
    with pytest.raises(HeldByAnother):
        ledger.hold([THERE], NOW)


def test_a_daemon_that_starts_while_somebody_looks_is_not_turned_away(looking, ledger, tmp_path):
    for _ in range(5):
        eventually(lambda: is_looked_at(tmp_path / "ledger.db.lock"))
        ledger.hold([HERE], NOW)
        ledger.release()


def is_looked_at(file) -> bool:
    with file.open("r+b") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        return False


def test_a_look_takes_a_lock_that_is_being_looked_at_for_free(looking, tmp_path):
    lock = FileLock(tmp_path / "ledger.db")
    assert not any(lock.is_held() for _ in range(100))


def test_the_lock_is_free_the_moment_its_holder_is_killed(ledger, holder):
    holder.kill()
    holder.wait(timeout=120)

    ledger.hold([HERE], NOW)


def test_commands_that_do_not_collect_need_no_lock(ledger, holder):
    record(ledger, 1)

    assert claimed(ledger)


def test_hold_may_be_repeated_and_release_frees(ledger, url):
    other = open_ledger(url, owner="other")
    ledger.hold([HERE], NOW)
    ledger.hold([HERE, THERE], NOW)
    with pytest.raises(HeldByAnother):
        other.hold([HERE], NOW)

    ledger.release()
    ledger.release()

    other.hold([HERE], NOW)
    other.close()
    ledger.hold([HERE], NOW)


def test_a_program_started_by_the_holder_does_not_keep_the_lock(ledger, url):
    ledger.hold([HERE], NOW)
    run = [sys.executable, "-c", "import sys; print('runs', flush=True); sys.stdin.read()"]
    child = subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False)
    try:
        # Until it runs, it is still a copy of this process.
        assert child.stdout.readline() == b"runs\n"
        ledger.release()
        other = open_ledger(url, owner="other")
        other.hold([HERE], NOW)
        other.close()
    finally:
        child.communicate(timeout=120)


def test_the_lock_file_is_for_its_owner_only(ledger, tmp_path):
    ledger.hold([HERE], NOW)

    assert (tmp_path / "ledger.db.lock").stat().st_mode & 0o777 == 0o600


def test_nobody_takes_over_while_a_process_that_works_for_the_holder_is_alive(url):
    ledger = open_ledger(url, owner="holder")
    ledger.hold([HERE], NOW)
    hold = ledger.held()
    helper = subprocess.Popen(["sleep", "600"], pass_fds=hold.descriptors)
    other = open_ledger(url, owner="other")
    try:
        os.close(hold.descriptors[0])  # as a killed holder's are: closed, and not given up
        with pytest.raises(HeldByAnother):
            other.hold([HERE], NOW)
    finally:
        helper.kill()
        helper.wait(120)
    other.hold([HERE], NOW)
    other.close()


def test_a_process_that_works_for_the_holder_commits_and_gives_up_nothing(url):
    ledger = open_ledger(url, owner="holder")
    ledger.hold([HERE], NOW)
    helper = open_held_ledger(url, ledger.held())
    record(helper, 1)
    helper.close()
    other = open_ledger(url, owner="other")
    with pytest.raises(HeldByAnother):
        other.hold([HERE], NOW)
    other.close()
    ledger.close()
