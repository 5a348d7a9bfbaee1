"""A command run by root acts as the owner of the ledger."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mesh_itk3.adapters.owner import act_as_owner

STRANGER = 54321
"""A user id without a name."""
PROGRAM = """
import os, sys
from pathlib import Path
from mesh_itk3.adapters.owner import act_as_owner
became = act_as_owner(Path(sys.argv[1]))
print(became, os.getresuid(), os.getresgid(), os.getgroups())
try:
    os.setuid(0)
except PermissionError:
    print("for good")
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as somebody else")


def acts(path: Path) -> list[str]:
    """A child does it: there is no way back."""
    ended = subprocess.run([sys.executable, "-c", PROGRAM, path], capture_output=True, text=True, timeout=180, check=True)
    return ended.stdout.splitlines()


@as_root
def test_root_becomes_the_owner_of_the_ledger_for_good(tmp_path):
    ledger = tmp_path / "ledger.db"
    ledger.touch()
    os.chown(ledger, STRANGER, 777)

    assert acts(ledger) == [f"{STRANGER} ({STRANGER}, {STRANGER}, {STRANGER}) (777, 777, 777) []", "for good"]


@as_root
def test_before_the_first_start_the_owner_of_the_directory_counts(tmp_path):
    os.chown(tmp_path, STRANGER, 777)

    assert acts(tmp_path / "ledger.db")[0].startswith(f"{STRANGER} ")


@as_root
def test_owner_with_a_name_gets_the_groups_of_that_name(tmp_path):
    os.chown(tmp_path, 65534, 0)  # nobody

    assert acts(tmp_path / "ledger.db") == ["65534 (65534, 65534, 65534) (65534, 65534, 65534) [65534]", "for good"]


@as_root
@pytest.mark.parametrize("path", ["ledger.db", "not/there/ledger.db"])
def test_root_stays_root_for_its_own_files_and_where_nothing_is_yet(tmp_path, path):
    assert acts(tmp_path / path)[0].startswith("None (0, 0, 0)")


def test_other_users_stay_who_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert act_as_owner(tmp_path) is None
