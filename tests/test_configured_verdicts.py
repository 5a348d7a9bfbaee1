"""From configuration to the response that is owed: composed daemon, real ledger, shipped handlers, mailbox in memory."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from itk3.a_message import RECEIVER_ID
from itk3.a_message import a_message as written
from itk3.rows_by_configuration import LEGIBLE, PNG, PROGRAM, TO_A_PERSON, attached, distributed
from mesh_itk3.adapters.ledger import migrate
from mesh_itk3.composition import compose
from mesh_itk3.lifecycle import State
from mesh_itk3.registry import registry_of
from mesh_itk3.settings import load_settings
from mesh_itk3.simulator.messages import a_message
from support.fake_mailbox import FakeMailbox, a_mesh_message
from support.practice import Practice
from support.sandbox import PRACTICE
from support.stage_world import FakeClock

IP, FLU, REPORT = "TOC_FHIR_IP_DISCH", "DIGMED_FLU_VAC", "GPFED_CONSULT_REPORT"
PERSONS, OTHER_PERSONS = 'persons = ["555253716105"]', 'persons = ["999999999999"]'
NOT_LOOKED_UP = f"[workflows.{IP}]\nrouted_by_look_up = false\n"
LENIENT = f'[workflows.{IP}]\nstrictness = "lenient"\n'


@dataclass(frozen=True)
class Row:
    code: str
    body: bytes
    workflow_id: str = IP
    mailbox: str = ""
    tables: str = ""


TO_NOBODY = written(receiver=f'<receiver><reference value="urn:uuid:{RECEIVER_ID}"/></receiver>', documents=LEGIBLE)
ROWS = {
    "person, no list": Row("20013", TO_A_PERSON),
    "person on the list": Row("20013", TO_A_PERSON, mailbox=PERSONS),
    "person not on the list": Row("20001", TO_A_PERSON, mailbox=OTHER_PERSONS),
    "person in the document": Row("20011", distributed("doctor"), mailbox=OTHER_PERSONS),
    "sender known": Row("20013", a_message("ITK009D"), FLU, mailbox='known_senders = ["x26"]'),
    "sender unknown": Row("20003", a_message("ITK009D"), FLU, mailbox='known_senders = ["RX001"]'),
    "sender unknown, by look-up": Row("20013", a_message("ITK003D"), mailbox='known_senders = ["RX001"]'),
    "sender unknown, look-up switched off": Row(
        "20003", a_message("ITK003D"), mailbox='known_senders = ["RX001"]', tables=NOT_LOOKED_UP
    ),
    "sender unknown, to the stand-in": Row(
        "20003", a_message("ITK009D", receiver_ods="V81999"), FLU, mailbox='known_senders = ["RX001"]'
    ),
    "sender authorised": Row("20013", a_message("ITK009D"), FLU, mailbox='authorised_senders = ["x26abc1"]'),
    "sender not authorised": Row("20012", a_message("ITK009D"), FLU, mailbox='authorised_senders = ["X26ABC9"]'),
    "sender not authorised, by look-up": Row("20013", a_message("ITK003D"), mailbox='authorised_senders = ["X26ABC9"]'),
    "type not approved": Row("20004", attached("R0lGODlh", "image/gif")),
    "type approved here, but unsupported": Row(
        "20005", attached("R0lGODlh", "image/gif"), tables=f'[workflows.{IP}]\napproved_attachments = ["image/gif"]\n'
    ),
    "type approved and supported here": Row(
        "20013",
        attached("R0lGODlh", "image/gif"),
        tables=f'[attachments]\nsupported = ["pdf", "image/gif"]\n[workflows.{IP}]\napproved_attachments = ["image/gif"]\n',
    ),
    "type that cannot be opened here": Row("20005", attached(PNG, "image/png"), tables='[attachments]\nsupported = ["pdf"]\n'),
    "program called PDF": Row("20004", attached(PROGRAM)),
    "text called PDF": Row("20004", attached(b"no PDF")),
    "PNG called PDF": Row("20013", attached(PNG)),
    "program called PDF, lenient": Row("20013", attached(PROGRAM), tables=LENIENT),
    "PDF": Row("20013", attached(b"%PDF-1.7 x")),
    "no business response wanted": Row("10008", a_message("ITK007C", business_requested=False), REPORT),
    "no response wanted": Row(
        "20013", a_message("ITK007C", business_requested=False, infrastructure_requested=False), REPORT
    ),
    "no business response wanted, guide set aside": Row(
        "20013", a_message("ITK007C", business_requested=False), REPORT, tables=f"[workflows.{REPORT}]\nrequired_flags = []\n"
    ),
    "no business response wanted, another guide": Row("20013", a_message("ITK003D", business_requested=False)),
    "replacement of nothing": Row(
        "20009",
        a_message("ITK003D", replaces="x").replace(b'<targetIdentifier><system value="https://tools.ietf.org/html/rfc4122"/>'
        b'<value value="x"/></targetIdentifier>', b""),
    ),
    "replacement": Row("20013", a_message("ITK003D", replaces="55555555-0000-4000-8000-000000000001")),
    "receiver that cannot be found": Row(
        "20013", TO_NOBODY
    ),
    "receiver that cannot be found, strict": Row(
        "20006",
        TO_NOBODY,
        tables=f'[workflows.{IP}]\nstrictness = "strict"\n',
    ),
    "no handling specification, lenient": Row("20013", a_message("ITK003D", handling=False), tables=LENIENT),
}  # fmt: skip


def judged(tmp_path, row: Row):
    daemon = a_daemon(tmp_path, row)
    ((record, responses),) = daemon.ledger.messages()
    daemon.close()
    return record, responses


def a_daemon(tmp_path, row: Row):
    """One that has collected and judged the row's message."""
    settings = load_settings(
        Practice(tmp_path, "http://127.0.0.1:1", extra=row.tables, mailbox_extra=row.mailbox).config, None, os.environ
    )
    migrate(settings.ledger.url.get_secret_value(), datetime.now(UTC))
    daemon = compose(settings, registry_of(settings), clock=FakeClock(datetime.now(UTC)), stopping=threading.Event())
    daemon.hold()
    daemon.mailboxes[PRACTICE].close()
    mailbox = FakeMailbox([a_mesh_message(row.body, workflow_id=row.workflow_id)])
    daemon.mailboxes[PRACTICE] = daemon.collectors[PRACTICE].mailbox = mailbox
    daemon.collect(PRACTICE)
    daemon.interpret()
    return daemon


@pytest.mark.parametrize("name", ROWS)
def test_a_configured_rule_decides_what_the_sender_is_told(tmp_path, name):
    row = ROWS[name]
    record, responses = judged(tmp_path, row)
    assert record.response_code == row.code
    assert record.state is (State.ACCEPTED if row.code == "20013" else State.REJECTED)
    is_asked = b'InfAckRequested"><valueBoolean value="true"' in row.body
    assert [response.response_code for response in responses] == ([row.code] if is_asked else [])


def test_a_deviation_that_was_waived_stands_as_a_warning_in_the_ledger(tmp_path):
    record, _ = judged(tmp_path, ROWS["PNG called PDF"])
    assert record.warnings == ("attachment_content_differs",)


BARE = {
    "no handling specification": written(specification="", documents=LEGIBLE),
    "no sender": written(sender="", documents=LEGIBLE),
    "no timestamp": written(timestamp="", documents=LEGIBLE),
    "no source": written(source="", documents=LEGIBLE),
    "no event system": written(event='<event><code value="ITK003D"/></event>', documents=LEGIBLE),
    "replacement of nothing": ROWS["replacement of nothing"].body,
    "attachment that cannot be read": attached("!!!"),
}


@pytest.mark.parametrize("name", BARE)
def test_what_lenient_takes_is_dealt_with_to_the_end(tmp_path, name):
    """Whatever is missing of the header, the message comes to a person or to an end, and asks nothing of an operator."""
    daemon = a_daemon(tmp_path, Row("20013", BARE[name], tables=LENIENT))
    daemon.dispatch()
    ((record, _),) = daemon.ledger.messages()
    daemon.close()
    assert record.state in {State.COMPLETED, State.AWAITING_DECISION}
