"""The official MESH sandbox on a free port of this machine, as a process of our own."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import requests

from mesh_itk3.simulator.failure import SimulationFailed
from mesh_itk3.simulator.leash import leashed

# Published with the sandbox; they open nothing else.
SHARED_KEY: Final = "TestKey"
PASSWORD: Final = "password"  # noqa: S105
HOSPITAL_MAILBOX: Final = "X26ABC1"
PRACTICE_MAILBOX: Final = "X26ABC2"

START_WITHIN_S: Final = 20.0
STOP_WITHIN_S: Final = 5.0
TRIES: Final = 3


class Sandbox:
    """A running sandbox with an empty store in memory: `with Sandbox(log) as sandbox: sandbox.url`.

    With `store` it keeps messages in that directory, and each directory in it is a mailbox of that name, beside its own
    three. `app` names what uvicorn serves in place of the sandbox alone, `environment` what that is told besides. Without
    `own_session` Ctrl-C reaches it, too. Raises SimulationFailed where it cannot be started. It dies with us, however we die.
    """

    def __init__(
        self,
        log: Path,
        *,
        store: Path | None = None,
        app: str = "mesh_sandbox.api:app",
        environment: Mapping[str, str] | None = None,
        own_session: bool = True,
    ) -> None:
        self._log = log
        self._own_session = own_session
        self._store = store
        self._app = app
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Starts it and waits until it answers."""
        if importlib.util.find_spec("mesh_sandbox") is None:
            raise SimulationFailed("the MESH sandbox is not installed: pip install 'mesh-itk3[demo]'")
        for _ in range(TRIES):  # a free port can be taken before the sandbox has it
            port = free_port()
            self.url = f"http://127.0.0.1:{port}"
            self._process = self._launch(port)
            if self._is_up(self._process):
                return
            self.stop()
        raise SimulationFailed(f"the MESH sandbox did not start; its log is {self._log}")

    def stop(self) -> None:
        """Ends our own process; safe to repeat."""
        if self._process is None:
            return
        end(self._process, within_s=STOP_WITHIN_S)
        self._process = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def _launch(self, port: int) -> subprocess.Popen[bytes]:
        settings = {"AUTH_MODE": "full", "STORE_MODE": "memory", "SHARED_KEY": SHARED_KEY, "PYTHONWARNINGS": "ignore"}
        if self._store is not None:
            settings |= {"STORE_MODE": "file", "MAILBOXES_DATA_DIR": str(self._store)}
        command = [sys.executable, "-m", "uvicorn", self._app, "--host", "127.0.0.1", "--port", str(port),
                   "--no-access-log", "--log-level", "warning"]  # fmt: skip
        with self._log.open("ab") as log:
            # With a session of its own, Ctrl-C reaches us alone, and we stop it in our own order.
            return subprocess.Popen(  # noqa: S603  # a command line of ours
                leashed(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | settings | self._environment,
                start_new_session=self._own_session,
            )

    def _is_up(self, process: subprocess.Popen[bytes]) -> bool:
        deadline = time.monotonic() + START_WITHIN_S
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(requests.RequestException), requests.Session() as session:
                session.trust_env = False  # it is on this machine, never behind a proxy
                if session.get(f"{self.url}/health", timeout=2).ok:
                    return True
            time.sleep(0.05)
        return False


def free_port() -> int:
    """A port of the loopback interface that nobody had a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def end(process: subprocess.Popen[bytes], *, within_s: float) -> int:
    """Asks the process to stop, then makes it; its exit code."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(within_s)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()
