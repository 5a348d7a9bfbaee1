"""Whatever the bytes: reading never raises, there is exactly one verdict, and its answer is a response without a value of
the message.
"""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from mesh_itk3.itk3.envelope import Caps, read_message, read_oversize
from mesh_itk3.itk3.facts import Facts, Strictness
from mesh_itk3.itk3.response_bundle import ResponseIds, write_response
from mesh_itk3.itk3.response_reading import read_response
from mesh_itk3.itk3.verdict import Verdict, judge
from mesh_itk3.simulator import response_reader
from mesh_itk3.workflow_table import shipped
from profiles import responses
from profiles.response_table import RESPONSE_CODES
from properties.hostile import FHIR, MARK, messages

CAPS = Caps()
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
IDS = ResponseIds(*(f"0a0a0a0a-0000-4000-8000-00000000000{n}" for n in range(1, 6)))
TYPES = frozenset({"application/pdf", "text/plain"})

rarely = st.sampled_from([True, *[False] * 5])
facts = st.builds(
    Facts,
    strictness=st.sampled_from(Strictness),
    our_ods_codes=st.sampled_from([frozenset(), frozenset({"A81001"}), frozenset({"B99999"})]),
    is_known_message=rarely,
    is_known_document=rarely,
    is_same_bytes=st.booleans(),
    needs_document=st.booleans(),
    event_codes=st.sampled_from([frozenset(), frozenset(), frozenset({"ITK003D"})]),
    our_persons=st.sampled_from([None, frozenset({"555000111"})]),
    known_senders=st.sampled_from([None, frozenset({"X26"})]),
    sender_mailbox_id=st.sampled_from([None, "X26ABC1"]),
    authorised_senders=st.sampled_from([None, frozenset({"X26ABC1"}), frozenset({"X26ABC9"})]),
    supported_attachments=st.sampled_from([None, TYPES]),
    workflow=st.sampled_from(shipped().rows),
)


def answer(raw: bytes, verdict: Verdict) -> bytes:
    header = read_message(raw, CAPS).header
    return write_response(
        code=verdict.code,
        issue_code=verdict.issue_code,
        diagnostics=None if verdict.is_positive else verdict.diagnostics,
        ids=IDS,
        now=NOW,
        mailbox_id="X26ABC2",
        ods_code="A81001",
        answers=header.message_header_id,
        sender_reference=header.handling.sender_reference.value,
    )


@given(messages, facts)
def test_every_message_gets_exactly_one_verdict_with_an_issue_code_of_its_own(raw, facts):
    verdict = judge(read_message(raw, CAPS), facts)
    row = RESPONSE_CODES[verdict.code.value]
    assert verdict.code.value[0] in "12"
    assert verdict.issue_code in row.issue_codes
    assert verdict.is_positive is not row.is_negative


@given(messages, facts)
def test_reading_the_same_bytes_again_gives_the_same_verdict(raw, facts):
    assert judge(read_message(raw, CAPS), facts) == judge(read_message(raw, CAPS), facts)


@given(messages, facts)
def test_no_value_of_a_message_stands_in_its_diagnostics_or_warnings(raw, facts):
    verdict = judge(read_message(raw, CAPS), facts)
    assert MARK not in verdict.diagnostics
    assert not any(MARK in warning for warning in verdict.warnings)
    assert verdict.diagnostics.isascii()
    assert "\n" not in verdict.diagnostics


@given(messages, facts)
def test_the_answer_to_any_message_is_a_response_as_itk3_has_it(raw, facts):
    verdict = judge(read_message(raw, CAPS), facts)
    found = responses.findings(answer(raw, verdict))
    # An echoed reference may lack a word character: the sender's own choice.
    assert [each for each in found if each.rule != "no_word_character"] == []


@given(messages)
def test_only_the_two_values_that_are_quoted_on_purpose_come_back_to_the_sender(raw):
    header = read_message(raw, CAPS).header
    written = answer(raw, judge(read_message(raw, CAPS), Facts()))
    root, _ = responses._tree(written)
    header_element = root.find(f".//{{{FHIR}}}MessageHeader")
    quoted = {
        header_element.find(f"{{{FHIR}}}response/{{{FHIR}}}identifier"): header.message_header_id,
        header_element.find(f".//*[@url='SenderReference']/{{{FHIR}}}valueString"): header.handling.sender_reference.value,
    }
    for element in root.iter():
        if element not in quoted:
            assert MARK not in (element.get("value") or "")


@given(messages)
def test_every_message_can_be_asked_whether_it_is_a_response(raw):
    reading = read_message(raw, CAPS)
    found = read_response(reading)
    if found is not None and found.code is not None:
        assert found.code.value in RESPONSE_CODES
        assert found.level == ("business" if found.code.value.startswith("3") else "infrastructure")
    if reading.envelope is None or len(reading.envelope.message_headers) <= 1:
        assert reading.is_response is (reading.header.event_code == "ITK008M")


@given(messages)
def test_everything_that_a_document_offers_can_be_read_of_any_message(raw):
    reading = read_message(raw, CAPS)
    for document in reading.envelope.documents if reading.envelope else ():
        for name in dir(type(document)):
            if isinstance(getattr(type(document), name), property) or name in PROPERTIES:
                getattr(document, name)
        for section in document.all_sections():
            assert section.where.isascii()


PROPERTIES = (
    "author", "composition", "patient", "type_code", "type_display", "title", "date", "status", "confidentiality", "custodian",
    "custodian_ods_code", "composition_identifier", "is_replacement", "replaces", "sections", "attachments", "patient_identity",
    "entries",
)  # fmt: skip


@given(messages, st.integers(1, 400))
def test_a_message_cut_into_any_chunks_names_the_same_sender_when_it_is_too_large(raw, size):
    chunks = [raw[at : at + size] for at in range(0, len(raw), size)]
    one, other = read_oversize(chunks, CAPS), read_oversize((raw,), CAPS)
    assert one.header == other.header
    assert judge(one, Facts()).code.value == "20015"


@given(messages)
def test_the_hospitals_reader_never_raises_either(raw):
    response_reader.read_response(raw)
    response_reader.header_id_of(raw)
