"""Crash points in the two processes of the running service: who dies, and at which point of which of them.

What both have to know stands in the environment, as JSON under CRASH: `directory`, `process` (service or inner: whose points
count), `kill_at`, `victim` (service, inner or both). `python two_processes.py PARENT CHANNEL` is the inner process.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from contextlib import suppress
from pathlib import Path

from mesh_itk3 import inner
from mesh_itk3.simulator.prove.points import Watch, kill_this_process, watch_handlers, watched_world
from mesh_itk3.stages.world import World

KEY = "CRASH"


def deadly(process: str) -> Watch:
    """The watch of one of the two: its points count once the file `armed` is there, and only until somebody has died."""
    asked = json.loads(os.environ[KEY])
    directory = Path(asked["directory"])
    armed, killed = directory / "armed", directory / "killed"
    notes = os.open(directory / f"points.{process}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(point: str) -> None:
        os.write(notes, point.encode() + b"\n")

    def kill() -> None:
        killed.touch()
        _kill(asked["victim"], process, directory)

    kill_at = asked["kill_at"] if asked["process"] == process else None
    return Watch(kill_at, note=note, is_armed=lambda: armed.exists() and not killed.exists(), kill=kill)


def _kill(victim: str, process: str, directory: Path) -> None:
    """Who is at the point goes no further, unless it is only the other that dies."""
    if victim == "both":
        os.killpg(0, signal.SIGKILL)
    elif victim == process:
        kill_this_process()
    elif process == "service":
        with suppress(OSError, ValueError):  # there is none at this moment
            os.kill(int((directory / "inner.pid").read_text()), signal.SIGKILL)
    else:
        os.kill(os.getppid(), signal.SIGKILL)
        threading.Event().wait()  # it dies with the service


def main() -> None:
    directory = Path(json.loads(os.environ[KEY])["directory"])
    (directory / "inner.pid").write_text(str(os.getpid()))
    passing = deadly("inner")

    def prepare(world: World) -> World:
        watch_handlers(world.routes, passing)  # type: ignore[arg-type]  # the registry itself
        return watched_world(world, passing)

    inner.main(prepare)


if __name__ == "__main__":
    main()
