"""`mesh-itk3 ledger backup`: a consistent copy, beside the running daemon."""

from __future__ import annotations

import os
from pathlib import Path

from mesh_itk3.adapters.ledger import schema_revision
from mesh_itk3.adapters.ledger.copies import back_up
from mesh_itk3.commands.console import CommandRefused, Exit, print_json, say, shown
from mesh_itk3.commands.sqlite_ledger import settings_of_file
from mesh_itk3.ports import LedgerUnavailable


def back_up_ledger(config: Path, credentials: Path | None, target: Path, *, as_json: bool) -> int:
    """Durable and looked over on return. Never replaces a file."""
    target = target.absolute()
    _, file = settings_of_file(config, credentials, "backup")
    if target.exists() or target.is_symlink():
        raise CommandRefused(f"{target} is there already: give a name that is free")
    if not target.parent.is_dir():
        raise CommandRefused(f"there is no directory {target.parent}")
    if not os.access(target.parent, os.W_OK | os.X_OK, effective_ids=True):
        raise CommandRefused(f"the ledger's owner, as whom this acts, may not write into {target.parent}")
    if not file.is_file():
        raise LedgerUnavailable(f"there is no ledger file {file}")
    back_up(file, target)
    revision = schema_revision(f"sqlite:///{target}")
    size = target.stat().st_size
    if as_json:
        print_json({"backup": str(target), "bytes": size, "schema": revision})
    else:
        say(shown(f"{target}: {size} bytes, schema {revision}, looked over"))
        say("Copy the payload directory now, after it: see docs/operations.md.")
    return Exit.DONE
