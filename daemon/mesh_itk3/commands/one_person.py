"""Who acts, for the commands that record it."""

from __future__ import annotations

from mesh_itk3.commands.console import CommandRefused
from mesh_itk3.stages.decide import CONFIGURATION

LONGEST_NAME = 100
"""Characters of `--by`; a guess: a name or a smartcard id is shorter."""


def person(by: str) -> str:
    """The name as it is kept. Raises CommandRefused for what names nobody, or the configuration."""
    who = by.strip()
    if not who or len(who) > LONGEST_NAME or not who.isprintable() or who == CONFIGURATION:
        raise CommandRefused(f"--by must name the person who acts, in at most {LONGEST_NAME} plain characters")
    return who
