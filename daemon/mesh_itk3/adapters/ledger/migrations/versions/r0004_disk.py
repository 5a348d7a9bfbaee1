"""A mailbox remembers the disk's refusals apart from MESH's: both may fail at once.

A migration is frozen: it says what it makes and imports nothing of the program, which goes on changing.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TIME = sa.TIMESTAMP(timezone=True).with_variant(sa.String(32), "sqlite")


def upgrade() -> None:
    op.add_column("mailbox_state", sa.Column("disk_failures", sa.Integer, nullable=False, server_default=sa.text("0")))
    op.add_column("mailbox_state", sa.Column("disk_since", _TIME))
    # Since when is not known: at the last poll at the latest.
    op.execute(
        """UPDATE mailbox_state SET disk_failures = failures, disk_since = last_poll_at, failures = 0, reason = NULL
        WHERE reason = 'storage_failed'"""
    )
