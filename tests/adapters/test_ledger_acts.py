"""The ledger's contract on both engines: what an operator does to messages and responses, beside a daemon and without one."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest

from mesh_itk3.adapters.ledger import migrate, open_ledger
from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import Entry, LedgerConflict, MessageInProgress, ResponseStep
from mesh_itk3.reasons import Reason
from mesh_itk3.stages.intervene import abandon, hold, release, retry
from support.ledger_rows import (
    HERE,
    THERE,
    a_payload,
    a_response,
    a_step,
    an_entry,
    claimed,
    key,
    later,
    owe_both,
    record,
    send,
)

OWED, PARKED = ResponseState.OWED, ResponseState.PARKED
AT = later(hours=1)


def do(ledger, act, at=AT) -> None:
    ledger.act(act.steps, act.responses, at)


def park(ledger, number: int = 1, *, old=State.ACCEPTED, **changes) -> None:
    """A message that was parked from this state after three attempts."""
    record(ledger, number)
    if old is State.ACCEPTED:
        ledger.apply([a_step(number, responses=[a_response(number)])])
    marks = {"attempts": 3, "reason": Reason.HANDLER_FAILED, "parked_from": old, **changes}
    ledger.apply([a_step(number, old, State.PARKED, **marks)])


def refuse(ledger, local_id: str) -> None:
    """MESH has refused this response for good."""
    changes = {"reason": Reason.SEND_REFUSED, "status_code": "12", "attempts": 1, "unresolved_since": None}
    ledger.apply_responses([ResponseStep(local_id, OWED, PARKED, an_entry("refused"), changes)])


def states(ledger, number: int = 1) -> dict[str, ResponseState]:
    return {response.level: response.state for response in ledger.responses_to(key(number))}


# ------------------------------------------------------------------------------------------------ messages


@pytest.mark.parametrize("old", [State.RECEIVED, State.ACCEPTED])
def test_a_parked_message_goes_back_to_where_it_was_parked_and_is_due_with_fresh_counts(ledger, old):
    park(ledger, old=old)
    do(ledger, retry(ledger.get(key()), ledger.responses_to(key()), "Jo", AT))
    found = ledger.get(key())
    assert (found.state, found.attempts, found.interrupted, found.due_at, found.reason, found.parked_from) == (
        old, 0, 0, None, None, None,
    )  # fmt: skip
    assert claimed(ledger, state=old) == [key()]
    assert ledger.timeline(key())[-1] == Entry(AT, "retry", "retried", reason="handler_failed", who="Jo")


def test_a_message_that_killed_the_process_is_tried_alone_again_with_ten_new_deaths(open_another):
    ledger = open_another()
    record(ledger, 1)
    for _ in range(10):
        claimed(ledger)
        ledger.recover([HERE], AT)
    record(ledger, 2)
    killer = ledger.get(key())
    assert (killer.state, killer.interrupted, killer.reason) == (State.PARKED, 10, "process_died")
    do(ledger, retry(killer, (), "Jo", AT))
    found = ledger.get(key())
    assert (found.state, found.interrupted, found.is_alone) == (State.RECEIVED, 0, True)
    assert claimed(ledger) == [key(2)]
    assert claimed(ledger) == []
    ledger.unclaim([key(2)])
    ledger.apply([a_step(2)])
    assert claimed(ledger) == [key()]
    assert len(ledger.recover([HERE], AT)) == 1
    assert (ledger.get(key()).state, ledger.get(key()).interrupted) == (State.RECEIVED, 1)


@pytest.mark.parametrize("old", [State.RECEIVED, State.ACCEPTED, State.AWAITING_DECISION])
def test_a_held_message_is_nobodys_and_goes_on_as_it_was(ledger, old):
    record(ledger, 1)
    if old is not State.RECEIVED:
        ledger.apply([a_step()])
    if old is State.AWAITING_DECISION:
        waits = {"deferred_at": later(minutes=1), "reminded_at": later(minutes=9), "reason": "no_register"}
        ledger.apply([a_step(1, State.ACCEPTED, old, **waits)])
    else:
        ledger.apply([a_step(1, old, old, attempts=2, due_at=later(minutes=30), reason=Reason.HANDLER_GONE)])
    before = ledger.get(key())
    do(ledger, hold(before, "Jo", AT))
    held = ledger.get(key())
    assert (held.state, held.reason, held.parked_from) == (State.PARKED, "held_by_person", old)
    assert claimed(ledger, state=old, now=later(days=9)) == []
    assert not ledger.has_work([HERE])

    do(ledger, release(held, "no_register", "Sam", later(hours=2)))

    after = ledger.get(key())
    reason = "no_register" if old is State.AWAITING_DECISION else None
    assert after == replace(before, reason=reason, reminded_at=None)
    assert [(entry.stage, entry.who) for entry in ledger.timeline(key())[-2:]] == [("hold", "Jo"), ("release", "Sam")]


def test_an_abandoned_message_is_finished_and_still_known_as_accepted(ledger):
    park(ledger, message_header_id="A1", document_id="D1", bus_ack_requested=True)
    do(ledger, abandon(ledger.get(key()), ledger.responses_to(key()), Reason.HANDLED_BY_HAND, "Jo", AT))
    found = ledger.get(key())
    assert (found.state, found.reason, found.parked_from, found.finished_at) == (
        State.ABANDONED, "handled_by_hand", State.ACCEPTED, AT,
    )  # fmt: skip
    assert (found.payload, found.sender_not_told) == (a_payload(), True)
    assert ledger.is_accepted(HERE, found.sender_mailbox_id, "a1").key == key()
    assert ledger.accepted_before(HERE, found.sender_mailbox_id, None, "D1")[1].key == key()
    assert [each.key for each in ledger.unseen().messages] == [key()]
    assert ledger.mark_seen(key(), Entry(AT, "seen", "seen", who="Jo")) == 1
    assert ledger.unseen().messages == ()


# ------------------------------------------------------------------------------------------------ beside a daemon


def test_a_message_in_the_hands_of_a_living_daemon_cannot_be_held(ledger, open_another):
    record(ledger, 1)
    ledger.hold([HERE], later(minutes=59, seconds=30))
    assert claimed(ledger) == [key()]
    operator = open_another()
    with pytest.raises(MessageInProgress):
        do(operator, hold(operator.get(key()), "Jo", AT))
    assert operator.get(key()).state is State.RECEIVED
    ledger.apply([a_step()])
    do(operator, hold(operator.get(key()), "Jo", AT))
    assert ledger.get(key()).parked_from is State.ACCEPTED


def test_what_a_dead_daemon_had_in_its_hands_is_held_and_tried_alone_when_it_goes_on(ledger, open_another):
    record(ledger, 1, 2)
    ledger.hold([HERE], AT)
    claimed(ledger, limit=1)
    ledger.release()
    operator = open_another()
    do(operator, hold(operator.get(key()), "Jo", AT))
    ledger.hold([HERE], AT)
    assert ledger.recover([HERE], AT) == []
    do(operator, release(operator.get(key()), None, "Jo", AT))
    assert [(ledger.get(key(number)).is_alone) for number in (1, 2)] == [True, False]


def test_a_daemon_starts_while_an_operator_acts(ledger, open_another):
    """Looking whether a daemon lives leaves nothing behind."""
    record(ledger, 1)
    claimed(ledger)
    operator = open_another()
    do(operator, hold(operator.get(key()), "Jo", AT))
    ledger.hold([HERE], AT)
    assert open_another().get(key()).state is State.PARKED


def test_of_two_who_act_on_the_same_message_the_second_changes_nothing(ledger, open_another):
    park(ledger)
    other = open_another()
    seen_by_both = ledger.get(key()), ledger.responses_to(key())
    do(ledger, abandon(*seen_by_both, Reason.TEST_MESSAGE, "Jo", AT))
    with pytest.raises(LedgerConflict):
        do(other, retry(*seen_by_both, "Sam", AT))
    assert ledger.get(key()).state is State.ABANDONED
    assert "Sam" not in {entry.who for entry in ledger.timeline(key())}


def test_a_stage_that_finishes_too_late_changes_nothing_of_what_is_held(ledger):
    record(ledger, 1)
    do(ledger, hold(ledger.get(key()), "Jo", AT))
    with pytest.raises(LedgerConflict):
        ledger.apply([a_step(1, responses=[a_response()])])
    assert ledger.responses_to(key()) == ()


# ------------------------------------------------------------------------------------------------ responses


def test_a_refused_response_is_owed_again_with_its_bytes_and_ids_and_is_looked_up_first(ledger):
    owe_both(ledger)
    send(ledger, "infrastructure-1")
    refuse(ledger, "business-1")
    before = ledger.response_by(local_id="business-1")
    do(ledger, retry(ledger.get(key()), ledger.responses_to(key()), "Jo", AT))
    assert states(ledger) == {"infrastructure": ResponseState.SENT, "business": OWED}
    (again,) = ledger.claim_responses(HERE, AT, 10)
    kept = ("local_id", "body", "message_header_id", "to_mailbox_id", "workflow_id", "response_code", "created_at")
    assert [getattr(again, name) for name in kept] == [getattr(before, name) for name in kept]
    assert (again.attempts, again.reason, again.status_code, again.unresolved_since) == (0, None, None, before.created_at)
    assert ledger.get(key()).state is State.COMPLETED
    entry = ledger.timeline(key())[-1]
    assert (entry.stage, entry.outcome, entry.response_code, entry.who) == ("retry", "retried", "30001", "Jo")


def test_a_business_response_comes_back_with_the_infrastructure_response_that_took_it_along(ledger):
    owe_both(ledger)
    refuse(ledger, "infrastructure-1")
    assert states(ledger) == {"infrastructure": PARKED, "business": PARKED}
    do(ledger, retry(ledger.get(key()), ledger.responses_to(key()), "Jo", AT))
    assert states(ledger) == {"infrastructure": OWED, "business": OWED}
    assert [each.local_id for each in ledger.claim_responses(HERE, AT, 10)] == ["infrastructure-1", "business-1"]
    retried = [(entry.response_code, entry.who) for entry in ledger.timeline(key()) if entry.outcome == "retried"]
    assert sorted(retried) == [("20013", "Jo"), ("30001", "Jo")]
    assert ledger.unseen().responses == ()


def test_a_business_response_that_was_written_since_the_operator_looked_comes_back_too(ledger):
    record(ledger, 1)
    ledger.apply([a_step(1, responses=[a_response()])])
    refuse(ledger, "infrastructure-1")
    act = retry(ledger.get(key()), ledger.responses_to(key()), "Jo", AT)
    ledger.apply([a_step(1, State.ACCEPTED, State.COMPLETED, responses=[a_response(1, "business")])])
    assert states(ledger)["business"] is PARKED
    do(ledger, act)
    assert states(ledger) == {"infrastructure": OWED, "business": OWED}


def test_what_another_mailbox_owes_under_the_same_mesh_id_stays_parked(ledger):
    owe_both(ledger)
    record(ledger, 1, mailbox_id=THERE)
    there = [replace(a_response(2, level), local_id=f"there-{level}") for level in ("infrastructure", "business")]
    ledger.apply([a_step(1, mailbox_id=THERE, responses=there)])
    for local_id in ("infrastructure-1", "there-infrastructure"):
        refuse(ledger, local_id)
    do(ledger, retry(ledger.get(key()), ledger.responses_to(key()), "Jo", AT))
    assert {each.state for each in ledger.responses_to(key(1, THERE))} == {PARKED}


def test_a_parked_message_and_its_refused_response_come_back_in_one_transaction(ledger):
    park(ledger)
    refuse(ledger, "infrastructure-1")
    stale = retry(ledger.get(key()), ledger.responses_to(key()), "Jo", AT)
    do(ledger, retry(replace(ledger.get(key()), state=State.COMPLETED), ledger.responses_to(key()), "Sam", AT))
    with pytest.raises(LedgerConflict):
        do(ledger, stale)
    assert ledger.get(key()).state is State.PARKED
    refuse(ledger, "infrastructure-1")
    do(ledger, stale)
    assert (ledger.get(key()).state, states(ledger)) == (State.ACCEPTED, {"infrastructure": OWED})


def test_responses_to_an_abandoned_message_are_given_up_with_it(ledger):
    park(ledger, bus_ack_requested=False)
    refuse(ledger, "infrastructure-1")
    do(ledger, abandon(ledger.get(key()), ledger.responses_to(key()), Reason.HANDLED_BY_HAND, "Jo", AT))
    assert ledger.unseen().responses == ()
    assert states(ledger) == {"infrastructure": PARKED}
    assert ledger.get(key()).sender_not_told, "they asked for a 20013 and never got it"
    assert retry(ledger.get(key()), ledger.responses_to(key()), "Jo", AT).responses == ()


@pytest.mark.postgres
def test_a_dead_daemon_counts_as_living_until_its_lease_has_run_out(new_postgresql):
    migrate(new_postgresql, AT)
    with (
        closing(open_ledger(new_postgresql, owner="dead:1")) as dead,
        closing(open_ledger(new_postgresql, owner="op:2")) as ours,
    ):
        record(dead, 1)
        dead.hold([HERE], AT)
        claimed(dead)
        act = hold(ours.get(key()), "Jo", AT)
        with pytest.raises(MessageInProgress):
            do(ours, act, later(hours=1, seconds=89))
        do(ours, act, later(hours=1, seconds=91))
        assert (ours.get(key()).state, ours.get(key()).is_alone) == (State.PARKED, True)
