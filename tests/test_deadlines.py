"""What is due about a decision that waits, at any moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_itk3.deadlines import Deadlines, Due, due
from mesh_itk3.itk3.response_codes import BusinessCode

SINCE = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
RULES = Deadlines()
DECIDES = Deadlines(at_deadline=BusinessCode.PATIENT_NOT_KNOWN)


def at(hours: float) -> datetime:
    return SINCE + timedelta(hours=hours)


def asked(hours: float, said: float | None = None, rules: Deadlines = RULES, **more) -> Due:
    return due(rules, since=SINCE, said_at=None if said is None else at(said), now=at(hours), **more)


@pytest.mark.parametrize(
    ("hours", "said", "expected"),
    [
        (0, None, Due.NOTHING),
        (47.9, None, Due.NOTHING),
        (48, None, Due.REMIND),
        (50, 48, Due.NOTHING),
        (68, 48, Due.REMIND),
        (71.9, 68, Due.NOTHING),
        (72, 68, Due.ESCALATE),
        (95.9, 72, Due.NOTHING),
        (96, 72, Due.ESCALATE),
        (97, 96, Due.NOTHING),
        (120.5, 96, Due.ESCALATE),
    ],
)
def test_reminders_come_a_day_and_four_hours_before_the_deadline_and_then_an_alarm_a_day(hours, said, expected):
    assert asked(hours, said) is expected


def test_what_was_missed_while_nothing_ran_is_said_once():
    assert asked(70) is Due.REMIND
    assert asked(70, said=70) is Due.NOTHING
    assert asked(500, said=48) is Due.ESCALATE
    assert asked(500, said=500) is Due.NOTHING


def test_a_reminder_that_would_come_before_the_waiting_began_is_left_out():
    rules = Deadlines(deadline=timedelta(hours=12))
    assert asked(7.9, rules=rules) is Due.NOTHING
    assert asked(8, rules=rules) is Due.REMIND
    assert rules.first_notice == timedelta(hours=8)


def test_without_reminders_only_the_deadline_is_said():
    rules = Deadlines(reminders=())
    assert [asked(71, rules=rules), asked(72, rules=rules)] == [Due.NOTHING, Due.ESCALATE]
    assert rules.first_notice == timedelta(hours=72)


@pytest.mark.parametrize(
    ("hours", "said", "expected"),
    [
        (72, 68, Due.DECIDE),
        (1000, 68, Due.DECIDE),
        (72, 70, Due.NOTHING),  # the reminder came late: its four hours are not over
        (74, 70, Due.DECIDE),
        (80, None, Due.ESCALATE),
        (80, 48, Due.ESCALATE),
        (83.9, 80, Due.NOTHING),
        (84, 80, Due.DECIDE),
    ],
)
def test_a_configured_decision_is_due_once_people_have_had_the_notice_of_the_last_reminder(hours, said, expected):
    assert asked(hours, said, DECIDES) is expected


def test_without_reminders_a_configured_decision_follows_the_first_alarm_by_its_rhythm():
    rules = Deadlines(reminders=(), at_deadline=BusinessCode.PATIENT_LEFT)
    assert [asked(72, None, rules), asked(95, 72, rules), asked(96, 72, rules)] == [Due.ESCALATE, Due.NOTHING, Due.DECIDE]


@pytest.mark.parametrize("reason", ["no_register", "register_unusable"])
def test_no_code_is_decided_about_a_patient_whom_no_register_was_asked_about(reason):
    assert DECIDES.code_for(reason) is None
    assert DECIDES.code_for("date_of_birth_differs") is BusinessCode.PATIENT_NOT_KNOWN


def test_a_configured_decision_is_never_due_before_the_deadline():
    assert asked(71.99, rules=DECIDES) is Due.REMIND


def test_a_decision_that_cannot_be_taken_is_escalated():
    assert asked(72, 68, DECIDES, may_decide=False) is Due.ESCALATE
    assert asked(73, 72, DECIDES, may_decide=False) is Due.NOTHING


def test_no_code_is_ever_decided_unless_one_is_configured():
    assert RULES.at_deadline is None


MINUTES = st.integers(1, 60 * 24 * 20).map(lambda minutes: timedelta(minutes=minutes))


@given(
    rules=st.builds(
        Deadlines,
        deadline=MINUTES,
        reminders=st.lists(MINUTES, max_size=4).map(tuple),
        escalate_every=st.integers(1, 72).map(lambda hours: timedelta(hours=hours)),
    ),
    looks=st.lists(MINUTES, min_size=1, max_size=40),
)
def test_however_often_one_looks_nothing_is_said_twice_for_the_same_reason(rules, looks):
    said_at, said = None, []
    for elapsed in sorted(looks):
        found = due(rules, since=SINCE, said_at=said_at, now=SINCE + elapsed)
        if found is not Due.NOTHING:
            said.append(found)
            said_at = SINCE + elapsed
            assert due(rules, since=SINCE, said_at=said_at, now=SINCE + elapsed) is Due.NOTHING
            assert elapsed >= rules.first_notice
    over = max(looks) - rules.deadline
    assert said.count(Due.REMIND) <= len(rules.reminders)
    assert said.count(Due.ESCALATE) <= max(0, over // rules.escalate_every + 1)
    assert Due.DECIDE not in said
    if over >= timedelta(0):
        assert said
        assert said[-1] is Due.ESCALATE


def test_a_reminder_as_long_before_the_deadline_as_the_whole_wait_is_left_out():
    rules = Deadlines(reminders=(RULES.deadline, timedelta(hours=4)))
    assert asked(0, rules=rules) is Due.NOTHING
    assert asked(67.9, rules=rules) is Due.NOTHING
    assert asked(68, rules=rules) is Due.REMIND
