"""A practice with a configuration of its own, driven as its users drive it: by the command line, as real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mesh_itk3.simulator.hospital import Answers, Hospital
from mesh_itk3.simulator.patients import write_register
from support.sandbox import HOSPITAL, PASSWORD, PRACTICE, SHARED_KEY

COMMAND = [sys.executable, "-m", "mesh_itk3"]
DEADLINE_S = 180.0


@dataclass
class Practice:
    """`directory` holds configuration, register, ledger, payloads and letters."""

    directory: Path
    url: str
    extra: str = ""
    """More TOML tables."""
    mesh_extra: str = ""
    """More keys of [mesh]."""
    mailbox_extra: str = ""
    """More keys of the mailbox."""
    packages: Path | None = None
    """Where further packages are installed, beside the daemon's own."""

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        write_register(self.directory / "patients.csv", datetime.now(UTC).date())
        self.configure()

    @property
    def config(self) -> Path:
        return self.directory / "mesh-itk3.toml"

    def configure(self) -> None:
        self.config.write_text(f"""\
state_directory = "{self.directory}/state"
[mesh]
environment = "sandbox"
url = "{self.url}"
shared_key = "{SHARED_KEY}"
{self.mesh_extra}
[mailboxes.{PRACTICE}]
ods_code = "A81001"
password = "{PASSWORD}"
poll_interval_s = 1
{self.mailbox_extra}
[patients]
source = "csv"
file = "{self.directory}/patients.csv"
{self.extra}
""")
        self.config.chmod(0o600)

    def command(self, *arguments: str, expect: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Runs `mesh-itk3 …` with this configuration; `expect=None` takes any exit code."""
        done = subprocess.run(
            [*COMMAND, *arguments, "--config", str(self.config)],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
            env=self._environment(),
        )
        assert expect is None or done.returncode == expect, f"exit {done.returncode}: {done.stderr[-3000:]}"
        return done

    def _environment(self) -> dict[str, str]:
        return os.environ | ({"PYTHONPATH": str(self.packages)} if self.packages else {})

    def once(self, expect: int | None = 0) -> subprocess.CompletedProcess[str]:
        return self.command("run", "--once", expect=expect)

    def messages(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.command("messages", "--json").stdout)["messages"]
        return found

    def message(self, mesh_message_id: str) -> dict[str, Any]:
        return next(message for message in self.messages() if message["mesh_message_id"] == mesh_message_id)

    def letters(self) -> list[Path]:
        """Every filed letter's directory."""
        return sorted(path.parent for path in (self.directory / "state" / "letters").glob("*/*/metadata.json"))

    def letter(self, mesh_message_id: str) -> Path | None:
        """The filed letter of this message."""
        for letter in self.letters():
            if json.loads((letter / "metadata.json").read_text())["mesh_message_id"] == mesh_message_id:
                return letter
        return None

    @contextmanager
    def running(self, *, by: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """The daemon as a process, its log in `daemon.log`; ended with SIGTERM. `by`: a program that starts it otherwise."""
        with (self.directory / "daemon.log").open("ab") as log:
            command = [*COMMAND, "run", "--config"] if by is None else [sys.executable, str(by)]
            command.append(str(self.config))
            process = subprocess.Popen(command, stderr=log, stdout=log, env=self._environment())
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(DEADLINE_S)

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The lines of `daemon.log` with this event."""
        whole, _, _ = (self.directory / "daemon.log").read_text().rpartition("\n")  # the last line is being written
        return [line for line in map(json.loads, whole.splitlines()) if line["event"] == event]


def a_hospital(url: str) -> Hospital:
    return Hospital(url, HOSPITAL, PASSWORD, SHARED_KEY)


def codes(answers: Answers) -> tuple[str | None, str | None]:
    """Infrastructure and business code that came back."""
    one, other = answers.to("infrastructure"), answers.to("business")
    return (one.code if one else None, other.code if other else None)
