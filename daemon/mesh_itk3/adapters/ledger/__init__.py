"""The durable record of everything, over SQLAlchemy: SQLite for one machine, PostgreSQL for many daemons."""

from mesh_itk3.adapters.ledger.collectors import owner_name
from mesh_itk3.adapters.ledger.engine import undurable_settings
from mesh_itk3.adapters.ledger.ledger import SqlLedger, open_held_ledger, open_ledger
from mesh_itk3.adapters.ledger.migrate import MigrationResult, migrate, schema_revision
from mesh_itk3.adapters.ledger.write_ahead_log import settle_log

__all__ = [
    "MigrationResult",
    "SqlLedger",
    "migrate",
    "open_held_ledger",
    "open_ledger",
    "owner_name",
    "schema_revision",
    "settle_log",
    "undurable_settings",
]
