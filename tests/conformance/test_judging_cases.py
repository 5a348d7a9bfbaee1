"""The judge of a conformance run: every single thing that may be wrong with a response or a record makes a case fail."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mesh_itk3.itk3.response_bundle import ResponseIds, write_response
from mesh_itk3.itk3.response_codes import BusinessCode, InfrastructureCode
from mesh_itk3.simulator.conformance.case import BOTH, Case, accepted, letter, refused
from mesh_itk3.simulator.conformance.close_reading import CHECKS, Asked, faults
from mesh_itk3.simulator.conformance.judge import Filed, Observed, Sent, differences
from mesh_itk3.simulator.correspondence import Received
from mesh_itk3.simulator.response_reader import read_response

NOW = datetime(2025, 3, 11, 10, 0, tzinfo=UTC)
HEADER_ID = "11111111-1111-4111-8111-111111111111"
TAKEN = Case("taken", "It is taken.", "standard", (accepted(letter(), *BOTH),))
REFUSED = Case("refused", "It is refused.", "standard", (refused(letter(), "10010"),))


def a_response(code, change=None, **fields):
    """A response as a practice writes it, with one thing about its bytes changed."""
    ids = ResponseIds(*(f"{code}0000-{n}000-4000-8000-000000000000"[-36:] for n in range(5)))
    kind = BusinessCode if code.startswith("3") else InfrastructureCode
    body = write_response(
        code=kind(code), issue_code=None, diagnostics="rule: Bundle.entry[0]", ids=ids, now=NOW, mailbox_id="X26GP01",
        ods_code="A81001", answers=HEADER_ID, sender_reference="None",
    )  # fmt: skip
    if change:
        changed = body.replace(*(each.encode() for each in change))
        assert changed != body, "the change found nothing to change"
        body = changed
    usual = {
        "mesh_message_id": f"M{code}", "workflow_id": "TOC_FHIR_IP_DISCH_ACK", "local_id": f"L{code}",
        "from_mailbox_id": "X26GP01", "received_at": NOW.isoformat(), "response": read_response(body), "body": body,
    }  # fmt: skip
    return Received(**(usual | fields))


ASKED = Asked(
    answer=REFUSED.steps[0].answers[0], message_header_id=HEADER_ID, workflow_id="TOC_FHIR_IP_DISCH_ACK",
    practice_mailbox_id="X26GP01", practice_ods="A81001", earliest=NOW - timedelta(minutes=1),
    latest=NOW + timedelta(minutes=1), private=("Fothergill", "9990001018"),
)  # fmt: skip


def test_a_right_response_passes_every_check():
    assert faults(a_response("10010"), ASKED) == []


WRONG = {
    "bytes": a_response("10010", body=b"\xef\xbb\xbf" + a_response("10010").body),
    "bundle": a_response("10010", ('<type value="message"/>', '<type value="collection"/>')),
    "entries": a_response("10010", ('<fullUrl value="urn:uuid:', '<fullUrl value="urn:uuid:0')),
    "header": a_response("10010", ("ITK-MessageHeader-2", "ITK-MessageHeader-1")),
    "event": a_response("10010", ('"ITK Response"', '"A response"')),
    "keys": a_response("10010", ('<extension url="LocalExtension"><valueString value="None"/></extension>', "")),
    "flags": a_response(
        "10010", ('"InfAckRequested"><valueBoolean value="false"', '"InfAckRequested"><valueBoolean value="true"')
    ),
    "definition": a_response("10010", ("ITK-Response-MessageDefinition-1", "ITK-Response-MessageDefinition-2")),
    "recipient": a_response("10010", ('"For Information"', '"For Action"')),
    "reference": a_response(
        "10010", ('"SenderReference"><valueString value="None"', '"SenderReference"><valueString value="x"')
    ),
    "sender": a_response("10010", ('"A81001"', '"A81002"')),
    "timestamp": a_response("10010", ("2025-03-11T10:00:00", "2025-03-11T11:00:00")),
    "source": a_response("10010", ('<endpoint value="X26GP01"', '<endpoint value="X26GP02"')),
    "answers": a_response("10010", (f'identifier value="{HEADER_ID}"', 'identifier value="another"')),
    "outcome": a_response("10010", ("ITK-ResponseCodes-1", "ITK-ResponseCodes-2")),
    "code": a_response("10010", ("Recipient Type - Processing Error", "Recipient type: processing error")),
    "diagnostics": a_response("10010", ('<diagnostics value="rule: Bundle.entry[0]"/>', "")),
    "privacy": a_response("10010", ("rule: Bundle", "fothergill: Bundle")),
    "mesh": a_response("10010", workflow_id="TOC_FHIR_IP_DISCH"),
}


@pytest.mark.parametrize("check", [check.name for check in CHECKS])
def test_each_check_fails_on_a_response_that_breaks_it(check):
    assert check in faults(WRONG[check], ASKED)


@pytest.mark.parametrize("body", [b"", b"<", b"\x00\xff", b"<Bundle xmlns='http://hl7.org/fhir'/>", b"{}"])
def test_whatever_comes_is_judged_without_an_error(body):
    assert faults(a_response("10010", body=body), ASKED)


# ------------------------------------------------------------------------------------------------ a whole case


def observed(*received, state="completed", filed=True, log=False, **record):
    sent = Sent(0, "M1", "TOC_FHIR_IP_DISCH", HEADER_ID, b"<letter/>")
    row = {"state": state, "responses": [{"state": "sent"} for _ in received], "warnings": [], "duplicate_of": None}
    return Observed(
        sent=(sent,), received=tuple(received), records={"M1": row | record},
        filed={"M1": Filed(has_same_bytes=True, missing=(), attachments=0)} if filed else {},
        left=frozenset(), refused=frozenset({"M1"} if log else ()), earliest=ASKED.earliest, latest=ASKED.latest,
        practice_mailbox_id="X26GP01", practice_ods="A81001", private=ASKED.private,
    )  # fmt: skip


def test_a_case_passes_when_all_is_as_it_has_to_be():
    assert differences(TAKEN, observed(a_response("20013"), a_response("30001"))) == []
    assert differences(REFUSED, observed(a_response("10010"), state="rejected", filed=False, log=True)) == []


INFRASTRUCTURE, BUSINESS = a_response("20013"), a_response("30001")


@pytest.mark.parametrize(
    ("received", "difference"),
    [
        ((INFRASTRUCTURE,), "response 2: nothing came, expected 30001"),
        ((), "response 1: nothing came, expected 20013"),
        ((INFRASTRUCTURE, BUSINESS, BUSINESS), "response 3: 30001 came, and nothing was expected"),
        ((INFRASTRUCTURE, INFRASTRUCTURE, BUSINESS), "response 2: 20013 came, expected 30001"),
        ((BUSINESS, INFRASTRUCTURE), "response 1: 30001 came, expected 20013"),
        ((a_response("10010"), BUSINESS), "response 1: 10010 came, expected 20013"),
        ((INFRASTRUCTURE, BUSINESS, replace(BUSINESS, response=None, report_of="M1")),
         "response 3: a MESH report came, and nothing was expected"),
        ((replace(INFRASTRUCTURE, response=None, body=b"?"), BUSINESS),
         "response 1: something that is no response came, expected 20013"),
    ],
    ids=["missing", "both missing", "doubled", "doubled before", "in another order", "another code", "a report", "nonsense"],
)  # fmt: skip
def test_a_response_missing_doubled_or_unexpected_fails_the_case(received, difference):
    assert difference in differences(TAKEN, observed(*received))


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"state": "parked"}, "the practice says of message 1: parked, expected completed"),
        ({"filed": False}, "message 1 was not filed, expected the contrary"),
        ({"duplicate_of": "M0"}, "the practice's record of message 1: says that it repeats another"),
        ({"sender_not_told": True}, "the practice's record of message 1: the mark that the sender was not told is wrong"),
        ({"differs_from_first": True}, "the practice's record of message 1: the mark of differing bytes is wrong"),
        ({"responses": [{"state": "sent"}, {"state": "owed"}]},
         "the practice's record of message 1: its responses are sent, owed, expected sent, sent"),
    ],
    ids=["state", "not filed", "duplicate", "not told", "differs", "still owed"],
)  # fmt: skip
def test_a_record_that_says_something_else_fails_the_case(changes, difference):
    assert differences(TAKEN, observed(INFRASTRUCTURE, BUSINESS, **changes)) == [difference]


def test_a_letter_that_is_filed_otherwise_than_it_was_sent_fails_the_case():
    wrong = replace(observed(INFRASTRUCTURE, BUSINESS), filed={"M1": Filed(False, ("letter.html",), 0)})
    assert differences(TAKEN, wrong) == [
        "message 1 was filed without letter.html",
        "the filed message 1 is not the bytes that were sent",
    ]


def test_a_refusal_that_the_log_does_not_know_fails_the_case():
    silent = observed(a_response("10010"), state="rejected", filed=False)
    assert differences(REFUSED, silent) == ["the practice's record of message 1: its refusal does not stand in the log"]


def test_an_answer_that_somebody_has_to_see_to_and_is_not_listed_fails_the_case():
    waiting = Case(
        "waits", "A person decides.", "standard", (accepted(letter(), "20013", becomes="awaiting_decision", is_filed=False),)
    )
    seen = observed(INFRASTRUCTURE, state="awaiting_decision", filed=False)
    assert differences(waiting, replace(seen, owed=frozenset({"M1"}))) == []
    assert differences(waiting, seen) == ["the practice's record of message 1: it does not stand in the list of what is owed"]


def test_a_message_still_in_mesh_is_not_taken_whatever_the_record_says():
    left = replace(observed(INFRASTRUCTURE, BUSINESS), left=frozenset({"M1"}))
    assert differences(TAKEN, left) == ["the practice says of message 1: left in MESH, expected completed"]
