"""The official MESH sandbox, unchanged, behind a window: every call of a mailbox becomes a line of the file WINDOW_LOG, and
`GET /window/MAILBOX` says what stands in an inbox, acknowledged or not.

uvicorn mesh_itk3.simulator.prove.window:app
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import time
from typing import Any, Final

from mesh_sandbox.api import app as sandbox
from mesh_sandbox.dependencies import get_store

from mesh_itk3.simulator.faulty_mesh import verb_of

_NUMBERS = itertools.count()
_INBOX: Final = "/window/"
_LOG: Final = os.open(os.environ["WINDOW_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Plain ASGI: everything is handed on as it comes; what a send holds is kept on the way."""
    path = scope.get("path", "")
    if path.startswith(_INBOX):
        await _answer(send, json.dumps(_inbox(path.removeprefix(_INBOX))).encode())
    elif path.startswith("/messageexchange/") and scope["type"] == "http":
        await _watched(scope, receive, send)
    else:
        await sandbox(scope, receive, send)


async def _watched(scope: Any, receive: Any, send: Any) -> None:
    query = scope["query_string"].decode("latin-1")
    verb = verb_of(scope["method"], scope["path"] + (f"?{query}" if query else ""))
    line = _line(verb, scope)
    pieces: list[bytes] = []
    is_kept: list[bool] = []

    async def received() -> Any:
        event = await receive()
        if verb in _SENDS and event["type"] == "http.request":
            pieces.append(event.get("body", b""))
        return event

    async def sent(event: Any) -> None:
        if event["type"] == "http.response.start":
            line["status"] = event["status"]
        elif not is_kept:
            # Before the answer is whole: whoever has it finds the call in the log.
            is_kept.append(True)
            _keep(line | (_sent(pieces, event.get("body", b"")) if verb in _SENDS else {}))
        await send(event)

    await sandbox(scope, received, sent)


_SENDS: Final = frozenset({"send", "send_chunk"})


def _line(verb: str, scope: Any) -> dict[str, Any]:
    parts = scope["path"].split("/")
    said = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    head = {"n": next(_NUMBERS), "at": time.monotonic(), "verb": verb, "mailbox": parts[2], "id": "/".join(parts[4:])}
    if verb not in _SENDS:
        return head
    return head | {
        "local_id": said.get("mex-localid", ""),
        "chunks": said.get("mex-chunk-range", "1:1"),
        "to": said.get("mex-to", ""),
        "workflow_id": said.get("mex-workflowid", ""),
        "encoding": said.get("content-encoding", ""),
    }


def _sent(pieces: list[bytes], answer: bytes) -> dict[str, str]:
    """What was sent, and the MESH id that it got."""
    try:
        said = json.loads(answer)
    except ValueError:
        said = {}
    mesh_message_id = (said.get("message_id") or said.get("messageID") or "") if isinstance(said, dict) else ""
    return {"body": base64.b64encode(b"".join(pieces)).decode(), "mesh_message_id": mesh_message_id}


def _keep(line: dict[str, Any]) -> None:
    os.write(_LOG, json.dumps(line).encode() + b"\n")


def _inbox(mailbox_id: str) -> list[dict[str, str]]:
    return [{"id": each.message_id, "status": each.status} for each in get_store().inboxes.get(mailbox_id, [])]


async def _answer(send: Any, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
