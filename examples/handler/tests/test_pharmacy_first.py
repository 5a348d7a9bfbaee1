"""The example's own tests: a handler is a class, a message is bytes; neither MESH nor the daemon is needed."""

from datetime import UTC, datetime

import pytest
from pharmacy_first import PharmacyFirst, PharmacyFirstSettings

from mesh_itk3.adapters.letters import LetterFiles
from mesh_itk3.handler import BusinessCode, Context, Decision, Defer, Message, Respond
from mesh_itk3.itk3.envelope import Caps, read_message

NOW = datetime(2026, 1, 16, 8, 0, tzinfo=UTC)
RAW = b"""<Bundle xmlns="http://hl7.org/fhir"><type value="message"/>
<entry><resource><MessageHeader><id value="header-1"/><event><code value="ITK014M"/></event></MessageHeader></resource></entry>
<entry><resource><Bundle><type value="document"/>
<entry><resource><Composition><title value="Pharmacy First"/></Composition></resource></entry>
<entry><resource><Observation><id value="o"/></Observation></resource></entry>
</Bundle></resource></entry></Bundle>"""


def a_message() -> Message:
    reading = read_message(RAW, Caps())
    return Message(
        raw=RAW,
        header=reading.header,
        envelope=reading.envelope,
        workflow_id="GPCONNECT_UPDATE_RECORD",
        mesh_message_id="mesh-1",
        mailbox_id="X26ABC2",
        sender_mailbox_id="X26PHARM",
        received_at=NOW,
    )


def a_context(decided: BusinessCode | None = None) -> Context:
    decision = Decision(decided, "Dr A. Example", NOW) if decided else None
    return Context(idempotency_key="X26ABC2/mesh-1", now=NOW, decision=decision, patients=None, files=LetterFiles(), log=None)


@pytest.fixture
def handler(tmp_path):
    return PharmacyFirst(PharmacyFirstSettings(output=tmp_path))


def test_a_record_waits_for_a_clinician(handler, tmp_path):
    assert handler.handle(a_message(), a_context()) == Defer("clinician_to_accept")
    assert list(tmp_path.iterdir()) == []


def test_an_accepted_record_is_kept_and_answered(handler, tmp_path):
    answer = handler.handle(a_message(), a_context(BusinessCode.PATIENT_KNOWN))
    assert answer == Respond(BusinessCode.PATIENT_KNOWN)
    assert (tmp_path / "2026-01-16" / "header-1" / "message.xml").read_bytes() == RAW


def test_a_refused_record_is_answered_and_not_kept(handler, tmp_path):
    answer = handler.handle(a_message(), a_context(BusinessCode.PATIENT_NOT_KNOWN))
    assert answer == Respond(BusinessCode.PATIENT_NOT_KNOWN)
    assert list(tmp_path.iterdir()) == []
