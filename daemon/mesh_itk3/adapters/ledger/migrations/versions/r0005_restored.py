"""A mailbox remembers that its ledger was restored, and a response that it was written anew since: MESH may have its first.

A migration is frozen: it says what it makes and imports nothing of the program, which goes on changing.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TIME = sa.TIMESTAMP(timezone=True).with_variant(sa.String(32), "sqlite")


def upgrade() -> None:
    op.add_column("mailbox_state", sa.Column("restored_at", _TIME))
    op.add_column("mailbox_state", sa.Column("restored_up_to", sa.BigInteger))
    op.add_column("response", sa.Column("written_anew", sa.Boolean, nullable=False, server_default=sa.false()))
