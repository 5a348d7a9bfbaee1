"""The cast: fictitious patients of the 999 test range, and the practice's register of them. Pure but for `write_register`."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final, Literal

from nhs_number.validate import calculate_checksum

NO_CHECK_DIGIT: Final = 10
"""What the modulus 11 sum gives for nine digits that are never issued."""

Standing = Literal["registered", "left", "deceased"]


def number_in_test_range(nine_digits: str) -> str:
    """A ten-digit number of the test range. Raises ValueError for another range, or where no check digit exists."""
    if not nine_digits.startswith("999"):
        raise ValueError("test numbers begin with 999")
    check_digit = calculate_checksum(nine_digits)
    if check_digit is None or check_digit == NO_CHECK_DIGIT:
        raise ValueError("these nine digits have no valid check digit")
    return f"{nine_digits}{check_digit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedPatient:
    """One invented person, as the hospital knows them and as the practice's register has them."""

    nhs_number: str
    prefix: str
    family_name: str
    given_names: tuple[str, ...]
    gender: Literal["female", "male"]
    date_of_birth: date
    address: tuple[str, ...]
    postcode: str
    standing: Standing | None = "registered"
    """None: not in the register at all."""
    days_since_standing: int | None = None
    """How long ago the patient left or died."""
    date_of_birth_in_register: date | None = None
    """Where the register disagrees with the hospital."""

    @property
    def full_name(self) -> str:
        return " ".join((self.prefix, *self.given_names, self.family_name))


# ZZ99 postcodes are the NHS's own pseudo-postcodes: nobody lives there.
EDITH: Final = SimulatedPatient(
    nhs_number=number_in_test_range("999000101"),
    prefix="Mrs",
    family_name="Fothergill",
    given_names=("Edith", "Maud"),
    gender="female",
    date_of_birth=date(1946, 3, 14),
    address=("7 Sluice Cottages", "Netherby"),
    postcode="ZZ99 3AA",
)
RAJESH: Final = SimulatedPatient(
    nhs_number=number_in_test_range("999000102"),
    prefix="Mr",
    family_name="Marwaha",
    given_names=("Rajesh",),
    gender="male",
    date_of_birth=date(1959, 11, 2),
    address=("Flat 4, Tannery Court", "Netherby"),
    postcode="ZZ99 3AB",
)
BRONWEN: Final = SimulatedPatient(
    nhs_number=number_in_test_range("999000103"),
    prefix="Ms",
    family_name="Pritchard-Lloyd",
    given_names=("Bronwen",),
    gender="female",
    date_of_birth=date(1988, 6, 21),
    address=("22 Quarry Lane", "Netherby"),
    postcode="ZZ99 3AC",
)
CALLUM: Final = SimulatedPatient(
    nhs_number=number_in_test_range("999000104"),
    prefix="Mr",
    family_name="O'Hare",
    given_names=("Callum", "James"),
    gender="male",
    date_of_birth=date(2001, 1, 30),
    address=("1 Station Parade", "Netherby"),
    postcode="ZZ99 3AD",
)
THOMAS_LEFT: Final = SimulatedPatient(
    nhs_number=number_in_test_range("999000105"),
    prefix="Mr",
    family_name="Ashworth",
    given_names=("Thomas",),
    gender="male",
    date_of_birth=date(1967, 9, 9),
    address=("Moved away",),
    postcode="ZZ99 3AE",
    standing="left",
    days_since_standing=400,
)
MARGARET_DECEASED: Final = SimulatedPatient(
    nhs_number=number_in_test_range("999000107"),
    prefix="Mrs",
    family_name="Dalby",
    given_names=("Margaret",),
    gender="female",
    date_of_birth=date(1934, 12, 1),
    address=("The Limes Nursing Home", "Netherby"),
    postcode="ZZ99 3AF",
    standing="deceased",
    days_since_standing=21,
)
PIOTR_UNKNOWN: Final = SimulatedPatient(
    nhs_number=number_in_test_range("999000108"),
    prefix="Mr",
    family_name="Zielinski",
    given_names=("Piotr",),
    gender="male",
    date_of_birth=date(1979, 4, 17),
    address=("5 Harbour View", "Farmouth"),
    postcode="ZZ99 3AG",
    standing=None,
)
SUSAN_DISAGREES: Final = SimulatedPatient(
    nhs_number=number_in_test_range("999000110"),
    prefix="Mrs",
    family_name="Whitcombe",
    given_names=("Susan", "Jane"),
    gender="female",
    date_of_birth=date(1972, 8, 5),
    address=("14 Orchard Close", "Netherby"),
    postcode="ZZ99 3AH",
    date_of_birth_in_register=date(1972, 5, 8),  # day and month exchanged: the commonest slip
)

WALTER_DECEASED_LONG_AGO: Final = SimulatedPatient(
    nhs_number=number_in_test_range("999000111"),
    prefix="Mr",
    family_name="Ormerod",
    given_names=("Walter",),
    gender="male",
    date_of_birth=date(1931, 7, 23),
    address=("The Limes Nursing Home", "Netherby"),
    postcode="ZZ99 3AJ",
    standing="deceased",
    days_since_standing=200,
)

CAST: Final = (EDITH, RAJESH, BRONWEN, CALLUM, THOMAS_LEFT, MARGARET_DECEASED, PIOTR_UNKNOWN, SUSAN_DISAGREES)

REGISTER_COLUMNS: Final = ("nhs_number", "date_of_birth", "family_name", "status", "status_date")


def register_rows(patients: Iterable[SimulatedPatient], today: date) -> list[dict[str, str]]:
    """The practice's register of these patients on this day; those unknown to it have no row."""
    return [_register_row(patient, today) for patient in patients if patient.standing]


def _register_row(patient: SimulatedPatient, today: date) -> dict[str, str]:
    days = patient.days_since_standing
    return {
        "nhs_number": patient.nhs_number,
        "date_of_birth": (patient.date_of_birth_in_register or patient.date_of_birth).isoformat(),
        "family_name": patient.family_name,
        "status": patient.standing or "",
        "status_date": "" if days is None else (today - timedelta(days=days)).isoformat(),
    }


def write_register(file: Path, today: date, patients: Iterable[SimulatedPatient] = CAST) -> None:
    """Writes the register as the CSV that the daemon reads."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, REGISTER_COLUMNS)
        writer.writeheader()
        writer.writerows(register_rows(patients, today))
