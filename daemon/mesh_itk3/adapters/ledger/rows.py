"""Rows of the tables as the values of the ports, and back. PURE: no connection is used here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Row

from mesh_itk3.adapters.ledger import schema
from mesh_itk3.adapters.ledger.prepared import Values
from mesh_itk3.adapters.ledger.schema import document_key, id_key
from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import (
    Changes,
    Entry,
    Kind,
    MailboxState,
    MessageKey,
    MessageRecord,
    NewResponse,
    PrunedPayload,
    Received,
    ResponseChanges,
    ResponseRecord,
    StoredPayload,
)

_OWN_FORM: Final = frozenset({"kind", "state", "parked_from", "warnings"})
_NOT_IN_RECORD: Final = frozenset(
    {"sequence", "mailbox_id", "mesh_message_id", "claimed_at", "message_header_id_key", "document_id_key"}
)
_PAYLOAD: Final = frozenset({"payload_name", "payload_bytes", "payload_sha256", "payload_pruned_at"})
_PLAIN: Final = tuple(
    column.name for column in schema.message.columns if column.name not in _OWN_FORM | _NOT_IN_RECORD | _PAYLOAD
)
"""Columns of a message that stand in its record under the same name and in the same form."""

_RESPONSE_OWN_FORM: Final = frozenset({"state", "sequence", "mailbox_id", "answered_mesh_message_id", "message_header_id_key"})
_RESPONSE_PLAIN: Final = tuple(column.name for column in schema.response.columns if column.name not in _RESPONSE_OWN_FORM)
_ENTRY: Final = tuple(field.name for field in fields(Entry))
_MAILBOX_STATE: Final = tuple(field.name for field in fields(MailboxState))


def message_record(row: Row[Any] | Values) -> MessageRecord:
    values = _by_name(row)
    return MessageRecord(
        key=MessageKey(values["mailbox_id"], values["mesh_message_id"]),
        kind=Kind(values["kind"]),
        state=State(values["state"]),
        payload=_payload(values),
        pruned=_pruned(values),
        parked_from=State(values["parked_from"]) if values["parked_from"] else None,
        warnings=tuple(values["warnings"].split()),
        **{name: values[name] for name in _PLAIN},
    )


def response_record(row: Row[Any] | Values) -> ResponseRecord:
    """The row may lack `body` (then empty) and `infrastructure_state`."""
    values = _by_name(row)
    infrastructure_state = values.get("infrastructure_state")
    return ResponseRecord(
        key=MessageKey(values["mailbox_id"], values["answered_mesh_message_id"]),
        state=ResponseState(values["state"]),
        body=bytes(values.get("body") or b""),
        infrastructure_state=ResponseState(infrastructure_state) if infrastructure_state else None,
        **{name: values[name] for name in _RESPONSE_PLAIN},
    )


def entry_record(row: Row[Any]) -> Entry:
    return Entry(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping


def answered_key(row: Row[Any]) -> MessageKey:
    """Of a response: the message that it answers."""
    return MessageKey(row.mailbox_id, row.answered_mesh_message_id)


def mailbox_state_record(row: Row[Any]) -> MailboxState:
    values = _by_name(row)
    return MailboxState(**{name: values[name] for name in _MAILBOX_STATE})


def mailbox_state_values(state: MailboxState) -> dict[str, Any]:
    """Without what only a restore changes: whoever notes a poll leaves that as it is."""
    return {name: _plain(getattr(state, name)) for name in _MAILBOX_STATE if name != "restored_at"}


def received_values(received: Received, entry: Entry, state: State) -> dict[str, Any]:
    return {
        **key_values(received.key),
        "workflow_id": received.workflow_id,
        "kind": received.kind.value,
        "state": state.value,
        "received_at": received.received_at,
        "sender_mailbox_id": received.sender_mailbox_id,
        "local_id": received.local_id,
        "linked_message_id": received.linked_message_id,
        "reason": _plain(entry.reason),
        **payload_values(received.payload),
    }


def payload_values(payload: StoredPayload | None) -> dict[str, Any]:
    return {
        "payload_name": payload.name if payload else None,
        "payload_bytes": payload.bytes if payload else None,
        "payload_sha256": payload.sha256 if payload else None,
    }


def key_values(key: MessageKey) -> dict[str, Any]:
    return {"mailbox_id": key.mailbox_id, "mesh_message_id": key.mesh_message_id}


def event_values(key: MessageKey, entry: Entry) -> dict[str, Any]:
    return {**key_values(key), **entry_values(entry)}


def entry_values(entry: Entry) -> dict[str, Any]:
    return {name: _plain(getattr(entry, name)) for name in _ENTRY}


def changed_values(changes: Changes) -> dict[str, Any]:
    """Columns for an UPDATE, with the compare forms of the ids that change."""
    values = {name: _plain(value) for name, value in changes.items()}
    if "warnings" in changes:
        values["warnings"] = " ".join(changes["warnings"])
    if "message_header_id" in changes:
        message_header_id = changes["message_header_id"]
        values["message_header_id_key"] = None if message_header_id is None else id_key(message_header_id)
    if "document_id" in changes:
        document_id = changes["document_id"]
        values["document_id_key"] = None if document_id is None else document_key(document_id)
    return values


def changed_response_values(changes: ResponseChanges) -> dict[str, Any]:
    return {name: _plain(value) for name, value in changes.items()}


def response_values(key: MessageKey, owed: NewResponse, entry: Entry) -> dict[str, Any]:
    return {
        "local_id": owed.local_id,
        "mailbox_id": key.mailbox_id,
        "answered_mesh_message_id": key.mesh_message_id,
        "level": owed.level,
        "response_code": _plain(owed.response_code),
        "state": ResponseState.OWED.value,
        "message_header_id": owed.message_header_id,
        "message_header_id_key": id_key(owed.message_header_id),
        "to_mailbox_id": owed.to_mailbox_id,
        "workflow_id": owed.workflow_id,
        "created_at": entry.at,
    }


def _by_name(row: Row[Any] | Values) -> Values:
    # SQLAlchemy's own mapping looks a name up at every use, which costs more than the row did.
    return row if isinstance(row, dict) else dict(zip(row._fields, row, strict=True))


def _payload(values: Mapping[str, Any]) -> StoredPayload | None:
    if values["payload_name"] is None:
        return None
    return StoredPayload(name=values["payload_name"], bytes=values["payload_bytes"], sha256=values["payload_sha256"])


def _pruned(values: Mapping[str, Any]) -> PrunedPayload | None:
    if values["payload_name"] is not None or values["payload_pruned_at"] is None:
        return None
    return PrunedPayload(at=values["payload_pruned_at"], bytes=values["payload_bytes"], sha256=values["payload_sha256"])


def _plain(value: object) -> object:
    # Callers pass members of our enumerations as strings; drivers differ in what they make of them.
    return value.value if isinstance(value, StrEnum) else value
