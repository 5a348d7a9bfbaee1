"""A MESH mailbox in memory, for stages: it remembers what was done to it and fails where it is told.

`tests/adapters/test_mailbox_contract.py` runs the same suite against this and against the real adapter on the sandbox.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

from mesh_itk3.ports import (
    MailboxUnavailable,
    MeshHeaders,
    MessageGone,
    Outgoing,
    SendRefused,
    SendUnresolved,
    Tracking,
    TruncatedDownload,
)
from profiles.witness import WITNESS

_NUMBERS = itertools.count(1)
NEVER = 10**9


@dataclass(frozen=True)
class FakeMessage:
    headers: MeshHeaders
    body: bytes

    @property
    def mesh_message_id(self) -> str:
        return self.headers.mesh_message_id


def a_mesh_message(
    body: bytes = b"<Bundle/>",
    *,
    mesh_message_id: str | None = None,
    workflow_id: str = "TOC_FHIR_IP_DISCH",
    sender_mailbox_id: str | None = "X26ABC1",
    recipient_mailbox_id: str = "X26ABC2",
    local_id: str | None = None,
    **more: str,
) -> FakeMessage:
    """A DATA message as MESH would hand it over; further keywords are mex-* headers, without `mex-`."""
    mesh_message_id = mesh_message_id or f"FAKE{next(_NUMBERS):028X}"
    said = {
        "messageid": mesh_message_id,
        "messagetype": "DATA",
        "workflowid": workflow_id,
        "from": sender_mailbox_id,
        "to": recipient_mailbox_id,
        "localid": local_id,
        "statuscode": "00",
        "statusevent": "TRANSFER",
        "statussuccess": "SUCCESS",
    }
    headers = MeshHeaders(
        mesh_message_id=mesh_message_id,
        workflow_id=workflow_id,
        message_type="DATA",
        sender_mailbox_id=sender_mailbox_id,
        recipient_mailbox_id=recipient_mailbox_id,
        local_id=local_id,
        status_code="00",
        status_event="TRANSFER",
        all={name: value for name, value in said.items() if value is not None} | more,
    )
    return FakeMessage(headers, body)


def a_report(
    *,
    linked_message_id: str | None = None,
    local_id: str | None = None,
    workflow_id: str = "TOC_FHIR_IP_DISCH_ACK",
    recipient_mailbox_id: str = "X26ABC2",
    status_code: str = "14",
    mesh_message_id: str | None = None,
) -> FakeMessage:
    """A REPORT that MESH could not deliver what we sent."""
    mesh_message_id = mesh_message_id or f"FAKE{next(_NUMBERS):028X}"
    said = {
        "messageid": mesh_message_id,
        "messagetype": "REPORT",
        "workflowid": workflow_id,
        "to": recipient_mailbox_id,
        "localid": local_id,
        "linkedmsgid": linked_message_id,
        "statuscode": status_code,
        "statusevent": "SEND",
        "statussuccess": "ERROR",
    }
    headers = MeshHeaders(
        mesh_message_id=mesh_message_id,
        workflow_id=workflow_id,
        message_type="REPORT",
        recipient_mailbox_id=recipient_mailbox_id,
        local_id=local_id,
        linked_message_id=linked_message_id,
        status_code=status_code,
        status_event="SEND",
        all={name: value for name, value in said.items() if value is not None},
    )
    return FakeMessage(headers, b"")


class FakeDownload:
    def __init__(self, mailbox: FakeMailbox, message: FakeMessage) -> None:
        self._mailbox = mailbox
        self._message = message
        self.headers = message.headers

    def write_to(self, file: BinaryIO) -> None:
        """With `fails_on="write"`, half of the body is written before the line drops."""
        mesh_message_id = self._message.mesh_message_id
        self._mailbox.done.append(("write", mesh_message_id))
        if self._mailbox.is_failing("write"):
            file.write(self._message.body[: len(self._message.body) // 2])
            raise self._mailbox.error or TruncatedDownload("connection")
        file.write(self._message.body)

    def close(self) -> None:
        self._mailbox.done.append(("close", self._message.mesh_message_id))


@dataclass
class FakeMailbox:
    """`ports.Mailbox`. `fails_on` names verbs: handshake, pages, open, write, acknowledge, send, find_sent, track; and
    `acknowledge_answer`, `send_answer`: MESH does it, and the answer is lost.
    """

    messages: Iterable[FakeMessage] = ()
    mailbox_id: str = "X26ABC2"
    fails_on: str | Collection[str] = ()
    fails_times: int = NEVER
    """How often, over all its verbs, before it works again."""
    error: Exception | None = None
    """What it raises; otherwise what fits the verb best."""
    page_size: int = 500
    delivers_to: dict[str, FakeMailbox] | None = None
    """Other mailboxes by id; sending to one that is not there is refused (12). None: sends go nowhere and succeed."""
    done: list[tuple[str, str]] = field(default_factory=list)
    """(verb, MESH message id, local id or empty), in order; failed ones too."""
    sent: list[Outgoing] = field(default_factory=list)
    """Those that MESH took."""
    acknowledged: list[str] = field(default_factory=list)
    is_closed: bool = False

    def __post_init__(self) -> None:
        self._inbox = {message.mesh_message_id: message for message in self.messages}
        self._gone: set[str] = set()
        self._sent_ids: dict[str, list[str]] = {}
        self._tracking: dict[str, Literal["accepted", "acknowledged", "undeliverable"]] = {}
        self._senders: dict[str, FakeMailbox] = {}
        self._failed = 0

    # -- for tests
    def deliver(self, message: FakeMessage) -> str:
        """Puts a message into the inbox, as a sender would."""
        self._inbox[message.mesh_message_id] = message
        return message.mesh_message_id

    def expire(self, mesh_message_id: str) -> None:
        """MESH gives up on an unread message: gone from this inbox, undeliverable for its sender."""
        self._leave_inbox(mesh_message_id, "undeliverable")

    def list_again(self, message: FakeMessage) -> None:
        """MESH lists a message that it was told to forget."""
        self._gone.discard(message.mesh_message_id)
        self.deliver(message)

    def heal(self) -> None:
        self.fails_on = ()

    def verbs(self, verb: str) -> list[str]:
        """What a verb was called with, in order."""
        return [about for said, about in self.done if said == verb]

    def is_failing(self, verb: str) -> bool:
        named = (self.fails_on,) if isinstance(self.fails_on, str) else self.fails_on
        if verb not in named or self._failed >= self.fails_times:
            return False
        self._failed += 1
        return True

    # -- ports.Mailbox
    def handshake(self) -> None:
        self._note("handshake", "")

    def pages(self) -> Iterator[tuple[str, ...]]:
        shown: set[str] = set()
        while True:
            self._note("pages", "")
            page = tuple(mesh_message_id for mesh_message_id in self._inbox if mesh_message_id not in shown)[: self.page_size]
            shown.update(page)
            has_more = any(mesh_message_id not in shown for mesh_message_id in self._inbox)
            yield page
            if not has_more:
                return

    def open(self, mesh_message_id: str) -> FakeDownload:
        self._note("open", mesh_message_id)
        if mesh_message_id not in self._inbox:
            raise MessageGone("http_410" if mesh_message_id in self._gone else "http_404")
        return FakeDownload(self, self._inbox[mesh_message_id])

    def acknowledge(self, mesh_message_id: str) -> None:
        self._note("acknowledge", mesh_message_id)
        if mesh_message_id in self._inbox:
            self.acknowledged.append(mesh_message_id)
            self._leave_inbox(mesh_message_id, "acknowledged")
        self._lose_answer("acknowledge", MailboxUnavailable("connection"))

    def send(self, outgoing: Outgoing) -> str:
        self.done.append(("send", outgoing.local_id))
        if self.is_failing("send"):
            raise self.error or SendUnresolved("connection")
        self._refuse(outgoing)
        mesh_message_id = self._take(outgoing)
        self._lose_answer("send", SendUnresolved("timeout"))
        return mesh_message_id

    def find_sent(self, local_id: str, *, size: int = 0) -> str | None:
        del size
        self._note("find_sent", local_id)
        found = self._sent_ids.get(local_id, [])
        if len(found) > 1:
            return ""
        return found[0] if found else None

    def track(self, mesh_message_id: str) -> Tracking | None:
        self._note("track", mesh_message_id)
        state = self._tracking.get(mesh_message_id)
        return None if state is None else Tracking(state)

    def close(self) -> None:
        self.is_closed = True

    # -- inside
    def _note(self, verb: str, about: str) -> None:
        self.done.append((verb, about))
        if self.is_failing(verb):
            raise self.error or MailboxUnavailable("connection")

    def _lose_answer(self, verb: str, usual: Exception) -> None:
        if self.is_failing(f"{verb}_answer"):
            raise self.error or usual

    def _leave_inbox(self, mesh_message_id: str, state: Literal["acknowledged", "undeliverable"]) -> None:
        self._inbox.pop(mesh_message_id, None)
        self._gone.add(mesh_message_id)
        sender = self._senders.get(mesh_message_id)
        if sender is not None:
            sender._tracking[mesh_message_id] = state

    def _refuse(self, outgoing: Outgoing) -> None:
        if not outgoing.body:
            raise SendRefused("02")
        if self.delivers_to is not None and outgoing.to_mailbox_id not in self.delivers_to:
            raise SendRefused("12")

    def _take(self, outgoing: Outgoing) -> str:
        message = a_mesh_message(
            outgoing.body,
            workflow_id=outgoing.workflow_id,
            sender_mailbox_id=self.mailbox_id,
            recipient_mailbox_id=outgoing.to_mailbox_id,
            local_id=outgoing.local_id,
        )
        self.sent.append(outgoing)
        WITNESS.sent(self.mailbox_id, outgoing.workflow_id, outgoing.body)
        self._sent_ids.setdefault(outgoing.local_id, []).append(message.mesh_message_id)
        self._tracking[message.mesh_message_id] = "accepted"
        receiver = (self.delivers_to or {}).get(outgoing.to_mailbox_id)
        if receiver is not None:
            receiver._senders[message.mesh_message_id] = self
            receiver.deliver(message)
        return message.mesh_message_id
