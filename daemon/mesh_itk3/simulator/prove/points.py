"""Crash points: every call that the daemon's stages make of a port is one before it and one after it.

Nothing in the daemon knows of them. A composed daemon's ports are wrapped; each wrapped call passes two points with a name,
`before ledger.apply` and `after ledger.apply`. What happens at a point is up to the `Watch`.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from mesh_itk3.daemon import Daemon
from mesh_itk3.registry import Registry
from mesh_itk3.stages.world import World

Passing = Callable[[str], None]
"""Called with the name of each point that is passed."""

_DOWNLOADS: Final = frozenset({"open"})
_WALKS: Final = frozenset({"pages"})


def kill_this_process() -> None:
    """As the kernel would: nothing is tidied up."""
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(slots=True)
class Watch:
    """Counts the points that a run passes, and kills the process at the n-th."""

    kill_at: int | None = None
    """None: only counts."""
    named: str | None = None
    """Only points of this name count; None: all of them."""
    note: Callable[[str], None] = lambda _: None
    """Told the name of each point that counts, before anything happens there."""
    is_armed: Callable[[], bool] = lambda: True
    """Asked at each point: whether points count now."""
    kill: Callable[[], None] = kill_this_process
    """What happens at the n-th."""
    passed: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, point: str) -> None:
        if self.named not in (None, point) or not self.is_armed():
            return
        with self._lock:
            self.passed += 1
            self.note(point)
            if self.passed == self.kill_at:
                self.kill()


class Watched:
    """Stands before a port: each call of one of its methods passes a point before and a point after."""

    def __init__(self, target: Any, name: str, passing: Passing) -> None:
        self._target, self._name, self._passing = target, name, passing

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._target, name)
        return _watched_call(attribute, f"{self._name}.{name}", name, self._passing) if callable(attribute) else attribute


def _watched_call(call: Callable[..., Any], point: str, method: str, passing: Passing) -> Callable[..., Any]:
    def watched(*args: Any, **kwargs: Any) -> Any:
        passing(f"before {point}")
        answer = call(*args, **kwargs)
        passing(f"after {point}")
        if method in _DOWNLOADS and hasattr(answer, "write_to"):
            return Watched(answer, "download", passing)
        return _watched_walk(answer, passing) if method in _WALKS else answer

    return watched


def _watched_walk(pages: Iterator[Any], passing: Passing) -> Iterator[Any]:
    for page in pages:
        passing("after mailbox.page")
        yield page


def watch(daemon: Daemon, passing: Passing) -> None:
    """Wraps every port of a composed daemon: from now on each call of one passes two points."""
    daemon.world = watched_world(daemon.world, passing)
    daemon.ledger, daemon.payloads = watched_port(daemon.ledger, "ledger", passing), daemon.world.payloads
    watch_handlers(daemon.registry, passing)
    for mailbox_id, mailbox in daemon.mailboxes.items():
        watched: Any = Watched(mailbox, "mailbox", passing)
        daemon.mailboxes[mailbox_id] = watched
        collector = daemon.collectors[mailbox_id]
        collector.mailbox, collector.ledger, collector.payloads = watched, daemon.ledger, daemon.payloads
        daemon.guards[mailbox_id].ledger = daemon.ledger
        collector.collected = _watched_call(collector.collected, "stage.collected", "", passing)
        if collector.spool is not None:
            collector.spool = Watched(collector.spool, "spool", passing)


def watched_world(world: World, passing: Passing) -> World:
    """The same for the stages after collect, in whichever process they run. That others are told of a commit is a point too."""
    return dataclasses.replace(
        world,
        ledger=watched_port(world.ledger, "ledger", passing),
        payloads=watched_port(world.payloads, "payloads", passing),
        files=watched_port(world.files, "files", passing),
        patients=watched_port(world.patients, "patients", passing),
        owed=_watched_call(world.owed, "stage.owed", "", passing),
    )


def watch_handlers(registry: Registry, passing: Passing) -> None:
    """The same for the two hooks of every handler that can work."""
    for loaded in filter(None, (found.loaded for found in registry.all)):
        object.__setattr__(loaded, "handler", Watched(loaded.handler, "handler", passing))


def watched_port(port: Any, name: str, passing: Passing) -> Any:
    """One port by itself, for whoever composes no daemon: a command has only a ledger."""
    return Watched(port, name, passing)
