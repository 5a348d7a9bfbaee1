"""Duties over time: who has not been told, what a person has seen, since when a decision waits, which response of ours
an incoming one answers. And two triggers: nothing follows a negative infrastructure response.

A migration is frozen: it says what it makes and imports nothing of the program, which goes on changing.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TIME = sa.TIMESTAMP(timezone=True).with_variant(sa.String(32), "sqlite")


def upgrade() -> None:
    _add_columns()
    _fill_columns()
    _change_indexes()
    _let_nothing_follow_a_negative()


def _add_columns() -> None:
    op.add_column("message", sa.Column("sender_not_told", sa.Boolean, nullable=False, server_default=sa.false()))
    for name in ("deferred_at", "reminded_at", "seen_at"):
        op.add_column("message", sa.Column(name, _TIME))
    for name in ("seen_by", "answers_local_id"):
        op.add_column("message", sa.Column(name, sa.String))
    op.add_column("response", sa.Column("status_code", sa.String))
    for name in ("raised_at", "seen_at"):
        op.add_column("response", sa.Column(name, _TIME))


def _fill_columns() -> None:
    """What an older program has written, said in the new words."""
    op.execute(
        """UPDATE message SET sender_not_told = true WHERE state = 'rejected' AND kind = 'message' AND NOT EXISTS (
        SELECT 1 FROM response WHERE response.answered_mesh_message_id = message.mesh_message_id
        AND response.mailbox_id = message.mailbox_id)"""
    )
    op.execute(
        """UPDATE message SET deferred_at = coalesce((SELECT max(message_event.at) FROM message_event
        WHERE message_event.mesh_message_id = message.mesh_message_id AND message_event.mailbox_id = message.mailbox_id
        AND message_event.outcome = 'awaiting_decision'), received_at) WHERE state = 'awaiting_decision'"""
    )
    op.execute(
        """UPDATE message SET answers_local_id = (SELECT min(response.local_id) FROM response
        WHERE response.mesh_message_id = message.linked_message_id AND response.mailbox_id = message.mailbox_id)
        WHERE state = 'correlated' AND linked_message_id IS NOT NULL"""
    )


def _change_indexes() -> None:
    op.drop_index("message_differing", "message")
    _index("message_unseen", "message", ["mailbox_id"], "seen_at IS NULL AND (sender_not_told OR differs_from_first)")
    _index("message_by_answered", "message", ["answers_local_id"], "answers_local_id IS NOT NULL")
    raised = "seen_at IS NULL AND (raised_at IS NOT NULL OR state IN ('undelivered', 'parked'))"
    _index("response_raised", "response", ["mailbox_id"], raised)


def _index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _let_nothing_follow_a_negative() -> None:
    statements = _NOTHING_FOLLOWS["sqlite" if op.get_bind().dialect.name == "sqlite" else "postgresql"]
    for statement in statements:
        op.execute(statement)


# Explore_response_structure: every negative infrastructure code is fatal, nothing follows it whatever the flags say. Both
# ways round: a business response beside a refusal, and a refusal beside a business response. SQLite has no triggers that
# call a function, PostgreSQL none without one.
_NOTHING_FOLLOWS = {
    "sqlite": [
        """CREATE TRIGGER response_nothing_after_negative BEFORE INSERT ON response
        WHEN NEW.level = 'business' AND (EXISTS (SELECT 1 FROM message
            WHERE message.mesh_message_id = NEW.answered_mesh_message_id AND message.mailbox_id = NEW.mailbox_id
            AND message.state = 'rejected')
          OR EXISTS (SELECT 1 FROM response AS earlier
            WHERE earlier.answered_mesh_message_id = NEW.answered_mesh_message_id AND earlier.mailbox_id = NEW.mailbox_id
            AND earlier.level = 'infrastructure' AND earlier.response_code <> '20013'))
        BEGIN SELECT RAISE(ABORT, 'nothing follows a negative infrastructure response'); END""",
        """CREATE TRIGGER response_no_negative_after_business BEFORE INSERT ON response
        WHEN NEW.level = 'infrastructure' AND NEW.response_code <> '20013' AND EXISTS (SELECT 1 FROM response AS earlier
            WHERE earlier.answered_mesh_message_id = NEW.answered_mesh_message_id AND earlier.mailbox_id = NEW.mailbox_id
            AND earlier.level = 'business')
        BEGIN SELECT RAISE(ABORT, 'nothing follows a negative infrastructure response'); END""",
        """CREATE TRIGGER message_not_rejected_after_business BEFORE UPDATE OF state ON message
        WHEN NEW.state = 'rejected' AND OLD.state <> 'rejected' AND EXISTS (SELECT 1 FROM response
            WHERE response.answered_mesh_message_id = NEW.mesh_message_id AND response.mailbox_id = NEW.mailbox_id
            AND response.level = 'business')
        BEGIN SELECT RAISE(ABORT, 'nothing follows a negative infrastructure response'); END""",
    ],
    "postgresql": [
        """CREATE FUNCTION nothing_follows_a_negative() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.level = 'business' AND (EXISTS (SELECT 1 FROM message
            WHERE message.mesh_message_id = NEW.answered_mesh_message_id AND message.mailbox_id = NEW.mailbox_id
            AND message.state = 'rejected')
          OR EXISTS (SELECT 1 FROM response AS earlier
            WHERE earlier.answered_mesh_message_id = NEW.answered_mesh_message_id AND earlier.mailbox_id = NEW.mailbox_id
            AND earlier.level = 'infrastructure' AND earlier.response_code <> '20013'))
        OR NEW.level = 'infrastructure' AND NEW.response_code <> '20013' AND EXISTS (SELECT 1 FROM response AS earlier
            WHERE earlier.answered_mesh_message_id = NEW.answered_mesh_message_id AND earlier.mailbox_id = NEW.mailbox_id
            AND earlier.level = 'business')
        THEN RAISE EXCEPTION 'nothing follows a negative infrastructure response'
            USING ERRCODE = 'integrity_constraint_violation'; END IF;
        RETURN NEW; END $$""",
        """CREATE TRIGGER response_nothing_after_negative BEFORE INSERT ON response FOR EACH ROW
        WHEN (NEW.level = 'business' OR NEW.response_code <> '20013') EXECUTE FUNCTION nothing_follows_a_negative()""",
        """CREATE FUNCTION not_rejected_after_business() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF EXISTS (SELECT 1 FROM response
            WHERE response.answered_mesh_message_id = NEW.mesh_message_id AND response.mailbox_id = NEW.mailbox_id
            AND response.level = 'business')
        THEN RAISE EXCEPTION 'nothing follows a negative infrastructure response'
            USING ERRCODE = 'integrity_constraint_violation'; END IF;
        RETURN NEW; END $$""",
        """CREATE TRIGGER message_not_rejected_after_business BEFORE UPDATE OF state ON message FOR EACH ROW
        WHEN (NEW.state = 'rejected' AND OLD.state <> 'rejected') EXECUTE FUNCTION not_rejected_after_business()""",
    ],
}
