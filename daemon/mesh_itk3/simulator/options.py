"""Options and help texts of `demo`, `conformance` and `prove`. What they do is imported when they are called."""

# ruff: noqa: D301 - a backspace (\b) in a help text marks a paragraph that is not to be filled

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def demo(
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running, to explore; Ctrl-C ends it.")] = False,
    directory: Annotated[
        Path | None, typer.Option("--directory", metavar="DIR", help="Where to put ledger, letters and logs of the demo.")
    ] = None,
    json: Json = False,
) -> int:
    """Show everything at work on this machine, in half a minute.

    Starts the official MESH sandbox, a simulated hospital and the daemon. The hospital sends letters, good and bad; a
    table shows what it was answered and where each letter was filed. Nothing leaves this machine; all patients are
    invented.

    \b
    Examples:
      mesh-itk3 demo
      mesh-itk3 demo --keep --directory /tmp/demo
    """
    from mesh_itk3.simulator.demo import run_demo

    return run_demo(keep=keep, json=json, directory=directory)


def conformance(
    *,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="A new directory for the report and the exchanged messages.")
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option("--samples", metavar="DIR", help="The folder of official samples; without it their cases are not run."),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option("--only", metavar="PATTERN", help="Only cases whose name, group or practice fits, e.g. 'duplicate-*'."),
    ] = None,
    daemon: Annotated[
        str | None,
        typer.Option("--daemon", metavar="COMMAND", help="Run this in place of mesh-itk3; it is given: run --config FILE."),
    ] = None,
    list_only: Annotated[bool, typer.Option("--list", help="Show the cases and run nothing.")] = False,
    json: Json = False,
) -> int:
    """Prove, case by case, how messages are answered.

    Runs the daemon against a simulated hospital through the official MESH sandbox, over a table of cases: every response
    code, pattern of exchange and strictness, duplicates, hostile messages. Writes an evidence report (HTML and JSON) with
    every message sent and every response received. Takes a minute or two.

    \b
    Examples:
      mesh-itk3 conformance --out /tmp/evidence
      mesh-itk3 conformance --out /tmp/evidence --samples ~/itk3-samples
      mesh-itk3 conformance --list --only 'Duplicates'

    Exits 0 if every case that was run passed, 1 if one failed, 2 if the command was used wrongly.
    """
    from mesh_itk3.simulator.conformance.command import Wish, list_cases, run_conformance

    if list_only:
        return list_cases(only, as_json=json)
    return run_conformance(Wish(out, samples, only, daemon, json))


def prove(
    *,
    trials: Annotated[
        int | None, typer.Option("--trials", metavar="N", min=1, help="How many trials; 100 without it, or 1 of a replay.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option("--budget", metavar="SECONDS", min=1, help="Begin no further trial after so many seconds.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="S", min=0, help="Seed of the first trial; the next has the next number.")
    ] = None,
    replay: Annotated[
        Path | None, typer.Option("--replay", metavar="FILE", help="Run the trial stored in this file once more.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where trials that violate something are stored.")] = Path(
        "prove-failures"
    ),
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write the report there, in Markdown.")
    ] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", metavar="N", min=1, help="Trials at a time; one for each core.")] = None,
    json: Json = False,
    daemon: Annotated[str | None, typer.Option("--daemon", hidden=True)] = None,
) -> int:
    """Kill the daemon again and again; prove that nothing is lost.

    Each trial sends a few letters through the official MESH sandbox on this machine, kills the real daemon (SIGKILL) at a
    random point, lets MESH and the line to it fail, starts it again, and judges what became of every letter: nothing lost,
    nothing answered or filed twice. Everything in a trial comes from its seed.

    \b
    Examples:
      mesh-itk3 prove
      mesh-itk3 prove --trials 10000 --seed 1 --report crash-trials.md
      mesh-itk3 prove --replay prove-failures/seed-17/trial.json

    Exits 0 if nothing was violated, 1 if something was, 2 if the command was used wrongly.
    """
    from mesh_itk3.simulator.prove.command import Wish, run_prove

    return run_prove(Wish(trials, budget, seed, replay, out, report, jobs, json, daemon))
