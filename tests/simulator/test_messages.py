"""The simulated hospital's messages are valid ITK3, deterministic, and as large as asked."""

import json
from base64 import b64decode
from datetime import date

import nhs_number
import pytest
from fhir.resources.STU3.bundle import Bundle
from lxml import etree

from mesh_itk3.simulator.cases import MANDATORY, MANDATORY_EVERYWHERE, SECTION_CODES
from mesh_itk3.simulator.messages import KINDS, a_20_kb_letter, a_message, choose, cut_off, not_well_formed
from mesh_itk3.simulator.patients import CAST, PIOTR_UNKNOWN, SUSAN_DISAGREES, number_in_test_range, register_rows

FHIR = {"f": "http://hl7.org/fhir", "h": "http://www.w3.org/1999/xhtml"}
TRANSFER_OF_CARE = sorted(MANDATORY)

every_kind = pytest.mark.parametrize("kind", sorted(KINDS))


def tree(message):
    return etree.fromstring(message)


def values(message, path):
    return [str(each) for each in tree(message).xpath(path, namespaces=FHIR)]


def elements_in_order(element):
    return [etree.QName(each).localname for each in element.iter("{http://hl7.org/fhir}*")]


@every_kind
def test_every_kind_is_a_valid_stu3_bundle_in_xml(kind):
    Bundle.model_validate_xml(a_message(kind))


@every_kind
def test_every_kind_is_a_valid_stu3_bundle_in_json(kind):
    Bundle.model_validate_json(a_message(kind, form="json"))


@every_kind
def test_elements_stand_in_the_order_of_the_standard(kind):
    message = a_message(kind)
    written_by_another = Bundle.model_validate_json(a_message(kind, form="json")).model_dump_xml()
    assert elements_in_order(tree(message)) == elements_in_order(tree(written_by_another))


@every_kind
def test_equal_choices_give_equal_bytes_and_another_seed_other_ids(kind):
    assert a_message(kind) == a_message(kind)
    ids = {seed: set(values(a_message(kind, seed=seed), "//f:id/@value")) for seed in ("1", "2")}
    assert not ids["1"] & ids["2"]


@every_kind
def test_every_reference_points_into_its_own_bundle(kind):
    message = a_message(kind)
    full_urls = values(message, "//f:fullUrl/@value")
    references = [each for each in values(message, "//f:reference/@value") if each.startswith("urn:uuid:")]
    assert len(full_urls) == len(set(full_urls))
    assert set(references) <= set(full_urls)


@pytest.mark.parametrize("kind", TRANSFER_OF_CARE)
@pytest.mark.parametrize("optional", [True, False])
def test_every_mandatory_section_is_there_with_text(kind, optional):
    message = a_message(kind, optional_sections=optional)
    for title in MANDATORY[kind] | MANDATORY_EVERYWHERE:
        [found] = tree(message).xpath(f"//f:section[f:title/@value='{title}']", namespaces=FHIR)
        assert found.xpath("f:code/f:coding/f:code/@value", namespaces=FHIR) == [SECTION_CODES[title]]
        assert "".join(found.itertext()).strip()


@pytest.mark.parametrize("kind", TRANSFER_OF_CARE)
def test_what_is_coded_is_also_in_the_text(kind):
    message = a_message(kind)
    text = " ".join("".join(tree(message).itertext()).split())
    for name in ("Medication", "AllergyIntolerance", "Condition", "Procedure"):
        found = values(message, f"//f:{name}/f:code/f:coding/f:display/@value")
        assert found or name == "Procedure"
        assert all(display in text for display in found)


def test_handling_extension_says_what_was_asked():
    message = a_message(
        "ITK003D", business_requested="junk", infrastructure_requested=None, sender_reference="ward/7", priority="routine"
    )
    handling = "//f:extension[contains(@url,'MessageHandling')]/f:extension"
    keys = ["BusAckRequested", "RecipientType", "Priority", "MessageDefinition", "SenderReference", "LocalExtension"]
    assert values(message, f"{handling}/@url") == keys
    assert values(message, f"{handling}/f:valueBoolean/@value") == ["junk"]
    assert values(message, f"{handling}[@url='SenderReference']/*/@value") == ["ward/7"]


def test_handling_extension_can_be_left_out():
    assert b"MessageHandling" not in a_message("ITK003D", handling=False)


def test_send_document_names_no_receiver_and_the_others_do():
    assert not values(a_message("ITK007C"), "//f:receiver")
    assert values(a_message("ITK003D"), "//f:receiver/f:reference/@value")


def test_ids_and_addresses_are_as_chosen():
    message = a_message("ITK003D", header_id="h-1", document_identifier="d-1", replaces="c-0", receiver_ods="B82001")
    assert values(message, "//f:MessageHeader/f:id/@value") == ["h-1"]
    assert values(message, "//f:Bundle/f:entry/f:resource/f:Bundle/f:identifier/f:value/@value") == ["d-1"]
    assert values(message, "//f:relatesTo/f:targetIdentifier/f:value/@value") == ["c-0"]
    assert "B82001" in values(message, "//f:Organization/f:identifier/f:value/@value")
    assert choose("ITK003D").message_header_id == values(a_message("ITK003D"), "//f:MessageHeader/f:id/@value")[0]


def test_unknown_choices_are_refused():
    with pytest.raises(TypeError):
        a_message("ITK003D", handeling=False)


@pytest.mark.parametrize(
    ("kind", "size", "bulk"),
    [
        ("ITK003D", 100_000, "text"),
        ("ITK003D", 1_000_000, "resources"),
        ("ITK006D", 60_001, "resources"),
        ("ITK007C", 3_000_000, "attachment"),
        ("ITK009D", 40_000, "text"),
    ],
)
def test_a_message_is_exactly_as_large_as_asked(kind, size, bulk):
    message = a_message(kind, size=size, bulk=bulk)
    assert len(message) == size
    if bulk == "resources":
        assert len(values(message, "//f:Observation/f:id/@value")) > size / 2000


def test_the_benchmark_letter_is_20_kb_and_valid():
    letter = a_20_kb_letter("7")
    assert len(letter) == 20_480
    assert letter != a_20_kb_letter("8")
    Bundle.model_validate_xml(letter)


def test_a_size_that_cannot_be_reached_is_refused():
    with pytest.raises(ValueError, match="too many"):
        a_message("ITK003D", size=1000)


@pytest.mark.parametrize("size", [None, 400_000])
def test_the_attachment_is_a_pdf_whose_cross_references_are_right(size):
    message = a_message("ITK007C", size=size, bulk="attachment")
    pdf = b64decode(values(message, "//f:Binary/f:content/@value")[0], validate=True)
    assert pdf.startswith(b"%PDF-1.")
    assert pdf.endswith(b"%%EOF\n")
    start = int(pdf.rsplit(b"startxref\n", 1)[1].split()[0])
    table = pdf[start:].split(b"trailer")[0].splitlines()
    assert table[0] == b"xref"
    for number, row in enumerate(table[3:], start=1):
        assert pdf[int(row[:10]) :].startswith(b"%d 0 obj" % number)


def test_broken_messages_are_broken():
    for broken in (not_well_formed(a_message("ITK003D")), cut_off(a_message("ITK003D"))):
        with pytest.raises(etree.XMLSyntaxError):
            etree.fromstring(broken)


def test_json_form_says_the_same_as_xml():
    said = json.loads(a_message("ITK003D", form="json"))
    assert said["entry"][0]["resource"]["extension"][0]["extension"][0] == {"url": "BusAckRequested", "valueBoolean": True}
    assert said["entry"][-1]["resource"]["type"] == "document"


@pytest.mark.parametrize("patient", CAST, ids=lambda each: each.family_name)
def test_every_patient_is_of_the_test_range_with_a_valid_check_digit(patient):
    assert patient.nhs_number.startswith("999")
    assert nhs_number.is_valid(patient.nhs_number)


def test_numbers_that_cannot_exist_are_refused():
    with pytest.raises(ValueError, match="999"):
        number_in_test_range("943476591")
    assert sum(1 for n in range(100) if _has_check_digit(n)) < 100


def _has_check_digit(number):
    try:
        return bool(number_in_test_range(f"9990001{number:02}"))
    except ValueError:
        return False


def test_the_register_knows_all_but_the_unknown_and_disagrees_about_one():
    rows = {row["nhs_number"]: row for row in register_rows(CAST, date(2025, 3, 31))}
    assert PIOTR_UNKNOWN.nhs_number not in rows
    assert len(rows) == len(CAST) - 1
    assert rows[SUSAN_DISAGREES.nhs_number]["date_of_birth"] != SUSAN_DISAGREES.date_of_birth.isoformat()
    assert sorted((row["status"], row["status_date"]) for row in rows.values() if row["status_date"]) == [
        ("deceased", "2025-03-10"),
        ("left", "2024-02-25"),
    ]
