"""Several threads at one stage's work. Most of talking to MESH is waiting: one thread's wait is another's turn."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context


def work_at_once(workers: int, name: str, work: Callable[[], None]) -> None:
    """Runs `work` in so many threads and waits for all; the first of their errors is raised then. `work` takes what it
    does from somewhere shared, and has to see for itself that another has failed.
    """
    if workers == 1:
        work()
        return
    with ThreadPoolExecutor(workers, name) as pool:
        # Each in a copy of this thread's context, by which the watchdog knows whose progress it is.
        working = [pool.submit(copy_context().run, work) for _ in range(workers)]
    for worker in working:
        worker.result()
