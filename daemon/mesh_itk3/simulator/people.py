"""The people and organisations inside a document. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mesh_itk3.simulator.choices import Choices
from mesh_itk3.simulator.fhir import HL7_UK, ODS_ORGANISATION, Json, concept, extension, identifier, reference, resource
from mesh_itk3.simulator.patients import SimulatedPatient

VERIFICATION: Final = "CareConnect-NHSNumberVerificationStatus-1"
VERIFICATION_DISPLAYS: Final = {
    "01": "Number present and verified",
    "02": "Number present but not traced",
    "03": "Trace required",
}
HOSPITAL_NAME: Final = "Netherby Riverside Hospital (simulated)"
PRACTICE_NAME: Final = "Netherby Surgery (simulated)"


@dataclass(frozen=True, slots=True)
class Clinician:
    """An invented author. Telephone numbers are of the range kept free for drama."""

    prefix: str
    given: str
    family: str
    role: tuple[str, str]
    telephone: str

    @property
    def full_name(self) -> str:
        return f"{self.prefix} {self.given} {self.family}"


def patient_resource(choices: Choices) -> Json:
    patient = choices.patient
    return resource(
        "Patient",
        choices.ids("patient"),
        HL7_UK + "CareConnect-Patient-1",
        identifier=[_nhs_number(patient.nhs_number, choices.verification_status)],
        name=[{
            "use": "official",
            "family": patient.family_name,
            "given": list(patient.given_names),
            "prefix": [patient.prefix],
        }],
        gender=patient.gender,
        birthDate=patient.date_of_birth.isoformat(),
        address=[{"use": "home", "line": list(patient.address), "postalCode": patient.postcode}],
    )  # fmt: skip


def _nhs_number(number: str, status: str) -> Json:
    said = concept(
        f"{HL7_UK.replace('StructureDefinition', 'CodeSystem')}{VERIFICATION}", status, VERIFICATION_DISPLAYS[status]
    )
    return {
        "extension": [extension(f"{HL7_UK}Extension-{VERIFICATION}", valueCodeableConcept=said)],
        **identifier(number, "https://fhir.nhs.uk/Id/nhs-number"),
    }


def organisation(resource_id: str, ods_code: str, name: str, telephone: str) -> Json:
    return resource(
        "Organization",
        resource_id,
        HL7_UK + "CareConnect-Organization-1",
        identifier=[identifier(ods_code, ODS_ORGANISATION)],
        name=name,
        telecom=[{"system": "phone", "value": telephone, "use": "work"}],
    )


def practitioner(resource_id: str, who: Clinician, number: str) -> Json:
    return resource(
        "Practitioner",
        resource_id,
        HL7_UK + "CareConnect-Practitioner-1",
        identifier=[identifier(number, "https://fhir.nhs.uk/Id/sds-user-id")],
        name=[{"use": "official", "family": who.family, "given": [who.given], "prefix": [who.prefix]}],
        telecom=[{"system": "phone", "value": who.telephone, "use": "work"}],
    )


def practitioner_role(resource_id: str, who: Clinician, practitioner_id: str, organisation_id: str) -> Json:
    job = concept("https://fhir.hl7.org.uk/STU3/CodeSystem/CareConnect-SDSJobRoleName-1", *who.role)
    return resource(
        "PractitionerRole",
        resource_id,
        HL7_UK + "CareConnect-PractitionerRole-1",
        practitioner=reference(practitioner_id),
        organization=reference(organisation_id),
        code=[job],
    )


def people_of(choices: Choices, author: Clinician, provider_name: str = HOSPITAL_NAME) -> list[Json]:
    """Patient, author with role, custodian and GP practice: what every document holds."""
    ids = choices.ids
    return [
        patient_resource(choices),
        practitioner(ids("author"), author, "999000000011"),
        practitioner_role(ids("author-role"), author, ids("author"), ids("custodian")),
        organisation(ids("custodian"), choices.sender_ods, provider_name, "01632 960100"),
        organisation(ids("practice"), choices.practice_ods, PRACTICE_NAME, "01632 960200"),
    ]


def demographics(patient: SimulatedPatient) -> list[tuple[str, str]]:
    return [
        ("Patient name", patient.full_name),
        ("Date of birth", patient.date_of_birth.strftime("%d-%b-%Y")),
        ("Gender", patient.gender.capitalize()),
        ("NHS number", patient.nhs_number),
        ("Patient address", "\n".join((*patient.address, patient.postcode))),
    ]
