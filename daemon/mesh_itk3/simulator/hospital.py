"""A hospital at the other end of MESH: sends messages, remembers them, and files what comes back under each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from uuid import uuid4

import orjson
import requests
from mesh_client import MeshClient, MeshError
from urllib3.exceptions import HTTPError

from mesh_itk3.simulator.correspondence import Answers, Correspondence, Received, Sent
from mesh_itk3.simulator.failure import SimulationFailed
from mesh_itk3.simulator.response_reader import header_id_of, read_response
from mesh_itk3.workflow_table import shipped

TIMEOUT_S: Final = 30
PAGE: Final = 500
MOST_PAGES: Final = 100


class Hospital:
    """One mailbox that sends letters and waits for answers. Not for several threads at once.

    Every method that talks to MESH raises SimulationFailed where it cannot.
    """

    def __init__(self, url: str, mailbox_id: str, password: str, shared_key: str, *, log: Path | None = None) -> None:
        self._client = MeshClient(url, mailbox_id, password, shared_key=shared_key.encode(), max_retries=0, timeout=TIMEOUT_S)
        self._client._session.trust_env = False  # noqa: SLF001  # the sandbox is on this machine, never behind a proxy
        self._log = log
        self._correspondence = Correspondence(shipped())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()  # type: ignore[no-untyped-call]

    def send(
        self,
        body: bytes,
        *,
        to: str,
        workflow_id: str,
        local_id: str | None = None,
        subject: str | None = None,
        filename: str | None = None,
        chunk_bytes: int | None = None,
        compress: bool = False,
        is_gzip: bool = False,
        content_type: str = "application/fhir+xml",
    ) -> Sent:
        """Sends one message, in chunks of `chunk_bytes` where given; draws a local id where none is.

        `compress` is for the line and undone by MESH's clients; `is_gzip` says that the body itself is compressed.
        """
        local_id = local_id or f"hospital-{uuid4().hex}"
        named = {"subject": subject, "filename": filename, "compressed": True if is_gzip else None}
        with _translated("send"):
            mesh_message_id = self._client.send_message(
                to,
                body,
                max_chunk_size=chunk_bytes,
                compress=compress,
                workflow_id=workflow_id,
                local_id=local_id,
                content_type=content_type,
                **{name: value for name, value in named.items() if value is not None},
            )
        chunks = -(-len(body) // chunk_bytes) if chunk_bytes else 1
        sent = Sent(mesh_message_id, local_id, workflow_id, to, header_id_of(body), len(body), chunks, _now())
        self._correspondence.sent(sent)
        self._record("sent", asdict(sent))
        return sent

    def read_inbox(self) -> list[Received]:
        """Downloads, keeps and acknowledges everything that waits; what was new."""
        new: list[Received] = []
        for _ in range(MOST_PAGES):
            with _translated("read the inbox"):
                waiting = self._client.list_messages(max_results=PAGE)
                new += [self._take(mesh_message_id) for mesh_message_id in waiting]
            if not waiting:
                break
        return new

    def responses_to(self, sent: Sent) -> Answers:
        """What has come back for this message up to the last `read_inbox`."""
        return self._correspondence.answers_to(sent)

    @property
    def unexplained(self) -> tuple[Received, ...]:
        """What was received and answers nothing that we sent."""
        return self._correspondence.unexplained

    def waiting(self) -> tuple[str, ...]:
        """The MESH ids in our inbox that are not acknowledged yet."""
        with _translated("list the inbox"):
            return tuple(self._client.list_messages(max_results=PAGE))

    def _take(self, mesh_message_id: str) -> Received:
        message = self._client.retrieve_message(mesh_message_id)
        body = message.read()  # without an argument: only then does a short download raise
        item = Received(
            mesh_message_id=mesh_message_id,
            workflow_id=message.workflow_id or "",
            local_id=message.local_id,
            from_mailbox_id=message.sender,
            received_at=_now(),
            response=None if message.message_type == "REPORT" else read_response(body),
            report_of=message.mex_header("linkedmsgid") if message.message_type == "REPORT" else None,
            report_code=message.mex_header("statuscode") if message.message_type == "REPORT" else None,
            body=body,
        )
        self._correspondence.received(item)
        self._record("received", _without_body(item))  # before the acknowledgement: MESH deletes it then
        self._client.acknowledge_message(mesh_message_id)
        return item

    def _record(self, what: str, fields: dict[str, Any]) -> None:
        if self._log is not None:
            with self._log.open("ab") as stream:
                stream.write(orjson.dumps({"what": what, **fields}) + b"\n")


def _without_body(item: Received) -> dict[str, Any]:
    fields = asdict(item)
    fields["bytes"] = len(fields.pop("body"))
    return fields


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    # Everything mesh-client is known to raise: its own, the HTTP libraries', and JSON that is none (a ValueError).
    try:
        yield
    except (requests.RequestException, HTTPError, MeshError, ValueError, OSError) as error:
        raise SimulationFailed(f"the hospital could not {doing}: MESH answered with {type(error).__name__}") from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
