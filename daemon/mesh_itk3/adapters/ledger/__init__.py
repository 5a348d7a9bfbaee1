"""The durable record of everything, over SQLAlchemy: SQLite for one machine, PostgreSQL for many daemons."""

from mesh_itk3.adapters.ledger.ledger import SqlLedger, open_held_ledger, open_ledger
from mesh_itk3.adapters.ledger.migrate import MigrationResult, migrate, schema_revision

__all__ = ["MigrationResult", "SqlLedger", "migrate", "open_held_ledger", "open_ledger", "schema_revision"]
