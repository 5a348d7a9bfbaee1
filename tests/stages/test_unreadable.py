"""What a sender of a bad message is told: whatever could be read of it is used, and only what could not takes a default."""

from __future__ import annotations

import pytest

from mesh_itk3.itk3.envelope import Caps, read_message
from mesh_itk3.itk3.response_reading import read_response
from mesh_itk3.lifecycle import State
from mesh_itk3.simulator.messages import a_message, cut_off, not_well_formed, without_header_id
from mesh_itk3.stages.dispatch import dispatch
from mesh_itk3.stages.interpret import interpret
from mesh_itk3.stages.respond import respond
from support.fake_mailbox import FakeMailbox, a_mesh_message
from support.stage_world import ACK_WORKFLOW, HOSPITAL, a_small_daemon

HEADER_ID = "7A7A7A7A-0000-4000-8000-000000000001"
FIXED = b'<response><identifier value="UNREADABLE-IN-ORIGINAL-MESSAGE"/>'


def sent(tmp_path, body, *, max_bytes=None):
    """What is sent after all stages have dealt with this body, and where to."""
    message = a_mesh_message(body)
    daemon = a_small_daemon(tmp_path, FakeMailbox([message]))
    if max_bytes:
        object.__setattr__(daemon.world, "caps", Caps(max_bytes=max_bytes))
    daemon.collect()
    interpret(daemon.world)
    dispatch(daemon.world)
    respond(daemon.world, daemon.mailbox)
    assert {(each.to_mailbox_id, each.workflow_id) for each in daemon.mailbox.sent} <= {(HOSPITAL, ACK_WORKFLOW)}
    return [each.body for each in daemon.mailbox.sent], daemon.record(message.mesh_message_id)


def letter(**changes):
    return a_message("ITK003D", header_id=HEADER_ID, sender_reference="Ward 7 / 12", **changes)


def in_utf16(body):
    return b"\xff\xfe" + body.decode().replace('encoding="UTF-8"', 'encoding="UTF-16"').encode("utf-16-le")


HARMED = {
    "a cell left open": not_well_formed,
    "cut off": cut_off,
    "byte order mark": lambda body: b"\xef\xbb\xbf" + body,
    "doctype": lambda body: body.replace(b"<Bundle", b"<!DOCTYPE Bundle []><Bundle", 1),
    "another encoding": in_utf16,
    "no bundle": lambda body: body.replace(b"<Bundle", b"<Parcel", 1)[: -len(b"</Bundle>")] + b"</Parcel>",
    "a header alone": lambda body: (
        b'<MessageHeader xmlns="http://hl7.org/fhir">'
        + body.split(b"<MessageHeader>")[1].split(b"</MessageHeader>")[0]
        + b"</MessageHeader>"
    ),
    "control character after the header": lambda body: body.replace(b"</MessageHeader>", b"</MessageHeader>\x01", 1),
}


@pytest.mark.parametrize("harm", HARMED.values(), ids=HARMED)
def test_whatever_is_wrong_the_answer_quotes_the_id_and_the_sender_reference(tmp_path, harm):
    bodies, record = sent(tmp_path, harm(letter()))
    (reading,) = [read_response(read_message(body, Caps())) for body in bodies]
    assert record.state is State.REJECTED
    assert (reading.answers, reading.sender_reference) == (HEADER_ID, "Ward 7 / 12")
    assert reading.level == "infrastructure"
    assert reading.is_negative


@pytest.mark.parametrize("harm", HARMED.values(), ids=HARMED)
def test_whatever_is_wrong_a_readable_flag_that_asks_for_nothing_is_obeyed(tmp_path, harm):
    bodies, record = sent(tmp_path, harm(letter(infrastructure_requested=False)))
    assert bodies == []
    assert (record.state, record.inf_ack_requested, record.sender_not_told) == (State.REJECTED, False, True)


@pytest.mark.parametrize("harm", HARMED.values(), ids=HARMED)
@pytest.mark.parametrize("flag", [None, "junk"], ids=["absent", "unreadable"])
def test_whatever_is_wrong_an_unreadable_flag_counts_as_asked(tmp_path, harm, flag):
    bodies, record = sent(tmp_path, harm(letter(infrastructure_requested=flag)))
    assert len(bodies) == 1
    assert (record.inf_ack_requested, record.sender_not_told) == (None, False)


def test_a_message_that_is_too_large_is_answered_with_what_its_header_says(tmp_path):
    bodies, record = sent(tmp_path, letter(size=80_000), max_bytes=50_000)
    (reading,) = [read_response(read_message(body, Caps())) for body in bodies]
    assert (record.response_code, reading.answers, reading.sender_reference) == ("20015", HEADER_ID, "Ward 7 / 12")
    assert sent(tmp_path / "two", letter(size=80_000, infrastructure_requested=False), max_bytes=50_000)[0] == []


NOTHING = {"nothing": b"", "no text": b"\x00\xff\x00\xff", "prose": b"Dear practice,", "an empty bundle": b"<Bundle/>"}


@pytest.mark.parametrize("body", NOTHING.values(), ids=NOTHING)
def test_only_an_id_that_cannot_be_read_becomes_the_fixed_string(tmp_path, body):
    bodies, record = sent(tmp_path, body)
    assert len(bodies) == 1
    assert FIXED in bodies[0]
    assert b'<extension url="SenderReference"><valueString value="None"/>' in bodies[0]
    assert record.message_header_id is None


@pytest.mark.parametrize("header_id", ["no id at all", "x" * 65, "ÄÖÜ"])
def test_an_id_that_is_no_fhir_id_cannot_be_quoted_and_the_rest_still_is(tmp_path, header_id):
    bodies, _ = sent(tmp_path, a_message("ITK003D", header_id=header_id, sender_reference="Ward 7 / 12"))
    assert FIXED in bodies[0]
    assert b'value="Ward 7 / 12"' in bodies[0]


def test_a_message_without_an_id_is_answered_with_the_fixed_string(tmp_path):
    bodies, record = sent(tmp_path, without_header_id(letter(), HEADER_ID))
    assert (len(bodies), record.response_code) == (1, "20006")
    assert FIXED in bodies[0]


def test_an_unreadable_flag_asks_for_the_negative_and_nothing_follows_it(tmp_path):
    bodies, record = sent(tmp_path, letter(business_requested="junk"))
    assert (len(bodies), record.response_code) == (1, "10003")


@pytest.mark.parametrize("harm", HARMED.values(), ids=HARMED)
def test_a_harmed_response_is_never_refused_whatever_its_flags(tmp_path, harm):
    bodies, record = sent(tmp_path, harm(letter(event="ITK008M", infrastructure_requested="junk")))
    assert bodies == []
    assert record.state is State.RECEIVED  # handed to correlate, which never answers negatively
