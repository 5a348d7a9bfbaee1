"""One trial, and the order in which a sweep takes its points: one after the other. Where that takes too long for every run
(pairs, the service, a restore), every so many of a stride; `ITK3_OVERNIGHT=1` takes all of these, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from crash.said import SAID
from crash.scenarios import Begun
from crash.warm import Run
from crash.world import World

IS_OVERNIGHT = os.environ.get("ITK3_OVERNIGHT") == "1"
OFFSET = int(os.environ.get("ITK3_SWEEP_OFFSET") or datetime.now(UTC).toordinal())
MOST = 3_000
"""Kills in one sweep, whatever happens: a run that never ends by itself is a fault."""
POINTS_OF_A_RESTART = 90
"""About as many as the shortest has."""


def first(stride: int) -> int:
    """Where a sweep that takes every `stride`-th point begins: another place every day, or ITK3_SWEEP_OFFSET."""
    return 1 + OFFSET % step(stride)


def step(stride: int) -> int:
    """How far it goes from one point to the next."""
    return 1 if IS_OVERNIGHT else stride


def say(what: str, kills: int, points: int | None, stride: int = 1) -> None:
    """For the end of the run: what this sweep has killed, and how the same is killed again."""
    of = "" if points is None else f" of {points} points"
    which = "" if step(stride) == 1 else f", every {stride}. from {first(stride)} on (ITK3_SWEEP_OFFSET={OFFSET})"
    SAID.append(f"crash sweep, {what}: {kills} kills{of}{which}")


def trial(world: World, begin: Callable[[World], Begun], **killing: Any) -> Run:
    """Begins, kills where `killing` says, looks, restarts, looks."""
    return killed_twice(world, begin, None, **killing)[0]


def killed_twice(world: World, begin: Callable[[World], Begun], again_at: int | None, **killing: Any) -> tuple[Run, Run]:
    """The same; with `again_at` the restart is killed too, at that point, and another restarts. How the two ended."""
    begun = begin(world)
    died = world.run(begun.work, **begun.asked, **killing)
    assert died.was_killed or died.code == 0, f"neither killed nor done: {died.code}, {died.signal}: {world.log_tail()}"
    again = died
    try:
        world.check_durable(begun.expected)
        if again_at is not None:
            again = world.round(kill_at=again_at)
            world.check_durable(begun.expected)
        world.recover()
        world.check_settled(begun.afterwards() if begun.afterwards else begun.expected)
    except AssertionError as wrong:
        where = died.passed[-1] if died.passed else "nothing"
        raise AssertionError(f"killed with {killing}, {again_at} at {where} ({len(died.passed)} passed): {wrong}") from wrong
    return died, again


def every_point(world: World, begin: Callable[[World], Begun], **killing: Any) -> tuple[int, list[str]]:
    """Kills at the n-th point, n rising until a run ends by itself; how many kills, and all names that the last run passed."""
    for n in range(1, MOST):
        ended = trial(world, begin, kill_at=n, **killing)
        if not ended.was_killed:
            assert len(ended.passed) < n, "it was not killed where it should have been"
            return n - 1, list(ended.passed)
    raise AssertionError(f"a run that never ends: {MOST} points and more")


def every_pair(world: World, begin: Callable[[World], Begun], *, stride: int) -> int:
    """Kills at the n-th point, and the restart at its m-th; how many pairs. Overnight all of them, else one m for each n of a
    stride, so chosen that the m are spread over the restart's life.
    """
    pairs = 0
    for turn, n in enumerate(range(first(stride), MOST, step(stride))):
        for m in range(1, MOST) if IS_OVERNIGHT else (1 + (turn * 37 + first(stride)) % POINTS_OF_A_RESTART,):
            died, again = killed_twice(world, begin, m, kill_at=n)
            if not died.was_killed:
                return pairs
            pairs += again.was_killed
            if not again.was_killed:
                break
    raise AssertionError("a run that never ends")
