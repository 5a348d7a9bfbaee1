"""The official MESH sandbox, unchanged, behind a window: what it is sent is also written into WATCHED_SENDS.

uvicorn --app-dir tests support.watched_sandbox:app
"""

from __future__ import annotations

import itertools
import json
import os
import re
from pathlib import Path
from typing import Any

from mesh_sandbox.api import app as sandbox

_SEND = re.compile(r"/messageexchange/(?P<mailbox>[^/]+)/outbox")
_NUMBERS = itertools.count()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Plain ASGI: everything is handed on as it comes, the pieces of a send are kept on the way."""
    found = _SEND.fullmatch(scope.get("path", "")) if scope.get("method") == "POST" else None
    if found is None or _is_one_of_several(scope["headers"]):
        await sandbox(scope, receive, send)
        return
    head = _head(found["mailbox"], scope["headers"])
    pieces: list[bytes] = []

    async def watched() -> Any:
        event = await receive()
        if event["type"] == "http.request":
            pieces.append(event.get("body", b""))
            if not event.get("more_body"):
                # Before the sandbox answers: whoever has its answer finds the send here.
                _keep(head + b"".join(pieces))
        return event

    await sandbox(scope, watched, send)


def _is_one_of_several(headers: list[tuple[bytes, bytes]]) -> bool:
    """The first chunk of a message is no message to be judged."""
    chunks = next((value for name, value in headers if name.lower() == b"mex-chunk-range"), b"1:1")
    return chunks.strip() != b"1:1"


def _head(mailbox_id: str, headers: list[tuple[bytes, bytes]]) -> bytes:
    """One line of JSON before the body."""
    said = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
    head = {"from": mailbox_id, "workflow_id": said.get("mex-workflowid", ""), "encoding": said.get("content-encoding", "")}
    return json.dumps(head).encode() + b"\n"


def _keep(content: bytes) -> None:
    directory = Path(os.environ["WATCHED_SENDS"])
    name = f"{next(_NUMBERS):08}"
    (directory / f".{name}").write_bytes(content)
    (directory / f".{name}").rename(directory / name)
