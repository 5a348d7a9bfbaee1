"""A configuration in a folder and the ledger that it names, for tests of the command line: real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from mesh_itk3.adapters.ledger import migrate, open_ledger
from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import (
    Changes,
    Entry,
    Kind,
    MessageKey,
    NewResponse,
    Received,
    ResponseChanges,
    ResponseStep,
    Step,
    StoredPayload,
)

NOW = datetime(2025, 1, 2, 10, 0, tzinfo=UTC)
MAILBOX = "X26ABC2"


class Place:
    """A configuration, and the ledger that it names."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "mesh-itk3.toml"
        self.state = directory / "state"
        self.ledger_file = self.state / "ledger.db"
        self.url = f"sqlite:///{self.ledger_file}"

    def configure(self, **tables):
        lines = [f'state_directory = "{self.state}"', "[mesh]", 'environment = "sandbox"', 'shared_key = "TestKey"']
        lines.append(f'url = "{tables.pop("mesh_url", "http://127.0.0.1:9")}"')
        lines += [f"[mailboxes.{MAILBOX}]", 'ods_code = "A81001"', 'password = "password"']
        for table, keys in tables.items():
            lines += [f"[{table.replace('__', '.')}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
        self.config.write_text("\n".join(lines), encoding="utf-8")

    def make_ledger(self):
        self.state.mkdir()
        migrate(self.url, NOW)

    def ledger(self):
        return closing(open_ledger(self.url, owner="test"))

    def run(self, *arguments, **environ):
        return subprocess.run(
            [sys.executable, "-m", "mesh_itk3", *arguments],
            env={"PATH": os.environ["PATH"], "MESH_ITK3_CONFIG": str(self.config), **environ},
            cwd=self.directory, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip

    def json(self, *arguments):
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def a_received(mesh_message_id, *, local_id=None):
    return Received(
        key=MessageKey(MAILBOX, mesh_message_id),
        workflow_id="TOC_FHIR_IP_DISCH",
        kind=Kind.MESSAGE,
        received_at=NOW,
        sender_mailbox_id="X26HC005",
        local_id=local_id,
        linked_message_id=None,
        payload=StoredPayload(name=f"{MAILBOX}/2025-01/{mesh_message_id}.bin", bytes=10, sha256="00"),
    )


def an_entry(stage, outcome):
    return Entry(at=NOW, stage=stage, outcome=outcome)


def a_response(local_id, code="20013", level="infrastructure"):
    return NewResponse(
        level=level,
        response_code=code,
        message_header_id=f"header-of-{local_id}",
        local_id=local_id,
        to_mailbox_id="X26HC005",
        workflow_id="TOC_FHIR_IP_DISCH_ACK",
        body=b"<Bundle/>",
    )


def take(place, mesh_message_id, state=State.RECEIVED, *, header_id=None, local_id=None, handler="transfer_of_care"):
    """A message that has come as far as `state`."""
    key = MessageKey(MAILBOX, mesh_message_id)
    changes = Changes(message_header_id=header_id or f"header-of-{mesh_message_id}", handler=handler)
    answer = (a_response(f"answer-to-{mesh_message_id}"),)
    with place.ledger() as ledger:
        ledger.record_received(a_received(mesh_message_id, local_id=local_id), an_entry("collect", "received"))
        if state is not State.RECEIVED:
            accepted = an_entry("interpret", "accepted")
            ledger.apply([Step(key, State.RECEIVED, State.ACCEPTED, accepted, changes, answer)])
        if state not in (State.RECEIVED, State.ACCEPTED):
            ledger.apply([Step(key, State.ACCEPTED, state, an_entry("dispatch", state.value), Changes(finished_at=NOW))])
    return key


def send(place, local_id, mesh_message_id):
    changes = ResponseChanges(mesh_message_id=mesh_message_id, sent_at=NOW)
    with place.ledger() as ledger:
        ledger.apply_responses([ResponseStep(local_id, ResponseState.OWED, ResponseState.SENT, None, changes)])


def state_of(place, key):
    with place.ledger() as ledger:
        return ledger.get(key).state


def is_one_line(text):
    return text.count("\n") == 1 and text.endswith("\n") and "Traceback" not in text
