"""The plug-in surface, whole, on this page.

A handler is a class named by an entry point in the group `mesh_itk3.handlers`. It declares which workflows it takes and
has two hooks, one for each level of ITK3: `examine` may still refuse the message, `handle` says what became of it.
The shipped handlers use nothing but this module, `mesh_itk3.itk3` values and `context`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

from mesh_itk3.itk3.response_codes import BusinessCode, InfrastructureCode
from mesh_itk3.patient_match import REASONS as MATCH_REASONS

if TYPE_CHECKING:
    from mesh_itk3.itk3.document import Document
    from mesh_itk3.itk3.envelope import Envelope
    from mesh_itk3.itk3.message_header import MessageHeader
    from mesh_itk3.patient_match import PatientIdentity, PatientMatch

__all__ = [
    "MATCH_REASONS",
    "Accept",
    "BusinessCode",
    "Context",
    "Decision",
    "Declaration",
    "Defer",
    "Folder",
    "Handler",
    "HandlerSettings",
    "InfrastructureCode",
    "Message",
    "Refuse",
    "Respond",
    "RetryLater",
]

DOCUMENT_DECISIONS = frozenset(
    {
        BusinessCode.PATIENT_KNOWN,
        BusinessCode.PATIENT_NOT_KNOWN,
        BusinessCode.PATIENT_LEFT,
        BusinessCode.PATIENT_DECEASED,
    }
)


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a handler takes. Two handlers that take the same thing are a HandlerConflict at start."""

    name: str
    """Also the name of its table in the configuration: `[handlers.<name>]`."""
    workflows: Mapping[str, str | None]
    """Each workflow id with its response workflow id, or None where the workflow is never answered."""
    event_codes: frozenset[str] = frozenset()
    """Empty: any. Otherwise a message with another event on these workflows is refused (20006)."""
    composition_types: frozenset[str] = frozenset()
    """SNOMED CT codes of Composition.type; empty: any. Lets two handlers share one workflow and event."""
    decisions: frozenset[BusinessCode] = DOCUMENT_DECISIONS
    """What a person may decide with `mesh-itk3 respond` about a message that this handler deferred."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """The handler's own fixed vocabulary for Defer.reason and RetryLater.reason: a word `[a-z0-9_]{1,64}` -> a sentence for
    the person who decides. Only declared words reach ledger and log. `MATCH_REASONS` has those of `context.patients`."""
    message_definitions: frozenset[str] = frozenset()
    """Further MessageDefinition URLs that these workflows carry, beside those in `itk3/message_definitions.py`: without
    them a message that cites another definition is refused (10004)."""
    needs_document: bool = True
    """False for payloads that are not one ITK3 document: then 20009's document rules are not applied."""


# ------------------------------------------------------------------------------------------- what the hooks return


@dataclass(frozen=True, slots=True)
class Accept:
    """The message can be taken: 20013 goes out where it was asked for."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """The message cannot be taken: this infrastructure code goes out and nothing follows it."""

    code: InfrastructureCode
    where: str
    """Element path for the diagnostics, e.g. `Bundle.entry[2].resource.section[0].code`; never a value."""
    issue_code: str | None = None
    """One of the issue codes that the response code allows; None for its usual one."""
    rule: str = "handler"


@dataclass(frozen=True, slots=True)
class Respond:
    """The message is dealt with, durably; this business code goes out where it was asked for."""

    code: BusinessCode


@dataclass(frozen=True, slots=True)
class Defer:
    """A person decides. Nothing has been filed; `handle` is called again with `context.decision` set."""

    reason: str
    """Shown to that person: a word of Declaration.reasons. Anything else is recorded as `handler_deferred`, because a
    free text could hold names, numbers or text of the message. Pass on `no_register` and `register_unusable` of
    `context.patients.match`: while that is the reason, nothing is decided at a deadline."""


@dataclass(frozen=True, slots=True)
class RetryLater:
    """Something of ours is not ready (a share, a database): call `handle` again after this long. Counts as an attempt."""

    after: timedelta
    reason: str = "handler_asked"
    """A word of Declaration.reasons; anything else is recorded as `handler_asked`."""


# ------------------------------------------------------------------------------------------- what the hooks are given


@dataclass(frozen=True, slots=True)
class Message:
    """A readable ITK3 message. Everything below `header` is read on demand from the received bytes."""

    raw: bytes = field(repr=False)
    """The received bytes, unchanged: the record. Never re-serialise clinical content. Where the sender had compressed them
    (Mex-Content-Compressed), what was compressed."""
    header: MessageHeader
    envelope: Envelope = field(repr=False)
    """The outer Bundle: every entry, in both forms (XML and JSON) read alike."""
    workflow_id: str
    mesh_message_id: str
    mailbox_id: str
    sender_mailbox_id: str | None
    received_at: datetime
    """UTC, when the ledger took it."""
    warnings: tuple[str, ...] = ()
    """Names of the rules that this workflow's strictness waived."""
    mesh_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The MESH headers by lower-case name without `mex-` (`subject`, `filename` …). May hold patient data."""

    @property
    def form(self) -> str:
        """`xml` or `json`: what arrived."""
        return self.envelope.form

    @property
    def document(self) -> Document | None:
        """The one inner document; None where the payload is something else (`Declaration.needs_document`)."""
        return self.envelope.document


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about a deferred message."""

    code: BusinessCode
    by: str
    at: datetime
    is_by_person: bool = True
    """False: nobody decided in time, and the configuration says what is then decided (`[decisions] at_deadline`)."""


class Patients(Protocol):
    """The practice's patient register, as a handler sees it."""

    def match(self, patient: PatientIdentity, today: date) -> PatientMatch:
        """Compares the document's patient with the register. Never raises: a register that cannot say gives an
        uncertain match with the reason.
        """


class Folder(Protocol):
    """A new directory that appears at once: written aside, fsynced with every file, then renamed. It comes to be when
    the `with` block ends without an error; until then nothing is visible, and after an error nothing is left.
    """

    name: str
    """The directory's final name under the dated folder."""

    def write(self, name: str, content: bytes) -> Path:
        """A file under a name of the handler's own choice (never the sender's); may hold one `/`."""

    def open(self, name: str) -> BinaryIO:
        """The same, for streaming."""


class Writer(Protocol):
    """A place to write letters (design rule 1)."""

    def file(self, output: Path, message: Message, fill: Callable[[Folder], Mapping[str, Any]]) -> Path:
        """Files one letter as `<output>/<UTC date of received_at>/<message_header_id>/` and returns that path.

        `fill` writes the files and returns the content of `metadata.json`, which is written last. Safe to call twice:
        a directory whose metadata names this mesh_message_id is done; one that names another makes this letter go to
        `<message_header_id>--<mesh_message_id>`. Durable on return: every file, the directory and its parent.
        """


class Log(Protocol):
    """A logger bound to the message. Fields outside the allow-list are dropped; text of the message must not be passed."""

    def info(self, outcome: str, **fields: Any) -> None: ...

    def warning(self, outcome: str, **fields: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Context:
    """What `handle` may use."""

    idempotency_key: str
    """The same for every call about one message: `handle` is called at least once, and again after a crash."""
    now: datetime
    decision: Decision | None
    """Set when a person (or, at the deadline, the configuration) decided: file or do not file accordingly, and return
    `Respond(decision.code)`."""
    patients: Patients
    files: Writer
    log: Log


class HandlerSettings(BaseModel):
    """Base for a handler's own settings, the keys of `[handlers.<name>]`. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    enabled: bool = True
    """False: its messages stay in MESH."""

    @property
    def letter_directories(self) -> tuple[Path, ...]:
        """Every directory that the handler gives to `context.files.file`, as configured: `check`, `status` and `mark-output`
        look at them. What the settings call `output`, if that is a path; override it where they have another key, or several.
        What this raises says that the handler cannot work.
        """
        output = getattr(self, "output", None)
        return (Path(output),) if isinstance(output, str | Path) else ()  # by that name another may have something else


class Handler(ABC):
    """Base class of every handler. One instance serves one daemon; hooks may be called from several threads."""

    declaration: ClassVar[Declaration]
    Settings: ClassVar[type[HandlerSettings]] = HandlerSettings

    def __init__(self, settings: HandlerSettings) -> None:
        """`settings` is an instance of the class's own `Settings`. Raise anything to say that this handler cannot work
        here: its messages then stay in MESH and `handler.unavailable` is raised.
        """
        self.settings = settings

    def examine(self, message: Message) -> Accept | Refuse:
        """May the message be taken? Runs before 20013. Must change nothing and may run again."""
        return Accept()

    @abstractmethod
    def handle(self, message: Message, context: Context) -> Respond | Defer | RetryLater:
        """Deals with an accepted message, at least once. Whatever it did must be durable when it returns."""
