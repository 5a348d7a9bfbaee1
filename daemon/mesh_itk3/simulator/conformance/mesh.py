"""What only the sandbox's administration can do: lose a message on its way, list one again, close a mailbox."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import requests

from mesh_itk3.simulator.failure import SimulationFailed

WITHIN_S: Final = 30


class Mesh:
    """The sandbox at `url`, whose mailboxes are the directories in `store`."""

    def __init__(self, url: str, store: Path) -> None:
        self.url = url
        self._store = store

    def list_again(self, mesh_message_id: str) -> None:
        """An acknowledged message stands in its inbox again, under its old id."""
        self._ask("POST", f"/messageexchange/admin/message/{mesh_message_id}/event", {"status": "accepted"})

    def report_undelivered(self, *, to: str, mesh_message_id: str, local_id: str | None, workflow_id: str) -> None:
        """A report in the mailbox of a message's sender: nobody fetched it."""
        report = {"mailbox_id": to, "code": "14", "description": "Message not collected by recipient after 5 days",
                  "workflow_id": workflow_id, "subject": "-", "linked_message_id": mesh_message_id,
                  "local_id": local_id or ""}  # fmt: skip
        self._ask("POST", "/messageexchange/admin/report", report)

    def close(self, mailbox_ids: Iterable[str]) -> None:
        """Nothing can be sent to these mailboxes any more: MESH answers 417."""
        for mailbox_id in mailbox_ids:
            shutil.rmtree(self._store / mailbox_id, ignore_errors=True)
        self._ask("DELETE", "/messageexchange/admin/reset", None)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> None:
        with requests.Session() as session:
            session.trust_env = False  # it is on this machine, never behind a proxy
            try:
                session.request(method, self.url + path, json=body, timeout=WITHIN_S).raise_for_status()
            except requests.RequestException as error:
                raise SimulationFailed(f"the MESH sandbox did not do what was asked: {type(error).__name__}") from error
