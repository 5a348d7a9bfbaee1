"""The ledger's contract on both engines: what people and tools ask."""

from datetime import timedelta

import pytest

from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import (
    ResponseStep,
)
from support.ledger_rows import (
    HERE,
    NOW,
    THERE,
    a_message,
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

# ------------------------------------------------------------------------------------------------ people and tools


@pytest.mark.parametrize(
    "identifier",
    [
        key(1).mesh_message_id,
        "local-1",
        "urn:uuid:HEADER-1",
        "business-1",
        "MESH-infrastructure-1",
        "aaaaaaaa-0000-4000-8000-000000000001-business",
    ],
)
def test_a_message_is_found_by_any_id_that_an_operator_may_hold(ledger, identifier):
    record(ledger, 2)
    record(ledger, 1)
    ledger.apply([a_step(1, message_header_id="header-1", responses=[a_response(1)])])
    ledger.apply([a_step(1, State.ACCEPTED, State.COMPLETED, responses=[a_response(1, "business")])])
    send(ledger, "infrastructure-1")

    assert [each.key for each in ledger.find(identifier)] == [key(1)]


def test_an_id_that_fits_several_messages_finds_them_all_once(ledger):
    record(ledger, 1)
    record(ledger, 1, mailbox_id=THERE)

    assert [each.key for each in ledger.find("local-1")] == [key(1, HERE), key(1, THERE)]
    assert ledger.find("nothing") == []


def test_messages_are_listed_newest_first_over_many_pages_with_their_responses(ledger):
    for number in range(1, 451):
        ledger.record_received(a_message(number), an_entry())
    ledger.apply([a_step(7, responses=[a_response(7)])])

    listed = list(ledger.messages())

    assert [found.key for found, _ in listed] == [key(number) for number in range(450, 0, -1)]
    assert {found.key: [each.local_id for each in answers] for found, answers in listed if answers} == {
        key(7): ["infrastructure-7"]
    }
    assert [found.key for found, _ in ledger.messages(limit=203)] == [key(number) for number in range(450, 247, -1)]
    assert list(ledger.messages(limit=0)) == []


def test_messages_are_filtered_by_state_and_mailbox(ledger):
    record(ledger, 1, 2)
    record(ledger, 3, mailbox_id=THERE)
    ledger.apply([a_step(1)])

    assert [found.key for found, _ in ledger.messages(states=[State.RECEIVED])] == [key(3, THERE), key(2)]
    assert [found.key for found, _ in ledger.messages(states=[State.RECEIVED], mailbox_ids=[HERE])] == [key(2)]


def test_the_overview_counts_messages_and_responses_by_mailbox_and_state(ledger):
    record(ledger, 1, 2)
    record(ledger, 3, mailbox_id=THERE)
    owe_both(ledger, 4)
    ledger.apply([a_step(2, new=State.REJECTED)])

    overview = ledger.overview()

    assert overview.messages == {
        (HERE, State.RECEIVED): 1,
        (HERE, State.REJECTED): 1,
        (HERE, State.COMPLETED): 1,
        (THERE, State.RECEIVED): 1,
    }
    assert overview.responses == {(HERE, ResponseState.OWED): 2}
    assert overview.oldest_waiting == {(HERE, State.RECEIVED): later(seconds=1), (THERE, State.RECEIVED): later(seconds=3)}


def test_there_is_work_while_a_message_is_unfinished_or_a_response_owed(ledger):
    assert not ledger.has_work([HERE])
    record(ledger, 1)
    assert ledger.has_work([HERE])
    assert not ledger.has_work([THERE])
    ledger.apply([a_step(1, responses=[a_response(1)])])
    ledger.apply([a_step(1, State.ACCEPTED, State.COMPLETED)])
    assert ledger.has_work([HERE])

    send(ledger, "infrastructure-1")

    assert not ledger.has_work([HERE])


def test_make_all_due_forgets_waiting_times_here_only(ledger):
    for mailbox_id, number in ((HERE, 1), (THERE, 2)):
        record(ledger, number, mailbox_id=mailbox_id)
        ledger.apply([a_step(number, mailbox_id=mailbox_id, responses=[a_response(number)], due_at=later(days=1))])
        owed = ResponseState.OWED
        ledger.apply_responses(
            [ResponseStep(f"infrastructure-{number}", owed, owed, None, {"due_at": later(days=1), "attempts": 4})]
        )

    ledger.make_all_due([HERE])

    assert claimed(ledger, state=State.ACCEPTED, mailbox_ids=(HERE, THERE)) == [key(1)]
    assert [each.attempts for each in ledger.claim_responses(HERE, NOW, 10)] == [4]
    assert ledger.claim_responses(THERE, NOW, 10) == []


def test_move_back_makes_every_wait_here_end_so_much_earlier(ledger):
    for mailbox_id, number in ((HERE, 1), (HERE, 2), (THERE, 3)):
        record(ledger, number, mailbox_id=mailbox_id)
        due_at = None if number == 2 else later(days=1)
        ledger.apply([a_step(number, mailbox_id=mailbox_id, responses=[a_response(number)], due_at=due_at)])
        owed = ResponseState.OWED
        ledger.apply_responses([ResponseStep(f"infrastructure-{number}", owed, owed, None, {"due_at": due_at})])

    ledger.move_back([HERE], timedelta(hours=5))
    ledger.move_back([], timedelta(hours=5))

    due = {record.key: (record.due_at, responses[0].due_at) for record, responses in ledger.messages()}
    assert due[key(1)] == (later(hours=19), later(hours=19))
    assert due[key(2)] == (None, None)
    assert due[key(3, THERE)] == (later(days=1), later(days=1))


def test_a_clock_that_was_thousands_of_years_ahead_makes_what_waits_due(ledger):
    record(ledger, 1)
    ledger.apply([a_step(1, due_at=later(days=1))])

    ledger.move_back([HERE], timedelta(days=365 * 7000))

    assert claimed(ledger, state=State.ACCEPTED) == [key(1)]


def test_what_was_written_is_there_for_the_next_process(ledger, open_another):
    owe_both(ledger)
    ledger.close()

    another = open_another("next:9")

    assert another.get(key()).state is State.COMPLETED
    assert len(another.claim_responses(HERE, NOW, 10)) == 2
