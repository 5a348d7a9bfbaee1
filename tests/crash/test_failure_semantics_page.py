"""docs/failure-semantics.md says of every step what a kill there does; its steps are the calls that the sweeps pass, so that a
call that gets another name, or a new one, neither empties a sweep nor goes undescribed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

import mesh_itk3.stages
from crash.running_service import a_service, everything, is_answered
from crash.scenarios import ALL
from crash.sweep import trial
from crash.world import World
from support.eventually import eventually

PAGE = (Path(__file__).parents[2] / "docs" / "failure-semantics.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("\n## Killed at each step\n")[2].partition("\n## ")[0]
ROWS = [line.strip("|").split("|") for line in SECTION.splitlines() if line.startswith("| ")][1:]
CELLS = 7
NO_STAGES = {"service"}
"""What happens between stages."""


def calls_of(points: Iterable[str]) -> set[str]:
    """`ledger.apply`, of `before ledger.apply`."""
    return {point.partition(" ")[2] for point in points}


def passed_by_the_service(world: World) -> set[str]:
    """Of one that is not killed, its sweep and its end included."""
    begun = everything(world)
    with a_service(world, "service", 0, "service") as running:
        running.arm()
        running.run()
        eventually(lambda: is_answered(world, begun.expected) and "after ledger.sweep" in running.points())
        running.stop(armed=True)
        world.recover()
        world.check_settled(begun.expected)
        return calls_of([*running.points(), *(running.directory / "points.inner").read_text().splitlines()])


def described() -> set[str]:
    cells = [row[2] for row in ROWS]
    noted = SECTION.partition("Asked or noted on the way")[2].partition("\n\n")[0]
    return {name for text in (*cells, noted) for name in re.findall(r"`([a-z]+\.[a-z_]+)`", text)}


@pytest.mark.sandbox
@pytest.mark.timeout(300)
def test_the_page_names_exactly_the_calls_at_which_the_sweeps_kill(world):
    passed = passed_by_the_service(world)
    for begin in ALL:
        passed |= calls_of(trial(world, begin).passed)
    assert passed == described()


def test_every_step_of_the_page_is_of_a_stage_that_exists_and_says_who_sees_what():
    stages = {path.stem for path in Path(mesh_itk3.stages.__file__).parent.glob("*.py")}
    assert {row[0].strip() for row in ROWS} - NO_STAGES <= stages
    for row in ROWS:
        assert len(row) == CELLS, row[1]
        assert all(cell.strip() for cell in row), row[1]
