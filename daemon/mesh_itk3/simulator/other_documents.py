"""Send Document (ITK007C) with its PDF, vaccination (ITK009D) and emergency supply (ITK010D). Pure."""

from __future__ import annotations

from base64 import b64encode
from typing import Final

from mesh_itk3.simulator import clinical
from mesh_itk3.simulator.choices import Choices
from mesh_itk3.simulator.clinical import Allergy, Contact
from mesh_itk3.simulator.documents import Filling, composition, document_bundle, filler, investigations
from mesh_itk3.simulator.fhir import HL7_UK, NHS, Json, concept, extension, reference, resource, section, snomed
from mesh_itk3.simulator.pdf import a_pdf
from mesh_itk3.simulator.people import PRACTICE_NAME, Clinician, demographics, people_of

PHARMACY_NAME: Final = "Netherby Market Pharmacy (simulated)"
EXTENDED_ACCESS_NAME: Final = "Netherby Extended Access Hub (simulated)"

PHARMACIST: Final = Clinician("Mr", "Idris", "Bellweather", ("R1290", "Pharmacist"), "01632 960155")
HUB_DOCTOR: Final = Clinician("Dr", "Leona", "Farthing", ("R0260", "General Medical Practitioner"), "01632 960166")

VISIT: Final = Contact(
    start="2025-03-10T15:00:00+00:00",
    end="2025-03-10T15:15:00+00:00",
    kind=("AMB", "ambulatory"),
    type=("307778003", "Seen in primary care establishment"),
    reason=(None, "Pharmacy service"),
)


def send_document(choices: Choices, filling: Filling) -> Json:
    """A consultation report: a summary line, and the report itself as a PDF, first entry of the first section."""
    ids = choices.ids
    report = _attachment(choices, filling.attachment_bytes)
    sections = [section("Consultation report", None, [[("Document", "Consultation report (PDF)")]], [report["id"]])]
    extra = filler(filling.characters)
    if extra:
        sections.append(section("Notes", None, [], extra=extra))
    series, results = investigations(choices, filling.resources)
    made = composition(choices, [*sections, *series], summary="Seen at an extended access clinic; report attached.",
                       encounter=bool(results))  # fmt: skip
    contact = [clinical.encounter(choices, VISIT)] if results else []
    people = people_of(choices, HUB_DOCTOR, EXTENDED_ACCESS_NAME)
    return document_bundle(choices, made | {"id": ids("composition")}, (*people, *contact, report, *results))


def _attachment(choices: Choices, at_least_bytes: int) -> Json:
    patient = choices.patient
    lines = [
        "Consultation report",
        f"{patient.full_name}, born {patient.date_of_birth.strftime('%d %b %Y')}, NHS number {patient.nhs_number}",
        "",
        "Seen for an itchy rash on both forearms, present for one week.",
        "Impression: contact dermatitis. Hydrocortisone 1% cream thinly twice a day for seven days.",
        "Advised to come back if it spreads or weeps. No action for the practice.",
        "",
        f"{HUB_DOCTOR.full_name}, {EXTENDED_ACCESS_NAME}",
    ]
    pdf = a_pdf(lines, at_least_bytes=at_least_bytes)
    return resource(
        "Binary",
        choices.ids("attachment"),
        NHS + "ITK-Attachment-Binary-1",
        contentType="application/pdf",
        content=b64encode(pdf).decode("ascii"),
    )


def vaccination(choices: Choices, filling: Filling) -> Json:
    """A seasonal influenza vaccination given in a pharmacy."""
    given = _immunization(choices)
    rows = [
        ("Vaccination procedure", "Seasonal influenza vaccination given by pharmacist"),
        ("Vaccine product", VACCINE[1]),
        ("Date of vaccination", "10-Mar-2025"),
        ("Site", "Left upper arm"),
        ("Batch number", "SIM-0042"),
    ]
    code = snomed("1102181000000102", "Immunisations")
    sections = [section("Vaccinations", code, [rows], [given["id"]], filler(filling.characters))]
    return _pharmacy_document(choices, sections, [given], filling)


VACCINE: Final = (
    "37531311000001101",
    "Adjuvanted trivalent influenza vaccine (surface antigen, inactivated) suspension for injection 0.5ml pre-filled syringes",
)


def _immunization(choices: Choices) -> Json:
    procedure = snomed("955691000000108", "Seasonal influenza vaccination given by pharmacist")
    return resource(
        "Immunization",
        choices.ids("immunization"),
        NHS + "CareConnect-ITK-DM-Immunization-1",
        extension=[extension(HL7_UK + "Extension-CareConnect-VaccinationProcedure-1", valueCodeableConcept=procedure)],
        status="completed",
        notGiven=False,
        vaccineCode=snomed(*VACCINE),
        patient=reference(choices.ids("patient")),
        encounter=reference(choices.ids("encounter")),
        date="2025-03-10",
        primarySource=True,
        lotNumber="SIM-0042",
        expirationDate="2025-09-30",
        site=snomed("368208006", "Left upper arm structure"),
        route=snomed("78421000", "Intramuscular route"),
        practitioner=[{"role": concept("http://hl7.org/fhir/v2/0443", "AP", "Administering Provider"),
                       "actor": reference(choices.ids("author"))}],
    )  # fmt: skip


def emergency_supply(choices: Choices, filling: Filling) -> Json:
    """Medication supplied by a pharmacy without a prescription at hand."""
    dispense = resource(
        "MedicationDispense",
        choices.ids("dispense"),
        NHS + "CareConnect-ITK-MedicationDispense-1",
        status="completed",
        medicationReference=reference(choices.ids("supplied")),
        subject=reference(choices.ids("patient")),
        context=reference(choices.ids("encounter")),
        performer=[{"actor": reference(choices.ids("author")), "onBehalfOf": reference(choices.ids("custodian"))}],
        type=concept("https://fhir.hl7.org.uk/STU3/CodeSystem/CareConnect-MedicationSupplyType-1", "emergency-supply",
                     "Emergency supply"),
        quantity={"value": 7, "unit": "tablet"},
        dosageInstruction=[{"text": "One tablet once a day"}],
    )  # fmt: skip
    supplied = resource(
        "Medication",
        choices.ids("supplied"),
        NHS + "CareConnect-ITK-Medication-1",
        code=snomed("318590006", "Bisoprolol 5mg tablets"),
    )
    rows = [("Medication name", "Bisoprolol 5mg tablets"), ("Quantity supplied", "7 tablets"),
            ("Dose directions description", "One tablet once a day")]  # fmt: skip
    code = snomed("933361000000108", "Medications and medical devices")
    sections = [
        section("Medications and medical devices", code, [rows], [dispense["id"]], filler(filling.characters)),
        section("Plan and requested actions", snomed("887201000000105", "Plan and requested actions"),
                [[("Actions for healthcare professionals", "GP: please issue the next prescription in good time.")]]),
    ]  # fmt: skip
    return _pharmacy_document(choices, sections, [dispense, supplied], filling)


def _pharmacy_document(choices: Choices, sections: list[Json], resources: list[Json], filling: Filling) -> Json:
    listed = clinical.allergies(choices, [NO_ALLERGY]) if choices.coded else clinical.Coded((), ())
    series, results = investigations(choices, filling.resources)
    around = [
        section("Allergies and adverse reactions", snomed("886921000000105", "Allergies and adverse reactions"),
                [clinical.allergy_rows(NO_ALLERGY)], listed.references),
        section("GP practice", snomed("886711000000101", "GP practice"),
                [[("GP practice details", f"{PRACTICE_NAME}, Netherby")]], [choices.ids("practice")]),
        section("Patient demographics", snomed("886731000000109", "Patient demographics"),
                [demographics(choices.patient)], [choices.ids("patient")]),
    ]  # fmt: skip
    people = people_of(choices, PHARMACIST, PHARMACY_NAME)
    everything = (*people, clinical.encounter(choices, VISIT), *resources, *listed.resources, *results)
    return document_bundle(choices, composition(choices, [*around, *sections, *series]), everything)


NO_ALLERGY: Final = Allergy("409137002", "No known drug allergy", recorded="2025-03-10")
