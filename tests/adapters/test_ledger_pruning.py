"""Retention in the ledger: what may go, and all that may not. On both engines."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta

import pytest
import sqlalchemy as sa

from mesh_itk3.adapters.ledger import migrate, open_ledger
from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import Entry, Expired, LedgerConflict, Prunable, ResponseStep
from support.ledger_rows import HERE, NOW, THERE, a_payload, a_response, a_step, an_entry, key, later, owe_both, record, send

OLD = later(days=100)
"""When it is pruned: everything of NOW is older than the rules below."""
BEFORE = OLD - timedelta(days=30)
PRUNED = Entry(at=OLD, stage="prune", outcome="payload_pruned")


@pytest.fixture
def empty_url(tmp_path) -> str:
    """SQLite; at the end some of it on PostgreSQL, where each test costs half a second."""
    return f"sqlite:///{tmp_path}/ledger.db"


def finish(ledger, number=1, **changes):
    """Completed, with nothing asked for."""
    record(ledger, number)
    ledger.record_acknowledged([key(number)], NOW)
    ledger.apply([a_step(number)])
    ledger.apply([a_step(number, State.ACCEPTED, State.COMPLETED, finished_at=NOW, **changes)])


def let_go(ledger, state=State.COMPLETED, before=BEFORE, limit=100, mailbox_ids=(HERE,)):
    return [payload.name for payload in ledger.let_go_of_payloads(state, before, mailbox_ids, limit, PRUNED)]


def move(ledger, local_id, old, new, **changes):
    ledger.apply_responses([ResponseStep(local_id, old, new, an_entry(new.value), changes)])


def answered(ledger, number=1):
    """Completed, both responses on their way."""
    owe_both(ledger, number)
    ledger.record_acknowledged([key(number)], NOW)
    database = ledger._database
    with database.writing() as connection:
        connection.execute(sa.text("UPDATE message SET finished_at = accepted_at"))
    for level in ("infrastructure", "business"):
        send(ledger, f"{level}-{number}")


def test_a_message_that_is_settled_lets_go_of_its_payload_and_keeps_its_ids_size_and_digest(ledger):
    finish(ledger)

    assert let_go(ledger) == [a_payload(1).name]

    found = ledger.get(key(1))
    assert (found.payload, found.pruned.at, found.pruned.bytes) == (None, OLD, a_payload(1).bytes)
    assert found.sha256 == a_payload(1).sha256
    assert ledger.timeline(key(1))[-1] == PRUNED
    assert let_go(ledger) == []


def test_what_is_younger_than_the_rule_keeps_its_payload(ledger):
    finish(ledger)

    assert let_go(ledger, before=NOW) == []
    assert let_go(ledger, before=NOW + timedelta(seconds=2)) == [a_payload(1).name]


def test_one_step_takes_no_more_than_it_is_told_and_the_oldest_first(ledger):
    for number in (1, 2, 3):
        finish(ledger, number)

    assert [len(let_go(ledger, limit=2)), len(let_go(ledger, limit=2))] == [2, 1]


def test_other_states_and_other_mailboxes_keep_theirs(ledger):
    finish(ledger)

    assert let_go(ledger, State.REJECTED) == []
    assert let_go(ledger, mailbox_ids=(THERE,)) == []


@pytest.mark.parametrize("state", [State.RECEIVED, State.ACCEPTED, State.AWAITING_DECISION, State.PARKED])
def test_what_is_not_settled_never_lets_go_even_if_it_were_asked_to(ledger, state):
    record(ledger, 1)
    if state is not State.RECEIVED:
        ledger.apply([a_step(1)])
    if state not in (State.RECEIVED, State.ACCEPTED):
        ledger.apply([a_step(1, State.ACCEPTED, state)])

    with ledger._database.writing() as connection:
        connection.execute(sa.text("UPDATE message SET finished_at = received_at"))

    assert let_go(ledger, state) == []
    assert prune_events(ledger) == 0


def test_a_message_whose_response_is_owed_or_on_its_way_keeps_its_payload(ledger):
    owe_both(ledger)
    with ledger._database.writing() as connection:
        connection.execute(sa.text("UPDATE message SET finished_at = accepted_at"))
    assert let_go(ledger) == []

    send(ledger, "infrastructure-1")
    send(ledger, "business-1")
    assert let_go(ledger) == []

    move(ledger, "infrastructure-1", ResponseState.SENT, ResponseState.DELIVERED)
    assert let_go(ledger) == []

    move(ledger, "business-1", ResponseState.SENT, ResponseState.DELIVERED)
    assert let_go(ledger) == [a_payload(1).name]


@pytest.mark.parametrize("lost", [ResponseState.UNDELIVERED, "raised", "refused"])
def test_a_response_that_went_wrong_keeps_the_payload_until_a_person_has_seen_it(ledger, lost):
    answered(ledger)
    move(ledger, "infrastructure-1", ResponseState.SENT, ResponseState.DELIVERED)
    if lost is ResponseState.UNDELIVERED:
        move(ledger, "business-1", ResponseState.SENT, ResponseState.UNDELIVERED)
    elif lost == "raised":
        move(ledger, "business-1", ResponseState.SENT, ResponseState.SENT, raised_at=NOW)
    else:
        move(ledger, "business-1", ResponseState.SENT, ResponseState.DELIVERED, raised_at=NOW)
    assert let_go(ledger) == []
    assert ledger.prune_response_bytes(BEFORE, (HERE,), 10, OLD) == 1, "the infrastructure response's alone"

    ledger.mark_seen(key(1), Entry(at=NOW, stage="seen", outcome="seen", who="Jo"))
    assert let_go(ledger) == [a_payload(1).name]


@pytest.mark.parametrize("standing", [{"sender_not_told": True}, {"differs_from_first": True, "duplicate_of": "first"}])
def test_what_stands_in_status_keeps_its_payload_until_a_person_has_seen_it(ledger, standing):
    record(ledger, 1)
    ledger.apply([a_step(1, State.RECEIVED, State.REJECTED, finished_at=NOW, **standing)])
    assert let_go(ledger, State.REJECTED) == []

    ledger.mark_seen(key(1), Entry(at=NOW, stage="seen", outcome="seen", who="Jo"))
    assert let_go(ledger, State.REJECTED) == [a_payload(1).name]


def test_the_first_of_a_duplicate_that_differs_is_kept_to_be_compared(ledger):
    finish(ledger, 1)
    record(ledger, 2)
    differs = {"differs_from_first": True, "duplicate_of": key(1).mesh_message_id}
    ledger.apply([a_step(2, State.RECEIVED, State.REJECTED, finished_at=NOW, **differs)])
    assert let_go(ledger) == []

    ledger.mark_seen(key(2), Entry(at=NOW, stage="seen", outcome="seen", who="Jo"))
    assert let_go(ledger) == [a_payload(1).name]


def test_one_that_was_acknowledged_lately_may_come_again_and_keeps_its_payload(ledger):
    finish(ledger)
    ledger.record_acknowledged([key(1)], OLD - timedelta(days=1))

    assert let_go(ledger) == []


def test_one_in_progress_keeps_its_payload(ledger):
    finish(ledger)
    with ledger._database.writing() as connection:
        connection.execute(sa.text("UPDATE message SET claimed_at = received_at"))

    assert let_go(ledger) == []


def test_a_pruned_message_is_still_known_as_accepted_and_as_redelivered(ledger):
    finish(ledger, message_header_id="AAAA", document_id="urn:s|1")
    let_go(ledger)

    assert ledger.known(HERE, [key(1).mesh_message_id])[key(1).mesh_message_id].pruned is not None
    by_message, by_document = ledger.accepted_before(HERE, "X26HC001", "aaaa", "urn:s|1")
    assert (by_message.key, by_document.key) == (key(1), key(1))


def test_bytes_that_come_again_are_named_again(ledger):
    finish(ledger)
    let_go(ledger)

    ledger.replace_payload(key(1), a_payload(9), an_entry("downloaded_again"))

    assert (ledger.get(key(1)).payload, ledger.get(key(1)).pruned) == (a_payload(9), None)


def test_bytes_of_delivered_responses_go_and_the_responses_are_still_found(ledger):
    answered(ledger)
    move(ledger, "infrastructure-1", ResponseState.SENT, ResponseState.DELIVERED)

    assert ledger.prune_response_bytes(BEFORE, (HERE,), 10, OLD) == 1
    assert ledger.prune_response_bytes(BEFORE, (HERE,), 10, OLD) == 0

    gone = ledger.response_by(mesh_message_id="MESH-infrastructure-1")
    assert (gone.body, gone.body_pruned_at) == (b"", OLD)
    assert ledger.response_by(local_id="business-1").body == a_response().body


def test_an_owed_response_without_bytes_is_never_handed_out_to_be_sent(ledger):
    owe_both(ledger)
    with ledger._database.writing() as connection:
        connection.execute(sa.text("DELETE FROM response_body WHERE local_id = 'infrastructure-1'"))

    assert "infrastructure-1" not in {each.local_id for each in ledger.claim_responses(HERE, NOW, 10)}


def prune_events(ledger, before=BEFORE, limit=2):
    count, after = 0, 0
    while after is not None:
        some, after = ledger.prune_events(before, (HERE,), after, limit, OLD)
        count += some
    return count


def test_lines_of_settled_messages_go_in_bounded_steps_and_the_message_says_so(ledger):
    for number in (1, 2, 3):
        finish(ledger, number)

    assert prune_events(ledger) == 9
    assert ledger.timeline(key(2)) == []
    assert ledger.get(key(2)).events_pruned_at == OLD
    assert prune_events(ledger) == 0


def test_lines_of_what_is_not_settled_stay_and_so_do_young_ones(ledger):
    finish(ledger, 1)
    record(ledger, 2)
    owe_both(ledger, 3)
    let_go(ledger)

    prune_events(ledger)

    assert ledger.timeline(key(1)) == [PRUNED]
    assert len(ledger.timeline(key(2))) == 1
    assert len(ledger.timeline(key(3))) == 3
    assert ledger.get(key(2)).events_pruned_at is None


def test_the_dry_run_counts_exactly_what_goes(ledger):
    for number in (1, 2):
        finish(ledger, number)
    record(ledger, 4)
    ledger.apply([a_step(4, State.RECEIVED, State.REJECTED, finished_at=NOW)])
    rules = Expired({State.COMPLETED: BEFORE, State.REJECTED: BEFORE, State.CORRELATED: BEFORE}, BEFORE, BEFORE)

    foreseen = ledger.prunable(rules, (HERE,))

    size = a_payload(1).bytes + a_payload(2).bytes
    assert foreseen == [
        Prunable("payloads", 2, size, NOW, State.COMPLETED),
        Prunable("payloads", 1, a_payload(4).bytes, NOW, State.REJECTED),
        Prunable("events", 8, None, NOW),
    ]
    assert [len(let_go(ledger)), len(let_go(ledger, State.REJECTED)), prune_events(ledger)] == [2, 1, 8]
    assert ledger.prunable(rules, (HERE,)) == []


def test_the_dry_run_counts_nothing_for_which_there_is_no_rule(ledger):
    answered(ledger)
    for level in ("infrastructure", "business"):
        move(ledger, f"{level}-1", ResponseState.SENT, ResponseState.DELIVERED)

    def foreseen(*rules):
        return [each.kind for each in ledger.prunable(Expired(*rules), (HERE,))]

    payloads = {State.COMPLETED: BEFORE}
    assert foreseen(payloads, BEFORE, BEFORE) == ["payloads", "events", "response_bytes"]
    assert [foreseen(payloads, None, None), foreseen({}, BEFORE, None), foreseen({}, None, BEFORE)] == [
        ["payloads"], ["events"], ["response_bytes"],
    ]  # fmt: skip


def test_two_messages_never_name_one_file(ledger):
    """What keeps a file from going with one of two: the ledger does not take the second."""
    finish(ledger)
    assert let_go(ledger) == [a_payload(1).name]
    record(ledger, 2)
    with pytest.raises(LedgerConflict):
        ledger.replace_payload(key(1), a_payload(2), an_entry("downloaded_again"))


@pytest.mark.postgres
@pytest.mark.parametrize(
    "test",
    [
        test_a_message_whose_response_is_owed_or_on_its_way_keeps_its_payload,
        test_the_first_of_a_duplicate_that_differs_is_kept_to_be_compared,
        test_bytes_of_delivered_responses_go_and_the_responses_are_still_found,
        test_lines_of_settled_messages_go_in_bounded_steps_and_the_message_says_so,
        test_the_dry_run_counts_exactly_what_goes,
    ],
)
def test_all_this_holds_on_postgresql_too(new_postgresql, test):
    migrate(new_postgresql, NOW)
    with closing(open_ledger(new_postgresql, owner="this:1")) as ledger:
        test(ledger)
