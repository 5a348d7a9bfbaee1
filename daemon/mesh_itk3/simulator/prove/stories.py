"""What a hospital may send in a trial, and what each of it deserves: the codes, a letter or none, and where it ends. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from mesh_itk3.simulator.choices import KINDS
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

FOREIGN_WORKFLOW: Final = "PATHOLOGY_OF_ANOTHER"
TOC: Final = ("ITK003D", "ITK004D", "ITK005D", "ITK006D")
ALL_KINDS: Final = tuple(KINDS)
KNOWN_PATIENTS: Final = (EDITH, RAJESH, BRONWEN, CALLUM)
LARGE_BYTES: Final = 48 * 1024
CHUNK_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Deserves:
    """What the standard and the practice's register say is to come of one message."""

    codes: tuple[str, ...] = ("20013", "30001")
    """Of the responses, in their order."""
    is_filed: bool = True
    state: str = "completed"
    """Where the daemon says that it stands in the end."""


@dataclass(frozen=True, slots=True)
class Story:
    """One way in which a message can go."""

    weight: int
    deserves: Deserves
    kinds: tuple[str, ...] = TOC
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Of a usual letter: see `Choices`."""
    edit: Callable[[bytes], bytes] = lambda message: message
    chunk_bytes: int | None = None
    is_foreign: bool = False
    decision: str | None = None
    """What a person decides in the second step; it waits until then."""
    follows: Literal["", "again", "reply", "asking_reply", "report"] = ""
    """Comes in the second step, about an accepted letter of the first: the same message once more, a response to our business
    response, or MESH's report that nobody collected that.
    """


_REJECTED_10010: Final = Deserves(("10010",), is_filed=False, state="rejected")
_CORRELATED: Final = Deserves((), is_filed=False, state="correlated")

STORIES: Final[Mapping[str, Story]] = {
    "accepted": Story(20, Deserves(), ALL_KINDS),
    "json": Story(6, Deserves(), ALL_KINDS, {"form": "json"}),
    "technical only": Story(3, Deserves(("20013",)), TOC, {"business_requested": False}),
    "business only": Story(3, Deserves(("30001",)), TOC, {"infrastructure_requested": False}),
    "fire and forget": Story(2, Deserves(()), TOC, {"infrastructure_requested": False, "business_requested": False}),
    "in chunks": Story(4, Deserves(), ("ITK007C",), {"size": LARGE_BYTES, "bulk": "attachment"}, chunk_bytes=CHUNK_BYTES),
    "patient died": Story(3, Deserves(("20013", "30004")), TOC, {"patient": MARGARET_DECEASED}),
    "patient left": Story(3, Deserves(("20013", "30003"), is_filed=False), TOC, {"patient": THOMAS_LEFT}),
    "patient unknown": Story(3, Deserves(("20013", "30002"), is_filed=False), TOC, {"patient": PIOTR_UNKNOWN}),
    "rejected": Story(7, _REJECTED_10010, TOC, {"recipient_type": "XX"}),
    "not well-formed": Story(5, Deserves(("10009",), is_filed=False, state="rejected"), TOC, edit=not_well_formed),
    "rejected, not told": Story(
        2,
        Deserves((), is_filed=False, state="rejected"),
        TOC,
        {"recipient_type": "XX", "infrastructure_requested": False},
    ),
    "decided": Story(5, Deserves(), TOC, {"patient": SUSAN_DISAGREES}, decision="30001"),
    "decided against": Story(
        3, Deserves(("20013", "30002"), is_filed=False), TOC, {"patient": SUSAN_DISAGREES}, decision="30002"
    ),
    "foreign": Story(6, Deserves((), is_filed=False, state="foreign"), ("ITK003D",), is_foreign=True),
    "again": Story(6, Deserves(("20007",), is_filed=False, state="rejected"), follows="again"),
    "reply": Story(4, _CORRELATED, follows="reply"),
    "asking reply": Story(4, Deserves(("20013",), is_filed=False, state="correlated"), follows="asking_reply"),
    "report": Story(3, _CORRELATED, follows="report"),
}


def body_of(story: Story, kind: str, seed: str, patient: int) -> bytes:
    """The bytes of a letter of this story; equal arguments give equal bytes."""
    changes = {"patient": KNOWN_PATIENTS[patient % len(KNOWN_PATIENTS)]} | dict(story.changes)
    return story.edit(a_message(kind, seed=seed, **changes))


def workflow_of(story: Story, kind: str) -> str:
    """The MESH workflow that it is sent on."""
    return FOREIGN_WORKFLOW if story.is_foreign else KINDS[kind].workflow_id
