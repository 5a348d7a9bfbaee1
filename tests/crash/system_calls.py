"""Counts the system calls by which a process and all its threads and children change what lasts, and kills at the k-th.

The kernel does the counting (seccomp's user notification, Linux 5.6): a filter that the process puts on itself stops every
such call until this side has said "go on", so that there is one order of all calls of all threads, and the k-th is killed
before it has done anything. (strace's `-e inject=…:when=k` counts each thread by itself, which leaves out the k-th call of a
thread whenever another gets to its own k-th before it.)

What is counted: write (not to standard error: the log), pwrite64, writev, pwritev, fsync, fdatasync, rename, renameat,
renameat2, unlink, unlinkat, sendto, sendmsg, ftruncate.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import select
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_NUMBERS: Final = {
    "x86_64": {
        "write": 1, "pwrite64": 18, "writev": 20, "sendto": 44, "sendmsg": 46, "fsync": 74, "fdatasync": 75, "ftruncate": 77,
        "rename": 82, "unlink": 87, "unlinkat": 263, "renameat": 264, "pwritev": 296, "renameat2": 316,
    },
    "aarch64": {
        "unlinkat": 35, "renameat": 38, "ftruncate": 46, "write": 64, "writev": 66, "pwrite64": 68, "pwritev": 70, "fsync": 82,
        "fdatasync": 83, "sendto": 206, "sendmsg": 211, "renameat2": 276,
    },
}  # fmt: skip
_SECCOMP: Final = {"x86_64": 317, "aarch64": 277}
_PIDFD_GETFD: Final = 438  # on both
_PR_SET_NO_NEW_PRIVS: Final = 38
_SET_MODE_FILTER, _NEW_LISTENER = 1, 8
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_RECEIVE: Final = 0xC0502100  # ioctl SECCOMP_IOCTL_NOTIF_RECV
_SEND: Final = 0xC0182101
_GO_ON: Final = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE
_NOTIFICATION: Final = struct.Struct("=QIIiIQ6Q")  # id, pid, flags, number, architecture, instruction, arguments
_ANSWER: Final = struct.Struct("=QqiI")

_libc: Final = ctypes.CDLL(None, use_errno=True)


class CannotCount(Exception):
    """This kernel, machine or container does not let a process be stopped at its system calls."""


@dataclass(slots=True)
class Count:
    """What has been counted, and whom to kill when."""

    kill_at: int | None = None
    """None: only counts."""
    kill: Callable[[int], None] = lambda _: None
    """Called with the process id of whoever makes the k-th call, before it is done. That may be a child of the daemon's: the
    transport asks `uname` once.
    """
    seen: list[str] = field(default_factory=list)
    """The names of the calls so far; none after the k-th."""

    def __call__(self, name: str, pid: int) -> None:
        if len(self.seen) == self.kill_at:
            return  # another thread's call, that the kernel had put in the queue before the kill reached it: it dies at it
        self.seen.append(name)
        if len(self.seen) == self.kill_at:
            self.kill(pid)


def is_possible() -> str | None:
    """None, or why not."""
    if sys.platform != "linux" or platform.machine() not in _NUMBERS:
        return "system calls are counted on Linux, x86_64 and aarch64 only"
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            stop_at_calls(writing)
        except BaseException:  # noqa: BLE001 - a child that only tries
            os._exit(1)
        os._exit(0)
    os.close(writing)
    os.close(reading)
    _, status = os.waitpid(pid, 0)
    return None if status == 0 else "the kernel or the container does not allow seccomp's user notification"


def stop_at_calls(told: int) -> None:
    """From now on every counted call of this process, of its later threads and of its children waits for whoever watches. Tells
    the number of the descriptor that they need over `told`. Raises CannotCount.
    """
    numbers = _NUMBERS.get(platform.machine())
    if numbers is None:
        raise CannotCount(platform.machine())
    filtering, length = _filter(sorted(numbers.values()), numbers["write"])
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", length, ctypes.addressof(filtering)))
    # Said before: once the filter is there, the telling would wait for the watcher that waits to be told.
    os.write(told, struct.pack("=i", _next_descriptor()))
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if _libc.syscall(_SECCOMP[platform.machine()], _SET_MODE_FILTER, _NEW_LISTENER, program) < 0:
        raise CannotCount(os.strerror(ctypes.get_errno()))


def _filter(numbers: list[int], write: int) -> tuple[ctypes.Array[ctypes.c_char], int]:
    """Classic BPF: the listed calls stop, but a write to standard error, and every other call, does not."""
    load_number, load_first, equal, give = 0x20, 0x20, 0x15, 0x06
    count = len(numbers)
    lines = [
        (load_number, 0, 0, 0),
        (equal, 0, 3, write),
        (load_first, 0, 0, 16),
        (equal, count + 1, 0, 2),  # standard error: allowed
        (load_number, 0, 0, 0),
        *((equal, count - at, 0, number) for at, number in enumerate(numbers)),
        (give, 0, 0, _ALLOW),
        (give, 0, 0, _NOTIFY),
    ]
    packed = b"".join(struct.pack("HBBI", code, yes, no, value) for code, yes, no, value in lines)
    return ctypes.create_string_buffer(packed), len(lines)


def _next_descriptor() -> int:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.close(descriptor)
    return descriptor


def watch_calls(pid: int, told: int, count: Count) -> None:
    """Counts the calls of a child that has called, or is about to call, `stop_at_calls(the other end of told)`, and of all its
    children; returns when the last of them is gone. Raises CannotCount.
    """
    said = os.read(told, 4)
    if not said:
        raise CannotCount("the child has ended before it began")
    listener = _take(pid, struct.unpack("=i", said)[0])
    names = {number: name for name, number in _NUMBERS[platform.machine()].items()}
    try:
        while _answer_next(listener, names, count):
            pass
    finally:
        os.close(listener)


def _take(pid: int, number: int) -> int:
    """The child's descriptor of this number, as one of ours. It may not be there yet: the child is just making it."""
    pidfd = os.pidfd_open(pid)
    try:
        while True:
            found = int(_libc.syscall(_PIDFD_GETFD, pidfd, number, 0))
            if found >= 0:
                return found
            if select.select([pidfd], [], [], 0.001)[0]:
                raise CannotCount("the child could not put the filter on itself")
    finally:
        os.close(pidfd)


def _answer_next(listener: int, names: dict[int, str], count: Count) -> bool:
    """One call; whether there may be another."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    if not poll.poll()[0][1] & select.POLLIN:
        return False  # nobody under the filter is left
    request = bytearray(_NOTIFICATION.size)
    try:
        fcntl.ioctl(listener, _RECEIVE, request)
    except FileNotFoundError:  # killed meanwhile
        return True
    cookie, pid, _, number, *_ = _NOTIFICATION.unpack(request)
    count(names.get(number, str(number)), _process_of(pid))
    try:
        fcntl.ioctl(listener, _SEND, bytearray(_ANSWER.pack(cookie, 0, 0, _GO_ON)))
    except FileNotFoundError:  # killed here, or by somebody else
        return True
    return True


def _process_of(thread: int) -> int:
    """The process that a thread belongs to; itself where it has just gone."""
    try:
        status = Path(f"/proc/{thread}/status").read_text(encoding="ascii")
    except OSError:
        return thread
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("Tgid:"))
