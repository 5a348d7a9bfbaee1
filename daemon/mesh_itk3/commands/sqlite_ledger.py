"""What the verbs of `mesh-itk3 ledger` begin with: they are for a ledger in a file."""

from __future__ import annotations

from pathlib import Path

from mesh_itk3.commands.console import CommandRefused
from mesh_itk3.commands.opened import become_owner, read_settings
from mesh_itk3.settings import Settings

USE_INSTEAD = {
    "check": "the server's own tools look at its files: pg_amcheck",
    "backup": "pg_dump makes the backup",
    "restore": "stop every daemon, then pg_restore; see docs/operations.md",
}


def settings_of_file(config: Path, credentials: Path | None, verb: str) -> tuple[Settings, Path]:
    """The configuration, and the file of its ledger; as its owner from here on. Raises CommandRefused on PostgreSQL."""
    settings = read_settings(config, credentials, needs_secrets=False)
    file = settings.ledger.sqlite_file
    if file is None:
        raise CommandRefused(f"this ledger is in PostgreSQL: {USE_INSTEAD[verb]}")
    become_owner(settings)
    return settings, file
