"""How the demo looks: a live table on a terminal, plain lines elsewhere, and the final table."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mesh_itk3.simulator.demo_cast import Progress, differences
from mesh_itk3.simulator.response_reader import Level

WIDE: Final = 132
"""From this width on every fact has its own column."""


class View:
    """What the demo tells the person in front of it: this one nothing, since with `--json` the document has the output."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def happened(self, at_s: float, what: str) -> None:
        pass

    def show(self, progress: Sequence[Progress]) -> None:
        pass


class PlainLines(View):
    """One line for each thing that happens: for pipes, files and CI."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def happened(self, at_s: float, what: str) -> None:
        self._console.print(f"[{at_s:5.1f} s] {what}", markup=False, highlight=False, soft_wrap=True)


class LiveTable(View):
    """A table that fills while one looks on; it is cleared at the end, for the final one."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, transient=True, refresh_per_second=8)
        self._last = Text("")
        self._progress: Sequence[Progress] = ()

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.__exit__(kind, error, trace)

    def happened(self, at_s: float, what: str) -> None:
        self._last = Text(f"{at_s:5.1f} s  {what}", style="dim", no_wrap=True, overflow="ellipsis")
        self._redraw()

    def show(self, progress: Sequence[Progress]) -> None:
        self._progress = progress
        self._redraw()

    def _redraw(self) -> None:
        self._live.update(Group(live_table(self._progress), self._last))


def live_table(progress: Sequence[Progress]) -> Table:
    """One line for each message, so that it fits a small terminal."""
    table = Table(box=None, pad_edge=False, expand=True, header_style="bold")
    table.add_column("", width=2, justify="right")
    table.add_column("The hospital sent", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("infrastructure", width=14, no_wrap=True)
    table.add_column("business", width=14, no_wrap=True)
    table.add_column("letter", width=8, no_wrap=True)
    for number, each in enumerate(progress, start=1):
        table.add_row(
            str(number), _live_title(each), _live_code(each, "infrastructure"), _live_code(each, "business"), _live_letter(each)
        )
    return table


def _live_code(each: Progress, level: Level) -> Text:
    response = each.answers.to(level)
    if response is not None:
        return coloured_code(each, level)
    if each.sent is None:
        return Text("")
    expected = each.part.expected.business if level == "business" else each.part.expected.infrastructure
    if level == "business" and each.part.decision and each.answers.to("infrastructure") and not each.decided:
        return Text("a person…", style="yellow")
    return Text("…" if expected else "-", style="dim")


def _live_letter(each: Progress) -> Text:
    if each.letter:
        return Text("filed", style="green")
    return Text("" if each.part.expected.is_filed else "-", style="dim")


def title(each: Progress) -> Text:
    text = Text(each.part.title, style="bold").append(f"\n{each.part.kind}", style="not bold dim")
    return text.append(f" {each.part.note}", style="not bold cyan") if each.part.note else text


def _live_title(each: Progress) -> Text:
    text = Text(each.part.title)
    return text.append(f", {each.part.note}", style="cyan") if each.part.note else text


def coloured_code(each: Progress, level: Level, *, with_display: bool = False) -> Text:
    """Green where it is the code that the standard asks for, else red."""
    response = each.answers.to(level)
    expected = each.part.expected.business if level == "business" else each.part.expected.infrastructure
    if response is None:
        return Text("none" if expected is None else "missing", style="dim" if expected is None else "bold red")
    text = Text(response.code or "no code", style="green" if response.code == expected else "bold red")
    return text.append(f" {_short(response.display)}", style="default") if with_display and response.display else text


def _short(display: str) -> str:
    """Without what some displays explain in brackets: `--json` and the plain lines have it all."""
    return display.split(" (", maxsplit=1)[0]


def final_table(progress: Sequence[Progress], width: int, *, encoding: str = "utf-8") -> Table:
    marks = ("✓", "✗") if encoding.startswith("utf") else ("ok", "NO")
    return _wide(progress, marks) if width >= WIDE else _narrow(progress, marks)


def _wide(progress: Sequence[Progress], marks: tuple[str, str]) -> Table:
    table = _table()
    table.add_column("The hospital sent", ratio=4)
    table.add_column("Infrastructure response", ratio=3)
    table.add_column("Business response", ratio=4)
    table.add_column("Letter filed in letters/", width=47)
    table.add_column("", width=max(map(len, marks)))
    for number, each in enumerate(progress, start=1):
        table.add_row(
            str(number),
            title(each),
            coloured_code(each, "infrastructure", with_display=True),
            coloured_code(each, "business", with_display=True),
            _letter_and_differences(each),
            _mark(each, marks),
        )
    return table


def _narrow(progress: Sequence[Progress], marks: tuple[str, str]) -> Table:
    table = _table()
    table.add_column("The hospital sent", ratio=1)
    table.add_column("and got back; letter filed in letters/", width=47)
    table.add_column("", width=max(map(len, marks)))
    for number, each in enumerate(progress, start=1):
        lines = [coloured_code(each, "infrastructure", with_display=True)]
        if each.answers.to("business") or each.part.expected.business:
            lines.append(coloured_code(each, "business", with_display=True))
        found = Group(*lines, _letter_and_differences(each))
        table.add_row(str(number), title(each), found, _mark(each, marks))
    return table


def _table() -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True, header_style="bold")
    table.add_column("", justify="right", width=2)
    return table


def _letter_and_differences(each: Progress) -> Text:
    text = Text(each.letter or "nothing filed", style="" if each.letter else "dim", overflow="fold")
    for difference in differences(each):
        text.append(f"\n{difference}", style="bold red")
    return text


def _mark(each: Progress, marks: tuple[str, str]) -> Text:
    return Text(marks[1], style="bold red") if differences(each) else Text(marks[0], style="bold green")
