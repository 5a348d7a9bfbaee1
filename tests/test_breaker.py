"""The breaker of one mailbox as a table of what happens, and what is true whatever happens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_itk3.breaker import FORGET_AFTER, SPREAD_S, Breaker, Errand
from mesh_itk3.retry import CREDENTIALS, MAILBOX

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
COLLECT, RESPOND, TRACK, HANDSHAKE = Errand


def after(seconds):
    return NOW + timedelta(seconds=seconds)


def admitted(breaker, at):
    return {errand for errand in Errand if breaker.admitting(errand, at) is not None}


def test_a_new_one_is_closed():
    assert admitted(Breaker(), NOW) == set(Errand)
    assert Breaker().admitting(COLLECT, NOW).probe is None


def test_a_failure_opens_it_for_every_errand_until_its_time():
    breaker = Breaker().failed(COLLECT, NOW, MAILBOX)
    assert admitted(breaker, after(14.9)) == set()
    assert admitted(breaker, after(15)) == set(Errand)


def test_half_open_it_admits_one_errand_and_no_second():
    breaker = Breaker().failed(COLLECT, NOW, MAILBOX).admitting(RESPOND, after(20))
    assert breaker.probe is RESPOND
    assert admitted(breaker, after(20)) == set()
    assert admitted(breaker.released(RESPOND), after(20)) == set(Errand)


def test_the_success_of_what_failed_closes_it():
    breaker = Breaker().failed(COLLECT, NOW, MAILBOX).admitting(COLLECT, after(20))
    assert breaker.succeeded(COLLECT, after(20)) == Breaker()


def test_a_probe_that_fails_opens_it_for_longer():
    breaker, at, waits = Breaker(), NOW, []
    for _ in range(9):
        breaker = breaker.admitting(COLLECT, at).failed(COLLECT, at, MAILBOX)
        waits.append((breaker.until - at).total_seconds())
        at = breaker.until
    assert waits == [15, 30, 60, 120, 240, 480, 900, 900, 900]


def test_one_that_fails_again_and_again_does_not_keep_the_others_from_their_turn():
    breaker = Breaker().failed(RESPOND, NOW, MAILBOX)
    for at in (15, 45, 105):
        breaker = breaker.admitting(RESPOND, after(at)).failed(RESPOND, after(at), MAILBOX)
    assert admitted(breaker, after(106)) == set(Errand) - {RESPOND}
    assert breaker.admitting(COLLECT, after(106)).probe is COLLECT


def test_when_each_has_failed_all_wait_together():
    breaker, at = Breaker(), NOW
    for errand in Errand:
        breaker = breaker.failed(errand, at, MAILBOX)
        at = breaker.until
    assert (breaker.failures, admitted(breaker, at - timedelta(seconds=1))) == (4, set())


def test_rejected_credentials_are_left_alone_for_longer():
    breaker = Breaker().failed(COLLECT, NOW, CREDENTIALS)
    assert breaker.until == after(60)


def test_once_another_errand_succeeds_only_what_failed_is_held_up():
    breaker = Breaker().failed(RESPOND, NOW, MAILBOX).admitting(COLLECT, after(20)).succeeded(COLLECT, after(20))
    assert breaker.failing == {RESPOND}
    failed_again = breaker.admitting(RESPOND, after(20)).failed(RESPOND, after(20), MAILBOX)
    assert admitted(failed_again, after(21)) == set(Errand) - {RESPOND}
    assert admitted(failed_again.failed(COLLECT, after(60), MAILBOX), after(61)) == set()


def test_failures_of_errands_that_were_under_way_together_are_one_failure():
    breaker = Breaker().failed(COLLECT, NOW, MAILBOX)
    late = breaker.failed(RESPOND, after(1), MAILBOX).failed(TRACK, after(2), MAILBOX)
    assert (late.failures, late.until, late.failing) == (1, breaker.until, {COLLECT, RESPOND, TRACK})


@pytest.mark.parametrize("errand", Errand)
def test_a_retry_after_holds_up_everything_whatever_succeeds_meanwhile(errand):
    breaker = Breaker().failed(errand, NOW, MAILBOX, retry_after_s=600)
    for other in Errand:
        breaker = breaker.succeeded(other, after(1))
    assert admitted(breaker, after(599)) == set()
    assert admitted(breaker, after(600)) == set(Errand)
    assert admitted(breaker.for_one_try(), after(599)) == set()


def test_a_shorter_retry_after_takes_nothing_back():
    breaker = Breaker().failed(RESPOND, NOW, MAILBOX, retry_after_s=600).failed(TRACK, after(1), MAILBOX, retry_after_s=5)
    assert admitted(breaker, after(599)) == set()


def test_what_failed_and_has_nothing_to_ask_any_more_is_forgotten_in_the_end():
    breaker = Breaker().failed(TRACK, NOW, MAILBOX).succeeded(COLLECT, after(20))
    assert breaker.succeeded(COLLECT, NOW + FORGET_AFTER - timedelta(seconds=1)).failing == {TRACK}
    assert breaker.succeeded(COLLECT, NOW + FORGET_AFTER) == Breaker()


def test_for_once_each_errand_has_its_own_try():
    breaker = Breaker().failed(COLLECT, NOW, MAILBOX).for_one_try()
    assert admitted(breaker, NOW) == set(Errand)
    assert admitted(breaker.failed(HANDSHAKE, NOW, MAILBOX), NOW) == set(Errand) - {HANDSHAKE}


def test_a_restart_remembers_how_often_it_failed_and_asks_soon():
    assert Breaker.restored(0, NOW, jitter=0.5) == Breaker()
    restored = Breaker.restored(6, NOW, jitter=0.5)
    assert admitted(restored, after(SPREAD_S / 2 - 1)) == set()
    failed = restored.admitting(COLLECT, after(SPREAD_S / 2)).failed(COLLECT, after(SPREAD_S / 2), MAILBOX)
    assert failed.until - after(SPREAD_S / 2) == timedelta(seconds=900)
    assert restored.succeeded(COLLECT, after(SPREAD_S)) == Breaker()


def held_up_alone(breaker, at):
    """What MESH is not asked now, when each of the others asks without any restriction."""
    free = {errand for errand in Errand if (found := breaker.admitting(errand, at)) is not None and found.probe is None}
    return set(Errand) - free


def test_while_mesh_answers_others_they_ask_freely_and_all_at_once():
    breaker = Breaker().failed(RESPOND, NOW, MAILBOX).admitting(COLLECT, after(20)).succeeded(COLLECT, after(20))
    assert held_up_alone(breaker, after(20)) == {RESPOND}
    again = breaker.admitting(RESPOND, after(20)).failed(RESPOND, after(20), MAILBOX)
    assert held_up_alone(again, after(21)) == {RESPOND}
    assert held_up_alone(again.failed(COLLECT, after(60), MAILBOX), after(61)) == set(Errand)


def test_what_others_bring_back_does_not_end_a_probe_that_is_asking():
    asking = Breaker().failed(COLLECT, NOW, MAILBOX).failed(TRACK, after(1), MAILBOX).admitting(COLLECT, after(20))
    later = after(3600)
    assert admitted(asking.failed(RESPOND, after(21), MAILBOX), later) == set()
    assert asking.released(RESPOND) == asking
    answered = asking.succeeded(RESPOND, after(21))
    assert answered.probe is COLLECT
    assert answered.admitting(TRACK, later) is None


def test_of_several_that_failed_the_one_that_is_answered_asks_again_and_the_others_wait():
    breaker = Breaker().failed(COLLECT, NOW, MAILBOX).failed(RESPOND, after(1), MAILBOX).succeeded(COLLECT, after(2))
    assert breaker.failing == {RESPOND}
    assert admitted(breaker, after(3)) == set(Errand) - {RESPOND}


def test_many_that_failed_together_do_not_come_back_together():
    moments = {Breaker().failed(COLLECT, NOW, MAILBOX, jitter=jitter).until for jitter in (0.0, 0.4, 0.8)}
    assert moments == {after(15), after(16.5), after(18)}


def test_a_failure_while_mesh_has_asked_for_peace_is_no_further_failure():
    breaker = Breaker().failed(COLLECT, NOW, MAILBOX, retry_after_s=600)
    assert breaker.until == after(600)
    assert breaker.failed(RESPOND, after(100), MAILBOX).failures == 1


def test_once_each_on_its_own_goes_on_to_the_end_and_counts_on():
    breaker = Breaker().failed(COLLECT, NOW, MAILBOX).for_one_try()
    assert breaker.failed(COLLECT, NOW, MAILBOX).failures == 2
    well = breaker.failed(COLLECT, NOW, MAILBOX).succeeded(COLLECT, after(3))
    assert (well.failures, well.failing) == (0, frozenset())
    assert admitted(well.failed(TRACK, after(4), MAILBOX), after(5)) == set(Errand) - {TRACK}


def test_what_a_restart_remembers_is_forgotten_too_when_it_has_nothing_to_ask():
    restored = Breaker.restored(3, NOW, jitter=0.5)
    assert restored.succeeded(RESPOND, NOW + FORGET_AFTER - timedelta(seconds=1)).failing == {COLLECT}
    assert restored.succeeded(RESPOND, NOW + FORGET_AFTER) == Breaker()


# ------------------------------------------------------------------------------------------------ whatever happens

happenings = st.lists(
    st.tuples(
        st.sampled_from(Errand),
        st.sampled_from(("fails", "succeeds", "asks nothing")),
        st.floats(0, 2000),
        st.none() | st.floats(0, 3600),
        st.floats(0, 1, exclude_max=True),
    ),
    max_size=60,
)


@given(happenings)
def test_whatever_happens_mesh_is_left_in_peace_and_never_for_ever(happened):
    breaker, at, asked_until, opened = Breaker(), NOW, NOW, 0
    for errand, outcome, later_s, retry_after_s, jitter in happened:
        at += timedelta(seconds=later_s)
        admitting = breaker.admitting(errand, at)
        if admitting is None:
            assert breaker.failing or at < asked_until
            continue
        assert at >= asked_until
        if breaker.failing and errand in breaker.failing:
            assert admitting.probe is errand
        if outcome == "fails":
            breaker = admitting.failed(errand, at, MAILBOX, jitter=jitter, retry_after_s=retry_after_s)
            asked_until = max(asked_until, at + timedelta(seconds=retry_after_s or 0))
            assert admitted(breaker, at + timedelta(seconds=1)).isdisjoint({errand})
            opened += 1
        elif outcome == "succeeds":
            breaker = admitting.succeeded(errand, at)
            assert errand not in breaker.failing
        else:
            breaker = admitting.released(errand)
        assert breaker.probe is None
        assert breaker.failures <= opened
        assert (breaker.failures == 0) == (not breaker.failing)
    assert admitted(breaker, at + timedelta(hours=2)) == set(Errand)
