"""The inner process as the service sees it: started, told, watched, started again when it has died."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Final

from mesh_itk3 import events
from mesh_itk3.inner_words import IDLE, LOOK, LOOKING, LOST, OWED, READY, STOP, Start, stage_of
from mesh_itk3.scheduler import STALL_AFTER_S

READY_WITHIN_S: Final = 60.0
"""A guess: an interpreter, its imports and the handlers, on a machine that is busy starting."""
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 10.0
"""Between a death and the next start: a process that dies at once must not become a hot loop."""
STEADY_AFTER_S: Final = 300.0
"""Having lived so long, the next death is a first one again."""


def pause_s(deaths: int) -> float:
    """How long to wait after so many deaths in a row."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(deaths - 1, 10)) if deaths else 0.0


@dataclass(slots=True)
class InnerProcess:
    """At most one child at a time. `start`, `stop` and `revive` belong to the main thread: the child dies with the thread
    that started it.
    """

    clock: Callable[[], float]
    """Monotonic seconds."""
    owed: Callable[[], None]
    """Called when responses may be owed."""
    lost: Callable[[], None]
    """Called when another daemon has the mailboxes."""
    noticed: Callable[[], None]
    """Called when it has died: somebody should call `revive`."""
    _process: subprocess.Popen[bytes] | None = None
    _channel: Connection | None = None
    _begun: threading.Event = field(default_factory=threading.Event)
    """Set when it is ready, or dead before that."""
    _is_ready: bool = False
    _is_stopping: bool = False
    _has_been_told: bool = False
    """To look, and has not said that it does."""
    _stage: str | None = None
    _beat_at: float = 0.0
    _started_at: float = 0.0
    _deaths: int = 0
    """In a row."""
    _not_before: float = 0.0

    @property
    def pid(self) -> int | None:
        """None while there is none."""
        return self._process.pid if self._process else None

    def start(self, start: Start) -> bool:
        """Whether it is at work on return; where it is not, `has_ended` soon says so. The settings are handed over, not read
        again: what stands in their file now may be half edited.
        """
        ours, theirs = Pipe()
        command = [sys.executable, "-m", "mesh_itk3.inner", str(os.getpid()), str(theirs.fileno())]
        self._begun.clear()
        self._is_ready = self._is_stopping = self._has_been_told = False
        self._stage, self._started_at, self._channel = None, self.clock(), ours
        self._process = subprocess.Popen(  # noqa: S603  our own interpreter and module
            command, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(), *start.hold.descriptors)
        )
        theirs.close()
        threading.Thread(target=self._listen, args=(self._process, ours), name="inner", daemon=True).start()
        with suppress(OSError):
            ours.send_bytes(pickle.dumps(start))
        self._begun.wait(READY_WITHIN_S)
        return self._is_ready

    def look(self) -> None:
        """There may be something to do. Cheap: said once until it looks."""
        if not self._has_been_told:
            self._has_been_told = True
            self._tell(LOOK)

    def ask_to_stop(self) -> None:
        """It finishes the message in hand and ends."""
        self._is_stopping = True
        self._tell(STOP)

    def has_stopped(self, within_s: float) -> bool:
        """After `ask_to_stop`: whether it has ended in this time. Where it has not, its end will be noticed like any other."""
        if self._process is not None:
            try:
                self._process.wait(max(0.0, within_s))
            except subprocess.TimeoutExpired:
                self._is_stopping = False
                return False
            self._process = None
        return True

    def kill(self) -> None:
        """It hangs, or there is no time left: the message in its hands stays in progress, and is tried by itself later."""
        if self._process is not None:
            self._process.kill()

    def stalled(self) -> str | None:
        """The stage that makes no progress, if one does not."""
        stage = self._stage
        return stage if stage is not None and self.clock() - self._beat_at > STALL_AFTER_S else None

    def has_ended(self) -> bool:
        """It is gone and nobody has stopped it."""
        return not self._is_stopping and self._process is not None and self._process.poll() is not None

    def bury(self) -> None:
        """After `has_ended`: says so. The next may be started when `starts_in_s` is over."""
        code = self._process.returncode if self._process else None
        self._process = None
        if self.clock() - self._started_at > STEADY_AFTER_S:
            self._deaths = 0
        self._deaths += 1
        self._not_before = self.clock() + pause_s(self._deaths)
        events.emit(events.INNER_DIED, exit_code=code, retry_in_s=pause_s(self._deaths))

    def starts_in_s(self) -> float | None:
        """Seconds until the next is to be started. None: one is there, or none is wanted."""
        return None if self._process is not None or self._is_stopping else max(0.0, self._not_before - self.clock())

    def _tell(self, word: bytes) -> None:
        with suppress(OSError):  # it has gone, and `_listen` has noticed
            if self._channel is not None:
                self._channel.send_bytes(word)

    def _listen(self, process: subprocess.Popen[bytes], channel: Connection) -> None:
        with suppress(EOFError, OSError):
            while True:
                self._hear(channel.recv_bytes())
        channel.close()
        process.wait()
        self._stage = None
        self._begun.set()
        self.noticed()

    def _hear(self, word: bytes) -> None:
        if stage := stage_of(word):
            self._stage, self._beat_at = stage, self.clock()
        elif word == IDLE:
            self._stage = None
        elif word == LOOKING:
            self._has_been_told = False
        elif word == OWED:
            self.owed()
        elif word == READY:
            self._is_ready = True
            self._begun.set()
        elif word == LOST:
            self.lost()
