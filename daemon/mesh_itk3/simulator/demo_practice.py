"""The practice of the demo: its folder, its configuration, its daemon as a process, and the letters that it files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import orjson

from mesh_itk3.simulator import sandbox
from mesh_itk3.simulator.choices import PRACTICE_ODS
from mesh_itk3.simulator.failure import SimulationFailed
from mesh_itk3.simulator.leash import leashed
from mesh_itk3.simulator.patients import write_register

STOP_WITHIN_S: Final = 25.0
COMMAND_WITHIN_S: Final = 30.0
PROGRAM: Final = [sys.executable, "-m", "mesh_itk3"]

# Ours would win over the demo's own configuration, and might name a real MESH; systemd's belong to another service.
NOT_PASSED_ON: Final = ("MESH_ITK3_", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_", "JOURNAL_STREAM")

CONFIGURATION: Final = """\
# Written by `mesh-itk3 demo`. All patients are invented.
log_level = "info"

[mesh]
environment = "sandbox"
url = {url}
shared_key = {shared_key}

[mailboxes.{mailbox}]
ods_code = "{ods_code}"
password = {password}
poll_interval_s = 1

[ledger]
url = {ledger}

[payloads]
directory = {payloads}

[patients]
source = "csv"
file = {patients}

[handlers.transfer_of_care]
output = {letters}

[handlers.discharge_letters]
output = {letters}
"""


@dataclass(frozen=True, slots=True)
class Folder:
    """Everything of one demo, under one directory."""

    root: Path

    @property
    def configuration(self) -> Path:
        return self.root / "mesh-itk3.toml"

    @property
    def letters(self) -> Path:
        return self.root / "letters"

    @property
    def daemon_log(self) -> Path:
        return self.root / "daemon.log"

    @property
    def sandbox_log(self) -> Path:
        return self.root / "sandbox.log"

    @property
    def hospital_log(self) -> Path:
        return self.root / "hospital.jsonl"


@dataclass(frozen=True, slots=True)
class Filed:
    """One letter on disk: where, and whether the received bytes are the bytes that were sent."""

    path: str
    message: bytes | None
    missing: tuple[str, ...]


def write_configuration(folder: Folder, url: str, today: date) -> None:
    """The ten lines that a practice would write, and a register of the cast."""
    patients = folder.root / "patients.csv"
    write_register(patients, today)
    text = CONFIGURATION.format(
        url=_toml(url),
        shared_key=_toml(sandbox.SHARED_KEY),
        mailbox=sandbox.PRACTICE_MAILBOX,
        ods_code=PRACTICE_ODS,
        password=_toml(sandbox.PASSWORD),
        ledger=_toml(f"sqlite:///{folder.root / 'ledger.db'}"),
        payloads=_toml(str(folder.root / "payloads")),
        patients=_toml(str(patients)),
        letters=_toml(str(folder.letters)),
    )
    folder.configuration.write_text(text, encoding="utf-8")
    folder.configuration.chmod(0o600)


def _toml(text: str) -> str:
    return orjson.dumps(text).decode()  # a JSON string is a TOML basic string


class Daemon:
    """`mesh-itk3 run` as a process of our own; its log goes to a file. It dies with us, however we die."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        with folder.daemon_log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # a command line of ours
                leashed([*PROGRAM, "run", "--config", str(folder.configuration)]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=child_environment(os.environ),
                start_new_session=True,  # Ctrl-C reaches us alone, and we stop it in our own order
            )

    def ensure_running(self) -> None:
        """Raises SimulationFailed, with the last line that it wrote, where it has ended."""
        code = self._process.poll()
        if code is not None:
            raise SimulationFailed(f"the daemon ended with exit code {code}: {last_line(self._folder.daemon_log)}")

    def stop(self) -> int:
        """Stops it as systemd would; its exit code. Safe to repeat."""
        return sandbox.end(self._process, within_s=STOP_WITHIN_S)


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith(NOT_PASSED_ON)}


def last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return next((line for line in reversed(lines) if line.strip()), "it wrote nothing")[:300]


def respond(folder: Folder, mesh_message_id: str, code: str, by: str) -> str | None:
    """A person's decision, through the command that a person uses. None when it was taken, else what the command said."""
    command = [*PROGRAM, "respond", mesh_message_id, code, "--by", by, "--config", str(folder.configuration)]
    try:
        done = subprocess.run(  # noqa: S603  # a command line of ours
            command, capture_output=True, text=True, timeout=COMMAND_WITHIN_S, check=False, env=child_environment(os.environ)
        )
    except subprocess.TimeoutExpired:
        return "the command did not end"
    return None if done.returncode == 0 else (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}")


def filed_letters(folder: Folder) -> dict[str, Filed]:
    """Every filed letter by the MESH id of its message."""
    found = {}
    # A name that begins with a dot is a letter that is still being written.
    for metadata in sorted(folder.letters.glob("[!.]*/[!.]*/metadata.json")):
        try:
            mesh_message_id = orjson.loads(metadata.read_bytes())["mesh_message_id"]
        except (ValueError, KeyError) as error:
            raise SimulationFailed(f"{metadata} cannot be read") from error
        found[mesh_message_id] = _filed(folder, metadata.parent)
    return found


def _filed(folder: Folder, letter: Path) -> Filed:
    message = letter / "message.xml"
    wanted = ("letter.html", "message.xml", "metadata.json")
    return Filed(
        path=str(letter.relative_to(folder.letters)),
        message=message.read_bytes() if message.exists() else None,
        missing=tuple(name for name in wanted if not (letter / name).exists()),
    )
