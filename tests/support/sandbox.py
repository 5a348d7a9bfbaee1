"""The official MESH sandbox as a process of its own on a free port of this machine."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from mesh_itk3.adapters.mesh_mailbox import MeshConnection, MeshMailbox

HOSPITAL = "X26ABC1"
PRACTICE = "X26ABC2"
OTHER_PRACTICE = "X26ABC3"
PASSWORD = "password"
SHARED_KEY = "TestKey"
START_DEADLINE_S = 30.0
TESTS = Path(__file__).parents[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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


class Sandbox:
    """`start`, then use `url`; `stop` in any case. Everything is in its memory: `reset` forgets every message."""

    def __init__(self, log_file: Path, port: int | None = None) -> None:
        self.sends = log_file.with_name("sends")
        """Everything that it is sent, one file each."""
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log_file = log_file
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers. Raises RuntimeError, with its last lines, where it does not within 30 seconds."""
        environment = os.environ | {
            "AUTH_MODE": "full",
            "STORE_MODE": "memory",
            "SHARED_KEY": SHARED_KEY,
            "PYTHONWARNINGS": "ignore",
            "WATCHED_SENDS": str(self.sends),
        }
        self.sends.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "uvicorn", "support.watched_sandbox:app", "--app-dir", str(TESTS)]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen([*command, "--no-access-log"], stdout=log, stderr=log, env=environment)
        self._wait_until_it_answers()

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            try:
                self._ask("GET", "/health")
            except OSError:
                time.sleep(0.05)
                continue
            return
        self.stop()
        raise RuntimeError(f"the sandbox did not start: {self._log_file.read_text(errors='replace')[-2000:]}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
            self._process = None

    def reset(self) -> None:
        """Forgets all messages of all mailboxes."""
        self._ask("DELETE", "/messageexchange/admin/reset")

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
