"""One contract for every ledger, on SQLite and on PostgreSQL: receiving, steps, what is known."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from mesh_itk3.adapters.ledger.schema import message
from mesh_itk3.lifecycle import State
from mesh_itk3.ports import (
    Kind,
    LedgerConflict,
    StepRefused,
)
from mesh_itk3.reasons import Reason
from support.ledger_rows import (
    HERE,
    HOSPITAL,
    NOW,
    THERE,
    a_message,
    a_payload,
    a_response,
    a_step,
    an_entry,
    claimed,
    key,
    later,
    record,
)

# ------------------------------------------------------------------------------------------------ collect


def test_everything_that_collect_knows_comes_back(ledger):
    received = a_message(linked_message_id="20240501_LINKED")
    ledger.record_received(received, an_entry())

    found = ledger.get(key())

    assert found.state is State.RECEIVED
    for name in ("key", "workflow_id", "kind", "received_at", "sender_mailbox_id", "local_id", "linked_message_id", "payload"):
        assert getattr(found, name) == getattr(received, name)
    assert (found.attempts, found.interrupted, found.is_alone, found.warnings) == (0, 0, False, ())
    assert ledger.timeline(key()) == [an_entry()]


def test_a_time_comes_back_exact_and_in_utc_whatever_zone_it_came_in(ledger):
    in_summer = datetime(2024, 5, 1, 13, 0, 0, 1, tzinfo=timezone(timedelta(hours=1)))
    ledger.record_received(a_message(received_at=in_summer), an_entry())

    found = ledger.get(key()).received_at

    assert found == in_summer
    assert found.utcoffset() == timedelta(0)


def test_a_time_without_a_zone_is_refused_as_a_fault_of_ours(ledger):
    with pytest.raises(ValueError, match="zone"):
        ledger.record_received(a_message(received_at=datetime(2024, 5, 1)), an_entry())  # noqa: DTZ001


def test_a_message_is_recorded_once(ledger):
    record(ledger, 1)

    with pytest.raises(LedgerConflict):
        record(ledger, 1)

    assert len(ledger.timeline(key())) == 1


def test_the_same_mesh_message_id_in_two_mailboxes_is_two_messages(ledger):
    record(ledger, 1)
    record(ledger, 1, mailbox_id=THERE)

    assert ledger.get(key(1, HERE)).key != ledger.get(key(1, THERE)).key


def test_a_foreign_message_is_taken_over_when_its_handler_is_installed(ledger):
    left = replace(an_entry("left"), reason=Reason.FOREIGN_LEFT)
    ledger.record_received(a_message(payload=None), left, state=State.FOREIGN)
    assert (ledger.get(key()).payload, ledger.get(key()).reason) == (None, "foreign_left")

    ledger.record_received(a_message(received_at=later(days=1)), an_entry("received"))

    found = ledger.get(key())
    assert (found.state, found.payload, found.received_at) == (State.RECEIVED, a_payload(), later(days=1))
    assert found.reason is None
    assert [entry.outcome for entry in ledger.timeline(key())] == ["left", "received"]


def test_known_tells_only_those_that_exist_among_any_number_of_ids(ledger):
    record(ledger, 1, 2)
    ids = [key(number).mesh_message_id for number in range(1, 2001)]

    assert set(ledger.known(HERE, ids)) == {key(1).mesh_message_id, key(2).mesh_message_id}
    assert ledger.known(HERE, []) == {}
    assert ledger.known(THERE, ids) == {}


def test_why_a_message_is_foreign_is_known_of_a_row_that_does_not_say_so(ledger):
    """As an older program has written it: the last line of its timeline that gives a reason counts."""
    for number, words in ((1, ["foreign_left", "foreign_spooled"]), (2, ["foreign_left"]), (3, [None])):
        for word in words:
            ledger.record_received(a_message(number), replace(an_entry(), reason=word), state=State.FOREIGN)
    with ledger._database.writing() as connection:
        connection.execute(sa.update(message).values(reason=None))

    found = ledger.known(HERE, [key(number).mesh_message_id for number in (1, 2, 3)])

    assert [found[key(number).mesh_message_id].reason for number in (1, 2, 3)] == ["foreign_spooled", "foreign_left", None]


def test_a_lost_payload_is_replaced(ledger):
    record(ledger, 1)

    ledger.replace_payload(key(), a_payload(7), an_entry("downloaded_again"))

    assert ledger.get(key()).payload == a_payload(7)
    assert ledger.timeline(key())[-1].outcome == "downloaded_again"
    with pytest.raises(LedgerConflict):
        ledger.replace_payload(key(9), a_payload(9), an_entry())


@pytest.mark.parametrize("was", [State.RECEIVED, State.ACCEPTED])
@pytest.mark.parametrize("is_parked", [True, False], ids=["parked", "waiting"])
def test_what_stands_for_want_of_its_payload_goes_on_where_it_was_when_that_is_replaced(ledger, was, is_parked):
    record(ledger, 1)
    parked = {"reason": "payload_missing", "attempts": 3, "parked_from": was if is_parked else None, "due_at": later(hours=1)}
    if was is State.ACCEPTED:
        ledger.apply([a_step(1, State.RECEIVED, was)])
    ledger.apply([a_step(1, was, State.PARKED if is_parked else was, **parked)])

    ledger.replace_payload(key(), a_payload(7), an_entry("downloaded_again"))

    found = ledger.get(key())
    assert (found.state, found.reason, found.attempts, found.parked_from, found.due_at) == (was, None, 0, None, None)
    assert [each.key for each in ledger.claim(was, [Kind.MESSAGE], [HERE], later(), 5)] == [key()]


@pytest.mark.parametrize("reason", ["held_by_person", "handler_failed"])
def test_what_a_person_has_to_act_on_stays_parked_when_its_payload_is_replaced(ledger, reason):
    record(ledger, 1)
    ledger.apply([a_step(1, State.RECEIVED, State.PARKED, reason=reason, parked_from=State.RECEIVED)])

    ledger.replace_payload(key(), a_payload(7), an_entry("downloaded_again"))

    assert (ledger.get(key()).state, ledger.get(key()).reason) == (State.PARKED, reason)


def test_acknowledged_messages_say_when(ledger):
    record(ledger, 1, 2, 3)

    ledger.record_acknowledged([key(1), key(3)], later(minutes=1))

    assert [ledger.get(key(number)).acknowledged_at for number in (1, 2, 3)] == [later(minutes=1), None, later(minutes=1)]


# ------------------------------------------------------------------------------------------------ steps


def test_a_step_changes_what_it_names_and_nothing_else(ledger):
    record(ledger, 1)
    changes = {
        "kind": Kind.RESPONSE,
        "message_header_id": "E7D1C5E6",
        "event_code": "ITK003D",
        "document_id": "https://tools.ietf.org/html/rfc4122|123",
        "is_replacement": True,
        "bus_ack_requested": None,
        "inf_ack_requested": False,
        "response_code": "20013",
        "handler": "transfer_of_care",
        "attempts": 2,
        "due_at": later(minutes=1),
        "reason": Reason.HANDLER_ASKED,
        "decision_code": "30001",
        "decided_by": "Dr A",
        "decided_at": NOW,
        "accepted_at": NOW,
        "finished_at": NOW,
        "warnings": ("sender_reference_missing", "priority_present"),
        "duplicate_of": "20240501_FIRST",
        "differs_from_first": True,
        "linked_message_id": "20240501_LINKED",
    }

    ledger.apply([a_step(1, **changes)])

    found = ledger.get(key())
    assert {name: getattr(found, name) for name in changes} == changes
    assert (found.state, found.local_id, found.payload) == (State.ACCEPTED, "local-1", a_payload())
    ledger.apply([a_step(1, State.ACCEPTED, State.PARKED, parked_from=State.ACCEPTED)])
    assert ledger.get(key()).parked_from is State.ACCEPTED
    assert ledger.get(key()).warnings == changes["warnings"]


def test_a_step_on_a_message_that_has_moved_is_a_conflict_and_undoes_the_whole_batch(ledger):
    record(ledger, 1, 2, 3)
    ledger.apply([a_step(2, new=State.REJECTED)])

    with pytest.raises(LedgerConflict):
        ledger.apply([a_step(1, responses=[a_response(1)]), a_step(2), a_step(3, handler="h")])

    assert [ledger.get(key(number)).state for number in (1, 2, 3)] == [State.RECEIVED, State.REJECTED, State.RECEIVED]
    assert ledger.response_by(local_id="infrastructure-1") is None
    assert len(ledger.timeline(key(1))) == 1


def test_a_step_on_a_message_that_is_not_there_is_a_conflict(ledger):
    with pytest.raises(LedgerConflict):
        ledger.apply([a_step(1)])


def test_a_step_ends_the_claim(ledger):
    record(ledger, 1)
    claimed(ledger)

    ledger.apply([a_step(1, State.RECEIVED, State.RECEIVED)])

    assert claimed(ledger) == [key()]


def test_a_batch_may_mix_steps_of_different_shapes_and_move_one_message_twice(ledger):
    record(ledger, 1, 2)

    ledger.apply(
        [
            a_step(1, handler="h", responses=[a_response(1)]),
            a_step(2, new=State.REJECTED, response_code="20006", responses=[a_response(2, response_code="20006")]),
            a_step(1, State.ACCEPTED, State.COMPLETED, finished_at=NOW, responses=[a_response(1, "business")]),
        ]
    )

    assert [ledger.get(key(number)).state for number in (1, 2)] == [State.COMPLETED, State.REJECTED]
    assert [entry.outcome for entry in ledger.timeline(key(1))] == ["received", "accepted", "completed"]
    assert [each.level for each in ledger.responses_to(key(1))] == ["infrastructure", "business"]


def test_at_most_one_response_per_level_is_ever_owed(ledger):
    record(ledger, 1)
    ledger.apply([a_step(1, responses=[a_response(1)])])

    with pytest.raises(StepRefused):
        ledger.apply([a_step(1, State.ACCEPTED, State.COMPLETED, responses=[a_response(1, local_id="another")])])

    assert ledger.get(key()).state is State.ACCEPTED


def test_a_local_id_belongs_to_one_response(ledger):
    record(ledger, 1, 2)
    ledger.apply([a_step(1, responses=[a_response(1)])])

    with pytest.raises(StepRefused):
        ledger.apply([a_step(2, responses=[a_response(2, local_id="infrastructure-1")])])


def test_a_person_decides_without_holding_the_mailbox(ledger, open_another):
    ledger.hold([HERE], NOW)
    record(ledger, 1)
    ledger.apply([a_step(1)])
    ledger.apply([a_step(1, State.ACCEPTED, State.AWAITING_DECISION)])

    person = open_another("command:3")
    person.apply([a_step(1, State.AWAITING_DECISION, State.ACCEPTED, decision_code="30002", decided_by="Dr A")])

    assert ledger.get(key()).decision_code == "30002"


def test_the_timeline_cannot_be_rewritten(ledger):
    record(ledger, 1)

    with pytest.raises(sa.exc.DBAPIError), ledger._database._writer.begin() as connection:
        connection.execute(sa.text("UPDATE message_event SET outcome = 'nothing happened'"))

    assert ledger.timeline(key()) == [an_entry()]


# ------------------------------------------------------------------------------------------------ duplicates


@pytest.mark.parametrize("asked", ["E7D1C5E6-AA", "e7d1c5e6-aa", "urn:uuid:E7D1C5E6-AA", " urn:uuid:e7d1c5e6-aa\n"])
def test_an_accepted_message_is_known_by_its_id_in_any_spelling(ledger, asked):
    record(ledger, 1)
    ledger.apply([a_step(1, message_header_id="urn:uuid:E7D1c5e6-AA", accepted_at=NOW)])

    assert ledger.is_accepted(HERE, HOSPITAL, asked).key == key()


def test_known_means_accepted_in_the_same_mailbox_from_the_same_sender(ledger):
    record(ledger, 1, 2)
    ledger.apply([a_step(1, message_header_id="A"), a_step(2, new=State.REJECTED, message_header_id="B")])

    assert ledger.is_accepted(HERE, HOSPITAL, "A")
    assert ledger.is_accepted(HERE, HOSPITAL, "B") is None
    assert ledger.is_accepted(THERE, HOSPITAL, "A") is None
    assert ledger.is_accepted(HERE, "X26HC002", "A") is None
    assert ledger.is_accepted(HERE, None, "A") is None


def test_no_sender_equals_no_sender(ledger):
    ledger.record_received(a_message(1, sender_mailbox_id=None), an_entry())
    ledger.apply([a_step(1, message_header_id="A")])

    assert ledger.is_accepted(HERE, None, "A")


def test_a_message_stays_known_whatever_becomes_of_it_afterwards(ledger):
    record(ledger, 1)
    ledger.apply([a_step(1, message_header_id="A")])
    ledger.apply([a_step(1, State.ACCEPTED, State.PARKED)])

    assert ledger.is_accepted(HERE, HOSPITAL, "A").state is State.PARKED


def test_the_first_accepted_one_is_named(ledger):
    record(ledger, 1, 2)
    ledger.apply([a_step(2, message_header_id="A", accepted_at=NOW)])
    ledger.apply([a_step(1, message_header_id="A", accepted_at=later(hours=1))])

    assert ledger.is_accepted(HERE, HOSPITAL, "A").key == key(2)


def test_both_ids_are_asked_for_at_once(ledger):
    record(ledger, 1, 2, 3)
    ledger.apply(
        [
            a_step(1, message_header_id="A", document_id="s|A", accepted_at=later(hours=1)),
            a_step(2, message_header_id="B", document_id="s|B"),
            a_step(3, message_header_id="B", document_id="s|A", accepted_at=later(hours=2)),
        ]
    )

    def known(*asked: str | None) -> list[int | None]:
        found = ledger.accepted_before(*asked)
        assert found == tuple(each and ledger.get(each.key) for each in found)
        return [each and int(each.key.mesh_message_id[14:20]) for each in found]

    assert known(HERE, HOSPITAL, "urn:uuid:a", "s|b") == [1, 2]
    assert known(HERE, HOSPITAL, "B", "s|A") == [2, 1]
    assert known(HERE, HOSPITAL, "C", "s|A") == [None, 1]
    assert known(HERE, HOSPITAL, None, None) == [None, None]
    assert known(HERE, HOSPITAL, "A", None) == [1, None]
    assert known(HERE, None, "A", "s|A") == [None, None]
    assert known(THERE, HOSPITAL, "A", "s|A") == [None, None]


def test_a_document_is_known_by_system_and_value(ledger):
    record(ledger, 1)
    ledger.apply([a_step(1, document_id="https://tools.ietf.org/html/rfc4122|URN:UUID:AbC")])

    assert ledger.accepted_before(HERE, HOSPITAL, None, "https://tools.ietf.org/html/rfc4122|abc")[1].key == key()
    assert ledger.accepted_before(HERE, HOSPITAL, None, "|abc")[1] is None
    assert ledger.accepted_before(THERE, HOSPITAL, None, "https://tools.ietf.org/html/rfc4122|abc")[1] is None
