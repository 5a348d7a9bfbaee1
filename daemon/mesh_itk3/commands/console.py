"""What a person or a script reads: one line for an error, one document for `--json`, never a terminal escape."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import IntEnum
from typing import Any, Final

WIDE: Final = 1_000
"""Columns of a table that is not for a terminal."""


class Exit(IntEnum):
    """The exit codes that scripts and systemd rely on."""

    DONE = 0
    FAILED = 1
    """Something was parked, could not be sent, or a check failed."""
    USAGE = 2
    HELD = 75
    """Another daemon collects the mailbox, or has the message in its hands (EX_TEMPFAIL)."""
    CONFIG = 78
    """EX_CONFIG: systemd does not restart the service."""


class CommandRefused(Exception):
    """A command cannot do what was asked; the text is what a person reads, the exit code what a script reads."""

    def __init__(self, text: str, exit_code: Exit = Exit.USAGE) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def shown(value: object) -> str:
    """Text that is safe on a terminal: ids come from other people's systems and may hold control characters."""
    text = "-" if value is None else str(value)
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


def say_error(text: str) -> None:
    """On standard error; each line of `text` becomes one line that names the program."""
    for line in text.splitlines() or [""]:
        sys.stderr.write(f"mesh-itk3: {shown(line)}\n")


def say(text: str = "") -> None:
    """One line on standard output."""
    sys.stdout.write(f"{text}\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, whole: int = 0) -> None:
    """Aligned columns. Nothing is cut where the output is no terminal: a script may read it. On a narrow one the first
    `whole` columns are the last to be broken: ids are there to be copied.
    """
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    headed = (Column(name, no_wrap=place < whole) for place, name in enumerate(columns))
    table = Table(*headed, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for row in rows:
        table.add_row(*(Text(shown(cell), overflow="fold") for cell in row))
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)


def print_folded(text: str, *, indent: int = 0, is_bold: bool = False) -> None:
    """A paragraph, folded between words at the width of the terminal; one line where the output is none."""
    from rich.console import Console
    from rich.text import Text

    console, margin = Console(), " " * indent
    lines = [margin + shown(text)]
    if sys.stdout.isatty():
        fill = {"initial_indent": margin, "subsequent_indent": margin, "break_on_hyphens": False, "break_long_words": False}
        lines = textwrap.wrap(shown(text), console.width, **fill)  # type: ignore[arg-type]
    for line in lines:
        console.print(Text(line, style="bold" if is_bold else ""), soft_wrap=True)


def counted(number: int, thing: str, things: str | None = None) -> str:
    """`1 message`, `2 messages`."""
    return f"{number} {thing if number == 1 else things or thing + 's'}"


def say_moment(moment: datetime | None) -> str:
    """UTC to the second, as people write it; a dash where there is none."""
    return "-" if moment is None else moment.strftime("%Y-%m-%d %H:%M:%SZ")


def instant(moment: datetime | None) -> str | None:
    """For JSON."""
    return None if moment is None else moment.isoformat()


def print_json(document: Mapping[str, Any]) -> None:
    """One document on standard output. Non-ASCII is escaped, so that any terminal and any locale can take it."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def print_json_list(name: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """`{"name": [...]}` row by row, so that memory does not grow with the list."""
    sys.stdout.write(f"{{{json.dumps(name)}: [")
    for piece in _separated(json.dumps(row) for row in rows):
        sys.stdout.write(piece)
    sys.stdout.write("\n]}\n")


def _separated(pieces: Iterable[str]) -> Iterator[str]:
    before = "\n"
    for piece in pieces:
        yield f"{before}{piece}"
        before = ",\n"
