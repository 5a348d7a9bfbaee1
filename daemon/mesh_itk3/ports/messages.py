"""What the ledger holds of a received message."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mesh_itk3.lifecycle import State
from mesh_itk3.ports.payloads import PrunedPayload, StoredPayload


class Kind(StrEnum):
    """What a received MESH message is, told from its headers (or, on a payload workflow, from its event)."""

    MESSAGE = "message"
    RESPONSE = "response"
    """On a response workflow, or with event ITK008M anywhere: never answered negatively (design rule 11)."""
    REPORT = "report"


@dataclass(frozen=True, slots=True, order=True)
class MessageKey:
    """One received MESH message in one mailbox."""

    mailbox_id: str
    mesh_message_id: str


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """One row of the message table."""

    key: MessageKey
    workflow_id: str
    kind: Kind
    state: State
    received_at: datetime
    sender_mailbox_id: str | None = None
    local_id: str | None = None
    linked_message_id: str | None = None
    payload: StoredPayload | None = None
    acknowledged_at: datetime | None = None
    message_header_id: str | None = None
    event_code: str | None = None
    document_id: str | None = None
    """Inner Bundle.identifier as `system|value`, or `|Bundle.id` where that is missing."""
    is_replacement: bool = False
    bus_ack_requested: bool | None = None
    inf_ack_requested: bool | None = None
    """None: could not be read, which counts as asked (except on responses, design rule 11)."""
    response_code: str | None = None
    """The last verdict: infrastructure when rejected, business when completed."""
    handler: str | None = None
    attempts: int = 0
    interrupted: int = 0
    is_alone: bool = False
    """It was in progress when a process died: tried by itself from now on."""
    due_at: datetime | None = None
    reason: str | None = None
    """Why it is where it is, from the fixed vocabulary of `reasons.py`."""
    parked_from: State | None = None
    decision_code: str | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None
    accepted_at: datetime | None = None
    finished_at: datetime | None = None
    warnings: tuple[str, ...] = ()
    """Rule names of waived deviations, e.g. `sender_reference_missing`; never values."""
    duplicate_of: str | None = None
    """MESH message id of the first one, where this was answered 20007 or 20008."""
    differs_from_first: bool = False
    """A duplicate whose bytes differ from the first: stands in `status` until somebody looks."""
    sender_not_told: bool = False
    """Rejected without a response, because none was asked for or none can be sent; or abandoned, and its sender has yet to
    hear of it; or `is_unmatched`. Stands in `status` likewise.
    """
    deferred_at: datetime | None = None
    """Since when it has waited for a person's decision: its deadline counts from here."""
    reminded_at: datetime | None = None
    """When it was last said that the decision is missing."""
    seen_at: datetime | None = None
    """When a person said that they know of what stood in `status`."""
    seen_by: str | None = None
    answers_local_id: str | None = None
    """Received responses and reports: the local id of the response of ours that it answers."""
    pruned: PrunedPayload | None = None
    """Retention has removed its bytes; `payload` is None then. Only of what is settled: nobody reads it again."""
    events_pruned_at: datetime | None = None
    """When retention last removed lines of its timeline; None: it is whole."""

    @property
    def sha256(self) -> str | None:
        """Of its bytes, whether they are still there or not; None where they were never kept."""
        kept = self.payload or self.pruned
        return kept.sha256 if kept else None

    @property
    def is_unmatched(self) -> bool:
        """Came as a response, and is none that can be read, or refuses something that it does not name. Such a thing is
        never answered (design rule 11), so its sender does not know. Or a report on something that nothing here has sent.
        """
        return self.kind is not Kind.MESSAGE and self.sender_not_told


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a message's timeline (table `message_event`, append-only): what an operator and an auditor read."""

    at: datetime
    stage: str
    outcome: str
    response_code: str | None = None
    reason: str | None = None
    attempt: int | None = None
    who: str | None = None
    """The person who acted, where a person did."""
