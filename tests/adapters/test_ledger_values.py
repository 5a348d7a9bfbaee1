"""The ledger's contract on both engines: what senders write into ids, however long and whatever it is."""

import hashlib
import random
import string
from contextlib import closing

import pytest

from mesh_itk3.adapters.ledger import migrate, open_ledger
from mesh_itk3.lifecycle import State
from mesh_itk3.ports import StepRefused
from support.ledger_rows import HERE, HOSPITAL, NOW, a_message, a_response, a_step, an_entry, claimed, key, later, record

LONG = "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=20_000))
"""Of one kind that does not compress, as PostgreSQL tries to do first."""


def test_ids_of_any_length_are_held_and_known_again(ledger):
    record(ledger, 1, 2)
    long = {"message_header_id": LONG, "document_id": f"urn:ietf:rfc:3986|{LONG}", "event_code": LONG}

    ledger.apply([a_step(1, **long), a_step(2)])

    assert ledger.get(key(1)).message_header_id == LONG
    assert ledger.is_accepted(HERE, HOSPITAL, f"urn:uuid:{LONG.upper()}").key == key(1)
    assert ledger.is_accepted(HERE, HOSPITAL, f"{LONG}0") is None
    assert ledger.accepted_before(HERE, HOSPITAL, None, long["document_id"])[1].key == key(1)
    assert [found.key for found in ledger.find(LONG)] == [key(1)]


def test_no_id_can_be_made_to_look_like_another_ones_digest(ledger):
    record(ledger, 1)
    ledger.apply([a_step(1, message_header_id=LONG)])

    digest = "sha256:" + hashlib.sha256(LONG.lower().encode()).hexdigest()

    assert ledger.is_accepted(HERE, HOSPITAL, digest) is None


@pytest.mark.parametrize("local_id", [LONG, "x" * 63, "x" * 65])
def test_a_local_id_of_any_length_is_held_and_found(ledger, local_id):
    headers = dict.fromkeys(("workflow_id", "sender_mailbox_id", "linked_message_id"), LONG)
    ledger.record_received(a_message(1, local_id=local_id, **headers), an_entry())

    assert [found.key for found in ledger.find(local_id)] == [key(1)]
    assert ledger.find("another" + local_id) == []


@pytest.mark.parametrize("odd", ["a\x00b", "a\ud800b"], ids=["nul", "surrogate"])
def test_asking_for_an_id_that_is_no_text_finds_nothing(ledger, odd):
    assert ledger.is_accepted(HERE, HOSPITAL, odd) is None
    assert ledger.accepted_before(HERE, HOSPITAL, None, f"{odd}|{odd}")[1] is None


def test_a_step_with_a_value_that_cannot_be_held_is_refused_and_undoes_its_batch(ledger):
    record(ledger, 1, 2)
    claimed(ledger)

    with pytest.raises(StepRefused) as refused:
        ledger.apply([a_step(1, responses=[a_response(1)]), a_step(2, event_code="SMITH\ud800")])

    assert [ledger.get(key(number)).state for number in (1, 2)] == [State.RECEIVED, State.RECEIVED]
    assert "SMITH" not in str(refused.value)
    assert refused.value.__suppress_context__
    ledger.apply([a_step(1, responses=[a_response(1)])])
    ledger.apply([a_step(2, State.RECEIVED, State.RECEIVED, attempts=1, due_at=later(minutes=1))])


def test_a_message_whose_headers_cannot_be_held_is_refused_by_itself(ledger):
    with pytest.raises(StepRefused):
        ledger.record_received(a_message(1, local_id="\ud800"), an_entry())

    record(ledger, 2)
    assert ledger.get(key(1)) is None


@pytest.mark.postgres
def test_what_only_postgresql_refuses_is_a_fault_of_the_step_too(new_postgresql):
    migrate(new_postgresql, NOW)
    with closing(open_ledger(new_postgresql, owner="this:1")) as ledger:
        record(ledger, 1)
        too_long_for_an_index = a_response(1, local_id=LONG)

        for refused in (a_step(1, event_code="a\x00b"), a_step(1, responses=[too_long_for_an_index])):
            with pytest.raises(StepRefused):
                ledger.apply([refused])
