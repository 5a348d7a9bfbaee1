"""The inner process as the service sees it: started, told, watched, started again when it has died."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Final

from mesh_itk3 import events
from mesh_itk3.inner_words import IDLE, LONGEST, LOOK, LOOKING, LOST, READY, STOP, Start, mailboxes_of, stage_of
from mesh_itk3.scheduler import STALL_AFTER_S

# -P: no module of the working directory takes the place of an installed one.
PROGRAM: Final = (sys.executable, "-P", "-m", "mesh_itk3.inner")
READY_WITHIN_S: Final = 60.0
"""A guess: an interpreter, its imports and the handlers, on a machine that is busy starting."""
STEADY_AFTER_S: Final = 300.0
"""Having lived so long, the next death is a first one again."""


@dataclass(frozen=True, slots=True)
class Pauses:
    """Between a death and the next start, in seconds: a process that dies at once must not become a hot loop."""

    first_s: float = 0.5
    longest_s: float = 10.0

    def after(self, deaths: int) -> float:
        """How long to wait after so many deaths in a row."""
        return min(self.longest_s, self.first_s * 2.0 ** min(deaths - 1, 10)) if deaths else 0.0


@dataclass(slots=True)
class Child:
    """One process, and what it has said."""

    process: subprocess.Popen[bytes]
    channel: Connection
    started_at: float
    """Monotonic seconds, as every time here."""
    begun: threading.Event = field(default_factory=threading.Event)
    """Set when it is ready, or dead before that."""
    is_ready: bool = False
    is_to_stop: bool = False
    stage: str | None = None
    """At work on it; None: nothing is to be done."""
    beat_at: float = 0.0
    told_at: float | None = None
    """To look, and has not said that it does."""
    _is_to_be_told_again: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def tell(self, word: bytes) -> None:
        """Does nothing where it is gone."""
        with self._lock:
            self._send(word)

    def look(self, now: float) -> None:
        """There may be something to do. Told once until it looks, and then once more if this was said again meanwhile: else
        what came just after its look would wait for its next one.
        """
        with self._lock:
            if self.told_at is None:
                self.told_at = now
                self._send(LOOK)
            else:
                self._is_to_be_told_again = True

    def looks(self, now: float) -> None:
        """It has said that it does."""
        with self._lock:
            self.told_at = now if self._is_to_be_told_again else None
            if self._is_to_be_told_again:
                self._is_to_be_told_again = False
                self._send(LOOK)

    def close(self) -> None:
        """Nothing is said any more."""
        with self._lock:
            self.channel.close()

    def stalled(self, now: float) -> str | None:
        """What it has been at without progress for too long."""
        if not self.is_ready:
            return "start" if now - self.started_at > READY_WITHIN_S else None
        if self.stage is not None:
            return self.stage if now - self.beat_at > STALL_AFTER_S else None
        told_at = self.told_at
        return "look" if told_at is not None and now - told_at > STALL_AFTER_S else None

    def _send(self, word: bytes) -> None:
        with suppress(OSError):  # also where it is closed
            self.channel.send_bytes(word)


@dataclass(slots=True)
class InnerProcess:
    """At most one child at a time. Everything but `look` belongs to the main thread: a child dies with the thread that started
    it.
    """

    clock: Callable[[], float]
    """Monotonic seconds."""
    owed: Callable[[list[str]], None]
    """Called with the ids of the mailboxes that owe responses."""
    lost: Callable[[], None]
    """Called when another daemon has the mailboxes."""
    noticed: Callable[[], None]
    """Called when it has ended: somebody should look at `has_ended`."""
    program: Sequence[str] = PROGRAM
    """What becomes the child; two arguments are added, as `inner.main` wants them."""
    pauses: Pauses = field(default_factory=Pauses)
    _child: Child | None = None
    _deaths: int = 0
    """In a row."""
    _not_before: float = 0.0

    @property
    def pid(self) -> int | None:
        """None while there is none."""
        return self._child.process.pid if self._child else None

    def start(self, start: Start) -> None:
        """Begins one; `is_begun` says when it is ready. The settings are handed over, not read again: what stands in their
        file now may be half edited.
        """
        ours, theirs = Pipe()
        command = [*self.program, str(os.getpid()), str(theirs.fileno())]
        try:
            process = subprocess.Popen(  # noqa: S603  our own interpreter and module
                command, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(), *start.hold.descriptors)
            )
        except OSError as error:  # no memory or too many processes: as if it had died at once
            ours.close()
            self._put_off(error_type=type(error).__name__)
            return
        finally:
            theirs.close()
        child = Child(process, ours, self.clock())
        child.tell(pickle.dumps(start))  # before any other thread can find it, whose `look` would be taken for this
        self._child = child
        threading.Thread(target=self._listen, args=(child,), name="inner", daemon=True).start()

    def is_begun(self, within_s: float) -> bool:
        """Whether it is ready or gone, waiting at most so long."""
        return self._child is None or self._child.begun.wait(within_s)

    def look(self) -> None:
        """There may be something to do. From any thread; cheap."""
        if (child := self._child) is not None:
            child.look(self.clock())

    def ask_to_stop(self) -> None:
        """It finishes the message in hand and ends."""
        if self._child is not None:
            self._child.is_to_stop = True
            self._child.tell(STOP)

    def has_stopped(self, within_s: float) -> bool:
        """After `ask_to_stop`: whether it has ended in this time. Where it has not, its end will be noticed like any other."""
        if (child := self._child) is None:
            return True
        try:
            child.process.wait(max(0.0, within_s))
        except subprocess.TimeoutExpired:
            child.is_to_stop = False
            return False
        self._child = None
        return True

    def kill(self) -> None:
        """It hangs, or there is no time left: the message in its hands stays in progress, and is tried by itself later."""
        if self._child is not None:
            self._child.process.kill()

    def stalled(self) -> str | None:
        """What it makes no progress with, if it does not."""
        return self._child.stalled(self.clock()) if self._child else None

    @property
    def stage(self) -> str | None:
        """What it is at work on."""
        return self._child.stage if self._child else None

    def has_ended(self) -> bool:
        """It is gone and nobody has stopped it."""
        child = self._child
        return child is not None and not child.is_to_stop and child.process.poll() is not None

    def bury(self) -> None:
        """After `has_ended`: says so, unless it ended in order. The next may be started when `starts_in_s` is over."""
        if (child := self._child) is None:
            return
        self._child = None
        if child.process.returncode == 0:
            return
        if self.clock() - child.started_at > STEADY_AFTER_S:
            self._deaths = 0
        self._put_off(exit_code=child.process.returncode)

    def _put_off(self, **said: Any) -> None:
        self._deaths += 1
        waits = self.pauses.after(self._deaths)
        self.not_before(waits)
        events.emit(events.INNER_DIED, retry_in_s=waits, **said)

    def not_before(self, seconds: float) -> None:
        """None is to be started for so long."""
        self._not_before = self.clock() + seconds

    def starts_in_s(self) -> float | None:
        """Seconds until the next is to be started. None: one is there."""
        return None if self._child is not None else max(0.0, self._not_before - self.clock())

    def _listen(self, child: Child) -> None:
        with suppress(EOFError, OSError):
            while True:
                self._hear(child, child.channel.recv_bytes(LONGEST))
        child.close()
        child.process.wait()
        child.stage = None
        child.begun.set()
        self.noticed()

    def _hear(self, child: Child, word: bytes) -> None:
        if stage := stage_of(word):
            child.stage, child.beat_at = stage, self.clock()
        elif mailbox_ids := mailboxes_of(word):
            self.owed(mailbox_ids)
        elif word == IDLE:
            child.stage = None
        elif word == LOOKING:
            child.looks(self.clock())
        elif word == READY:
            child.is_ready = True
            child.begun.set()
        elif word == LOST and child is self._child:
            self.lost()
