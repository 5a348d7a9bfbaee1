"""`make mutation`: how many small changes to the pure rules the fast tests notice. Prints the score of each module and the
survivors; asserts nothing, for a survivor may mean the same as the original.

mutmut plants the mutants. Nearly all are killed by a quick test in one process (in_one_process.py); what is left mutmut tries
with all tests, each mutant in a process of its own.

mutmut wants a tree of its own shape and packages that no user needs: both are made in `build/mutation`, beside `.venv` and not
in it. BUDGET_S (1800) ends it early; what was not tried then is counted as not tried.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import tomllib
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / "build" / "mutation"
PYTHON = PLACE / "venv" / "bin" / "python"
A_FEW = "mesh_itk3.lifecycle.*"
"""mutmut plants all of them and learns which test meets which function before it tries these."""
KILLED = frozenset({"killed"})
"""Not what mutmut calls a timeout, for one whose tests could not be begun is called so too: it is listed, to be looked at."""


def main() -> int:
    make_environment()
    make_tree()
    run(float(os.environ.get("BUDGET_S", "1800")))
    show(results())
    return 0


def make_environment() -> None:
    """mutmut and what it needs, pinned in pyproject.toml; behind it what `.venv` has."""
    if PYTHON.exists():
        return
    uv = Path(sysconfig.get_path("scripts")) / "uv"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, PLACE / "venv"], check=True)
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", PYTHON, "--group", f"{ROOT}/pyproject.toml:mutation"], check=True
    )
    packages = next((PLACE / "venv" / "lib").glob("python*/site-packages"))
    (packages / "behind.pth").write_text(sysconfig.get_path("purelib") + "\n")


def make_tree() -> None:
    """`src`, `tests` and a configuration."""
    leave = shutil.ignore_patterns("__pycache__", ".*")
    for name in ("src", "tests", "mutants"):
        shutil.rmtree(PLACE / name, ignore_errors=True)
    shutil.copytree(ROOT / "daemon" / "mesh_itk3", PLACE / "src" / "mesh_itk3", ignore=leave)
    shutil.copy(ROOT / "config" / "workflows.toml", PLACE / "src" / "mesh_itk3")
    shutil.copytree(ROOT / "tests", PLACE / "tests", ignore=leave)
    shutil.copy(Path(__file__).with_name("mutmut.toml"), PLACE / "pyproject.toml")


def run(budget_s: float) -> None:
    """On one core, giving way to everything else."""
    ends_at = time.monotonic() + budget_s
    mutmut = [PYTHON, "-m", "mutmut", "run", "--max-children", "1"]
    set_up = tomllib.loads((PLACE / "pyproject.toml").read_text())["tool"]["mutmut"]
    tests = set_up["pytest_add_cli_args"] + set_up["pytest_add_cli_args_test_selection"]
    step([*mutmut, A_FEW], PLACE, ends_at)
    step(
        [PYTHON, "tests/mutation/in_one_process.py", *tests],
        PLACE / "mutants",
        ends_at,
        PYTHONPATH=str(PLACE / "mutants" / "src"),
    )
    step(mutmut, PLACE, ends_at)


def step(command: list[str | Path], directory: Path, ends_at: float, **more: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ITK3_EXAMPLES"} | more
    command = ["nice", "-n", "19", *command]
    working = subprocess.Popen(command, cwd=directory, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        working.wait(max(0.0, ends_at - time.monotonic()))
    except subprocess.TimeoutExpired:
        os.killpg(working.pid, signal.SIGINT)
        working.wait()


def results() -> dict[str, str]:
    """By the mutant's name, what became of it; without those that nothing could notice."""
    command = [PYTHON, "-m", "mutmut", "results", "--all", "true"]
    said = subprocess.run(command, cwd=PLACE, capture_output=True, text=True, check=True).stdout
    found: dict[str, str] = dict(re.findall(r"^\s*(\S+__mutmut_\d+): (.+)$", said, re.MULTILINE))
    return {name: what for name, what in found.items() if what != "skipped"}


def show(became: dict[str, str]) -> None:
    """A line for each module, then the survivors."""
    of: dict[str, Counter[str]] = defaultdict(Counter)
    for name, what in became.items():
        of[name.rpartition(".x")[0]][what] += 1
    for module, counts in sorted(of.items()):
        print(line(module, counts))
    print(line("all", sum(of.values(), Counter())))
    for name, what in sorted(became.items()):
        if what not in KILLED and what != "not checked":
            print(f"  {what}: {name}")
    print(f"one of them in full: cd {PLACE.relative_to(ROOT)} && {PYTHON.relative_to(PLACE)} -m mutmut show NAME")


def line(module: str, counts: Counter[str]) -> str:
    tried = counts.total() - counts["not checked"]
    killed = sum(counts[what] for what in KILLED)
    score = f"{100 * killed / tried:.1f} %" if tried else "-"
    return f"{module:44} {killed:5} killed of {tried:5} tried  {score:>8}  {counts['not checked']:5} not tried"


if __name__ == "__main__":
    sys.exit(main())
