"""`mesh-itk3 conformance`: runs the cases, writes the evidence, says how it ended."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mesh_itk3.simulator.conformance.case import Case
from mesh_itk3.simulator.conformance.practice import program_of
from mesh_itk3.simulator.conformance.progress import telling
from mesh_itk3.simulator.conformance.run import Plan, Result, missing_samples, run
from mesh_itk3.simulator.conformance.table import CASES, MAILBOX_IDS
from mesh_itk3.simulator.failure import DONE, FAILED, USAGE, SimulationFailed, UsedWrongly, complain, ended

WIDE: Final = 1_000
"""Columns of a list that is not for a terminal: nothing is cut that a script may read."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person asked for."""

    out: Path | None
    samples: Path | None
    only: str | None
    daemon: str | None
    as_json: bool


def run_conformance(wish: Wish) -> int:
    """0: every case that was run passed; 1: one did not, or the run could not go on; 2: used wrongly; 130: stopped."""
    return ended("conformance", lambda: _run(wish, *_checked(wish)))


def _checked(wish: Wish) -> tuple[Sequence[Case], Sequence[str], Path]:
    """Cases, the daemon's program and the directory of the report. Raises UsedWrongly before anything is written."""
    cases = chosen(wish.only)
    if all(missing_samples(case, wish.samples) for case in cases):
        raise UsedWrongly(f"nothing can be run: {cases[0].name} {missing_samples(cases[0], wish.samples)}")
    program = _program(wish.daemon)
    if importlib.util.find_spec("mesh_sandbox") is None:
        raise SimulationFailed("the MESH sandbox is not installed: pip install 'mesh-itk3[demo]'")
    return cases, program, _prepared(wish)


def chosen(only: str | None) -> Sequence[Case]:
    """The cases whose name, group or practice fits the pattern. Raises UsedWrongly where none does."""
    if only is None:
        return CASES
    pattern = only.lower()
    found = [case for case in CASES if any(fnmatchcase(word.lower(), pattern) for word in (case.name, case.group, case.setup))]
    if not found:
        raise UsedWrongly(f"no case, group or practice is called {only!a}; --list shows them all")
    return found


def list_cases(only: str | None, *, as_json: bool) -> int:
    """Prints the table and runs nothing."""
    try:
        cases = chosen(only)
    except UsedWrongly as error:
        return complain("conformance", str(error), USAGE)
    if as_json:
        _print_json({"cases": [_row(case) for case in cases]})
        return DONE
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
    table = Table("case", "practice", "what it shows", box=None, pad_edge=False, header_style="bold")
    for case in cases:
        table.add_row(*(Text(cell, overflow="fold") for cell in (case.name, case.setup, case.shows)))
    console.print(table)
    console.print(f"\n{len(cases)} cases")
    return DONE


def _row(case: Case) -> dict[str, Any]:
    return {
        "name": case.name,
        "group": case.group,
        "practice": case.setup,
        "shows": case.shows,
        "requirements": list(case.requirements),
    }


def _program(daemon: str | None) -> Sequence[str]:
    try:
        return program_of(daemon)
    except SimulationFailed as error:
        raise UsedWrongly(str(error)) from error


def _prepared(wish: Wish) -> Path:
    if wish.out is None:
        raise UsedWrongly("where is the report to go? Name a new directory: --out DIR")
    if wish.samples is not None and not wish.samples.is_dir():
        raise UsedWrongly(f"--samples: {wish.samples} is no directory")
    try:
        wish.out.mkdir(parents=True, exist_ok=True)
        is_used = any(wish.out.iterdir())
    except OSError as error:
        raise UsedWrongly(f"--out: {error.filename}: {error.strerror}") from None
    if is_used:
        raise UsedWrongly(f"--out: {wish.out} is not empty; name a new directory")
    return wish.out.resolve()


def _run(wish: Wish, cases: Sequence[Case], program: Sequence[str], out: Path) -> int:
    from mesh_itk3.simulator.conformance.evidence import Facts, document_of, write_exchange, write_json, write_practices
    from mesh_itk3.simulator.conformance.page import page

    console = Console(highlight=False)
    began, began_at = time.monotonic(), datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix="mesh-itk3-conformance-") as root:
        plan = Plan(cases, MAILBOX_IDS, wish.samples.resolve() if wish.samples else None, program, Path(root))
        try:
            with telling(console, is_silent=wish.as_json) as tell:
                results = run(plan, tell)
        finally:
            write_practices(out, Path(root))
    facts = Facts(began_at, time.monotonic() - began, wish.daemon or "mesh-itk3 run", wish.samples is not None)
    document = document_of(results, facts)
    write_exchange(out, results)
    write_json(out, document)
    (out / "conformance.html").write_text(page(document), encoding="utf-8")
    _say_how_it_ended(console, document, results, out, as_json=wish.as_json)
    return DONE if document["passed"] else FAILED


def _say_how_it_ended(
    console: Console, document: dict[str, Any], results: Sequence[Result], out: Path, *, as_json: bool
) -> None:
    if as_json:
        _print_json(document)
        return
    for result in results:
        if result.verdict == "fail":
            console.print(f"✗ {result.case.name}: {result.case.shows}", style="bold red", markup=False, soft_wrap=True)
            for difference in result.differences:
                console.print(f"    {difference}", markup=False, soft_wrap=True)
    counts = document["counts"]
    not_run = f" {counts['not run']} were not run." if counts["not run"] else ""
    style = "bold red" if counts["fail"] else "bold green"
    console.print(f"{counts['pass']} of {counts['run']} cases passed in {document['seconds']:.0f} s.{not_run}", style=style)
    console.print(f"The report is {out / 'conformance.html'}", soft_wrap=True, markup=False)


def _print_json(document: dict[str, Any]) -> None:
    sys.stdout.write(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n")
    sys.stdout.flush()
