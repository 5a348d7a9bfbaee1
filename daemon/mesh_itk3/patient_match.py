"""Is the document's patient one of ours? Number, date of birth and family name must all agree. PURE.

The national rule for matching inside a practice is not published. This one never files on the number alone: whatever
disagrees or cannot be compared is left to a person.
"""

from __future__ import annotations

import calendar
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final

from nhs_number.validate import is_valid

from mesh_itk3.itk3.response_codes import BusinessCode

if TYPE_CHECKING:
    from mesh_itk3.itk3.resource import Part, Resource
    from mesh_itk3.ports import RegisteredPatient

NHS_NUMBER_SYSTEM: Final = "https://fhir.nhs.uk/Id/nhs-number"
VERIFIED: Final = "01"
"""CareConnect-NHSNumberVerificationStatus-1: number present and verified."""

_TEN_DIGITS = re.compile(r"[0-9]{10}")
_FULL_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NAMES_IN_USE = frozenset({None, "official", "usual"})
_MONTHS_OF_RECENT_DEATH: Final = 6
# Letters that Unicode does not take apart into a plain one and a mark.
_PLAIN_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe"})


@dataclass(frozen=True, slots=True)
class PatientIdentity:
    """Who a document says its patient is. Patient data: never logged, never in the ledger."""

    nhs_number: str | None
    """White space removed; as written otherwise."""
    nhs_number_valid: bool
    """Ten digits, not all zero, right check digit; False also where the Patient carries two different numbers."""
    verification_status: str | None
    family_names: tuple[str, ...]
    """Official and usual ones, and those of no stated use."""
    given_names: tuple[str, ...]
    date_of_birth: str | None
    """As written: it may be a year only."""


@dataclass(frozen=True, slots=True)
class PatientMatch:
    """What a comparison with the register says."""

    code: BusinessCode | None
    """None: uncertain, a person decides."""
    reason: str
    """From a fixed vocabulary (REASONS); never a value."""
    warnings: tuple[str, ...] = ()


REASONS: Final[dict[str, str]] = {
    "registered": "Number, date of birth and family name agree with a registered patient.",
    "left": "They agree with a patient who has left the practice.",
    "recently_deceased": "They agree with a patient who died less than six months ago.",
    "deceased": "They agree with a patient who died six months ago or earlier.",
    "not_found": "The register does not hold this valid NHS number.",
    "unnumbered_patient_matches": "The register does not hold this NHS number, but a patient without one who may be the same.",
    "nhs_number_absent": "The document gives no NHS number.",
    "nhs_number_invalid": "The document's NHS number is not a valid one.",
    "nhs_number_differs": "The register was asked about another number.",
    "date_of_birth_absent": "The document gives no full date of birth.",
    "date_of_birth_differs": "The dates of birth differ.",
    "family_name_absent": "The document gives no family name.",
    "family_name_differs": "The family names differ.",
    "date_of_death_absent": "The register does not say when the patient died.",
    "date_of_death_in_future": "The register gives a date of death that has not come yet.",
    "patient_absent": "The document names no patient that can be read.",
    "register_unusable": "The patient register cannot be used now.",
    "no_register": "No patient register is configured.",
}

CANNOT_SAY: Final = frozenset({"register_unusable", "no_register"})
"""Reasons of REASONS that say nothing about the patient: no register was read whole, so nobody knows anything yet."""


# ------------------------------------------------------------------------------------------- reading the Patient


def identity_of(patient: Resource) -> PatientIdentity:
    """What a Patient resource says, read without judging it."""
    identifiers = [part for part in patient.all("identifier") if _is_nhs_number(part)]
    numbers = [number for part in identifiers if (number := normalise_nhs_number(part.value("value")))]
    names = [part for part in patient.all("name") if part.value("use") in _NAMES_IN_USE]
    number = next(iter(numbers), None)
    return PatientIdentity(
        nhs_number=number,
        nhs_number_valid=len(set(numbers)) == 1 and is_valid_nhs_number(number),
        verification_status=next((status for part in identifiers if (status := _verification_status(part))), None),
        family_names=tuple(dict.fromkeys(name for part in names for name in part.values("family"))),
        given_names=names[0].values("given") if names else (),
        date_of_birth=patient.value("birthDate"),
    )


def _is_nhs_number(identifier: Part) -> bool:
    return (identifier.value("system") or "").rstrip("/").lower() == NHS_NUMBER_SYSTEM.lower()


def _verification_status(identifier: Part) -> str | None:
    extension = identifier.extension("NHSNumberVerificationStatus-1")
    return extension.value("valueCodeableConcept/coding/code") if extension else None


def normalise_nhs_number(text: str | None) -> str | None:
    """The number without any white space; None where nothing is left."""
    return "".join((text or "").split()) or None


def is_valid_nhs_number(number: str | None) -> bool:
    """Ten digits with the right check digit. 0000000000 has one, and stands for nobody."""
    if number is None or not _TEN_DIGITS.fullmatch(number) or not number.strip("0"):
        return False
    return bool(is_valid(number))


# ------------------------------------------------------------------------------------------- comparing


def match_patient(
    patient: PatientIdentity, found: RegisteredPatient | None, today: date, unnumbered: Iterable[RegisteredPatient] = ()
) -> PatientMatch:
    """Compares a document's patient with what the register holds under that number; where it holds nothing, with those of
    its patients who have no number (those born on that day suffice).
    """
    warnings = () if patient.verification_status == VERIFIED else ("nhs_number_not_verified",)
    code, reason = _decide(patient, found, today, unnumbered)
    return PatientMatch(code, reason, warnings)


def _decide(
    patient: PatientIdentity, found: RegisteredPatient | None, today: date, unnumbered: Iterable[RegisteredPatient]
) -> tuple[BusinessCode | None, str]:
    if patient.nhs_number is None:
        return None, "nhs_number_absent"
    if not patient.nhs_number_valid:
        return None, "nhs_number_invalid"
    if found is None:
        if any(_may_be(patient, other) for other in unnumbered):
            return None, "unnumbered_patient_matches"
        return BusinessCode.PATIENT_NOT_KNOWN, "not_found"
    disagreement = _disagreement(patient, found)
    return (None, disagreement) if disagreement else _by_status(found, today)


def _may_be(patient: PatientIdentity, other: RegisteredPatient) -> bool:
    """Whether nothing that both give differs: "not known here" is said only of somebody who is certainly nobody's."""
    return _birth_problem(patient, other) != "date_of_birth_differs" and _name_problem(patient, other) != "family_name_differs"


def _disagreement(patient: PatientIdentity, found: RegisteredPatient) -> str | None:
    if patient.nhs_number != normalise_nhs_number(found.nhs_number):
        return "nhs_number_differs"
    return _birth_problem(patient, found) or _name_problem(patient, found)


def _birth_problem(patient: PatientIdentity, found: RegisteredPatient) -> str | None:
    born = full_date_of_birth(patient)
    if born is None:
        return "date_of_birth_absent"
    return None if born == found.date_of_birth.isoformat() else "date_of_birth_differs"


def full_date_of_birth(patient: PatientIdentity) -> str | None:
    """YYYY-MM-DD; None where the document gives less."""
    born = patient.date_of_birth or ""
    return born if _FULL_DATE.fullmatch(born) else None


def _name_problem(patient: PatientIdentity, found: RegisteredPatient) -> str | None:
    names = {folded for name in patient.family_names if (folded := fold_family_name(name))}
    if not names:
        return "family_name_absent"
    return None if fold_family_name(found.family_name) in names else "family_name_differs"


def fold_family_name(name: str) -> str:
    """Case, accents, hyphens, apostrophes and spaces do not count. Everything else does: one half of a double-barrelled
    name is not enough, because twins and relatives with neighbouring records share exactly that half, and a letter filed
    to the wrong record harms while a letter that waits for a person does not.
    """
    folded = name
    for _ in range(2):  # taking letters apart makes new capitals, and folding makes new letters to take apart
        folded = unicodedata.normalize("NFKD", folded).casefold().translate(_PLAIN_LETTERS)
    return "".join(letter for letter in folded if letter.isalnum())


def _by_status(found: RegisteredPatient, today: date) -> tuple[BusinessCode | None, str]:
    if found.status == "registered":
        return BusinessCode.PATIENT_KNOWN, "registered"
    if found.status == "left":
        return BusinessCode.PATIENT_LEFT, "left"
    if found.status_date is None:
        return None, "date_of_death_absent"
    if found.status_date > today:
        return None, "date_of_death_in_future"
    # 30004 covers less than six months after death (or deduction because of it); from six months on it is 30003.
    if today < _months_after(found.status_date, _MONTHS_OF_RECENT_DEATH):
        return BusinessCode.PATIENT_DECEASED, "recently_deceased"
    return BusinessCode.PATIENT_LEFT, "deceased"


def _months_after(day: date, months: int) -> date:
    """The same day so many calendar months later, or that month's last day where it has no such day."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))
