"""The responses that we write, read back by ourselves and by others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from fhir.resources.STU3.bundle import Bundle
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from itk3.a_message import a_message, handling
from mesh_itk3.itk3.envelope import Caps, read_message
from mesh_itk3.itk3.response_bundle import ResponseIds, write_response
from mesh_itk3.itk3.response_codes import ELEMENTS, BusinessCode, InfrastructureCode, level_of
from mesh_itk3.itk3.response_reading import read_response

IDS = ResponseIds(
    bundle_id="0a0a0a0a-0000-4000-8000-000000000001",
    bundle_identifier="0a0a0a0a-0000-4000-8000-000000000002",
    message_header_id="0a0a0a0a-0000-4000-8000-000000000003",
    organization_id="0a0a0a0a-0000-4000-8000-000000000004",
    outcome_id="0a0a0a0a-0000-4000-8000-000000000005",
)
CAPS = Caps()
NOW = datetime(2024, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
ALL_CODES = [*InfrastructureCode, *BusinessCode]


def a_response(**changes) -> bytes:
    parts = {
        "code": BusinessCode.PATIENT_NOT_KNOWN,
        "issue_code": None,
        "diagnostics": "not_found: Composition.subject",
        "ids": IDS,
        "now": NOW,
        "mailbox_id": "X26GP001",
        "ods_code": "A81001",
        "answers": "0b0e2b0e-6d6e-4a55-8f0e-0a1b2c3d4e01",
        "sender_reference": None,
    }
    return write_response(**{**parts, **changes})


def read_back(raw: bytes):
    reading = read_message(raw, Caps())
    assert reading.faults == ()
    return read_response(reading)


def values_in(raw: bytes, path: str) -> list[str]:
    root = etree.fromstring(raw)
    return [
        found.get("value") for found in root.findall("/".join(f"{{http://hl7.org/fhir}}{name}" for name in path.split("/")))
    ]


HEADER = "entry/resource/MessageHeader"
ISSUE = "entry/resource/OperationOutcome/issue"

# The published shape, element for element: recommended in GP Connect Messaging 1.6.0 and checked by GP-GFR-18 and -19.
EXPECTED = """<?xml version="1.0" encoding="UTF-8"?>
<Bundle xmlns="http://hl7.org/fhir">
<id value="0a0a0a0a-0000-4000-8000-000000000001"/>
<meta><profile value="https://fhir.nhs.uk/STU3/StructureDefinition/ITK-Message-Bundle-1"/></meta>
<identifier><system value="https://tools.ietf.org/html/rfc4122"/>
<value value="0a0a0a0a-0000-4000-8000-000000000002"/></identifier>
<type value="message"/>
<entry><fullUrl value="urn:uuid:0a0a0a0a-0000-4000-8000-000000000003"/><resource><MessageHeader>
<id value="0a0a0a0a-0000-4000-8000-000000000003"/>
<meta><profile value="https://fhir.nhs.uk/STU3/StructureDefinition/ITK-MessageHeader-2"/></meta>
<extension url="https://fhir.nhs.uk/STU3/StructureDefinition/Extension-ITK-MessageHandling-2">
<extension url="BusAckRequested"><valueBoolean value="false"/></extension>
<extension url="InfAckRequested"><valueBoolean value="false"/></extension>
<extension url="RecipientType"><valueCoding><system value="https://fhir.nhs.uk/STU3/CodeSystem/ITK-RecipientType-1"/>
<code value="FI"/><display value="For Information"/></valueCoding></extension>
<extension url="MessageDefinition"><valueReference>
<reference value="https://fhir.nhs.uk/STU3/MessageDefinition/ITK-Response-MessageDefinition-1"/></valueReference></extension>
<extension url="SenderReference"><valueString value="None"/></extension>
<extension url="LocalExtension"><valueString value="None"/></extension></extension>
<event><system value="https://fhir.nhs.uk/STU3/CodeSystem/ITK-MessageEvent-2"/>
<code value="ITK008M"/><display value="ITK Response"/></event>
<sender><reference value="urn:uuid:0a0a0a0a-0000-4000-8000-000000000004"/></sender>
<timestamp value="2024-01-02T03:04:05+00:00"/>
<source><endpoint value="X26GP001"/></source>
<response><identifier value="0b0e2b0e-6d6e-4a55-8f0e-0a1b2c3d4e01"/><code value="fatal-error"/>
<details><reference value="urn:uuid:0a0a0a0a-0000-4000-8000-000000000005"/></details></response>
</MessageHeader></resource></entry>
<entry><fullUrl value="urn:uuid:0a0a0a0a-0000-4000-8000-000000000004"/><resource><Organization>
<id value="0a0a0a0a-0000-4000-8000-000000000004"/>
<meta><profile value="https://fhir.nhs.uk/STU3/StructureDefinition/CareConnect-ITK-Header-Organization-1"/></meta>
<identifier><system value="https://fhir.nhs.uk/Id/ods-organization-code"/><value value="A81001"/></identifier>
</Organization></resource></entry>
<entry><fullUrl value="urn:uuid:0a0a0a0a-0000-4000-8000-000000000005"/><resource><OperationOutcome>
<id value="0a0a0a0a-0000-4000-8000-000000000005"/>
<meta><profile value="https://fhir.nhs.uk/STU3/StructureDefinition/ITK-Response-OperationOutcome-1"/></meta>
<issue><severity value="fatal"/><code value="not-found"/>
<details><coding><system value="https://fhir.nhs.uk/STU3/CodeSystem/ITK-ResponseCodes-1"/><code value="30002"/>
<display value="Patient not known here. (aka 'patient record not present in system')"/></coding></details>
<diagnostics value="not_found: Composition.subject"/></issue></OperationOutcome></resource></entry></Bundle>"""


def test_a_response_is_what_the_standard_shows_byte_for_byte():
    declaration, *lines = EXPECTED.splitlines()
    assert a_response() == (declaration + "\n" + "".join(lines)).encode()


@pytest.mark.parametrize("code", ALL_CODES, ids=lambda code: code.value)
def test_every_code_carries_the_elements_of_its_row(code):
    raw = a_response(code=code)
    elements = ELEMENTS[code]
    assert values_in(raw, f"{HEADER}/response/code") == [elements.response_code]
    assert values_in(raw, f"{ISSUE}/severity") == [elements.severity]
    assert values_in(raw, f"{ISSUE}/code") == [elements.issue_code]
    assert values_in(raw, f"{ISSUE}/details/coding/display") == [elements.display]
    assert values_in(raw, f"{ISSUE}/diagnostics") == ([] if elements.is_positive else ["not_found: Composition.subject"])


@pytest.mark.parametrize("code", ALL_CODES, ids=lambda code: code.value)
def test_every_response_validates_as_stu3(code):
    bundle = Bundle.model_validate_xml(a_response(code=code, sender_reference="R&D <1>"))
    assert [found.resource.get_resource_type() for found in bundle.entry] == [
        "MessageHeader",
        "Organization",
        "OperationOutcome",
    ]


def test_a_negative_always_says_why():
    raw = a_response(diagnostics=None)
    assert values_in(raw, f"{ISSUE}/diagnostics") == [ELEMENTS[BusinessCode.PATIENT_NOT_KNOWN].display]


def test_the_issue_code_is_one_that_the_code_allows():
    code = InfrastructureCode.HEADER_VALIDATION_FAILURE
    assert values_in(a_response(code=code, issue_code="required"), f"{ISSUE}/code") == ["required"]
    assert values_in(a_response(code=code, issue_code="duplicate"), f"{ISSUE}/code") == ["invalid"]


ANSWERS = {
    "as written": ("ABC-def.1", "ABC-def.1"),
    "urn": ("urn:uuid:ABC", "ABC"),
    "URN": ("URN:UUID:ABC", "ABC"),
    "unreadable": (None, "UNREADABLE-IN-ORIGINAL-MESSAGE"),
    "empty": ("", "UNREADABLE-IN-ORIGINAL-MESSAGE"),
    "no FHIR id": ("a_b", "UNREADABLE-IN-ORIGINAL-MESSAGE"),
    "too long": ("a" * 65, "UNREADABLE-IN-ORIGINAL-MESSAGE"),
    "hostile": ('"/><x a="', "UNREADABLE-IN-ORIGINAL-MESSAGE"),
    "dotted capital i": ("urn:uuid:\u0130\u0130", "UNREADABLE-IN-ORIGINAL-MESSAGE"),
}


@pytest.mark.parametrize("row", ANSWERS)
def test_the_original_id_is_quoted_or_the_fixed_string(row):
    answers, quoted = ANSWERS[row]
    assert values_in(a_response(answers=answers), f"{HEADER}/response/identifier") == [quoted]


REFERENCES = {
    "echoed exactly": (" Ref  1 ", " Ref  1 "),
    "markup": ('<a b="c">&', '<a b="c">&'),
    "unicode": ("Röntgen 🩻", "Röntgen 🩻"),
    "absent": (None, "None"),
    "empty": ("", "None"),
    "blank": ("  ", "None"),
    "255": ("x" * 255, "x" * 255),
    "256": ("x" * 256, "None"),
    "control characters": ("a\x00b", "None"),
    "tab and line ends": ("a\tb\nc\rd\r\n", "a\tb\nc\rd\r\n"),
    "not a character": ("a\ufffeb", "None"),
    "half a surrogate": ("\ud800", "None"),
}


@pytest.mark.parametrize("row", REFERENCES)
def test_the_sender_reference_is_echoed_or_none(row):
    given_reference, echoed = REFERENCES[row]
    assert read_back(a_response(sender_reference=given_reference)).sender_reference == echoed


def test_tabs_and_line_ends_of_a_sender_reference_go_out_as_character_references():
    assert b'<valueString value="a&#9;b&#10;c&#13;d"/>' in a_response(sender_reference="a\tb\nc\rd")


def test_a_sender_reference_comes_back_as_it_was_received():
    received = read_message(a_message(specification=handling(SenderReference='<valueString value="a&#9;b&#10;c"/>')), CAPS)
    given_reference = received.header.handling.sender_reference.value
    assert read_back(a_response(sender_reference=given_reference)).sender_reference == given_reference == "a\tb\nc"


@pytest.mark.parametrize("value", ['"/><x y="', "%(code)s %s %", "a & b's", "x\ty"])
def test_no_value_breaks_out_of_its_place(value):
    raw = a_response(ods_code=value, mailbox_id=value)
    assert values_in(raw, f"{HEADER}/source/endpoint") == [value]
    assert values_in(raw, "entry/resource/Organization/identifier/value") == [value]


def test_a_value_that_xml_cannot_hold_is_our_own_mistake():
    with pytest.raises(ValueError, match="XML"):
        a_response(ods_code="A\x00")


def test_an_answer_is_asked_for_only_on_demand():
    assert (read_back(a_response()).inf_ack, read_back(a_response()).bus_ack) == (False, False)
    asking = read_back(a_response(asks_infrastructure_response=True))
    assert (asking.inf_ack, asking.bus_ack) == (True, False)


def test_the_timestamp_is_utc_in_whole_seconds():
    summer = datetime(2024, 7, 1, 12, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=1)))
    assert values_in(a_response(now=summer), f"{HEADER}/timestamp") == ["2024-07-01T11:00:00+00:00"]


def test_long_diagnostics_are_cut_and_cleaned():
    assert len(values_in(a_response(diagnostics="x" * 5000), f"{ISSUE}/diagnostics")[0]) == 1000
    assert values_in(a_response(diagnostics="a\x01b\n"), f"{ISSUE}/diagnostics") == ["a b"]


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(ALL_CODES),
    st.from_regex(r"[A-Za-z0-9.-]{1,64}", fullmatch=True),
    st.text(max_size=300) | st.none(),
    st.text(max_size=50) | st.none(),
    st.booleans(),
)
def test_what_is_written_reads_back_the_same(code, answers, sender_reference, diagnostics, asks):
    raw = a_response(
        code=code,
        answers=answers,
        sender_reference=sender_reference,
        diagnostics=diagnostics,
        asks_infrastructure_response=asks,
    )
    found = read_back(raw)
    assert not raw.startswith(b"\xef\xbb\xbf")
    assert (found.code, found.level, found.answers, found.inf_ack) == (code, level_of(code), answers, asks)
    assert found.response_code == ELEMENTS[code].response_code
    assert found.message_header_id == IDS.message_header_id
    assert found.sender_ods_codes == ("A81001",)
    assert found.sender_reference in (sender_reference, "None")
    assert raw == a_response(
        code=code,
        answers=answers,
        sender_reference=sender_reference,
        diagnostics=diagnostics,
        asks_infrastructure_response=asks,
    )
