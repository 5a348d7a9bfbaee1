"""The warm parent: a process of its own that has imported everything and holds nothing, and forks each run of the daemon.

`python -m mesh_itk3.simulator.prove.parent` reads orders from its standard input and answers each on its standard output, one
JSON document a line.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import importlib
import json
import mmap
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from mesh_itk3.daemon import Daemon
from mesh_itk3.ports import LedgerUnavailable, StorageFailed
from mesh_itk3.simulator.leash import PR_SET_PDEATHSIG, leashed
from mesh_itk3.simulator.prove import warm
from mesh_itk3.simulator.prove.points import Watch, watch

Change = Callable[[Daemon], None]
_LONGEST_SAID: Final = 1024 * 1024
REFUSED: Final = 1
_NAME_BYTES: Final = 120
_FIRST_PAUSE_S: Final = 0.005
"""Of the adapter, before it repeats a call: nobody waits here for a MESH to come back."""


class Passed:
    """The name of the last point that a child passed, and how many: in memory that outlives it."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _NAME_BYTES + 8)

    def forget(self) -> None:
        self._memory[:] = bytes(_NAME_BYTES + 8)

    def note(self, point: str) -> None:
        """In the child."""
        count = int.from_bytes(self._memory[_NAME_BYTES:], "big") + 1
        self._memory[:] = point.encode()[:_NAME_BYTES].ljust(_NAME_BYTES, b"\0") + count.to_bytes(8, "big")

    def read(self) -> dict[str, Any]:
        """In the parent, afterwards."""
        name = self._memory[:_NAME_BYTES].rstrip(b"\0").decode()
        return {"point": name or None, "passed": int.from_bytes(self._memory[_NAME_BYTES:], "big")}


class Parent:
    """Does what it is told, one order after the other."""

    def __init__(self) -> None:
        self._passed = Passed()

    def do(self, order: dict[str, Any]) -> dict[str, Any]:
        if order["do"] == "warm":
            return _warm_up(Path(order["config"]), Path(order["log"]))
        self._passed.forget()
        began = time.monotonic()
        work = {"round": self._round, "act": _act}[order["do"]]
        heard, said = os.pipe()
        fcntl.fcntl(said, fcntl.F_SETPIPE_SZ, _LONGEST_SAID)  # nobody reads before the child has ended
        pid = warm.fork(lambda: _in_child(work, order, said), Path(order["log"]))
        os.close(said)
        with open(heard, "rb") as words:  # noqa: PTH123 - a descriptor
            is_late = _await(pid, order.get("after_us"), order["within_s"])
            ended = warm.wait(pid)
            if said_aside := words.read():
                with Path(order["log"]).open("ab") as log:
                    log.write(said_aside)
        answer = {"code": ended.code, "signal": ended.signal, "is_late": is_late, "seconds": time.monotonic() - began}
        return answer | self._passed.read()

    def _round(self, order: dict[str, Any]) -> int:
        if limit := order.get("most_file_bytes"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

        def prepare(daemon: Daemon) -> None:
            for mailbox in daemon.mailboxes.values():
                object.__setattr__(mailbox._connection, "first_pause_s", _FIRST_PAUSE_S)  # type: ignore[attr-defined] # noqa: SLF001
            change_of(order.get("change"))(daemon)
            watch(daemon, Watch(order.get("at_point"), order.get("named"), self._passed.note))

        try:
            return warm.one_round(Path(order["config"]), prepare, wait=lambda _: None)
        except (LedgerUnavailable, StorageFailed) as refused:
            sys.stderr.write(f"{refused}\n")  # one line, as the command line says it
            return REFUSED


def _in_child(work: Callable[[dict[str, Any]], int], order: dict[str, Any], said: int) -> int:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the answers are the parent's
    if order.get("most_file_bytes"):
        os.dup2(said, 2)  # the log is no file here: what is to be full is the disk of ledger, payloads and letters
    return work(order)


def _act(order: dict[str, Any]) -> int:
    from mesh_itk3.simulator.prove.verbs import act

    return act(order)


def _warm_up(config: Path, log: Path) -> dict[str, Any]:
    """One run in this process itself: whatever a run imports, compiles and keeps for the next is here for every child. It
    leaves no thread and no open file behind, or the answer is a failure.
    """
    import mesh_itk3.simulator.prove.verbs  # noqa: F401 - an operator's child finds it here

    before, errors = set(_open_files()), os.dup(2)
    with log.open("ab") as stream:
        os.dup2(stream.fileno(), 2)
    try:
        code = warm.one_round(config, wait=lambda _: None)
    finally:
        os.dup2(errors, 2)
        os.close(errors)
    gc.collect()
    gc.freeze()  # what is here already is never looked at again, and so not copied for each child
    left = set(_open_files()) - before
    return {"code": code, "left": len(left) + threading.active_count() - 1}


def _open_files() -> list[str]:
    return [path.name for path in Path("/proc/self/fd").iterdir()]


def _await(pid: int, after_us: int | None, within_s: float) -> bool:
    """Until the child has ended, killing it at its time; whether it had to be killed because it did not end."""
    descriptor = os.pidfd_open(pid)
    try:
        limit_s = within_s if after_us is None else after_us / 1e6
        if not select.select([descriptor], [], [], limit_s)[0]:
            os.kill(pid, signal.SIGKILL)
            return after_us is None
        return False
    finally:
        os.close(descriptor)


def change_of(named: str | None) -> Change:
    """`MODULE:FUNCTION` that changes each daemon: broken on purpose, for the tests of the oracle. Raises ImportError,
    AttributeError, ValueError.
    """
    if not named:
        return lambda _: None
    module, function = named.split(":")
    found: Change = getattr(importlib.import_module(module), function)
    return found


def main() -> None:
    """Until its standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C means the command, which ends us in order
    parent = Parent()
    for line in sys.stdin:
        answer = parent.do(json.loads(line))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


# ------------------------------------------------------------------------------------------------ its other end


class WarmParent:
    """That process, as its user sees it. It dies with us, however we die."""

    def __init__(self, log: Path, environment: dict[str, str]) -> None:
        command = leashed([sys.executable, "-m", "mesh_itk3.simulator.prove.parent"])
        with log.open("ab") as stream:
            self._process = subprocess.Popen(  # noqa: S603  # a command line of ours
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, env=environment, start_new_session=True
            )

    def ask(self, **order: Any) -> dict[str, Any]:
        """Gives an order and waits for the answer. Raises EOFError where the process has ended."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise EOFError
        try:
            stdin.write(json.dumps(order).encode() + b"\n")
            stdin.flush()
            line = stdout.readline()
        except BrokenPipeError:
            raise EOFError from None
        if not line:
            raise EOFError
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        """Ends it; safe to repeat."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


if __name__ == "__main__":
    main()
