"""A restored ledger: what may have been answered before is looked up in MESH before anything is sent, and nothing else is."""

from __future__ import annotations

import dataclasses
from contextlib import closing

import pytest

from mesh_itk3.adapters.ledger import migrate, open_ledger
from mesh_itk3.lifecycle import ResponseState
from mesh_itk3.ports import LeaseLost, MailboxState, ResponseStep
from mesh_itk3.stages.intervene import retry
from support.ledger_rows import HERE, NOW, THERE, a_message, a_response, a_step, an_entry, key, later, owe_both, record, send


def doubts(ledger, mailbox_id=HERE):
    """Local ids of what is owed -> since when it is in doubt, and whether it was written anew."""
    claimed = ledger.claim_responses(mailbox_id, later(days=1), 10)
    return {each.local_id: (each.unresolved_since, each.written_anew) for each in claimed}


def accept(ledger, number, mailbox_id=HERE):
    ledger.apply([a_step(number, mailbox_id=mailbox_id, responses=[a_response(number)])])


def test_every_response_owed_is_looked_up_and_its_hour_begins_with_the_restore(ledger):
    owe_both(ledger)
    ledger.claim_responses(HERE, NOW, 10)

    assert ledger.mark_restored([HERE], later(hours=2)) == 2

    assert doubts(ledger) == {f"{level}-1": (later(hours=2), False) for level in ("infrastructure", "business")}


def test_what_is_written_for_a_message_of_before_is_in_doubt_from_the_moment_it_is_written(ledger):
    record(ledger, 1)
    ledger.mark_restored([HERE], NOW)
    record(ledger, 2)  # taken up from the payload store
    ledger.end_restoring([HERE])
    record(ledger, 3)

    for number in (1, 2, 3):
        accept(ledger, number)

    assert doubts(ledger) == {
        "infrastructure-1": (NOW, True),
        "infrastructure-2": (NOW, True),
        "infrastructure-3": (None, False),
    }


def test_a_wrong_clock_takes_no_message_out_of_doubt_and_puts_none_into_it(ledger):
    """By the clock the first came after the restore, and the second before it."""
    ledger.record_received(a_message(1, received_at=later(days=900)), an_entry())
    ledger.mark_restored([HERE], NOW)
    ledger.end_restoring([HERE])
    ledger.record_received(a_message(2, received_at=later(days=-900)), an_entry())

    accept(ledger, 1)
    accept(ledger, 2)

    assert doubts(ledger) == {"infrastructure-1": (NOW, True), "infrastructure-2": (None, False)}


def test_where_taking_up_was_cut_off_whatever_comes_is_in_doubt_until_it_is_done(ledger):
    ledger.mark_restored([HERE], NOW)
    record(ledger, 1)
    accept(ledger, 1)
    assert doubts(ledger) == {"infrastructure-1": (NOW, True)}

    ledger.mark_restored([HERE], NOW)
    ledger.end_restoring([HERE])
    record(ledger, 2)
    accept(ledger, 2)
    assert doubts(ledger)["infrastructure-2"] == (None, False)


def test_without_a_restore_nothing_is_in_doubt(ledger):
    ledger.end_restoring([HERE])
    record(ledger, 1)
    accept(ledger, 1)

    assert doubts(ledger) == {"infrastructure-1": (None, False)}
    assert ledger.mailbox_state(HERE).restored_at is None


def test_that_it_was_restored_is_remembered_whatever_is_noted_of_the_mailbox_since(ledger):
    ledger.record_mailbox_state(MailboxState(HERE, last_poll_at=NOW, failures=3, reason="timeout"))
    before = ledger.mailbox_state(HERE)
    ledger.mark_restored([HERE], later(hours=1))
    ledger.record_mailbox_state(dataclasses.replace(before, failures=0, reason=None))

    assert ledger.mailbox_state(HERE) == MailboxState(HERE, last_poll_at=NOW, restored_at=later(hours=1))


def test_that_a_response_was_written_anew_stays_in_the_ledger_until_a_step_says_otherwise(ledger):
    record(ledger, 1)
    ledger.mark_restored([HERE], NOW)
    accept(ledger, 1)

    send(ledger, "infrastructure-1")
    assert ledger.response_by(local_id="infrastructure-1").written_anew
    assert ledger.responses_to(key(1))[0].state is ResponseState.SENT


def test_a_file_is_marked_whole_and_of_a_server_only_what_the_one_who_restores_holds(ledger, url):
    """Another daemon may be serving the others there."""
    record(ledger, 1, mailbox_id=THERE)
    ledger.hold([HERE], NOW)
    ledger.mark_restored([HERE], NOW)
    ledger.end_restoring([HERE])
    ledger.release()
    ledger.hold([THERE], NOW)
    accept(ledger, 1, THERE)

    assert doubts(ledger, THERE) == {"infrastructure-1": (NOW, True) if url.startswith("sqlite") else (None, False)}


@pytest.mark.postgres
def test_whoever_has_lost_the_lease_marks_nothing(new_postgresql):
    migrate(new_postgresql, NOW)
    with closing(open_ledger(new_postgresql, owner="one:1")) as one, closing(open_ledger(new_postgresql, owner="two:2")) as two:
        one.hold([HERE], NOW)
        two.hold([HERE], later(hours=1))
        for use in (lambda: one.mark_restored([HERE], NOW), lambda: one.end_restoring([HERE])):
            with pytest.raises(LeaseLost):
                use()
        assert two.mailbox_state(HERE).restored_at is None


def test_a_business_response_that_comes_back_with_its_infrastructure_response_is_looked_up(ledger):
    """In a ledger that is gone a person may have let both be sent already."""
    owe_both(ledger)
    parked = ResponseStep("infrastructure-1", ResponseState.OWED, ResponseState.PARKED, an_entry("refused"))
    ledger.apply_responses([parked])
    act = retry(ledger.get(key()), ledger.responses_to(key()), "Jo", NOW)
    ledger.act(act.steps, act.responses, NOW)

    assert all(since is not None for since, _ in doubts(ledger).values())
    assert set(doubts(ledger)) == {"infrastructure-1", "business-1"}
