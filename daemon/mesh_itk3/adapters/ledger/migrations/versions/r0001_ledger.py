"""The first ledger: messages, their events, the outbox, mailbox state, leases.

A migration is frozen: it says what it makes and imports nothing of the program, which goes on changing.
"""

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TIME = sa.TIMESTAMP(timezone=True).with_variant(sa.String(32), "sqlite")


def upgrade() -> None:
    _make_message()
    _make_message_event()
    _make_response()
    _make_mailbox_state()
    _make_lease()
    _make_events_append_only()


def _sequence() -> sa.Column[int]:
    return sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), sa.Identity(), primary_key=True)


def _names(*names: str, nullable: bool = True) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.String, nullable=nullable) for name in names]


def _times(*names: str) -> list[sa.Column[datetime]]:
    return [sa.Column(name, _TIME) for name in names]


def _counts(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.Integer, nullable=False, server_default=sa.text("0")) for name in names]


def _flags(*names: str) -> list[sa.Column[bool]]:
    return [sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false()) for name in names]


def _index(name: str, table: str, columns: list[object], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))  # type: ignore[arg-type]


def _make_message() -> None:
    op.create_table(
        "message",
        _sequence(),
        *_names("mailbox_id", "mesh_message_id", "workflow_id", "kind", "state", nullable=False),
        sa.Column("received_at", _TIME, nullable=False),
        *_names("sender_mailbox_id", "local_id", "linked_message_id", "payload_name"),
        sa.Column("payload_bytes", sa.BigInteger),
        *_names("payload_sha256"),
        *_times("acknowledged_at"),
        *_names("message_header_id", "message_header_id_key", "event_code", "document_id", "document_id_key"),
        *_flags("is_replacement"),
        sa.Column("bus_ack_requested", sa.Boolean),
        sa.Column("inf_ack_requested", sa.Boolean),
        *_names("response_code", "handler"),
        *_counts("attempts", "interrupted"),
        *_flags("is_alone"),
        *_times("due_at"),
        *_names("reason", "parked_from", "decision_code", "decided_by"),
        *_times("decided_at", "accepted_at", "finished_at"),
        sa.Column("warnings", sa.String, nullable=False, server_default=""),
        *_names("duplicate_of"),
        *_flags("differs_from_first"),
        *_times("claimed_at"),
        sa.UniqueConstraint("mesh_message_id", "mailbox_id", name="message_mesh_message_id"),
    )
    op.create_index("message_by_state", "message", ["mailbox_id", "state", "received_at"])
    op.create_index("message_payload_name", "message", ["payload_name"], unique=True)
    _index("message_by_message_header_id", "message", ["message_header_id_key"], "message_header_id_key IS NOT NULL")
    op.create_index("message_by_local_id", "message", [sa.text("substr(local_id, 1, 64)")])
    _index("message_by_document_id", "message", ["document_id_key"], "accepted_at IS NOT NULL")
    _index("message_in_progress", "message", ["mailbox_id"], "claimed_at IS NOT NULL")
    _index("message_waiting", "message", ["mailbox_id"], "due_at IS NOT NULL")
    _index("message_differing", "message", ["mailbox_id"], "differs_from_first")


def _make_message_event() -> None:
    op.create_table(
        "message_event",
        _sequence(),
        *_names("mailbox_id", "mesh_message_id", nullable=False),
        sa.Column("at", _TIME, nullable=False),
        *_names("stage", "outcome", nullable=False),
        *_names("response_code", "reason"),
        sa.Column("attempt", sa.Integer),
        *_names("who"),
        sa.ForeignKeyConstraint(["mesh_message_id", "mailbox_id"], ["message.mesh_message_id", "message.mailbox_id"]),
    )
    op.create_index("message_event_by_message", "message_event", ["mesh_message_id", "mailbox_id"])


def _make_response() -> None:
    op.create_table(
        "response",
        _sequence(),
        *_names("local_id", "mailbox_id", "answered_mesh_message_id", "level", "response_code", "state", nullable=False),
        *_names("message_header_id", "message_header_id_key", "to_mailbox_id", "workflow_id", nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        *_names("mesh_message_id"),
        *_counts("attempts"),
        *_times("due_at", "unresolved_since", "sent_at", "tracked_at"),
        *_names("reason"),
        sa.UniqueConstraint("local_id", name="response_local_id"),
        sa.UniqueConstraint("answered_mesh_message_id", "mailbox_id", "level", name="response_once_per_level"),
        sa.ForeignKeyConstraint(["answered_mesh_message_id", "mailbox_id"], ["message.mesh_message_id", "message.mailbox_id"]),
    )
    _index("response_owed", "response", ["mailbox_id", "sequence"], "state = 'owed'")
    _index("response_sent", "response", ["mailbox_id", sa.text("coalesce(tracked_at, sent_at)")], "state = 'sent'")
    op.create_index("response_by_state", "response", ["mailbox_id", "state"])
    op.create_index("response_by_mesh_message_id", "response", ["mesh_message_id"])
    op.create_index("response_by_message_header_id", "response", ["message_header_id_key"])
    op.create_table(
        "response_body",
        sa.Column("local_id", sa.String, primary_key=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(["local_id"], ["response.local_id"]),
    )


def _make_mailbox_state() -> None:
    op.create_table(
        "mailbox_state",
        sa.Column("mailbox_id", sa.String, primary_key=True),
        *_times("last_handshake_at", "last_poll_at", "last_success_at"),
        *_counts("failures"),
        *_names("reason"),
    )


def _make_lease() -> None:
    op.create_table(
        "lease",
        sa.Column("mailbox_id", sa.String, primary_key=True),
        *_names("owner"),
        sa.Column("token", sa.BigInteger, nullable=False),
        *_times("expires_at"),
    )


def _make_events_append_only() -> None:
    """The timeline is the audit trail: nothing in it changes. DELETE stays possible, for retention."""
    statements = _APPEND_ONLY["sqlite" if op.get_bind().dialect.name == "sqlite" else "postgresql"]
    for statement in statements:
        op.execute(statement)


_APPEND_ONLY = {
    "sqlite": [
        """CREATE TRIGGER message_event_append_only BEFORE UPDATE ON message_event
        BEGIN SELECT RAISE(ABORT, 'message_event is append-only'); END""",
    ],
    "postgresql": [
        """CREATE FUNCTION message_event_append_only() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'message_event is append-only'; END $$""",
        """CREATE TRIGGER message_event_append_only BEFORE UPDATE ON message_event
        FOR EACH ROW EXECUTE FUNCTION message_event_append_only()""",
    ],
}
