"""What runs when: a stage that has had something to do lingers for more, and never at the cost of the lease."""

from __future__ import annotations

import threading
import time

from mesh_itk3.scheduler import Bell, Job, Progress, schedule, stop

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
