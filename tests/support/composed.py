"""The daemon as `composition` builds it, in this process, with time that the test holds and a mailbox of its choice."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime
from pathlib import Path

from mesh_itk3.composition import compose
from mesh_itk3.daemon import Daemon
from mesh_itk3.ports import Mailbox
from mesh_itk3.registry import Registry, registry_of
from mesh_itk3.settings import load_settings
from support.practice import Practice
from support.sandbox import PRACTICE
from support.stage_world import FakeClock


def a_composed_daemon(
    directory: Path, mailbox: Mailbox, *, extra: str = "", registry: Registry | None = None, clock: FakeClock | None = None
) -> Daemon:
    """It holds its one mailbox, PRACTICE; fresh, or over what an earlier one has left in `directory`. Close it."""
    practice = Practice(directory, "http://127.0.0.1:1", extra=extra)
    settings = load_settings(practice.config, None, os.environ)
    clock = clock or FakeClock(datetime.now(UTC))
    daemon = compose(settings, registry or registry_of(settings), clock=clock, stopping=threading.Event())
    daemon.hold()
    daemon.mailboxes[PRACTICE].close()
    daemon.mailboxes[PRACTICE] = daemon.collectors[PRACTICE].mailbox = mailbox
    return daemon
