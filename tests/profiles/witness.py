"""Sees every response that a test produces, where it leaves our own code, and has it judged when the test ends.

Four places, none of them inside the daemon: what the MESH sandbox is sent (its log of calls), what a
`FakeMailbox` is sent, the outbox of every SQLite ledger that the test leaves in its directory, and the evidence of a
conformance run there.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from profiles import definitions, responses
from profiles.elements import Finding

HOSPITAL = "X26ABC1"
"""Whatever it sends is not ours: it plays a sender that may be broken."""
TAKEN = range(200, 300)
PLACEHOLDER_BYTES = 100
"""Tests of the ledger itself put a few bytes where a response would be; no response is that short."""


class Witness:
    """One for the whole run; `take` returns what has been seen since the last time."""

    def __init__(self) -> None:
        self._sent: list[tuple[str, bytes]] = []
        self._judged: dict[bytes, list[Finding]] = {}
        self._log: Path | None = None
        self._offset = 0
        self.seen = 0
        self._judged_elsewhere: set[str] = set()

    def sent(self, sender_mailbox_id: str, workflow_id: str, body: bytes) -> None:
        """Something was handed to MESH. It is ours to judge if one of our mailboxes sent it as a response."""
        if sender_mailbox_id != HOSPITAL and (workflow_id.endswith("_ACK") or responses.is_response(body)):
            self._sent.append((f"sent on {workflow_id}", body))

    def watches(self, log: Path | None) -> None:
        """The file to which the sandbox adds a line for every call; from its beginning."""
        self._log, self._offset = log, 0

    def take(self, directory: Path | None) -> list[tuple[str, bytes]]:
        """Where each was seen, and its bytes; `directory` is the test's own."""
        self._sent += [_from_wire(call) for call in self._calls() if _is_ours(call)]
        taken, self._sent = self._sent, []
        taken += [found for ledger in _ledgers(directory) for found in _outbox(ledger)]
        return taken + list(_evidence(directory))

    def _calls(self) -> Iterator[dict[str, Any]]:
        if self._log is not None and self._log.exists():
            with self._log.open("rb") as log:
                log.seek(self._offset)
                whole, newline, _ = log.read().rpartition(b"\n")
            self._offset += len(whole) + len(newline)
            yield from map(json.loads, whole.splitlines())

    def judge(self, raw: bytes) -> list[Finding]:
        """Remembered by digest: a resend, or a body seen in two places, is judged once."""
        self.seen += 1
        digest = hashlib.sha256(raw).digest()
        if digest not in self._judged:
            self._judged[digest] = responses.findings(raw)
        return self._judged[digest]

    def counts(self) -> tuple[int, list[str]]:
        """How many were judged, and the digests of the different ones: for the process that counts them together."""
        return self.seen, [digest.hex() for digest in self._judged]

    def add(self, seen: int, digests: list[str]) -> None:
        """What another process of the same run has judged."""
        self.seen += seen
        self._judged_elsewhere.update(digests)

    @property
    def summary(self) -> str:
        published = "the published StructureDefinitions and " if definitions.folder() else ""
        different = len(self._judged_elsewhere.union(digest.hex() for digest in self._judged))
        return f"{self.seen} responses seen, {different} different, each checked by {published}the rules in tests/profiles"


WITNESS = Witness()


def _is_ours(call: dict[str, Any]) -> bool:
    """A response that MESH took, in one piece: of one that was cut off on its way there are half the bytes."""
    is_response = call["verb"] == "send" and call["mailbox"] != HOSPITAL and call["workflow_id"].endswith("_ACK")
    return is_response and call["chunks"] == "1:1" and call["status"] in TAKEN


def _from_wire(call: dict[str, Any]) -> tuple[str, bytes]:
    body = base64.b64decode(call["body"])
    raw = gzip.decompress(body) if call["encoding"] == "gzip" else body
    return f"sent to the sandbox on {call['workflow_id']}", raw


def _ledgers(directory: Path | None) -> Iterator[Path]:
    if directory is not None and directory.is_dir():
        yield from (file for file in directory.rglob("*.db") if file.is_file() and file.stat().st_size)


def _outbox(ledger: Path) -> list[tuple[str, bytes]]:
    """Every response body in this ledger; none where it is no ledger, or one that a test has damaged."""
    try:
        with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT body FROM response_body").fetchall()
    except sqlite3.Error:
        return []
    return [(f"in the outbox of {ledger.name}", bytes(body)) for (body,) in rows if len(body) > PLACEHOLDER_BYTES]


def _evidence(directory: Path | None) -> Iterator[tuple[str, bytes]]:
    """What the hospitals of a conformance run received."""
    for file in directory.rglob("exchange/*/received-*") if directory is not None and directory.is_dir() else ():
        yield f"in the evidence of {file.parent.name}", file.read_bytes()
