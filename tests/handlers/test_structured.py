"""Coded content beside the text: complete, unverified, and never more than was said."""

import json

import pytest

from mesh_itk3_handlers.filing import LetterSettings
from mesh_itk3_handlers.transfer_of_care import TransferOfCare
from support.letters_builder import (
    ALLERGIES,
    DIAGNOSES,
    MEDICATIONS,
    PROCEDURES,
    a_context,
    a_message,
    coded,
    entry,
    reference,
    section,
    value,
)


@pytest.fixture
def structured_of(tmp_path):
    def file(**built):
        TransferOfCare(LetterSettings(output=tmp_path)).handle(a_message(**built), a_context())
        (path,) = tmp_path.glob("*/*/structured.json")
        return json.loads(path.read_bytes())

    return file


def a_list(id_: str, *items: str, more: str = "") -> str:
    entries = "".join(f"<entry>{reference('item', item)}</entry>" for item in items)
    return entry("List", id_, coded("code", "x", "a list") + more + entries)


def test_sections_are_plain_text_with_code_and_title(structured_of):
    filed = structured_of(
        sections=section("Allergies", "<p>Penicillin</p><p>Rash</p>", code=ALLERGIES)
        + section(None, "<p>x</p>", nested=section("In", "y"))
    )
    assert filed["sections"] == [
        {"code": ALLERGIES, "title": "Allergies", "text": "Penicillin\nRash"},
        {"code": None, "title": None, "text": "x"},
        {"code": None, "title": "In", "text": "y"},
    ]


def test_a_medication_is_read_through_list_statement_and_medication(structured_of):
    change = (
        '<extension url="https://fhir.hl7.org.uk/STU3/StructureDefinition/Extension-CareConnect-MedicationChangeSummary-1">'
        '<extension url="status"><valueCode value="Added"/></extension>'
        '<extension url="indicationForChange"><valueCodeableConcept><text value="stent"/></valueCodeableConcept></extension>'
        "</extension>"
    )
    statement = (
        change
        + '<partOf><reference value="urn:uuid:d1"/></partOf><status value="active"/>'
        + reference("medicationReference", "m1")
        + f"<taken value='unk'/><dosage>{value('text', 'One daily')}{coded('route', '26643006', 'Oral')}</dosage>"
    )
    entries = (
        a_list("l1", "s1")
        + entry("MedicationStatement", "s1", statement)
        + entry("Medication", "m1", coded("code", "319773006", "Clopidogrel 75mg tablets"))
        + entry("MedicationDispense", "d1", '<quantity><value value="28"/><unit value="tablet"/></quantity>')
    )
    filed = structured_of(sections=section("Medications", "<p>x</p>", code=MEDICATIONS, entries=("l1",)), entries=entries)
    (medication,) = filed["medications"]
    assert medication["verified"] is False
    assert medication["medication"]["codings"] == [
        {"system": "http://snomed.info/sct", "code": "319773006", "display": "Clopidogrel 75mg tablets"}
    ]
    assert medication["dosage"] == ["One daily"]
    assert medication["quantity"] == "28 tablet"
    assert medication["change"] == {"status": "Added", "indication": "stent", "date": None, "details": None}
    assert medication["section"] == {"code": MEDICATIONS, "title": "Medications"}


def test_a_dispense_of_its_own_is_a_medication(structured_of):
    dispense = entry(
        "MedicationDispense", "d1", f"<medicationCodeableConcept>{value('text', 'Salbutamol')}</medicationCodeableConcept>"
    )
    assert [item["medication"]["text"] for item in structured_of(entries=dispense)["medications"]] == ["Salbutamol"]


def test_an_empty_list_is_not_no_allergies(structured_of):
    empty = a_list("l1", more=coded("emptyReason", "no-content-recorded", "No content recorded"))
    filed = structured_of(
        sections=section("Allergies", "<p>Information not available</p>", code=ALLERGIES, entries=("l1",)), entries=empty
    )
    assert filed["allergies"] == []
    assert filed["lists"][0]["items"] == 0
    assert filed["lists"][0]["empty_reason"]["text"] == "No content recorded"
    assert "does not mean" in filed["note"]


@pytest.mark.parametrize(
    ("code", "is_negation"),
    [("716186003", True), ("409137002", True), ("429625007", True), ("1631000175102", False), ("91936005", False)],
)
def test_only_an_item_that_says_so_is_a_negation(structured_of, code, is_negation):
    allergy = entry("AllergyIntolerance", "a1", coded("code", code, "x"))
    (item,) = structured_of(sections=section(code=ALLERGIES, entries=("a1",)), entries=allergy)["allergies"]
    assert item["is_negation"] is is_negation


@pytest.mark.parametrize(
    "status", ['<clinicalStatus value="active"/>', '<clinicalStatus><coding><code value="active"/></coding></clinicalStatus>']
)
def test_a_clinical_status_is_read_in_its_old_and_its_new_shape(structured_of, status):
    allergy = entry("AllergyIntolerance", "a1", status + coded("code", "91936005", "Penicillin"))
    (item,) = structured_of(entries=allergy)["allergies"]
    assert item["clinical_status"] == "active"
    assert item["section"] is None


def test_conditions_of_the_diagnoses_section_are_diagnoses_and_others_are_not(structured_of):
    entries = (
        a_list("l1", "c1")
        + entry("Condition", "c1", coded("code", "22298006", "Myocardial infarction"))
        + entry("Condition", "c2", coded("code", "29857009", "Chest pain"))
    )
    sections = section("Diagnoses", "x", code=DIAGNOSES, entries=("l1",)) + section(
        "Complaints", "x", code="886891000000102", entries=("c2",)
    )
    filed = structured_of(sections=sections, entries=entries)
    assert [item["condition"]["text"] for item in filed["diagnoses"]] == ["Myocardial infarction"]
    assert [item["condition"]["text"] for item in filed["other_conditions"]] == ["Chest pain"]


def test_procedures_and_encounter_are_read(structured_of):
    method = (
        '<extension url="https://fhir.hl7.org.uk/STU3/StructureDefinition/Extension-CareConnect-AdmissionMethod-1">'
        + coded("valueCodeableConcept", "21", "Accident and emergency")
        + "</extension>"
    )
    stay = f"<hospitalization>{coded('dischargeDisposition', '19', 'Usual place of residence')}</hospitalization>"
    period = '<period><start value="2026-01-10"/><end value="2026-01-14"/></period>'
    entries = entry("Procedure", "p1", '<status value="completed"/>' + coded("code", "415070008", "PCI")) + entry(
        "Encounter", "e1", method + '<class><code value="IMP"/></class>' + period + stay
    )
    filed = structured_of(
        sections=section(code=PROCEDURES, entries=("p1",)), entries=entries, composition_more=reference("encounter", "e1")
    )
    assert filed["procedures"][0]["procedure"]["text"] == "PCI"
    assert filed["encounter"]["admission_method"] == "Accident and emergency"
    assert filed["encounter"]["discharge_destination"]["text"] == "Usual place of residence"
    assert (filed["encounter"]["start"], filed["encounter"]["end"]) == ("2026-01-10", "2026-01-14")
    assert filed["encounter"]["verified"] is False


def test_references_that_lead_nowhere_or_in_a_circle_are_passed_over(structured_of):
    entries = a_list("l1", "l1", "nowhere") + entry("MedicationStatement", "s1", reference("medicationReference", "nowhere"))
    filed = structured_of(sections=section("x", "x", entries=("l1", "nowhere", "s1")), entries=entries)
    assert filed["medications"][0]["medication"] is None
