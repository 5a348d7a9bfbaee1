"""Alembic runs this inside the transaction that `migrate` has begun; it is never run from Alembic's own command line."""

from alembic import context

from mesh_itk3.adapters.ledger.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    # SQLite can, too: an upgrade happens whole or not at all.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
