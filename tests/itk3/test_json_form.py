"""JSON says what XML would have said, and nothing that XML could not."""

from __future__ import annotations

import json

import pytest

from itk3.a_message import HEADER_ID, a_message, composition, document, in_json, patient, section
from mesh_itk3.itk3.envelope import Caps, read_message
from mesh_itk3.itk3.verdict import Facts, judge

CAPS = Caps()
MESSAGE = a_message()


def test_json_keeps_what_xml_would_have_said():
    div = '<div xmlns="http://www.w3.org/1999/xhtml"><p>Take &lt;one&gt;</p></div>'
    content = '<birthDate value="1970-01-02"><extension url="urn:a"><valueDecimal value="1.10"/></extension></birthDate>'
    raw = a_message(documents=document(composition(sections=section(div=div)) + patient(content=content)))
    found = read_message(in_json(raw).replace(b"1.1", b"1.10"), CAPS).envelope.document
    assert found.sections[0].text() == "Take <one>"
    assert found.patient.value("birthDate") == "1970-01-02"
    assert found.patient.all("birthDate/extension")[0].url == "urn:a"
    assert found.patient.value("birthDate/extension/valueDecimal") == "1.10"


def test_a_json_narrative_that_is_no_xml_is_kept_as_text():
    content = json.loads(in_json(a_message(documents=document(composition(sections=section(div="<div/>")) + patient()))))
    inner = content["entry"][2]["resource"]["entry"][0]["resource"]
    for text in ("<div>a<br>b</div>", "<!DOCTYPE x [<!ENTITY y 'z'>]><div>&y;</div>"):
        inner["section"][0]["text"] = {"status": "additional", "div": text}
        found = read_message(json.dumps(content).encode(), CAPS).envelope.document
        assert found.sections[0].text() == text


def test_a_json_primitive_may_have_an_extension_and_no_value():
    person = b'"_birthDate":{"extension":[{"url":"u"}]},"name":[{"given":[null,"B"],"_given":[{"id":"g"},null]}]'
    raw = b'{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient",%s}}]}' % person
    (found,) = read_message(raw, CAPS).envelope.entries
    assert found.value("birthDate") is None
    assert found.all("birthDate/extension")[0].url == "u"
    assert [part.element.get("id") for part in found.all("name/given")] == ["g", None]


def json_with(header: dict, **flags) -> bytes:
    content = json.loads(in_json(MESSAGE))
    content["entry"][0]["resource"].update(header)
    for key in content["entry"][0]["resource"]["extension"][0]["extension"]:
        key.update(flags.get(key["url"], {}))
    return json.dumps(content).encode()


NO_STRINGS = {"list": ["a"], "two": ["a", "b"], "boolean": True, "number": 123, "object": {"a": 1}, "null": None, "float": 1.5}


@pytest.mark.parametrize("row", NO_STRINGS)
def test_a_json_id_that_is_no_string_is_no_id(row):
    reading = read_message(json_with({"id": NO_STRINGS[row]}), CAPS)
    verdict = judge(reading, Facts())
    assert reading.header.message_header_id is None
    assert (verdict.code.value, verdict.rule) == ("20006", "message_header_id_missing")


def test_a_json_value_of_another_type_is_no_value():
    assert judge(read_message(json_with({"timestamp": 2024}), CAPS), Facts()).rule == "timestamp_missing"
    assert judge(read_message(json_with({"event": {"system": True, "code": 3}}), CAPS), Facts()).rule == "event_missing"
    flag_as_text = json_with({}, InfAckRequested={"valueBoolean": "true"})
    assert judge(read_message(flag_as_text, CAPS), Facts()).rule == "inf_ack_unusable"


def json_with_narrative(div: str) -> bytes:
    return json_with({"text": {"status": "additional", "div": div}})


@pytest.mark.parametrize("levels", [250, 1500, 3000, 100_000])
def test_levels_of_a_json_narrative_count(levels):
    deep = "<div>" + "<b>" * levels + "</b>" * levels + "</div>"
    reading = read_message(json_with_narrative(deep), CAPS)
    assert [(fault.code.value, fault.rule) for fault in reading.faults] == [("10009", "depth")]
    assert reading.header.message_header_id == HEADER_ID
    # Neither the JSON nor the narrative is too deep for itself.
    together = "<div>" + "<b>" * 198 + "</b>" * 198 + "</div>"
    assert [fault.rule for fault in read_message(json_with_narrative(together), CAPS).faults] == ["depth"]


def test_elements_of_a_json_narrative_count():
    caps = Caps(max_marks=10_000)
    reading = read_message(json_with_narrative("<div>" + "<b/>" * 9_000 + "</div>"), caps)
    assert reading.faults == ()
    many = json_with_narrative("<div>" + "<b/>" * 10_000 + "</div>")
    for raw in (many, many.replace(b"<b/>", b"\\u003cb/>")):
        reading = read_message(raw, caps)
        assert [(fault.code.value, fault.rule) for fault in reading.faults] == [("10009", "too_many_elements")]
        assert reading.header.message_header_id == HEADER_ID
