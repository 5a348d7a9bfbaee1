"""Ledger rows as scripts read them: the keys are a contract, new ones may be added. PURE."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mesh_itk3.commands.console import instant
from mesh_itk3.ports import Entry, MessageRecord, ResponseRecord
from mesh_itk3.reasons import Reason

if TYPE_CHECKING:
    from mesh_itk3.registry import Registry


def reason_text(registry: Registry, handler: str | None, word: str | None) -> str | None:
    """The sentence for a word of the ledger's reasons, ours or the handler's own; None where nobody has declared it."""
    if word is not None and word in Reason._value2member_map_:
        return Reason(word).text
    return registry.reason_text(handler, word)


def entry_reason_text(registry: Registry, handler: str | None, entry: Entry) -> str | None:
    """The same for a line of the timeline: a handler's own words stand only where the handler spoke."""
    return reason_text(registry, handler if entry.stage == "dispatch" else None, entry.reason)


def message_row(record: MessageRecord, responses: Iterable[ResponseRecord], registry: Registry) -> dict[str, Any]:
    """One message of `messages --json`. Times are ISO 8601 in UTC; absent things are null. Never patient data."""
    return {
        "mesh_message_id": record.key.mesh_message_id,
        "mailbox_id": record.key.mailbox_id,
        "workflow_id": record.workflow_id,
        "message_header_id": record.message_header_id,
        "state": record.state.value,
        "handler": record.handler,
        "received_at": instant(record.received_at),
        "responses": [response_row(response) for response in responses],
        **_identity(record),
        **_progress(record),
        "reason_text": reason_text(registry, record.handler, record.reason),
    }


def _identity(record: MessageRecord) -> dict[str, Any]:
    return {
        "kind": record.kind.value,
        "sender_mailbox_id": record.sender_mailbox_id,
        "local_id": record.local_id,
        "linked_message_id": record.linked_message_id,
        "event_code": record.event_code,
        "document_id": record.document_id,
        "is_replacement": record.is_replacement,
        "bus_ack_requested": record.bus_ack_requested,
        "inf_ack_requested": record.inf_ack_requested,
        "payload": record.payload.name if record.payload else None,
        "bytes": kept.bytes if (kept := record.payload or record.pruned) else None,
        "sha256": record.sha256,
        "payload_pruned_at": instant(record.pruned.at) if record.pruned else None,
        "events_pruned_at": instant(record.events_pruned_at),
    }


def _progress(record: MessageRecord) -> dict[str, Any]:
    return {
        "response_code": record.response_code,
        "reason": record.reason,
        "attempts": record.attempts,
        "interrupted": record.interrupted,
        "due_at": instant(record.due_at),
        "parked_from": record.parked_from.value if record.parked_from else None,
        "decision_code": record.decision_code,
        "decided_by": record.decided_by,
        "decided_at": instant(record.decided_at),
        "acknowledged_at": instant(record.acknowledged_at),
        "accepted_at": instant(record.accepted_at),
        "finished_at": instant(record.finished_at),
        "duplicate_of": record.duplicate_of,
        "differs_from_first": record.differs_from_first,
        "sender_not_told": record.sender_not_told and not record.is_unmatched,
        "is_unmatched": record.is_unmatched,
        "seen_at": instant(record.seen_at),
        "seen_by": record.seen_by,
        "deferred_at": instant(record.deferred_at),
        "reminded_at": instant(record.reminded_at),
        "answers_local_id": record.answers_local_id,
        "warnings": list(record.warnings),
    }


def response_row(response: ResponseRecord) -> dict[str, Any]:
    """One response of ours."""
    return {
        "level": response.level,
        "response_code": response.response_code,
        "state": response.state.value,
        "mesh_message_id": response.mesh_message_id,
        "local_id": response.local_id,
        "message_header_id": response.message_header_id,
        "to_mailbox_id": response.to_mailbox_id,
        "workflow_id": response.workflow_id,
        "created_at": instant(response.created_at),
        "sent_at": instant(response.sent_at),
        "due_at": instant(response.due_at),
        "attempts": response.attempts,
        "reason": response.reason,
        "status_code": response.status_code,
        "raised_at": instant(response.raised_at),
        "seen_at": instant(response.seen_at),
        "body_pruned_at": instant(response.body_pruned_at),
        "written_anew": response.written_anew,
    }


def answer_row(answer: MessageRecord) -> dict[str, Any]:
    """One response or report that came in about a response of ours."""
    return {
        "mesh_message_id": answer.key.mesh_message_id,
        "kind": answer.kind.value,
        "answers_local_id": answer.answers_local_id,
        "message_header_id": answer.message_header_id,
        "response_code": answer.response_code,
        "received_at": instant(answer.received_at),
    }


def entry_row(entry: Entry, handler: str | None, registry: Registry) -> dict[str, Any]:
    """One line of a message's timeline; `handler` is that of the message."""
    return {
        "at": instant(entry.at),
        "stage": entry.stage,
        "outcome": entry.outcome,
        "response_code": entry.response_code,
        "reason": entry.reason,
        "reason_text": entry_reason_text(registry, handler, entry),
        "attempt": entry.attempt,
        "who": entry.who,
    }
