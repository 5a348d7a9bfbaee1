"""The ledger's contract on both engines: who may work on what, and what a death leaves."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mesh_itk3.lifecycle import State
from mesh_itk3.ports import (
    Kind,
    MessageKey,
)
from mesh_itk3.reasons import Reason
from mesh_itk3.retry import MAX_INTERRUPTED
from support.ledger_rows import (
    HERE,
    NOW,
    THERE,
    a_message,
    a_step,
    an_entry,
    claimed,
    key,
    later,
    record,
)

# ------------------------------------------------------------------------------------------------ claims


def test_a_claimed_message_is_not_claimed_again_until_it_is_given_back(ledger):
    record(ledger, 1)

    assert claimed(ledger) == [key()]
    assert claimed(ledger) == []
    ledger.unclaim([key()])
    assert claimed(ledger) == [key()]


def test_a_claim_takes_the_oldest_of_its_state_and_kinds(ledger):
    record(ledger, 3, 1, 2)
    ledger.record_received(a_message(4, kind=Kind.REPORT), an_entry())

    assert claimed(ledger, limit=2) == [key(1), key(2)]
    assert claimed(ledger, state=State.ACCEPTED) == []
    assert claimed(ledger, kinds=(Kind.REPORT, Kind.RESPONSE)) == [key(4)]
    assert claimed(ledger, kinds=()) == []
    assert claimed(ledger, mailbox_ids=()) == []


def test_what_is_due_later_than_anything_can_wait_was_put_off_by_a_clock_that_was_wrong_and_is_due(ledger):
    record(ledger, 1, 2)
    ledger.apply([a_step(1, State.RECEIVED, State.RECEIVED, due_at=later(days=3650), attempts=1)])
    ledger.apply([a_step(2, State.RECEIVED, State.RECEIVED, due_at=later(days=1), attempts=1)])

    assert claimed(ledger) == [key(1)]


def test_a_message_that_waits_is_claimed_when_it_is_due(ledger):
    record(ledger, 1)
    ledger.apply([a_step(1, State.RECEIVED, State.RECEIVED, due_at=later(minutes=5), attempts=1)])

    assert claimed(ledger, now=later(minutes=4)) == []
    assert claimed(ledger, now=later(minutes=5)) == [key()]


def test_a_busy_mailbox_does_not_starve_another(ledger):
    record(ledger, *range(1, 21))
    record(ledger, 31, 32, mailbox_id=THERE)

    found = claimed(ledger, mailbox_ids=(HERE, THERE), limit=6)

    assert found == [key(1), key(31, THERE), key(2), key(32, THERE), key(3), key(4)]


def test_with_more_mailboxes_than_places_every_mailbox_gets_its_turn(ledger):
    mailbox_ids = [f"M{number}" for number in range(7)]
    for mailbox_id in mailbox_ids:
        record(ledger, 1, 2, mailbox_id=mailbox_id)

    turns = [each.mailbox_id for _ in range(4) for each in claimed(ledger, mailbox_ids=mailbox_ids, limit=2)]

    assert sorted(turns[:7]) == mailbox_ids


def test_two_ledgers_claiming_at_once_never_get_the_same_message(ledger, open_another):
    record(ledger, *range(1, 101))
    ledgers = [ledger, open_another("other:2"), open_another("other:3")]
    start = threading.Barrier(len(ledgers))

    def claim_all(one) -> list[MessageKey]:
        start.wait(timeout=120)
        found: list[MessageKey] = []
        while some := claimed(one, limit=7):
            found += some
        return found

    with ThreadPoolExecutor(len(ledgers)) as pool:
        found = [each for some in pool.map(claim_all, ledgers) for each in some]

    # SKIP LOCKED may leave some to a later claim; none is ever given twice.
    found += claimed(ledger, limit=100)
    assert sorted(found) == [key(number) for number in range(1, 101)]


def test_one_ledger_may_be_used_from_several_threads(ledger):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: record(ledger, number), range(1, 81)))
        found = [each for some in pool.map(lambda _: claimed(ledger, limit=10), range(10)) for each in some]

    assert sorted(found) == [key(number) for number in range(1, 81)]


# ------------------------------------------------------------------------------------------------ recovery


def test_after_a_death_messages_are_tried_one_at_a_time_after_the_others(ledger):
    record(ledger, 1, 2)
    claimed(ledger)
    record(ledger, 3)

    assert len(ledger.recover([HERE], NOW)) == 2

    assert claimed(ledger) == [key(3)]
    assert claimed(ledger) == []
    ledger.unclaim([key(3)])
    ledger.apply([a_step(3)])
    assert claimed(ledger) == [key(1)]
    assert claimed(ledger) == []
    ledger.apply([a_step(1)])
    assert claimed(ledger) == [key(2)]


def test_while_one_is_tried_alone_nothing_else_is_begun(ledger):
    record(ledger, 1)
    claimed(ledger)
    ledger.recover([HERE], NOW)
    assert claimed(ledger) == [key(1)]
    record(ledger, 2)
    record(ledger, 3, mailbox_id=THERE)

    assert claimed(ledger, mailbox_ids=(HERE, THERE)) == []
    assert claimed(ledger, mailbox_ids=(THERE,)) == [key(3, THERE)]
    ledger.apply([a_step(1)])
    assert claimed(ledger) == [key(2)]


def test_only_a_message_that_was_alone_counts_the_interruption(ledger):
    record(ledger, 1, 2)
    claimed(ledger)
    ledger.recover([HERE], NOW)
    assert [ledger.get(key(number)).interrupted for number in (1, 2)] == [0, 0]

    claimed(ledger)
    ledger.recover([HERE], NOW)

    assert [ledger.get(key(number)).interrupted for number in (1, 2)] == [1, 0]
    assert [ledger.get(key(number)).is_alone for number in (1, 2)] == [True, True]


def test_one_message_in_each_of_two_stages_counts_for_neither(ledger):
    record(ledger, 1)
    ledger.apply([a_step(1)])
    assert claimed(ledger, state=State.ACCEPTED) == [key(1)]
    record(ledger, 2)
    assert claimed(ledger) == [key(2)]

    ledger.recover([HERE], NOW)

    assert [ledger.get(key(number)).interrupted for number in (1, 2)] == [0, 0]
    assert claimed(ledger) == [key(2)]
    ledger.recover([HERE], NOW)
    assert [ledger.get(key(number)).interrupted for number in (1, 2)] == [0, 1]


def test_the_last_one_left_of_a_batch_was_alone(ledger):
    record(ledger, 1, 2)
    claimed(ledger)
    ledger.apply([a_step(1)])

    ledger.recover([HERE], NOW)

    assert [ledger.get(key(number)).interrupted for number in (1, 2)] == [0, 1]


@pytest.mark.parametrize("state", [State.RECEIVED, State.ACCEPTED])
def test_a_message_that_kills_the_process_every_time_is_parked_with_its_reason(ledger, state):
    record(ledger, 1)
    if state is State.ACCEPTED:
        ledger.apply([a_step(1)])
    for _ in range(MAX_INTERRUPTED):
        assert claimed(ledger, state=state) == [key()]
        ledger.recover([HERE], NOW)

    found = ledger.get(key())
    assert (found.state, found.parked_from, found.reason) == (State.PARKED, state, Reason.PROCESS_DIED)
    assert found.interrupted == MAX_INTERRUPTED
    assert ledger.timeline(key())[-1].outcome == "parked"
    assert claimed(ledger, state=state) == []


def test_recovery_leaves_other_mailboxes_alone(ledger):
    record(ledger, 1)
    record(ledger, 2, mailbox_id=THERE)
    claimed(ledger, mailbox_ids=(HERE, THERE))

    assert len(ledger.recover([HERE], NOW)) == 1
    assert ledger.recover([HERE], NOW) == []
    assert claimed(ledger, mailbox_ids=(THERE,)) == []
