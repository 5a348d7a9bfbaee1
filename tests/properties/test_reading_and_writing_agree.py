"""What is written reads back the same: by us, by the simulated hospital, in XML and in JSON."""

from __future__ import annotations

import json
from datetime import UTC

from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from mesh_itk3.itk3.envelope import Caps, read_message
from mesh_itk3.itk3.facts import Facts, Strictness
from mesh_itk3.itk3.response_bundle import ResponseIds, write_response
from mesh_itk3.itk3.response_codes import BusinessCode, InfrastructureCode
from mesh_itk3.itk3.response_reading import read_response
from mesh_itk3.itk3.verdict import judge
from mesh_itk3.simulator.messages import KINDS, a_message
from mesh_itk3.simulator.response_reader import read_response as read_by_hospital
from profiles.response_table import RESPONSE_CODES
from properties.hostile import choices, header_ids

CAPS = Caps()
uuids = st.uuids(version=4).map(str)
ids = st.builds(ResponseIds, uuids, uuids, uuids, uuids, uuids)
times = st.datetimes(timezones=st.just(UTC)).filter(lambda at: 1 < at.year < 9999)
references = st.text(max_size=300) | st.sampled_from(["None", "NULL", " Ref  1 ", "a\tb\r\nc", '"/><x y="', "]]>", "&#0;"])


@given(
    st.sampled_from([*InfrastructureCode, *BusinessCode]),
    ids,
    times,
    header_ids | st.none(),
    references | st.none(),
    st.booleans(),
)
def test_a_response_says_the_same_to_us_and_to_the_hospital(code, ids, now, answers, sender_reference, asks):
    raw = write_response(
        code=code,
        issue_code=None,
        diagnostics="not_found: Composition.subject",
        ids=ids,
        now=now,
        mailbox_id="X26ABC2",
        ods_code="A81001",
        answers=answers,
        sender_reference=sender_reference,
        asks_infrastructure_response=asks,
    )
    reading = read_message(raw, CAPS)
    ours, theirs = read_response(reading), read_by_hospital(raw)
    row = RESPONSE_CODES[code.value]
    assert reading.faults == ()
    assert reading.is_response
    assert (ours.code, theirs.code, theirs.display) == (code, code.value, row.display)
    assert ours.message_header_id == theirs.message_header_id == ids.message_header_id
    assert (ours.answers or "UNREADABLE-IN-ORIGINAL-MESSAGE") == theirs.answers
    assert ours.answers == answers
    assert ours.sender_reference == theirs.sender_reference
    assert ours.sender_reference in (sender_reference, "None")
    assert ours.response_code == theirs.response_code == row.response_code
    assert (ours.bus_ack, theirs.business_requested) == (False, "false")
    assert (ours.inf_ack, theirs.infrastructure_requested) == (asks, str(asks).lower())
    assert (ours.level, theirs.severity, theirs.issue_code) == (
        theirs.level,
        row.severity,
        row.issue_codes[0] if code.value != "20009" else "structure",
    )
    assert ours.sender_ods_codes == (theirs.sender_ods,) == ("A81001",)


@given(st.sampled_from(sorted(KINDS)), choices, st.sampled_from(Strictness))
def test_a_message_reads_the_same_in_xml_and_in_json(kind, choices, strictness):
    readings = [read_message(a_message(kind, form=form, optional_sections=False, **choices), CAPS) for form in ("xml", "json")]
    in_xml, in_json = readings
    assert told(in_xml) == told(in_json)
    facts = Facts(strictness=strictness, our_ods_codes=frozenset({"A81001"}))
    assert judge(in_xml, facts) == judge(in_json, facts)


def told(reading):
    """The header as values, and what identifies the document."""
    header = {name: getattr(reading.header, name) for name in reading.header.__slots__ if name not in ("sender", "receiver")}
    document = reading.envelope.document if reading.envelope else None
    return header, document.document_id if document else None, document.type_code if document else None


@given(st.sampled_from(sorted(KINDS)), st.sampled_from(["utf-8"]), st.booleans(), st.integers(0, 3))
def test_white_space_and_escapes_between_elements_change_nothing(kind, encoding, pretty, indent):
    raw = a_message(kind, optional_sections=False)
    plain = read_message(raw, CAPS)
    root = etree.fromstring(raw)
    if pretty:
        etree.indent(root, " " * indent)
    for rewritten in (etree.tostring(root, encoding=encoding, xml_declaration=True), etree.tostring(root, encoding="us-ascii")):
        again = read_message(rewritten.replace(b"encoding='us-ascii'", b"encoding='utf-8'"), CAPS)
        assert told(again) == told(plain)


@given(st.sampled_from(sorted(KINDS)), st.integers(0, 4), st.booleans())
def test_json_escapes_and_layout_change_nothing(kind, indent, ascii_only):
    raw = a_message(kind, form="json", optional_sections=False)
    again = json.dumps(json.loads(raw), indent=indent or None, ensure_ascii=ascii_only).encode()
    assert told(read_message(again, CAPS)) == told(read_message(raw, CAPS))
