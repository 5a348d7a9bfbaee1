"""`structured.json`: what a document says in codes, beside its text. PURE.

Everything is marked unverified: lists are snapshots of the sender's, and the text is the truth where the two differ. An
empty list says nothing: "no known allergies" is an item with a code of its own, never an absence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from mesh_itk3.itk3.document import Resource
from mesh_itk3_handlers import wording
from mesh_itk3_handlers.contents import Contents, ReadPart, ReadResource, ReadSection
from mesh_itk3_handlers.letter import Letter

NOTE: Final = (
    "Unverified: read from the sender's codes, not checked by a person and not imported. The letter's text is the truth. "
    "An empty list does not mean that there is nothing of its kind."
)
NEGATED_ALLERGIES: Final = frozenset({"716186003", "409137002", "429625007"})
"""No known allergy, no known drug allergy, no known food allergy (SNOMED CT)."""
_DIAGNOSES: Final = frozenset({"887161000000102", "887151000000100"})
"""Sections Diagnoses, and Problems and issues; a Condition of another section is a complaint, a history …"""

_MEDICATIONS: Final = ("MedicationStatement", "MedicationRequest", "MedicationDispense")

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Found:
    """One coded resource and where the document lists it; no section means that nothing refers to it."""

    resource: ReadResource
    section: ReadSection | None = None
    list_: ReadResource | None = None
    flag: ReadPart | None = None


def structured(contents: Contents, letter: Letter) -> Item:
    """The content of `structured.json`: the letter's sections as plain text, then what the document says in codes."""
    found = tuple(_all_found(contents))
    conditions = [(held, _condition(contents, held)) for held in found if held.resource.type == "Condition"]
    return {
        "verified": False,
        "note": NOTE,
        "sections": _sections(letter),
        "medications": [_medication(contents, held) for held in _medications(contents, found)],
        "allergies": _items(contents, found, "AllergyIntolerance", _allergy),
        "diagnoses": [item for held, item in conditions if _code_of(held.section) in _DIAGNOSES],
        "other_conditions": [item for held, item in conditions if _code_of(held.section) not in _DIAGNOSES],
        "procedures": _items(contents, found, "Procedure", _procedure),
        "immunizations": _items(contents, found, "Immunization", _immunization),
        "encounter": _encounter(contents),
        "lists": [_list(entry) for entry in contents.of_type("List")],
    }


def _sections(letter: Letter) -> list[Item]:
    sections = (section for outer in letter.sections for section in outer.with_nested())
    return [{"code": section.code, "title": section.given_title or None, "text": section.text} for section in sections]


# ------------------------------------------------------------------------------------------------ where things stand


def _all_found(contents: Contents) -> Iterator[_Found]:
    """Every coded resource of the document once, in its order, with the first place that refers to it."""
    placed: dict[int, _Found] = {}
    for section in contents.all_sections:
        for held in _listed(contents, section):
            placed.setdefault(id(held.resource.element), held)
    for entry in contents.entries:
        yield placed.get(id(entry.element)) or _Found(entry)


def _listed(contents: Contents, section: ReadSection) -> Iterator[_Found]:
    """What a section refers to: through a List, or straight, as older documents do."""
    for target in section.entries:
        yield _Found(target, section)
        if target.type == "List":
            for entry in target.all("entry"):
                item = contents.resolve(entry.value("item/reference"))
                if item is not None:
                    yield _Found(item, section, target, next(iter(entry.all("flag")), None))


def _items(contents: Contents, found: tuple[_Found, ...], type_: str, read: Callable[[Contents, _Found], Item]) -> list[Item]:
    return [read(contents, held) for held in found if held.resource.type == type_]


def _code_of(section: ReadSection | None) -> str | None:
    return section.code if section is not None else None


def _list(entry: ReadResource) -> Item:
    return {
        "verified": False,
        "code": _concept(entry, "code"),
        "status": entry.value("status"),
        "items": len(entry.all("entry")),
        "empty_reason": _concept(entry, "emptyReason"),
    }


def _origin(held: _Found) -> Item:
    """What every coded item begins with."""
    return {
        "verified": False,
        "resource": held.resource.type,
        "id": held.resource.id,
        "section": None if held.section is None else {"code": held.section.code, "title": held.section.title or None},
    }


def _concept(holder: ReadPart | None, path: str) -> Item | None:
    """A CodeableConcept or Coding: words and every coding, or None where it is absent."""
    found = holder.all(path) if holder is not None else ()
    if not found:
        return None
    codings = [part for concept in found for part in (concept.all("coding") or ((concept,) if concept.value("code") else ()))]
    text = next((words for concept in found if (words := wording.concept_words(concept))), None)
    return {"text": text, "codings": [coding.fields("system", "code", "display") for coding in codings]}


def _status(resource: Resource, name: str) -> str | None:
    # A code in STU3, a CodeableConcept from senders that write R4.
    return resource.value(name) or resource.value(f"{name}/coding/code")


def _notes(resource: Resource) -> list[str]:
    return list(resource.values("note/text"))


# ------------------------------------------------------------------------------------------------ one reader per kind


def _medications(contents: Contents, found: tuple[_Found, ...]) -> Iterator[_Found]:
    """Every medication item; a dispense that is part of a statement is that statement's quantity, not one of its own."""
    held = [item for item in found if item.resource.type in _MEDICATIONS]
    parts = {id(part.element) for item in held for part in _dispenses(contents, item.resource)}
    yield from (item for item in held if id(item.resource.element) not in parts)


def _dispenses(contents: Contents, resource: Resource) -> list[Resource]:
    named = (contents.resolve(reference) for reference in resource.values("partOf/reference"))
    return [part for part in named if part is not None and part.type == "MedicationDispense"]


def _medication(contents: Contents, held: _Found) -> Item:
    resource = held.resource
    medication = contents.resolve(resource.value("medicationReference/reference"))
    coded = _concept(medication, "code") or _concept(resource, "medicationCodeableConcept")
    dosages = resource.all("dosage") + resource.all("dosageInstruction")
    quantities = (_quantity(part) for part in (*_dispenses(contents, resource), resource))
    return {
        **_origin(held),
        "medication": coded,
        "form": _concept(medication, "form"),
        "status": resource.value("status"),
        "taken": resource.value("taken"),
        "dosage": [text for dosage in dosages if (text := dosage.value("text"))],
        "route": next((words for dosage in dosages if (words := _concept(dosage, "route"))), None),
        "quantity": next((quantity for quantity in quantities if quantity), None),
        "change": _change(resource),
        "list": None if held.list_ is None else _concept(held.list_, "code"),
        "list_flag": None if held.flag is None else {"text": wording.coded_words(held.flag, "coding") or None},
        "notes": _notes(resource),
    }


def _quantity(resource: Resource) -> str | None:
    amount = resource.value("quantity/value")
    unit = resource.value("quantity/unit") or resource.value("quantity/code")
    text = next((value for part in resource.all("quantity/extension") if (value := part.value("valueString"))), None)
    own = resource.extension("MedicationQuantityText-1")
    return text or (own.value("valueString") if own else None) or (" ".join(filter(None, (amount, unit))) or None)


def _change(resource: Resource) -> Item | None:
    """What the sender changed since admission (MedicationChangeSummary)."""
    extension = resource.extension("MedicationChangeSummary-1")
    if extension is None:
        return None
    names = {"status": "status", "indication": "indicationForChange", "date": "dateChanged", "details": "detailsOfAmendment"}
    return {ours: wording.extension_words(extension, theirs) or None for ours, theirs in names.items()}


def _allergy(_: Contents, held: _Found) -> Item:
    resource = held.resource
    agent = _concept(resource, "code")
    codes = resource.values("code/coding/code")
    return {
        **_origin(held),
        "causative_agent": agent,
        "is_negation": any(code in NEGATED_ALLERGIES for code in codes),
        "clinical_status": _status(resource, "clinicalStatus"),
        "verification_status": _status(resource, "verificationStatus"),
        "asserted_date": resource.value("assertedDate"),
        "reactions": [
            {
                "manifestations": _concept(part, "manifestation"),
                "description": part.value("description"),
                "severity": part.value("severity"),
            }
            for part in resource.all("reaction")
        ],
        "notes": _notes(resource),
    }


def _condition(_: Contents, held: _Found) -> Item:
    resource = held.resource
    return {
        **_origin(held),
        "condition": _concept(resource, "code"),
        "category": _concept(resource, "category"),
        "clinical_status": _status(resource, "clinicalStatus"),
        "verification_status": _status(resource, "verificationStatus"),
        "onset": resource.value("onsetDateTime") or resource.value("onsetString"),
        "asserted_date": resource.value("assertedDate"),
        "notes": _notes(resource),
    }


def _procedure(_: Contents, held: _Found) -> Item:
    resource = held.resource
    return {
        **_origin(held),
        "procedure": _concept(resource, "code"),
        "status": resource.value("status"),
        "performed": resource.value("performedDateTime") or resource.value("performedPeriod/start"),
        "body_site": _concept(resource, "bodySite"),
        "notes": _notes(resource),
    }


def _immunization(_: Contents, held: _Found) -> Item:
    resource = held.resource
    return {
        **_origin(held),
        "vaccine": _concept(resource, "vaccineCode"),
        "status": resource.value("status"),
        "not_given": {"true": True, "false": False}.get(resource.value("notGiven") or ""),
        "date": resource.value("date"),
        "lot_number": resource.value("lotNumber"),
        "expiration_date": resource.value("expirationDate"),
        "site": _concept(resource, "site"),
        "route": _concept(resource, "route"),
        "notes": _notes(resource),
    }


def _encounter(contents: Contents) -> Item | None:
    encounter = contents.encounter
    if encounter is None:
        return None
    stay = next(iter(encounter.all("hospitalization")), None)
    # The profile puts these two under hospitalization, the published examples on the Encounter.
    methods = {
        name: wording.extension_words(encounter, tail) or wording.extension_words(stay, tail) or None
        for name, tail in (("admission_method", "AdmissionMethod-1"), ("discharge_method", "DischargeMethod-1"))
    }
    return {
        **_origin(_Found(encounter)),
        "class": encounter.value("class/code"),
        "type": _concept(encounter, "type"),
        "status": encounter.value("status"),
        "start": encounter.value("period/start"),
        "end": encounter.value("period/end"),
        "reason": _concept(encounter, "reason"),
        **methods,
        "admission_source": _concept(stay, "admitSource"),
        "discharge_destination": _concept(stay, "dischargeDisposition"),
        "outcome_of_attendance": wording.extension_words(encounter, "OutcomeOfAttendance-1") or None,
        "discharge_status": wording.extension_words(encounter, "EmergencyCareDischargeStatus-1") or None,
    }
