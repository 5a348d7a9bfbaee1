"""What the two processes of the service say to one another: single words over a socket that nobody else has.

Towards the inner process the first message is a pickled `Start`. From it come words only, and they are never unpickled: it runs
handlers and reads what anybody may have sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mesh_itk3.ports import Hold
from mesh_itk3.settings import Settings

LOOK: Final = b"look"
"""There may be something to do."""
STOP: Final = b"stop"
"""Finish the message in hand and end."""

READY: Final = b"ready"
LOOKING: Final = b"looking"
"""Whatever was there before this will be found."""
LOST: Final = b"lost"
"""Another daemon has the mailboxes."""
IDLE: Final = b"idle"
LONGEST: Final = 64 * 1024
"""Of any word from the inner process."""
_OWED: Final = b"owed "
_BEAT: Final = b"beat "


@dataclass(frozen=True, slots=True)
class Start:
    """How to be what the process that starts it is."""

    settings: Settings
    hold: Hold


def beat(stage: str) -> bytes:
    """Said of a stage that is at work and makes progress."""
    return _BEAT + stage.encode()


def stage_of(word: bytes) -> str | None:
    """The stage that a beat names; None for any other word."""
    return word.removeprefix(_BEAT).decode("ascii", "replace") if word.startswith(_BEAT) else None


def owed(mailbox_ids: Iterable[str]) -> bytes:
    """These mailboxes owe responses."""
    return _OWED + " ".join(mailbox_ids).encode()


def mailboxes_of(word: bytes) -> list[str]:
    """Those that owe responses; none for any other word."""
    return word.removeprefix(_OWED).decode("ascii", "replace").split() if word.startswith(_OWED) else []
