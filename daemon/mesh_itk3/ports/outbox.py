"""Our responses: how one is written and sent, and what is remembered of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypedDict

from mesh_itk3.itk3.response_codes import Level
from mesh_itk3.lifecycle import ResponseState, check_response_transition
from mesh_itk3.ports.messages import Entry, MessageKey


@dataclass(frozen=True, slots=True)
class NewResponse:
    """A response that is now owed. Its bytes and ids are drawn here, so that every resend is byte-identical."""

    level: Level
    response_code: str
    message_header_id: str
    local_id: str
    to_mailbox_id: str
    workflow_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class ResponseRecord:
    """One row of the outbox."""

    local_id: str
    """Mex-LocalID, unique per response: the key of the outbox. The same whenever a response of this level to this message is
    written; those of ledgers older than schema 0005 were drawn.
    """
    key: MessageKey
    """The message that it answers; `key.mailbox_id` sends it."""
    level: Level
    response_code: str
    state: ResponseState
    message_header_id: str
    to_mailbox_id: str
    workflow_id: str
    body: bytes
    created_at: datetime
    mesh_message_id: str | None = None
    attempts: int = 0
    due_at: datetime | None = None
    unresolved_since: datetime | None = None
    """The last send was begun then and its outcome is not known: look it up before any resend (design rule 15)."""
    sent_at: datetime | None = None
    tracked_at: datetime | None = None
    """When MESH was last asked whether it was delivered."""
    reason: str | None = None
    status_code: str | None = None
    """MESH's own code where it could not deliver or refused it, e.g. `14`."""
    raised_at: datetime | None = None
    """When something was found wrong although MESH took it: never acknowledged, or refused by the other side."""
    seen_at: datetime | None = None
    """When a person said that they know of it."""
    body_pruned_at: datetime | None = None
    """When retention removed `body`, which is empty since: only of what was delivered."""
    written_anew: bool = False
    """Written after a restore for a message of before it, and not known to have been sent from here: what MESH has under its
    local id may be the answer of before. Its code, ids and bytes are then not known; those that stand here never went out.
    """
    infrastructure_state: ResponseState | None = None
    """Business responses only: the state of the infrastructure response of the same message; None where none is owed."""


class ResponseChanges(TypedDict, total=False):
    """Columns of a response that a step may set; absent means unchanged."""

    mesh_message_id: str | None
    attempts: int
    due_at: datetime | None
    unresolved_since: datetime | None
    sent_at: datetime | None
    tracked_at: datetime | None
    reason: str | None
    status_code: str | None
    raised_at: datetime | None
    seen_at: datetime | None
    written_anew: bool


@dataclass(frozen=True, slots=True)
class ResponseStep:
    """One response's move and its line in the timeline of the message that it answers."""

    local_id: str
    old: ResponseState
    new: ResponseState
    entry: Entry | None = None
    changes: ResponseChanges = field(default_factory=ResponseChanges)

    def __post_init__(self) -> None:
        check_response_transition(self.old, self.new)


class Outbox(Protocol):
    """What respond and track do to the responses that are owed."""

    def claim_responses(self, mailbox_id: str, now: datetime, limit: int) -> list[ResponseRecord]:
        """Owed responses that are due, oldest first; marks each with `unresolved_since = now` where that was empty and
        commits, before any is sent. The records returned carry the value *before* this claim: None means never tried.
        Leaves out business responses whose infrastructure response is parked or waits for a later time.
        """

    def sent_responses(
        self, mailbox_id: str, tracked_before: datetime, limit: int, *, sent_after: datetime | None = None
    ) -> list[ResponseRecord]:
        """Responses in state SENT that MESH was last asked about (or that were sent) before this time; with
        `sent_after`, only those sent since.
        """

    def apply_responses(self, steps: Sequence[ResponseStep]) -> None:
        """As `apply`, for responses. Where an infrastructure response is parked, the business response that is owed for
        the same message is parked with it (`infrastructure_refused`): it could never be sent. `apply` does the same with
        one that is written later.
        """

    def overdue_responses(
        self, mailbox_ids: Sequence[str], sent_before: datetime, limit: int, *, noted_after: datetime | None = None
    ) -> list[ResponseRecord]:
        """Responses in state SENT that went out before this time and have not been raised yet. With `noted_after` also those,
        raised or not, that were sent or last asked about at a time after it. `body` is empty.
        """

    def response_by(
        self, *, mesh_message_id: str | None = None, local_id: str | None = None, message_header_id: str | None = None
    ) -> ResponseRecord | None:
        """The response of ours with this MESH id, local id or MessageHeader.id (lower case, without urn:uuid:)."""
