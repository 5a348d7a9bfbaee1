"""What can be looked up in the ledger. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports.messages import Entry, MessageKey, MessageRecord
from mesh_itk3.ports.outbox import ResponseRecord


@dataclass(frozen=True, slots=True)
class Overview:
    """Counts for `status`: messages and responses by mailbox and state."""

    messages: Mapping[tuple[str, State], int]
    responses: Mapping[tuple[str, ResponseState], int]
    oldest_waiting: Mapping[tuple[str, State], datetime]


@dataclass(frozen=True, slots=True)
class Unseen:
    """What stands in `status` until a person says that they have seen it, each oldest first."""

    messages: tuple[MessageRecord, ...]
    """The sender has not been told, it is a duplicate that differs from the first, or a response that is unmatched."""
    responses: tuple[ResponseRecord, ...]
    """Undelivered, refused by MESH or by the other side, or never acknowledged. `body` is empty."""


class Records(Protocol):
    """For commands, and for stages that have to know of another message."""

    def find(self, identifier: str) -> list[MessageRecord]:
        """Messages with this MESH message id, MessageHeader id or local id (theirs, or a response's of ours)."""

    def get(self, key: MessageKey) -> MessageRecord | None: ...

    def messages(
        self, *, states: Sequence[State] = (), mailbox_ids: Sequence[str] = (), limit: int | None = None
    ) -> Iterator[tuple[MessageRecord, tuple[ResponseRecord, ...]]]:
        """Newest first, in bounded memory. ResponseRecord.body may be empty here."""

    def timeline(self, key: MessageKey) -> list[Entry]: ...

    def responses_to(self, key: MessageKey) -> tuple[ResponseRecord, ...]:
        """Our responses to one message, in the order they were written. ResponseRecord.body may be empty here."""

    def answers_to(self, local_ids: Sequence[str]) -> list[MessageRecord]:
        """Received responses and reports that answer these responses of ours, in the order they came."""

    def overview(self) -> Overview:
        """Of everything; takes as long as the ledger is large."""

    def overview_of_what_waits(self) -> Overview:
        """Without what is settled, of which there may be millions: for whoever asks again and again."""

    def waiting(self, states: Sequence[State], mailbox_ids: Sequence[str] = ()) -> list[MessageRecord]:
        """Every message in one of these states, oldest first: for states that few are in."""

    def outstanding_responses(self, mailbox_ids: Sequence[str] = ()) -> list[ResponseRecord]:
        """Responses owed, or sent and not yet delivered, or raised and not yet seen; oldest first. `body` is empty."""

    def unseen(self, mailbox_ids: Sequence[str] = ()) -> Unseen: ...

    def has_work(self, mailbox_ids: Sequence[str]) -> bool:
        """Whether any message is received or accepted, or any response owed, whenever it may be due."""
