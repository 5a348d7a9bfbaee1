"""What is known of a trial, by which it is judged. Values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that must never be."""

    invariant: str
    what: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message that MESH has taken for the practice, and what it deserves."""

    mesh_message_id: str
    sha256: str
    message_header_id: str | None
    """None: it cannot be answered."""
    codes: tuple[str, ...]
    is_filed: bool
    state: str
    is_foreign: bool = False
    waits: bool = False
    """For a person's decision, which has not been made yet."""


@dataclass(frozen=True, slots=True)
class Sending:
    """One response that MESH was sent by the practice, in the order in which it came."""

    local_id: str
    sha256: str
    to: str
    code: str
    answers: str


@dataclass(frozen=True, slots=True)
class RowResponse:
    """What the ledger says of one response."""

    local_id: str
    state: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Row:
    """What the ledger says of one message, and its payload's file."""

    state: str
    file_sha256: str | None
    """None: there is no such file."""
    is_in_progress: bool = False
    is_due: bool = False
    responses: tuple[RowResponse, ...] = ()


@dataclass(frozen=True, slots=True)
class Letter:
    """One letter on the disk."""

    path: str
    mesh_message_id: str
    sha256: str | None
    """Of the message beside it."""
    missing: tuple[str, ...] = ()
    """Files that every letter has."""


@dataclass(frozen=True, slots=True)
class Held:
    """What there was of a message when a person held it."""

    state: str
    """Where it stood."""
    local_ids: frozenset[str]
    """Of the responses that were written."""
    letters: frozenset[str]
    is_abandoned: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of one trial at one moment, when no daemon runs."""

    sender: str
    """The mailbox that everything came from."""
    sent: Sequence[Message]
    inbox: Mapping[str, str]
    """MESH id -> how MESH has it: `accepted` or `acknowledged`."""
    sendings: Sequence[Sending]
    """That MESH has taken."""
    rows: Mapping[str, Row]
    letters: Sequence[Letter]
    refused: Sequence[Sending] = ()
    """That MESH has refused for good."""
    held: Mapping[str, Held] = field(default_factory=dict)
    """By MESH id, what a person holds at this moment or has abandoned."""
    groups: Mapping[str, Sequence[Message]] = field(init=False)
    """Messages by their MessageHeader.id: a message that came twice has one."""

    def __post_init__(self) -> None:
        groups: dict[str, list[Message]] = {}
        for each in self.sent:
            if each.message_header_id is not None:
                groups.setdefault(each.message_header_id, []).append(each)
        object.__setattr__(self, "groups", groups)


@dataclass(frozen=True, slots=True)
class Call:
    """One call that the daemon has made of MESH."""

    at: float
    """Monotonic seconds."""
    verb: str
