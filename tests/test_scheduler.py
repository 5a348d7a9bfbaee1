"""What runs when: a stage that has had something to do lingers for more, and never at the cost of the lease."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

from mesh_itk3.scheduler import Bell, Job, Progress, SetBack, move_back, schedule, stop

HOUR = 3600.0


def run(jobs, until, within_s=20.0):
    """Schedules them and waits for `until`; whether it came."""
    progress = Progress(time.monotonic)
    scheduler = schedule(jobs, progress, lambda: None)
    scheduler.start()
    came = until.wait(within_s)
    stop(scheduler, progress, within_s=5.0)
    return came


def test_a_stage_whose_bell_rings_while_it_works_runs_again_without_waiting_for_its_next_tick():
    bell, done, runs = Bell(time.monotonic), threading.Event(), []

    def work():
        runs.append("run")
        if len(runs) < 5:
            bell.ring()
        else:
            done.set()

    bell.ring()
    assert run([Job("respond", work, HOUR, bell=bell)], done)


def test_bells_that_never_cease_keep_no_job_without_a_bell_from_running():
    """Forty mailboxes, all with something to do all the time, and the lease that has to be renewed."""
    renewed, done = [], threading.Event()

    def renew():
        renewed.append("renewed")
        if len(renewed) == 3:
            done.set()

    bells = [Bell(time.monotonic) for _ in range(40)]
    for bell in bells:
        bell.ring()
    busy = [Job(f"respond:{n}", bell.ring, 0.2, bell=bell) for n, bell in enumerate(bells)]
    assert run([*busy, Job("renew", renew, 0.5)], done)


def test_a_clock_that_is_set_back_is_noticed_once_and_one_that_is_corrected_a_little_or_set_forward_is_not():
    set_back, at = SetBack(), datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
    clocks = [(0, 0), (60, 60), (61.5, 61), (61, 61.5), (-3540, 62), (-3539, 63), (3600, 64), (0, 65)]
    noticed = [set_back.by(at + timedelta(seconds=wall), monotonic) for wall, monotonic in clocks]
    assert [by and by.total_seconds() for by in noticed] == [None, None, None, None, 3601.5, None, None, 3601]


def test_jobs_do_not_wait_for_the_old_time_once_the_clock_is_set_back():
    ran, progress = threading.Event(), Progress(time.monotonic)
    # As a clock that is set back by an hour leaves it: its next time is an hour away, and a second.
    job = Job("respond", ran.set, 1.0, first_at=datetime.now(UTC) + timedelta(hours=1, seconds=1))
    scheduler = schedule([job], progress, lambda: None)
    scheduler.start()
    move_back(scheduler, timedelta(hours=1))
    assert ran.wait(20.0)
    stop(scheduler, progress, within_s=5.0)
