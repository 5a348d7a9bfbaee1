"""What is wrong with a configuration although each of its values is fine: rules between keys, and files that they name."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mesh_itk3.settings_sources import KeyPath

if TYPE_CHECKING:
    from mesh_itk3.settings import Settings
    from mesh_itk3.settings_tables import DecisionsSettings, MailboxSettings, MeshSettings

SHORTEST_POLL_INTERVAL_S: Final = 300
"""MESH API: poll a mailbox at most once in five minutes, unless the last page was full."""


def broken_rules(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    """Key and sentence of everything that no single value is wrong about."""
    yield from _broken_mesh_rules(settings.mesh)
    if settings.has_secrets:
        yield from _unusable_files(settings.mesh)
    for mailbox_id, mailbox in settings.mailboxes.items():
        for key, text in _broken_mailbox_rules(mailbox, is_sandbox=settings.mesh.is_sandbox):
            yield ("mailboxes", mailbox_id, key), text
    yield from _broken_decision_rules(settings.decisions)
    if settings.payloads.store == "ledger":
        yield ("payloads", "store"), 'only "directory" is possible in this version'
    elif settings.ledger.sqlite_file is None and not settings.payloads.shared:
        yield ("payloads", "shared"), "must be true with a PostgreSQL ledger: all its daemons have to see the same directory"


def _broken_decision_rules(decisions: DecisionsSettings) -> Iterator[tuple[KeyPath, str]]:
    # Only where they were given: with a deadline of a few hours the usual reminders are simply left out.
    is_given = "reminder_hours" in decisions.model_fields_set
    if is_given and any(hours >= decisions.deadline_hours for hours in decisions.reminder_hours):
        yield ("decisions", "reminder_hours"), "must each be less than deadline_hours: they count back from the deadline"


def _broken_mesh_rules(mesh: MeshSettings) -> Iterator[tuple[KeyPath, str]]:
    if mesh.is_sandbox and mesh.url is None:
        yield ("mesh", "url"), "is required for the sandbox"
    if not mesh.is_sandbox and mesh.url is not None:
        yield ("mesh", "url"), "is for the sandbox only: the address of the real MESH is known"
    for key in ("client_certificate", "client_key"):
        if not mesh.is_sandbox and getattr(mesh, key) is None:
            yield ("mesh", key), "is required outside the sandbox"
    if mesh.is_sandbox and (mesh.client_certificate is None) != (mesh.client_key is None):
        yield ("mesh", "client_key"), "goes together with client_certificate"


def _unusable_files(mesh: MeshSettings) -> Iterator[tuple[KeyPath, str]]:
    for key in ("client_certificate", "client_key", "ca_file"):
        path: Path | None = getattr(mesh, key)
        problem = path and _unusable(path)
        if problem:
            yield ("mesh", key), problem


def _unusable(file: Path) -> str | None:
    """Asked of the operating system, opening nothing; None where this user may read the file."""
    try:
        is_file = stat.S_ISREG(file.stat().st_mode)
    except PermissionError:
        return "stands in a directory that this user may not enter"
    except OSError:
        return "no such file"
    if not is_file:
        return "is no file"
    return None if os.access(file, os.R_OK) else "is not readable by this user"


def _broken_mailbox_rules(mailbox: MailboxSettings, *, is_sandbox: bool) -> Iterator[tuple[str, str]]:
    if not is_sandbox and mailbox.poll_interval_s < SHORTEST_POLL_INTERVAL_S:
        yield "poll_interval_s", f"must be at least {SHORTEST_POLL_INTERVAL_S} outside the sandbox"
    if mailbox.foreign != "spool" and mailbox.spool is not None:
        yield "spool", 'is used only with foreign = "spool"'
