"""SIGKILL at the n-th crash point, n rising until a run ends by itself: a real process dies, another takes over. Nothing is
lost, nothing is answered twice, one letter is filed, and whatever MESH has let go of was durable here before that.
"""

from __future__ import annotations

import pytest

from crash.scenarios import SCENARIOS, accepted
from crash.sweep import IS_OVERNIGHT, every_pair, every_point, say

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(7200 if IS_OVERNIGHT else 300)]
STRIDE = 23
"""Of all but the letter's life; overnight none is left out."""
SHORT = {"decided_by_a_person": 1, "swept": 3, "pruned": 4}
"""Those that pass few points."""


def test_a_letter_survives_a_kill_at_every_point_of_its_life(world):
    kills, points = every_point(world, accepted)
    say("a letter", kills, len(points), 1)
    assert kills > 100


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "accepted"])
def test_all_else_that_happens_to_messages_survives_a_kill_at_every_point(world, name):
    stride = SHORT.get(name, STRIDE)
    kills, points = every_point(world, SCENARIOS[name], stride=stride)
    say(name, kills, len(points), stride)
    assert kills > 1


def test_a_letter_survives_a_second_kill_while_the_first_is_being_made_good(world):
    pairs = every_pair(world, accepted, stride=STRIDE)
    say("a letter, killed twice", pairs, None, STRIDE)
    assert pairs > 2
