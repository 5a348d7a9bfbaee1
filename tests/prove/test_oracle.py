"""The oracle over evidence made by hand: what must never be is said, what may be is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mesh_itk3.simulator.prove.evidence import Call, Evidence, Held, Letter, Message, Row, RowResponse, Sending
from mesh_itk3.simulator.prove.operator_oracle import Act, of_an_act
from mesh_itk3.simulator.prove.oracle import at_any_time, in_the_end, of_a_service, of_one_round

HOSPITAL = "X26ABC1"
MESSAGE = Message("M1", "sha-of-letter", "h1", ("20013", "30001"), is_filed=True, state="completed")
REFUSED = Message("M2", "sha-of-refused", "h2", ("10010",), is_filed=False, state="rejected")
FOREIGN = Message("M3", "sha-of-foreign", None, (), is_filed=False, state="foreign", is_foreign=True)
AGAIN = Message("M4", "sha-of-letter", "h1", ("20007",), is_filed=False, state="rejected")
FIRST = Sending("r1", "sha-1", HOSPITAL, "20013", "h1")
SECOND = Sending("r2", "sha-2", HOSPITAL, "30001", "h1")
OWED = RowResponse("r1", "owed", "sha-1")
ALTERED = RowResponse("r1", "sent", "other")
LETTER = Letter("h1", "M1", "sha-of-letter")
ROW = Row("completed", "sha-of-letter", responses=(RowResponse("r1", "sent", "sha-1"), RowResponse("r2", "sent", "sha-2")))


def evidence(sent=(MESSAGE,), inbox=None, sendings=(FIRST, SECOND), rows=None, letters=(LETTER,)):
    return Evidence(
        HOSPITAL,
        sent,
        {"M1": "acknowledged"} if inbox is None else inbox,
        sendings,
        {"M1": ROW} if rows is None else rows,
        letters,
    )


def names(violations):
    return {each.invariant for each in violations}


def test_a_trial_in_which_all_went_well_violates_nothing():
    assert in_the_end(evidence()) == []


@pytest.mark.parametrize(
    ("found", "violated"),
    [
        (evidence(inbox={}, rows={}, sendings=(), letters=()), {"lost"}),
        (evidence(rows={}, sendings=(), letters=()), {"lost"}),
        (evidence(rows={"M1": replace(ROW, file_sha256=None)}), {"acknowledged, not durable"}),
        (evidence(rows={"M1": replace(ROW, file_sha256="other")}), {"acknowledged, not durable"}),
        (evidence((FOREIGN,), {"M3": "acknowledged"}, (), {"M3": Row("foreign", None)}, ()), {"foreign touched"}),
        (evidence(sendings=(FIRST, replace(FIRST, local_id="r3"))), {"second response"}),
        (evidence(sendings=(FIRST, replace(FIRST, sha256="other"))), {"repeated differently"}),
        (evidence(sendings=(replace(FIRST, code="20014"),)), {"wrong code"}),
        (evidence(sendings=(replace(FIRST, answers="h9"),)), {"answers nothing"}),
        (evidence(sendings=(replace(FIRST, to="X26ABC3"),)), {"answers nothing"}),
        (evidence(sendings=(SECOND, FIRST)), {"business before infrastructure"}),
        (evidence(letters=(LETTER, replace(LETTER, path="h1--2"))), {"second letter"}),
        (evidence(letters=(replace(LETTER, sha256="other"),)), {"wrong letter"}),
        (evidence(letters=(replace(LETTER, missing=("letter.html",)),)), {"wrong letter"}),
        (evidence(letters=(replace(LETTER, mesh_message_id="M9"),)), {"wrong letter"}),
    ],
    ids=[
        "neither in inbox nor in ledger", "without row", "without file", "with other bytes",
        "foreign acknowledged", "two of one level", "one with two bodies", "another code", "answers what nobody sent",
        "to somebody else", "business first", "two letters", "letter of other bytes", "half a letter", "letter of nobody",
    ],
)  # fmt: skip
def test_what_must_never_be_is_said_after_any_kill(found, violated):
    assert names(at_any_time(found)) == violated


@pytest.mark.parametrize(
    ("found", "violated"),
    [
        (evidence(sendings=(FIRST,)), {"missing response", "ledger disagrees"}),
        (evidence(letters=()), {"missing letter"}),
        (evidence(inbox={"M1": "accepted"}), {"no next step"}),
        (evidence(rows={"M1": replace(ROW, state="accepted")}), {"no next step"}),
        (evidence(rows={"M1": replace(ROW, is_in_progress=True)}), {"no next step"}),
        (evidence(rows={"M1": replace(ROW, is_due=True)}), {"no next step"}),
        (evidence(rows={"M1": replace(ROW, responses=(OWED, ROW.responses[1]))}), {"no next step"}),
        (evidence(rows={"M1": replace(ROW, responses=ROW.responses[:1])}), {"ledger disagrees"}),
        (evidence(rows={"M1": replace(ROW, responses=(ALTERED, ROW.responses[1]))}), {"ledger disagrees"}),
    ],
    ids=[
        "nothing on the wire", "no letter", "still in the inbox", "not finished", "in progress", "waits", "owed",
        "ledger knows nothing of it", "ledger has other bytes",
    ],
)  # fmt: skip
def test_what_is_left_undone_is_said_in_the_end_and_not_before(found, violated):
    assert names(in_the_end(found)) == violated
    assert at_any_time(found) == []


def test_a_response_that_is_repeated_with_the_same_bytes_violates_nothing():
    assert in_the_end(evidence(sendings=(FIRST, FIRST, SECOND))) == []


def test_what_is_in_the_inbox_may_be_in_the_ledger_or_not():
    for rows in ({}, {"M1": Row("received", "sha-of-letter")}):
        assert at_any_time(evidence(inbox={"M1": "accepted"}, rows=rows, sendings=(), letters=())) == []


def test_a_business_response_after_a_refusal_is_named_as_such():
    refusal = Sending("r1", "sha-1", HOSPITAL, "10010", "h2")
    business = Sending("r2", "sha-2", HOSPITAL, "30001", "h2")
    rows = {"M2": Row("rejected", "sha-of-refused")}
    found = at_any_time(evidence((REFUSED,), {"M2": "acknowledged"}, (refusal, business), rows, ()))
    assert names(found) == {"business after a negative"}


def test_a_decision_that_nobody_has_made_is_a_wrong_code_and_its_letter_a_wrong_one():
    waits = replace(MESSAGE, waits=True)
    assert names(at_any_time(evidence((waits,)))) == {"wrong code", "wrong letter"}
    assert at_any_time(evidence((waits,), sendings=(FIRST,), letters=())) == []


def test_what_waits_for_a_person_in_the_end_has_a_next_step():
    waits = replace(MESSAGE, codes=("20013",), is_filed=False, state="awaiting_decision", waits=True)
    row = replace(ROW, state="awaiting_decision", responses=ROW.responses[:1])
    found = evidence((waits,), sendings=(FIRST,), rows={"M1": row}, letters=())
    assert in_the_end(found) == []
    assert names(in_the_end(replace(found, sent=(replace(waits, waits=False),)))) == {"no next step"}


@pytest.mark.parametrize("filed", ["M1", "M4"])
def test_of_a_message_that_came_twice_either_may_be_the_one_that_is_filed(filed):
    duplicate = Sending("r3", "sha-3", HOSPITAL, "20007", "h1")
    other = Row("rejected", "sha-of-letter", responses=(RowResponse("r3", "sent", "sha-3"),))
    rows = {filed: ROW, ({"M1", "M4"} - {filed}).pop(): other}
    inbox = dict.fromkeys(("M1", "M4"), "acknowledged")
    sendings = (FIRST, duplicate, SECOND)
    assert in_the_end(evidence((MESSAGE, AGAIN), inbox, sendings, rows, (replace(LETTER, mesh_message_id=filed),))) == []
    both = (LETTER, replace(LETTER, path="h1--2", mesh_message_id="M4"))
    assert names(at_any_time(evidence((MESSAGE, AGAIN), inbox, sendings, rows, both))) == {"second letter"}


def test_a_third_infrastructure_response_to_a_message_that_came_twice_is_too_many():
    sendings = [replace(FIRST, local_id=f"r{n}", code=code) for n, code in enumerate(("20013", "20007", "20007"))]
    inbox = dict.fromkeys(("M1", "M4"), "acknowledged")
    rows = {"M1": ROW, "M4": Row("rejected", "sha-of-letter")}
    assert names(at_any_time(evidence((MESSAGE, AGAIN), inbox, sendings, rows))) == {"second response"}


# ------------------------------------------------------------------------------------------------ the operator

HELD = Held("accepted", frozenset({"r1"}), frozenset())
WAITS = replace(ROW, state="parked", responses=ROW.responses[:1])
PARKED = replace(ROW, responses=(replace(ROW.responses[0], state="parked"), replace(ROW.responses[1], state="parked")))


def of_a_hold(held=HELD, *, row=WAITS, sendings=(FIRST,), letters=()):
    found = evidence(rows={"M1": row}, sendings=sendings, letters=letters)
    return at_any_time(replace(found, held={"M1": held}))


def test_what_is_held_may_stand_as_it_is_and_its_written_response_goes_out():
    assert of_a_hold() == []
    assert of_a_hold(sendings=()) == []
    filed = replace(HELD, letters=frozenset({LETTER.path}))
    assert of_a_hold(filed, letters=(LETTER,)) == [], "it was killed between the letter and its commit"


@pytest.mark.parametrize(
    "what",
    [{"row": replace(WAITS, state="accepted")}, {"row": replace(WAITS, responses=ROW.responses)}, {"letters": (LETTER,)},
     {"sendings": (FIRST, SECOND)}, {"held": replace(HELD, is_abandoned=True)}],
    ids=["goes on", "is answered", "is filed", "is answered beside the ledger", "comes back from the abandoned"],
)  # fmt: skip
def test_what_is_held_and_does_not_stand_still_is_said(what):
    assert names(of_a_hold(**what)) == {"held goes on"}


def test_only_what_was_refused_or_is_held_may_be_parked():
    parked = evidence(rows={"M1": PARKED}, sendings=())
    assert names(at_any_time(parked)) == {"parked without cause"}
    assert at_any_time(replace(parked, refused=(FIRST,))) == [], "the business response waits with its infrastructure response"
    assert names(at_any_time(evidence(rows={"M1": WAITS}, sendings=(FIRST,), letters=()))) == {"parked without cause"}


@pytest.mark.parametrize(
    ("taken", "violated"),
    [
        (FIRST, set()),
        (replace(FIRST, sha256="other"), {"repeated differently"}),
        (replace(FIRST, local_id="r9"), {"repeated differently"}),
    ],
    ids=["the same", "other bytes", "another id"],
)
def test_what_was_refused_goes_out_as_it_was(taken, violated):
    assert names(at_any_time(replace(evidence(sendings=(taken, SECOND)), refused=(FIRST,)))) == violated


def test_what_was_refused_and_never_went_out_is_missing():
    found = replace(evidence(rows={"M1": PARKED}, sendings=()), refused=(FIRST,))
    assert names(in_the_end(found)) == {"missing response", "no next step", "ledger disagrees"}


def test_what_was_refused_and_given_up_with_its_message_is_settled():
    given_up = replace(PARKED, state="abandoned", responses=PARKED.responses[:1])
    message = replace(MESSAGE, codes=(), is_filed=False, state="abandoned")
    held = {"M1": replace(HELD, is_abandoned=True)}
    found = replace(evidence((message,), rows={"M1": given_up}, sendings=(), letters=()), refused=(FIRST,), held=held)
    assert in_the_end(found) == []
    assert names(in_the_end(replace(found, sendings=(FIRST,)))) == {"wrong code", "ledger disagrees"}


ACCEPTED = replace(WAITS, state="accepted")
OBEYED = [
    Act("hold", 0, ACCEPTED, WAITS),
    Act("hold", 2, ACCEPTED, WAITS, was_killed=True),
    Act("hold", 2, ROW, ROW),
    Act("hold", 1, None, None),
    Act("release", 0, WAITS, ACCEPTED, HELD),
    Act("abandon", 0, WAITS, replace(WAITS, state="abandoned"), HELD),
    Act("respond", 0, replace(WAITS, state="awaiting_decision"), ACCEPTED),
    Act("retry", 0, PARKED, ROW),
]


@pytest.mark.parametrize("act", OBEYED, ids=lambda act: f"{act.verb} {act.code}")
def test_a_command_that_did_what_it_says_or_was_refused_is_right(act):
    assert of_an_act(act) == []


@pytest.mark.parametrize(
    "act",
    [
        Act("hold", 0, ACCEPTED, ACCEPTED),
        Act("hold", 2, ACCEPTED, WAITS),
        Act("hold", 0, ROW, ROW),
        Act("hold", 2, ROW, WAITS),
        Act("hold", None, ACCEPTED, WAITS),
        Act("release", 0, WAITS, ROW, HELD),
        Act("abandon", 0, WAITS, ACCEPTED, HELD),
        Act("respond", 2, ACCEPTED, ROW),
        Act("retry", 0, PARKED, PARKED),
        Act("retry", 0, PARKED, replace(ROW, responses=(replace(ROW.responses[0], local_id="r9"), ROW.responses[1]))),
        Act("retry", 0, PARKED, replace(ROW, responses=(*ROW.responses, RowResponse("r3", "owed", "sha-3")))),
        Act("retry", 0, PARKED, replace(ROW, state="accepted")),
    ],
    ids=[
        "held nothing", "held and said no", "nothing to hold and said yes", "held what is finished", "did not end",
        "released to another state", "went on instead", "decided what did not wait", "retried nothing", "drew a new id",
        "wrote another response", "moved the message",
    ],
)  # fmt: skip
def test_a_command_that_did_something_else_is_said(act):
    assert names(of_an_act(act)) == {"operator not obeyed"}


# ------------------------------------------------------------------------------------------------ calls


def calls(verb, count, every_s=0.0):
    return [Call(at=10 + every_s * n, verb=verb) for n in range(count)]


def test_walks_and_calls_of_one_run_are_bounded():
    assert of_one_round(calls("list", 2), messages=1, is_disturbed=False) == []
    assert names(of_one_round(calls("list", 20), messages=1, is_disturbed=False)) == {"polled too soon"}
    assert of_one_round(calls("list", 20), messages=1, is_disturbed=True) == []
    assert names(of_one_round(calls("open", 1_000), messages=1, is_disturbed=True)) == {"hot loop"}


def walks(*at):
    return of_a_service([Call(each, "list") for each in at], interval_s=1, started_at=10)


def test_the_walks_of_a_service_keep_their_interval():
    assert walks(10, 11, 12, 13) == []
    assert walks(10.6, 11, 12, 13) == [], "a busy machine delayed the first"
    assert names(walks(10, 10.1)) == {"polled too soon"}
    assert names(walks(10, 10.5, 10.9)) == {"polled too soon"}
    assert walks(9.9, 10) == [], "one of a daemon that was killed before"
