"""The demo as a person runs it: a process of its own, with the real sandbox and the real daemon."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mesh_itk3.simulator.demo_practice import child_environment
from support.eventually import eventually

DEMO = [sys.executable, "-m", "mesh_itk3", "demo"]
WITHIN_S = 240.0

pytestmark = pytest.mark.sandbox


def child_of(pid, word):
    """The child whose command line has this word: Python starts `uname`, too, and pids begin anew at some time."""
    ps = ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(pid)]
    lines = subprocess.run(ps, capture_output=True, text=True, check=False).stdout.splitlines()
    (child,) = (int(line.split()[0]) for line in lines if word in line)
    return child


def sandbox_and_daemon_of(demo):
    return child_of(demo.pid, " uvicorn "), child_of(demo.pid, " run ")


def is_running(pid):
    """A zombie that nobody has collected yet is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def running_demo(tmp_path):
    """A demo whose daemon has begun to work."""
    directory = tmp_path / "demo"
    process = subprocess.Popen(
        [*DEMO, "--keep", "--directory", directory], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    log = directory / "daemon.log"
    eventually(lambda: log.exists() and b"service.started" in log.read_bytes())
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


def test_every_message_of_the_mix_is_answered_and_filed_as_the_standard_says(tmp_path):
    done = subprocess.run(
        [*DEMO, "--json", "--directory", tmp_path / "demo"], capture_output=True, text=True, timeout=WITHIN_S, check=False
    )
    document = json.loads(done.stdout)
    assert [each["differences"] for each in document["messages"] if not each["as_expected"]] == []
    assert document["problems"] == []
    assert done.returncode == 0
    assert len(document["messages"]) == 15
    for each in document["messages"]:
        if each["expected"]["filed"]:
            assert (tmp_path / "demo" / "letters" / each["letter"] / "letter.html").exists()
    assert "Traceback" not in done.stderr


def test_interrupt_stops_everything_without_a_traceback(running_demo):
    children = sandbox_and_daemon_of(running_demo)
    running_demo.send_signal(signal.SIGINT)
    _, errors = running_demo.communicate(timeout=WITHIN_S)
    assert "Traceback" not in errors
    assert not any(is_running(child) for child in children)


def test_daemon_and_sandbox_do_not_outlive_a_killed_demo(running_demo):
    children = sandbox_and_daemon_of(running_demo)
    running_demo.kill()
    running_demo.communicate(timeout=WITHIN_S)
    eventually(lambda: not any(is_running(child) for child in children))


def test_a_daemon_that_dies_is_said_in_one_line(running_demo):
    _, daemon = sandbox_and_daemon_of(running_demo)
    os.kill(daemon, signal.SIGKILL)
    _, errors = running_demo.communicate(timeout=WITHIN_S)
    assert running_demo.returncode == 1
    assert errors.startswith("mesh-itk3 demo: the daemon ended with exit code -9")
    assert errors.count("\n") == 1


def test_a_directory_in_use_is_refused_in_one_line(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    done = subprocess.run([*DEMO, "--directory", tmp_path], capture_output=True, text=True, timeout=WITHIN_S, check=False)
    assert done.returncode == 1
    assert done.stderr == f"mesh-itk3 demo: {tmp_path} is not empty; name a new directory\n"


def test_a_missing_extra_is_said_in_one_line(tmp_path):
    without = "import sys; sys.modules['mesh_sandbox'] = None; from mesh_itk3.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", without, "demo", "--directory", tmp_path],
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "mesh-itk3 demo: the MESH sandbox is not installed: pip install 'mesh-itk3[demo]'\n"


def test_the_daemon_of_the_demo_never_sees_the_settings_of_a_real_one():
    mine = {"PATH": "/bin", "MESH_ITK3_MESH__ENVIRONMENT": "live", "CREDENTIALS_DIRECTORY": "/c", "NOTIFY_SOCKET": "/n"}
    assert child_environment(mine) == {"PATH": "/bin"}
