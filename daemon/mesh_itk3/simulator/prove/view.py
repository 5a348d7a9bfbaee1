"""How a run of trials looks to a person: a bar on a terminal, plain lines elsewhere, and what it came to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from mesh_itk3.simulator.prove.summary import Summary

Tell = Callable[[Summary], None]
EVERY: Final = 250
"""Trials between two plain lines."""
MOST_SHOWN: Final = 20
"""Failed trials that are named; all of them are stored."""


@contextmanager
def telling(console: Console, of: int, *, is_silent: bool) -> Iterator[Tell]:
    """A function that is told how far the run is, and shows it."""
    if is_silent:
        yield lambda _: None
    elif console.is_terminal:
        with _bar(console, of) as tell:
            yield tell
    else:
        yield _Lines(console, of)


@contextmanager
def _bar(console: Console, of: int) -> Iterator[Tell]:
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting the MESH sandbox", total=of)

        def tell(summary: Summary) -> None:
            progress.update(task, completed=summary.trials, description=_in_short(summary))

        yield tell


def _in_short(summary: Summary) -> str:
    wrong = f"[bold red]{len(summary.failed)} violated[/]" if summary.failed else "0 violated"
    return f"{summary.kills:,} kills, {summary.faults.total():,} faults, {wrong}"


class _Lines:
    """A line after every so many trials."""

    def __init__(self, console: Console, of: int) -> None:
        self._console, self._of = console, of
        console.print(f"{of} trials")

    def __call__(self, summary: Summary) -> None:
        if summary.trials % EVERY == 0 and summary.trials < self._of:
            self._console.print(f"{summary.trials:>6} of {self._of}: {Text.from_markup(_in_short(summary)).plain}")


def show(console: Console, document: Mapping[str, Any]) -> None:
    """What it came to."""
    for failure in document["failed"][:MOST_SHOWN]:
        console.print(f"✗ seed {failure['seed']}", style="bold red", markup=False)
        for each in failure["violations"][:MOST_SHOWN]:
            console.print(f"    {each['invariant']}: {each['what']}", markup=False, soft_wrap=True)
        console.print(f"    again: {failure['replay']}", markup=False, soft_wrap=True)
    if (more := len(document["failed"]) - MOST_SHOWN) > 0:
        console.print(f"and {more} more trials with a violation; all are stored beside these", style="bold red")
    for seed in document["not_run"]:
        console.print(f"✗ seed {seed} could not be run: its sandbox or its worker failed", style="bold red", markup=False)
    if not document["passed"]:
        console.print()
    console.print(_table(document))
    console.print(_verdict(document), style="bold green" if document["passed"] else "bold red")


def _table(document: Mapping[str, Any]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(justify="right", style="bold")
    table.add_column()
    for count, name in _rows(document):
        table.add_row(f"{count:,}" if isinstance(count, int) else count, name)
    return table


def _rows(document: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
    service = sum(document["service_trials"].values())
    asked = f" of {document['trials_asked']:,}" if document["trials"] < document["trials_asked"] else ""
    seeds = f"seeds {document['seed']} to {document['last_seed']}"
    yield document["trials"], f"trials{asked}, {seeds}, {document['seconds']:,.0f} s"
    yield document["runs"], f"runs of the daemon, and {service:,} trials with the running service"
    yield document["kills"], f"kills, {document['kills_at_a_time']:,} of them at a random time"
    yield document["faults"], "faults of MESH or of the disk"
    yield document["operator_commands"], "commands of an operator"
    yield document["messages"], "messages"
    yield document["responses"], "responses on the wire"
    yield document["repeated_byte_identically"], "repeated, byte for byte the same"
    yield document["lost"], "lost"
    yield document["duplicated"], "duplicated"


def _verdict(document: Mapping[str, Any]) -> str:
    cut = " (stopped before the end)" if document["is_cut_short"] else ""
    if not document["trials"]:
        return f"No trial was run{cut}."
    if document["passed"]:
        return f"Nothing was lost, nothing was answered twice{cut}."
    if not document["failed"]:
        return f"{len(document['not_run'])} trials could not be run{cut}."
    return f"{len(document['failed'])} of {document['trials']} trials violated something{cut}."
