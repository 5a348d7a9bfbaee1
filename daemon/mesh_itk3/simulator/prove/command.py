"""`mesh-itk3 prove`: runs the trials, shows how far they are, says what they came to."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
from rich.console import Console

from mesh_itk3.simulator.failure import DONE, FAILED, INTERRUPTED, SimulationFailed, UsedWrongly, ended
from mesh_itk3.simulator.prove.plan import SERVICE_SHARE, Plan, from_json, to_json
from mesh_itk3.simulator.prove.pool import Job, Pool, jobs_of
from mesh_itk3.simulator.prove.summary import Summary, page
from mesh_itk3.simulator.prove.view import show, telling

TRIALS: Final = 100
MOST_SEED: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person asked for."""

    trials: int | None = None
    budget_s: float | None = None
    seed: int | None = None
    replay: Path | None = None
    out: Path = Path("prove-failures")
    report: Path | None = None
    jobs: int | None = None
    as_json: bool = False
    daemon: str | None = None
    """`MODULE:FUNCTION` that changes each daemon: for tests of the oracle."""


def run_prove(wish: Wish) -> int:
    """0: nothing was violated; 1: something was, or the run could not go on; 2: used wrongly; 130: stopped by a person."""
    return ended("prove", lambda: _run(wish))


def _run(wish: Wish) -> int:
    plan = _plan_of(wish)
    if importlib.util.find_spec("mesh_sandbox") is None:
        raise SimulationFailed("the MESH sandbox is not installed: pip install 'mesh-itk3[demo]'")
    seed = _seed_of(wish, plan)
    trials = wish.trials or (TRIALS if plan is None else 1)
    jobs: list[Job] = (
        jobs_of(range(seed, seed + trials)) if plan is None else [{"plans": [to_json(plan)]} for _ in range(trials)]
    )
    summary = Summary(seed, trials if plan is None else 1)
    console = Console(highlight=False)
    error, is_interrupted = _play(wish, jobs, summary, console)
    document = summary.document(wish.out)
    _say(wish, console, document, seed)
    if error is not None:
        raise error
    if summary.failed:
        return FAILED
    if is_interrupted:
        return INTERRUPTED
    return DONE if summary.passed else FAILED


def _play(wish: Wish, jobs: list[Job], summary: Summary, console: Console) -> tuple[SimulationFailed | None, bool]:
    """Fills the summary; what ended it early."""
    began = time.monotonic()
    error, is_interrupted = None, False
    with _a_directory() as root:
        pool = Pool(
            root, wish.out.absolute(), wish.daemon, 0.0 if wish.daemon else SERVICE_SHARE,
            began + wish.budget_s if wish.budget_s else None,
        )  # fmt: skip
        try:
            with telling(console, len(jobs) if "plans" in jobs[0] else summary.asked, is_silent=wish.as_json) as tell:
                for outcome in pool.outcomes(jobs, wish.jobs or len(os.sched_getaffinity(0))):
                    summary.add(outcome)
                    tell(summary)
        except KeyboardInterrupt:
            is_interrupted = summary.is_cut_short = True
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # once is enough: what runs is being ended
        except SimulationFailed as failure:
            error, summary.is_cut_short = failure, True
        finally:
            pool.stop()
            summary.not_run = pool.not_run
            summary.seconds = time.monotonic() - began
    return error, is_interrupted


@contextmanager
def _a_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mesh-itk3-prove-", ignore_cleanup_errors=True) as root:
        yield Path(root)


def _plan_of(wish: Wish) -> Plan | None:
    """What is to be replayed. Raises UsedWrongly."""
    if wish.replay is None:
        return None
    if wish.seed is not None:
        raise UsedWrongly("--seed and --replay exclude each other: a stored trial has its seed")
    try:
        return from_json(json.loads(wish.replay.read_bytes())["plan"])
    except OSError as error:
        raise UsedWrongly(f"--replay: {wish.replay}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise UsedWrongly(f"--replay: {wish.replay} is no stored trial") from None


def _seed_of(wish: Wish, plan: Plan | None) -> int:
    if plan is not None:
        return plan.seed
    return random.SystemRandom().randrange(MOST_SEED) if wish.seed is None else wish.seed


def _say(wish: Wish, console: Console, document: Mapping[str, Any], seed: int) -> None:
    if wish.report is not None:
        wish.report.write_text(page(document, _command(wish, seed), f"{datetime.now(UTC):%Y-%m-%d}"), encoding="utf-8")
    if wish.as_json:
        sys.stdout.write(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n")
        sys.stdout.flush()
    else:
        show(console, document)


def _command(wish: Wish, seed: int) -> str:
    """What gives the same trials again."""
    if wish.replay is not None:
        return f"mesh-itk3 prove --replay {shlex.quote(str(wish.replay))}"
    budget = f" --budget {wish.budget_s:g}" if wish.budget_s else ""
    return f"mesh-itk3 prove --trials {wish.trials or TRIALS} --seed {seed}{budget}"
