"""The ledger's contract on both engines: responses, mailbox state, the sweep."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import datetime

import pytest
import sqlalchemy as sa

from mesh_itk3.adapters.ledger import migrate, open_ledger, responses
from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import (
    Entry,
    LedgerConflict,
    MailboxState,
    ResponseStep,
)
from mesh_itk3.reasons import Reason
from support.ledger_rows import (
    HERE,
    NOW,
    THERE,
    a_message,
    a_payload,
    a_response,
    a_step,
    an_entry,
    key,
    later,
    owe_both,
    record,
    send,
)

PARKED = ResponseState.PARKED

# ------------------------------------------------------------------------------------------------ the outbox


def test_a_response_comes_back_byte_for_byte_with_what_it_answers(ledger):
    record(ledger, 1)
    ledger.apply([a_step(1, responses=[a_response(1)])])

    [found] = ledger.claim_responses(HERE, NOW, 10)

    expected = a_response(1)
    for name in ("level", "response_code", "message_header_id", "local_id", "to_mailbox_id", "workflow_id", "body"):
        assert getattr(found, name) == getattr(expected, name)
    assert (found.key, found.state, found.created_at) == (key(), ResponseState.OWED, NOW)
    assert found.infrastructure_state is None


def test_a_claim_of_responses_tells_a_first_try_from_one_of_unknown_outcome(ledger):
    record(ledger, 1)
    ledger.apply([a_step(1, responses=[a_response(1)])])

    first = ledger.claim_responses(HERE, NOW, 10)
    second = ledger.claim_responses(HERE, later(minutes=1), 10)

    assert [each.unresolved_since for each in first] == [None]
    assert [each.unresolved_since for each in second] == [NOW]
    assert ledger.response_by(local_id="infrastructure-1").unresolved_since == NOW


def test_a_response_that_is_due_later_than_any_can_wait_is_due_and_holds_up_no_business_response(ledger):
    owe_both(ledger)
    put_off = ResponseStep("infrastructure-1", ResponseState.OWED, ResponseState.OWED, None, {"due_at": later(days=3650)})
    ledger.apply_responses([put_off])

    assert [each.local_id for each in ledger.claim_responses(HERE, NOW, 10)] == ["infrastructure-1", "business-1"]


def test_responses_are_claimed_oldest_first_within_the_mailbox_when_due(ledger):
    for number in (1, 2, 3):
        record(ledger, number)
        ledger.apply([a_step(number, responses=[a_response(number)])])
    put_off = ResponseStep("infrastructure-1", ResponseState.OWED, ResponseState.OWED, None, {"due_at": later(minutes=5)})
    ledger.apply_responses([put_off])

    assert [each.local_id for each in ledger.claim_responses(HERE, NOW, 1)] == ["infrastructure-2"]
    due = ledger.claim_responses(HERE, later(minutes=5), 10)
    assert [each.local_id for each in due] == ["infrastructure-1", "infrastructure-2", "infrastructure-3"]
    assert ledger.claim_responses(THERE, later(minutes=5), 10) == []


def test_a_business_response_carries_the_state_of_its_infrastructure_response(ledger):
    owe_both(ledger)
    business = ledger.claim_responses(HERE, NOW, 10)[1]
    assert (business.level, business.infrastructure_state) == ("business", ResponseState.OWED)

    send(ledger, "infrastructure-1")

    [business] = ledger.claim_responses(HERE, NOW, 10)
    assert (business.level, business.infrastructure_state) == ("business", ResponseState.SENT)
    assert ledger.response_by(local_id="infrastructure-1").infrastructure_state is None


def test_a_business_response_waits_while_its_infrastructure_response_waits(ledger):
    owe_both(ledger)
    owed = ResponseState.OWED
    ledger.apply_responses([ResponseStep("infrastructure-1", owed, owed, None, {"due_at": later(minutes=5)})])
    assert ledger.claim_responses(HERE, NOW, 10) == []
    assert len(ledger.claim_responses(HERE, later(minutes=5), 10)) == 2


REFUSED = {"reason": Reason.SEND_REFUSED, "unresolved_since": None}


def refuse(ledger, number: int = 1) -> None:
    entry = an_entry("refused", later(minutes=1))
    step = ResponseStep(f"infrastructure-{number}", ResponseState.OWED, ResponseState.PARKED, entry, REFUSED)
    put_off = ResponseStep(f"business-{number}", ResponseState.OWED, ResponseState.OWED, None, {"due_at": later(hours=1)})
    is_there = ledger.response_by(local_id=put_off.local_id)
    ledger.apply_responses([step, put_off] if is_there else [step])


def business_entry() -> Entry:
    return replace(an_entry("parked"), response_code="30001", reason=Reason.INFRASTRUCTURE_REFUSED)


def test_a_business_response_is_parked_with_its_infrastructure_response(ledger):
    owe_both(ledger, 1)
    owe_both(ledger, 2)

    refuse(ledger)

    business = ledger.response_by(local_id="business-1")
    assert (business.state, business.reason, business.due_at) == (PARKED, Reason.INFRASTRUCTURE_REFUSED, None)
    assert ledger.timeline(key())[-1] == replace(business_entry(), at=later(minutes=1))
    assert [each.local_id for each in ledger.claim_responses(HERE, later(days=1), 9)] == ["infrastructure-2", "business-2"]


def test_a_business_response_written_after_the_refusal_is_parked_at_once(ledger):
    for number in (1, 2):
        record(ledger, number)
        ledger.apply([a_step(number, responses=[a_response(number)])])
    refuse(ledger)
    completed = State.ACCEPTED, State.COMPLETED

    ledger.apply([a_step(number, *completed, responses=[a_response(number, "business")]) for number in (1, 2)])

    assert [ledger.response_by(local_id=f"business-{number}").state for number in (1, 2)] == [PARKED, ResponseState.OWED]
    assert ledger.timeline(key())[-1] == replace(business_entry(), stage="collect")
    send(ledger, "infrastructure-2")
    send(ledger, "business-2")
    assert not ledger.has_work([HERE])


def test_only_the_same_message_in_the_same_mailbox_is_parked(ledger):
    owe_both(ledger, 1)
    record(ledger, 1, mailbox_id=THERE)
    responses = [a_response(8, "infrastructure"), a_response(8, "business")]
    ledger.apply([a_step(1, responses=responses, mailbox_id=THERE)])

    refuse(ledger)

    assert ledger.response_by(local_id="business-8").state is ResponseState.OWED


@pytest.mark.postgres
def test_a_refusal_and_a_completion_at_the_same_moment_do_not_miss_each_other(new_postgresql):
    migrate(new_postgresql, NOW)
    with closing(open_ledger(new_postgresql, owner="this:1")) as ledger, ThreadPoolExecutor(1) as pool:
        record(ledger, 1)
        ledger.apply([a_step(1, responses=[a_response(1)])])
        completion = a_step(1, State.ACCEPTED, State.COMPLETED, responses=[a_response(1, "business")])

        with ledger._database.writing() as connection:
            refusal = ResponseStep("infrastructure-1", ResponseState.OWED, PARKED, None, REFUSED)
            responses.apply(connection, [refusal])
            completing = pool.submit(ledger.apply, [completion])
            wait_until_one_waits_for_a_lock(connection)
        completing.result(timeout=120)

        assert ledger.response_by(local_id="business-1").state is PARKED


def wait_until_one_waits_for_a_lock(connection) -> None:
    waiting = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    deadline = time.monotonic() + 120
    while connection.execute(waiting).scalar() == 0:
        assert time.monotonic() < deadline


def test_a_step_on_a_response_that_has_moved_is_a_conflict_and_undoes_the_batch(ledger):
    owe_both(ledger)
    send(ledger, "infrastructure-1")
    owed = ResponseState.OWED

    with pytest.raises(LedgerConflict):
        ledger.apply_responses(
            [
                ResponseStep("business-1", owed, ResponseState.SENT, None, {"sent_at": NOW}),
                ResponseStep("infrastructure-1", owed, ResponseState.PARKED, an_entry(), {"reason": Reason.SEND_REFUSED}),
            ]
        )

    assert ledger.response_by(local_id="business-1").state is ResponseState.OWED


def test_what_became_of_a_response_stands_in_the_timeline_of_its_message(ledger):
    owe_both(ledger)

    send(ledger, "infrastructure-1", attempts=3)

    found = ledger.response_by(local_id="infrastructure-1")
    assert (found.state, found.mesh_message_id, found.sent_at, found.attempts) == (
        ResponseState.SENT,
        "MESH-infrastructure-1",
        NOW,
        3,
    )
    assert ledger.timeline(key())[-1] == an_entry("sent")


def test_sent_responses_are_offered_for_tracking_when_mesh_was_last_asked_before(ledger):
    owe_both(ledger)
    send(ledger, "infrastructure-1")
    send(ledger, "business-1")
    sent = ResponseState.SENT
    ledger.apply_responses([ResponseStep("infrastructure-1", sent, sent, None, {"tracked_at": later(hours=2)})])

    def offered(before: datetime) -> list[str]:
        return [each.local_id for each in ledger.sent_responses(HERE, before, 10)]

    assert offered(NOW) == []
    assert offered(later(hours=1)) == ["business-1"]
    assert offered(later(hours=3)) == ["business-1", "infrastructure-1"]
    assert ledger.sent_responses(THERE, later(hours=3), 10) == []


def test_a_response_is_found_by_each_of_its_ids(ledger):
    owe_both(ledger)
    send(ledger, "business-1")

    assert ledger.response_by(mesh_message_id="MESH-business-1").local_id == "business-1"
    assert ledger.response_by(local_id="business-1").level == "business"
    asked = "urn:uuid:aaaaaaaa-0000-4000-8000-000000000001-BUSINESS"
    assert ledger.response_by(message_header_id=asked).local_id == "business-1"
    assert ledger.response_by(local_id="nothing") is None
    assert ledger.response_by() is None


# ------------------------------------------------------------------------------------------------ mailbox state, sweep


def test_what_is_remembered_of_a_mailbox_is_replaced(ledger):
    assert ledger.mailbox_state(HERE) == MailboxState(HERE)
    first = MailboxState(
        HERE, last_handshake_at=NOW, last_poll_at=NOW, failures=2, reason="timeout", disk_failures=1, disk_since=NOW
    )
    second = MailboxState(HERE, last_handshake_at=NOW, last_poll_at=later(minutes=5), last_success_at=later(minutes=5))

    for state in (first, second):
        ledger.record_mailbox_state(state)
        assert ledger.mailbox_state(HERE) == state


def test_the_sweep_discards_only_what_no_row_names(ledger):
    record(ledger, 1)
    unnamed = [a_payload(number).name for number in range(2, 500)]
    discarded: list[str] = []

    assert ledger.unnamed([a_payload(1).name, *unnamed]) == unnamed
    assert ledger.sweep([a_payload(1).name, *unnamed], discarded.append) == len(unnamed)
    assert discarded == unnamed


def test_a_payload_name_is_never_shared(ledger):
    record(ledger, 1)

    with pytest.raises(LedgerConflict):
        ledger.record_received(a_message(2, payload=a_payload(1)), an_entry())
