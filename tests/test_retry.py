"""When a failed attempt is tried again, and when it is parked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_itk3.adapters.mesh_errors import MAX_RETRY_AFTER_S
from mesh_itk3.retry import (
    ATTEMPTS,
    CREDENTIALS,
    LONGEST_WAIT,
    MAILBOX,
    MAX_ATTEMPTS,
    MAX_INTERRUPTED,
    Pace,
    Park,
    TryAgain,
    after_failed_attempt,
    is_noted_ahead,
    is_parked_after_interruption,
    latest_due_at,
    may_resend_unresolved,
)

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def test_the_third_failed_attempt_parks():
    assert MAX_ATTEMPTS == 3
    assert isinstance(after_failed_attempt(1, NOW), TryAgain)
    assert isinstance(after_failed_attempt(2, NOW), TryAgain)
    assert after_failed_attempt(3, NOW) == Park()


def test_the_tenth_death_alone_parks():
    assert MAX_INTERRUPTED == 10
    assert not is_parked_after_interruption(9)
    assert is_parked_after_interruption(10)


def test_the_first_retry_waits_two_seconds_and_the_second_longer():
    first, second = after_failed_attempt(1, NOW), after_failed_attempt(2, NOW)
    assert first == TryAgain(NOW + timedelta(seconds=ATTEMPTS.first_s))
    assert isinstance(second, TryAgain)
    assert second.at > NOW + timedelta(seconds=ATTEMPTS.first_s)


def test_what_nobody_has_asked_for_makes_no_wait_longer():
    assert Pace(first_s=0.25, factor=2.0, ceiling_s=900.0).delay_s(1) == 0.25


@pytest.mark.parametrize(
    ("pace", "waits"),
    [
        (ATTEMPTS, [2, 8, 32, 128, 512, 900, 900]),
        (MAILBOX, [15, 30, 60, 120, 240, 480, 900]),
        (CREDENTIALS, [60, 120, 240, 480, 900, 900, 900]),
    ],
    ids=["attempts", "mailbox", "credentials"],
)
def test_waits_grow_to_a_ceiling(pace, waits):
    assert [pace.delay_s(failures) for failures in range(1, 8)] == waits


each_pace = st.sampled_from([ATTEMPTS, MAILBOX, CREDENTIALS])
any_jitter = st.floats(0, 1, exclude_max=True)


@given(pace=each_pace, failures=st.integers(1, 1_000_000), jitter=any_jitter)
def test_waiting_never_ends_and_never_exceeds_the_ceiling(pace, failures, jitter):
    waits = pace.delay_s(failures, jitter=jitter)
    assert pace.first_s <= waits <= pace.ceiling_s * 1.25
    assert pace.delay_s(failures + 1, jitter=jitter) >= waits


@given(pace=each_pace, failures=st.integers(1, 1_000), jitter=any_jitter)
def test_jitter_adds_up_to_a_quarter_and_takes_nothing_away(pace, failures, jitter):
    without = pace.delay_s(failures)
    assert without <= pace.delay_s(failures, jitter=jitter) < without * 1.25 + 1e-9


@given(pace=each_pace, failures=st.integers(1, 1_000), jitter=any_jitter, asked=st.floats(0, 1e6))
def test_it_is_never_less_than_what_the_other_side_asked_for(pace, failures, jitter, asked):
    waits = pace.delay_s(failures, jitter=jitter, at_least_s=asked)
    assert waits == max(asked, pace.delay_s(failures, jitter=jitter))


@pytest.mark.parametrize(("minutes", "may"), [(0, False), (59, False), (60, True), (600, True), (-59, False), (-60, True)])
def test_an_unresolved_send_is_repeated_only_after_an_hour_without_an_answer(minutes, may):
    assert may_resend_unresolved(NOW, NOW + timedelta(minutes=minutes)) is may


def test_nothing_is_due_later_than_a_day_and_two_hours_from_now_unless_the_clock_was_wrong():
    assert latest_due_at(NOW) == NOW + LONGEST_WAIT + timedelta(hours=2)
    assert timedelta(seconds=max(pace.ceiling_s for pace in (ATTEMPTS, MAILBOX, CREDENTIALS)) * 1.25) < LONGEST_WAIT
    assert timedelta(seconds=MAX_RETRY_AFTER_S) < LONGEST_WAIT


@pytest.mark.parametrize(("seconds", "is_ahead"), [(-86_400, False), (0, False), (60, False), (61, True)])
def test_what_was_noted_with_a_time_that_is_yet_to_come_was_noted_by_a_clock_that_was_ahead(seconds, is_ahead):
    assert is_noted_ahead(NOW + timedelta(seconds=seconds), NOW) is is_ahead
    assert is_noted_ahead(None, NOW) is False


def test_each_wait_is_four_times_the_one_before_up_to_a_quarter_of_an_hour():
    assert [ATTEMPTS.delay_s(attempts) for attempts in range(7)] == [2.0, 2.0, 8.0, 32.0, 128.0, 512.0, 900.0]


def test_jitter_adds_up_to_a_quarter_of_the_wait_and_never_shortens_it():
    assert ATTEMPTS.delay_s(1, jitter=0.5) == 2.25
    assert after_failed_attempt(2, NOW, jitter=0.5) == TryAgain(NOW + timedelta(seconds=9))
