"""The ledger's tables. The migrations bring a ledger to exactly this; a test compares the two.

Rows are named by what MESH names them by, mailbox and MESH message id, so that a batch of steps is three statements and
never a look-up. Columns ending `_key` hold an id in the form in which ids are compared,
never longer than an index can take: PostgreSQL refuses an entry of more than a third of a page.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import (
    TIMESTAMP,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Dialect,
    ForeignKeyConstraint,
    FromClause,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    TypeDecorator,
    UniqueConstraint,
    bindparam,
    false,
    func,
    or_,
    text,
)
from sqlalchemy.types import TypeEngine

from mesh_itk3.itk3.resource import normalise_id
from mesh_itk3.retry import latest_due_at

REVISION: Final = "0005"
"""The newest migration: what this program reads and writes."""
VERSION_TABLE: Final = "mesh_itk3_schema"
"""Holds the ledger's revision. A name of our own, so that another program's database is never taken for a ledger."""


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC time, exact to the microsecond; order and equality hold in SQL. SQLite gets text of one width."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str] | TypeEngine[datetime]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(32))
        return dialect.type_descriptor(TIMESTAMP(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone reached the ledger")
        at = value.astimezone(UTC)
        return at.isoformat(timespec="microseconds") if dialect.name == "sqlite" else at

    def process_result_value(self, value: str | datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        if value is None:
            return None
        return datetime.fromisoformat(value) if isinstance(value, str) else value.astimezone(UTC)


metadata = MetaData()
_sequence_type = BigInteger().with_variant(Integer, "sqlite")


def _sequence() -> Column[int]:
    return Column("sequence", _sequence_type, Identity(), primary_key=True)


message = Table(
    "message",
    metadata,
    _sequence(),
    Column("mailbox_id", String, nullable=False),
    Column("mesh_message_id", String, nullable=False),
    Column("workflow_id", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("state", String, nullable=False),
    Column("received_at", UtcTime, nullable=False),
    Column("sender_mailbox_id", String),
    Column("local_id", String),
    Column("linked_message_id", String),
    Column("payload_name", String),
    Column("payload_bytes", BigInteger),
    Column("payload_sha256", String),
    Column("acknowledged_at", UtcTime),
    Column("message_header_id", String),
    Column("message_header_id_key", String),
    Column("event_code", String),
    Column("document_id", String),
    Column("document_id_key", String),
    Column("is_replacement", Boolean, nullable=False, server_default=false()),
    Column("bus_ack_requested", Boolean),
    Column("inf_ack_requested", Boolean),
    Column("response_code", String),
    Column("handler", String),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("interrupted", Integer, nullable=False, server_default=text("0")),
    Column("is_alone", Boolean, nullable=False, server_default=false()),
    Column("due_at", UtcTime),
    Column("reason", String),
    Column("parked_from", String),
    Column("decision_code", String),
    Column("decided_by", String),
    Column("decided_at", UtcTime),
    Column("accepted_at", UtcTime),
    Column("finished_at", UtcTime),
    Column("warnings", String, nullable=False, server_default=""),
    Column("duplicate_of", String),
    Column("differs_from_first", Boolean, nullable=False, server_default=false()),
    # In progress: committed before anybody touches the bytes, cleared by the step that follows (or by recovery).
    Column("claimed_at", UtcTime),
    Column("sender_not_told", Boolean, nullable=False, server_default=false()),
    Column("deferred_at", UtcTime),
    Column("reminded_at", UtcTime),
    Column("seen_at", UtcTime),
    Column("seen_by", String),
    Column("answers_local_id", String),
    # Retention: its bytes are gone by the practice's own rule (size and digest stay), and so are lines of its timeline.
    Column("payload_pruned_at", UtcTime),
    Column("events_pruned_at", UtcTime),
    UniqueConstraint("mesh_message_id", "mailbox_id", name="message_mesh_message_id"),
)
Index("message_by_state", message.c.mailbox_id, message.c.state, message.c.received_at)
Index("message_payload_name", message.c.payload_name, unique=True)
local_id_start: Final = func.substr(message.c.local_id, text("1"), text("64"))
"""What is indexed of a sender's local id, which may be of any length."""
Index("message_by_local_id", local_id_start)


def _partial_index(name: str, *columns: object, where: str, unique: bool = False) -> None:
    Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))  # type: ignore[arg-type]


READ: Final = "message_header_id_key IS NOT NULL"
ACCEPTED: Final = "accepted_at IS NOT NULL"
IN_PROGRESS: Final = "claimed_at IS NOT NULL"
UNSEEN: Final = "seen_at IS NULL AND (sender_not_told OR differs_from_first)"
ANSWERING: Final = "answers_local_id IS NOT NULL"
OWED: Final = "state = 'owed'"
SENT: Final = "state = 'sent'"
RAISED: Final = "seen_at IS NULL AND (raised_at IS NOT NULL OR state IN ('undelivered', 'parked'))"
WAITING: Final = "due_at IS NOT NULL"
FINISHED_WITH_PAYLOAD: Final = "finished_at IS NOT NULL AND payload_name IS NOT NULL"
DELIVERED_WITH_BYTES: Final = "state = 'delivered' AND body_pruned_at IS NULL"
"""Conditions of the partial indexes. A query that says one of them word for word is answered from that index: neither
engine can tell it from a parameter's value.
"""

# Not of what has not been read yet: each index costs the collector a page at every commit.
_partial_index("message_by_message_header_id", message.c.message_header_id_key, where=READ)
_partial_index("message_by_document_id", message.c.document_id_key, where=ACCEPTED)
_partial_index("message_in_progress", message.c.mailbox_id, where=IN_PROGRESS)
_partial_index("message_waiting", message.c.mailbox_id, where=WAITING)
_partial_index("message_unseen", message.c.mailbox_id, where=UNSEEN)
_partial_index("message_by_answered", message.c.answers_local_id, where=ANSWERING)
_partial_index("message_finished_with_payload", message.c.state, message.c.finished_at, where=FINISHED_WITH_PAYLOAD)

message_event = Table(
    "message_event",
    metadata,
    _sequence(),
    Column("mailbox_id", String, nullable=False),
    Column("mesh_message_id", String, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("stage", String, nullable=False),
    Column("outcome", String, nullable=False),
    Column("response_code", String),
    Column("reason", String),
    Column("attempt", Integer),
    Column("who", String),
    ForeignKeyConstraint(["mesh_message_id", "mailbox_id"], ["message.mesh_message_id", "message.mailbox_id"]),
)
Index("message_event_by_message", message_event.c.mesh_message_id, message_event.c.mailbox_id)

response = Table(
    "response",
    metadata,
    _sequence(),
    Column("local_id", String, nullable=False),
    Column("mailbox_id", String, nullable=False),
    Column("answered_mesh_message_id", String, nullable=False),
    Column("level", String, nullable=False),
    Column("response_code", String, nullable=False),
    Column("state", String, nullable=False),
    Column("message_header_id", String, nullable=False),
    Column("message_header_id_key", String, nullable=False),
    Column("to_mailbox_id", String, nullable=False),
    Column("workflow_id", String, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("mesh_message_id", String),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("due_at", UtcTime),
    Column("unresolved_since", UtcTime),
    Column("sent_at", UtcTime),
    Column("tracked_at", UtcTime),
    Column("reason", String),
    Column("status_code", String),
    Column("raised_at", UtcTime),
    Column("seen_at", UtcTime),
    Column("body_pruned_at", UtcTime),
    # After a restore: MESH may have an answer of before, which is not in this ledger.
    Column("written_anew", Boolean, nullable=False, server_default=false()),
    UniqueConstraint("local_id", name="response_local_id"),
    # At most one response per level, ever: whatever goes wrong elsewhere, a sender is not answered twice. That nothing
    # follows a negative infrastructure response is a trigger: see migration 0002.
    UniqueConstraint("answered_mesh_message_id", "mailbox_id", "level", name="response_once_per_level"),
    ForeignKeyConstraint(["answered_mesh_message_id", "mailbox_id"], ["message.mesh_message_id", "message.mailbox_id"]),
)
ASKED_AT: Final = func.coalesce(response.c.tracked_at, response.c.sent_at)
"""When MESH last had to do with a response that was sent."""
_partial_index("response_owed", response.c.mailbox_id, response.c.sequence, where=OWED)
_partial_index("response_sent", response.c.mailbox_id, ASKED_AT, where=SENT)
_partial_index("response_raised", response.c.mailbox_id, where=RAISED)
_partial_index("response_delivered_with_bytes", response.c.created_at, where=DELIVERED_WITH_BYTES)
Index("response_by_state", response.c.mailbox_id, response.c.state)
Index("response_by_mesh_message_id", response.c.mesh_message_id)
Index("response_by_message_header_id", response.c.message_header_id_key)

# Apart from `response`, whose row changes at every send and report: SQLite would write the bytes again each time.
response_body = Table(
    "response_body",
    metadata,
    Column("local_id", String, primary_key=True),
    Column("body", LargeBinary, nullable=False),
    ForeignKeyConstraint(["local_id"], ["response.local_id"]),
)

mailbox_state = Table(
    "mailbox_state",
    metadata,
    Column("mailbox_id", String, primary_key=True),
    Column("last_handshake_at", UtcTime),
    Column("last_poll_at", UtcTime),
    Column("last_success_at", UtcTime),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("reason", String),
    # Of the disk, apart from MESH: they fail at the same time, and the end of one is not the end of the other.
    Column("disk_failures", Integer, nullable=False, server_default=text("0")),
    Column("disk_since", UtcTime),
    # A backup was put in the ledger's place then: what had come by that time may have been answered already.
    Column("restored_at", UtcTime),
    # The last message (its `sequence`) that had come by that time. By number, for the clock may have been wrong when one came.
    # None: whatever comes; letters are still being taken up.
    Column("restored_up_to", BigInteger),
)

# PostgreSQL only: on SQLite one lock of the operating system stands for all mailboxes.
lease = Table(
    "lease",
    metadata,
    Column("mailbox_id", String, primary_key=True),
    Column("owner", String),
    Column("token", BigInteger, nullable=False),
    Column("expires_at", UtcTime),
)


def is_due(table: FromClause) -> ColumnElement[bool]:
    """That a message or a response may be tried now: it was not put off, or so long ago, or by a clock that was wrong. Takes
    the parameters of `due_now`.
    """
    due_at = table.c.due_at
    return or_(due_at.is_(None), due_at <= bindparam("b_now"), due_at > bindparam("b_latest"))


def due_now(now: datetime) -> dict[str, datetime]:
    """The parameters that `is_due` takes."""
    return {"b_now": now, "b_latest": latest_due_at(now)}


LONGEST_KEY: Final = 64
"""FHIR's longest id."""


def id_key(identifier: str) -> str:
    """The form in which ids are compared and indexed, whatever a sender has written into one."""
    return _bounded(normalise_id(identifier))


def document_key(document_id: str) -> str:
    """The form in which `system|value` is compared and indexed; only the value may be a urn."""
    system, bar, value = document_id.rpartition("|")
    return _bounded(f"{system.strip().lower()}{bar}{normalise_id(value)}")


def _bounded(key: str) -> str:
    """A digest stands for what is long or no plain text. Being longer than `LONGEST_KEY` it can be nobody's plain id."""
    if len(key) <= LONGEST_KEY and key.isascii() and key.isprintable():
        return key
    return "sha256:" + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
