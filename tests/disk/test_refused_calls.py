"""A disk that refuses the n-th call of one message's life: it is mended, and nothing is lost, doubled or counted against it.

`ITK3_OVERNIGHT=1 make test ARGS='tests/disk --timeout 0'` tries every n of every kind; without it
some of each kind have their turn.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
IS_WHOLE = os.environ.get("ITK3_OVERNIGHT") == "1"
STEPS = {"fsync fails": 3, "write fails": 37, "disk full": 41, "read-only": 79, "no new name": 9}
"""Chosen to fit the time, and not to fall into step with what comes again and again in a life."""


@pytest.fixture(scope="module")
def refusing(tmp_path_factory):
    """The library that stands before the C library."""
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("no C compiler `cc`: the disk cannot be made to refuse single calls")
    library = tmp_path_factory.mktemp("refusing") / "refusing.so"
    command = [
        compiler,
        "-O1",
        "-U_FORTIFY_SOURCE",
        "-shared",
        "-fPIC",
        "-Wall",
        "-o",
        library,
        HERE / "refusing.c",
        "-ldl",
        "-pthread",
    ]
    subprocess.run(command, check=True, timeout=180)
    return library


def trials(refusing, url, directory, steps):
    done = subprocess.run(
        [sys.executable, HERE / "trials.py", url, directory, json.dumps(steps)],
        env=os.environ | {"LD_PRELOAD": str(refusing)},
        capture_output=True,
        text=True,
        timeout=None if IS_WHOLE else 280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.sandbox
@pytest.mark.parametrize("sweep", STEPS)
def test_whichever_call_the_disk_refuses_nothing_is_lost_doubled_or_counted(refusing, sandbox, tmp_path, sweep):
    found = trials(refusing, sandbox.url, tmp_path / "trials", {sweep: 1 if IS_WHOLE else STEPS[sweep]})

    assert [trial for trial in found if trial["wrong"]] == []
    # It went on until a life had no such call; before that, calls were refused.
    assert found[-1]["passed"] < found[-1]["nth"]
    assert len(found) > 2
    # A single round says what is wrong, and does not go on about it.
    assert max(trial["said"] for trial in found) <= 2
