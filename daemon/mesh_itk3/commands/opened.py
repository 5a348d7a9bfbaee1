"""Configuration and ledger for the commands, beside the daemon or without it: to look at, or to change."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from mesh_itk3.adapters.ledger import open_ledger, owner_name, settle_log
from mesh_itk3.adapters.logging import configure_logging
from mesh_itk3.adapters.owner import act_as_owner
from mesh_itk3.ports import Ledger, LedgerUnavailable
from mesh_itk3.settings import Settings, load_settings


def read_settings(config: Path, credentials: Path | None, *, needs_secrets: bool) -> Settings:
    """The configuration, in force for this process's log too. Without `needs_secrets`, passwords, shared key and
    certificate may be missing or closed to this user. Raises ConfigInvalid.
    """
    settings = load_settings(config, credentials, os.environ, needs_secrets=needs_secrets)
    configure_logging(settings.log_level, log_format=settings.log_format)
    return settings


@contextmanager
def existing_ledger(settings: Settings) -> Iterator[Ledger]:
    """The ledger that is there; never a new one, never a new schema. To look at: also where the log that a dead daemon has
    left cannot be made durable, for then somebody has to look. Raises LedgerUnavailable, saying what to do.
    """
    become_owner(settings)
    with suppress(LedgerUnavailable):  # what is wrong with the ledger itself is said below
        settle_log(settings.ledger.url.get_secret_value())
    with _opened(settings) as ledger:
        yield ledger


@contextmanager
def ledger_to_change(settings: Settings) -> Iterator[Ledger]:
    """The same for a command that writes: it builds on nothing that a power cut could still take away."""
    become_owner(settings)
    with _saying_which(settings):
        settle_log(settings.ledger.url.get_secret_value())
    with _opened(settings) as ledger:
        yield ledger


@contextmanager
def _opened(settings: Settings) -> Iterator[Ledger]:
    with _saying_which(settings):
        ledger = open_ledger(settings.ledger.url.get_secret_value(), owner=f"command:{owner_name()}")
    with closing(ledger):
        yield ledger


@contextmanager
def _saying_which(settings: Settings) -> Iterator[None]:
    try:
        yield
    except LedgerUnavailable as unusable:
        raise LedgerUnavailable(f"{settings.ledger.shown}: {unusable}") from None


def user_name() -> str:
    """Whose rights this process has, for a person."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user {os.geteuid()}"


def become_owner(settings: Settings) -> None:
    """Root acts as the ledger's owner from here on: SQLite makes files beside it, and those of root would stop the
    daemon.
    """
    if settings.ledger.sqlite_file is not None:
        act_as_owner(settings.ledger.sqlite_file)
