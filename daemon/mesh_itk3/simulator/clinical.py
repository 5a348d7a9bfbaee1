"""Clinical facts as values, and each of them twice: as coded resources and as rows of narrative. Pure.

Everything coded is also in the text (FHIR-CC-03), so both are made from the same value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from mesh_itk3.simulator.choices import Choices
from mesh_itk3.simulator.fhir import HL7_UK, NHS, Json, Rows, concept, extension, identifier, reference, resource, snomed

ITK: Final = NHS + "CareConnect-ITK-"

MEDICATIONS: Final = ("933361000000108", "Medications and medical devices")
ALLERGIES: Final = ("886921000000105", "Allergies and adverse reactions")

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Medication:
    """One line of the medication list; `change` is what the hospital did to it."""

    code: str | None
    name: str
    directions: str
    change: Literal["Continued", "Added", "Amended", "Stopped"] = "Continued"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Allergy:
    code: str
    agent: str
    reaction: str = ""
    recorded: str = "2012-01-12"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    code: str | None
    name: str
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """One procedure."""

    code: str | None
    name: str
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Contact:
    """The encounter: when it was, of what class, and why."""

    start: str
    end: str
    kind: tuple[str, str]
    """v3 ActEncounterCode and its display."""
    type: tuple[str, str]
    reason: tuple[str | None, str]
    is_admission: bool = False


@dataclass(frozen=True, slots=True)
class Coded:
    """What one section carries in coded form: the ids it refers to, and the resources to add."""

    references: tuple[str, ...]
    resources: tuple[Json, ...]


def encounter(choices: Choices, contact: Contact) -> Json:
    ids = choices.ids
    discharger = {
        "type": [concept("http://hl7.org/fhir/v3/ParticipationType", "DIS", "discharger")],
        "individual": reference(ids("author")),
    }
    return resource(
        "Encounter",
        ids("encounter"),
        ITK + "Encounter-1",
        identifier=[identifier(ids("encounter-identifier"))],
        status="finished",
        **{"class": {"system": "http://hl7.org/fhir/v3/ActCode", "code": contact.kind[0], "display": contact.kind[1]}},
        type=[snomed(*contact.type)],
        subject=reference(ids("patient")),
        participant=[discharger],
        period={"start": contact.start, "end": contact.end},
        reason=[snomed(*contact.reason)],
        hospitalization=_hospitalization() if contact.is_admission else None,
        serviceProvider=reference(ids("custodian")),
    )


def _hospitalization() -> Json:
    systems = HL7_UK.replace("StructureDefinition", "CodeSystem")
    return {
        "admitSource": concept(f"{systems}CareConnect-SourceOfAdmission-1", "19", "Usual place of residence"),
        "dischargeDisposition": concept(f"{systems}CareConnect-DischargeDestination-1", "19", "Usual place of residence"),
    }


def medications(choices: Choices, items: Sequence[Medication]) -> Coded:
    """Up to two Lists, active and discontinued, of MedicationStatements that point at Medications."""
    active = [each for each in enumerate(items) if each[1].change != "Stopped"]
    stopped = [each for each in enumerate(items) if each[1].change == "Stopped"]
    lists, resources = [], []
    for name, group in (("active", active), ("discontinued", stopped)):
        if not group:
            continue
        statements = [choices.ids(f"statement-{number}") for number, _ in group]
        made = _list(choices, f"medication-list-{name}", "Medication-List-1", MEDICATIONS, statements)
        lists.append(made)
        resources += [each for number, item in group for each in _medication(choices, number, item)]
    return Coded(tuple(each["id"] for each in lists), (*lists, *resources))


def _medication(choices: Choices, number: int, item: Medication) -> tuple[Json, Json]:
    ids, is_stopped = choices.ids, item.change == "Stopped"
    change = extension(
        HL7_UK + "Extension-CareConnect-MedicationChangeSummary-1", extension=[extension("status", valueCode=item.change)]
    )
    statement = resource(
        "MedicationStatement",
        ids(f"statement-{number}"),
        ITK + "MedicationStatement-1",
        extension=None if is_stopped else [change],
        status="stopped" if is_stopped else "active",
        medicationReference=reference(ids(f"medication-{number}")),
        subject=reference(ids("patient")),
        taken="unk",
        dosage=[{"text": item.directions, "route": snomed("26643006", "Oral")}],
    )
    return statement, resource(
        "Medication", ids(f"medication-{number}"), ITK + "Medication-1", code=snomed(item.code, item.name)
    )


def allergies(choices: Choices, items: Sequence[Allergy]) -> Coded:
    return _listed(choices, "allergy", items, _allergy, "Allergy-List-1", ALLERGIES)


def _allergy(choices: Choices, number: int, item: Allergy) -> Json:
    reaction = {"manifestation": [snomed("271807003", "Rash")], "description": item.reaction}
    return resource(
        "AllergyIntolerance",
        choices.ids(f"allergy-{number}"),
        ITK + "AllergyIntolerance-1",
        clinicalStatus="active",
        verificationStatus="confirmed",
        code=snomed(item.code, item.agent),
        patient=reference(choices.ids("patient")),
        assertedDate=item.recorded,
        reaction=[reaction] if item.reaction else None,
    )


def diagnoses(choices: Choices, items: Sequence[Diagnosis], name: str = "condition") -> Coded:
    return _listed(choices, name, items, _condition, "Condition-List-1", ("887161000000102", "Diagnoses"))


def _condition(choices: Choices, number: int, item: Diagnosis) -> Json:
    return resource(
        "Condition",
        choices.ids(f"condition-{number}"),
        ITK + "Condition-1",
        clinicalStatus="active",
        category=[concept("https://fhir.hl7.org.uk/STU3/CodeSystem/CareConnect-ConditionCategory-1", "encounter-diagnosis",
                          "Encounter Diagnosis")],
        code=snomed(item.code, item.name),
        subject=reference(choices.ids("patient")),
        context=reference(choices.ids("encounter")),
    )  # fmt: skip


def procedures(choices: Choices, items: Sequence[Operation]) -> Coded:
    return _listed(choices, "procedure", items, _procedure, "Procedure-List-1", ("887171000000109", "Procedures"))


def _procedure(choices: Choices, number: int, item: Operation) -> Json:
    return resource(
        "Procedure",
        choices.ids(f"procedure-{number}"),
        ITK + "Procedure-1",
        status="completed",
        code=snomed(item.code, item.name),
        subject=reference(choices.ids("patient")),
        context=reference(choices.ids("encounter")),
    )


def observation(choices: Choices, number: int) -> Json:
    """One result of a long series: what fills a large message with many resources."""
    ids = choices.ids
    return resource(
        "Observation",
        ids(f"observation-{number}"),
        HL7_UK + "CareConnect-Observation-1",
        status="final",
        code=snomed("364075005", "Heart rate"),
        subject=reference(ids("patient")),
        context=reference(ids("encounter")),
        effectiveDateTime=f"2025-03-{1 + number % 9:02}T{number % 24:02}:{number % 60:02}:00+00:00",
        valueQuantity={
            "value": 60 + number % 39,  # always two digits: each one is equally long
            "unit": "beats/minute",
            "system": "http://unitsofmeasure.org",
            "code": "/min",
        },
    )


def _listed(
    choices: Choices,
    name: str,
    items: Sequence[Item],
    make: Callable[[Choices, int, Item], Json],
    profile: str,
    code: tuple[str, str],
) -> Coded:
    made = tuple(make(choices, number, item) for number, item in enumerate(items))
    listed = _list(choices, f"{name}-list", profile, code, [each["id"] for each in made])
    return Coded((listed["id"],), (listed, *made))


def _list(choices: Choices, name: str, profile: str, code: tuple[str, str], items: Sequence[str]) -> Json:
    return resource(
        "List",
        choices.ids(name),
        ITK + profile,
        identifier=[identifier(choices.ids(f"{name}-identifier"))],
        status="current",
        mode="snapshot",
        code=snomed(*code),
        subject=reference(choices.ids("patient")),
        entry=[{"item": reference(each)} for each in items],
    )


def medication_rows(item: Medication) -> Rows:
    if item.change == "Stopped":
        return [("Name of discontinued medication", item.name), ("Status", "Discontinued"), ("Indication", item.reason)]
    rows = [("Medication name", item.name), ("Dose directions description", item.directions), ("Status", item.change)]
    return [*rows, *([("Indication", item.reason)] if item.reason else [])]


def allergy_rows(item: Allergy) -> Rows:
    rows = [("Causative agent", item.agent)]
    if item.reaction:
        rows.append(("Description of reaction", item.reaction))
    return [*rows, ("Date recorded", item.recorded)]


def diagnosis_rows(item: Diagnosis) -> Rows:
    return [("Diagnosis name", item.name), *([("Comment", item.comment)] if item.comment else [])]


def procedure_rows(item: Operation) -> Rows:
    return [("Procedure name", item.name), *([("Comment", item.comment)] if item.comment else [])]
