"""The warm process as a test sees it: asked for one run, it says how that ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

TESTS: Final = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Run:
    """How a run ended, and the names of the points or system calls that it passed."""

    code: int | None
    signal: int | None
    passed: tuple[str, ...]

    @property
    def was_killed(self) -> bool:
        return self.signal == signal.SIGKILL


class WarmProcess:
    """Started once; every run is a child of its own. Holds no thread, connection or ledger, so that a child begins clean."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "crash.warm_process"],
            cwd=TESTS,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                name: value
                for name, value in os.environ.items()
                if name != "NOTIFY_SOCKET" and not name.startswith("MESH_ITK3_")
            },
        )
        self._said()
        self._asked = 0
        self._is_warm = False

    def warm_up(self, config: Path, log: Path) -> None:
        """One run in that process itself, the first time: what a run imports, compiles and keeps is there for every child."""
        if not self._is_warm:
            answer = self._ask(work="warm", config=str(config), log=str(log))
            assert (answer["code"], answer["left"]) == (0, 0), answer
            self._is_warm = True

    def run(self, work: str, directory: Path, **asked: Any) -> Run:
        """One run; its log is added to `daemon.log` in this directory."""
        return _run(self._ask(work=work, directory=str(directory), **asked))

    def start(self, work: str, directory: Path, **asked: Any) -> int:
        """Begins a run that goes on until somebody ends it; its process id."""
        return int(self._ask(work=work, directory=str(directory), **asked)["pid"])

    def wait(self, pid: int) -> Run:
        """How a run that `start` has begun has ended. Waits for that."""
        return _run(self._ask(wait_for=pid))

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def _ask(self, **asked: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._asked += 1
        self._process.stdin.write(json.dumps({**asked, "number": self._asked}) + "\n")
        self._process.stdin.flush()
        while (answer := self._said())["number"] != self._asked:
            pass  # of a test whose time was up before it came
        return answer

    def _said(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the warm process has ended"
        said: dict[str, Any] = json.loads(line)
        return said


def _run(said: dict[str, Any]) -> Run:
    return Run(said["code"], said["signal"], tuple(said["passed"]))
