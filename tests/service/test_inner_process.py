"""The process that reads messages and runs handlers dies, hangs, is replaced; the one that answers MESH goes on."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from pathlib import Path

import pytest

from mesh_itk3.inner_process import READY_WITHIN_S, Child, InnerProcess, Pauses
from mesh_itk3.inner_words import IDLE, LOOK, LOOKING, LOST, READY, Start, beat, owed
from mesh_itk3.ports import Hold, LedgerUnavailable
from mesh_itk3.scheduler import STALL_AFTER_S
from mesh_itk3.service import Service, Signals
from mesh_itk3.settings import load_settings
from mesh_itk3.simulator.messages import a_message
from support.composed import a_composed_daemon
from support.eventually import DEADLINE_S, eventually
from support.fake_mailbox import FakeMailbox
from support.practice import Practice, a_hospital, codes
from support.sandbox import PRACTICE
from support.stage_world import FakeClock, captured

WORKFLOW = "TOC_FHIR_IP_DISCH"

HANDLER = """
import os, pathlib, signal, subprocess, sys
from mesh_itk3.handler import BusinessCode, Declaration, Handler, Respond

class Deadly(Handler):
    declaration = Declaration(name="deadly", workflows={{"DIGMED_FLU_VAC": "DIGMED_FLU_VAC_ACK"}})

    def handle(self, message, context):
        {}
        return Respond(BusinessCode("30001"))
"""
QUITTING = "sys.exit(3)"
LEAVING = "pathlib.Path({!r}).write_text(str(subprocess.Popen(['sleep', '600'], close_fds=False).pid))"
ENTRY_POINTS = "[mesh_itk3.handlers]\ndeadly = deadly:Deadly\n"
METADATA = "Metadata-Version: 2.1\nName: deadly\nVersion: 1.0\n"


@pytest.fixture
def practice(tmp_path, sandbox):
    return Practice(tmp_path, sandbox.url)


def install(practice, directory, does):
    """Another package's handler, in place of a shipped one; `does` is a line of its `handle`."""
    packages = directory / "packages"
    information = packages / "deadly-1.0.dist-info"
    information.mkdir(parents=True)
    (packages / "deadly.py").write_text(HANDLER.format(does.format(str(directory / "left"))))
    (information / "entry_points.txt").write_text(ENTRY_POINTS)
    (information / "METADATA").write_text(METADATA)
    practice.packages = packages
    practice.extra = "[handlers.discharge_letters]\nenabled = false"
    practice.configure()


def inner_of(daemon) -> int:
    """The pid of its inner process, once it has one: not of `uname`, for which Python asks once."""
    children = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children")

    def found() -> list[int]:
        return [
            int(pid) for pid in children.read_text().split() if b"mesh_itk3.inner" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]

    return eventually(found)[0]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def send(hospital, seed, workflow_id=WORKFLOW, kind="ITK003D"):
    return hospital.send(a_message(kind, seed=seed), to=PRACTICE, workflow_id=workflow_id)


def is_answered(hospital, *sent):
    hospital.read_inbox()
    return {codes(hospital.responses_to(each)) for each in sent} == {("20013", "30001")}


@pytest.mark.sandbox
def test_another_takes_the_place_of_one_that_was_killed_and_answers_what_comes(practice):
    with a_hospital(practice.url) as hospital, practice.running() as daemon:
        first = inner_of(daemon)
        eventually(lambda: practice.logged("service.started"))
        os.kill(first, signal.SIGKILL)
        sent = [send(hospital, f"after-{n}") for n in range(3)]
        eventually(lambda: is_answered(hospital, *sent))
        assert inner_of(daemon) != first
        assert daemon.poll() is None
    assert [line["exit_code"] for line in practice.logged("inner.died")] == [-signal.SIGKILL]
    assert len(practice.letters()) == 3


@pytest.mark.sandbox
def test_it_does_not_outlive_a_service_that_is_killed(practice):
    with practice.running() as daemon:
        inner = inner_of(daemon)
        eventually(lambda: practice.logged("service.started"))
        daemon.kill()
        daemon.wait(DEADLINE_S)
        eventually(lambda: not is_alive(inner))
    practice.once()


@pytest.mark.sandbox
def test_it_ends_with_the_service(practice):
    with practice.running() as daemon:
        inner = inner_of(daemon)
        eventually(lambda: practice.logged("service.started"))
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(DEADLINE_S) == 0
    assert not is_alive(inner)
    assert practice.logged("service.stopped")
    assert not practice.logged("inner.died")


@pytest.mark.sandbox
def test_it_is_replaced_when_the_configuration_is_read_again(practice):
    with practice.running() as daemon:
        first = inner_of(daemon)
        eventually(lambda: practice.logged("service.started"))
        daemon.send_signal(signal.SIGHUP)
        eventually(lambda: practice.logged("config.reloaded"))
        assert not is_alive(first)
        assert is_alive(inner_of(daemon))


@pytest.mark.sandbox
def test_a_handler_that_ends_the_interpreter_has_failed_an_attempt_like_any_other(practice, tmp_path):
    install(practice, tmp_path, QUITTING)
    with a_hospital(practice.url) as hospital:
        poison = send(hospital, "quitting", workflow_id="DIGMED_FLU_VAC", kind="ITK009D")
        well = send(hospital, "well")
        practice.once(expect=1)
        assert is_answered(hospital, well)
    assert practice.message(poison.mesh_message_id)["state"] == "parked"


@pytest.mark.sandbox
def test_a_program_that_a_handler_has_left_behind_keeps_nobody_from_taking_over(practice, tmp_path):
    install(practice, tmp_path, LEAVING)
    with a_hospital(practice.url) as hospital, practice.running():
        sent = send(hospital, "leaving", workflow_id="DIGMED_FLU_VAC", kind="ITK009D")
        eventually(lambda: is_answered(hospital, sent))
    left = int((tmp_path / "left").read_text())
    try:
        practice.once()
    finally:
        os.kill(left, signal.SIGKILL)


@pytest.mark.sandbox
def test_a_handler_that_kills_its_process_keeps_nobody_else_from_being_answered(practice, tmp_path):
    install(practice, tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    with a_hospital(practice.url) as hospital, practice.running():
        poison = send(hospital, "poison", workflow_id="DIGMED_FLU_VAC", kind="ITK009D")
        eventually(lambda: len(practice.logged("inner.died")) >= 2)
        sent = [send(hospital, f"well-{n}") for n in range(3)]
        eventually(lambda: is_answered(hospital, *sent))
        assert codes(hospital.responses_to(poison)) == ("20013", None)
    assert practice.message(poison.mesh_message_id)["state"] in {"accepted", "parked"}


# ------------------------------------------------------------------------------------------------ as the service sees it


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


class NoChannel:
    """Notes what a child is told."""

    def __init__(self) -> None:
        self.sent = []

    def send_bytes(self, word) -> None:
        self.sent.append(word)


def an_inner():
    """One whose child is not there, but says what the test says for it; its clock; what the service was told."""
    clock, told = Clock(), []
    inner = InnerProcess(clock, owed=told.append, lost=lambda: told.append("lost"), noticed=lambda: None)
    inner._child = Child(process=None, channel=NoChannel(), started_at=clock())
    says(inner, READY)
    return inner, clock, told


def says(inner, *words):
    for word in words:
        inner._hear(inner._child, word)


def test_a_stage_that_shows_no_progress_for_long_is_named():
    inner, clock, _ = an_inner()
    says(inner, beat("dispatch"))
    clock.at += STALL_AFTER_S - 1
    assert inner.stalled() is None
    says(inner, beat("dispatch"))
    clock.at += STALL_AFTER_S + 1
    assert inner.stalled() == "dispatch"


def test_one_that_has_nothing_to_do_does_not_hang():
    inner, clock, _ = an_inner()
    says(inner, beat("dispatch"), IDLE)
    clock.at += 10 * STALL_AFTER_S
    assert inner.stalled() is None


def test_one_that_never_becomes_ready_hangs():
    inner, clock, _ = an_inner()
    inner._child.is_ready = False
    clock.at += READY_WITHIN_S - 1
    assert inner.stalled() is None
    clock.at += 2
    assert inner.stalled() == "start"


def test_one_that_is_told_to_look_and_never_does_hangs():
    inner, clock, _ = an_inner()
    says(inner, IDLE)
    inner.look()
    clock.at += STALL_AFTER_S + 1
    assert inner.stalled() == "look"
    says(inner, LOOKING)
    assert inner.stalled() is None


def test_what_is_owed_and_what_is_lost_is_told_and_nonsense_is_not():
    inner, _, told = an_inner()
    says(inner, owed(["X26ABC2", "X26ABC3"]), LOOKING, b"nonsense", b"", b"\xff", owed(["X26ABC2"]), LOST)
    assert told == [["X26ABC2", "X26ABC3"], ["X26ABC2"], "lost"]


def test_it_is_told_to_look_once_until_it_looks_and_never_too_seldom():
    inner, _, _ = an_inner()
    sent = inner._child.channel.sent
    inner.look()
    inner.look()
    inner.look()
    assert sent == [LOOK]
    says(inner, LOOKING)  # what was said meanwhile may have come after its look
    assert sent == [LOOK, LOOK]
    says(inner, LOOKING)
    inner.look()
    assert sent == [LOOK, LOOK, LOOK]


def test_the_pauses_between_deaths_grow_to_a_ceiling():
    assert [Pauses().after(deaths) for deaths in (0, 1, 2, 3, 100)] == [0.0, 0.5, 1.0, 2.0, 10.0]


READS_ONE_WORD = """
import pickle, sys
from multiprocessing.connection import Connection
pickle.loads(Connection(int(sys.argv[2])).recv_bytes())
"""


def test_the_settings_are_the_first_that_it_hears_however_often_another_thread_has_it_look(tmp_path):
    start = Start(load_settings(Practice(tmp_path, "http://127.0.0.1:1").config, None, os.environ), Hold("here:1"))
    over, ended = threading.Event(), threading.Event()
    inner = InnerProcess(
        FakeClock().monotonic, owed=lambda _: None, lost=lambda: None, noticed=ended.set,
        program=(sys.executable, "-c", READS_ONE_WORD),
    )  # fmt: skip

    def has_it_look() -> None:
        while not over.is_set():
            inner.look()

    looking = threading.Thread(target=has_it_look)
    looking.start()
    try:
        for _ in range(5):
            ended.clear()
            inner.start(start)
            assert ended.wait(DEADLINE_S)
            assert inner._child.process.returncode == 0
            inner.bury()
    finally:
        over.set()
        looking.join()


def test_the_settings_are_handed_over_whole(tmp_path):
    settings = load_settings(Practice(tmp_path, "http://127.0.0.1:1").config, None, os.environ)
    handed = pickle.loads(pickle.dumps(Start(settings, Hold("here:1", {"X26ABC2": 7}))))  # noqa: S301
    assert handed.settings == settings
    assert (
        handed.settings.mailboxes[PRACTICE].password.get_secret_value()
        == settings.mailboxes[PRACTICE].password.get_secret_value()
    )
    assert handed.hold.tokens == {"X26ABC2": 7}


class LedgerAway:
    """Cannot be used."""

    def recover(self, *_):
        raise LedgerUnavailable("the disk under the ledger is full (SQLITE_FULL)")


def test_a_ledger_that_cannot_be_used_when_the_next_is_to_be_started_is_said_once_and_asked_until_it_can(tmp_path):
    daemon = a_composed_daemon(tmp_path, FakeMailbox([]), clock=(clock := FakeClock()))
    service = Service(daemon, Signals(), clock, None, None, inner_program=("true",))
    usable, daemon.ledger, said = daemon.ledger, LedgerAway(), captured()
    for _ in range(20):
        service._revive_inner()
        clock.advance(seconds=60)
    assert [(line["event"], line["stage"]) for line in said] == [("ledger.failed", "recover")]
    daemon.ledger = usable

    service._revive_inner()

    assert [line["event"] for line in said] == ["ledger.failed", "ledger.usable"]
    assert service.inner.has_stopped(within_s=DEADLINE_S)
    daemon.close()
