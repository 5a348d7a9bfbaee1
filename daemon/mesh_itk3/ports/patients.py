"""The practice's own list of patients."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal, Protocol


class RegisterUnusable(Exception):
    """The patient register is missing, unreadable, empty, being rewritten or too old: it "cannot say" (design rule 5)."""


@dataclass(frozen=True, slots=True)
class RegisteredPatient:
    """One row of the practice's patient register."""

    nhs_number: str
    """Empty: a patient without one."""
    date_of_birth: date
    family_name: str
    status: Literal["registered", "left", "deceased"]
    status_date: date | None


class PatientRegister(Protocol):
    """The practice's own list of patients."""

    def look_up(self, nhs_number: str) -> RegisteredPatient | None:
        """By ten digits; None only from a register read whole. Raises RegisterUnusable."""

    def unnumbered(self, date_of_birth: str | None) -> tuple[RegisteredPatient, ...]:
        """The patients without an NHS number who were born on this day (YYYY-MM-DD); all of them for None. Raises
        RegisterUnusable.
        """
