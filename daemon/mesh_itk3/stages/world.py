"""What every stage is given: the ports, and the few settings that decide."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from mesh_itk3.deadlines import Deadlines
from mesh_itk3.handler import Patients, Writer
from mesh_itk3.itk3.envelope import Caps
from mesh_itk3.itk3.verdict import Strictness
from mesh_itk3.ports import Clock, MessageKey, PayloadStore, Routes, StageLedger
from mesh_itk3.stages.readings import Readings
from mesh_itk3.stages.storage import Refusals


@dataclass(frozen=True, slots=True)
class Practice:
    """Whom a mailbox answers for."""

    ods_code: str
    """Stands in the header Organization of every response from this mailbox."""
    ods_codes: frozenset[str]
    """All codes answered for, upper case (`ods_code` and `also_serves`)."""
    persons: frozenset[str] | None = None
    """National identifiers of the persons answered for, upper case; None: persons are not checked."""
    known_senders: frozenset[str] | None = None
    """ODS codes and national identifiers, upper case, of the senders that are known; None: not checked."""
    authorised_senders: frozenset[str] | None = None
    """Ids, upper case, of the mailboxes that may send; None: not checked."""
    leaves_uncorrelated: bool = False
    """Responses that answer nothing of ours belong to somebody else, who answers them."""


def _nothing() -> None:
    """Nobody watches."""


def _nobody(_: Collection[str]) -> None:
    """Nobody waits for responses."""


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class World:
    """The ports and settings of the stages after collect."""

    ledger: StageLedger
    payloads: PayloadStore
    routes: Routes
    clock: Clock
    patients: Patients
    files: Writer
    practices: Mapping[str, Practice]
    """By mailbox id: the mailboxes that this daemon works for."""
    caps: Caps = field(default_factory=Caps)
    strictness: Mapping[str, Strictness] = field(default_factory=dict)
    """By workflow id; absent means standard."""
    supported_attachments: frozenset[str] | None = None
    """Kinds and media types; None: not checked."""
    full_acknowledgement: frozenset[str] = frozenset()
    """Workflow ids whose business responses ask for an infrastructure response in turn."""
    deadlines: Deadlines = field(default_factory=Deadlines)
    """When a decision that waits for a person is due."""
    progress: Callable[[], None] = _nothing
    """Called after each message: what the watchdog lives on."""
    owed: Callable[[Collection[str]], None] = _nobody
    """Called after each commit that makes us owe responses, with the ids of the mailboxes that owe them."""
    is_stopping: Callable[[], bool] = _never
    """Asked between messages: what is claimed and not begun is given back."""
    readings: Readings = field(default_factory=Readings)
    refusals: Refusals = field(default_factory=Refusals)
    waited_for: set[tuple[str | None, str]] = field(default_factory=set)
    """Handler or workflow, and reason: that messages wait for it has been said. What is installed changes with a restart or a
    reload, which begin with a new world."""
    unreleased: set[MessageKey] = field(default_factory=set)
    """Claimed messages that could not be given back when the ledger failed."""

    @property
    def mailbox_ids(self) -> tuple[str, ...]:
        return tuple(self.practices)
