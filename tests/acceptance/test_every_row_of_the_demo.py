"""What the hospital receives and where letters are filed, for every kind of message of the demo: real sandbox, real
command, a hospital with a reader of its own."""

from __future__ import annotations

import json
import re

import pytest

from mesh_itk3.itk3.response_codes import ELEMENTS, response_code_of
from mesh_itk3.simulator.messages import a_message, not_well_formed
from mesh_itk3.simulator.patients import (
    MARGARET_DECEASED,
    PIOTR_UNKNOWN,
    SUSAN_DISAGREES,
    THOMAS_LEFT,
)
from support.practice import Practice, a_hospital, codes
from support.sandbox import HOSPITAL, PRACTICE

pytestmark = pytest.mark.sandbox

WORKFLOWS = {
    "ITK003D": "TOC_FHIR_IP_DISCH",
    "ITK004D": "TOC_FHIR_MH_DISCH",
    "ITK005D": "TOC_FHIR_EC_DISCH",
    "ITK006D": "TOC_FHIR_OP_ATTEN",
    "ITK007C": "GPFED_CONSULT_REPORT",
    "ITK009D": "DIGMED_FLU_VAC",
    "ITK010D": "DIGMED_EMG_MED",
}
HANDLERS = {"ITK007C": "discharge_letters", "ITK009D": "discharge_letters", "ITK010D": "discharge_letters"}


@pytest.fixture
def practice(tmp_path, sandbox):
    return Practice(tmp_path, sandbox.url)


@pytest.fixture
def hospital(sandbox):
    with a_hospital(sandbox.url) as hospital:
        yield hospital


def send(hospital, body, kind="ITK003D", **how):
    return hospital.send(body, to=PRACTICE, workflow_id=WORKFLOWS[kind], **how)


def answered(practice, hospital, sent):
    """One round of the practice, and what the hospital has then."""
    practice.once()
    hospital.read_inbox()
    assert hospital.unexplained == ()
    answers = hospital.responses_to(sent)
    assert answers.surplus == ()
    return codes(answers)


@pytest.mark.parametrize("kind", WORKFLOWS)
def test_a_letter_for_a_registered_patient_is_filed_and_answered(practice, hospital, kind):
    body = a_message(kind)
    sent = send(hospital, body, kind, subject="Letter", filename="letter.xml")
    assert answered(practice, hospital, sent) == ("20013", "30001")
    letter = practice.letter(sent.mesh_message_id)
    assert letter is not None
    assert letter.name == sent.message_header_id
    assert (letter / "message.xml").read_bytes() == body
    assert practice.message(sent.mesh_message_id)["handler"] == HANDLERS.get(kind, "transfer_of_care")


def test_the_pdf_of_a_send_document_is_filed_as_an_attachment(practice, hospital):
    sent = send(hospital, a_message("ITK007C"), "ITK007C")
    answered(practice, hospital, sent)
    letter = practice.letter(sent.mesh_message_id)
    (attachment,) = json.loads((letter / "metadata.json").read_text())["attachments"]
    content = (letter / attachment["file"]).read_bytes()
    assert content.startswith(b"%PDF")
    assert (attachment["content_type"], attachment["bytes"]) == ("application/pdf", len(content))


def test_a_message_in_json_is_answered_in_xml_and_filed_unchanged(practice, hospital):
    body = a_message("ITK003D", form="json")
    sent = send(hospital, body, content_type="application/fhir+json")
    practice.once()
    received = hospital.read_inbox()
    assert [item.response.code for item in received] == ["20013", "30001"]
    assert all(item.body.startswith(b"<?xml") for item in received)
    assert (practice.letter(sent.mesh_message_id) / "message.json").read_bytes() == body


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "compressed"])
def test_a_message_in_several_chunks_arrives_whole(practice, hospital, compress):
    body = a_message("ITK003D", size=200_000)
    sent = send(hospital, body, chunk_bytes=64_000, compress=compress)
    assert sent.chunks == 4
    assert answered(practice, hospital, sent) == ("20013", "30001")
    assert (practice.letter(sent.mesh_message_id) / "message.xml").read_bytes() == body


def test_a_duplicate_is_answered_so_and_not_filed_again(practice, hospital):
    first = send(hospital, a_message("ITK003D"))
    assert answered(practice, hospital, first) == ("20013", "30001")
    second = send(hospital, a_message("ITK003D"))
    practice.once()
    hospital.read_inbox()
    assert practice.message(second.mesh_message_id)["state"] == "rejected"
    assert [r["response_code"] for r in practice.message(second.mesh_message_id)["responses"]] == ["20007"]
    assert len(practice.letters()) == 1


@pytest.mark.parametrize(
    ("code", "body"),
    [
        ("10009", not_well_formed(a_message("ITK003D", seed="nwf"))),
        ("10009", b"\xef\xbb\xbf" + a_message("ITK003D", seed="bom")),
        ("10009", a_message("ITK003D", seed="utf16").decode().encode("utf-16")),
        ("10009", b"this is no letter at all"),
        ("10009", b'<?xml version="1.0"?><!DOCTYPE Bundle [<!ENTITY a "b">]>' + a_message("ITK003D", seed="dtd")[38:]),
        ("10001", a_message("ITK003D", seed="nohandling", handling=False)),
        ("10002", a_message("ITK003D", seed="junk", infrastructure_requested="junk")),
        ("10003", a_message("ITK003D", seed="junk2", business_requested="junk")),
        ("10004", a_message("ITK003D", definition="https://fhir.nhs.uk/STU3/MessageDefinition/Unheard-Of-1")),
        ("10010", a_message("ITK003D", recipient_type="XX")),
        ("20002", a_message("ITK003D", receiver_ods="B99999")),
        ("20006", a_message("ITK003D", event=None)),
        ("20009", a_message("ITK003D", seed="empty").replace(b"<Composition", b"<Basic").replace(b"</Composition", b"</Basic")),
    ],
    ids=["not well-formed", "bom", "utf-16", "no xml", "doctype", "no handling", "10002", "10003", "10004", "10010", "20002",
         "20006", "20009"],
)  # fmt: skip
def test_a_bad_message_gets_its_negative_code_and_no_business_response(practice, hospital, code, body):
    sent = send(hospital, body)
    bystander = send(hospital, a_message("ITK004D", seed="bystander"), "ITK004D")
    practice.once()
    hospital.read_inbox()
    (response,) = practice.message(sent.mesh_message_id)["responses"]
    assert (response["level"], response["response_code"], response["state"]) == ("infrastructure", code, "sent")
    assert practice.message(sent.mesh_message_id)["state"] == "rejected"
    assert practice.letter(sent.mesh_message_id) is None
    assert codes(hospital.responses_to(bystander)) == ("20013", "30001")


def test_a_message_over_the_limit_is_too_large_and_its_bytes_are_kept(tmp_path, sandbox, hospital):
    practice = Practice(tmp_path, sandbox.url, extra="[limits]\nmax_message_bytes = 50000")
    body = a_message("ITK003D", size=60_000)
    sent = send(hospital, body)
    assert answered(practice, hospital, sent) == ("20015", None)
    kept = [path.read_bytes() for path in (tmp_path / "state" / "payloads").rglob("*") if path.is_file()]
    assert body in kept


@pytest.mark.parametrize(
    ("patient", "code", "is_filed"),
    [(THOMAS_LEFT, "30003", False), (PIOTR_UNKNOWN, "30002", False), (MARGARET_DECEASED, "30004", True)],
    ids=["30003", "30002", "30004"],
)
def test_a_patient_who_is_not_registered_here_is_answered_so(practice, hospital, patient, code, is_filed):
    sent = send(hospital, a_message("ITK003D", patient=patient))
    assert answered(practice, hospital, sent) == ("20013", code)
    assert (practice.letter(sent.mesh_message_id) is not None) is is_filed


@pytest.mark.parametrize(("code", "is_filed"), [("30001", True), ("30002", False), ("30003", False), ("30004", True)])
def test_a_message_for_a_person_waits_is_decided_filed_and_answered(practice, hospital, code, is_filed):
    sent = send(hospital, a_message("ITK003D", patient=SUSAN_DISAGREES))
    assert answered(practice, hospital, sent) == ("20013", None)
    assert practice.message(sent.mesh_message_id)["state"] == "awaiting_decision"
    assert practice.letters() == []
    practice.command("respond", sent.mesh_message_id, code, "--by", "Dr Example")
    assert answered(practice, hospital, sent) == ("20013", code)
    assert practice.message(sent.mesh_message_id)["state"] == "completed"
    assert (practice.letter(sent.mesh_message_id) is not None) is is_filed


def test_without_a_register_every_business_decision_waits_for_a_person(practice, hospital):
    (practice.directory / "patients.csv").unlink()
    sent = send(hospital, a_message("ITK003D"))
    assert answered(practice, hospital, sent) == ("20013", None)
    assert practice.message(sent.mesh_message_id)["state"] == "awaiting_decision"


def test_foreign_messages_stay_in_mesh_and_do_not_hide_ours(practice, hospital, practice_mailbox):
    for n in range(12):
        hospital.send(b"for somebody else", to=PRACTICE, workflow_id="SOMETHING_ELSE", local_id=f"foreign-{n}")
    sent = send(hospital, a_message("ITK003D"))
    assert answered(practice, hospital, sent) == ("20013", "30001")
    assert len([one for page in practice_mailbox.pages() for one in page]) == 12


@pytest.mark.parametrize("where", ["spool", "state/spool/X26ABC2"], ids=["configured", "default"])
def test_foreign_messages_are_spooled_for_another_client_and_then_acknowledged(
    tmp_path, sandbox, hospital, practice_mailbox, where
):
    spool = tmp_path / where
    key = f'spool = "{spool}"' if where == "spool" else ""
    practice = Practice(tmp_path, sandbox.url, mailbox_extra=f'foreign = "spool"\n{key}')
    hospital.send(b"for somebody else", to=PRACTICE, workflow_id="SOMETHING_ELSE")
    practice.once()
    (data,), (control,) = spool.glob("*.dat"), spool.glob("*.ctl")
    assert data.read_bytes() == b"for somebody else"
    assert b"SOMETHING_ELSE" in control.read_bytes()
    assert [one for page in practice_mailbox.pages() for one in page] == []


# ---------------------------------------------------------------------------------------------- byte for byte

RESPONSE = """\
<?xml version="1.0" encoding="UTF-8"?>
<Bundle xmlns="http://hl7.org/fhir"><id value="{0}"/>\
<meta><profile value="https://fhir.nhs.uk/STU3/StructureDefinition/ITK-Message-Bundle-1"/></meta>\
<identifier><system value="https://tools.ietf.org/html/rfc4122"/><value value="{1}"/></identifier>\
<type value="message"/>\
<entry><fullUrl value="urn:uuid:{2}"/><resource><MessageHeader><id value="{2}"/>\
<meta><profile value="https://fhir.nhs.uk/STU3/StructureDefinition/ITK-MessageHeader-2"/></meta>\
<extension url="https://fhir.nhs.uk/STU3/StructureDefinition/Extension-ITK-MessageHandling-2">\
<extension url="BusAckRequested"><valueBoolean value="false"/></extension>\
<extension url="InfAckRequested"><valueBoolean value="false"/></extension>\
<extension url="RecipientType"><valueCoding>\
<system value="https://fhir.nhs.uk/STU3/CodeSystem/ITK-RecipientType-1"/>\
<code value="FI"/><display value="For Information"/></valueCoding></extension>\
<extension url="MessageDefinition"><valueReference>\
<reference value="https://fhir.nhs.uk/STU3/MessageDefinition/ITK-Response-MessageDefinition-1"/></valueReference></extension>\
<extension url="SenderReference"><valueString value="{reference}"/></extension>\
<extension url="LocalExtension"><valueString value="None"/></extension></extension>\
<event><system value="https://fhir.nhs.uk/STU3/CodeSystem/ITK-MessageEvent-2"/>\
<code value="ITK008M"/><display value="ITK Response"/></event>\
<sender><reference value="urn:uuid:{3}"/></sender>\
<timestamp value="{time}"/><source><endpoint value="X26ABC2"/></source>\
<response><identifier value="{answers}"/><code value="{ok}"/><details><reference value="urn:uuid:{4}"/></details></response>\
</MessageHeader></resource></entry>\
<entry><fullUrl value="urn:uuid:{3}"/><resource><Organization><id value="{3}"/>\
<meta><profile value="https://fhir.nhs.uk/STU3/StructureDefinition/CareConnect-ITK-Header-Organization-1"/></meta>\
<identifier><system value="https://fhir.nhs.uk/Id/ods-organization-code"/><value value="A81001"/></identifier>\
</Organization></resource></entry>\
<entry><fullUrl value="urn:uuid:{4}"/><resource><OperationOutcome><id value="{4}"/>\
<meta><profile value="https://fhir.nhs.uk/STU3/StructureDefinition/ITK-Response-OperationOutcome-1"/></meta>\
<issue><severity value="{severity}"/><code value="{issue}"/><details><coding>\
<system value="https://fhir.nhs.uk/STU3/CodeSystem/ITK-ResponseCodes-1"/>\
<code value="{code}"/><display value="{display}"/></coding></details>{diagnostics}</issue>\
</OperationOutcome></resource></entry></Bundle>"""


def as_the_standard_fixes_it(body, code, answers, reference, issue=None):
    """The whole response as it has to be; only ids, time and diagnostics are taken from what came."""
    text = body.decode()
    found = dict.fromkeys(re.findall(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", text))
    ids = [one for one in found if one != answers]
    elements = ELEMENTS[response_code_of(code)]
    diagnostics = re.search(r"<diagnostics value=\"[^\"<]+\"/>", text)
    return RESPONSE.format(
        *ids,
        time=re.search(r'timestamp value="(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00)"', text)[1],
        answers=answers,
        reference=reference,
        ok=elements.response_code,
        severity=elements.severity,
        issue=issue or elements.issue_code,
        code=code,
        display=elements.display,
        diagnostics=diagnostics[0] if diagnostics else "",
    ).encode()


@pytest.mark.parametrize(
    ("infrastructure", "business", "changes"),
    [
        ("20013", "30001", {"sender_reference": "W-2026/17"}),
        ("20013", "30002", {"patient": PIOTR_UNKNOWN}),
        ("20013", "30003", {"patient": THOMAS_LEFT}),
        ("20013", "30004", {"patient": MARGARET_DECEASED}),
        ("10001", None, {"definition": None}),
        ("20002", None, {"receiver_ods": "B99999"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_responses_are_byte_for_byte_what_the_standard_fixes(practice, hospital, infrastructure, business, changes):
    sent = send(hospital, a_message("ITK003D", **changes))
    assert answered(practice, hospital, sent) == (infrastructure, business)
    answers = hospital.responses_to(sent)
    reference = changes.get("sender_reference", "None")
    for item, code in ((answers.infrastructure, infrastructure), (answers.business, business)):
        if code is None:
            assert item is None
            continue
        assert item.body == as_the_standard_fixes_it(item.body, code, sent.message_header_id, reference)
        assert (item.workflow_id, item.from_mailbox_id) == ("TOC_FHIR_IP_DISCH_ACK", PRACTICE)


def test_a_negative_response_says_where_and_which_rule_and_no_value_of_the_message(practice, hospital):
    sent = send(hospital, a_message("ITK003D", recipient_type="EDITH"))
    answered(practice, hospital, sent)
    body = hospital.responses_to(sent).infrastructure.body
    assert b"<diagnostics value=" in body
    assert b"EDITH" not in body


def test_every_response_has_a_local_id_of_its_own(practice, hospital):
    sent = [send(hospital, a_message("ITK003D", seed=str(n))) for n in range(3)]
    practice.once()
    hospital.read_inbox()
    answers = [hospital.responses_to(each) for each in sent]
    local_ids = [item.local_id for each in answers for item in (each.infrastructure, each.business)]
    assert len(set(local_ids)) == 6
    assert None not in local_ids


def test_a_report_about_a_response_shows_in_messages(practice, hospital, sandbox):
    sent = send(hospital, a_message("ITK003D"))
    answered(practice, hospital, sent)
    ours = practice.message(sent.mesh_message_id)["responses"][0]
    sandbox.put_report(PRACTICE, workflow_id="TOC_FHIR_IP_DISCH_ACK", linked_message_id=ours["mesh_message_id"])
    practice.once()
    states = {r["mesh_message_id"]: r["state"] for r in practice.message(sent.mesh_message_id)["responses"]}
    assert states[ours["mesh_message_id"]] == "undelivered"
    assert HOSPITAL not in states
