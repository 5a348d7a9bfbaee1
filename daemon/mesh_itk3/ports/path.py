"""How a stage takes messages, and moves them with what they then owe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypedDict

from mesh_itk3.lifecycle import State, check_transition
from mesh_itk3.ports.messages import Entry, Kind, MessageKey, MessageRecord
from mesh_itk3.ports.outbox import NewResponse


class Changes(TypedDict, total=False):
    """Columns of a message that a step may set; absent means unchanged."""

    kind: Kind
    message_header_id: str | None
    event_code: str | None
    document_id: str | None
    is_replacement: bool
    bus_ack_requested: bool | None
    inf_ack_requested: bool | None
    response_code: str | None
    handler: str | None
    attempts: int
    interrupted: int
    due_at: datetime | None
    reason: str | None
    parked_from: State | None
    decision_code: str | None
    decided_by: str | None
    decided_at: datetime | None
    accepted_at: datetime | None
    finished_at: datetime | None
    warnings: tuple[str, ...]
    duplicate_of: str | None
    differs_from_first: bool
    sender_not_told: bool
    deferred_at: datetime | None
    reminded_at: datetime | None
    linked_message_id: str | None
    answers_local_id: str | None


@dataclass(frozen=True, slots=True)
class Step:
    """One message's move, what it now owes, and its line in the timeline: committed together or not at all."""

    key: MessageKey
    old: State
    new: State
    entry: Entry
    changes: Changes = field(default_factory=Changes)
    responses: tuple[NewResponse, ...] = ()

    def __post_init__(self) -> None:
        check_transition(self.old, self.new)


class MessagePath(Protocol):
    """What the stages after collect do to messages."""

    def claim(
        self, state: State, kinds: Sequence[Kind], mailbox_ids: Sequence[str], now: datetime, limit: int
    ) -> list[MessageRecord]:
        """Marks up to `limit` due messages as in progress and commits, before anybody touches their bytes (design rule
        8): oldest first within a mailbox, mailboxes taken in turn. A message that `is_alone` is claimed by itself, after
        the others have gone. Shaped for FOR UPDATE SKIP LOCKED.
        """

    def unclaim(self, keys: Sequence[MessageKey]) -> None:
        """Gives claimed messages back untouched."""

    def is_accepted(self, mailbox_id: str, sender_mailbox_id: str | None, message_header_id: str) -> MessageRecord | None:
        """The first accepted message with this MessageHeader.id (compared in lower case, without urn:uuid:) in the same
        receiving mailbox from the same Mex-From (design rule 2).
        """

    def accepted_before(
        self, mailbox_id: str, sender_mailbox_id: str | None, message_header_id: str | None, document_id: str | None
    ) -> tuple[MessageRecord | None, MessageRecord | None]:
        """The same, and the same for the inner document's identifier: both at once, at the price of one. An id that could
        not be read is None, and nothing is known by it.
        """

    def apply(self, steps: Sequence[Step]) -> None:
        """All steps in one transaction; each is conditional on the message being in `step.old`, and clears its claim.
        Raises LedgerConflict, StepRefused (then nothing of the batch was applied), LeaseLost.
        """
