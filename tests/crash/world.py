"""A practice that is killed again and again, a hospital that remembers what it sent, and an oracle that joins what both have.

The oracle reads the hospital's inbox, what the sandbox was sent, the practice's inbox in MESH, its letters and its spool; and
the ledger only as a copy, so that looking mends nothing.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from crash.warm import Run, WarmProcess
from mesh_itk3.simulator.correspondence import Sent
from mesh_itk3.simulator.messages import a_message
from mesh_itk3.simulator.response_reader import read_response
from support.practice import Practice, a_hospital, codes
from support.sandbox import PRACTICE, Sandbox

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
    _sends_seen: set[str] = field(default_factory=set)

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
        in_mesh = self.in_mesh()
        with self.ledger() as ledger:
            for each in expected:
                if each.mesh_message_id not in in_mesh:
                    self._check_kept(ledger, each)
            written = {bytes(body) for (body,) in ledger.execute("SELECT body FROM response_body")}
        for _, _, body in self.wire(forget=False):
            assert body in written, "a response is on the wire whose bytes could not be repeated"
        for each in expected:
            self._check_letters_are_whole(each)

    def check_settled(self, expected: list[Expected]) -> None:
        """After the restart: nothing lost, nothing answered twice, nothing left without a next step."""
        self.hospital.read_inbox()
        assert self.hospital.unexplained == ()
        self._check_wire()
        in_mesh = self.in_mesh()
        with self.ledger() as ledger:
            for each in expected:
                assert each.mesh_message_id not in in_mesh, "not acknowledged"
                self._check_one(ledger, each)
            _check_nothing_is_stuck(ledger)
            asked = "SELECT state FROM response WHERE local_id = ?"
            assert {ledger.execute(asked, (local_id,)).fetchone()[0] for local_id in self.reported} <= {"undelivered"}

    def _check_one(self, ledger: sqlite3.Connection, each: Expected) -> None:
        answers = self.hospital.responses_to(each.sent)
        assert codes(answers) == each.codes
        assert answers.surplus == ()
        self._check_kept(ledger, each)
        row = self.row(ledger, each)
        assert (row["state"], row["claimed_at"]) == (each.state, None)
        assert len(self.letters_of(each)) == int(each.is_filed)
        self._check_letters_are_whole(each)

    def _check_kept(self, ledger: sqlite3.Connection, each: Expected) -> None:
        row = self.row(ledger, each)
        assert row is not None, "acknowledged, and not in the ledger"
        if each.state == "foreign":
            spooled = self.practice.directory / "state" / "spool" / PRACTICE / each.mesh_message_id
            assert spooled.with_suffix(".dat").read_bytes() == each.body
            assert spooled.with_suffix(".ctl").read_bytes().endswith(b"</DTSControl>\n")
            return
        if each.is_pruned or (each.is_pruned is None and row["payload_name"] is None):
            assert (row["payload_name"], row["payload_sha256"]) == (None, hashlib.sha256(each.body).hexdigest())
            assert row["payload_pruned_at"]
            return
        assert (self.payload(row["payload_name"]).read_bytes(), row["payload_sha256"]) == (
            each.body,
            hashlib.sha256(each.body).hexdigest(),
        )

    def _check_wire(self) -> None:
        """At most one response of a level to a message, and the same bytes whenever one is repeated."""
        said: dict[tuple[str | None, str | None], set[bytes]] = defaultdict(set)
        for answered, level, body in self.wire(forget=True):
            said[answered, level].add(body)
        assert [key for key, bodies in said.items() if len(bodies) > 1] == []

    def _check_letters_are_whole(self, each: Expected) -> None:
        for letter in self.letters_of(each):
            assert (letter / "message.xml").read_bytes() == each.body
            assert json.loads((letter / "metadata.json").read_bytes())["mesh_message_id"] == each.mesh_message_id

    # -------------------------------------------------------------------------------------------- what it looks at

    def in_mesh(self) -> set[str]:
        """What waits in the practice's inbox."""
        with closing(self.sandbox.mailbox(PRACTICE)) as mailbox:
            return {waiting for page in mailbox.pages() for waiting in page}

    def letters_of(self, each: Expected) -> list[Path]:
        """Every directory that holds this document."""
        found = (self.practice.directory / "state" / "letters").glob(f"*/{each.sent.message_header_id}*")
        return [letter for letter in found if not letter.name.startswith(".")]

    def wire(self, *, forget: bool) -> list[tuple[str | None, str | None, bytes]]:
        """What the practice has sent in this trial: which message each answers, its level, its bytes."""
        found = []
        for file in sorted(self.sandbox.sends.glob("[0-9]*")):
            if file.name in self._sends_seen:
                continue
            head, _, body = file.read_bytes().partition(b"\n")
            about = json.loads(head)
            if about["from"] == PRACTICE:
                body = gzip.decompress(body) if about["encoding"] == "gzip" else body
                response = read_response(body)
                assert response is not None
                found.append((response.answers, response.level, body))
            if forget:
                self._sends_seen.add(file.name)
        return found

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
        copy = self.practice.directory / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for part in ("ledger.db", "ledger.db-wal"):
            original = self.practice.directory / "state" / part
            if original.exists():
                shutil.copy(original, copy / part)
        with closing(sqlite3.connect(copy / "ledger.db")) as connection:
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
        """All that is in the ledger is forty days older; its responses have arrived. What was seen on the wire is forgotten."""
        self.wire(forget=True)
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
        world.wire(forget=True)
        world.send(("20013", "30001"), "completed")
        warm.warm_up(practice.config, practice.directory / "daemon.log")
        assert world.round().code == 0
        yield world
