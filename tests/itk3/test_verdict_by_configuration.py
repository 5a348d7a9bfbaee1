"""Rules that depend on what is configured: each is broken, kept, and not applied where there is no list."""

from __future__ import annotations

import base64

import pytest

from itk3.a_message import RECEIVER_ID, a_message, definition, handling
from itk3.rows_by_configuration import (
    ACCEPTED,
    BY_CONFIGURATION,
    OLD_DOCUMENT,
    OTHERS,
    SPELLINGS,
    SUPPORTED,
    US,
    a_row,
    attached,
    practitioner,
)
from mesh_itk3.itk3.attachment_types import KINDS, START_BYTES, kind_of_start
from mesh_itk3.itk3.envelope import Caps, read_message
from mesh_itk3.itk3.message_definitions import Cited, cited
from mesh_itk3.itk3.verdict import Facts, Strictness, judge

STRICT, STANDARD, LENIENT = Strictness.STRICT, Strictness.STANDARD, Strictness.LENIENT


def verdict_on(raw: bytes, **facts):
    return judge(read_message(raw, Caps()), Facts(**{"our_ods_codes": frozenset({"A81001"}), **facts}))


@pytest.mark.parametrize("row", BY_CONFIGURATION)
def test_a_message_that_breaks_a_configured_rule_gets_its_code(row):
    raw, facts, codes, where = BY_CONFIGURATION[row]
    verdicts = [verdict_on(raw, strictness=strictness, **facts) for strictness in (STRICT, STANDARD, LENIENT)]
    assert tuple(verdict.code.value for verdict in verdicts) == codes
    assert verdicts[0].rule == row.partition(" ")[0]
    assert verdicts[0].where.endswith(where)


@pytest.mark.parametrize("row", [row for row, (_, _, codes, _) in BY_CONFIGURATION.items() if codes[1] == "20013"])
def test_what_standard_waives_of_it_is_a_warning(row):
    raw, facts, _, _ = BY_CONFIGURATION[row]
    assert verdict_on(raw, **facts).warnings == (row.partition(" ")[0],)


@pytest.mark.parametrize("row", BY_CONFIGURATION)
def test_the_same_message_is_accepted_without_that_configuration(row):
    verdict = verdict_on(BY_CONFIGURATION[row][0])
    assert verdict.is_positive


@pytest.mark.parametrize("row", ACCEPTED)
def test_a_message_that_keeps_the_configured_rules_is_accepted(row):
    raw, facts = ACCEPTED[row]
    verdict = verdict_on(raw, strictness=STRICT, **facts)
    assert (verdict.code.value, verdict.warnings) == ("20013", ())


@pytest.mark.parametrize("version", [1, 7])
def test_a_definition_that_a_handler_declares_is_known_in_its_version_and_fits_any_event(version):
    ours = frozenset({"https://example.nhs.uk/MessageDefinition/Ours-MessageDefinition-1"})
    named = handling(
        MessageDefinition=definition(f"Ours-MessageDefinition-{version}", "https://example.nhs.uk/MessageDefinition/")
    )
    raw = a_message(specification=named)
    assert verdict_on(raw).code.value == "10004"
    assert verdict_on(raw, strictness=STRICT, message_definitions=ours).code.value == ("20013" if version == 1 else "10005")


def test_a_definition_reference_of_any_length_is_answered_and_a_long_one_is_unknown():
    for characters in (499, 500, 501, 100_000):
        assert cited("x" * characters) == Cited(is_known=False)


def test_an_event_of_another_workflow_is_the_wrong_code_in_its_place():
    verdict = verdict_on(a_message(), strictness=STRICT, workflow=a_row(event_code="ITK006D"))
    assert (verdict.code.value, verdict.issue_code) == ("20006", "code-invalid")


def test_an_organisation_that_is_not_ours_does_not_hide_behind_an_unchecked_sender():
    verdict = verdict_on(a_message(receiver_ods_code="B82002"), workflow=a_row(routed_by_look_up=True))
    assert verdict.code.value == "20002"


def test_a_local_identifier_makes_nobody_one_of_ours():
    receiver = f'<receiver><reference value="urn:uuid:{RECEIVER_ID}"/></receiver>'
    raw = a_message(
        receiver=receiver, after=practitioner(RECEIVER_ID, system="https://fhir.nhs.uk/Id/local-practitioner-identifier")
    )
    assert verdict_on(raw, our_persons=US).code.value == "20001"


def test_the_recipient_extension_of_older_documents_names_persons_too():
    assert verdict_on(OLD_DOCUMENT, our_persons=OTHERS).code.value == "20011"
    assert verdict_on(OLD_DOCUMENT, our_persons=US).is_positive


@pytest.mark.parametrize("content_type", SPELLINGS)
@pytest.mark.parametrize("strictness", Strictness)
def test_every_type_of_the_standard_is_taken_in_every_spelling(content_type, strictness):
    raw = attached(SPELLINGS[content_type], content_type)
    verdict = verdict_on(raw, strictness=strictness, workflow=a_row(approved_attachments=KINDS), **SUPPORTED)
    assert (verdict.code.value, verdict.warnings) == ("20013", ())


FOREIGN = {
    "program of Windows": b"MZ\x90\x00\x03\x00",
    "program of Linux": b"\x7fELF\x02\x01",
    "program of macOS": b"\xcf\xfa\xed\xfe\x07",
    "class of Java": b"\xca\xfe\xba\xbe\x00",
    "GIF": b"GIF89a\x01\x00\x01\x00",
    "RAR": b"Rar!\x1a\x07\x00",
    "7z": b"7z\xbc\xaf\x27\x1c",
    "gzip": b"\x1f\x8b\x08\x00",
    "bzip2": b"BZh91AY&SY\x00",
    "sound or film": b"RIFF\x00\x00\x00\x00WAVE",
    "film": b"\x00\x00\x00\x18ftypmp42",
    "database": b"SQLite format 3\x00",
    "shortcut": b"L\x00\x00\x00\x01\x14\x02\x00",
    "cabinet": b"MSCF\x00\x00\x00\x00",
}


@pytest.mark.parametrize("content_type", ["application/pdf", "text/plain"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_known_to_be_something_else_is_refused_under_whatever_approved_name(kind, content_type):
    raw = attached(FOREIGN[kind], content_type)
    assert verdict_on(raw, workflow=a_row(approved_attachments=KINDS)).code.value == "20004"
    assert verdict_on(raw, **SUPPORTED).code.value == "20005"


def test_only_the_beginning_of_an_attachment_is_decoded():
    """What is no base64 far behind is found when it is filed, not here."""
    content = base64.b64encode(b"%PDF-1.7\n" + b"x" * 3 * START_BYTES).decode()
    reading = read_message(attached(content + "****"), Caps())
    (attachment,) = reading.envelope.document.binaries
    assert START_BYTES <= len(attachment.start) < 2 * START_BYTES
    assert verdict_on(attached(content + "****"), **SUPPORTED).is_positive


def test_white_space_in_base64_does_not_hide_the_beginning():
    content = " \n" * 10_000 + "\n".join(base64.b64encode(b"%PDF-1.7 letter").decode())
    assert verdict_on(attached(content), strictness=STRICT, **SUPPORTED).is_positive


def test_a_character_that_is_cut_off_does_not_make_a_text_unknown():
    start = ("x" * (START_BYTES - 1) + "é").encode()[:START_BYTES]
    assert kind_of_start(start) == "txt"
    assert kind_of_start(b"\xff\xfe" + "x\N{CLOCK FACE ONE OCLOCK}".encode("utf-16-le")[:4]) is None  # whole, and broken off
    assert kind_of_start(b"\xff\xfe" + ("x" * START_BYTES + "\N{CLOCK FACE ONE OCLOCK}").encode("utf-16-le")[:-2]) == "txt"
    assert kind_of_start(b"\x81\x8d" + b"x" * START_BYTES) is None
