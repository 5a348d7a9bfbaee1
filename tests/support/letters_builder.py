"""Small STU3 messages for the tests of letters: what a test is about is an argument, the rest is there already.

Every patient is in the 999 range that is never given to anybody.
"""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import Any

from mesh_itk3.handler import Context, Decision, Message
from mesh_itk3.itk3.envelope import Caps, read_message
from mesh_itk3.itk3.response_codes import BusinessCode
from mesh_itk3.patient_match import PatientIdentity, PatientMatch

NHS_NUMBER = "9990000018"
RECEIVED_AT = datetime(2026, 1, 15, 23, 30, tzinfo=UTC)
MEDICATIONS = "933361000000108"
ALLERGIES = "886921000000105"
DIAGNOSES = "887161000000102"
PROCEDURES = "887171000000109"
XHTML = 'xmlns="http://www.w3.org/1999/xhtml"'


def value(name: str, text: str | None) -> str:
    return "" if text is None else f'<{name} value="{escape(text)}"/>'


def coded(name: str, code: str, display: str, system: str = "http://snomed.info/sct") -> str:
    return f"<{name}><coding>{value('system', system)}{value('code', code)}{value('display', display)}</coding></{name}>"


def entry(type_: str, id_: str, content: str) -> str:
    resource = f"<{type_}>{value('id', id_)}{content}</{type_}>"
    return f"<entry>{value('fullUrl', f'urn:uuid:{id_}')}<resource>{resource}</resource></entry>"


def reference(name: str, id_: str) -> str:
    return f"<{name}><reference value='urn:uuid:{id_}'/></{name}>"


def section(
    title: str | None = "Clinical summary",
    text: str | None = "<p>Seen and well.</p>",
    *,
    code: str | None = None,
    entries: tuple[str, ...] = (),
    nested: str = "",
) -> str:
    """`text` is the inside of the div; None for a section without text."""
    narrative = "" if text is None else f'<text><status value="additional"/><div {XHTML}>{text}</div></text>'
    code_part = coded("code", code, title or "") if code else ""
    references = "".join(reference("entry", id_) for id_ in entries)
    return f"<section>{value('title', title)}{code_part}{narrative}{references}{nested}</section>"


def patient(
    *,
    nhs_number: str | None = NHS_NUMBER,
    status: str | None = "01",
    family: str | None = "Testcase",
    born: str | None = "1957-01-09",
) -> str:
    verified = (
        '<extension url="https://fhir.hl7.org.uk/STU3/StructureDefinition/Extension-CareConnect-NHSNumberVerificationStatus-1">'
        f"{coded('valueCodeableConcept', status, '')}</extension>"
        if status
        else ""
    )
    number = f"{value('system', 'https://fhir.nhs.uk/Id/nhs-number')}{value('value', nhs_number)}"
    identifier = f"<identifier>{verified}{number}</identifier>" if nhs_number else ""
    name = f'<name><use value="official"/>{value("family", family)}<given value="Robin"/><prefix value="Mx"/></name>'
    return entry("Patient", "patient", f'{identifier}{name}<gender value="other"/>{value("birthDate", born)}')


AUTHOR = entry("Practitioner", "author", '<name><family value="Rowan"/><given value="Asha"/><prefix value="Dr"/></name>')
CUSTODIAN = entry(
    "Organization",
    "custodian",
    '<identifier><system value="https://fhir.nhs.uk/Id/ods-organization-code"/><value value="RX1"/></identifier>'
    '<name value="Example General Hospital"/>',
)
CARE_SETTING = (
    '<extension url="https://fhir.hl7.org.uk/STU3/StructureDefinition/Extension-CareConnect-CareSettingType-1">'
    + coded("valueCodeableConcept", "893061000000109", "Cardiology service")
    + "</extension>"
)


def composition(sections: str, *, title: str | None = "Discharge summary", more: str = "") -> str:
    content = (
        CARE_SETTING
        + '<identifier><value value="composition-1"/></identifier><status value="final"/>'
        + coded("type", "373942005", "Discharge summary")
        + reference("subject", "patient")
        + '<date value="2026-01-14T10:00:00+00:00"/>'
        + reference("author", "author")
        + value("title", title)
        + reference("custodian", "custodian")
        + more
        + sections
    )
    return entry("Composition", "composition", content)


def binary(id_: str, content: str, content_type: str | None = "application/pdf") -> str:
    """`content` is base64 already."""
    return entry("Binary", id_, f"{value('contentType', content_type)}{value('content', content)}")


def message_xml(
    sections: str | None = None,
    *,
    entries: str = "",
    message_header_id: str = "11111111-2222-3333-4444-555555555555",
    event_code: str = "ITK003D",
    title: str | None = "Discharge summary",
    patient_entry: str | None = None,
    composition_more: str = "",
) -> bytes:
    document = (
        '<Bundle><id value="document"/><identifier><system value="https://tools.ietf.org/html/rfc4122"/>'
        '<value value="document-1"/></identifier><type value="document"/>'
        + composition(section() if sections is None else sections, title=title, more=composition_more)
        + (patient() if patient_entry is None else patient_entry)
        + AUTHOR
        + CUSTODIAN
        + entries
        + "</Bundle>"
    )
    handling = (
        '<extension url="https://fhir.nhs.uk/STU3/StructureDefinition/Extension-ITK-MessageHandling-2">'
        '<extension url="BusAckRequested"><valueBoolean value="true"/></extension>'
        '<extension url="InfAckRequested"><valueBoolean value="true"/></extension>'
        '<extension url="RecipientType"><valueCoding><code value="FA"/></valueCoding></extension></extension>'
    )
    header = f'{handling}<event><code value="{event_code}"/></event><focus><reference value="urn:uuid:document"/></focus>'
    return (
        '<Bundle xmlns="http://hl7.org/fhir"><id value="outer"/><type value="message"/>'
        + entry("MessageHeader", escape(message_header_id), header)
        + f'<entry><fullUrl value="urn:uuid:document"/><resource>{document}</resource></entry></Bundle>'
    ).encode()


def a_message(
    raw: bytes | None = None,
    *,
    mesh_message_id: str = "20260115233000000001_A1B2C3",
    workflow_id: str = "TOC_FHIR_IP_DISCH",
    received_at: datetime = RECEIVED_AT,
    warnings: tuple[str, ...] = (),
    **built: Any,
) -> Message:
    """A message as dispatch hands it to a handler; `built` goes to `message_xml`."""
    raw = message_xml(**built) if raw is None else raw
    reading = read_message(raw, Caps())
    assert reading.envelope is not None, reading.faults
    return Message(
        raw=raw,
        header=reading.header,
        envelope=reading.envelope,
        workflow_id=workflow_id,
        mesh_message_id=mesh_message_id,
        mailbox_id="X26TEST",
        sender_mailbox_id="X26SEND",
        received_at=received_at,
        warnings=warnings,
    )


class FixedPatients:
    """A register that gives one answer and remembers what it was asked."""

    def __init__(self, code: BusinessCode | None = BusinessCode.PATIENT_KNOWN, reason: str = "registered") -> None:
        self.answer = PatientMatch(code, reason)
        self.asked: list[tuple[PatientIdentity, Any]] = []

    def match(self, identity: PatientIdentity, today: Any) -> PatientMatch:
        self.asked.append((identity, today))
        return self.answer


class SilentLog:
    def info(self, outcome: str, **fields: Any) -> None: ...

    def warning(self, outcome: str, **fields: Any) -> None: ...


class RefusingWriter:
    """A writer for cases in which nothing may be filed."""

    def file(self, output: Any, message: Any, fill: Any) -> Any:
        raise AssertionError("something was filed")


def a_context(
    *,
    patients: Any = None,
    files: Any = None,
    decision: BusinessCode | None = None,
    now: datetime = datetime(2026, 1, 16, 8, 0, tzinfo=UTC),
) -> Context:
    from mesh_itk3.adapters.letters import LetterFiles

    made = None if decision is None else Decision(code=decision, by="A. Clerk", at=now)
    return Context(
        idempotency_key="key",
        now=now,
        decision=made,
        patients=patients or FixedPatients(),
        files=files or LetterFiles(),
        log=SilentLog(),
    )
