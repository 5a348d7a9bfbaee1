"""Runs cases: one MESH sandbox, a daemon for each practice, a hospital mailbox for each case."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mesh_itk3.simulator.conformance.case import Case
from mesh_itk3.simulator.conformance.judge import Observed, Verdict, differences
from mesh_itk3.simulator.conformance.mesh import Mesh
from mesh_itk3.simulator.conformance.play import CasePlay
from mesh_itk3.simulator.conformance.practice import Practice
from mesh_itk3.simulator.conformance.setups import BY_NAME, SETUPS
from mesh_itk3.simulator.sandbox import Sandbox

TICK_S: Final = 0.1
QUIET_S: Final = 6.0
"""When nothing has come for so long, the practices are asked whether they have finished: then nothing will."""
LISTEN_ON_S: Final = 2.5
"""After everything has settled: two more polls, in which nothing may come."""
SETTLE_WITHIN_S: Final = 45.0


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one case."""

    case: Case
    mailbox_id: str
    verdict: Verdict
    differences: tuple[str, ...] = ()
    observed: Observed | None = None
    """None: not run."""
    duration_s: float = 0.0
    reason: str = ""
    """Why it was not run."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be run, and with what."""

    cases: Sequence[Case]
    mailbox_ids: dict[str, str]
    """The hospital's mailbox for each case, by the case's name."""
    samples: Path | None
    program: Sequence[str]
    root: Path
    """An empty directory for the daemons' own files."""


def run(plan: Plan, progress: Callable[[int, int, str], None]) -> list[Result]:
    """Every case's result, in the order of the plan. `progress(done, of, name)` is called as cases end.

    Raises SimulationFailed where sandbox or daemon do not run.
    """
    runnable = [case for case in plan.cases if not missing_samples(case, plan.samples)]
    progress(0, len(runnable), "starting")
    results = {case.name: _not_run(case, plan) for case in plan.cases}
    with ExitStack() as stack:
        mesh = stack.enter_context(_a_mesh(plan))
        for act in sorted({setup.act for setup in SETUPS}):
            cases = [case for case in runnable if BY_NAME[case.setup].act == act]
            if cases:
                done = sum(result.verdict != "not run" for result in results.values())
                told = _Told(progress, done, len(runnable))
                results |= {result.case.name: result for result in _Act(plan, mesh, cases, told).run()}
    return [results[case.name] for case in plan.cases]


def missing_samples(case: Case, samples: Path | None) -> str:
    """Why a case cannot be run; empty where it can."""
    if case.sample_files and samples is None:
        return "needs the official samples: --samples DIR"
    missing = [name for name in case.sample_files if samples and not (samples / name).is_file()]
    return f"the folder of samples has no {missing[0]}" if missing else ""


def _not_run(case: Case, plan: Plan) -> Result:
    return Result(case, plan.mailbox_ids[case.name], "not run", reason=missing_samples(case, plan.samples))


@contextmanager
def _a_mesh(plan: Plan) -> Iterator[Mesh]:
    store = plan.root / "mesh"
    for mailbox_id in (*plan.mailbox_ids.values(), *(setup.mailbox_id for setup in SETUPS)):
        (store / mailbox_id).mkdir(parents=True)
    with Sandbox(plan.root / "sandbox.log", store=store) as sandbox:
        yield Mesh(sandbox.url, store)


@dataclass(slots=True)
class _Told:
    """Tells how far the run has come."""

    progress: Callable[[int, int, str], None]
    before: int
    total: int

    def __call__(self, plays: Sequence[CasePlay]) -> None:
        waiting = [play.case.name for play in plays if not play.is_over]
        self.progress(self.before + len(plays) - len(waiting), self.total, waiting[0] if waiting else "listening on")


class _Act:
    """The cases whose practices run at the same time."""

    def __init__(self, plan: Plan, mesh: Mesh, cases: Sequence[Case], told: _Told) -> None:
        self._mesh = mesh
        self._told = told
        names = dict.fromkeys(case.setup for case in cases)
        self._practices = {
            name: Practice(BY_NAME[name], plan.root / "practices" / name, mesh.url, plan.program) for name in names
        }
        self._plays = [
            CasePlay(case, plan.mailbox_ids[case.name], self._practices[case.setup], mesh, plan.samples) for case in cases
        ]

    def run(self) -> list[Result]:
        try:
            self._start()
            self._play()
            self._settle()
            self._listen_on()
            return list(self._results())
        finally:
            for practice in self._practices.values():
                practice.stop()
            for play in self._plays:
                play.close()

    def _start(self) -> None:
        """Where the inbox is to be full at the start, every case's first step is done before."""
        early = [play for play in self._plays if play.practice.setup.starts_after_sending]
        for play in early:
            self._told(self._plays)
            play.advance()
        closed = [play.mailbox_id for play in early if play.practice.setup.closes_senders]
        if closed:
            self._mesh.close(closed)
        for practice in self._practices.values():
            practice.start()

    def _is_closed(self, play: CasePlay) -> bool:
        return play.practice.setup.closes_senders

    def _play(self) -> None:
        for play in self._plays:
            if self._is_closed(play):
                play.give_up()  # a closed mailbox can receive nothing
        while waiting := [play for play in self._plays if not play.is_over]:
            self._ensure_running()
            for play in waiting:
                play.advance()
                self._told(self._plays)
            if all(play.waits_since_s > QUIET_S for play in waiting) and self._is_settled():
                for play in waiting:
                    play.give_up()
            time.sleep(TICK_S)

    def _settle(self) -> None:
        """Waits until every practice has finished with what it was sent."""
        deadline = time.monotonic() + SETTLE_WITHIN_S
        while not self._is_settled() and time.monotonic() < deadline:
            self._ensure_running()
            time.sleep(TICK_S)

    def _is_settled(self) -> bool:
        return all(practice.is_settled(*self._taken_and_left(name)) for name, practice in self._practices.items())

    def _taken_and_left(self, setup: str) -> tuple[frozenset[str], frozenset[str]]:
        plays = [play for play in self._plays if play.case.setup == setup]
        taken, left = (frozenset().union(*(play.sent_ids(is_left=is_left) for play in plays)) for is_left in (False, True))
        return taken, left

    def _listen_on(self) -> None:
        time.sleep(LISTEN_ON_S)
        self._ensure_running()
        for play in self._plays:
            if not self._is_closed(play):
                play.listen()

    def _ensure_running(self) -> None:
        for practice in self._practices.values():
            practice.ensure_running()

    def _results(self) -> Iterator[Result]:
        for name, practice in self._practices.items():
            records = practice.records()
            said = {"left": practice.waiting(), "refused": practice.refused(), "owed": practice.owed()}
            for play in self._plays:
                if play.case.setup == name:
                    yield _result(play, play.observed(records, **said))


def _result(play: CasePlay, observed: Observed) -> Result:
    found = tuple(differences(play.case, observed))
    verdict: Any = "fail" if found else "pass"
    return Result(play.case, play.mailbox_id, verdict, found, observed, play.duration_s)
