"""A ledger that cannot be used for a while: no message is stuck, none is punished."""

from __future__ import annotations

import pytest

from mesh_itk3.lifecycle import State
from mesh_itk3.ports import LeaseLost, LedgerUnavailable, StepRefused
from mesh_itk3.simulator.messages import a_message
from mesh_itk3.stages.dispatch import dispatch
from mesh_itk3.stages.interpret import interpret
from support.fake_mailbox import FakeMailbox, a_mesh_message
from support.stage_world import a_small_daemon


class Failing:
    """A ledger whose named methods fail so many times."""

    def __init__(self, ledger, error, **times):
        self._ledger, self._error, self._times = ledger, error, times

    def __getattr__(self, name):
        if self._times.get(name, 0) > 0:
            return self._fail(name)
        return getattr(self._ledger, name)

    def _fail(self, name):
        def failing(*_args, **_kwargs):
            self._times[name] -= 1
            raise self._error

        return failing


def received(tmp_path):
    messages = [a_mesh_message(a_message("ITK003D", seed=str(n))) for n in range(3)]
    daemon = a_small_daemon(tmp_path, FakeMailbox(messages))
    daemon.collect()
    return daemon, [message.mesh_message_id for message in messages]


def failing(daemon, error, **times):
    object.__setattr__(daemon.world, "ledger", Failing(daemon.world.ledger, error, **times))


@pytest.mark.parametrize("method", ["apply", "accepted_before"])
def test_messages_that_could_not_be_committed_are_taken_again_at_once_and_uncounted(tmp_path, method):
    daemon, messages = received(tmp_path)
    failing(daemon, LedgerUnavailable("disk full"), **{method: 1})
    with pytest.raises(LedgerUnavailable):
        interpret(daemon.world)
    assert interpret(daemon.world) == 3
    assert {(daemon.record(m).state, daemon.record(m).interrupted) for m in messages} == {(State.ACCEPTED, 0)}


def test_messages_that_could_not_even_be_given_back_are_given_back_before_the_next_claim(tmp_path):
    daemon, _ = received(tmp_path)
    failing(daemon, LedgerUnavailable("disk full"), apply=1, unclaim=1)
    with pytest.raises(LedgerUnavailable):
        interpret(daemon.world)
    assert interpret(daemon.world) == 3


def test_a_ledger_that_fails_again_and_again_parks_nothing(tmp_path):
    daemon, messages = received(tmp_path)
    failing(daemon, LedgerUnavailable("busy"), accepted_before=5)
    for _ in range(5):
        with pytest.raises(LedgerUnavailable):
            interpret(daemon.world)
        daemon.clock.advance(hours=1)
    interpret(daemon.world)
    assert {daemon.record(m).state for m in messages} == {State.ACCEPTED}


def test_a_handled_message_whose_commit_failed_is_handled_again_with_the_same_key(tmp_path):
    daemon, messages = received(tmp_path)
    interpret(daemon.world)
    failing(daemon, LedgerUnavailable("disk full"), apply=1)
    with pytest.raises(LedgerUnavailable):
        dispatch(daemon.world)
    dispatch(daemon.world)
    keys = [context.idempotency_key for _, context in daemon.handler.calls]
    assert sorted(keys) == sorted(2 * [f"X26ABC2/{m}" for m in messages])
    assert {daemon.record(m).state for m in messages} == {State.COMPLETED}


def test_a_lost_lease_ends_the_stage_and_counts_nothing(tmp_path):
    daemon, messages = received(tmp_path)
    failing(daemon, LeaseLost("another has it"), apply=1)
    with pytest.raises(LeaseLost):
        interpret(daemon.world)
    assert {daemon.record(m).attempts for m in messages} == {0}


def test_a_message_that_the_ledger_cannot_hold_fails_alone_and_ends_parked(tmp_path):
    daemon, (first, *others) = received(tmp_path)
    inner = daemon.world.ledger

    class Choosy(Failing):
        def apply(self, steps):
            if any(step.key.mesh_message_id == first and step.new is State.ACCEPTED for step in steps):
                raise StepRefused
            inner.apply(steps)

    object.__setattr__(daemon.world, "ledger", Choosy(inner, None))
    for _ in range(4):
        interpret(daemon.world)
        daemon.clock.advance(hours=1)
    assert {daemon.record(m).state for m in others} == {State.ACCEPTED}
    assert (daemon.record(first).state, daemon.record(first).attempts) == (State.PARKED, 3)
