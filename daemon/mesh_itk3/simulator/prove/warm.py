"""Forks one run of the daemon from a warm parent: a new process for the price of a fork, not of an interpreter.

The parent has imported everything and must hold no thread, no connection and no ledger: what a forked child inherits of
those is broken in ways that no crash would explain.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mesh_itk3.adapters.clock import SystemClock
from mesh_itk3.adapters.logging import configure_logging
from mesh_itk3.composition import compose
from mesh_itk3.daemon import Daemon
from mesh_itk3.once import run_once
from mesh_itk3.registry import registry_of
from mesh_itk3.service import holding
from mesh_itk3.settings import load_settings

CHILD_FAILED: Final = 70
"""Exit code of a child that ended with an error of Python's: its log has the traceback (test patients only)."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: with an exit code, or by a signal."""

    code: int | None
    signal: int | None


def fork(work: Callable[[], int], log: Path) -> int:
    """Runs `work` in a child whose standard error goes to the end of `log`; its process id. Raises RuntimeError where this
    process is not fit to be a parent.
    """
    if threading.active_count() != 1:
        raise RuntimeError("a process with threads cannot be the warm parent")
    if pid := os.fork():
        return pid
    code = CHILD_FAILED
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(descriptor, 2)
        code = work()
    except BaseException:  # noqa: BLE001 - the child ends here whatever happened; the parent sees the code
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def wait(pid: int) -> Ended:
    """Waits for a child that `fork` has made."""
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return Ended(None, os.WTERMSIG(status))
    return Ended(os.waitstatus_to_exitcode(status), None)


def one_round(
    config: Path,
    prepare: Callable[[Daemon], None] = lambda _: None,
    *,
    wait: Callable[[float], object] | None = None,
) -> int:
    """`mesh-itk3 run --once` in this process, as the command does it; `prepare` gets the daemon when it is composed and
    holds its mailboxes. `wait` is called between two tries, with the seconds; None waits them. The exit code.
    """
    settings = load_settings(config, None, os.environ)
    configure_logging(settings.log_level, log_format=settings.log_format)
    daemon = holding(compose(settings, registry_of(settings), clock=SystemClock(), stopping=threading.Event()))
    with closing(daemon):
        prepare(daemon)
        return run_once(daemon, wait=wait or daemon.stopping.wait)
