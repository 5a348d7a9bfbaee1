"""What the figures share: a sandbox, a configured daemon as a real process, its CPU time and memory from the kernel."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from mesh_client import MeshClient
from tests.support.sandbox import HOSPITAL, PASSWORD, PRACTICE, SHARED_KEY, Sandbox

from mesh_itk3.simulator.patients import write_register

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
DEADLINE_S = 300.0


@contextmanager
def a_sandbox(directory: Path) -> Iterator[Sandbox]:
    """A fresh one: the sandbox slows down with every message it has ever had."""
    sandbox = Sandbox(directory / "sandbox.log")
    sandbox.start()
    try:
        yield sandbox
    finally:
        sandbox.stop()


def a_client(url: str, mailbox_id: str) -> MeshClient:
    """mesh-client as it comes."""
    return MeshClient(url, mailbox_id, PASSWORD, shared_key=SHARED_KEY.encode(), max_retries=0)


def load(url: str, bodies: Sequence[bytes], workflow_id: str = "TOC_FHIR_IP_DISCH") -> None:
    """Puts the messages into the practice's inbox."""

    def send(part: Sequence[bytes]) -> None:
        with a_client(url, HOSPITAL) as client:
            for body in part:
                client.send_message(PRACTICE, body, workflow_id=workflow_id)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send, [bodies[n::4] for n in range(4)]))


def configure(directory: Path, url: str) -> Path:
    """A configuration with everything on: register, letters, ledger, payloads."""
    directory.mkdir(parents=True, exist_ok=True)
    write_register(directory / "patients.csv", datetime.now(UTC).date())
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


class RunningDaemon:
    """`mesh-itk3 run` as a process; its log lines are read as they come."""

    def __init__(self, config: Path) -> None:
        command = [sys.executable, "-m", "mesh_itk3", "run", "--config", str(config)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self._changed = threading.Condition()
        self.counts: dict[str, int] = {}
        self.cpu_at: dict[str, float] = {}
        self.time_at: dict[str, float] = {}
        self.unexpected: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            event = json.loads(line)
            with self._changed:
                name = event["event"]
                self.counts[name] = self.counts.get(name, 0) + 1
                self.cpu_at[name], self.time_at[name] = self.cpu_s(), time.monotonic()
                if event.get("severity") in {"error", "critical"}:
                    self.unexpected.append(line.decode())
                self._changed.notify_all()

    def wait_for(self, name: str, count: int = 1) -> None:
        """Until this event has been logged so many times."""
        self._wait(lambda: self.counts.get(name, 0) >= count, f"{count} {name}")

    def _wait(self, is_there: Callable[[], bool], what: str) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: is_there() or self.process.poll() is not None, DEADLINE_S):
                raise TimeoutError(f"no {what} in {DEADLINE_S} s; got {self.counts}")
        if not is_there():
            raise RuntimeError(f"the daemon ended with {self.process.returncode}; got {self.counts} {self.unexpected[:3]}")

    def cpu_s(self) -> float:
        """User and system time so far."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return float("nan")
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def memory_kb(self, key: str) -> int:
        """`VmRSS` now or `VmHWM`, the peak since `forget_peak`."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith(key)))

    def forget_peak(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
