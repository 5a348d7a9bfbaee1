"""Responses of other systems, old and new, read as leniently as can be; nothing is made up."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itk3.a_message import HEADER_ID, a_message, entry, event, handling, in_json
from mesh_itk3.itk3.envelope import Caps, read_message
from mesh_itk3.itk3.response_codes import BusinessCode, InfrastructureCode, level_of
from mesh_itk3.itk3.response_reading import read_response
from support.responses import a_response


def read_back(raw: bytes):
    return read_response(read_message(raw, Caps()))


def somebodys_response(codes=("30001",), **header) -> bytes:
    details = "".join(f'<issue><details><coding><code value="{code}"/></coding></details></issue>' for code in codes)
    outcome = entry(f"<OperationOutcome>{details}</OperationOutcome>", "urn:uuid:o") if codes else ""
    response = (
        '<response><identifier value="theirs"/><code value="ok"/><details><reference value="urn:uuid:o"/></details></response>'
    )
    parts = {"event": event("ITK008M", "ITK Response"), "response": response, "focus": "", "documents": "", **header}
    return a_message(after=outcome, **parts)


LENIENT = {
    "30001": (("30001",), BusinessCode.PATIENT_KNOWN, None, "30001"),
    "20013": (("20013",), InfrastructureCode.SUCCESS, None, "20013"),
    "41001 of the older standard": (("41001",), None, "41001", "41001"),
    "51001": (("51001",), None, "51001", "51001"),
    "RC001": (("RC001",), None, "RC001", "RC001"),
    "an old code, then a new one": (("51001", "20009"), InfrastructureCode.PAYLOAD_VALIDATION_FAILURE, None, "20009"),
    "no OperationOutcome": ((), None, None, "ok"),
    "a code of nobody's": (("thirty",), None, None, "ok"),
    "a number of a person's": (("9990000018",), None, None, "ok"),
    "a date of birth": (("19460312",), None, None, "ok"),
}


@pytest.mark.parametrize("row", LENIENT)
def test_responses_of_others_are_read_leniently(row):
    codes, code, older, said = LENIENT[row]
    found = read_back(somebodys_response(codes))
    assert (found.code, found.older_code, found.said) == (code, older, said)
    assert (found.answers, found.response_code) == ("theirs", "ok")
    assert (found.message_header_id, found.sender_ods_codes) == (HEADER_ID, ("RA901",))
    assert found.level == (level_of(code) if code else None)


OUTCOME = "<OperationOutcome><issue><details>{}</details></issue></OperationOutcome>"


def refusing(outcome: str, contained: str = "") -> bytes:
    response = '<response><identifier value="theirs"/><code value="fatal-error"/></response>'
    after = entry(outcome, None) if outcome else ""
    return a_message(event=event("ITK008M") + contained, response=response, focus="", documents="", after=after)


CODED = OUTCOME.format('<coding><code value="20009"/></coding>')
TEXT = OUTCOME.format('<text value="20009"/>')


@pytest.mark.parametrize(
    ("outcome", "contained"),
    [(CODED, ""), ("", f"<contained>{CODED}</contained>"), (TEXT, "")],
    ids=["in an entry that nothing refers to", "contained in the header", "as text"],
)
def test_a_code_that_stands_in_one_place_only_is_read_from_there(outcome, contained):
    found = read_back(refusing(outcome, contained))
    assert (found.said, found.level, found.is_negative) == ("20009", "infrastructure", True)


def test_what_stands_beside_a_code_as_text_is_not_taken_for_one():
    outcome = OUTCOME.format('<coding><code value="41001"/></coding><text value="20013"/>')
    assert read_back(refusing(outcome)).said == "41001"


WORDS = {
    "ok": ("ok", False),
    "transient-error": ("transient-error", False),
    "fatal-error": ("fatal-error", True),
    "no": (None, False),
}


@pytest.mark.parametrize("word", WORDS)
def test_without_a_code_the_answer_is_fhirs_own_word(word):
    said, is_negative = WORDS[word]
    response = f'<response><identifier value="theirs"/><code value="{word}"/></response>'
    found = read_back(somebodys_response((), response=response))
    assert (found.code, found.said, found.is_negative) == (None, said, is_negative)


def test_a_known_code_decides_and_not_the_word_beside_it():
    """The NHS test harness writes 30004 with fatal-error, against the mapping page."""
    response = '<response><identifier value="theirs"/><code value="fatal-error"/></response>'
    assert not read_back(somebodys_response(("30004",), response=response)).is_negative


def test_an_older_code_says_nothing_of_its_own_about_good_or_bad():
    bad = '<response><identifier value="theirs"/><code value="fatal-error"/></response>'
    assert not read_back(somebodys_response(("41001",))).is_negative
    assert read_back(somebodys_response(("41001",), response=bad)).is_negative


def test_a_response_in_json_is_read_alike():
    body = a_response(asks=True)
    assert read_back(in_json(body)) == read_back(body)
    assert read_back(body).code is BusinessCode.PATIENT_KNOWN


def test_a_response_to_something_unreadable_answers_nothing_that_could_be_looked_up():
    response = '<response><identifier value="UNREADABLE-IN-ORIGINAL-MESSAGE"/><code value="fatal-error"/></response>'
    assert read_back(somebodys_response(response=response)).answers is None


def test_a_response_without_flags_has_none():
    specification = handling(BusAckRequested=None, InfAckRequested=None)
    found = read_back(somebodys_response(specification=specification))
    assert (found.bus_ack, found.inf_ack) == (None, None)


def test_a_response_element_makes_a_response_whatever_the_event():
    assert read_back(somebodys_response(event=event("other"))).answers == "theirs"


def test_a_letter_is_no_response():
    assert read_response(read_message(a_message(), Caps())) is None
    assert read_response(read_message(b"garbage", Caps())) is None


def test_a_broken_response_is_still_known_for_one():
    found = read_response(read_message(somebodys_response()[:-20], Caps()))
    assert (found.answers, found.code) == ("theirs", None)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 60), st.binary(max_size=5)), max_size=5))
def test_no_damage_makes_reading_raise(edits):
    body = somebodys_response(("30001",))
    for at, length, other in edits:
        body = body[:at] + other + body[at + length :]
    found = read_back(body)
    assert found is None or found.said is None or found.said.isascii()
