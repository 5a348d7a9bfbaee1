"""The workers of a run: processes that are given seeds, watched, replaced where they fail, and stopped in order."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mesh_itk3.simulator.demo_practice import child_environment
from mesh_itk3.simulator.failure import SimulationFailed
from mesh_itk3.simulator.leash import leashed
from mesh_itk3.simulator.prove.worker import TRIALS_OF_A_BATCH
from mesh_itk3.simulator.sandbox import end

STOPS_WITHIN_S: Final = 90.0
"""A trial in hand may take as long as a run that hangs."""
TRIES: Final = 2
"""Of a seed whose trial could not be run, because sandbox or worker failed."""
MOST_FAILURES: Final = 20
"""Of workers in one run: then something is wrong with this machine."""
MOST_FALSE_STARTS: Final = 3
LOOK_EVERY_S: Final = 0.5

Job = dict[str, Any]


def jobs_of(seeds: Sequence[int]) -> list[Job]:
    """A batch each."""
    starts = range(0, len(seeds), TRIALS_OF_A_BATCH)
    return [{"seeds": list(seeds[start : start + TRIALS_OF_A_BATCH])} for start in starts]


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    unread: bytes = b""
    is_ready: bool = False
    is_ending: bool = False
    job: Job | None = None
    error: str = "a worker ended"

    def give(self, job: Job | None) -> None:
        """The next job; None: there is none, and it may end."""
        self.job = job
        stdin = self.process.stdin
        if stdin is None:
            return
        with suppress(BrokenPipeError):
            if job is None:
                self.is_ending = True
                stdin.close()
            else:
                stdin.write(json.dumps(job).encode() + b"\n")
                stdin.flush()


@dataclass(slots=True)
class Pool:
    """Use as a context; iterate `outcomes`. Raises SimulationFailed where trials cannot be run."""

    root: Path
    out: Path
    daemon: str | None
    service_share: float
    deadline: float | None
    """Monotonic; None: until all is done."""
    not_run: list[int] = field(default_factory=list)
    """Seeds whose trials could not be run."""
    _tried: Counter[int] = field(default_factory=Counter)
    """How often a worker has failed at each seed."""
    _failures: int = 0
    _waiting: deque[Job] = field(default_factory=deque)
    _workers: dict[int, _Worker] = field(default_factory=dict)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _started: int = 0

    def outcomes(self, jobs: Sequence[Job], workers: int) -> Iterator[dict[str, Any]]:
        """What came of each trial, in the order in which they end."""
        self._waiting.extend(job | {"service_share": self.service_share} for job in jobs)
        for _ in range(min(workers, len(jobs))):
            self._start()
        while self._workers:
            if self.deadline is not None and time.monotonic() > self.deadline:
                self._ask_to_stop()
            for key, _ in self._selector.select(LOOK_EVERY_S):
                yield from self._read(key.fd)

    def stop(self) -> None:
        """Ends every worker, and waits for it; safe to repeat. What they had in hand is not judged."""
        self._ask_to_stop()
        for worker in self._workers.values():
            end(worker.process, within_s=STOPS_WITHIN_S)
        self._workers.clear()

    def _ask_to_stop(self) -> None:
        self._waiting.clear()
        for worker in self._workers.values():
            if not worker.is_ending:
                worker.is_ending = True
                worker.process.terminate()

    def _start(self) -> None:
        self._started += 1
        root = self.root / f"worker-{self._started}"
        root.mkdir()
        command = [sys.executable, "-m", "mesh_itk3.simulator.prove.worker", str(root), str(self.out)]
        with (root / "worker.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603  # a command line of ours
                leashed([*command, *([self.daemon] if self.daemon else [])]),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=child_environment(os.environ),
                start_new_session=True,  # Ctrl-C reaches us alone, and we stop it in our own order
            )  # fmt: skip
        if process.stdout is None:
            raise SimulationFailed("a worker cannot be heard")
        self._workers[process.stdout.fileno()] = _Worker(process)
        self._selector.register(process.stdout.fileno(), selectors.EVENT_READ)

    def _read(self, descriptor: int) -> Iterator[dict[str, Any]]:
        worker = self._workers[descriptor]
        piece = os.read(descriptor, 65_536)
        if not piece:
            self._bury(descriptor)
            return
        *lines, worker.unread = (worker.unread + piece).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if "outcome" in said:
                self._tick_off(worker)
                yield said["outcome"]
            elif "error" in said:
                worker.error = said["error"]
            elif not worker.is_ending:
                worker.give(self._waiting.popleft() if self._waiting else None)

    def _tick_off(self, worker: _Worker) -> None:
        job = worker.job or {}
        for what in ("seeds", "plans"):
            if job.get(what):
                del job[what][0]

    def _bury(self, descriptor: int) -> None:
        """It has ended: in order, or with work in hand that another then does."""
        self._selector.unregister(descriptor)
        worker = self._workers.pop(descriptor)
        if worker.process.wait() != 0 and not worker.is_ending:
            self._failures += 1
            kept = self._kept_logs()
            if self._failures >= (MOST_FAILURES if worker.is_ready else MOST_FALSE_STARTS):
                raise SimulationFailed(f"{worker.error}; its logs are in {kept}")
            self._put_back(worker.job or {})
        if self._waiting and not worker.is_ending:
            self._start()

    def _put_back(self, job: Job) -> None:
        """What a worker that failed had in hand. The first of it is what it failed at; after some tries that is left out."""
        for what in ("seeds", "plans"):
            if left := job.get(what):
                seed = left[0] if what == "seeds" else left[0]["seed"]
                self._tried[seed] += 1
                if self._tried[seed] >= TRIES:
                    self.not_run.append(seed)
                    del left[0]
                if left:
                    self._waiting.appendleft(job)

    def _kept_logs(self) -> Path:
        """The logs of every worker, where the end of the run does not delete them."""
        kept = self.out / "logs"
        for log in self.root.glob("worker-*/*.log"):
            (kept / log.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(log, kept / log.parent.name / log.name)
        return kept
