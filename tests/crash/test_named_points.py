"""SIGKILL at the n-th crash point, n rising until a run ends by itself: a real process dies, another takes over. Nothing is lost,
nothing is answered twice, one letter is filed, and whatever MESH has let go of was durable here before that.
"""

from __future__ import annotations

import pytest

from crash.scenarios import SCENARIOS, accepted
from crash.sweep import IS_OVERNIGHT, every_point, offset, trial

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(7200 if IS_OVERNIGHT else 300)]


def test_a_letter_survives_a_kill_at_every_point_of_its_life(world):
    kills, _ = every_point(world, accepted)
    assert kills > 100


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "accepted"])
def test_all_else_that_happens_to_messages_survives_a_kill_at_every_point(world, name):
    every_point(world, SCENARIOS[name], stride=9)
