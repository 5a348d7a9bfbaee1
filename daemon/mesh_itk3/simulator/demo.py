"""`mesh-itk3 demo`: sandbox, hospital and daemon on this machine alone, and what came of every message."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

from mesh_itk3.simulator.demo_cast import Progress, differences
from mesh_itk3.simulator.demo_play import LEVELS, Play
from mesh_itk3.simulator.demo_practice import Daemon, Folder, write_configuration
from mesh_itk3.simulator.demo_view import LiveTable, PlainLines, View, final_table
from mesh_itk3.simulator.failure import FAILED, SimulationFailed, complain, ended
from mesh_itk3.simulator.hospital import Hospital
from mesh_itk3.simulator.response_reader import Level
from mesh_itk3.simulator.sandbox import HOSPITAL_MAILBOX, PASSWORD, PRACTICE_MAILBOX, SHARED_KEY, Sandbox


def run_demo(*, keep: bool, json: bool, directory: Path | None) -> int:
    """Runs the show. 0: every message was answered and filed as it should be; 1: something was not, or it could not run.

    `directory` must not exist yet or be empty; without it a temporary one is made. It stays, with all that was filed.
    """
    return ended("demo", lambda: _show(Folder(_prepared(directory)), keep=keep, json=json))


def _prepared(directory: Path | None) -> Path:
    if directory is None:
        return Path(tempfile.mkdtemp(prefix="mesh-itk3-demo-"))
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise SimulationFailed(f"{directory} is not empty; name a new directory")
    return directory.resolve()


def _show(folder: Folder, *, keep: bool, json: bool) -> int:
    console = Console(highlight=False)
    began = time.monotonic()
    with _everything(folder) as (daemon, hospital, practice):
        with _view(console, json=json) as view:
            play = Play(folder, daemon, hospital, view)
            play.run()
        problems = _loose_ends(play, hospital, practice)
        seconds = time.monotonic() - began
        _report(console, folder, play.progress, problems, seconds, json=json)
        if keep:
            _stay(console, folder, daemon, json=json)
        code = daemon.stop()
    if code:
        complain("demo", f"the daemon stopped with exit code {code}; its log is {folder.daemon_log}", FAILED)
    return 1 if code or problems or any(differences(each) for each in play.progress) else 0


@contextmanager
def _everything(folder: Folder) -> Iterator[tuple[Daemon, Hospital, Hospital]]:
    """Sandbox, daemon, and a mailbox for either side; all gone at the end, the daemon first."""
    with Sandbox(folder.sandbox_log) as sandbox:
        write_configuration(folder, sandbox.url, datetime.now(UTC).date())
        daemon = Daemon(folder)
        try:
            with (
                Hospital(sandbox.url, HOSPITAL_MAILBOX, PASSWORD, SHARED_KEY, log=folder.hospital_log) as hospital,
                Hospital(sandbox.url, PRACTICE_MAILBOX, PASSWORD, SHARED_KEY) as practice,
            ):
                yield daemon, hospital, practice
        finally:
            daemon.stop()


def _view(console: Console, *, json: bool) -> View:
    if json:
        return View()
    return LiveTable(console) if console.is_terminal else PlainLines(console)


def _loose_ends(play: Play, hospital: Hospital, practice: Hospital) -> list[str]:
    """What is wrong with the whole, beyond any one message."""
    unread, unexplained = practice.waiting(), hospital.unexplained
    return [
        *([f"{len(unread)} messages were left unacknowledged in MESH"] if unread else []),
        *([f"{len(unexplained)} items reached the hospital that answer nothing it sent"] if unexplained else []),
        *(["the last part was never sent"] if play.progress[-1].sent is None else []),
    ]


def _report(
    console: Console, folder: Folder, progress: Sequence[Progress], problems: list[str], seconds: float, *, json: bool
) -> None:
    wrong = [each for each in progress if differences(each)]
    if json:
        document = _document(folder, progress, problems, seconds)
        sys.stdout.write(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n")
        sys.stdout.flush()
        return
    console.print(final_table(progress, console.width, encoding=console.encoding))
    for problem in problems:
        console.print(f"✗ {problem}", style="bold red")
    good = len(progress) - len(wrong)
    console.print(
        f"{good} of {len(progress)} messages were answered and filed as they should be, in {seconds:.0f} s.",
        style="bold red" if wrong or problems else "bold green",
    )
    console.print(f"The letters are in {folder.letters}; ledger and logs are beside them.", soft_wrap=True)


def _document(folder: Folder, progress: Sequence[Progress], problems: list[str], seconds: float) -> dict[str, Any]:
    return {
        "as_expected": not problems and not any(differences(each) for each in progress),
        "seconds": round(seconds, 1),
        "directory": str(folder.root),
        "configuration": str(folder.configuration),
        "problems": problems,
        "messages": [_row(each) for each in progress],
    }


def _row(each: Progress) -> dict[str, Any]:
    expected = each.part.expected
    return {
        "message": each.part.title,
        "event_code": each.part.kind,
        "workflow_id": each.part.workflow_id,
        "mesh_message_id": each.sent.mesh_message_id if each.sent else None,
        "message_header_id": each.sent.message_header_id if each.sent else None,
        **{level: _response(each, level) for level in LEVELS},
        "letter": each.letter,
        "expected": {"infrastructure": expected.infrastructure, "business": expected.business, "filed": expected.is_filed},
        "as_expected": not differences(each),
        "differences": differences(each),
    }


def _response(each: Progress, level: Level) -> dict[str, str | None] | None:
    response = each.answers.to(level)
    return {"response_code": response.code, "display": response.display} if response else None


def _stay(console: Console, folder: Folder, daemon: Daemon, *, json: bool) -> None:
    """Leaves all running until Ctrl-C. Raises SimulationFailed where the daemon ends by itself."""
    if not json:
        console.print(_invitation(folder), soft_wrap=True, markup=False)
    try:
        while True:
            daemon.ensure_running()
            time.sleep(1)
    except KeyboardInterrupt:
        if not json:
            console.print("\nStopping.")


def _invitation(folder: Folder) -> str:
    beside = Path(sys.executable).with_name("mesh-itk3")
    command = "mesh-itk3" if shutil.which("mesh-itk3") or not beside.exists() else str(beside)
    return f"""
Everything is still running. From another terminal:

  {command} status --config {folder.configuration}
  {command} messages --config {folder.configuration}
  {command} trace ID --config {folder.configuration}      ID: any id that `messages` shows

  {folder.letters}         one directory for each letter; open letter.html
  {folder.daemon_log}      what the daemon says
  {folder.hospital_log}  what the hospital sent and received

Ctrl-C here stops it all."""
