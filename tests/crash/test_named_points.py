"""SIGKILL at the n-th crash point, n rising until a run ends by itself: a real process dies, another takes over. Nothing is
lost, nothing is answered twice, one letter is filed, and whatever MESH has let go of was durable here before that.
"""

from __future__ import annotations

import pytest

from crash import scenarios
from crash.sweep import IS_OVERNIGHT, every_pair, every_point, say

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(7200 if IS_OVERNIGHT else 900)]
STRIDE_OF_PAIRS = 23


def each(group):
    return pytest.mark.parametrize("begin", group, ids=[begin.__name__ for begin in group])


def test_a_letter_survives_a_kill_at_every_point_of_its_life(world):
    assert sweep(world, scenarios.accepted) > 100


def test_a_letter_survives_a_second_kill_while_the_first_is_being_made_good(world):
    pairs = every_pair(world, scenarios.accepted, stride=STRIDE_OF_PAIRS)
    say("a letter, killed twice", pairs, None, STRIDE_OF_PAIRS)
    assert pairs > 2


# A class for each group: with xdist a class is what one core takes, and a whole sweep is long.


class TestReceived:
    @each(scenarios.RECEIVED)
    def test_what_comes_in_survives_a_kill_at_every_point(self, world, begin):
        assert sweep(world, begin) > 50


class TestSeveral:
    @each(scenarios.SEVERAL)
    def test_several_at_once_survive_a_kill_at_every_point(self, world, begin):
        assert sweep(world, begin) > 100


class TestDecided:
    @each(scenarios.DECIDED)
    def test_what_a_person_decides_survives_a_kill_at_every_point(self, world, begin):
        assert sweep(world, begin) > 5


class TestSentAndKept:
    @each(scenarios.SENT + scenarios.KEPT)
    def test_what_was_sent_and_kept_survives_a_kill_at_every_point(self, world, begin):
        assert sweep(world, begin) > 15


def sweep(world, begin):
    """Every point; how many kills."""
    kills, points = every_point(world, begin)
    say(begin.__name__, kills, len(points))
    return kills
