"""Every connection to a SQLite ledger that any process of ours opens is one whose commits survive a power cut."""

from __future__ import annotations

import json
import signal
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mesh_itk3.adapters.ledger import migrate
from mesh_itk3.adapters.ledger.migrate import SHIPPED, Migrations
from mesh_itk3.simulator.messages import a_message
from support.eventually import eventually
from support.practice import Practice, a_hospital, codes
from support.sandbox import PRACTICE

WITNESS = Path(__file__).with_name("witness")
FULL = 2
"""https://www.sqlite.org/pragma.html#pragma_synchronous"""


@pytest.fixture
def notes(tmp_path, monkeypatch):
    monkeypatch.setenv("CONNECTION_NOTES", str(tmp_path / "notes"))
    (tmp_path / "notes").touch()
    return lambda: [json.loads(line) for line in (tmp_path / "notes").read_text().splitlines()]


def found(notes, ledger: Path):
    """What was closed on this ledger. None was opened past the witness, none left open."""
    every = notes()
    opened = Counter((each["pid"], each["opened"]) for each in every if "opened" in each)
    closed = Counter((each["pid"], each["closed"]) for each in every if "closed" in each)
    assert opened == closed
    assert sum(opened.values()) == sum("audited" in each for each in every)
    return [each for each in every if each.get("file") == str(ledger)]


@pytest.mark.sandbox
def test_every_connection_of_every_process_is_wal_and_full(sandbox, tmp_path, notes):
    """The service and its inner process, a round of `--once`, an upgrade with its copy, and the commands."""
    practice = Practice(tmp_path / "practice", sandbox.url, packages=WITNESS)
    ledger = practice.directory / "state" / "ledger.db"
    ledger.parent.mkdir()
    migrate(f"sqlite:///{ledger}", datetime.now(UTC), Migrations(SHIPPED.directory, "0001"))
    with a_hospital(sandbox.url) as hospital, practice.running() as daemon:
        sent = hospital.send(a_message("ITK003D", seed="connections"), to=PRACTICE, workflow_id="TOC_FHIR_IP_DISCH")
        eventually(lambda: hospital.read_inbox() and codes(hospital.responses_to(sent)) == ("20013", "30001"))
        for command in (["status"], ["messages"], ["owed"], ["trace", sent.mesh_message_id], ["check", "--offline"]):
            practice.command(*command, expect=None)
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(30)
    practice.once()
    for command in (["respond", sent.mesh_message_id, "30001"], ["seen", sent.mesh_message_id]):
        practice.command(*command, "--by", "somebody", expect=None)

    connections = found(notes, ledger)
    assert len({each["pid"] for each in connections}) >= 10
    assert [each for each in connections if (each["journal_mode"], each["synchronous"]) != ("wal", FULL)] == []
    assert list(ledger.parent.glob("*.backup"))
