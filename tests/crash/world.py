"""A practice that is killed again and again, a hospital that remembers what it sent, and what the oracle of `mesh-itk3 prove`
is shown of both.

That is what the sandbox was sent, the practice's inbox in MESH, its letters and its spool; and the ledger only as a copy, so
that looking mends nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from crash.warm import Run, WarmProcess
from mesh_itk3.simulator.correspondence import Sent
from mesh_itk3.simulator.messages import a_message
from mesh_itk3.simulator.prove.evidence import Evidence, Message, Row, Sending
from mesh_itk3.simulator.prove.gather import Disk, digest, sendings_of
from mesh_itk3.simulator.prove.oracle import at_any_time, in_the_end
from support.practice import Practice, a_hospital
from support.sandbox import HOSPITAL, PRACTICE, Sandbox

WORKFLOW = "TOC_FHIR_IP_DISCH"
MOST_ROUNDS = 3
"""A restart whose round leaves something to do is followed by another, as it would be."""


@dataclass(frozen=True)
class Expected:
    """What has to become of one message, however often the daemon dies."""

    sent: Sent
    body: bytes
    codes: tuple[str | None, str | None]
    """Of the infrastructure and the business response."""
    state: str
    is_filed: bool = False
    is_pruned: bool | None = False
    """None: its bytes may be gone, if its row says that retention has let go of them."""

    @property
    def mesh_message_id(self) -> str:
        return self.sent.mesh_message_id

    @property
    def message(self) -> Message:
        """As the oracle is told of it."""
        deserved = tuple(filter(None, self.codes))
        header_id, waits = self.sent.message_header_id, self.state == "awaiting_decision"
        return Message(self.mesh_message_id, digest(self.body), header_id, deserved, self.is_filed, self.state, waits=waits)


@dataclass
class World:
    """One practice and one hospital for a whole sweep: every trial brings its own messages into a ledger that is in use."""

    practice: Practice
    sandbox: Sandbox
    warm: WarmProcess
    hospital: Any
    trials: int = 0
    reported: list[str] = field(default_factory=list)
    """Local ids of responses of which MESH has said that they could not be delivered."""
    sendings: list[Sending] = field(default_factory=list)
    """What the practice has sent in this trial."""
    _letters_before: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.disk = Disk(self.practice.directory)
        self._window = self.sandbox.window()

    # -------------------------------------------------------------------------------------------- what happens

    def send(self, expects: tuple[str | None, str | None], state: str, *, kind: str = "ITK003D", **choices: Any) -> Expected:
        """The hospital sends a letter that no other trial has."""
        self.trials += 1
        body = a_message(kind, seed=f"trial-{self.trials}", **choices)
        sent = self.hospital.send(body, to=PRACTICE, workflow_id=WORKFLOW)
        return Expected(sent, body, expects, state, is_filed=expects[1] == "30001")

    def round(self, **asked: Any) -> Run:
        """`mesh-itk3 run --once`."""
        return self.run("round", **asked)

    def run(self, work: str, **asked: Any) -> Run:
        """One run of the daemon or of a command in a child of the warm process."""
        return self.warm.run(work, self.practice.directory, config=str(self.practice.config), **asked)

    def recover(self) -> None:
        """Restarts until a round leaves nothing to do."""
        for _ in range(MOST_ROUNDS):
            ended = self.round()
            if ended.code == 0:
                return
        raise AssertionError(f"not done after {MOST_ROUNDS} rounds, {ended.code}: {self.log_tail()}")

    def log_tail(self) -> str:
        return (self.practice.directory / "daemon.log").read_text()[-3000:]

    # -------------------------------------------------------------------------------------------- the oracle

    def check_durable(self, expected: list[Expected]) -> None:
        """Right after the kill, before anything restarts: what MESH has let go of is here, whole, and what was answered is
        written.
        """
        evidence = self._evidence(expected)
        wrong = at_any_time(evidence)
        assert wrong == [], wrong  # said here: pytest explains only what stands in a test
        written = {(each.local_id, each.sha256) for row in evidence.rows.values() for each in row.responses}
        assert {(each.local_id, each.sha256) for each in evidence.sendings} <= written, "on the wire, and not to be repeated"

    def check_settled(self, expected: list[Expected]) -> None:
        """After the restart: nothing lost, nothing answered twice, nothing left without a next step."""
        self.hospital.read_inbox()
        wrong = in_the_end(self._evidence(expected))
        assert wrong == [], wrong
        with self.ledger() as ledger:
            _check_nothing_is_stuck(ledger)
            asked = "SELECT state FROM response WHERE local_id = ?"
            assert {ledger.execute(asked, (local_id,)).fetchone()[0] for local_id in self.reported} <= {"undelivered"}
            for each in expected:
                row = self.row(ledger, each)
                assert each.is_pruned in (None, bool(row["payload_pruned_at"]))
                assert row["payload_sha256"] == (None if each.state == "foreign" else each.message.sha256)
        self.forget()

    def forget(self) -> None:
        """What has happened until now belongs to no trial."""
        self._letters_before = self.disk.letter_paths()
        self._window.news(PRACTICE)
        self.sendings = []

    def _evidence(self, expected: list[Expected]) -> Evidence:
        self.sendings += sendings_of(self._window.news(PRACTICE))
        inbox = self._window.inbox(PRACTICE)  # before the ledger: what it has acknowledged must be there
        letters = [self.disk.letter(path) for path in sorted(self.disk.letter_paths() - self._letters_before)]
        with self.ledger() as ledger:
            rows = self.disk.rows([each.mesh_message_id for each in expected], self.disk.root / "copy" / "ledger.db")
            rows = {each: self._with_what_is_elsewhere(ledger, each, row) for each, row in rows.items()}
        return Evidence(HOSPITAL, [each.message for each in expected], inbox, self.sendings, rows, letters)

    def _with_what_is_elsewhere(self, ledger: sqlite3.Connection, mesh_message_id: str, row: Row) -> Row:
        """What is not in the payload store because it was spooled, or is gone by the practice's own rule."""
        stored = ledger.execute("SELECT * FROM message WHERE mesh_message_id = ?", (mesh_message_id,)).fetchone()
        if row.state == "foreign":
            return replace(row, file_sha256=self._spooled(mesh_message_id))
        if stored["payload_pruned_at"]:
            row = replace(row, file_sha256=stored["payload_sha256"])
        gone = {local_id for (local_id,) in ledger.execute("SELECT local_id FROM response WHERE body_pruned_at NOT NULL")}
        on_the_wire = {each.local_id: each.sha256 for each in self.sendings if each.local_id in gone}
        known = (replace(each, sha256=on_the_wire.get(each.local_id, each.sha256)) for each in row.responses)
        return replace(row, responses=tuple(known))

    def _spooled(self, mesh_message_id: str) -> str | None:
        """The digest of what was laid down for another client; None until it is whole."""
        data = self.practice.directory / "state" / "spool" / PRACTICE / f"{mesh_message_id}.dat"
        control = data.with_suffix(".ctl")
        is_whole = control.exists() and control.read_bytes().endswith(b"</DTSControl>\n")
        return digest(data.read_bytes()) if is_whole else None

    # -------------------------------------------------------------------------------------------- what it looks at

    def in_mesh(self) -> set[str]:
        """What waits in the practice's inbox."""
        with closing(self.sandbox.mailbox(PRACTICE)) as mailbox:
            return {waiting for page in mailbox.pages() for waiting in page}

    def letters_of(self, each: Expected) -> list[Path]:
        """Every directory that holds this document."""
        found = (self.practice.directory / "state" / "letters").glob(f"*/{each.sent.message_header_id}*")
        return [letter for letter in found if not letter.name.startswith(".")]

    def is_recorded(self, expected: list[Expected]) -> bool:
        """Whether the living ledger has it that these are acknowledged and all that was owed is sent."""
        file = self.practice.directory / "state" / "ledger.db"
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            owed = connection.execute("SELECT count(*) FROM response WHERE state = 'owed'").fetchone()[0]
            rows = [self.row(connection, each) for each in expected]
        return not owed and all(row["acknowledged_at"] and not row["claimed_at"] for row in rows)

    @contextmanager
    def ledger(self) -> Iterator[sqlite3.Connection]:
        """A copy of the ledger as it lies there."""
        copy = self.disk.copy_ledger(self.disk.root / "copy")
        assert copy is not None
        with closing(sqlite3.connect(copy)) as connection:
            connection.row_factory = sqlite3.Row
            yield connection

    def payload(self, name: str) -> Path:
        """The file of this name in the payload store."""
        return self.practice.directory / "state" / "payloads" / name

    def payloads(self) -> list[Path]:
        """Every file in the payload store."""
        return [path for path in (self.practice.directory / "state" / "payloads").rglob("*") if path.is_file()]

    def backdate_sends(self) -> None:
        """Hours have passed since the last response was sent: MESH is asked what became of it."""
        with closing(sqlite3.connect(self.practice.directory / "state" / "ledger.db")) as connection, connection:
            hours_ago = (datetime.now(UTC) - timedelta(hours=3)).isoformat(timespec="microseconds")
            connection.execute("UPDATE response SET sent_at = ? WHERE state = 'sent'", (hours_ago,))

    def let_weeks_pass(self) -> None:
        """All that is in the ledger is forty days older; its responses have arrived."""
        with closing(sqlite3.connect(self.practice.directory / "state" / "ledger.db")) as connection, connection:
            weeks_ago = {"then": (datetime.now(UTC) - timedelta(days=40)).isoformat(timespec="microseconds")}
            columns = ("received_at", "acknowledged_at", "finished_at")
            older = ", ".join(f"{name} = CASE WHEN {name} IS NULL THEN NULL ELSE :then END" for name in columns)
            connection.execute(f"UPDATE message SET {older}", weeks_ago)  # noqa: S608  names of this file
            connection.execute("UPDATE response SET created_at = :then, sent_at = :then", weeks_ago)
            connection.execute("UPDATE response SET state = 'delivered' WHERE state = 'sent'")

    def responses_to(self, each: Expected) -> dict[str, Any]:
        """Our responses to this message, by level."""
        asked = "SELECT * FROM response WHERE mailbox_id = ? AND answered_mesh_message_id = ?"
        with self.ledger() as ledger:
            return {row["level"]: row for row in ledger.execute(asked, (PRACTICE, each.mesh_message_id))}

    def row(self, ledger: sqlite3.Connection, each: Expected) -> Any:
        """This message's row, or None."""
        asked = "SELECT * FROM message WHERE mailbox_id = ? AND mesh_message_id = ?"
        return ledger.execute(asked, (PRACTICE, each.mesh_message_id)).fetchone()


def _check_nothing_is_stuck(ledger: sqlite3.Connection) -> None:
    """Every message has ended or waits for a person, nobody has it in progress, and no response waits."""
    open_states = "('received', 'accepted', 'parked', 'uncorrelated')"
    stuck = f"SELECT count(*) FROM message WHERE state IN {open_states} OR claimed_at IS NOT NULL"  # noqa: S608  constants
    assert ledger.execute(stuck).fetchone()[0] == 0
    assert ledger.execute("SELECT count(*) FROM response WHERE state IN ('owed', 'parked')").fetchone()[0] == 0
    assert ledger.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


@contextmanager
def a_world(
    directory: Path, sandbox: Sandbox, warm: WarmProcess, *, url: str | None = None, mesh_extra: str = ""
) -> Iterator[World]:
    """A practice whose ledger is there already and has taken a letter; it reaches the sandbox at `url`, where one is given."""
    extra = {"mesh_extra": mesh_extra, "mailbox_extra": 'foreign = "spool"'}
    practice = Practice(directory / "practice", url or sandbox.url, **extra)
    with a_hospital(sandbox.url) as hospital:
        world = World(practice, sandbox, warm, hospital)
        world.send(("20013", "30001"), "completed")
        warm.warm_up(practice.config, practice.directory / "daemon.log")
        assert world.round().code == 0
        world.forget()
        yield world
