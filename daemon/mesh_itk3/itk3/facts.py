"""What a verdict needs to know beside the message. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

UNKNOWN_PRACTICE: Final = "V81999"
"""Stands for the practice where the sender leaves the look-up to MESH; recipients must not refuse it (build_mesh)."""


class Strictness(StrEnum):
    """How closely a workflow's messages must keep to the profiles."""

    STRICT = "strict"
    STANDARD = "standard"
    LENIENT = "lenient"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the world knows beside the message."""

    strictness: Strictness = Strictness.STANDARD
    our_ods_codes: frozenset[str] = frozenset()
    """The codes that this mailbox answers for, upper case; empty: not known, so recipients are not checked."""
    is_known_message: bool = False
    is_known_document: bool = False
    is_same_bytes: bool = False
    """The known first one had the same digest."""
    needs_document: bool = True
    event_codes: frozenset[str] = frozenset()
    """The events that the workflow's handlers take; empty: any."""
    message_definitions: frozenset[str] = frozenset()
    """URLs of MessageDefinitions that the workflow's handlers take beside those of the table."""
    our_person_ids: frozenset[str] | None = None
    """SDS user or role ids of the persons we take messages for; None: persons are not checked."""
    sender_ods_codes: frozenset[str] | None = None
    """The organisations we take messages from, upper case; None: senders are not checked."""
    approved_attachment_types: frozenset[str] | None = None
    """None: content types are not checked against the domain's list."""
    supported_attachment_types: frozenset[str] | None = None
    """None: content types are not checked against what we can show."""


Found = tuple[str, str] | None
"""Where a rule is broken (element path) and the most specific issue code, '' for the code's usual one; None: kept."""
