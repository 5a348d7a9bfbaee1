"""One round of the daemon that kills itself with SIGKILL at one point: `python dying.py CONFIG PORT.METHOD before|after N`.

The daemon is the real one, composed as the service composes it; only the port that the point names is wrapped. A real
process dies, so what survives is what was durable.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from mesh_itk3.adapters.clock import SystemClock
from mesh_itk3.composition import compose
from mesh_itk3.daemon import Daemon
from mesh_itk3.once import run_once
from mesh_itk3.registry import registry_of
from mesh_itk3.settings import load_settings


class Dying:
    """Stands before a port and dies at the n-th call of one of its methods."""

    def __init__(self, target: Any, method: str, when: str, nth: int) -> None:
        self._target, self._method, self._when, self._nth = target, method, when, nth
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._target, name)
        return self._deadly(attribute) if name == self._method else attribute

    def _deadly(self, call: Any) -> Any:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self._lock:
                self._nth -= 1
                is_time = self._nth == 0
            if is_time and self._when == "before":
                die()
            answer = call(*args, **kwargs)
            if is_time:
                die()
            return answer

        return wrapped


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wrap(daemon: Daemon, port: str, method: str, when: str, nth: int) -> None:
    """Puts the dying port where the composed daemon has the living one."""
    if port == "handler":
        for loaded in filter(None, (found.loaded for found in daemon.registry.all)):
            object.__setattr__(loaded, "handler", Dying(loaded.handler, method, when, nth))
    elif port == "mailbox":
        for mailbox_id, mailbox in daemon.mailboxes.items():
            daemon.mailboxes[mailbox_id] = Dying(mailbox, method, when, nth)
            daemon.collectors[mailbox_id].mailbox = daemon.mailboxes[mailbox_id]
    else:
        dying = Dying(getattr(daemon, port), method, when, nth)
        setattr(daemon, port, dying)
        daemon.world = dataclasses.replace(daemon.world, **{port: dying})
        for collector in daemon.collectors.values():
            setattr(collector, port, dying)


def main(config: str, point: str, when: str, nth: str) -> int:
    settings = load_settings(Path(config), None, os.environ)
    daemon = compose(settings, registry_of(settings), clock=SystemClock(), stopping=threading.Event())
    daemon.hold()
    port, _, method = point.partition(".")
    wrap(daemon, port, method, when, int(nth))
    code = run_once(daemon, wait=daemon.stopping.wait)
    daemon.close()
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
