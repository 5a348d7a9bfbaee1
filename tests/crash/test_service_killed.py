"""SIGKILL in the running service, which is two processes: the one that talks to MESH, the one that reads and files, or both, at
points of either. What a restart finds is whole; when only the inner process dies, the service itself goes on and answers.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from crash.scenarios import ANSWERED, Begun, correlated, two_letters
from crash.sweep import IS_OVERNIGHT, MOST, first, say, step
from crash.tls_front import tls_front
from crash.world import Expected, World, a_world
from support.authority import an_authority
from support.eventually import eventually
from support.practice import codes

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(7200 if IS_OVERNIGHT else 300)]
VICTIMS = ("service", "inner", "both")
STRIDES = {"service": 17, "inner": 11}
RELOAD_STRIDE = 13
CERTIFICATE_STRIDE = 25


@dataclass
class Running:
    """A service that is to die at a point, and what its test sees of it."""

    world: World
    process: str
    kill_at: int
    victim: str
    pid: int = 0

    @property
    def directory(self) -> Path:
        return self.world.practice.directory

    def arm(self) -> None:
        """From now on points count."""
        (self.directory / "armed").touch()

    def was_killed(self) -> bool:
        return (self.directory / "killed").exists()

    def points(self) -> list[str]:
        """Those of the process in question, since it was armed."""
        file = self.directory / f"points.{self.process}"
        return file.read_text().splitlines() if file.exists() else []

    def prepare(self) -> None:
        for left in ("armed", "killed", "points.service", "points.inner", "inner.pid", "daemon.log"):
            (self.directory / left).unlink(missing_ok=True)

    def run(self) -> None:
        asked = {"process": self.process, "kill_at": self.kill_at, "victim": self.victim}
        self.pid = self.world.warm.start("service", self.directory, config=str(self.world.practice.config), **asked)

    def is_ended(self) -> bool:
        return not _is_alive(self.pid)

    def disarm(self) -> None:
        """No point counts any more."""
        (self.directory / "armed").unlink(missing_ok=True)

    def stop(self, *, armed: bool = False) -> None:
        """In order, where it has not been killed; neither of the two is left. `armed`: points count to the end."""
        if not armed:
            self.disarm()
        if _is_alive(self.pid):
            os.kill(self.pid, signal.SIGTERM)
        ended = self.world.warm.wait(self.pid)
        assert ended.code == 0 or (self.was_killed() and self.victim != "inner"), f"{ended}: {self.world.log_tail()}"
        inner = self.directory / "inner.pid"
        if inner.exists():
            eventually(lambda: not _is_alive(int(inner.read_text() or "0")))


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def is_answered(world: World, expected: list[Expected]) -> bool:
    world.hospital.read_inbox()
    return all(codes(world.hospital.responses_to(each.sent)) == each.codes for each in expected)


def everything(world: World) -> Begun:
    """A letter, one that is refused, a response and a report."""
    return Begun([*two_letters(world).expected, *correlated(world).expected])


def until_killed_or_done(running: Running, expected: list[Expected]) -> None:
    """Ends when the point was reached, or when all is answered although it was not; then the sweep is over."""
    eventually(lambda: running.was_killed() or is_answered(running.world, expected))


def look_and_restart(running: Running, expected: list[Expected]) -> None:
    world = running.world
    try:
        if running.victim == "inner" and not running.is_ended():
            eventually(lambda: is_answered(world, expected))
        running.stop()
        world.check_durable(expected)
        world.recover()
        world.check_settled(expected)
    except AssertionError as wrong:
        where = (running.points() or ["nothing"])[-1]
        raise AssertionError(
            f"{running.victim} killed at {where}, point {running.kill_at} of {running.process}: {wrong}"
        ) from wrong


@contextmanager
def a_service(world: World, process: str, n: int, victim: str) -> Iterator[Running]:
    """Killed in any case when the test is over."""
    running = Running(world, process, n, victim)
    running.prepare()
    try:
        yield running
    finally:
        if running.pid and _is_alive(running.pid):
            os.killpg(running.pid, signal.SIGKILL)
            world.warm.wait(running.pid)


def sweep(stride: int, trial: Callable[[int, str], bool]) -> int:
    """Kills the service, the inner process and both in turn, at rising points (overnight: each of the three at each), until a
    trial ends without; how many kills.
    """
    kills = 0
    for turn, n in enumerate(range(first(stride), MOST, step(stride))):
        for victim in VICTIMS if IS_OVERNIGHT else (VICTIMS[turn % len(VICTIMS)],):
            if not trial(n, victim):
                return kills
            kills += 1
    raise AssertionError("a run that never ends")


@pytest.mark.parametrize("process", ["service", "inner"])
def test_a_service_killed_at_work_has_lost_nothing_and_answers_nothing_twice(world, process):
    def trial(n: int, victim: str) -> bool:
        begun = everything(world)
        with a_service(world, process, n, victim) as running:
            running.arm()
            running.run()
            until_killed_or_done(running, begun.expected)
            look_and_restart(running, begun.expected)
            return running.was_killed()

    kills = sweep(STRIDES[process], trial)
    say(f"the service, points of {process}", kills, None, STRIDES[process])
    assert kills >= 3


def test_a_service_killed_while_it_reads_its_configuration_again_has_lost_nothing(world):
    def trial(n: int, victim: str) -> bool:
        with a_service(world, "service", n, victim) as running:
            running.run()
            eventually(lambda: world.practice.logged("service.started"))
            begun = [world.send(ANSWERED, "completed")]
            running.arm()
            os.kill(running.pid, signal.SIGHUP)
            eventually(lambda: running.was_killed() or world.practice.logged("config.reloaded"))
            until_killed_or_done(running, begun)
            look_and_restart(running, begun)
            passed.update(running.points())
            return running.was_killed()

    passed: set[str] = set()
    kills = sweep(RELOAD_STRIDE, trial)
    say("the service, reloading", kills, None, RELOAD_STRIDE)
    # The old one closed, the new one composed, held and started: each lies between two of these.
    assert {
        "before ledger.release",
        "after ledger.close",
        "after daemon.composed",
        "before ledger.hold",
        "after ledger.held",
    } <= passed


@pytest.fixture
def secured(tmp_path, sandbox, warm):
    """A world whose practice reaches MESH with a client certificate, and the two files of which one is current."""
    authority = an_authority(tmp_path, "mesh")
    server, client, another = authority.issue("server"), authority.issue("client"), authority.issue("another")
    current = tmp_path / "current.pem"
    shutil.copy(client, current)
    with tls_front(server, authority.file, sandbox.port) as url:
        keys = {"client_certificate": current, "client_key": current, "ca_file": authority.file}
        extra = "\n".join(f'{key} = "{file}"' for key, file in keys.items())
        with a_world(tmp_path, sandbox, warm, url=url, mesh_extra=extra) as world:
            yield world, current, another.read_bytes()


def test_a_service_killed_over_a_half_written_certificate_goes_on_when_it_is_whole(secured):
    world, certificate, another = secured

    def trial(n: int, victim: str) -> bool:
        with a_service(world, "service", n, victim) as running:
            running.run()
            eventually(lambda: world.practice.logged("service.started"))
            certificate.write_bytes(another[: len(another) // 2])
            begun = [world.send(ANSWERED, "completed")]
            running.arm()
            os.kill(running.pid, signal.SIGHUP)
            eventually(lambda: running.was_killed() or world.practice.logged("credentials.rejected"))
            running.disarm()
            if running.was_killed() and victim != "inner":
                running.stop()
                world.check_durable(begun)
                running.run()  # with what stands in the file now
                eventually(lambda: len(world.practice.logged("service.started")) == 2)
            certificate.write_bytes(another)
            os.kill(running.pid, signal.SIGHUP)
            eventually(lambda: is_answered(world, begun))
            look_and_restart(running, begun)
            assert "Traceback" not in world.log_tail()
            return running.was_killed()

    kills = sweep(CERTIFICATE_STRIDE, trial)
    say("the service, a half-written certificate", kills, None, CERTIFICATE_STRIDE)
    assert kills >= 1
