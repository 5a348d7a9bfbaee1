"""PostgreSQL: one collector per mailbox under a lease, and a fence around every transaction of one that has lost it."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from mesh_itk3.adapters.ledger import migrate, open_held_ledger, open_ledger
from mesh_itk3.commands.ledger_adopt import Renewing
from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import HeldByAnother, Kind, LeaseLost, MailboxState, ResponseStep
from support.ledger_rows import HERE, NOW, THERE, a_message, a_payload, a_response, a_step, an_entry, key, later, record

pytestmark = pytest.mark.postgres

EXPIRED = timedelta(seconds=91)


@pytest.fixture
def daemons(new_postgresql):
    """Two daemons on one ledger."""
    migrate(new_postgresql, NOW)
    both = [open_ledger(new_postgresql, owner=owner) for owner in ("first:1", "second:2")]
    yield both
    for each in both:
        each.close()


def test_a_mailbox_has_one_collector_and_the_other_is_told_which(daemons):
    first, second = daemons
    first.hold([HERE], NOW)

    with pytest.raises(HeldByAnother, match="first:1"):
        second.hold([HERE], later(seconds=89))


def test_whoever_takes_up_letters_for_long_keeps_its_lease(daemons):
    first, second = daemons
    first.hold([HERE], later(days=-1))

    Renewing(first, [HERE], renewed_at=time.monotonic() - 21)()

    with pytest.raises(HeldByAnother, match="first:1"):
        second.hold([HERE], datetime.now(UTC))


def test_its_lease_is_not_renewed_at_each_of_many_letters(daemons):
    first, second = daemons
    first.hold([HERE], later(days=-1))
    Renewing(first, [HERE])()

    second.hold([HERE], NOW)


def test_two_daemons_share_the_mailboxes_of_one_ledger(daemons):
    first, second = daemons

    first.hold([HERE], NOW)
    second.hold([THERE], NOW)

    first.record_received(a_message(1, HERE), an_entry())
    second.record_received(a_message(2, THERE), an_entry())


def test_when_one_of_several_is_held_by_another_none_is_taken(daemons):
    first, second = daemons
    first.hold([THERE], NOW)

    with pytest.raises(HeldByAnother):
        second.hold([HERE, THERE], NOW)

    first.hold([HERE, THERE], NOW)


def test_a_lease_that_is_renewed_does_not_expire(daemons):
    first, second = daemons
    first.hold([HERE], NOW)
    first.hold([HERE], later(seconds=80))

    with pytest.raises(HeldByAnother):
        second.hold([HERE], NOW + EXPIRED)


def test_a_lease_that_ran_out_while_nobody_wanted_it_is_renewed_as_it_was(daemons):
    first, second = daemons
    first.hold([HERE], NOW)
    record(first, 1)
    WRITES["claim"](first)
    token = first._collectors._tokens[HERE]

    first.hold([HERE], NOW + 2 * EXPIRED)

    assert first._collectors._tokens[HERE] == token
    first.apply([a_step(1)])
    with pytest.raises(HeldByAnother):
        second.hold([HERE], NOW + 2 * EXPIRED)


@pytest.mark.parametrize("end", ["holds", "releases", "dies"])
def test_a_lease_that_another_has_had_is_never_renewed_whatever_became_of_the_other(daemons, end):
    first, second = daemons
    first.hold([HERE, THERE], NOW)
    record(first, 1)
    second.hold([HERE], NOW + EXPIRED)
    second.recover([HERE], NOW + EXPIRED)
    assert [found.key for found in WRITES["claim"](second)] == [key(1)]
    if end == "releases":
        second.release()
    at = NOW + (3 if end == "dies" else 1) * EXPIRED

    for _ in range(2):
        with pytest.raises(LeaseLost if end == "releases" else HeldByAnother):
            first.hold([HERE, THERE], at)
    with pytest.raises(LeaseLost):
        first.apply([a_step(1)])

    if end == "holds":
        second.release()
    first.release()
    first.hold([HERE, THERE], at)
    assert len(first.recover([HERE, THERE], at)) == 1


def test_a_mailbox_that_is_no_longer_named_or_was_released_is_free_at_once(daemons):
    first, second = daemons
    first.hold([HERE, THERE], NOW)

    first.hold([THERE], NOW)
    second.hold([HERE], NOW)
    first.release()
    second.hold([HERE, THERE], NOW)


def test_release_by_one_that_was_taken_over_frees_nothing(daemons):
    first, second = daemons
    first.hold([HERE], NOW)
    second.hold([HERE], NOW + EXPIRED)

    first.release()

    with pytest.raises(HeldByAnother, match="second:2"):
        first.hold([HERE], NOW + EXPIRED)


WRITES = {
    "record_received": lambda ledger: ledger.record_received(a_message(9), an_entry()),
    "replace_payload": lambda ledger: ledger.replace_payload(key(1), a_payload(8), an_entry()),
    "record_acknowledged": lambda ledger: ledger.record_acknowledged([key(1)], NOW),
    "recover": lambda ledger: ledger.recover([HERE], NOW),
    "claim": lambda ledger: ledger.claim(State.RECEIVED, (Kind.MESSAGE,), [HERE], NOW, 5),
    "apply": lambda ledger: ledger.apply([a_step(1)]),
    "claim_responses": lambda ledger: ledger.claim_responses(HERE, NOW, 5),
    "apply_responses": lambda ledger: ledger.apply_responses(
        [ResponseStep("infrastructure-2", ResponseState.OWED, ResponseState.SENT, an_entry(), {"sent_at": NOW})]
    ),
    "record_mailbox_state": lambda ledger: ledger.record_mailbox_state(MailboxState(HERE)),
    "make_all_due": lambda ledger: ledger.make_all_due([HERE]),
    "move_back": lambda ledger: ledger.move_back([HERE], timedelta(hours=1)),
}


@pytest.mark.parametrize("write", WRITES)
def test_nothing_is_committed_for_a_mailbox_whose_lease_has_passed_on(daemons, write):
    first, second = daemons
    first.hold([HERE], NOW)
    record(first, 1, 2)
    first.apply([a_step(2, responses=[a_response(2)])])
    second.hold([HERE], NOW + EXPIRED)
    before = list(second.messages())

    with pytest.raises(LeaseLost):
        WRITES[write](first)

    assert list(second.messages()) == before
    WRITES[write](second)


def test_a_lease_that_comes_back_has_a_new_token(daemons):
    first, second = daemons
    first.hold([HERE], NOW)
    tokens = [first._collectors._tokens[HERE]]
    second.hold([HERE], NOW + EXPIRED)
    tokens.append(second._collectors._tokens[HERE])
    second.release()

    first.release()
    first.hold([HERE], NOW + EXPIRED)

    tokens.append(first._collectors._tokens[HERE])
    assert tokens == sorted(set(tokens))
    record(first, 1)


def test_a_mailbox_that_was_never_held_is_not_written_by_a_collector(daemons):
    first, _ = daemons
    first.hold([HERE], NOW)

    with pytest.raises(LeaseLost):
        record(first, 1, mailbox_id=THERE)


def test_one_that_lost_its_lease_does_not_give_back_what_the_other_has_claimed(daemons):
    first, second = daemons
    first.hold([HERE], NOW)
    record(first, 1)
    claim = WRITES["claim"]
    claim(first)
    second.hold([HERE], NOW + EXPIRED)
    second.recover([HERE], NOW + EXPIRED)
    assert [found.key for found in claim(second)] == [key(1)]

    first.unclaim([key(1)])

    assert claim(second) == []


def test_a_process_takes_over_at_once_what_its_own_predecessor_could_not_give_up(daemons, new_postgresql):
    """A reload: the old daemon of this process is closed, and its lease could not be released."""
    old, another = daemons
    old.hold([HERE, THERE], NOW)
    record(old, 1)
    assert [found.key for found in WRITES["claim"](old)] == [key(1)]
    tokens = dict(old._collectors._tokens)
    helper = open_held_ledger(new_postgresql, old.held())
    new = open_ledger(new_postgresql, owner="first:1")

    new.hold([HERE, THERE], later(seconds=1))

    assert all(new._collectors._tokens[mailbox_id] > token for mailbox_id, token in tokens.items())
    for fenced in (old, helper):
        with pytest.raises(LeaseLost):
            fenced.apply([a_step(1)])
    with pytest.raises(HeldByAnother):
        old.hold([HERE, THERE], later(seconds=2))
    old.release()
    with pytest.raises(HeldByAnother, match="first:1"):
        another.hold([HERE], later(seconds=3))
    assert len(new.recover([HERE, THERE], later(seconds=4))) == 1
    for each in (helper, new):
        each.close()


def test_the_duration_of_a_lease_can_be_set(new_postgresql, daemons):
    first, second = daemons
    short = open_ledger(new_postgresql, owner="short:3", lease=timedelta(seconds=5))
    short.hold([HERE], NOW)
    with pytest.raises(HeldByAnother):
        first.hold([HERE], later(seconds=4))

    second.hold([HERE], later(seconds=5))

    short.close()


def test_a_process_that_works_for_the_holder_commits_in_its_name(daemons, new_postgresql):
    first, second = daemons
    first.hold([HERE], NOW)
    helper = open_held_ledger(new_postgresql, first.held())

    helper.record_received(a_message(1, HERE), an_entry())
    helper.close()

    with pytest.raises(HeldByAnother, match="first:1"):
        second.hold([HERE], NOW)


def test_what_works_for_one_that_has_lost_its_lease_can_commit_nothing_either(daemons, new_postgresql):
    first, second = daemons
    first.hold([HERE], NOW)
    helper = open_held_ledger(new_postgresql, first.held())
    second.hold([HERE], NOW + EXPIRED)

    with pytest.raises(LeaseLost):
        helper.record_received(a_message(1, HERE), an_entry())
    helper.close()
