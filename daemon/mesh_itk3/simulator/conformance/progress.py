"""How far a run has come: a bar on a terminal, plain lines elsewhere, nothing where a script reads the output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Tell = Callable[[int, int, str], None]
EVERY: Final = 25
"""Cases between two plain lines."""


@contextmanager
def telling(console: Console, *, is_silent: bool) -> Iterator[Tell]:
    """A function that is told (done, of, case), and shows it."""
    if is_silent:
        yield lambda *_: None
    elif console.is_terminal:
        with _bar(console) as tell:
            yield tell
    else:
        yield _Lines(console)


@contextmanager
def _bar(console: Console) -> Iterator[Tell]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=None)

        def tell(done: int, of: int, name: str) -> None:
            progress.update(task, completed=done, total=of, description=name[:40])

        yield tell


class _Lines:
    """One line at the start, after every so many cases, and at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = -1

    def __call__(self, done: int, of: int, _name: str) -> None:
        if done == self._said or (self._said >= 0 and done < of and done < self._said + EVERY):
            return
        self._said = done
        self._console.print(f"{done:>4} of {of} cases", highlight=False)
