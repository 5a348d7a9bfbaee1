"""The table of states and moves."""

from __future__ import annotations

import pytest

from mesh_itk3.lifecycle import (
    RESPONSE_TRANSITIONS,
    TRANSITIONS,
    IllegalTransition,
    Move,
    ResponseState,
    State,
    check_response_transition,
    state_after,
)

FINAL = {State.REJECTED, State.COMPLETED, State.CORRELATED, State.UNCORRELATED, State.FOREIGN, State.PARKED}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("move", Move)
def test_a_move_that_the_table_does_not_have_is_illegal(state, move):
    if (state, move) in TRANSITIONS:
        assert state_after(state, move) is TRANSITIONS[(state, move)]
    else:
        with pytest.raises(IllegalTransition):
            state_after(state, move)


@pytest.mark.parametrize("state", sorted(FINAL))
def test_nothing_moves_a_message_that_is_finished(state):
    assert not [move for old, move in TRANSITIONS if old is state]


@pytest.mark.parametrize("state", sorted(set(State) - FINAL))
def test_every_unfinished_message_has_a_next_step(state):
    assert [move for old, move in TRANSITIONS if old is state]


def test_a_rejected_message_can_never_get_a_business_response():
    reachable = {State.REJECTED}
    for _ in State:
        reachable |= {new for (old, _move), new in TRANSITIONS.items() if old in reachable}
    assert reachable == {State.REJECTED}


def test_a_decision_is_taken_only_from_a_message_that_waits_for_one():
    assert [old for old, move in TRANSITIONS if move is Move.DECIDE] == [State.AWAITING_DECISION]


@pytest.mark.parametrize("old", ResponseState)
@pytest.mark.parametrize("new", ResponseState)
def test_a_response_that_was_taken_by_mesh_is_never_owed_again(old, new):
    if (old, new) in RESPONSE_TRANSITIONS:
        check_response_transition(old, new)
        assert new is not ResponseState.OWED or old is ResponseState.OWED
    else:
        with pytest.raises(IllegalTransition):
            check_response_transition(old, new)
