"""The directories that letters are filed in, for `check`, `status` and `mark-output`: what stands there, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mesh_itk3.adapters.output_marks import OutputMarks, Place, problem_of
from mesh_itk3.ports import StorageFailed
from mesh_itk3.registry import Registry
from mesh_itk3.settings import Settings


@dataclass(frozen=True, slots=True)
class LetterPlace:
    """One of them."""

    output: Path
    handlers: tuple[str, ...]
    place: Place | None
    """None: it cannot be told."""
    problem: str | None
    """Why nothing is filed there now."""


def letter_places(settings: Settings, registry: Registry) -> Iterator[LetterPlace]:
    """Each directory once. One that a handler's settings do not name is looked at only when it files there."""
    marks = OutputMarks(settings.payloads.directory)
    for output, handlers in registry.outputs.items():
        try:
            place = marks.look(output)
        except StorageFailed as refused:
            yield LetterPlace(output, handlers, None, str(refused))
            continue
        yield LetterPlace(output, handlers, place, problem_of(output, place))
