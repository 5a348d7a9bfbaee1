"""A practice behind a faulty MESH: the composed daemon in this process, time that the test holds, and the evidence for the
oracle of `mesh-itk3 prove`, seen from the other side: what the hospital sent and got, what MESH holds, what lies on the disk.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from mesh_itk3.adapters.ledger import migrate
from mesh_itk3.adapters.mesh_mailbox import MeshMailbox
from mesh_itk3.daemon import Daemon
from mesh_itk3.simulator.correspondence import Sent
from mesh_itk3.simulator.faulty_mesh import FaultyMesh
from mesh_itk3.simulator.hospital import Hospital
from mesh_itk3.simulator.messages import a_message
from mesh_itk3.simulator.prove.evidence import Evidence, Message, Sending, Violation
from mesh_itk3.simulator.prove.gather import Disk, digest
from mesh_itk3.simulator.prove.oracle import at_any_time, in_the_end
from support.composed import a_composed_daemon
from support.practice import a_hospital, codes
from support.sandbox import HOSPITAL, PRACTICE, Sandbox, connection
from support.stage_world import FakeClock, captured

WORKFLOW = "TOC_FHIR_IP_DISCH"
ANSWERED = ("20013", "30001")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CHUNK_BYTES = 2_000
"""Of what we send: a response becomes several chunks."""
ALERTS = ("mailbox.unavailable", "credentials.rejected")
EVERY_S = (("handshake", 60), ("collect", 300), ("track", 600))


@cache
def letter(number: int) -> bytes:
    """Made once: it takes longer than its whole way through the daemon."""
    return a_message("ITK003D", seed=f"fault-{number}", optional_sections=False)


@dataclass
class Play:
    """One practice, its hospital and the proxy between; `close` it."""

    directory: Path
    sandbox: Sandbox
    proxy: FaultyMesh
    empty_ledger: Path
    connection: dict[str, Any] = field(default_factory=dict)
    """How the practice reaches MESH, where that differs."""

    def __post_init__(self) -> None:
        state = self.directory / "state"
        state.mkdir(parents=True)
        shutil.copy(self.empty_ledger, state / "ledger.db")
        self.clock = FakeClock(datetime.now(UTC))
        settings = {"chunk_bytes": CHUNK_BYTES, "first_pause_s": 0.001, "timeout_s": 30.0} | self.connection
        self.mailbox = MeshMailbox(connection(self.proxy.url, PRACTICE, **settings))
        self.daemon: Daemon = a_composed_daemon(self.directory, self.mailbox, clock=self.clock)
        self.said: list[Mapping[str, Any]] = captured()
        self.hospital: Hospital = a_hospital(self.sandbox.url)
        self.sent: list[Sent] = []
        self.messages: list[Message] = []
        self.got: list[Sending] = []
        """All responses that came back, in their order."""
        self.too_early: list[str] = []
        """Acknowledged before they were durable."""
        self.reached: list[tuple[str, str]] = []
        """Verb and path of each call that MESH has seen, in order."""
        self.proxy.before = self._before
        self._ran_at: dict[str, datetime] = {}

    def close(self) -> None:
        self.daemon.close()
        self.hospital.close()
        self.proxy.stop()

    def letters_arrive(self) -> None:
        """One in one piece, and one in three chunks."""
        for number in (0, 1):
            body = letter(number)
            chunk_bytes = len(body) // 3 + 1 if number else None
            sent = self.hospital.send(body, to=PRACTICE, workflow_id=WORKFLOW, chunk_bytes=chunk_bytes)
            self.sent.append(sent)
            self.messages.append(
                Message(sent.mesh_message_id, digest(body), sent.message_header_id, ANSWERED, True, "completed")
            )

    def run(self, *, minutes: float, step_s: int) -> None:
        """As the scheduler runs them: every job at its own interval, the stages between after each poll."""
        for _ in range(int(minutes * 60 / step_s)):
            for name, every_s in EVERY_S:
                if self._is_due(name, every_s):
                    getattr(self.daemon, name)(PRACTICE)
            while self._is_due("stages", 300) and self.daemon.interpret() + self.daemon.dispatch() + self.daemon.correlate():
                self._ran_at.pop("stages")
            self.daemon.respond(PRACTICE)
            self.clock.advance(seconds=step_s)

    def _is_due(self, name: str, every_s: int) -> bool:
        """Whether to run it now; then it has been."""
        now = self.clock.now()
        if now - self._ran_at.get(name, EPOCH) < timedelta(seconds=every_s):
            return False
        self._ran_at[name] = now
        return True

    def _before(self, verb: str, path: str) -> None:
        self.reached.append((verb, path))
        if verb == "acknowledge" and not self._is_durable(path.split("/")[4]):
            self.too_early.append(path)

    def _is_durable(self, mesh_message_id: str) -> bool:
        """As somebody else sees it, who opens the ledger's file and looks at the payload's."""
        found = f"SELECT payload_name, payload_bytes FROM message WHERE mesh_message_id = '{mesh_message_id}'"  # noqa: S608
        with closing(sqlite3.connect(f"file:{self.directory}/state/ledger.db?mode=ro", uri=True)) as connection:
            row = connection.execute(found).fetchone()
        if row is None:
            return False
        files = self.directory / "state" / "payloads"
        return any(path.stat().st_size == row[1] for path in files.rglob(Path(row[0]).name))

    # -------------------------------------------------------------------------------------------- the other side

    def hospital_reads(self) -> None:
        for received in self.hospital.read_inbox():
            said = received.response
            code, answers = (said.code, said.answers) if said else (None, None)
            sending = Sending(received.local_id or "", digest(received.body), HOSPITAL, code or "none", answers or "nothing")
            self.got.append(sending)

    def answers(self) -> list[tuple[str | None, str | None]]:
        """Infrastructure and business code that came back for each letter."""
        self.hospital_reads()
        return [codes(self.hospital.responses_to(sent)) for sent in self.sent]

    def wrong_in_the_end(self) -> list[Violation]:
        """What does not hold of a practice that has nothing more to do."""
        return in_the_end(self._evidence())

    def _evidence(self) -> Evidence:
        self.hospital_reads()
        disk, inbox = Disk(self.directory), self.sandbox.window().inbox(PRACTICE)
        rows = disk.rows([each.mesh_message_id for each in self.messages], disk.ledger)
        return Evidence(HOSPITAL, self.messages, inbox, self.got, rows, [disk.letter(path) for path in disk.letter_paths()])

    def doubled(self) -> int:
        """So many responses came again, each as it was; nothing else has gone wrong so far."""
        wrong = at_any_time(self._evidence())
        assert wrong == [], wrong
        return self.repeated()

    def repeated(self) -> int:
        """So many responses came again."""
        self.hospital_reads()
        return len(self.got) - len({each.local_id for each in self.got})

    def events(self) -> Counter[str]:
        return Counter(line["event"] for line in self.said)

    def status(self) -> Mapping[str, Any]:
        return {state.value: n for (_, state), n in self.daemon.ledger.overview().responses.items()}


def an_empty_ledger(directory: Path) -> Path:
    """Made once and copied: a migration takes longer than a round."""
    migrate(f"sqlite:///{directory}/ledger.db", datetime.now(UTC))
    with suppress(FileNotFoundError):
        (directory / "ledger.db-wal").unlink()
    return directory / "ledger.db"
