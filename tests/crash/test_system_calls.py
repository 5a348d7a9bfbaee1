"""SIGKILL at the k-th write, fsync, rename, unlink or send of a letter's whole life, k rising until a run ends by itself: what
no crash point names is covered too, SQLite's own steps among them.
"""

from __future__ import annotations

import pytest

from crash.scenarios import accepted, pruned_by_command
from crash.sweep import every_point, say
from crash.system_calls import is_possible

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.timeout(900),
    pytest.mark.skipif(is_possible() is not None, reason=str(is_possible())),
]


def test_a_letter_survives_a_kill_at_every_system_call_that_changes_what_lasts(world):
    kills, calls = every_point(world, accepted, counts_calls=True)
    say("a letter, system calls", kills, len(calls))
    # One life holds all kinds; a filter that lets one of them through unseen would show here.
    assert {"pwrite64", "write", "fdatasync", "fsync", "rename", "sendto", "unlink"} <= set(calls)
    assert kills > 150


def test_pruning_by_command_survives_a_kill_at_every_system_call_that_changes_what_lasts(world):
    kills, calls = every_point(world, pruned_by_command, counts_calls=True)
    say("mesh-itk3 prune, system calls", kills, len(calls))
    assert "unlink" in calls
    assert kills > 30


def test_every_call_of_every_thread_and_child_is_counted_in_one_order(warm, tmp_path):
    counted = warm.run("threads", tmp_path, counts_calls=True)
    assert (counted.code, counted.passed.count("fsync")) == (0, 3 * 5)
    assert counted.passed.count("write") == 3 * 5
    for at in (1, 4, 8):
        killed = warm.run("threads", tmp_path, counts_calls=True, kill_at=2 * at)
        assert killed.was_killed
        assert len(killed.passed) == 2 * at
