"""`mesh-itk3 run`: starts a daemon, listens to signals and to systemd's watchdog, reloads, drains and stops."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from apscheduler.schedulers.background import BackgroundScheduler

from mesh_itk3 import __version__, events
from mesh_itk3.adapters.clock import SystemClock
from mesh_itk3.adapters.logging import configure_logging
from mesh_itk3.adapters.notify import Notifier
from mesh_itk3.adapters.owner import act_as_owner
from mesh_itk3.composition import compose
from mesh_itk3.daemon import Daemon
from mesh_itk3.inner_process import PROGRAM, READY_WITHIN_S, InnerProcess, Pauses
from mesh_itk3.inner_words import Start
from mesh_itk3.lifecycle import State
from mesh_itk3.once import run_once
from mesh_itk3.ports import Clock, HeldByAnother, LeaseLost, LedgerUnavailable, StorageFailed
from mesh_itk3.registry import Registry, registry_of
from mesh_itk3.scheduler import SetBack, move_back, schedule, stop
from mesh_itk3.settings import ConfigInvalid, Settings, load_settings
from mesh_itk3.settings_advice import advice
from mesh_itk3.unserved import unserved_mailboxes

STATUS_EVERY_S: Final = 15.0
REVIVE_EVERY_S: Final = 0.2
"""At least between two looks whether a new inner process may be started."""
HELD_BY_ANOTHER: Final = 75


def _as_it_is(daemon: Daemon) -> Daemon:
    return daemon


@dataclass(frozen=True, slots=True)
class Waits:
    """How long the service waits for others."""

    drain_s: float = 15.0
    """What is in hand is finished within this; the unit allows 30 s before it kills, the promise is 20 s."""
    pauses: Pauses = field(default_factory=Pauses)


SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


@dataclass(slots=True)
class Signals:
    """What the operating system asked for. A thread waits for signals and notes them; the main loop acts. Handlers
    that interrupt the main thread could do so inside the very lock that they need.
    """

    stopping: threading.Event = field(default_factory=threading.Event)
    reloading: threading.Event = field(default_factory=threading.Event)
    noticed: threading.Event = field(default_factory=threading.Event)

    def listen(self) -> None:
        """From the main thread, before any other is started: they inherit that these signals are not for them."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        threading.Thread(target=self._listen, name="signals", daemon=True).start()

    def _listen(self) -> None:
        while True:
            asked = self.reloading if signal.sigwait(SIGNALS) == signal.SIGHUP else self.stopping
            asked.set()
            self.noticed.set()


def run(
    config: Path | None,
    credentials: Path | None,
    *,
    once: bool,
    built: Callable[[Daemon], Daemon] = _as_it_is,
    inner_program: Sequence[str] = PROGRAM,
    waits: Waits | None = None,
) -> int:
    """Runs until told to stop, or one round with `once`. Raises ConfigInvalid (78), HeldByAnother (75),
    LedgerUnavailable (1): the command line says each in one line.

    Whoever looks on from outside (`simulator/prove`) gets each daemon that is composed, before it holds anything, through
    `built`, and may name the program that becomes the inner process.
    """
    settings = load_settings(config, credentials, os.environ)
    configure_logging(settings.log_level, log_format=settings.log_format)
    for problem in advice(config, credentials, os.environ):
        events.emit(events.CONFIG_ADVICE, problem=problem)
    if settings.ledger.sqlite_file is not None:
        act_as_owner(settings.ledger.sqlite_file)
    clock = SystemClock()
    signals = Signals()
    signals.listen()
    stopping = signals.stopping if once else threading.Event()
    registry = registry_of(settings)
    say_handlers(registry)
    daemon = holding(built(compose(settings, registry, clock=clock, stopping=stopping)))
    if not once:
        return Service(daemon, signals, clock, config, credentials, built, inner_program, waits=waits or Waits()).run()
    with closing(daemon):
        return run_once(daemon, wait=signals.stopping.wait)


def say_handlers(registry: Registry) -> None:
    """Which handlers there are, and which cannot work, with where each came from."""
    for found in registry.all:
        said = {"handler": found.name, "distribution": found.distribution, "version": found.version}
        if found.loaded is not None:
            events.emit(events.HANDLER_LOADED, **said)
        else:
            events.emit(events.HANDLER_UNAVAILABLE, **said, reason=found.problem or "disabled")


def holding(daemon: Daemon) -> Daemon:
    """The same daemon, now the collector of its mailboxes. Closed again where it cannot be."""
    try:
        daemon.hold()
    except BaseException:
        daemon.close()
        raise
    say_unserved(daemon)
    return daemon


def say_unserved(daemon: Daemon) -> None:
    """Mailboxes whose messages and responses stand still because they are not configured any more, a line each."""
    for problem in unserved_mailboxes(daemon.settings, daemon.ledger):
        events.emit(events.CONFIG_ADVICE, problem=problem)


@dataclass(slots=True)
class Service:
    """A running daemon, and what replaces it on reload."""

    daemon: Daemon
    signals: Signals
    clock: Clock
    config: Path | None
    credentials: Path | None
    built: Callable[[Daemon], Daemon] = _as_it_is
    inner_program: Sequence[str] = PROGRAM
    notifier: Notifier = field(default_factory=Notifier)
    waits: Waits = field(default_factory=Waits)
    inner: InnerProcess = field(init=False)
    set_back: SetBack = field(default_factory=SetBack)

    def __post_init__(self) -> None:
        self.inner = InnerProcess(
            clock=self.clock.monotonic,
            owed=lambda mailbox_ids: self.daemon.ring(mailbox_ids),  # noqa: PLW0108  a reload replaces the daemon
            lost=self._give_way,
            noticed=self.signals.noticed.set,
            program=self.inner_program,
            pauses=self.waits.pauses,
        )

    def run(self) -> int:
        """Until SIGTERM or SIGINT."""
        scheduler = self._start()
        self._look_at_clock(scheduler)
        self.notifier.ready()
        events.emit(events.SERVICE_STARTED, version=__version__, pid=os.getpid(), count=len(self.daemon.mailbox_ids))
        while not self.signals.stopping.is_set() and not self.daemon.lost.is_set():
            self.signals.noticed.wait(self._beat())
            self.signals.noticed.clear()
            self._look_at_clock(scheduler)
            self._revive_inner()
            if self.signals.reloading.is_set() and not self.signals.stopping.is_set():
                self.signals.reloading.clear()
                scheduler = self._reload(scheduler)
        self.notifier.stopping()
        events.emit(events.SERVICE_STOPPING)
        if not self._drain(scheduler):
            # A handler that does not come back: its message is still in progress, and is tried alone at the next start.
            events.emit(events.SERVICE_STALLED, stage=self.inner.stage, seconds=self.waits.drain_s)
            self.inner.kill()
            os._exit(self._exit_code())
        self.daemon.close()
        events.emit(events.SERVICE_STOPPED)
        return self._exit_code()

    def _look_at_clock(self, scheduler: BackgroundScheduler) -> None:
        """What was to happen at a time of the old clock would happen so much later, in years perhaps, and nobody would know. It
        happens so much earlier by the clock; not at once, for a handler that asked for a day has not had it.
        """
        by = self.set_back.by(self.clock.now(), self.clock.monotonic())
        if by is None:
            return
        events.emit(events.CLOCK_SET_BACK, seconds=round(by.total_seconds()))
        move_back(scheduler, by)
        try:
            self.daemon.ledger.move_back(self.daemon.mailbox_ids, by)
        except (LedgerUnavailable, LeaseLost) as error:
            events.emit(events.LEDGER_FAILED, stage="clock", **events.where(error))

    def _exit_code(self) -> int:
        return HELD_BY_ANOTHER if self.daemon.lost.is_set() else 0

    def _drain(self, scheduler: BackgroundScheduler) -> bool:
        """No stage begins any more, those at work end after their message; whether all did in time."""
        until = self.clock.monotonic() + self.waits.drain_s
        self.daemon.stopping.set()
        self.inner.ask_to_stop()
        is_idle = stop(scheduler, self.daemon.progress, within_s=self.waits.drain_s)
        return self.inner.has_stopped(until - self.clock.monotonic()) and is_idle

    def _start(self) -> BackgroundScheduler:
        self.daemon.look = self.inner.look
        self._start_inner()
        self._await_inner()
        scheduler = schedule(self.daemon.jobs(), self.daemon.progress, self._give_way, self.daemon.complaints)
        scheduler.start()
        return scheduler

    def _start_inner(self) -> None:
        if self.inner.pid is None:
            self.inner.start(Start(self.daemon.settings, self.daemon.ledger.held()))

    def _await_inner(self) -> None:
        """Ready means both. One that does not begin is dealt with like one that hangs; a signal is heeded meanwhile."""
        until = self.clock.monotonic() + READY_WITHIN_S
        while self.clock.monotonic() < until and not self.signals.stopping.is_set():
            if self.inner.is_begun(within_s=REVIVE_EVERY_S):
                return

    def _revive_inner(self) -> None:
        """Another inner process in place of one that has died, after a pause. What that one had in progress is freed first."""
        if self.inner.has_ended():
            self.inner.bury()
        if self.inner.starts_in_s() != 0.0 or self.signals.stopping.is_set():
            return
        try:
            self.daemon.recover()
        except LeaseLost:
            self._give_way()
            return
        except LedgerUnavailable as error:
            self.daemon.complaints.say("recover", error)
            self.inner.not_before(self.waits.pauses.longest_s)
            return
        self.daemon.complaints.forget("recover")
        self._start_inner()

    def _give_way(self) -> None:
        self.daemon.give_way()
        self.signals.noticed.set()

    def _beat(self) -> float:
        """Tells systemd that we live, only while every stage at work makes progress; how long until the next time."""
        if hanging := self.inner.stalled():
            # A handler, most likely. Killed, its message is tried alone, and parked in the end; the others go on.
            events.emit(events.SERVICE_STALLED, stage=hanging)
            self.inner.kill()
        stalled = self.daemon.progress.stalled()
        if stalled is not None:
            events.emit(events.SERVICE_STALLED, stage=stalled)
        else:
            self.notifier.watchdog()
        self.notifier.status(self._status())
        starts_in_s = self.inner.starts_in_s()
        soonest = STATUS_EVERY_S if starts_in_s is None else max(starts_in_s, REVIVE_EVERY_S)
        return min(STATUS_EVERY_S, soonest, self.notifier.watchdog_interval_s or STATUS_EVERY_S)

    def _status(self) -> str:
        if problem := self.daemon.complaints.ledger_problem:
            return f"the ledger cannot be used: {problem}"
        try:
            overview = self.daemon.ledger.overview_of_what_waits()
        except LedgerUnavailable as error:
            return f"the ledger cannot be used: {error}"
        if problem := next(filter(None, (each.storage_problem for each in self.daemon.collectors.values())), None):
            return f"nothing is collected, the disk refuses: {problem}{self._away()}"
        waiting = sum(n for (_, state), n in overview.messages.items() if state is State.AWAITING_DECISION)
        parked = sum(n for (_, state), n in overview.messages.items() if state is State.PARKED)
        in_hand = sum(overview.messages.values()) - waiting - parked
        mailboxes = len(self.daemon.mailbox_ids)
        return f"{mailboxes} mailboxes, {in_hand} in hand, {waiting} for a person, {parked} parked{self._away()}"

    def _away(self) -> str:
        """Said beside whatever else is wrong: the one does not explain the other."""
        away = sum(guard.breaker.failures > 0 for guard in self.daemon.guards.values())
        return f"; {away} of {len(self.daemon.guards)} unavailable: MESH does not answer, or refuses" if away else ""

    def _reload(self, scheduler: BackgroundScheduler) -> BackgroundScheduler:
        """The new configuration is read whole before the old daemon is touched; a wrong one changes nothing."""
        self.notifier.reloading()
        try:
            settings = load_settings(self.config, self.credentials, os.environ)
            registry = registry_of(settings)
        except ConfigInvalid as invalid:
            for problem in invalid.problems:
                events.emit(events.CONFIG_INVALID, problem=problem)
            self.notifier.ready()
            return scheduler
        return self._replace(scheduler, settings, registry)

    def _replace(self, scheduler: BackgroundScheduler, settings: Settings, registry: Registry) -> BackgroundScheduler:
        old = self.daemon
        if not self._drain(scheduler):
            events.emit(events.CONFIG_INVALID, problem="a stage is still at work; the old configuration goes on")
            old.stopping.clear()
            return self._again()
        old.close()
        try:
            self.daemon = self._new(settings, registry)
        except (LedgerUnavailable, HeldByAnother, StorageFailed, OSError, ValueError) as error:
            events.emit(events.CONFIG_INVALID, problem="the new configuration does not work here", **events.where(error))
            self.daemon = self._new(old.settings, old.registry)
            return self._again()
        configure_logging(settings.log_level, log_format=settings.log_format)
        events.emit(events.CONFIG_RELOADED)
        say_handlers(registry)
        return self._again()

    def _new(self, settings: Settings, registry: Registry) -> Daemon:
        return holding(self.built(compose(settings, registry, clock=self.clock, stopping=threading.Event())))

    def _again(self) -> BackgroundScheduler:
        scheduler = self._start()
        self.notifier.ready()
        return scheduler
