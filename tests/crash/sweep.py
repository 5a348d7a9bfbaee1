"""One trial, and the order in which a sweep takes its points. `MESH_ITK3_OVERNIGHT=1` takes them all."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from crash.scenarios import Begun
from crash.warm import Run
from crash.world import World

IS_OVERNIGHT = os.environ.get("MESH_ITK3_OVERNIGHT") == "1"
MOST = 3_000
"""Kills in one sweep, whatever happens: a run that never ends by itself is a fault."""


def offset(stride: int) -> int:
    """Where a sweep that takes every `stride`-th point begins: another place every day, or MESH_ITK3_SWEEP_OFFSET."""
    asked = os.environ.get("MESH_ITK3_SWEEP_OFFSET")
    return 1 + (int(asked) if asked else datetime.now(UTC).toordinal()) % stride


def trial(world: World, begin: Callable[[World], Begun], *, again_at: int | None = None, **killing: Any) -> Run:
    """Begins, kills where `killing` says, looks, restarts, looks. With `again_at` the restart is killed too, at that point."""
    begun = begin(world)
    died = world.run(begun.work, **begun.asked, **killing)
    assert died.was_killed or died.code == 0, f"neither killed nor done: {died.code}, {died.signal}: {world.log_tail()}"
    try:
        world.check_durable(begun.expected)
        if again_at is not None:
            world.round(kill_at=again_at)
            world.check_durable(begun.expected)
        world.recover()
        world.check_settled(begun.afterwards() if begun.afterwards else begun.expected)
    except AssertionError as wrong:
        where = died.passed[-1] if died.passed else "nothing"
        raise AssertionError(f"killed with {killing} at {where} ({len(died.passed)} passed): {wrong}") from wrong
    return died


def every_point(world: World, begin: Callable[[World], Begun], *, stride: int = 1, **killing: Any) -> tuple[int, list[str]]:
    """Kills at the n-th point, n rising until a run ends by itself; how many kills, and all names that the last run passed."""
    first = 1 if IS_OVERNIGHT else offset(stride)
    for kills, n in enumerate(range(first, MOST, 1 if IS_OVERNIGHT else stride)):
        ended = trial(world, begin, kill_at=n, **killing)
        if not ended.was_killed:
            assert len(ended.passed) < n, "it was not killed where it should have been"
            return kills, list(ended.passed)
    raise AssertionError(f"a run that never ends: {MOST} points and more")
