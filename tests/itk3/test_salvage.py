"""What is still known of a message that cannot be read: rule 14's table of damages."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from itk3.a_message import (
    FHIR,
    HEADER_ID,
    a_message,
    composition,
    document,
    entry,
    flag,
    handling,
    in_json,
    message_header,
    patient,
    section,
)
from mesh_itk3.itk3.envelope import Caps, read_message, read_oversize

CAPS = Caps()
SPECIFICATION = handling(
    BusAckRequested=flag("false"), SenderReference='<valueString value="Ref &amp; 1"/>', RecipientType=None
)
FIRST = a_message(specification=SPECIFICATION)
LAST = a_message(header="", after=entry(message_header(specification=SPECIFICATION), None))
NARRATIVE = '<div xmlns="http://www.w3.org/1999/xhtml"><p>one<br>two</p></div>'
BROKEN = document(composition(sections=section(div=NARRATIVE)) + patient())
FAKE_HEADER = message_header(header_id='<id value="fake"/>')
FAKE = entry(message_header(header_id='<id value="fake"/>', specification=handling(InfAckRequested=flag("false"))), None)


def known(header) -> tuple:
    return (
        header.message_header_id,
        header.handling.bus_ack,
        header.handling.inf_ack,
        header.handling.sender_reference.value,
        header.event_code,
    )


WHOLE = (HEADER_ID, False, True, "Ref & 1", "ITK003D")
JSON_FIRST = in_json(FIRST)
JSON_LAST = in_json(LAST)
PREFIXED = FIRST.replace(b"<", b"<f:").replace(b"<f:/", b"</f:").replace(b"<f:?", b"<?").replace(b"xmlns=", b"xmlns:f=")
UNDECLARED = FIRST.replace(b' encoding="UTF-8"', b"")

ALONE = message_header(specification=SPECIFICATION).replace("<MessageHeader>", f'<MessageHeader xmlns="{FHIR}">').encode()
PARCEL = FIRST.replace(b"<Bundle xmlns", b"<Parcel xmlns", 1)[: -len(b"</Bundle>")] + b"</Parcel>"

DAMAGES = {
    "a header alone": ALONE,
    "a header alone, cut off": ALONE[:-40],
    "a header alone, in JSON": json.dumps(json.loads(JSON_FIRST)["entry"][0]["resource"]).encode(),
    "in what is no Bundle": PARCEL,
    "truncated after the header": FIRST[: FIRST.index(b"</MessageHeader>") + 40],
    "truncated in the payload": FIRST[:-30],
    "unclosed element in the narrative": a_message(specification=SPECIFICATION, documents=BROKEN),
    "header after a broken narrative": a_message(
        header="", documents=BROKEN, after=entry(message_header(specification=SPECIFICATION), None)
    ),
    "header after a missing quote": LAST.replace(b'<title value="Discharge', b"<title value=Discharge"),
    "header after a bare ampersand": LAST.replace(b"Discharge", b"A & B < C"),
    "header after a stray end tag": LAST.replace(b"<title", b"</b></i><title", 1),
    "prefixed and truncated": PREFIXED[:-30],
    "garbage behind the end": FIRST + b"<a",
    "doctype": FIRST.replace(b"<Bundle", b'<!DOCTYPE b [<!ENTITY a "<Bundle>">]><Bundle', 1),
    "byte order mark": b"\xef\xbb\xbf" + FIRST,
    "utf-16": UNDECLARED.decode().encode("utf-16"),
    "utf-16be without a mark": UNDECLARED.decode().encode("utf-16-be"),
    "latin-1 declared": FIRST.replace(b"UTF-8", b"ISO-8859-1"),
    "bytes that are not utf-8": LAST.replace(b"Discharge", b"\xff\xfe"),
    "too deep": LAST.replace(b"<title", b"<a>" * 250 + b"</a>" * 250 + b"<title", 1),
    "null character": LAST.replace(b"Discharge", b"\x00"),
    "wrapped in another element": b"<envelope>" + FIRST.split(b"?>", 1)[1] + b"</envelope>",
    "no namespace": FIRST.replace(b' xmlns="http://hl7.org/fhir"', b""),
    "wrong namespace": FIRST.replace(b"http://hl7.org/fhir", b"http://hl7.org/fihr"),
    "json truncated": JSON_FIRST[:-5],
    "json truncated, header last": JSON_LAST[:-2],
    "json with garbage behind": JSON_FIRST + b"}",
    "json with a name twice": JSON_FIRST.replace(b'"type": "message"', b'"type":"message","type":"message"'),
    "json with a strange name": JSON_FIRST.replace(b'"type": "message"', b'"ty pe":"message"'),
    "json with a bad escape": JSON_LAST.replace(b"Discharge summary", b"\\x"),
}


@pytest.mark.parametrize("row", DAMAGES)
def test_whatever_is_wrong_the_header_is_read(row):
    reading = read_message(DAMAGES[row], CAPS)
    assert reading.faults
    assert known(reading.header) == WHOLE


def test_of_a_truncated_header_what_is_there_is_read():
    cut = FIRST[: FIRST.index(b"InfAckRequested")]
    assert known(read_message(cut, CAPS).header) == (HEADER_ID, False, None, None, None)
    json_cut = JSON_FIRST[: JSON_FIRST.index(b"InfAckRequested")]
    found = read_message(json_cut, CAPS).header
    assert (found.message_header_id, found.handling.bus_ack, found.handling.inf_ack) == (HEADER_ID, False, None)


def test_a_mistake_inside_the_header_costs_only_what_follows_it():
    broken = FIRST.replace(b'<valueString value="Ref', b"<valueString value=Ref")
    found = read_message(broken, CAPS).header
    assert (found.message_header_id, found.handling.bus_ack, found.handling.inf_ack) == (HEADER_ID, False, True)
    json_broken = JSON_FIRST.replace(b'"url": "SenderReference"', b'"url" "SenderReference"')
    found = read_message(json_broken, CAPS).header
    assert (found.message_header_id, found.handling.bus_ack, found.handling.inf_ack) == (HEADER_ID, False, True)


ELSEWHERE = {
    "narrative": document(composition(sections=section(div=f"<div><br>{FAKE}</div>")) + patient()),
    "nested bundle": document(FAKE + composition(sections=section(div=NARRATIVE)) + patient()),
    "comment": f"<!-- <entry><resource><MessageHeader> {FAKE.replace('--', '')} --></br>",
    "character data": f"<x><![CDATA[{FAKE}]]></x></br>",
    "instruction": f"<?x {FAKE} ?></br>",
    "value": f"<x value='{FAKE.replace('<', '&lt;')}'/></br>",
    "contained": entry(f"<Composition><contained>{FAKE_HEADER}</contained></Composition>", None) + "</br>",
}


@pytest.mark.parametrize("place", ELSEWHERE)
def test_a_header_elsewhere_is_never_taken_for_the_messages_own(place):
    raw = a_message(header="", documents=ELSEWHERE[place])
    reading = read_message(raw, CAPS)
    assert reading.faults[0].code.value == "10009"
    assert reading.header.message_header_id is None
    with_own = a_message(header="", documents=ELSEWHERE[place], after=entry(message_header(specification=SPECIFICATION), None))
    assert read_message(with_own, CAPS).header.message_header_id == HEADER_ID


def test_an_external_entity_in_a_salvaged_header_stays_unread():
    hostile = FIRST.replace(b"<Bundle", b'<!DOCTYPE b [<!ENTITY x SYSTEM "file:///etc/passwd">]><Bundle', 1)
    hostile = hostile.replace(b"Ref &amp; 1", b"&x;")
    found = read_message(hostile, CAPS).header
    assert found.message_header_id == HEADER_ID
    assert "root" not in (found.handling.sender_reference.value or "")


def pieces(raw: bytes, size: int):
    return (raw[at : at + size] for at in range(0, len(raw), size))


@pytest.mark.parametrize("size", [1, 2, 7, 64, 1000, 100_000])
@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(FIRST, id="first"),
        pytest.param(LAST, id="last"),
        pytest.param(PREFIXED, id="prefixed"),
        pytest.param(JSON_FIRST, id="json"),
        pytest.param(JSON_LAST, id="json, last"),
        pytest.param(UNDECLARED.decode().encode("utf-16"), id="utf-16"),
        pytest.param(DAMAGES["header after a broken narrative"], id="broken"),
    ],
)
def test_an_oversize_message_is_read_alike_however_it_is_cut(raw, size):
    reading = read_oversize(pieces(raw, size), CAPS)
    assert known(reading.header) == WHOLE
    assert reading.faults[0].code.value == "20015"


def test_where_a_salvaged_header_stands_is_told():
    assert read_oversize(pieces(LAST, 100), CAPS).header.where == "Bundle.entry[2].resource"
    assert read_oversize(pieces(JSON_LAST, 100), CAPS).header.where == "Bundle.entry[2].resource"


def parts_around(raw: bytes, filler: bytes, times: int, marker: bytes):
    """A huge message that never exists as a whole."""
    at = raw.index(marker)
    yield raw[:at]
    for _ in range(times):
        yield filler
    yield raw[at:]


HUGE = {
    # what, the message, what it is filled with at its mark, and how often
    "one huge value": (LAST.replace(b"Discharge summary", b"AAAA@AAAA", 1), b"QUJD" * 16_384, b"@", 400),
    "many elements": (LAST, b'<x y="z"><w/></x>' * 400, b"<status", 100),
    "elements never closed": (LAST, b"<x>" * 4_000, b"<status", 50),
    "one huge comment": (LAST.replace(b"<status", b"<!--@--><status", 1), b" " * 65_536, b"@", 400),
    "one huge text": (LAST.replace(b"<status", b"@<status", 1), b"A" * 65_536, b"@", 400),
    "json: one huge string": (JSON_LAST.replace(b"Discharge summary", b"AAAA@AAAA", 1), b"QUJD" * 16_384, b"@", 400),
    "json: many values": (JSON_LAST.replace(b'"status"', b'"x":[1@],"status"', 1), b',{"a":"b"}' * 600, b"@", 100),
}
HEADLESS = {
    "no header": (a_message(header=""), b'<x y="z"/>' * 600, b"<status", 100),
    "json: deep": (JSON_LAST.replace(b'"status"', b'"x":@,"status"', 1), b"[" * 6_000, b"@", 50),
}


def peak_of_reading(row) -> tuple[int, tuple]:
    raw, filler, marker, times = row
    tracemalloc.start()
    try:
        reading = read_oversize(parts_around(raw, filler, times, marker), CAPS)
        return tracemalloc.get_traced_memory()[1], known(reading.header)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("row", HUGE)
def test_an_oversize_message_takes_constant_memory_wherever_its_header_stands(row):
    peak, header = peak_of_reading(HUGE[row])
    assert header == WHOLE
    assert peak < 600_000


@pytest.mark.parametrize("row", HEADLESS)
def test_an_oversize_message_without_a_readable_header_takes_constant_memory_too(row):
    peak, header = peak_of_reading(HEADLESS[row])
    assert header == (None, None, None, None, None)
    assert peak < 600_000


def test_a_json_header_without_an_end_is_cut_at_its_cap():
    content = json.loads(JSON_FIRST)
    content["entry"][0]["resource"]["zzz"] = [{"a": 1}] * 20_000
    raw = json.dumps(content).encode()
    reading = read_oversize(pieces(raw, 1000), Caps(max_header_bytes=3000))
    assert known(reading.header)[:4] == WHOLE[:4]


def test_broken_json_of_very_many_commas_takes_little_memory():
    raw = b'{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"MessageHeader","id":"x","a":[' + b"1," * 60_000
    tracemalloc.start()
    try:
        header = read_message(raw, CAPS).header
        assert header.message_header_id == "x"
        assert tracemalloc.get_traced_memory()[1] < 8 * len(raw)
    finally:
        tracemalloc.stop()


def test_what_stands_before_the_first_mistake_of_a_json_header_is_read_however_much_follows():
    raw = JSON_FIRST.replace(b'"event"', b'"x" "y": [' + b"1," * 1000 + b'1], "event"', 1)
    assert known(read_message(raw, CAPS).header)[:4] == WHOLE[:4]


@pytest.mark.parametrize("odd", [b"[[1]]", b'{"a b": 1}', b'"\\u0001"', b'{"a":' * 150 + b"1" + b"}" * 150])
def test_one_odd_property_of_a_json_header_costs_no_more_than_itself(odd):
    raw = JSON_FIRST.replace(b'"event"', b'"odd": ' + odd + b', "event"', 1)
    reading = read_message(raw, Caps(max_depth=100))
    assert reading.faults[0].code.value == "10009"
    assert known(reading.header) == WHOLE


def test_a_header_without_an_end_is_cut_at_its_cap():
    raw = FIRST.replace(b"</extension></extension>", b"</extension></extension>" + b'<a b="c"/>' * 2000, 1)
    reading = read_oversize(pieces(raw, 1000), Caps(max_header_bytes=3000))
    assert known(reading.header)[:4] == WHOLE[:4]
