"""Tells systemd how the service is: the protocol of sd_notify(3), one datagram a message."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

from mesh_itk3 import events
from mesh_itk3.settings_errors import one_line

SEND_TIMEOUT_S = 1.0
"""A guess: systemd reads at once, and a full socket must not hold up the daemon."""


class Notifier:
    """Speaks to the socket of $NOTIFY_SOCKET; without one (not under systemd) it does nothing. Never raises: what could
    not be told is logged. Safe to use from several threads.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        """`environ` None: this process's."""
        environ = os.environ if environ is None else environ
        address = environ.get("NOTIFY_SOCKET", "")
        # "@" stands for the NUL byte that begins the name of a socket in the abstract namespace.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog_interval_s = watchdog_interval_s(environ)
        """How often to call `watchdog`, in seconds: half of what systemd waits for. None where it does not watch us."""

    def ready(self, status: str = "") -> None:
        """Started, or reloaded, and at work."""
        self._tell("READY=1", *([f"STATUS={one_line(status)}"] if status else []))

    def status(self, text: str) -> None:
        """One line for `systemctl status`. No patient data: it is public."""
        self._tell(f"STATUS={one_line(text)}")

    def watchdog(self) -> None:
        """Still making progress."""
        self._tell("WATCHDOG=1")

    def reloading(self) -> None:
        """Reading the configuration again; `ready` ends it."""
        # MONOTONIC_USEC is asked for by Type=notify-reload (systemd 253 and later) and ignored by older ones.
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Told to stop, finishing what is in hand."""
        self._tell("STOPPING=1")

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as speaker:
                speaker.settimeout(SEND_TIMEOUT_S)
                speaker.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            events.emit(events.SERVICE_UNHEARD, **events.where(error))


def watchdog_interval_s(environ: Mapping[str, str]) -> float | None:
    """See `Notifier.watchdog_interval_s`."""
    limit_us, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not limit_us.isdecimal() or int(limit_us) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(limit_us) / 2_000_000
