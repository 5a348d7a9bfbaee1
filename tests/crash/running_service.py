"""The running service as a test sees it that kills one of its two processes, or both."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from crash.scenarios import Begun, correlated, two_letters
from crash.world import Expected, World
from support.eventually import eventually
from support.practice import codes


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

    def stop(self, *, armed: bool = False, is_restarted: bool = False) -> None:
        """In order, where it has not been killed (or has been started again since); neither of the two is left. `armed`: points
        count to the end.
        """
        if not armed:
            self.disarm()
        if _is_alive(self.pid):
            os.kill(self.pid, signal.SIGTERM)
        ended = self.world.warm.wait(self.pid)
        may_be_killed = self.was_killed() and self.victim != "inner" and not is_restarted
        assert ended.code == 0 or may_be_killed, f"{ended}: {self.world.log_tail()}"
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
    """Ends when the point was reached, or when all is answered and recorded although it was not; then the sweep is over."""
    world = running.world
    eventually(lambda: running.was_killed() or (is_answered(world, expected) and world.is_recorded(expected)))


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
