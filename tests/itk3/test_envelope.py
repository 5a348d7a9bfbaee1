"""Reading hostile and honest bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itk3.a_message import (
    COMPOSITION_ID,
    DOCUMENT_ID,
    HEADER_ID,
    PATIENT_ID,
    SENDER_ID,
    a_message,
    binary,
    composition,
    document,
    entry,
    event,
    handling,
    in_json,
    message_header,
    organisation,
    patient,
)
from mesh_itk3.itk3.envelope import Caps, read_message, read_oversize
from mesh_itk3.itk3.message_header import normalise_id
from mesh_itk3.itk3.verdict import Facts, judge

CAPS = Caps()


def rules_of(raw: bytes, caps: Caps = CAPS) -> list[tuple[str, str]]:
    return [(fault.code.value, fault.rule) for fault in read_message(raw, caps).faults]


BILLION = b"".join(b'<!ENTITY l%d "%s">' % (at, b"&l%d;" % (at - 1) * 10 if at else b"lol") for at in range(10))
ATTRIBUTE_BOMB = b"<!DOCTYPE b [" + BILLION + b']><Bundle xmlns="http://hl7.org/fhir"><id value="&l9;"/></Bundle>'
XXE = b'<!DOCTYPE b [<!ENTITY x SYSTEM "file:///etc/passwd">]><Bundle xmlns="http://hl7.org/fhir">&x;</Bundle>'
MESSAGE = a_message()
UNDECLARED = MESSAGE.replace(b' encoding="UTF-8"', b"")

UNREADABLE = {
    "empty": (b"", "empty"),
    "blank": (b" \n\t ", "empty"),
    "no markup": (b"hello", "not_well_formed"),
    "truncated": (MESSAGE[:-4], "not_well_formed"),
    "two roots": (MESSAGE + b"<a/>", "not_well_formed"),
    "html entity": (MESSAGE.replace(b"</Bundle>", b"&nbsp;</Bundle>"), "not_well_formed"),
    "white space before the declaration": (b" " + MESSAGE, "not_well_formed"),
    "doctype": (MESSAGE.replace(b"<Bundle", b"<!DOCTYPE Bundle><Bundle", 1), "doctype"),
    "doctype behind a comment": (UNDECLARED.replace(b"<Bundle", b"<!-- > --><!DOCTYPE b><Bundle", 1), "doctype"),
    "doctype behind an instruction": (b"<?a b?>\n<!DOCTYPE b><Bundle/>", "doctype"),
    "doctype in lower case": (b"<!doctype b><Bundle/>", "doctype"),
    "entities in an attribute": (ATTRIBUTE_BOMB, "doctype"),
    "external entity": (XXE, "doctype"),
    "comment without an end": (b"<!-- <!DOCTYPE b>", "not_well_formed"),
    "byte order mark": (b"\xef\xbb\xbf" + MESSAGE, "byte_order_mark"),
    "utf-16 with a mark": (UNDECLARED.decode().encode("utf-16"), "byte_order_mark"),
    "utf-16le without one": (UNDECLARED.decode().encode("utf-16-le"), "encoding"),
    "utf-16be without one": (UNDECLARED.decode().encode("utf-16-be"), "encoding"),
    "utf-32": (UNDECLARED.decode().encode("utf-32"), "byte_order_mark"),
    "latin-1 declared": (MESSAGE.replace(b"UTF-8", b"ISO-8859-1"), "encoding_declared"),
    "utf-16 declared": (MESSAGE.replace(b"UTF-8", b"UTF-16"), "encoding_declared"),
    "utf-7 declared": (MESSAGE.replace(b"UTF-8", b"UTF-7"), "encoding_declared"),
    "latin-1 in truth": (MESSAGE.replace(b"Discharge", "Entlaßung".encode("latin-1")), "encoding"),
    "null character": (MESSAGE.replace(b"Discharge", b"\x00"), "not_well_formed"),
    "control character": (MESSAGE.replace(b"Discharge", b"&#1;"), "not_well_formed"),
    "too deep": (b"<a>" * 201 + b"</a>" * 201, "depth"),
    "far too deep": (b"<a>" * 100_000, "not_well_formed"),
    "gzip": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "encoding"),
    "json truncated": (b'{"resourceType":"Bundle"', "not_well_formed"),
    "json array": (b"[]", "not_well_formed"),
    "json without a type": (b"{}", "json_resource_type"),
    "json with a strange type": (b'{"resourceType":"a b"}', "json_resource_type"),
    "json with a type of a type": (b'{"resourceType":{"a":1}}', "json_resource_type"),
    "json with an invalid name": (b'{"resourceType":"Bundle","a b":1}', "json_name"),
    "json with an empty name": (b'{"resourceType":"Bundle","":1}', "json_name"),
    "json with a namespace for a name": (b'{"resourceType":"Bundle","{x}y":1}', "json_name"),
    "json with a name twice": (b'{"resourceType":"Bundle","type":"message","type":"document"}', "json_names_repeated"),
    "json with a name twice, escaped": (b'{"resourceType":"Bundle","type":"a","typ\\u0065":"b"}', "json_names_repeated"),
    "json with a control character": (b'{"resourceType":"Bundle","id":"\\u0001"}', "json_characters"),
    "json with half a surrogate": (b'{"resourceType":"Bundle","id":"\\ud800"}', "not_well_formed"),
    "json with a huge number": (b'{"resourceType":"Bundle","id":' + b"9" * 5000 + b"}", ""),
    "json with a boolean for a name": (b'{"resourceType":"Bundle",true:1}', "not_well_formed"),
    "json with too many values": (b'{"resourceType":"Bundle","a":[' + b"1," * 1_000_000 + b"1]}", "too_many_elements"),
    "too many elements": (b'<Bundle xmlns="http://hl7.org/fhir">' + b"<a/>" * 1_000_000 + b"</Bundle>", "too_many_elements"),
    "json with an array in an array": (b'{"resourceType":"Bundle","entry":[[{}]]}', "json_shape"),
    "json with a number for an extension": (b'{"resourceType":"Bundle","_id":5}', "json_shape"),
    "json with an object for a url": (b'{"resourceType":"Bundle","extension":[{"url":{}}]}', "json_shape"),
    "json too deep": (b'{"resourceType":"Bundle","a":' + b'{"a":' * 250 + b"1" + b"}" * 251, "depth"),
    "json far too deep": (b'{"resourceType":"Bundle","a":' + b"[" * 200_000, ""),
    "json with a mark": (b"\xef\xbb\xbf" + b'{"resourceType":"Bundle"}', "byte_order_mark"),
    "json not utf-8": (b'{"resourceType":"Bundle","id":"\xff"}', "encoding"),
}


@pytest.mark.parametrize("row", UNREADABLE)
def test_what_cannot_be_read_gets_10009(row):
    raw, rule = UNREADABLE[row]
    (found,) = rules_of(raw)
    assert found[0] == "10009"
    assert not rule or found[1] == rule
    assert read_message(raw, CAPS).envelope is None


def test_the_place_of_an_xml_error_is_a_line_number():
    raw = MESSAGE.replace(b"<id", b"\n\n<id", 1)[:-4]
    assert read_message(raw, CAPS).faults[0].where == "line 3"


def test_two_hundred_levels_are_read_and_the_cap_can_be_set():
    deep = b'<Bundle xmlns="http://hl7.org/fhir">' + b"<a>" * 199 + b"</a>" * 199 + b"</Bundle>"
    assert ("10009", "depth") not in rules_of(deep)
    assert rules_of(deep, Caps(max_depth=199)) == [("10009", "depth")]


def test_a_value_of_more_than_libxml2s_ten_megabytes_is_read():
    raw = a_message(documents=document(composition() + patient() + binary("b1", "QUJD" * 2_800_000)))
    assert rules_of(raw) == []


LEGAL = {
    "a comment before every resource": MESSAGE.replace(b"<resource>", b"<resource><!-- d --><?e?>"),
    "prefixed": MESSAGE.replace(b"<", b"<f:").replace(b"<f:/", b"</f:").replace(b"<f:?", b"<?").replace(b"xmlns=", b"xmlns:f="),
    "comments and instructions anywhere": MESSAGE.replace(b"<id", b"<!-- a --><?b c?><id").replace(
        b"<entry>", b"<entry><!-- d -->"
    ),
    "schema location": MESSAGE.replace(
        b"<Bundle ", b'<Bundle xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="a b" ', 1
    ),
    "without a declaration": MESSAGE.split(b"?>", 1)[1],
    "lower-case encoding name": MESSAGE.replace(b"UTF-8", b"utf-8"),
    "single quotes in the declaration": MESSAGE.replace(b'"UTF-8"', b"'UTF-8'"),
    "character references": MESSAGE.replace(b"message", b"&#109;essage"),
    "spaces around values": MESSAGE.replace(b'"message"', b'" message "'),
    "json": in_json(MESSAGE),
    "json with white space first": b" \r\n\t" + in_json(MESSAGE),
}


@pytest.mark.parametrize("form", LEGAL)
def test_every_legal_form_reads_alike(form):
    reading = read_message(LEGAL[form], CAPS)
    expected = read_message(MESSAGE, CAPS)
    assert reading.faults == ()
    assert reading.header.message_header_id == HEADER_ID
    assert reading.header.handling == expected.header.handling
    assert reading.header.event_code == "ITK003D"
    assert reading.header.timestamp in ("2024-01-02T03:04:05+00:00", "2024-01-02T03:04:05Z")
    assert reading.header.sender_ods_codes == ("RA901",)
    assert reading.envelope.document.document_id == "urn:systems|the-document"
    assert reading.envelope.document.patient.id == PATIENT_ID
    assert judge(reading, Facts()).is_positive


def test_the_form_is_told():
    assert read_message(MESSAGE, CAPS).envelope.form == "xml"
    assert read_message(in_json(MESSAGE), CAPS).envelope.form == "json"


# --------------------------------------------------------------------------------------------- is it a response


RESPONSE = event("ITK008M", "ITK Response")
ARE_RESPONSES = {
    "no": (MESSAGE, False),
    "the one header": (a_message(event=RESPONSE), True),
    "a second header": (a_message(after=entry(message_header(event=RESPONSE), None)), True),
    "the first of two": (a_message(event=RESPONSE, after=entry(message_header(), None)), True),
    "a second event": (a_message(event=event() + RESPONSE), True),
    "in JSON": (in_json(a_message(event=RESPONSE)), True),
    "not well-formed": (a_message(event=RESPONSE)[:-20], True),
    "inside the document": (a_message(documents=document(entry(message_header(event=RESPONSE), None) + composition())), False),
}


@pytest.mark.parametrize("row", ARE_RESPONSES)
def test_a_message_is_a_response_if_any_of_its_headers_is(row):
    raw, is_response = ARE_RESPONSES[row]
    assert read_message(raw, CAPS).is_response is is_response


# --------------------------------------------------------------------------------------------- references, document


def focus_on(reference: str) -> str:
    return f'<focus><reference value="{reference}"/></focus>'


FOCUS = {
    "full url": (f"urn:uuid:{DOCUMENT_ID}", document()),
    "bare uuid": (DOCUMENT_ID, document()),
    "upper case": (f"URN:UUID:{DOCUMENT_ID.upper()}", document()),
    "bare full url": (f"urn:uuid:{DOCUMENT_ID}", document(full_url=DOCUMENT_ID)),
    "type and id": (f"Bundle/{DOCUMENT_ID}", document(full_url="urn:uuid:something-else")),
    "absolute": (f"https://example.test/fhir/Bundle/{DOCUMENT_ID}", document(full_url=None)),
    "id alone": (DOCUMENT_ID, document(full_url=None)),
    "id with a prefix": (DOCUMENT_ID, document(full_url=None, bundle_id=f"urn:uuid:{DOCUMENT_ID}")),
    "nothing at all": ("urn:uuid:no-such-thing", document(full_url=None)),
    "spelled bundle": (DOCUMENT_ID, document().replace("<Bundle>", "<bundle>").replace("</Bundle>", "</bundle>")),
    "one url for Bundle and Composition": (
        f"urn:uuid:{DOCUMENT_ID}",
        document(composition(full_url=f"urn:uuid:{DOCUMENT_ID}") + patient()),
    ),
    "one url for Bundle and a loose Composition": (
        f"urn:uuid:{DOCUMENT_ID}",
        entry("<Composition/>", f"urn:uuid:{DOCUMENT_ID}") + document(),
    ),
}


@pytest.mark.parametrize("row", FOCUS)
def test_the_focus_leads_to_the_document(row):
    focus, documents = FOCUS[row]
    envelope = read_message(a_message(focus=focus_on(focus), documents=documents), CAPS).envelope
    assert envelope.document is not None
    assert envelope.document.identifier == ("urn:systems", "the-document")
    assert envelope.document.composition.id == COMPOSITION_ID


def test_without_a_focus_the_only_document_is_taken_and_of_two_neither():
    one = read_message(a_message(focus=""), CAPS).envelope
    two = read_message(a_message(focus="", documents=document() + document(bundle_id="b", full_url=None)), CAPS).envelope
    assert one.document is not None
    assert (two.document, len(two.documents)) == (None, 2)


def test_the_focus_chooses_among_two():
    second = document(bundle_id="second", full_url="urn:uuid:second")
    envelope = read_message(a_message(focus=focus_on("urn:uuid:second"), documents=document() + second), CAPS).envelope
    assert envelope.document.bundle_id == "second"


def test_references_stay_within_their_bundle():
    inner = organisation("inner", "A81001")
    envelope = read_message(a_message(documents=document(composition() + patient() + inner)), CAPS).envelope
    assert envelope.resolve("urn:uuid:inner") is None
    assert envelope.document.resolve("inner").type == "Organization"
    assert envelope.document.resolve(f"urn:uuid:{SENDER_ID}") is None
    assert envelope.resolve("") is None


def test_a_full_url_counts_before_a_type_and_id_and_that_before_an_id():
    entries = (
        entry('<Patient><id value="a"/></Patient>', "urn:uuid:p")
        + entry('<Practitioner><id value="p"/></Practitioner>', "urn:uuid:q")
        + entry('<Patient><id value="p"/></Patient>', None)
    )
    envelope = read_message(a_message(after=entries), CAPS).envelope
    assert envelope.resolve("p").id == "a"
    assert envelope.resolve("Practitioner/p").type == "Practitioner"
    assert envelope.resolve("Patient/p").id == "p"
    assert envelope.resolve("q").type == "Practitioner"


def test_a_header_organisation_is_resolved_with_its_codes():
    reading = read_message(a_message(receiver_ods_code="a81001"), CAPS)
    assert reading.header.receiver_ods_codes == ("A81001",)
    assert reading.header.receiver.type == "Organization"


def test_the_outer_identity_is_read():
    envelope = read_message(MESSAGE, CAPS).envelope
    assert (envelope.bundle_id, envelope.identifier) == ("the-bundle", (None, "the-bundle-identifier"))
    assert [resource.type for resource in envelope.entries] == ["MessageHeader", "Organization", "Bundle"]


def test_entries_without_a_resource_are_passed_over():
    assert rules_of(a_message(before="<entry/><entry><resource/></entry>")) == []
    assert read_message(a_message(before="<entry/>"), CAPS).header.where == "Bundle.entry[1].resource"


IDS = {" urn:uuid:ABC ": "abc", "URN:UUID: abc": "abc", "abc": "abc", "Abc": "abc", "": ""}


@pytest.mark.parametrize("written", IDS)
def test_ids_are_compared_in_one_form(written):
    assert normalise_id(written) == IDS[written]


def test_a_response_tells_what_it_answers():
    response = (
        '<response><identifier value="x"/><code value="ok"/><details><reference value="urn:uuid:o2"/></details></response>'
    )
    outcomes = "".join(
        entry(
            f"<OperationOutcome><issue><details><coding><code value='{code}'/></coding></details></issue></OperationOutcome>",
            f"urn:uuid:{name}",
        )
        for name, code in (("o1", "30001"), ("o2", "20013"))
    )
    raw = a_message(event=event("ITK008M", "ITK Response"), response=response, documents="", focus="", after=outcomes)
    header = read_message(raw, CAPS).header
    assert (header.response_identifier, header.response_code, header.outcome_codes) == ("x", "ok", ("20013", "30001"))
    assert header.is_response


# --------------------------------------------------------------------------------------------- too large


def test_a_message_over_the_cap_gets_20015_and_its_header_is_read():
    reading = read_message(MESSAGE, Caps(max_bytes=len(MESSAGE) - 1))
    assert [(fault.code.value, fault.rule) for fault in reading.faults] == [("20015", "oversize")]
    assert reading.header.message_header_id == HEADER_ID
    assert reading.header.handling.inf_ack is True
    assert reading.envelope is None
    assert judge(reading, Facts()).code.value == "20015"
    assert read_message(MESSAGE, Caps(max_bytes=len(MESSAGE))).faults == ()


def test_an_oversize_message_is_read_no_further_than_its_header():
    def chunks():
        yield MESSAGE[:6000]
        raise AssertionError("read on")

    header = a_message(specification=handling()).index(b"</MessageHeader>")
    assert header < 6000
    assert read_oversize(chunks(), CAPS).header.message_header_id == HEADER_ID


# --------------------------------------------------------------------------------------------- anything at all


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_make_reading_or_judging_raise(raw):
    verdict = judge(read_message(raw, CAPS), Facts())
    assert not verdict.is_positive


@st.composite
def mutated(draw, original):
    raw = bytearray(original)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(raw) - 1))
        kind = draw(st.integers(0, 3))
        if kind == 0:
            raw[at] = draw(st.integers(0, 255))
        elif kind == 1:
            del raw[at : at + draw(st.integers(1, 60))]
        elif kind == 2:
            raw[at:at] = draw(
                st.sampled_from([b"<", b">", b'"', b"</entry>", b"<entry>", b"{", b"}", b"]", b"\\", b",", b"&", b"\xff"])
            )
        else:
            start = draw(st.integers(0, len(raw) - 1))
            raw[at:at] = raw[start : start + draw(st.integers(1, 200))]
        if not raw:
            raw = bytearray(b"x")
    return bytes(raw)


JSON_MESSAGE = in_json(MESSAGE)


@settings(max_examples=400, deadline=None)
@given(st.one_of(mutated(MESSAGE), mutated(JSON_MESSAGE)), st.integers(50, 8000))
def test_a_damaged_message_always_gets_one_verdict(raw, max_bytes):
    for caps in (CAPS, Caps(max_bytes=max_bytes)):
        reading = read_message(raw, caps)
        verdict = judge(reading, Facts(our_ods_codes=frozenset({"A81001"})))
        assert verdict.code
        assert verdict.issue_code
        assert reading.header.handling.inf_ack in (True, False, None)
        if reading.envelope is not None and reading.envelope.document is not None:
            found = reading.envelope.document
            assert found.document_id != ""
            assert found.attachments == found.attachments
            assert found.patient_identity == found.patient_identity


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["resourceType", "id", "_id", "url", "div", "entry", "resource", "text"]), inner, max_size=4
            )
        ),
        max_leaves=12,
    )
)
def test_no_json_value_makes_reading_raise(value):
    raw = json.dumps({"resourceType": "Bundle", "entry": [{"resource": value}]}).encode()
    assert judge(read_message(raw, CAPS), Facts()).code


def test_the_header_of_a_message_header_alone_is_not_taken_from_elsewhere():
    nested = document(entry(message_header(header_id='<id value="nested"/>'), None) + composition() + patient())
    reading = read_message(a_message(header="", documents=nested), CAPS)
    assert reading.header.message_header_id is None
    assert [fault.rule for fault in reading.faults] == ["message_header_missing"]
