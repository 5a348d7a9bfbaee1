"""What a verdict needs to know beside the message. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mesh_itk3.itk3.workflows import BY_DECLARATION, Workflow

UNLISTED: Final = Workflow("", BY_DECLARATION)
"""Stands for the row of a workflow that has none."""
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
    workflow: Workflow = UNLISTED
    """The row of the workflow that it came on."""
    our_persons: frozenset[str] | None = None
    """National identifiers of the persons we take messages for, upper case; None: persons are not checked."""
    known_senders: frozenset[str] | None = None
    """ODS codes of organisations and national identifiers of persons, upper case; None: not checked."""
    sender_mailbox_id: str | None = None
    """Mex-From."""
    authorised_senders: frozenset[str] | None = None
    """Ids of the MESH mailboxes we take messages from, upper case; None: not checked."""
    supported_attachments: frozenset[str] | None = None
    """Kinds and media types that this receiver can keep; None: not checked."""


Found = tuple[str, str] | None
"""Where a rule is broken (element path) and the most specific issue code, '' for the code's usual one; None: kept."""
