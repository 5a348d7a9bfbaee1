"""When a failed attempt is tried again, and when it is parked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_itk3.retry import (
    FIRST_DELAY_S,
    MAX_ATTEMPTS,
    MAX_DELAY_S,
    MAX_INTERRUPTED,
    Park,
    TryAgain,
    after_failed_attempt,
    delay_s,
    is_parked_after_interruption,
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
    assert first == TryAgain(NOW + timedelta(seconds=FIRST_DELAY_S))
    assert isinstance(second, TryAgain)
    assert second.at > NOW + timedelta(seconds=FIRST_DELAY_S)


@given(attempts=st.integers(1, 1_000_000), jitter=st.floats(0, 1, exclude_max=True))
def test_waiting_never_ends_and_never_exceeds_the_ceiling(attempts, jitter):
    waits = delay_s(attempts, jitter=jitter)
    assert FIRST_DELAY_S <= waits <= MAX_DELAY_S * 1.25
    assert delay_s(attempts + 1, jitter=jitter) >= waits


@pytest.mark.parametrize(("minutes", "may"), [(0, False), (59, False), (60, True), (600, True)])
def test_an_unresolved_send_is_repeated_only_after_an_hour_without_an_answer(minutes, may):
    assert may_resend_unresolved(NOW, NOW + timedelta(minutes=minutes)) is may


def test_each_wait_is_four_times_the_one_before_up_to_a_quarter_of_an_hour():
    assert [delay_s(attempts) for attempts in range(7)] == [2.0, 2.0, 8.0, 32.0, 128.0, 512.0, 900.0]


def test_jitter_adds_up_to_a_quarter_of_the_wait_and_never_shortens_it():
    assert delay_s(1, jitter=0.5) == 2.25
    assert after_failed_attempt(2, NOW, jitter=0.5) == TryAgain(NOW + timedelta(seconds=9))
