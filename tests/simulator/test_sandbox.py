"""The simulator's sandbox starts, answers, and never outlives whoever started it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from mesh_itk3.simulator.sandbox import Sandbox
from support.eventually import eventually

pytestmark = pytest.mark.sandbox

PARENT = """
import sys, time
from pathlib import Path
from mesh_itk3.simulator.sandbox import Sandbox
sandbox = Sandbox(Path(sys.argv[1]))
sandbox.start()
print(sandbox.pid, sandbox.url, flush=True)
time.sleep(600)
"""


def is_running(pid):
    """A zombie that nobody has collected yet is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_it_answers_while_it_runs_and_is_gone_afterwards(tmp_path):
    with Sandbox(tmp_path / "log") as sandbox:
        pid = sandbox.pid
        assert requests.get(f"{sandbox.url}/health", timeout=60).ok
    assert not is_running(pid)
    assert sandbox.pid is None


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_it_dies_with_the_process_that_started_it(tmp_path, how):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, tmp_path / "log"], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline().split()[0])
    assert is_running(pid)
    parent.send_signal(how)
    parent.communicate(timeout=120)
    eventually(lambda: not is_running(pid))
