"""One row for every rule: what breaks it, and what each strictness makes of that."""

from __future__ import annotations

import pytest

from itk3.a_message import (
    COMPOSITION_ID,
    DOCUMENT_ID,
    EVENTS,
    EXTENSION,
    HEADER_ID,
    RECEIVER_ID,
    SENDER_ID,
    a_message,
    binary,
    composition,
    definition,
    document,
    entry,
    event,
    extension,
    flag,
    handling,
    message_header,
    organisation,
    patient,
    recipient_type,
    section,
)
from itk3.rows_by_configuration import BY_CONFIGURATION
from mesh_itk3.itk3.envelope import Caps, read_message
from mesh_itk3.itk3.response_codes import ELEMENTS, InfrastructureCode
from mesh_itk3.itk3.rules import RULES
from mesh_itk3.itk3.verdict import Facts, Strictness, judge, refuse

OURS = frozenset({"A81001"})
STRICT, STANDARD, LENIENT = Strictness.STRICT, Strictness.STANDARD, Strictness.LENIENT


def verdict_on(raw: bytes, **facts):
    return judge(read_message(raw, Caps()), Facts(**{"our_ods_codes": OURS, **facts}))


def codes_of(raw: bytes, **facts) -> tuple[str, ...]:
    return tuple(verdict_on(raw, strictness=strictness, **facts).code.value for strictness in (STRICT, STANDARD, LENIENT))


@pytest.mark.parametrize("strictness", Strictness)
def test_a_conformant_message_is_accepted_without_a_warning(strictness):
    verdict = verdict_on(a_message(), strictness=strictness)
    assert (verdict.code, verdict.warnings, verdict.issue_code) == (InfrastructureCode.SUCCESS, (), "informational")
    assert verdict.is_positive
    assert verdict.diagnostics == "accepted: Bundle"


ALL = ("20006",) * 3
TWO_RECEIVERS = "".join(f'<receiver><reference value="urn:uuid:{name}"/></receiver>' for name in ("ours", "theirs"))
TWO_PRACTICES = organisation("ours", "A81001") + organisation("theirs", "B82002")
TWO_SENDERS = f'<sender><reference value="urn:uuid:{SENDER_ID}"/></sender>' * 2
BUT_LENIENT = ("20006", "20006", "20013")
ONLY_STRICT = ("20006", "20013", "20013")
NAMED = a_message(
    sender_entry=organisation(SENDER_ID, "RA901").replace("</Organization>", '<name value="A hospital"/></Organization>')
)

HEADER_ROWS = {
    # rule: (message, codes in strict, standard, lenient, issue code, where)
    "message_header_id_missing": (a_message(header_id=None), ALL, "required", "entry[0].resource.id"),
    "message_header_id_invalid": (a_message(header_id='<id value="a_b"/>'), ALL, "value", ".id"),
    "message_header_id_invalid kelvin": (a_message(header_id='<id value="a\u212a"/>'), ALL, "value", ".id"),
    "event_missing": (a_message(event=""), ALL, "required", ".event.code"),
    "event_missing (code)": (a_message(event=f'<event><system value="{EVENTS}"/></event>'), ALL, "required", ".event.code"),
    "event_system_wrong (none)": (
        a_message(event='<event><code value="ITK003D"/><display value="ITK eDischarge"/></event>'),
        BUT_LENIENT,
        "required",
        ".event.system",
    ),
    "event_system_wrong": (a_message(event=event(system="urn:other")), BUT_LENIENT, "code-invalid", ".event.system"),
    "sender_missing": (a_message(sender=""), BUT_LENIENT, "required", ".sender"),
    "sender_missing (reference)": (a_message(sender="<sender/>"), BUT_LENIENT, "required", ".sender.reference"),
    "sender_unresolved": (a_message(sender_entry=""), BUT_LENIENT, "value", ".sender.reference"),
    "timestamp_missing": (a_message(timestamp=""), BUT_LENIENT, "required", ".timestamp"),
    "timestamp_unreadable": (a_message(timestamp='<timestamp value="yesterday"/>'), BUT_LENIENT, "value", ".timestamp"),
    "source_missing": (a_message(source=""), BUT_LENIENT, "required", ".source.endpoint"),
    "source_missing (endpoint)": (a_message(source="<source/>"), BUT_LENIENT, "required", ".source.endpoint"),
    "source_no_mailbox": (
        a_message(source='<source><endpoint value="1.2.826.0.1285"/></source>'),
        ("20006", "20013", "20013"),
        "value",
        ".source.endpoint",
    ),
    "event_display": (a_message(event=event(display="eDischarge")), ("20006", "20013", "20013"), "value", ".event.display"),
    "header_padding": (a_message(event=event(code="ITK003D ")), ("20006", "20013", "20013"), "value", ".event.code"),
    "bundle_identifier_missing": (
        a_message().replace(b'<identifier><value value="the-bundle-identifier"/></identifier>', b""),
        ONLY_STRICT,
        "required",
        "Bundle.identifier",
    ),
    "bundle_element_forbidden": (
        a_message().replace(b'<type value="message"/>', b'<type value="message"/><total value="3"/>'),
        ONLY_STRICT,
        "structure",
        "Bundle.total",
    ),
    "bundle_element_forbidden (of an entry)": (
        a_message(after="<entry><resource><Basic/></resource><search/></entry>"),
        ONLY_STRICT,
        "structure",
        "Bundle.entry.search",
    ),
    "message_header_not_first": (a_message(before=organisation("other", "RA901")), ONLY_STRICT, "structure", "[1].resource"),
    "header_element_forbidden": (a_message(response="<destination/>"), ONLY_STRICT, "structure", ".destination"),
    "header_element_forbidden (source)": (
        a_message(source='<source><name value="x"/><endpoint value="X26HOSP1"/></source>'),
        ONLY_STRICT,
        "structure",
        ".resource.source.name",
    ),
    "header_element_repeated": (
        a_message(response='<timestamp value="2024-01-02T03:04:06+00:00"/>'),
        ONLY_STRICT,
        "structure",
        ".timestamp",
    ),
    "receiver_unresolved": (
        a_message(receiver='<receiver><reference value="urn:uuid:nobody"/></receiver>'),
        ONLY_STRICT,
        "value",
        ".receiver.reference",
    ),
    "organisation_element_forbidden": (NAMED, ONLY_STRICT, "structure", "entry[1].resource.name"),
    "bundle_type_missing": (a_message(bundle_type=None), ALL, "required", "Bundle.type"),
    "bundle_type_wrong": (a_message(bundle_type="collection"), ALL, "value", "Bundle.type"),
    "message_header_id_repeated": (a_message(header_id='<id value="a-b"/><id value="a-c"/>'), ALL, "structure", ".id"),
    "event_repeated": (a_message(event=event() + event(code="ITK006D")), ALL, "structure", ".event"),
    "receiver_repeated": (a_message(receiver=TWO_RECEIVERS, after=TWO_PRACTICES), ALL, "structure", ".receiver"),
    "sender_repeated": (a_message(sender=TWO_SENDERS), BUT_LENIENT, "structure", ".sender"),
    "message_header_missing": (a_message(header=""), ALL, "required", "Bundle.entry"),
    "message_header_repeated": (
        a_message(after=entry(message_header(), None)),
        ALL,
        "structure",
        "Bundle.entry[3].resource",
    ),
    "not_a_bundle": (b'<Composition xmlns="http://hl7.org/fhir"/>', ALL, "structure", "Bundle"),
}

STANDARD_WAIVES = "20013"
INF_TWICE = extension("InfAckRequested", flag("true")) * 2
HANDLING_ROWS = {
    "handling_specification_missing": (a_message(specification=extension("urn:other", "")), ("10001", "10001", "20013")),
    "handling_specification_repeated": (a_message(specification=handling() * 2), ("10001", "10001", "20013")),
    "inf_ack_missing": (a_message(specification=handling(InfAckRequested=None)), ("10001", "10001", "20013")),
    "bus_ack_missing": (a_message(specification=handling(BusAckRequested=None)), ("10001", "10001", "20013")),
    "inf_ack_unusable": (a_message(specification=handling(InfAckRequested=flag("maybe"))), ("10002", "10002", "20013")),
    "inf_ack_unusable (empty)": (a_message(specification=handling(InfAckRequested="")), ("10002", "10002", "20013")),
    "inf_ack_unusable (string)": (
        a_message(specification=handling(InfAckRequested='<valueString value="true"/>')),
        ("10002", "10002", "20013"),
    ),
    "inf_ack_unusable (twice, differently)": (
        a_message(
            specification=extension(
                EXTENSION,
                "".join(extension("InfAckRequested", flag(value)) for value in ("true", "false"))
                + extension("BusAckRequested", flag("true")),
            )
        ),
        ("10002", "10002", "20013"),
    ),
    "bus_ack_unusable": (a_message(specification=handling(BusAckRequested=flag("1"))), ("10003", "10003", "20013")),
    "handling_element_forbidden": (
        a_message(specification=handling(RecipientType=recipient_type().replace("<code", '<version value="1"/><code'))),
        ("10001", "20013", "20013"),
    ),
    "handling_element_forbidden (a key twice, alike)": (
        a_message(specification=handling().replace(extension("InfAckRequested", flag("true")), INF_TWICE)),
        ("10001", "20013", "20013"),
    ),
    "message_definition_missing": (a_message(specification=handling(MessageDefinition=None)), ("10001", "10001", "20013")),
    "message_definition_unusable": (a_message(specification=handling(MessageDefinition="")), ("10004", "10004", "20013")),
    "message_definition_unknown": (
        a_message(specification=handling(MessageDefinition=definition("ITK-Wibble-MessageDefinition-1"))),
        ("10004", "10004", "20013"),
    ),
    "message_definition_unknown (bare)": (
        a_message(specification=handling(MessageDefinition=definition("", base="https://fhir.nhs.uk/MessageDefinition"))),
        ("10004", "10004", "20013"),
    ),
    "message_definition_version": (
        a_message(specification=handling(MessageDefinition=definition("ITK-eDischarge-MessageDefinition-5"))),
        ("10005", "10005", "20013"),
    ),
    "message_definition_instance": (
        a_message(specification=handling(MessageDefinition=definition("ITK-eDischarge-MessageDefinition-Instance-7"))),
        ("10005", "20013", "20013"),
    ),
    "message_definition_of_another_payload": (
        a_message(specification=handling(MessageDefinition=definition("ITK-OPL-MessageDefinition-4"))),
        ("10008", "20013", "20013"),
    ),
    "sender_reference_missing": (a_message(specification=handling(SenderReference=None)), ("10001", "20013", "20013")),
    "sender_reference_unusable": (
        a_message(specification=handling(SenderReference='<valueString value=""/>')),
        ("10007", "10007", "20013"),
    ),
    "sender_reference_unusable (blank)": (
        a_message(specification=handling(SenderReference='<valueString value="  "/>')),
        ("10007", "10007", "20013"),
    ),
    "sender_reference_unusable (256 characters)": (
        a_message(specification=handling(SenderReference=f'<valueString value="{"x" * 256}"/>')),
        ("10007", "10007", "20013"),
    ),
    "sender_reference_type": (
        a_message(specification=handling(SenderReference='<valueReference><reference value="abc"/></valueReference>')),
        ("10007", "10007", "20013"),
    ),
    "recipient_type_missing": (a_message(specification=handling(RecipientType=None)), ("10001", "10001", "20013")),
    "recipient_type_unusable": (
        a_message(specification=handling(RecipientType=recipient_type("XX"))),
        ("10010", "10010", "20013"),
    ),
    "recipient_type_unusable (system)": (
        a_message(specification=handling(RecipientType=recipient_type(system="urn:other"))),
        ("10010", "10010", "20013"),
    ),
    "recipient_type_display": (
        a_message(specification=handling(RecipientType=recipient_type(display="for action"))),
        ("10010", "20013", "20013"),
    ),
    "local_extension_missing": (a_message(specification=handling(LocalExtension=None)), ("10001", "20013", "20013")),
    "local_extension_unusable": (a_message(specification=handling(LocalExtension="")), ("10001", "10001", "20013")),
    "local_extension_unusable (no value)": (
        a_message(specification=handling(LocalExtension="<valueString/>")),
        ("10001", "10001", "20013"),
    ),
    "local_extension_unusable (blank)": (
        a_message(specification=handling(LocalExtension='<valueString value=" "/>')),
        ("10001", "10001", "20013"),
    ),
    "priority_present": (
        a_message(specification=handling(Priority='<valueCoding><code value="routine"/></valueCoding>')),
        ("10001", "20013", "20013"),
    ),
}

TWO_DOCUMENTS = document() + document(full_url="urn:uuid:another", bundle_id="another")
GP_PRACTICE = section(code="886711000000101", more='<entry><reference value="urn:uuid:the-practice"/></entry>')


def naming_practice(ods_code: str) -> str:
    return document(composition(sections=GP_PRACTICE) + patient() + organisation("the-practice", ods_code))


DATED_WITHOUT_ZONE = (
    '<meta><lastUpdated value="2015-02-17T12:00:00"/></meta><identifier><value value="the-document"/></identifier>'
)
BROKEN_BASE64 = document(composition() + patient() + binary("b1", "JVBERi0xLjQ***"))
PAYLOAD_ROWS = {
    "document_identifier_missing": (a_message(documents=document(identifier="")), ("20009", "20013", "20013"), "required"),
    "document_element_forbidden": (
        a_message(documents=document(composition() + patient() + "<total value='2'/>")),
        ("20009", "20013", "20013"),
        "structure",
    ),
    "composition_not_first": (
        a_message(documents=document(patient() + composition())),
        ("20009", "20013", "20013"),
        "structure",
    ),
    "attachment_unreadable": (a_message(documents=BROKEN_BASE64), ("20009", "20009", "20013"), "value"),
    "attachment_unreadable (empty)": (
        a_message(documents=document(composition() + patient() + binary("b1", ""))),
        ("20009", "20009", "20013"),
        "value",
    ),
    "replacement_names_nothing": (
        a_message(documents=document(composition(relates_to='<relatesTo><code value="replaces"/></relatesTo>') + patient())),
        ("20009", "20009", "20013"),
        "required",
    ),
    "document_missing": (a_message(documents=""), ("20009",) * 3, "required"),
    "document_missing (collection)": (a_message(documents=document(bundle_type="collection")), ("20009",) * 3, "required"),
    "document_missing (no type)": (a_message(documents=document(bundle_type=None)), ("20009",) * 3, "required"),
    "document_repeated": (a_message(documents=TWO_DOCUMENTS), ("20009",) * 3, "structure"),
    "composition_missing": (a_message(documents=document(patient())), ("20009",) * 3, "required"),
    "patient_unreachable": (a_message(documents=document(composition(subject=None) + patient())), ("20009",) * 3, "required"),
    "patient_unreachable (other)": (
        a_message(documents=document(composition(subject="urn:uuid:other") + patient())),
        ("20009",) * 3,
        "required",
    ),
    "patient_unreachable (no Patient)": (
        a_message(documents=document(composition(subject="urn:uuid:x") + organisation("x", "RA901"))),
        ("20009",) * 3,
        "required",
    ),
    "date_without_zone": (
        a_message(documents=document(composition(date="2015-02-17T12:00:00") + patient())),
        ("20009", "20013", "20013"),
        "value",
    ),
    "date_without_zone (of the bundle)": (
        a_message(documents=document(identifier=DATED_WITHOUT_ZONE)),
        ("20009", "20013", "20013"),
        "value",
    ),
    "payload_padding": (
        a_message(documents=document(composition(sections=section(code="887181000000106 ")) + patient())),
        ("20009", "20013", "20013"),
        "value",
    ),
    "practice_in_document_not_ours": (
        a_message(documents=naming_practice("B82002")),
        ("20010", "20013", "20013"),
        "not-found",
    ),
    "practice_in_document_differs": (
        a_message(receiver_ods_code="A81001", documents=naming_practice("B82002")),
        ("20013",) * 3,
        "not-found",
    ),
}


def rule_of(row: str) -> str:
    return row.partition(" ")[0]


@pytest.mark.parametrize("row", HEADER_ROWS)
def test_a_wrong_message_header_gets_20006_with_the_most_specific_issue_code(row):
    raw, codes, issue_code, where = HEADER_ROWS[row]
    assert codes_of(raw) == codes
    verdict = verdict_on(raw, strictness=STRICT)
    assert (verdict.rule, verdict.issue_code) == (rule_of(row), issue_code)
    assert verdict.where.startswith("Bundle")
    assert verdict.where.endswith(where)


KEYS = {
    "bus_ack": "BusAckRequested",
    "handling": "ITKMessageHandling",
    "inf_ack": "InfAckRequested",
    "local": "LocalExtension",
    "message_definition": "MessageDefinition",
    "priority": "Priority",
    "recipient": "RecipientType",
    "sender_reference": "SenderReference",
}


@pytest.mark.parametrize("row", HANDLING_ROWS)
def test_a_wrong_handling_specification_gets_the_code_of_its_key(row):
    raw, codes = HANDLING_ROWS[row]
    assert codes_of(raw) == codes
    verdict = verdict_on(raw, strictness=STRICT)
    assert (verdict.rule, verdict.issue_code) == (rule_of(row), "processing")
    (key,) = (key for begin, key in KEYS.items() if row.startswith(begin))
    assert verdict.where == f"Bundle.entry[0].resource.extension({key})"


@pytest.mark.parametrize("row", PAYLOAD_ROWS)
def test_a_wrong_payload_gets_its_code(row):
    raw, codes, issue_code = PAYLOAD_ROWS[row]
    assert codes_of(raw) == codes
    strict = verdict_on(raw, strictness=STRICT)
    if not strict.is_positive:
        assert (strict.rule, strict.issue_code) == (rule_of(row), issue_code)
        assert strict.where.startswith("Bundle.entry")


WAIVED = {
    row: raw for row, (raw, codes, *_) in (HEADER_ROWS | HANDLING_ROWS | PAYLOAD_ROWS).items() if codes[1] == STANDARD_WAIVES
}


@pytest.mark.parametrize("row", WAIVED)
def test_a_waived_deviation_is_a_warning_by_the_name_of_its_rule(row):
    assert verdict_on(WAIVED[row]).warnings == (rule_of(row),)


def test_standard_waives_exactly_what_it_is_said_to_waive():
    assert {rule.name for rule in RULES if STANDARD in rule.waived_in} == {
        "sender_reference_missing",
        "local_extension_missing",
        "priority_present",
        "message_definition_of_another_payload",
        "message_definition_instance",
        "recipient_type_display",
        "event_display",
        "source_no_mailbox",
        "date_without_zone",
        "header_padding",
        "payload_padding",
        "practice_in_document_not_ours",
        "practice_in_document_differs",
        *NOT_MINDED_BY_STANDARD,
    }


NOT_MINDED_BY_STANDARD = {
    # What the profiles or guides forbid and no receiver needs to mind.
    "handling_element_forbidden",
    "inf_ack_not_requested",  # a refusal would be told to nobody
    "local_extension_not_allowed",  # an official sample has another
    "event_of_another_workflow",
    "bundle_identifier_missing",
    "bundle_element_forbidden",
    "message_header_not_first",
    "header_element_forbidden",
    "header_element_repeated",
    "receiver_unresolved",  # so in an official sample
    "organisation_element_forbidden",
    "document_identifier_missing",
    "composition_not_first",
    "document_element_forbidden",
    "attachment_content_unknown",  # one odd byte in a text would cost the patient the letter
    "attachment_content_differs",
}


def test_lenient_refuses_only_what_cannot_be_read_routed_or_is_not_for_us():
    assert {rule.name for rule in RULES if LENIENT not in rule.waived_in} == {
        "message_header_id_missing",
        "message_header_id_invalid",
        "message_header_id_repeated",  # nobody could say which id to answer to, or which practice is meant
        "event_missing",
        "event_repeated",
        "receiver_repeated",
        "event_not_taken",
        "message_known",
        "receiver_not_ours",
        "receiver_person_unknown",
        "sender_unknown",
        "sender_not_authorised",
        "document_missing",
        "document_repeated",
        "composition_missing",
        "patient_unreachable",
        "person_in_document_unknown",
        "document_known",
    }


def test_lenient_waives_all_that_standard_waives():
    assert all(LENIENT in rule.waived_in for rule in RULES if STANDARD in rule.waived_in)


def test_every_rule_has_its_row_in_these_tests():
    tested = {rule_of(row) for row in (*HEADER_ROWS, *HANDLING_ROWS, *PAYLOAD_ROWS)}
    by_facts = {"event_not_taken", "message_known", "document_known", "receiver_not_ours"}
    assert {rule.name for rule in RULES} <= tested | by_facts | {rule_of(row) for row in BY_CONFIGURATION}


TIMESTAMPS = {
    "2024-01-02T03:04:05+00:00": True,
    "2024-01-02T03:04:05Z": True,
    "2023-08-15T10:40:53.3713512+01:00": True,
    "2016-12-31T23:59:60Z": True,
    "2024-01-02T03:04:05": False,
    "2024-01-02": False,
    "2024-13-02T03:04:05Z": False,
    "2024-01-02 03:04:05Z": False,
    "2024-01-02T03:04Z": False,
    "٢024-01-02T03:04:05Z": False,
}


@pytest.mark.parametrize("timestamp", TIMESTAMPS)
def test_a_timestamp_is_a_fhir_instant(timestamp):
    verdict = verdict_on(a_message(timestamp=f'<timestamp value="{timestamp}"/>'))
    assert verdict.is_positive is TIMESTAMPS[timestamp]


# --------------------------------------------------------------------------------------------- by what the world knows


def test_an_event_that_no_handler_takes_is_refused():
    verdict = verdict_on(a_message(), event_codes=frozenset({"ITK006D"}))
    assert (verdict.code.value, verdict.rule, verdict.issue_code) == ("20006", "event_not_taken", "code-invalid")
    assert verdict.where == "Bundle.entry[0].resource.event.code"
    assert verdict_on(a_message(), event_codes=frozenset({"ITK003D"})).is_positive


RECEIVERS = {"A81001": "20013", "a81001": "20013", "V81999": "20013", "v81999": "20013", "B82002": "20002"}


@pytest.mark.parametrize("ods_code", RECEIVERS)
def test_a_receiver_that_is_not_ours_gets_20002(ods_code):
    verdict = verdict_on(a_message(receiver_ods_code=ods_code))
    assert verdict.code.value == RECEIVERS[ods_code]


def test_one_code_of_the_receiver_that_is_ours_is_enough():
    both = organisation(RECEIVER_ID, "B82002").replace(
        "</identifier>",
        '</identifier><identifier><system value="https://fhir.nhs.uk/Id/ods-site-code"/><value value="A81001"/></identifier>',
    )
    receiver = f'<receiver><reference value="{RECEIVER_ID}"/></receiver>'
    assert verdict_on(a_message(receiver=receiver, after=both)).is_positive


@pytest.mark.parametrize(
    "after",
    [
        pytest.param("", id="unresolvable"),
        pytest.param(entry(f'<Organization><id value="{RECEIVER_ID}"/></Organization>', None), id="without a code"),
        pytest.param(entry(f'<Practitioner><id value="{RECEIVER_ID}"/></Practitioner>', None), id="a person"),
    ],
)
def test_a_receiver_without_an_ods_code_is_not_refused(after):
    receiver = f'<receiver><reference value="urn:uuid:{RECEIVER_ID}"/></receiver>'
    assert verdict_on(a_message(receiver=receiver, after=after)).is_positive


def test_a_practice_in_the_document_is_refused_only_without_any_receiver_be_it_a_person():
    named = '<identifier><system value="https://fhir.nhs.uk/Id/sds-user-id"/><value value="555253716105"/></identifier>'
    person = entry(f'<Practitioner><id value="{RECEIVER_ID}"/>{named}</Practitioner>', None)
    receiver = f'<receiver><reference value="urn:uuid:{RECEIVER_ID}"/></receiver>'
    to_a_person = verdict_on(a_message(receiver=receiver, after=person, documents=naming_practice("B82002")), strictness=STRICT)
    assert to_a_person.is_positive
    assert to_a_person.warnings == ("practice_in_document_differs",)
    assert verdict_on(a_message(documents=naming_practice("B82002")), strictness=STRICT).code.value == "20010"


@pytest.mark.parametrize("strictness", Strictness)
def test_which_of_two_receivers_comes_first_makes_no_difference(strictness):
    for first, second in (("ours", "theirs"), ("theirs", "ours")):
        receivers = "".join(f'<receiver><reference value="urn:uuid:{name}"/></receiver>' for name in (first, second))
        verdict = verdict_on(a_message(receiver=receivers, after=TWO_PRACTICES), strictness=strictness)
        assert (verdict.code.value, verdict.rule) == ("20006", "receiver_repeated")


LOCAL = '<identifier><system value="urn:local"/><value value="A81001"/></identifier>'


@pytest.mark.parametrize(
    "nobody",
    [
        pytest.param("<Organization><id value='%s'/></Organization>", id="without an identifier"),
        pytest.param(f"<Organization><id value='%s'/>{LOCAL}</Organization>", id="with one that is no ODS code"),
        pytest.param("<Practitioner><id value='%s'/></Practitioner>", id="a person who is not named"),
        pytest.param("<Device><id value='%s'/></Device>", id="a thing"),
    ],
)
def test_a_receiver_that_names_neither_practice_nor_person_does_not_speak_for_the_document(nobody):
    raw = a_message(
        receiver=f'<receiver><reference value="urn:uuid:{RECEIVER_ID}"/></receiver>',
        after=entry(nobody % RECEIVER_ID, f"urn:uuid:{RECEIVER_ID}"),
        documents=naming_practice("B82002"),
    )
    assert verdict_on(raw, strictness=STRICT).code.value == "20010"
    assert verdict_on(raw).warnings == ("practice_in_document_not_ours",)


def test_recipients_are_not_checked_where_our_own_codes_are_not_known():
    assert verdict_on(a_message(receiver_ods_code="B82002"), our_ods_codes=frozenset()).is_positive


def test_a_practice_code_in_the_document_is_ours_or_the_stand_in():
    for ods_code in ("A81001", "V81999"):
        assert verdict_on(a_message(documents=naming_practice(ods_code)), strictness=STRICT).is_positive


REPLACES = '<relatesTo><code value="replaces"/><targetIdentifier><value value="old"/></targetIdentifier></relatesTo>'
REPLACEMENT = a_message(documents=document(composition(relates_to=REPLACES) + patient()))
WITHOUT_IDENTITY = a_message(documents=document(identifier="", bundle_id=""))
KNOWN = {
    "20007": (a_message(), {"is_known_message": True}),
    "20007 (same bytes)": (a_message(), {"is_known_message": True, "is_known_document": True, "is_same_bytes": True}),
    "20008": (a_message(), {"is_known_document": True}),
    "20013 (replacement, known message)": (REPLACEMENT, {"is_known_message": True}),
    "20013 (replacement, known document)": (REPLACEMENT, {"is_known_document": True}),
    "20013 (no identity at all)": (WITHOUT_IDENTITY, {"is_known_document": True}),
    "20007 (replacement, same bytes)": (REPLACEMENT, {"is_known_message": True, "is_same_bytes": True}),
}


@pytest.mark.parametrize("row", KNOWN)
def test_what_is_known_already_is_refused_as_a_duplicate(row):
    raw, facts = KNOWN[row]
    assert verdict_on(raw, **facts).code.value == row.partition(" ")[0]


def test_an_appended_document_is_no_replacement():
    appends = REPLACES.replace("replaces", "appends")
    raw = a_message(documents=document(composition(relates_to=appends) + patient()))
    assert verdict_on(raw, is_known_document=True).code.value == "20008"


def test_a_payload_that_is_no_document_needs_none():
    raw = a_message(documents=entry('<DiagnosticReport><id value="r"/></DiagnosticReport>', None), focus="")
    assert verdict_on(raw, needs_document=False).is_positive
    assert verdict_on(raw).code.value == "20009"


@pytest.mark.parametrize("strictness", Strictness)
def test_where_no_document_is_needed_nothing_is_asked_of_one(strictness):
    """A handler that takes other payloads judges them itself, also a document that lies among them."""
    practice = naming_practice("B82002")
    content = patient() + composition(date="2015-02-17T12:00:00", subject=None) + "<total value='2'/>"
    wrong = document(content, full_url="urn:uuid:b", bundle_id="b", identifier="")
    verdict = verdict_on(a_message(documents=practice + wrong), needs_document=False, strictness=strictness)
    assert (verdict.code.value, verdict.warnings) == ("20013", ())


# --------------------------------------------------------------------------------------------- order and content

ORDER = {
    "10009 before 20006": (a_message(bundle_type=None)[:-3], {}, "10009"),
    "20006 before 10001": (a_message(timestamp="", specification=handling(InfAckRequested=None)), {}, "20006"),
    "10001 before 10002": (a_message(specification=handling(BusAckRequested=None, InfAckRequested=flag("x"))), {}, "10001"),
    "10002 before 10003": (
        a_message(specification=handling(BusAckRequested=flag("x"), InfAckRequested=flag("x"))),
        {},
        "10002",
    ),
    "10003 before 10004": (a_message(specification=handling(BusAckRequested=flag("x"), MessageDefinition="")), {}, "10003"),
    "10004 before 10007": (a_message(specification=handling(MessageDefinition="", SenderReference="")), {}, "10004"),
    "10007 before 10010": (a_message(specification=handling(SenderReference="", RecipientType="")), {}, "10007"),
    "10010 before 20007": (a_message(specification=handling(RecipientType="")), {"is_known_message": True}, "10010"),
    "20007 before 20002": (a_message(receiver_ods_code="B82002"), {"is_known_message": True}, "20007"),
    "20002 before 20009": (a_message(receiver_ods_code="B82002", documents=""), {}, "20002"),
    "20002 before 20003": (a_message(receiver_ods_code="B82002"), {"known_senders": frozenset({"RX001"})}, "20002"),
    "20003 before 20012": (
        a_message(),
        {"known_senders": frozenset({"RX001"}), "authorised_senders": frozenset({"X1"})},
        "20003",
    ),
    "20012 before 20009": (a_message(documents=""), {"authorised_senders": frozenset({"X26ABC9"})}, "20012"),
    "20009 before 20008": (a_message(documents=document(patient())), {"is_known_document": True}, "20009"),
}


@pytest.mark.parametrize("row", ORDER)
def test_the_first_broken_rule_decides(row):
    raw, facts, code = ORDER[row]
    assert verdict_on(raw, **facts).code.value == code


SECRET = "4857773456"


@pytest.mark.parametrize(
    "raw",
    [
        a_message(header_id=f'<id value="{SECRET}_"/>'),
        a_message(event=event(code=SECRET, system=SECRET)),
        a_message(timestamp=f'<timestamp value="{SECRET}"/>'),
        a_message(specification=handling(InfAckRequested=flag(SECRET))),
        a_message(specification=handling(MessageDefinition=definition(SECRET))),
        a_message(specification=handling(SenderReference=f'<valueString value="{SECRET * 30}"/>')),
        a_message(receiver_ods_code=SECRET),
        a_message(documents=document(composition(subject=SECRET) + patient(SECRET + "x"))),
        a_message(documents=document(composition(date="2015-02-17T12:00:00", sections=section(code=SECRET + " ")) + patient())),
        a_message()[:-5] + SECRET.encode(),
        f"<{SECRET}".encode(),
    ],
)
@pytest.mark.parametrize("strictness", Strictness)
def test_no_verdict_holds_a_value_from_the_message(raw, strictness):
    verdict = verdict_on(raw, strictness=strictness)
    assert SECRET not in f"{verdict.diagnostics} {verdict.where} {verdict.warnings} {verdict.issue_code} {verdict.rule}"


def test_the_refusal_of_a_handler_takes_only_issue_codes_that_its_code_allows():
    fitting = refuse(InfrastructureCode.PAYLOAD_VALIDATION_FAILURE, "Bundle.entry[2]", "invariant", "handler")
    assert (fitting.issue_code, fitting.diagnostics) == ("invariant", "handler: Bundle.entry[2]")
    assert refuse(InfrastructureCode.UNSUPPORTED_ATTACHMENT, "x", "invariant", "handler").issue_code == "security"
    assert refuse(InfrastructureCode.UNSUPPORTED_ATTACHMENT, "x", None, "handler").issue_code == "security"


FACTS = Facts(our_ods_codes=OURS, is_known_message=True, is_known_document=True)
BROKEN = [
    *((raw, FACTS) for raw, *_ in (*HEADER_ROWS.values(), *HANDLING_ROWS.values(), *PAYLOAD_ROWS.values())),
    *((raw, Facts(**{"our_ods_codes": OURS, **facts})) for raw, facts, *_ in BY_CONFIGURATION.values()),
    (a_message(receiver_ods_code="B82002"), FACTS),
]


def test_a_rule_names_an_issue_code_that_its_response_code_allows_or_leaves_it_to_the_usual_one():
    """Another one would be replaced in silence, and the sender told less than the rule knows."""
    met = set()
    for raw, facts in BROKEN:
        reading = read_message(raw, Caps())
        for rule in RULES:
            if found := rule.check(reading, facts):
                assert found[1] in {"", *ELEMENTS[rule.code].issue_codes}, rule.name
                met.add(rule.name)
    assert met == {rule.name for rule in RULES} - {"event_not_taken"}


@pytest.mark.parametrize(
    "raw",
    [b"", b"<Bundle", b'<Bundle xmlns="http://hl7.org/fhir"/>', a_message(header=""), a_message(documents=document(patient()))],
    ids=["nothing", "not well-formed", "empty bundle", "no MessageHeader", "no Composition"],
)
def test_every_rule_can_be_asked_of_whatever_could_be_read(raw):
    lists = dict.fromkeys(("our_persons", "known_senders", "authorised_senders", "supported_attachments"), frozenset({"X"}))
    reading = read_message(raw, Caps())
    for facts in (Facts(our_ods_codes=OURS, **lists), Facts(our_ods_codes=OURS, needs_document=False, **lists)):
        found = [rule.check(reading, facts) for rule in RULES]
        assert all(place.startswith("Bundle") for place, _ in filter(None, found))


def test_rule_names_are_unique_and_every_rule_has_a_source_and_a_negative_code():
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.source and not ELEMENTS[rule.code].is_positive for rule in RULES)


def test_no_rule_of_ours_tells_a_sender_that_both_documents_are_void():
    """20014 says that the receiver has marked them so: only a handler that does may give it."""
    assert "20014" not in {rule.code.value for rule in RULES}


def test_a_sender_reference_of_255_characters_is_the_longest():
    raw = a_message(specification=handling(SenderReference=f'<valueString value="{"x" * 255}"/>'))
    assert verdict_on(raw, strictness=STRICT).is_positive


def test_a_header_anywhere_in_the_bundle_is_found():
    header = entry(message_header(), f"urn:uuid:{HEADER_ID}")
    raw = a_message(header="", after=header)
    reading = read_message(raw, Caps())
    assert verdict_on(raw).is_positive
    assert reading.header.where == "Bundle.entry[2].resource"
    assert {SENDER_ID, DOCUMENT_ID, COMPOSITION_ID}.isdisjoint({reading.header.message_header_id})


def test_a_refusal_keeps_the_warnings_that_came_before_it():
    """What its workflow waives is told to the operator also where another rule then refuses the message."""
    raw = a_message(event=event(display="eDischarge"), documents="")
    verdict = verdict_on(raw, strictness=Strictness.LENIENT)
    assert (verdict.code, verdict.where) == (InfrastructureCode.PAYLOAD_VALIDATION_FAILURE, "Bundle.entry")
    assert verdict.warnings == ("event_display",)


def test_lenient_names_everything_that_it_lets_pass():
    assert verdict_on(a_message(source="", timestamp=""), strictness=LENIENT).warnings == (
        "timestamp_missing",
        "timestamp_unreadable",
        "source_missing",
        "source_no_mailbox",
    )


def test_blanks_around_the_code_of_the_documents_type_are_a_deviation_where_they_stand():
    padded = document(composition(type_code=" 373942005") + patient())
    verdict = verdict_on(a_message(documents=padded), strictness=STRICT)
    assert verdict.where.endswith(".type.coding.code")
