"""The table of states and moves."""

from __future__ import annotations

import pytest

from mesh_itk3.lifecycle import (
    RESPONSE_TRANSITIONS,
    TRANSITIONS,
    WAYS_BACK,
    IllegalTransition,
    Move,
    ResponseState,
    State,
    check_response_transition,
    check_transition,
    state_after,
    state_back,
)

FINAL = {State.REJECTED, State.COMPLETED, State.CORRELATED, State.UNCORRELATED, State.FOREIGN, State.ABANDONED}


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


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("move", Move)
def test_a_way_back_leads_where_the_message_was_parked_and_nowhere_else(state, move):
    if (state, move) in WAYS_BACK:
        assert state_back(state, move) is state
        check_transition(State.PARKED, state)
    else:
        with pytest.raises(IllegalTransition, match=f"{move} is not a move .* parked from {state}"):
            state_back(state, move)


def test_what_can_be_held_can_be_released_and_is_not_finished():
    held = {state for state, move in TRANSITIONS if move is Move.HOLD}
    assert held == {state for state, move in WAYS_BACK if move is Move.RELEASE}
    assert held == set(State) - FINAL - {State.PARKED}


def test_what_a_stage_can_park_can_be_retried():
    assert {state for state, move in TRANSITIONS if move is Move.PARK} == {
        state for state, move in WAYS_BACK if move is Move.RETRY
    }


def test_nothing_but_an_operator_leads_out_of_parked_or_bytes_that_are_found():
    assert {move for state, move in TRANSITIONS if state is State.PARKED} == {Move.ABANDON}
    assert {move for _, move in WAYS_BACK} == {Move.RETRY, Move.RELEASE, Move.FIND_BYTES}


def test_what_is_parked_for_its_bytes_goes_on_wherever_a_stage_can_park_it():
    assert {state for state, move in TRANSITIONS if move is Move.PARK} == {
        state for state, move in WAYS_BACK if move is Move.FIND_BYTES
    }


@pytest.mark.parametrize("state", sorted(FINAL))
def test_what_is_finished_becomes_nothing_else(state):
    for new in State:
        with pytest.raises(IllegalTransition):
            check_transition(state, new)


def test_a_decision_is_taken_only_from_a_message_that_waits_for_one():
    assert [old for old, move in TRANSITIONS if move is Move.DECIDE] == [State.AWAITING_DECISION]


@pytest.mark.parametrize("old", ResponseState)
@pytest.mark.parametrize("new", ResponseState)
def test_a_response_that_was_taken_by_mesh_is_never_owed_again(old, new):
    if (old, new) in RESPONSE_TRANSITIONS:
        check_response_transition(old, new)
        assert new is not ResponseState.OWED or old in (ResponseState.OWED, ResponseState.PARKED)
    else:
        with pytest.raises(IllegalTransition):
            check_response_transition(old, new)


@pytest.mark.parametrize("old", State)
@pytest.mark.parametrize("new", State)
def test_a_message_changes_only_as_some_move_of_the_table_changes_it(old, new):
    moves = {(state, after) for (state, _move), after in TRANSITIONS.items()}
    if (old, new) in moves | {(State.PARKED, after) for after in WAYS_BACK.values()}:
        check_transition(old, new)
    else:
        with pytest.raises(IllegalTransition):
            check_transition(old, new)


def test_an_illegal_move_says_what_was_to_be_moved_and_how():
    with pytest.raises(IllegalTransition, match=r"complete .* rejected"):
        state_after(State.REJECTED, Move.COMPLETE)
    with pytest.raises(IllegalTransition, match=r"completed .* received"):
        check_transition(State.COMPLETED, State.RECEIVED)
    with pytest.raises(IllegalTransition, match=r"sent .* owed"):
        check_response_transition(ResponseState.SENT, ResponseState.OWED)
