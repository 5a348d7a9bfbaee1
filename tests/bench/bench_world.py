"""What the figures share: a sandbox, a configured daemon as a real process, its CPU time and memory from the kernel."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mesh_client import MeshClient
from tests.support.sandbox import HOSPITAL, PASSWORD, PRACTICE, SHARED_KEY, Sandbox

from mesh_itk3.simulator.patients import write_register

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
DEADLINE_S = 90.0
# linux/fs.h
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_TOPDIR_FL = 0x80086601, 0x40086602, 0x00020000


def spread(directory: Path) -> None:
    """From now on each directory made in this one begins in a part of the disk of its own (`chattr +T`). For minutes after a
    file was deleted ext4 looks at its inode each time that it makes one near it (recently_deleted() in fs/ext4/ialloc.c): a
    daemon measured where a test suite has just cleaned up needs more CPU than anywhere else. Other file systems do not mind.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        flags = bytearray(struct.calcsize("l"))
        fcntl.ioctl(descriptor, FS_IOC_GETFLAGS, flags)
        fcntl.ioctl(descriptor, FS_IOC_SETFLAGS, struct.pack("l", struct.unpack("l", flags)[0] | FS_TOPDIR_FL))
    except OSError as error:
        why = os.strerror(error.errno or 0)
        print(f"{directory} is not spread over the disk ({why}): best when nothing was deleted for six minutes")
    finally:
        os.close(descriptor)


@contextmanager
def a_sandbox(directory: Path) -> Iterator[Sandbox]:
    """A fresh one: the sandbox slows down with every message it has ever had. In our session, for a scheduler that gives each
    session its share of the processors (Linux' autogroups) would give it half of them, however many processes we are.
    """
    with Sandbox(directory / "sandbox.log", own_session=False) as sandbox:
        yield sandbox


def a_client(url: str, mailbox_id: str) -> MeshClient:
    """mesh-client as it comes."""
    return MeshClient(url, mailbox_id, PASSWORD, shared_key=SHARED_KEY.encode(), max_retries=0)


def load(url: str, bodies: Sequence[bytes], workflow_id: str = "TOC_FHIR_IP_DISCH") -> None:
    """Puts the messages into the practice's inbox, one after another: the sandbox loses some that come at once."""
    with a_client(url, HOSPITAL) as client:
        for body in bodies:
            client.send_message(PRACTICE, body, workflow_id=workflow_id)


def configure(directory: Path, url: str) -> Path:
    """A configuration with everything on: register, letters, ledger, payloads."""
    directory.mkdir(parents=True, exist_ok=True)
    write_register(directory / "patients.csv", datetime.now(UTC).date())
    an_hour_ago = time.time() - 3600
    os.utime(directory / "patients.csv", (an_hour_ago, an_hour_ago))  # a fresh one is given a second to settle
    config = directory / "mesh-itk3.toml"
    config.write_text(
        f"""
state_directory = "{directory}/state"
[mesh]
environment = "sandbox"
url = "{url}"
shared_key = "{SHARED_KEY}"
[mailboxes.{PRACTICE}]
ods_code = "A81001"
password = "{PASSWORD}"
poll_interval_s = 1
[patients]
source = "csv"
file = "{directory}/patients.csv"
[limits]
max_message_bytes = 20971520
"""
    )
    config.chmod(0o600)
    return config


@dataclass
class Moment:
    """When something was first seen, and the daemon's CPU time until then."""

    time_s: float
    cpu_s: float


class RunningDaemon:
    """`mesh-itk3 run` as a process. Its log is only counted, not parsed: the watcher must not take the core that the
    sandbox needs."""

    def __init__(self, config: Path) -> None:
        command = [sys.executable, "-m", "mesh_itk3", "run", "--config", str(config)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self._changed = threading.Condition()
        self._counts: dict[bytes, int] = {}
        self._awaited: dict[tuple[bytes, int], Moment | None] = {}
        self.unexpected: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            name = line.partition(b'"event":"')[2].partition(b'"')[0]
            self._counts[name] = count = self._counts.get(name, 0) + 1
            if b'"severity":"error"' in line or b'"severity":"critical"' in line:
                self.unexpected.append(line.decode())
            if (name, count) in self._awaited:
                with self._changed:
                    self._awaited[(name, count)] = Moment(time.monotonic(), self.cpu_s())
                    self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def expect(self, name: str, count: int = 1) -> None:
        """To be called before it can happen; `moment` waits for it."""
        self._awaited[(name.encode(), count)] = None

    def moment(self, name: str, count: int = 1) -> Moment:
        """When this event was logged so many times."""
        key = (name.encode(), count)
        with self._changed:
            is_over = lambda: self._awaited[key] is not None or self.process.poll() is not None  # noqa: E731
            if not self._changed.wait_for(is_over, DEADLINE_S):
                raise TimeoutError(f"no {count} {name} in {DEADLINE_S} s; got {self._counts} {self.unexpected[:3]}")
        found = self._awaited[key]
        if found is None:
            raise RuntimeError(f"the daemon ended with {self.process.returncode}; {self.unexpected[:3]}")
        return found

    @property
    def pids(self) -> list[int]:
        """The service's own process and its inner one."""
        pid = self.process.pid
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    def cpu_s(self) -> float:
        """User and system time so far, of both processes."""
        return sum(_cpu_s(pid) for pid in self.pids)

    def memory_kb(self, key: str) -> int:
        """`VmRSS` now or `VmHWM`, the peak since `forget_peak`; of both processes."""
        return sum(_memory_kb(pid, key) for pid in self.pids)

    def forget_peak(self) -> None:
        for pid in self.pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def _memory_kb(pid: int, key: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith(key)))
