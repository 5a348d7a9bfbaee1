"""The inner process: interpret, correlate and dispatch, the stages that touch what senders have written and run handlers.

`mesh-itk3 run` starts it as a child (`inner_process`); it opens no connection to MESH. One thread takes the stages in turn:
threads beside one another, and beside those that wait for MESH, cost half as much again in hand-overs of the interpreter
(docs/performance.md). A handler that crashes or hangs takes this process with it, and not the one that answers MESH.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Final

from mesh_itk3.adapters.clock import SystemClock
from mesh_itk3.adapters.ledger import open_held_ledger
from mesh_itk3.adapters.logging import configure_logging
from mesh_itk3.composition import build_world
from mesh_itk3.daemon import BATCH
from mesh_itk3.inner_words import IDLE, LOOKING, LOST, READY, STOP, Start, beat, owed
from mesh_itk3.ports import Clock, HeldByAnother, LeaseLost
from mesh_itk3.registry import registry_of
from mesh_itk3.scheduler import QUIET_RUN_S, Complaints
from mesh_itk3.stages.correlate import correlate
from mesh_itk3.stages.dispatch import dispatch
from mesh_itk3.stages.interpret import interpret
from mesh_itk3.stages.world import World

BEAT_EVERY_S: Final = 1.0
PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
STAGES: Final[dict[str, Callable[..., int]]] = {"interpret": interpret, "correlate": correlate, "dispatch": dispatch}


@dataclass(slots=True)
class Pulse:
    """Tells the process that started this one which stage is at work, and that it makes progress."""

    say: Callable[[bytes], None]
    monotonic: Callable[[], float]
    stage: str = ""
    _said_at: float = float("-inf")

    def begin(self, stage: str) -> None:
        """From now on it is at work on this stage."""
        self.stage = stage
        self._said_at = self.monotonic()
        self.say(beat(stage))

    def beat(self) -> None:
        """It has got something done."""
        if self.monotonic() - self._said_at >= BEAT_EVERY_S:
            self.begin(self.stage)


@dataclass(slots=True)
class Told:
    """What the process that started this one has said."""

    stopping: threading.Event = field(default_factory=threading.Event)
    look: threading.Event = field(default_factory=threading.Event)

    def listen(self, channel: Connection) -> None:
        """Until it says stop, or is gone."""
        with suppress(EOFError, OSError):
            while channel.recv_bytes() != STOP:
                self.look.set()
        self.stopping.set()
        self.look.set()


@dataclass(slots=True)
class Inner:
    """The stages in turn, as long as one of them finds something to do."""

    world: World
    pulse: Pulse
    told: Told
    complaints: Complaints

    def work(self) -> None:
        """Until told to stop, or another daemon has the mailboxes."""
        while not self.told.stopping.is_set():
            try:
                done = sum(self._run(name) for name in STAGES)
            except (LeaseLost, HeldByAnother):
                self.pulse.say(LOST)
                return
            if not done:
                self._rest()

    def _run(self, name: str) -> int:
        """One batch; how many messages."""
        self.pulse.begin(name)
        try:
            done = STAGES[name](self.world, limit=BATCH)
        except (LeaseLost, HeldByAnother):
            raise
        except Exception as error:  # noqa: BLE001 - as for a job of the scheduler: the next turn tries again
            self.complaints.say(name, error)
            return 0
        self.complaints.forget(name)
        return done

    def _rest(self) -> None:
        self.pulse.say(IDLE)
        self.told.look.wait(QUIET_RUN_S)
        self.told.look.clear()
        # What comes from now on is worth saying again: this turn may miss it.
        self.pulse.say(LOOKING)


def _as_it_is(world: World) -> World:
    return world


def serve(channel: Connection, clock: Clock, prepare: Callable[[World], World] = _as_it_is) -> None:
    """The whole life of the inner process. Raises LedgerUnavailable: nothing was begun. Whoever looks on from outside
    (`simulator/prove`) gets its world through `prepare`.
    """
    start: Start = pickle.loads(channel.recv_bytes())  # noqa: S301  from the process that started us, on a socket of ours
    settings = start.settings
    for descriptor in (channel.fileno(), *start.hold.descriptors):
        # Not for the programs that a handler may start: one that lives on would keep the lock, and the other end waiting.
        os.set_inheritable(descriptor, False)
    configure_logging(settings.log_level, log_format=settings.log_format)
    told, pulse = Told(), Pulse(_sayer(channel), clock.monotonic)
    registry = registry_of(settings)
    with closing(open_held_ledger(settings.ledger.url.get_secret_value(), start.hold)) as ledger:
        world = build_world(
            settings,
            registry,
            ledger,
            clock=clock,
            progress=pulse.beat,
            owed=lambda mailbox_ids: pulse.say(owed(mailbox_ids)),
            is_stopping=told.stopping.is_set,
        )
        threading.Thread(target=told.listen, args=(channel,), name="told", daemon=True).start()
        pulse.say(READY)
        Inner(prepare(world), pulse, told, Complaints(clock.monotonic)).work()


def _sayer(channel: Connection) -> Callable[[bytes], None]:
    def say(word: bytes) -> None:
        with suppress(OSError):  # it has gone, and `Told.listen` knows
            channel.send_bytes(word)

    return say


def main(prepare: Callable[[World], World] = _as_it_is) -> None:
    """`python -m mesh_itk3.inner PARENT CHANNEL`: dies with its parent, however that dies."""
    parent, descriptor = int(sys.argv[1]), int(sys.argv[2])
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked to be told
        raise SystemExit(1)
    # A terminal's Ctrl-C, and whoever signals the whole group, mean the service: its main process says what follows.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
    configure_logging()  # until the settings are here: what goes wrong before is an event too, and no traceback
    serve(Connection(descriptor), SystemClock(), prepare)


if __name__ == "__main__":
    main()
