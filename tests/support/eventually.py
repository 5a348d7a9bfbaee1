"""Waiting for what another process does, with a deadline that only a fault reaches, however busy the machine."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import TypeVar

DEADLINE_S = 120.0
Value = TypeVar("Value")


def eventually(what: Callable[[], Value], within_s: float = DEADLINE_S) -> Value:
    """Waits until it is true; returns its value. What is not there yet may raise."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, IndexError, ValueError):
            if found := what():
                return found
        threading.Event().wait(0.05)
    raise AssertionError("it never came to pass")
