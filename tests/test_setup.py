"""`make` picks an interpreter that works, and says in one line what is missing where none does; CI runs every target."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CI = Path(__file__).resolve().parents[1] / ".ci"
FIND_PYTHON = CI / "find-python"

WORKS = f'exec "{sys.executable}" "$@"'
SHIM_OF_NOTHING = 'echo "this version is not installed" >&2; exit 127'
WITHOUT_VENV = f'case "$2" in *ensurepip*) exit 1;; esac; exec "{sys.executable}" "$@"'
TOO_OLD = f'case "$2" in *version_info*exit*|*exit*version_info*) exit 1;; esac; exec "{sys.executable}" "$@"'


def found_among(directory, **programs):
    for name, body in programs.items():
        program = directory / name.replace("_", ".")
        program.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        program.chmod(0o755)
    return subprocess.run(
        ["/bin/sh", FIND_PYTHON], env={"PATH": str(directory)}, capture_output=True, text=True, timeout=180, check=False
    )


@pytest.mark.parametrize("name", ["python3_13", "python3_12", "python3_11", "python3"])
def test_working_interpreter_is_found_under_any_name(tmp_path, name):
    done = found_among(tmp_path, **{name: WORKS})
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, sys.executable, "")


@pytest.mark.parametrize("first", [SHIM_OF_NOTHING, WITHOUT_VENV, TOO_OLD], ids=["shim", "without venv", "too old"])
def test_interpreter_that_does_not_serve_is_passed_over(tmp_path, first):
    done = found_among(tmp_path, python3_13=first, python3_12=WORKS)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("programs", "missing"),
    [
        ({}, "apt install python3 python3-venv"),
        ({"python3_11": SHIM_OF_NOTHING, "python3": TOO_OLD}, "apt install python3 python3-venv"),
        ({"python3": WITHOUT_VENV}, "apt install python3-venv"),
    ],
    ids=["nothing", "only shims and old ones", "no venv"],
)
def test_what_is_missing_is_said_in_one_line(tmp_path, programs, missing):
    done = found_among(tmp_path, **programs)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert missing in done.stderr


@pytest.mark.parametrize(("broken", "exit_code"), [("nothing", 0), ("lint", 1), ("types", 1), ("architecture", 1), ("test", 1)])
def test_ci_runs_every_target_and_fails_with_any(tmp_path, broken, exit_code):
    make = tmp_path / "make"
    make.write_text(
        f'#!/bin/sh\nfor last; do :; done\necho "$last" >> {tmp_path}/made\n[ "$last" != {broken} ]\n', encoding="utf-8"
    )
    make.chmod(0o755)
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([CI / "run"], env=environ, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == exit_code
    assert (tmp_path / "made").read_text().split() == ["lint", "types", "architecture", "test"]
    assert ("failed: " + broken in done.stderr) == bool(exit_code)
