"""APScheduler jobs: which stage, when, for which mailbox. Jobs never call the scheduler.

Each job is one bounded run of one stage, so a busy mailbox starves none: collect and respond have a job per mailbox,
the stages between take the mailboxes' messages in turn.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from mesh_itk3 import events
from mesh_itk3.ports import HeldByAnother, LeaseLost, LedgerUnavailable, StorageFailed

TICK_S: Final = 0.05
"""How often a stage looks whether its bell has rung."""
TICK_PER_MAILBOX_S: Final = 0.01
LINGER_S: Final = 0.05
"""How long a stage that had something to do waits for more: under load the next batch need not wait for a tick."""
LINGER_AT_MOST_S: Final = 5.0
MOST_WORKERS: Final = 32
QUIET_RUN_S: Final = 5.0
"""A stage runs at least this often although no bell rang: what waits for a later time, and what `respond` decided."""
SAY_AGAIN_S: Final = 300.0
"""How often a job that keeps failing in the same way says so."""
SAY_LEDGER_AGAIN_S: Final = 3600.0
"""The same for a ledger that cannot be used."""
SET_BACK_S: Final = 2.0
"""What a clock may be corrected by and nobody need notice."""
STALL_AFTER_S: Final = 300.0
"""A stage that is at work and shows no progress for this long has hung: the watchdog is no longer fed."""


@dataclass(slots=True)
class Bell:
    """Rung when a stage has made work for the next one."""

    clock: Callable[[], float]
    _rung: threading.Event = field(default_factory=threading.Event)
    _ran_at: float = float("-inf")

    def ring(self) -> None:
        """There is something to do."""
        self._rung.set()

    def rings_within(self, seconds: float) -> bool:
        """Whether it has been rung since, waiting at most so long; forgets the ring."""
        if not self._rung.wait(seconds):
            return False
        return self.is_answered()

    def is_answered(self) -> bool:
        """Whether to run now; forgets the ring."""
        if not self._rung.is_set() and self.clock() - self._ran_at < QUIET_RUN_S:
            return False
        self._rung.clear()
        self._ran_at = self.clock()
        return True


_at_work: ContextVar[object | None] = ContextVar("at_work", default=None)
"""The run that this thread works for; workers of a run inherit it with its context."""


@dataclass(slots=True)
class Progress:
    """What every running stage last did: tells a busy daemon from one that hangs."""

    clock: Callable[[], float]
    _lock: threading.Condition = field(default_factory=threading.Condition)
    _last: dict[object, tuple[str, float]] = field(default_factory=dict)

    @contextmanager
    def at_work(self, name: str) -> Iterator[None]:
        """The calling thread, and the workers that it starts, are at work on this stage."""
        run = object()
        outer = _at_work.set(run)
        with self._lock:
            self._last[run] = (name, self.clock())
        try:
            yield
        finally:
            _at_work.reset(outer)
            with self._lock:
                self._last.pop(run, None)
                self._lock.notify_all()

    def beat(self) -> None:
        """The calling thread has got something done."""
        run = _at_work.get()
        with self._lock:
            if run in self._last:
                self._last[run] = (self._last[run][0], self.clock())

    def stalled(self) -> str | None:
        """The stage that has made no progress for too long, if one has."""
        with self._lock:
            running = list(self._last.values())
        return next((name for name, at in running if self.clock() - at > STALL_AFTER_S), None)

    def wait_until_idle(self, within_s: float) -> bool:
        """Whether no stage is at work any more, waiting at most this long."""
        with self._lock:
            return self._lock.wait_for(lambda: not self._last, within_s)


@dataclass(slots=True)
class SetBack:
    """Notices that the clock of this machine has been set back, by comparing it with one that nobody sets."""

    offset_s: float | None = None

    def by(self, now: datetime, monotonic: float) -> timedelta | None:
        """By how much since it was last asked; None: not, or by less than matters."""
        before, self.offset_s = self.offset_s, now.timestamp() - monotonic
        if before is None or before - self.offset_s < SET_BACK_S:
            return None
        return timedelta(seconds=before - self.offset_s)


@dataclass(frozen=True, slots=True)
class Job:
    """One job: `run` is bounded, returns soon when nothing is to do, and may raise anything."""

    name: str
    run: Callable[[], None]
    every_s: float
    first_at: datetime | None = None
    jitter_s: float | None = None
    bell: Bell | None = None
    """None: runs every time. Otherwise only when its bell has rung, or QUIET_RUN_S have passed."""


@dataclass(slots=True)
class Complaints:
    """What jobs have failed with: the same fault of the same job is said once in a while, not at every turn. A ledger that
    cannot be used is one fault, whichever jobs meet it. Safe to use from several threads.
    """

    clock: Callable[[], float]
    ledger_problem: str | None = None
    """Why the ledger cannot be used, while it cannot."""
    _said: dict[str, tuple[str, float]] = field(default_factory=dict)
    _without_ledger: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def say(self, job: str, error: Exception) -> None:
        """Without the error's text, which may quote a message; those of the ledger and of the disk are ours."""
        about = events.where(error)
        if isinstance(error, LedgerUnavailable):
            with self._lock:
                self._without_ledger.add(job)
                self.ledger_problem = str(error)
            if self._is_news("the ledger", str(error), SAY_LEDGER_AGAIN_S):
                events.emit(events.LEDGER_FAILED, stage=job, reason=str(error), **about)
        elif self._is_news(job, f"{about['error_type']} {about['error_at']}", SAY_AGAIN_S):
            if isinstance(error, StorageFailed):
                events.emit(events.STORAGE_FAILED, stage=job, reason=str(error), **about)
            else:
                events.emit(events.STAGE_BROKEN, stage=job, **about)

    def _is_news(self, about: str, fault: str, again_s: float) -> bool:
        with self._lock:
            last, at = self._said.get(about, ("", float("-inf")))
            if fault == last and self.clock() - at < again_s:
                return False
            self._said[about] = (fault, self.clock())
            return True

    def forget(self, job: str) -> None:
        """It went well. The ledger can be used again when every job that it had failed has gone well."""
        with self._lock:
            self._said.pop(job, None)
            was_last = self._without_ledger == {job}
            self._without_ledger.discard(job)
            if was_last:
                self.ledger_problem = None
                self._said.pop("the ledger", None)
        if was_last:
            events.emit(events.LEDGER_USABLE, stage=job)


def schedule(
    jobs: Sequence[Job], progress: Progress, give_way: Callable[[], None], complaints: Complaints | None = None
) -> BackgroundScheduler:
    """A scheduler that is not started yet. UTC, memory job store, one run of a job at a time, missed runs become one.
    `give_way` is called when another daemon turns out to have our mailboxes; `complaints` None: nobody else reads them.
    """
    complaints, lingers = complaints or Complaints(progress.clock), _may_linger(jobs)
    scheduler = BackgroundScheduler(
        timezone=UTC,
        executors={"default": ThreadPoolExecutor(_workers(len(jobs)))},
        job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
    )
    for job in jobs:
        scheduler.add_job(
            _guarded(job, progress, complaints, give_way, lingers=lingers),
            "interval",
            seconds=job.every_s,
            jitter=job.jitter_s,
            id=job.name,
            name=job.name,
            next_run_time=job.first_at or datetime.now(UTC),
        )
    return scheduler


def tick_s(mailboxes: int) -> float:
    """The interval of the jobs that wait for a bell: longer when there are hundreds of them."""
    return max(TICK_S, TICK_PER_MAILBOX_S * mailboxes)


def stop(scheduler: BackgroundScheduler, progress: Progress, *, within_s: float) -> bool:
    """Starts no job any more and waits for those at work; whether all of them ended in time. Never waits inside the
    scheduler itself, which can deadlock.
    """
    scheduler.pause()
    is_idle = progress.wait_until_idle(within_s)
    scheduler.shutdown(wait=False)
    return is_idle


def move_back(scheduler: BackgroundScheduler, by: timedelta) -> None:
    """Every job so much earlier: the clock has been set back, and the scheduler would wait until it is there again."""
    for job in scheduler.get_jobs():
        if job.next_run_time is not None:
            job.modify(next_run_time=job.next_run_time - by)


def until(at: datetime | None, every: timedelta, now: datetime) -> datetime:
    """The next time of something that last happened at `at` and is due every so often; now if it is overdue. Never further away
    than that, even where `at` has yet to come: a clock that was wrong then does not hold it up for years.
    """
    return now if at is None else min(max(now, at + every), now + every)


def _workers(jobs: int) -> int:
    return min(MOST_WORKERS, max(6, jobs))


def _may_linger(jobs: Sequence[Job]) -> bool:
    """Whoever lingers keeps a worker from the jobs that have no bell, the lease's among them: half of them stay free."""
    return sum(job.bell is not None for job in jobs) <= _workers(len(jobs)) // 2


def _guarded(
    job: Job, progress: Progress, complaints: Complaints, give_way: Callable[[], None], *, lingers: bool
) -> Callable[[], None]:
    """APScheduler would log an exception's text, which may quote a message; here it becomes an event without it."""

    def run() -> None:
        if job.bell is not None and not job.bell.is_answered():
            return
        run_once()
        until = progress.clock() + LINGER_AT_MOST_S
        while job.bell is not None and lingers and progress.clock() < until and job.bell.rings_within(LINGER_S):
            run_once()

    def run_once() -> None:
        with progress.at_work(job.name):
            try:
                job.run()
            except (LeaseLost, HeldByAnother):
                give_way()
            except Exception as error:  # noqa: BLE001 - a job must never take the scheduler down; the next run tries again
                complaints.say(job.name, error)
            else:
                complaints.forget(job.name)

    return run
