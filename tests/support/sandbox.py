"""The official MESH sandbox as a process of its own on a free port of this machine."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from mesh_itk3.adapters.mesh_mailbox import MeshConnection, MeshMailbox
from mesh_itk3.simulator import sandbox as simulator
from mesh_itk3.simulator.prove.gather import Window
from mesh_itk3.simulator.sandbox import PASSWORD, SHARED_KEY

HOSPITAL = simulator.HOSPITAL_MAILBOX
PRACTICE = simulator.PRACTICE_MAILBOX
OTHER_PRACTICE = "X26ABC3"


def connection(url: str, mailbox_id: str, **changes: Any) -> MeshConnection:
    """How the sandbox (or a proxy before it) is reached; short waits, so that a hanging test ends."""
    settings: dict[str, Any] = {
        "environment": "sandbox",
        "url": url,
        "mailbox_id": mailbox_id,
        "password": SecretStr(PASSWORD),
        "shared_key": SecretStr(SHARED_KEY),
        "timeout_s": 10.0,
        "first_pause_s": 0.01,
    }
    return MeshConnection(**(settings | changes))


class Sandbox(simulator.Sandbox):
    """`start`, then use `url`; `stop` in any case. Everything is in its memory: `reset` forgets every message."""

    def __init__(self, log_file: Path, *, own_session: bool = True) -> None:
        self.calls = log_file.with_name("calls.jsonl")
        """A line for each call of a mailbox; see `simulator/prove/window.py`."""
        app, environment = "mesh_itk3.simulator.prove.window:app", {"WINDOW_LOG": str(self.calls)}
        super().__init__(log_file, app=app, environment=environment, own_session=own_session)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def window(self) -> Window:
        """Each sees the calls that are there from the last `reset` on, and once."""
        return Window(self.url, self.calls)

    def reset(self) -> None:
        """Forgets all messages of all mailboxes, and all calls."""
        self.window().forget()

    def mailbox(self, mailbox_id: str, **changes: Any) -> MeshMailbox:
        return MeshMailbox(connection(self.url, mailbox_id, **changes))

    def put_report(self, mailbox_id: str, **fields: str) -> str:
        """A non-delivery report (code 14) in this mailbox; its MESH id. Fields: workflow_id, local_id, linked_message_id,
        subject; with `status="error"` also code and description.
        """
        report = {"mailbox_id": mailbox_id, "code": "14", "description": "-", "workflow_id": "W", "subject": "s"}
        return str(self._ask("POST", "/messageexchange/admin/report", report | fields)["message_id"])

    def add_event(self, mesh_message_id: str, status: str) -> None:
        """`undeliverable` and `error` make the message gone; `accepted` lists an acknowledged one again."""
        self._ask("POST", f"/messageexchange/admin/message/{mesh_message_id}/event", {"status": status})

    def _ask(self, method: str, path: str, body: dict[str, str] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310  our own loopback
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else None
