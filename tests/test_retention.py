"""What is old enough to go, and what time that counts from: this machine's, as far as MESH vouches for it."""

from datetime import UTC, datetime, timedelta

import pytest

from mesh_itk3.lifecycle import State
from mesh_itk3.retention import HELD_BACK_AFTER, PRUNABLE, Retention, counts_from, is_held_back

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
YEARS = timedelta(days=3 * 365)
MINUTES, MONTHS = timedelta(minutes=5), timedelta(days=90)


@pytest.mark.parametrize(
    ("clock", "answered", "counted_from", "held_back"),
    [
        (NOW, [NOW - MINUTES], NOW - MINUTES, False),
        (NOW, [NOW - MINUTES, NOW - MONTHS, None], NOW - MINUTES, False),
        (NOW + YEARS, [NOW], NOW, True),
        (NOW + YEARS, [NOW, None], NOW, True),
        (NOW + MONTHS, [NOW - MINUTES], NOW - MINUTES, True),
        (NOW - YEARS, [NOW], NOW - YEARS, False),
        (NOW, [NOW + YEARS], NOW, False),
        (NOW, [], None, False),
        (NOW + YEARS, [None, None], None, False),
        (NOW + HELD_BACK_AFTER, [NOW], NOW, False),
        (NOW + HELD_BACK_AFTER + MINUTES, [NOW], NOW, True),
    ],
    ids=[
        "MESH answered a moment ago",
        "one mailbox is enough: it is the clock of one machine",
        "the clock is years ahead and MESH refuses it",
        "years ahead, and a mailbox that was never answered",
        "MESH is away for months",
        "the clock was set back",
        "MESH answered while the clock was ahead, which is over",
        "no mailbox",
        "never answered",
        "as long as MESH may leave a daily poll unanswered",
        "longer",
    ],
)
def test_nothing_grows_old_faster_than_mesh_vouches_for(clock, answered, counted_from, held_back):
    assert counts_from(clock, answered) == counted_from
    assert is_held_back(clock, counted_from) is held_back


def test_a_clock_of_which_mesh_has_said_nothing_is_not_held_back():
    assert is_held_back(NOW, None) is False


def test_without_rules_everything_is_kept():
    kept = Retention()
    assert not kept.is_anything_pruned
    assert (kept.payloads_before(NOW), kept.events_before(NOW), kept.response_bytes_before(NOW)) == ({}, None, None)


DAYS = timedelta(days=40)


@pytest.mark.parametrize(
    "rules",
    [Retention(payloads={State.REJECTED: DAYS}), Retention(events=DAYS), Retention(response_bytes=DAYS)],
    ids=["payloads", "events", "response bytes"],
)
def test_one_rule_is_enough_for_something_to_go(rules):
    assert rules.is_anything_pruned is True


def test_each_rule_counts_back_its_own_days():
    rules = Retention(
        payloads={State.UNCORRELATED: timedelta(days=31), State.COMPLETED: timedelta(days=365)},
        events=timedelta(days=90),
        response_bytes=timedelta(days=60),
    )
    assert rules.payloads_before(NOW) == {
        State.COMPLETED: NOW - timedelta(days=365),
        State.UNCORRELATED: NOW - timedelta(days=31),
    }
    assert rules.events_before(NOW) == NOW - timedelta(days=90)
    assert rules.response_bytes_before(NOW) == NOW - timedelta(days=60)


def test_payloads_go_by_state_in_one_order_and_never_those_of_a_state_that_is_not_settled():
    rules = Retention(payloads=dict.fromkeys(reversed(State), DAYS))
    assert tuple(rules.payloads_before(NOW)) == PRUNABLE
    assert {State.PARKED, State.AWAITING_DECISION, State.ACCEPTED, State.RECEIVED}.isdisjoint(rules.payloads_before(NOW))
