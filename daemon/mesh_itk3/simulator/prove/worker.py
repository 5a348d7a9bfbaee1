"""One worker: a world of its own, in which it does the trials that it is given, one after the other.

`python -m mesh_itk3.simulator.prove.worker ROOT OUT [MODULE:FUNCTION]` reads jobs from its standard input and writes what
came of each trial on its standard output, one JSON document a line.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

from mesh_itk3.simulator.failure import SimulationFailed
from mesh_itk3.simulator.prove.plan import Plan, draw_plan, from_json, to_json
from mesh_itk3.simulator.prove.trial import Outcome, Trial
from mesh_itk3.simulator.prove.world import Batch, World, a_world

TRIALS_OF_A_BATCH: Final = 50
"""On one ledger: it holds the history of those before, and begins anew often enough."""
LOG_LINES: Final = 400


class Worker:
    """Trials in batches. A trial with a violation ends its batch: what it has left says nothing of the next one."""

    def __init__(self, world: World, out: Path, stopping: threading.Event) -> None:
        self._world, self._out, self._stopping = world, out, stopping

    def work(self, plans: Iterable[Plan]) -> Iterator[Outcome]:
        """What came of each, as it comes. Raises SimulationFailed."""
        waiting = iter(plans)
        while not self._stopping.is_set() and (plan := next(waiting, None)):
            with self._world.batch() as batch:
                for each in chain((plan,), islice(waiting, TRIALS_OF_A_BATCH - 1)):
                    outcome = self._try(each, batch)
                    yield outcome
                    if outcome.violations or self._stopping.is_set():
                        break

    def _try(self, plan: Plan, batch: Batch) -> Outcome:
        outcome = Trial(plan, batch).run()
        if outcome.violations:
            self._keep(plan, outcome, batch)
        return outcome

    def _keep(self, plan: Plan, outcome: Outcome, batch: Batch) -> None:
        """Seed, plan and evidence, where the person looks for them."""
        folder = self._out / f"seed-{plan.seed}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        document = {"plan": to_json(plan), "outcome": outcome.to_json()}
        (folder / "trial.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        batch.disk.copy_ledger(folder / "ledger")
        if (batch.root / "state" / "letters").exists():
            shutil.copytree(batch.root / "state" / "letters", folder / "letters")
        if batch.log.exists():
            lines = batch.log.read_bytes().splitlines(keepends=True)
            (folder / "daemon.log").write_bytes(b"".join(lines[-LOG_LINES:]))
        if self._world.window.log.exists():
            shutil.copyfile(self._world.window.log, folder / "mesh.jsonl")


def plans_of(job: dict[str, Any], service_share: float) -> Iterator[Plan]:
    """A job names seeds, or gives whole plans."""
    for seed in job.get("seeds", ()):
        yield draw_plan(seed, service_share=service_share)
    for plan in job.get("plans", ()):
        yield from_json(plan)


def _say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Until its standard input ends, or it is told to stop: it finishes the trial in hand."""
    root, out, *change = sys.argv[1:]
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C means the command, which ends us in order
    try:
        with a_world(Path(root)) as world:
            world.change = change[0] if change else None
            worker = Worker(world, Path(out), stopping)
            _say(is_ready=True)
            for line in sys.stdin:
                job = json.loads(line)
                for outcome in worker.work(plans_of(job, job["service_share"])):
                    _say(outcome=outcome.to_json())
                _say(is_done=True)
                if stopping.is_set():
                    break
    except SimulationFailed as error:
        _say(error=str(error))
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # who started us has gone
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
