"""Gathers the evidence of a trial with nothing of the daemon's: the window's log, plain sqlite3, json and hashlib."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import sqlite3
import zlib
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import requests

from mesh_itk3.simulator.failure import SimulationFailed
from mesh_itk3.simulator.prove.evidence import Call, Letter, Row, RowResponse, Sending
from mesh_itk3.simulator.response_reader import read_response

TAKEN: Final = range(200, 300)
WITHIN_S: Final = 60


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


@dataclass(slots=True)
class Window:
    """What the sandbox has seen, and what stands in an inbox."""

    url: str
    log: Path
    _session: requests.Session = field(default_factory=requests.Session)
    _offset: int = 0

    def __post_init__(self) -> None:
        self._session.trust_env = False  # it is on this machine, never behind a proxy

    def forget(self) -> None:
        """Empties sandbox and log: a new batch begins."""
        self._ask("DELETE", "/messageexchange/admin/reset")
        with self.log.open("wb"):
            self._offset = 0

    def inbox(self, mailbox_id: str) -> dict[str, str]:
        """MESH id -> how MESH has it."""
        return {each["id"]: each["status"] for each in self._ask("GET", f"/window/{mailbox_id}")}

    def report(self, fields: dict[str, str]) -> str:
        """MESH's report that a message was not collected, in an inbox; its MESH id."""
        return str(self._ask("POST", "/messageexchange/admin/report", fields)["message_id"])

    def news(self, mailbox_id: str) -> list[dict[str, Any]]:
        """The calls of this mailbox since the last look."""
        if not self.log.exists():
            return []
        with self.log.open("rb") as stream:
            stream.seek(self._offset)
            whole, newline, _ = stream.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        return [line for line in map(json.loads, whole.splitlines()) if line["mailbox"] == mailbox_id]

    def _ask(self, method: str, path: str, body: dict[str, str] | None = None) -> Any:
        try:
            answer = self._session.request(method, self.url + path, json=body, timeout=WITHIN_S)
            answer.raise_for_status()
            return answer.json()
        except (requests.RequestException, ValueError) as error:
            raise SimulationFailed(f"the MESH sandbox did not do what was asked: {type(error).__name__}") from error


def calls_of(lines: Iterable[dict[str, Any]]) -> list[Call]:
    """Every call, whatever its answer."""
    return [Call(line["at"], line["verb"]) for line in lines]


def sendings_of(lines: Iterable[dict[str, Any]]) -> list[Sending]:
    """What MESH has taken."""
    return [_sending(line) for line in taken(lines)]


def taken(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The sends that MESH has taken: of one whose sender died in the middle there are half the bytes."""
    return [line for line in lines if line["verb"] == "send" and line["status"] in TAKEN]


def sent_bytes(line: dict[str, Any]) -> bytes:
    """What was sent."""
    return _plain(base64.b64decode(line["body"]), line["encoding"])


def refused_sending(headers: Mapping[str, str], body: bytes) -> Sending:
    """What was sent and never reached MESH."""
    said = {name.lower(): value for name, value in headers.items()}
    return _of(said.get("mex-localid", ""), said.get("mex-to", ""), _plain(body, said.get("content-encoding", "")))


def _plain(body: bytes, encoding: str) -> bytes:
    return zlib.decompress(body, wbits=47) if encoding == "gzip" else body


def _sending(line: dict[str, Any]) -> Sending:
    return _of(line["local_id"], line["to"], sent_bytes(line))


def _of(local_id: str, to: str, body: bytes) -> Sending:
    response = read_response(body)
    return Sending(
        local_id=local_id,
        sha256=digest(body),
        to=to,
        code=(response.code if response else None) or "none",
        answers=(response.answers if response else None) or "nothing",
    )


# ------------------------------------------------------------------------------------------------ on the disk


@dataclass(frozen=True, slots=True)
class Disk:
    """What a practice has on its disk, under its directory."""

    root: Path

    @property
    def ledger(self) -> Path:
        return self.root / "state" / "ledger.db"

    def copy_ledger(self, to: Path) -> Path | None:
        """As it would be found after the kill; None where there is none yet. No process may have it open."""
        if not self.ledger.exists():
            return None
        shutil.rmtree(to, ignore_errors=True)
        to.mkdir(parents=True)
        for name in ("ledger.db", "ledger.db-wal"):
            if (source := self.ledger.with_name(name)).exists():
                shutil.copyfile(source, to / name)
        return to / "ledger.db"

    def rows(self, mesh_message_ids: Iterable[str], copy: Path | None) -> dict[str, Row]:
        """What this copy of the ledger says of these messages. Raises sqlite3.Error where it cannot be read."""
        if copy is None:
            return {}
        with closing(sqlite3.connect(copy)) as ledger:
            ledger.row_factory = sqlite3.Row
            if not ledger.execute("SELECT 1 FROM sqlite_master WHERE name = 'response_body'").fetchone():
                return {}  # killed while it made its tables
            found = ((each, self._row(ledger, each)) for each in mesh_message_ids)
            return {each: row for each, row in found if row is not None}

    def _row(self, ledger: sqlite3.Connection, mesh_message_id: str) -> Row | None:
        row = ledger.execute("SELECT * FROM message WHERE mesh_message_id = ?", (mesh_message_id,)).fetchone()
        if row is None:
            return None
        responses = ledger.execute(
            "SELECT r.local_id, r.state, b.body FROM response r LEFT JOIN response_body b ON b.local_id = r.local_id"
            " WHERE r.answered_mesh_message_id = ? ORDER BY r.sequence",
            (mesh_message_id,),
        )
        return Row(
            state=row["state"],
            file_sha256=self._payload_sha256(row["payload_name"]),
            is_in_progress=row["claimed_at"] is not None,
            is_due=row["due_at"] is not None,
            responses=tuple(RowResponse(each["local_id"], each["state"], digest(each["body"] or b"")) for each in responses),
        )

    def _payload_sha256(self, name: str | None) -> str | None:
        file = self.root / "state" / "payloads" / name if name else None
        return digest(file.read_bytes()) if file and file.is_file() else None

    def letter_paths(self) -> set[str]:
        """Of every filed letter; a name that begins with a dot is one that is still being written."""
        return {str(path) for path in (self.root / "state" / "letters").glob("[!.]*/[!.]*")}

    def letter(self, path: str) -> Letter:
        """What lies there."""
        folder = Path(path)
        bodies = [folder / name for name in ("message.xml", "message.json") if (folder / name).exists()]
        missing = tuple(name for name in ("letter.html", "metadata.json") if not (folder / name).exists())
        mesh_message_id = ""
        if "metadata.json" not in missing:
            mesh_message_id = json.loads((folder / "metadata.json").read_bytes())["mesh_message_id"]
        return Letter(folder.name, mesh_message_id, digest(bodies[0].read_bytes()) if bodies else None, missing)
