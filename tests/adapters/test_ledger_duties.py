"""The ledger's contract on both engines: what is still owed, what a person has yet to see, and that nothing follows a
negative infrastructure response whatever the stages do.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import Entry, ResponseChanges, ResponseStep, StepRefused
from mesh_itk3.reasons import Reason
from support.ledger_rows import HERE, NOW, THERE, a_response, a_step, an_entry, key, later, owe_both, record, send

OWED, SENT = ResponseState.OWED, ResponseState.SENT
DELIVERED, UNDELIVERED = ResponseState.DELIVERED, ResponseState.UNDELIVERED


def an_act(who: str = "Jo Smith") -> Entry:
    return Entry(at=later(hours=1), stage="seen", outcome="seen", who=who)


def reject(ledger, number: int, *, responses=(), **changes) -> None:
    record(ledger, number)
    ledger.apply([a_step(number, new=State.REJECTED, responses=responses, **changes)])


def raise_it(ledger, local_id: str, *, reason=Reason.NEVER_ACKNOWLEDGED) -> None:
    ledger.apply_responses([ResponseStep(local_id, SENT, SENT, None, {"raised_at": NOW, "reason": reason})])


# ------------------------------------------------------------------------------------------------ nothing follows a negative


def test_a_rejected_message_takes_no_business_response(ledger):
    record(ledger, 1)
    with pytest.raises(StepRefused):
        ledger.apply([a_step(1, new=State.REJECTED, responses=[a_response(1, "business")])])
    assert ledger.get(key(1)).state is State.RECEIVED
    assert ledger.responses_to(key(1)) == ()


def test_a_negative_infrastructure_response_takes_no_business_response_whatever_the_state_says(ledger):
    record(ledger, 1)
    ledger.apply([a_step(1, responses=[a_response(1, response_code="20009")])])
    with pytest.raises(StepRefused):
        ledger.apply([a_step(1, State.ACCEPTED, State.COMPLETED, responses=[a_response(1, "business")])])
    assert [each.level for each in ledger.responses_to(key(1))] == ["infrastructure"]


def test_a_message_with_a_business_response_takes_no_negative(ledger):
    record(ledger, 1)
    ledger.apply([a_step(1, responses=[a_response(1, "business")])])
    with pytest.raises(StepRefused):
        ledger.apply([a_step(1, State.ACCEPTED, State.COMPLETED, responses=[a_response(1, response_code="20009")])])


def test_a_message_with_a_business_response_cannot_be_rejected(ledger):
    record(ledger, 1)
    ledger.apply([a_step(1, State.RECEIVED, State.RECEIVED, responses=[a_response(1, "business")])])
    with pytest.raises(StepRefused):
        ledger.apply([a_step(1, new=State.REJECTED)])
    assert ledger.get(key(1)).state is State.RECEIVED


@pytest.mark.parametrize("level", ["infrastructure", "business"])
def test_a_second_response_of_a_level_is_refused_and_undoes_its_step(ledger, level):
    record(ledger, 1)
    ledger.apply([a_step(1, responses=[a_response(1, level)])])
    again = replace(a_response(2, level), local_id="another")
    with pytest.raises(StepRefused):
        ledger.apply([a_step(1, State.ACCEPTED, State.COMPLETED, responses=[again])])
    assert ledger.get(key(1)).state is State.ACCEPTED
    assert [each.local_id for each in ledger.responses_to(key(1))] == [f"{level}-1"]


def test_the_same_mesh_id_in_another_mailbox_is_another_message(ledger):
    reject(ledger, 1)
    record(ledger, 1, mailbox_id=THERE)
    ledger.apply([a_step(1, mailbox_id=THERE)])
    business = replace(a_response(9, "business"), local_id="there")
    ledger.apply([a_step(1, State.ACCEPTED, State.COMPLETED, responses=[business], mailbox_id=THERE)])
    assert [each.local_id for each in ledger.responses_to(key(1, THERE))] == ["there"]


# ------------------------------------------------------------------------------------------------ what a person has to see


def test_what_stands_is_listed_oldest_first_until_a_person_has_seen_it(ledger):
    reject(ledger, 2, sender_not_told=True)
    reject(ledger, 1, differs_from_first=True, duplicate_of="first")
    reject(ledger, 3)

    assert [found.key for found in ledger.unseen().messages] == [key(2), key(1)]
    assert ledger.mark_seen(key(2), an_act()) == 1

    assert [found.key for found in ledger.unseen([HERE]).messages] == [key(1)]
    assert ledger.unseen([THERE]).messages == ()
    seen = ledger.get(key(2))
    assert (seen.seen_at, seen.seen_by, seen.sender_not_told) == (later(hours=1), "Jo Smith", True)
    assert ledger.timeline(key(2))[-1] == an_act()


def test_seeing_it_twice_writes_nothing_more(ledger):
    reject(ledger, 1, sender_not_told=True)
    assert [ledger.mark_seen(key(1), an_act()), ledger.mark_seen(key(1), an_act("another"))] == [1, 0]
    assert ledger.get(key(1)).seen_by == "Jo Smith"
    assert [entry.who for entry in ledger.timeline(key(1))].count("another") == 0


def test_nothing_stands_about_an_ordinary_message(ledger):
    owe_both(ledger, 1)
    assert ledger.mark_seen(key(1), an_act()) == 0
    assert ledger.mark_seen(key(9), an_act()) == 0


def test_responses_that_went_wrong_stand_until_seen(ledger):
    for number in (1, 2, 3):
        owe_both(ledger, number)
    send(ledger, "infrastructure-1")
    raise_it(ledger, "infrastructure-1")
    ledger.apply_responses([ResponseStep("infrastructure-2", OWED, UNDELIVERED, None, {"status_code": "14"})])
    ledger.apply_responses([ResponseStep("infrastructure-3", OWED, ResponseState.PARKED, an_entry("refused"))])

    standing = [(each.local_id, each.status_code) for each in ledger.unseen().responses]
    assert standing == [
        ("infrastructure-1", None),
        ("infrastructure-2", "14"),
        ("infrastructure-3", None),
        ("business-3", None),
    ]
    assert ledger.mark_seen(key(3), an_act()) == 2
    assert ledger.mark_seen(key(2), an_act()) == 1
    assert [each.local_id for each in ledger.unseen().responses] == ["infrastructure-1"]


def test_a_response_that_was_seen_and_is_then_given_up_by_mesh_stands_again(ledger):
    owe_both(ledger, 1)
    send(ledger, "infrastructure-1")
    raise_it(ledger, "infrastructure-1")
    ledger.mark_seen(key(1), an_act())
    ledger.apply_responses([ResponseStep("infrastructure-1", SENT, UNDELIVERED, None, {"seen_at": None})])
    assert [each.local_id for each in ledger.unseen().responses] == ["infrastructure-1"]


# ------------------------------------------------------------------------------------------------ what is still owed


def test_responses_are_outstanding_until_delivered_or_seen(ledger):
    for number in (1, 2):
        owe_both(ledger, number)
    for local_id in ("infrastructure-1", "business-1", "infrastructure-2"):
        send(ledger, local_id)
    ledger.apply_responses([ResponseStep("infrastructure-1", SENT, DELIVERED)])
    raise_it(ledger, "infrastructure-2")

    def outstanding() -> list[str]:
        return [each.local_id for each in ledger.outstanding_responses()]

    assert outstanding() == ["business-1", "infrastructure-2", "business-2"]
    ledger.mark_seen(key(2), an_act())
    assert outstanding() == ["business-1", "business-2"]
    assert ledger.outstanding_responses([THERE]) == []


def test_a_response_is_overdue_once_while_it_is_sent_and_not_raised(ledger):
    for number in (1, 2, 3):
        owe_both(ledger, number)
        send(ledger, f"infrastructure-{number}", sent_at=later(hours=number))
    ledger.apply_responses([ResponseStep("infrastructure-1", SENT, DELIVERED)])

    def overdue(hours: float) -> list[str]:
        return [each.local_id for each in ledger.overdue_responses([HERE], later(hours=hours), 10)]

    assert overdue(2) == []
    assert overdue(4) == ["infrastructure-2", "infrastructure-3"]
    raise_it(ledger, "infrastructure-2")
    assert overdue(4) == ["infrastructure-3"]
    assert ledger.overdue_responses([THERE], later(hours=4), 10) == []


def test_with_those_overdue_come_those_whose_times_have_yet_to_come_raised_or_not(ledger):
    for number in (1, 2, 3, 4):
        owe_both(ledger, number)
        send(ledger, f"infrastructure-{number}", sent_at=later(hours=number))
    raise_it(ledger, "infrastructure-4")
    asked = ResponseChanges(tracked_at=later(hours=9))
    ledger.apply_responses([ResponseStep("infrastructure-2", SENT, SENT, None, asked)])

    def found(*, noted_after: datetime | None) -> list[str]:
        found = ledger.overdue_responses([HERE], later(hours=1.5), 10, noted_after=noted_after)
        return [each.local_id for each in found]

    assert found(noted_after=None) == ["infrastructure-1"]
    assert found(noted_after=later(hours=3)) == ["infrastructure-1", "infrastructure-2", "infrastructure-4"]
    assert found(noted_after=later(hours=9)) == ["infrastructure-1"]


def test_messages_that_wait_are_listed_oldest_first_by_state_and_mailbox(ledger):
    record(ledger, 2, 1, 3)
    record(ledger, 4, mailbox_id=THERE)
    ledger.apply([a_step(number) for number in (1, 2)])
    ledger.apply([a_step(2, State.ACCEPTED, State.AWAITING_DECISION, deferred_at=NOW, reminded_at=later(hours=1))])

    assert [found.key for found in ledger.waiting([State.RECEIVED, State.AWAITING_DECISION])] == [key(2), key(3), key(4, THERE)]
    (found,) = ledger.waiting([State.AWAITING_DECISION], [HERE])
    assert (found.deferred_at, found.reminded_at) == (NOW, later(hours=1))


def test_what_answers_a_response_of_ours_is_found_from_it(ledger):
    owe_both(ledger, 1)
    record(ledger, 2, 3)
    ledger.apply([a_step(2, new=State.CORRELATED, answers_local_id="business-1")])
    ledger.apply([a_step(3, new=State.UNCORRELATED)])

    assert [found.key for found in ledger.answers_to(["infrastructure-1", "business-1"])] == [key(2)]
    assert ledger.answers_to(["nothing"]) == ledger.answers_to([]) == []
