"""The table of mutants, and how one is planted: by exact text, so that a stale one is noticed."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_name("mutants.toml")


@dataclass(frozen=True)
class Mutant:
    name: str
    file: str
    """From the root of the tree."""
    edits: tuple[tuple[str, str], ...]
    """Old and new text, each old one standing exactly once."""
    tests: tuple[str, ...]
    """At least one of them has to go red."""

    def planted(self, source: str) -> str:
        """The source with this fault in it. Raises ValueError where an old text does not stand there exactly once."""
        for old, new in self.edits:
            if source.count(old) != 1:
                raise ValueError(f"{self.name}: stands {source.count(old)} times in {self.file}: {old.strip()!r}")
            source = source.replace(old, new)
        return source


def all_mutants() -> list[Mutant]:
    """As the table has them."""
    table = tomllib.loads(TABLE.read_text("utf-8"))
    return [
        Mutant(name, row["file"], tuple((edit["old"], edit["new"]) for edit in row["edits"]), tuple(row["tests"]))
        for name, row in table.items()
    ]
