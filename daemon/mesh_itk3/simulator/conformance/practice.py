"""A practice of the conformance run: its directory, its daemon as a process, and what the daemon says of its messages."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from mesh_itk3.simulator import sandbox
from mesh_itk3.simulator.conformance.judge import Filed
from mesh_itk3.simulator.conformance.setups import Setup, configuration
from mesh_itk3.simulator.demo_practice import PROGRAM, STOP_WITHIN_S, child_environment, last_line
from mesh_itk3.simulator.failure import SimulationFailed
from mesh_itk3.simulator.hospital import Hospital
from mesh_itk3.simulator.leash import leashed
from mesh_itk3.simulator.patients import CAST, WALTER_DECEASED_LONG_AGO, write_register

COMMAND_WITHIN_S: Final = 60.0
UNFINISHED: Final = ("received", "accepted")
"""States of messages that the daemon has not finished with."""


class Practice:
    """Start it, ask it, stop it. Raises SimulationFailed where its daemon does not run."""

    def __init__(self, setup: Setup, root: Path, url: str, program: Sequence[str]) -> None:
        self.setup = setup
        self.root = root
        self.configuration = root / "mesh-itk3.toml"
        self.log = root / "daemon.log"
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._inbox = Hospital(url, setup.mailbox_id, sandbox.PASSWORD, sandbox.SHARED_KEY)
        root.mkdir(parents=True)
        self.configuration.write_text(configuration(setup, url, str(root)), encoding="utf-8")
        self.configuration.chmod(0o600)
        write_register(root / "patients.csv", datetime.now(UTC).date(), (*CAST, WALTER_DECEASED_LONG_AGO))

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # ours, or what the caller of the command named
                leashed([*self._program, "run", "--config", str(self.configuration)]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=child_environment(os.environ),
                start_new_session=True,  # Ctrl-C reaches us alone, and we stop it in our own order
            )

    def ensure_running(self) -> None:
        """Raises SimulationFailed, with the last line that it wrote, where it has ended."""
        code = self._process.poll() if self._process else None
        if code is not None:
            raise SimulationFailed(f"the daemon of {self.setup.name!r} ended with exit code {code}: {last_line(self.log)}")

    def stop(self) -> int:
        """As systemd would; its exit code. Safe to repeat."""
        self._inbox.close()
        return sandbox.end(self._process, within_s=STOP_WITHIN_S) if self._process else 0

    # ------------------------------------------------------------------------------------ what it says

    def records(self) -> dict[str, Mapping[str, Any]]:
        """Rows of `mesh-itk3 messages --json`, by MESH id; none before the daemon has made its ledger."""
        done = self._command("messages", "--json")
        if done.returncode:
            return {}
        return {row["mesh_message_id"]: row for row in orjson.loads(done.stdout)["messages"]}

    def owed(self) -> frozenset[str]:
        """MESH ids of the messages about whose answer `mesh-itk3 owed` wants somebody to do something."""
        rows = orjson.loads(self._command("owed", "--json").stdout)["owed"]
        return frozenset(row["mesh_message_id"] for row in rows if row["reason"] or row["kind"] in ("decision", "parked"))

    def decide(self, mesh_message_id: str, code: str) -> bool:
        """A person's decision; whether it was taken."""
        return self._command("respond", mesh_message_id, code, "--by", "Conformance").returncode == 0

    def waiting(self) -> frozenset[str]:
        """MESH ids in its inbox that are not acknowledged yet."""
        return frozenset(self._inbox.waiting())

    def is_settled(self, taken: frozenset[str], left: frozenset[str]) -> bool:
        """Whether it has finished with all that it was sent: the MESH ids that it has to take, and those that it has to
        leave.
        """
        if not self.waiting() <= left:
            return False
        records = self.records()
        if not taken <= records.keys():
            return False
        return not any(row["state"] in UNFINISHED or _owes(row) for row in records.values())

    def refused(self) -> frozenset[str]:
        """MESH ids of which the log says that they were refused."""
        lines = self.log.read_bytes().splitlines() if self.log.exists() else []
        found = (orjson.loads(line) for line in lines if b'"message.rejected"' in line and line.startswith(b"{"))
        return frozenset(line.get("mesh_message_id", "") for line in found)

    def filed(self, bodies: Mapping[str, bytes]) -> dict[str, Filed]:
        """Every filed letter, by the MESH id of its message; `bodies` is what the hospital sent."""
        found = {}
        # A name that begins with a dot is a letter that is still being written.
        for metadata in self.root.glob("state/letters/[!.]*/[!.]*/metadata.json"):
            mesh_message_id = str(orjson.loads(metadata.read_bytes())["mesh_message_id"])
            found[mesh_message_id] = _filed(metadata.parent, bodies.get(mesh_message_id))
        return found

    def _command(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [*PROGRAM, *arguments, "--config", str(self.configuration)]
        try:
            return subprocess.run(  # noqa: S603  # a command line of ours
                command, capture_output=True, timeout=COMMAND_WITHIN_S, check=False, env=child_environment(os.environ)
            )
        except subprocess.TimeoutExpired as error:
            raise SimulationFailed(f"mesh-itk3 {arguments[0]} did not end within {COMMAND_WITHIN_S:.0f} s") from error


def _owes(row: Mapping[str, Any]) -> bool:
    """Something is still to be sent. A business response behind an infrastructure response that MESH has refused waits for
    an operator.
    """
    states = {response["state"] for response in row["responses"]}
    return "owed" in states and "parked" not in states


def _filed(letter: Path, body: bytes | None) -> Filed:
    messages = [letter / name for name in ("message.xml", "message.json") if (letter / name).exists()]
    return Filed(
        has_same_bytes=[each.read_bytes() for each in messages] == [body],
        missing=tuple(name for name in ("letter.html", "metadata.json") if not (letter / name).exists()),
        attachments=len(list(letter.glob("attachments/*"))),
    )


def program_of(command: str | None) -> list[str]:
    """The command line of a daemon: ours, or the caller's. Raises SimulationFailed where that is none."""
    if command is None:
        return list(PROGRAM)
    words = shlex.split(command)
    found = shutil.which(words[0]) if words else None
    if found is None:
        raise SimulationFailed(f"--daemon names no command that can be run: {command}")
    return [str(Path(found).absolute()), *words[1:]]
