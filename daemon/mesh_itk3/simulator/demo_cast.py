"""What the hospital sends in the demo, what it should get back, and how the two are compared. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from mesh_itk3.simulator.choices import KINDS
from mesh_itk3.simulator.correspondence import Answers, Sent
from mesh_itk3.simulator.messages import a_message, not_well_formed
from mesh_itk3.simulator.patients import (
    BRONWEN,
    CALLUM,
    EDITH,
    MARGARET_DECEASED,
    PIOTR_UNKNOWN,
    RAJESH,
    SUSAN_DISAGREES,
    THOMAS_LEFT,
)

LARGE_BYTES: Final = 1_200_000
CHUNK_BYTES: Final = 300_000


@dataclass(frozen=True, slots=True)
class Expected:
    """What the standard says the hospital gets back, and whether a letter is to be filed."""

    infrastructure: str
    business: str | None = None
    is_filed: bool = False


FILED: Final = Expected("20013", "30001", is_filed=True)


@dataclass(frozen=True, slots=True)
class Part:
    """One message of the show."""

    title: str
    kind: str
    body: bytes = field(repr=False)
    expected: Expected = FILED
    note: str = ""
    """What is special about it."""
    chunk_bytes: int | None = None
    decision: str | None = None
    """The code that a person gives once the message waits for one."""
    after: int | None = None
    """Sent only when the part with this index has been answered."""

    @property
    def workflow_id(self) -> str:
        return KINDS[self.kind].workflow_id


def parts(now: datetime, seed: str) -> tuple[Part, ...]:
    """The whole mix. `seed` makes its identifiers, so that no two demos share any."""

    def letter(kind: str, **changes: Any) -> bytes:
        return a_message(kind, **({"seed": f"{seed}/{kind}", "written_at": now} | changes))

    first = letter("ITK003D", patient=EDITH)
    return (
        Part("Inpatient discharge", "ITK003D", first),
        Part("Mental health discharge", "ITK004D", letter("ITK004D", patient=RAJESH)),
        Part("Emergency care discharge", "ITK005D", letter("ITK005D", patient=CALLUM)),
        Part("Outpatient letter", "ITK006D", letter("ITK006D", patient=BRONWEN)),
        Part("Consultation report", "ITK007C", letter("ITK007C", patient=BRONWEN), note="with a PDF"),
        Part("Flu vaccination", "ITK009D", letter("ITK009D", patient=CALLUM)),
        Part("Emergency supply", "ITK010D", letter("ITK010D", patient=RAJESH)),
        Part("Large report", "ITK007C", letter("ITK007C", seed=f"{seed}/large", size=LARGE_BYTES, bulk="attachment"),
             note=f"in {-(-LARGE_BYTES // CHUNK_BYTES)} MESH chunks", chunk_bytes=CHUNK_BYTES),
        Part("Patient died recently", "ITK003D", letter("ITK003D", seed=f"{seed}/died", patient=MARGARET_DECEASED),
             Expected("20013", "30004", is_filed=True)),
        Part("Patient has left", "ITK005D", letter("ITK005D", seed=f"{seed}/left", patient=THOMAS_LEFT),
             Expected("20013", "30003")),
        Part("Patient not known here", "ITK006D", letter("ITK006D", seed=f"{seed}/unknown", patient=PIOTR_UNKNOWN),
             Expected("20013", "30002")),
        Part("Date of birth disagrees", "ITK003D", letter("ITK003D", seed=f"{seed}/disagrees", patient=SUSAN_DISAGREES),
             note="a person decides", decision="30001"),
        Part("Not well-formed", "ITK006D", not_well_formed(letter("ITK006D", seed=f"{seed}/broken")), Expected("10009")),
        Part("No handling extension", "ITK004D", letter("ITK004D", seed=f"{seed}/bare", handling=False), Expected("10001")),
        Part("The first one again", "ITK003D", first, Expected("20007"), note="duplicate", after=0),
    )  # fmt: skip


@dataclass(slots=True)
class Progress:
    """How far one part has come."""

    part: Part
    sent: Sent | None = None
    answers: Answers = field(default_factory=Answers)
    letter: str | None = None
    """Where it was filed, relative to the folder of letters."""
    letter_problem: str | None = None
    decided: bool = False

    @property
    def is_settled(self) -> bool:
        """Everything that should come has come, right or wrong."""
        expected = self.part.expected
        return (
            self.answers.to("infrastructure") is not None
            and (expected.business is None or self.answers.to("business") is not None)
            and (not expected.is_filed or self.letter is not None)
        )


def differences(progress: Progress) -> list[str]:
    """What is not as the standard says, in words; empty where all is well."""
    expected, answers = progress.part.expected, progress.answers
    found = [
        _code_difference("infrastructure", expected.infrastructure, answers),
        _code_difference("business", expected.business, answers),
        _letter_difference(progress),
        f"{len(answers.surplus)} answers too many" if answers.surplus else None,
        f"{len(answers.reports)} MESH reports" if answers.reports else None,
    ]
    return [each for each in found if each]


def _code_difference(level: Any, expected: str | None, answers: Answers) -> str | None:
    response = answers.to(level)
    code = response.code if response else None
    return None if code == expected else f"{level}: {code or 'nothing'}, expected {expected or 'nothing'}"


def _letter_difference(progress: Progress) -> str | None:
    if progress.letter_problem:
        return progress.letter_problem
    if progress.part.expected.is_filed == (progress.letter is not None):
        return None
    return "filed, expected nothing" if progress.letter else "not filed"
