"""Retention: rows let go of their payload, their timeline or their bytes, and say when. Two indexes find what may go.

A migration is frozen: it says what it makes and imports nothing of the program, which goes on changing.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TIME = sa.TIMESTAMP(timezone=True).with_variant(sa.String(32), "sqlite")


def upgrade() -> None:
    op.add_column("message", sa.Column("payload_pruned_at", _TIME))
    op.add_column("message", sa.Column("events_pruned_at", _TIME))
    op.add_column("response", sa.Column("body_pruned_at", _TIME))
    # Written when a message is finished, not when it is collected: the collector pays nothing for it.
    kept = "finished_at IS NOT NULL AND payload_name IS NOT NULL"
    _index("message_finished_with_payload", "message", ["state", "finished_at"], kept)
    _index("response_delivered_with_bytes", "response", ["created_at"], "state = 'delivered' AND body_pruned_at IS NULL")


def _index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
