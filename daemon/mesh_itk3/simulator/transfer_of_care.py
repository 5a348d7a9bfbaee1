"""The four Transfer of Care documents: ITK003D, ITK004D, ITK005D, ITK006D. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from mesh_itk3.simulator import clinical
from mesh_itk3.simulator.cases import CASES, MANDATORY, MANDATORY_EVERYWHERE, SECTION_CODES, Case
from mesh_itk3.simulator.choices import Choices
from mesh_itk3.simulator.clinical import Coded
from mesh_itk3.simulator.documents import Filling, composition, document_bundle, filler, investigations
from mesh_itk3.simulator.fhir import Json, Rows, section, snomed
from mesh_itk3.simulator.people import HOSPITAL_NAME, PRACTICE_NAME, demographics, people_of

NOTHING_CODED = Coded((), ())


def transfer_of_care(choices: Choices, filling: Filling) -> Json:
    """The document bundle with every mandatory section, coded lists, and the encounter."""
    case = CASES[choices.kind]
    coded = _coded(choices, case)
    series, results = investigations(choices, filling.resources)
    # Sections stand in the order of their titles, as in the published examples.
    sections = sorted((*_sections(choices, case, coded, filling), *series), key=lambda each: str(each["title"]).lower())
    carried = [each for group in coded.values() for each in group.resources]
    resources = (*people_of(choices, case.author), clinical.encounter(choices, case.contact), *carried, *results)
    return document_bundle(choices, composition(choices, sections), resources)


def _coded(choices: Choices, case: Case) -> dict[str, Coded]:
    if not choices.coded:
        return {}
    coded = {
        "Allergies and adverse reactions": clinical.allergies(choices, case.allergies),
        "Diagnoses": clinical.diagnoses(choices, case.diagnoses),
        "Medications and medical devices": clinical.medications(choices, case.medications),
    }
    if case.procedures:
        coded["Procedures"] = clinical.procedures(choices, case.procedures)
    return {title: group for title, group in coded.items() if _is_wanted(choices, title)}


def _is_wanted(choices: Choices, title: str) -> bool:
    return choices.optional_sections or title in MANDATORY[choices.kind] | MANDATORY_EVERYWHERE


def _sections(choices: Choices, case: Case, coded: dict[str, Coded], filling: Filling) -> list[Json]:
    tables = {title: [rows] for title, rows in case.text.items()} | _coded_tables(case) | _people_tables(choices, case)
    where = "Clinical summary" if "Clinical summary" in tables else "Clinical narrative"
    return [
        section(
            title,
            snomed(SECTION_CODES[title], title),
            content,
            (*coded.get(title, NOTHING_CODED).references, *_people_entries(choices, title)),
            filler(filling.characters) if title == where else "",
        )
        for title, content in tables.items()
        if _is_wanted(choices, title)
    ]


def _coded_tables(case: Case) -> dict[str, list[Rows]]:
    return {
        "Allergies and adverse reactions": [clinical.allergy_rows(each) for each in case.allergies],
        "Diagnoses": [clinical.diagnosis_rows(each) for each in case.diagnoses],
        "Medications and medical devices": [clinical.medication_rows(each) for each in case.medications],
        **({"Procedures": [clinical.procedure_rows(each) for each in case.procedures]} if case.procedures else {}),
    }


def _people_tables(choices: Choices, case: Case) -> dict[str, list[Rows]]:
    author = case.author
    completed: Sequence[tuple[str, str]] = [
        ("Name", author.full_name),
        ("Role", author.role[1]),
        ("Date and time completed", choices.written_at.strftime("%d-%b-%Y %H:%M")),
        ("Contact details", author.telephone),
        ("Organisation", HOSPITAL_NAME),
    ]
    return {
        "GP practice": [[("GP practice details", f"{PRACTICE_NAME}, Netherby")]],
        "Patient demographics": [demographics(choices.patient)],
        "Person completing record": [completed],
    }


def _people_entries(choices: Choices, title: str) -> tuple[str, ...]:
    names = {
        "Admission details": ("encounter",),
        "Attendance details": ("encounter",),
        "Discharge details": ("encounter",),
        "GP practice": ("practice",),
        "Patient demographics": ("patient",),
        "Person completing record": ("author", "custodian"),
        "Senior reviewing clinician": ("author",),
    }
    return tuple(choices.ids(name) for name in names.get(title, ()))
