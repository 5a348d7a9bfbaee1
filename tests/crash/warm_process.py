"""`python -m crash.warm_process`: a process that holds nothing and forks one run of the daemon after another, as it is told.

One line of JSON on standard input says what to run and where it dies; one line on standard output says how it ended. The test
that has started it holds the sandbox, the hospital and the oracle: this process has imported the daemon and does nothing else.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from crash import two_processes
from crash.system_calls import CannotCount, Count, stop_at_calls, watch_calls
from mesh_itk3 import service
from mesh_itk3.adapters.clock import SystemClock
from mesh_itk3.adapters.ledger import migrate
from mesh_itk3.commands.ledger_restore import restore_ledger
from mesh_itk3.commands.opened import ledger_to_change, read_settings
from mesh_itk3.commands.prune import prune_now
from mesh_itk3.commands.respond import decide
from mesh_itk3.composition import compose
from mesh_itk3.daemon import Daemon
from mesh_itk3.registry import registry_of
from mesh_itk3.simulator.prove.parent import Parent
from mesh_itk3.simulator.prove.points import Watch, watch, watched_port
from mesh_itk3.simulator.prove.warm import fork, one_round, wait

IMPORTED_LATE: Final = ("alembic.command", "alembic.runtime.migration")
"""What a run imports only when it makes a ledger: here once, instead of in every child."""


def a_round(asked: dict[str, Any], passing: Watch) -> int:
    """`mesh-itk3 run --once`."""
    return one_round(Path(asked["config"]), prepare=lambda daemon: watch(daemon, passing))


def a_decision(asked: dict[str, Any], passing: Watch) -> int:
    """`mesh-itk3 respond`, without its words for the person."""
    settings = read_settings(Path(asked["config"]), None, needs_secrets=False)
    with ledger_to_change(settings) as ledger:
        watched = watched_port(ledger, "ledger", passing)
        decide(watched, registry_of(settings), asked["id"], asked["code"], who="Dr Example", mailbox_id=None)
    return 0


def a_migration(asked: dict[str, Any], _: Watch) -> int:
    """What every start of the daemon does first."""
    migrate(asked["url"], datetime.fromisoformat(asked["now"]))
    return 0


def a_sweep(asked: dict[str, Any], passing: Watch) -> int:
    """The hourly job of the service that removes what no row names."""
    settings = read_settings(Path(asked["config"]), None, needs_secrets=True)
    daemon = compose(settings, registry_of(settings), clock=SystemClock(), stopping=threading.Event())
    watch(daemon, passing)
    daemon.sweep()
    daemon.close()
    return 0


def a_pruning(asked: dict[str, Any], passing: Watch) -> int:
    """The hourly job of the service that lets go of what retention lets go of."""
    settings = read_settings(Path(asked["config"]), None, needs_secrets=True)
    daemon = compose(settings, registry_of(settings), clock=SystemClock(), stopping=threading.Event())
    watch(daemon, passing)
    daemon.prune()
    daemon.close()
    return 0


def a_pruning_by_command(asked: dict[str, Any], _: Watch) -> int:
    """`mesh-itk3 prune`."""
    with redirect_stdout(sys.stderr):
        return prune_now(Path(asked["config"]), None, dry_run=False, as_json=False)


def a_restore(asked: dict[str, Any], _: Watch) -> int:
    """`mesh-itk3 ledger restore`."""
    with redirect_stdout(sys.stderr):
        return restore_ledger(Path(asked["config"]), None, Path(asked["backup"]), by="Dr Example", as_json=False)


def the_service(asked: dict[str, Any], _: Watch) -> int:
    """`mesh-itk3 run`, in a process group of its own, with an inner process whose points are watched too."""
    os.setsid()
    os.environ[two_processes.KEY] = json.dumps(asked)
    os.environ.update(asked.get("environ", {}))
    passing = two_processes.deadly("service")

    def built(daemon: Daemon) -> Daemon:
        passing("after daemon.composed")
        watch(daemon, passing)
        return daemon

    program = (sys.executable, two_processes.__file__)
    return service.run(Path(asked["config"]), None, once=False, built=built, inner_program=program)


def threads(asked: dict[str, Any], _: Watch) -> int:
    """Nothing of the daemon: two threads and a child, each with five writes and fsyncs, for whoever checks the counting."""

    def write_five(name: str) -> None:
        descriptor = os.open(Path(asked["directory"], name), os.O_WRONLY | os.O_CREAT)
        for _ in range(5):
            os.write(descriptor, b"x")
            os.fsync(descriptor)

    working = [threading.Thread(target=write_five, args=(f"thread-{n}",)) for n in range(2)]
    for each in working:
        each.start()
    for each in working:
        each.join()
    if (child := os.fork()) == 0:
        write_five("child")
        os._exit(0)
    os.waitpid(child, 0)
    return 0


# A command or a job that is swept by itself joins here, and in `scenarios.py`.
WORK: Final[dict[str, Callable[[dict[str, Any], Watch], int]]] = {
    "round": a_round,
    "respond": a_decision,
    "migrate": a_migration,
    "sweep": a_sweep,
    "prune": a_pruning,
    "prune command": a_pruning_by_command,
    "restore": a_restore,
    "service": the_service,
    "threads": threads,
}


def run(asked: dict[str, Any]) -> dict[str, Any]:
    """One child; how it ended, and the points or system calls that it passed."""
    passed = Path(asked["directory"], "points")
    passed.write_bytes(b"")
    log = Path(asked["directory"], "daemon.log")
    told, telling = os.pipe()

    def work() -> int:
        os.close(told)
        points = os.open(passed, os.O_WRONLY | os.O_APPEND)
        watching = Watch(
            asked.get("kill_at"), asked.get("named"), note=lambda point: os.write(points, point.encode() + b"\n") and None
        )
        if asked.get("counts_calls"):
            watching = Watch()
            stop_at_calls(telling)
        return WORK[asked["work"]](asked, watching)

    pid = fork(work, log)
    os.close(telling)
    count = Count(asked.get("kill_at"), kill=lambda _: os.kill(pid, signal.SIGKILL))
    if asked.get("counts_calls"):
        with suppress(CannotCount):
            watch_calls(pid, told, count)
    os.close(told)
    ended = wait(pid)
    points = count.seen if asked.get("counts_calls") else passed.read_text().splitlines()
    return {"code": ended.code, "signal": ended.signal, "passed": points}


def spawn(asked: dict[str, Any]) -> dict[str, Any]:
    """Begins a run that the test itself watches and ends; `wait` says how it ended."""
    log = Path(asked["directory"], "daemon.log")
    return {"pid": fork(lambda: WORK[asked["work"]](asked, Watch()), log)}


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    if asked.get("work") == "warm":
        return Parent().do({**asked, "do": "warm"})
    if "wait_for" in asked:
        ended = wait(asked["wait_for"])
        return {"code": ended.code, "signal": ended.signal, "passed": []}
    return spawn(asked) if asked["work"] == "service" else run(asked)


def say(answered: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answered) + "\n")
    sys.stdout.flush()


def main() -> None:
    for name in IMPORTED_LATE:
        with suppress(ImportError):
            import_module(name)
    platform.processor()  # remembered: else every child starts a program to find out
    gc.freeze()
    say({"ready": True})
    for line in sys.stdin:
        asked = json.loads(line)
        say({**answer(asked), "number": asked["number"]})


if __name__ == "__main__":
    main()
