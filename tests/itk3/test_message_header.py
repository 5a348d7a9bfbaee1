"""What a MessageHeader says, element by element: handlers and stages ask it, whatever a verdict makes of it."""

from __future__ import annotations

import pytest

from itk3.a_message import (
    DOCUMENT_ID,
    EVENTS,
    HEADER_ID,
    RECEIVER_ID,
    SENDER_ID,
    a_message,
    document,
    entry,
    event,
    organisation,
)
from mesh_itk3.itk3.envelope import Caps, read_message
from mesh_itk3.itk3.message_header import MessageHeader


def read(raw: bytes) -> MessageHeader:
    return read_message(raw, Caps()).header


RESPONSE = (
    '<response><identifier value=" theirs "/><code value="ok"/><details><reference value="urn:uuid:o"/></details></response>'
)


def test_every_element_is_read_from_its_own_place():
    header = read(a_message(receiver_ods_code="a81001", response=RESPONSE))
    assert header.message_header_id == HEADER_ID
    assert (header.event_system, header.event_code, header.event_display) == (EVENTS, "ITK003D", "ITK eDischarge")
    assert (header.timestamp, header.source_endpoint) == ("2024-01-02T03:04:05+00:00", "X26HOSP1")
    assert header.handling.present
    assert (header.has_receiver, header.receiver_reference) == (True, f"urn:uuid:{RECEIVER_ID}")
    assert (header.receiver.id, header.receiver_ods_codes) == (RECEIVER_ID, ("A81001",))
    assert (header.has_sender, header.sender_party_reference) == (True, f"urn:uuid:{SENDER_ID}")
    assert (header.sender.id, header.sender_ods_codes) == (SENDER_ID, ("RA901",))
    assert header.focus == f"urn:uuid:{DOCUMENT_ID}"
    assert (header.response_identifier, header.response_code) == ("theirs", "ok")
    assert (header.where, header.padded, header.is_response) == ("Bundle.entry[0].resource", (), False)


def test_what_is_not_there_is_none():
    assert read(a_message(header="<MessageHeader/>")) == MessageHeader()
    assert (MessageHeader().where, MessageHeader().has_receiver, MessageHeader().has_sender) == (
        "Bundle.entry[0].resource",
        False,
        False,
    )


def test_parties_that_the_message_does_not_hold_are_named_but_not_there():
    header = read(a_message(receiver='<receiver><reference value="urn:uuid:nobody"/></receiver>', sender_entry=""))
    assert (header.has_receiver, header.receiver_reference, header.receiver) == (True, "urn:uuid:nobody", None)
    assert (header.has_sender, header.sender_party_reference, header.sender) == (True, f"urn:uuid:{SENDER_ID}", None)
    assert (header.receiver_ods_codes, header.sender_ods_codes) == ((), ())


def test_only_the_event_itk008m_makes_a_response():
    assert read(a_message(event=event("ITK008M"))).is_response
    assert not read(a_message(response=RESPONSE)).is_response


PADDED = {
    "id": a_message(header_id=f'<id value=" {HEADER_ID}"/>'),
    "event.system": a_message(event=event(system=f"{EVENTS} ")),
    "event.code": a_message(event=event("ITK003D\n")),
    "event.display": a_message(event=event(display=" ITK eDischarge")),
    "timestamp": a_message(timestamp='<timestamp value="2024-01-02T03:04:05+00:00 "/>'),
    "source.endpoint": a_message(source='<source><endpoint value="\tX26HOSP1"/></source>'),
}


@pytest.mark.parametrize("path", PADDED)
def test_white_space_around_a_value_is_left_out_and_noted_with_its_path(path):
    header, clean = read(PADDED[path]), read(a_message())
    assert header.padded == (path,)
    assert (header.message_header_id, header.event_code, header.event_display) == (HEADER_ID, "ITK003D", clean.event_display)
    assert (header.event_system, header.timestamp, header.source_endpoint) == (EVENTS, clean.timestamp, clean.source_endpoint)


def test_of_a_value_that_stands_twice_the_first_that_says_something_counts():
    header = read(a_message(header_id='<id/><id value=" "/><id value="a-b"/><id value="a-c"/>'))
    assert (header.message_header_id, header.padded) == ("a-b", ("id",))


def outcome(code: str, text: str = "") -> str:
    details = f'<coding><code value="{code}"/></coding><text value="{text}"/>'
    return f"<OperationOutcome><issue><details>{details}</details></issue></OperationOutcome>"


def responding(outcomes: str, *, details: str = "urn:uuid:o", contained: str = "") -> MessageHeader:
    named = f'<details><reference value="{details}"/></details>' if details else ""
    response = f'{contained}<response><identifier value="theirs"/><code value="ok"/>{named}</response>'
    return read(a_message(event=event("ITK008M"), response=response, documents="", focus="", after=outcomes))


def test_the_outcome_that_the_response_names_speaks_first_and_the_others_after_it():
    others = entry(outcome("20009"), "urn:uuid:a") + entry(outcome("30001"), "urn:uuid:o") + entry(outcome("20002"), None)
    assert responding(others).outcome_codes == ("30001", "20009", "20002")
    assert responding(others, details="urn:uuid:nobody").outcome_codes == ("20009", "30001", "20002")
    assert responding(others, details="").outcome_codes == ("20009", "30001", "20002")


def test_a_code_that_is_contained_in_the_header_comes_last():
    contained = f"<contained>{outcome('20009')}</contained>"
    assert responding("", contained=contained).outcome_codes == ("20009",)
    assert responding(entry(outcome("30001"), "urn:uuid:o"), contained=contained).outcome_codes == ("30001", "20009")


def test_where_no_outcome_is_coded_their_texts_speak():
    uncoded = entry(outcome("", "41001"), None) + entry(outcome("", "RC001"), "urn:uuid:o")
    assert responding(uncoded).outcome_codes == ("RC001", "41001")
    assert responding(uncoded + entry(outcome("30001"), None)).outcome_codes == ("30001",)
    assert responding(organisation("x", "A81001")).outcome_codes == ()


def test_a_header_that_stands_alone_says_what_it_says_itself():
    raw = a_message(receiver_ods_code="A81001", documents=document(), response=RESPONSE)
    begin, end = raw.index(b"<MessageHeader>"), raw.index(b"</MessageHeader>")
    alone = read(b'<MessageHeader xmlns="http://hl7.org/fhir">' + raw[begin + 15 : end] + b"</MessageHeader>")
    assert (alone.where, alone.message_header_id, alone.event_code) == ("MessageHeader", HEADER_ID, "ITK003D")
    assert (alone.has_receiver, alone.receiver, alone.sender, alone.receiver_ods_codes) == (True, None, None, ())
    assert (alone.receiver_reference, alone.outcome_codes) == (f"urn:uuid:{RECEIVER_ID}", ())
