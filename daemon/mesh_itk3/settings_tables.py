"""The tables of the configuration: one class for each, its keys typed and documented. PURE.

`settings.py` reads them; `docs/configuration.md` explains every key.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mesh_itk3.deadlines import DEADLINE, ESCALATE_EVERY, REMINDERS, Deadlines
from mesh_itk3.itk3.attachment_types import MEDIA_TYPES
from mesh_itk3.itk3.response_codes import BusinessCode
from mesh_itk3.retention import PRUNABLE, SHORTEST_DAYS, SHORTEST_EVENTS_DAYS, Retention
from mesh_itk3.settings_rules import SHORTEST_POLL_INTERVAL_S
from mesh_itk3.settings_values import (
    AbsolutePath,
    AttachmentTypes,
    Flags,
    Hours,
    Identifiers,
    LedgerUrl,
    MailboxIds,
    OdsCode,
    OdsCodes,
    Secret,
    Texts,
    WebAddress,
    WholeNumber,
    WorkflowId,
)


class Table(BaseModel):
    """A table of the configuration: unknown keys are refused, nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class MeshSettings(Table):
    """`[mesh]`: which MESH, and how we prove who we are."""

    environment: Literal["sandbox", "integration", "deployment", "live"]
    url: WebAddress | None = None
    """Of a sandbox only; the real environments' addresses are known."""
    shared_key: Secret
    client_certificate: AbsolutePath | None = None
    client_key: AbsolutePath | None = None
    ca_file: AbsolutePath | None = None
    """The only authorities trusted to sign MESH's own certificate; None: those of the environment."""

    @property
    def is_sandbox(self) -> bool:
        return self.environment == "sandbox"


class MailboxSettings(Table):
    """`[mailboxes.X26ABC2]`: one mailbox that we poll."""

    ods_code: OdsCode
    password: Secret
    poll_interval_s: Annotated[WholeNumber, Field(ge=1, le=86_400)] = SHORTEST_POLL_INTERVAL_S
    """At most a day: MESH wants to see a mailbox daily."""
    also_serves: OdsCodes = ()
    persons: Identifiers | None = None
    """National identifiers of the persons that messages may name as receiver; None: persons are not checked."""
    known_senders: Identifiers | None = None
    """ODS codes, or national identifiers of persons, that messages may name as sender; None: not checked."""
    authorised_senders: MailboxIds | None = None
    """The MESH mailboxes that may send here; None: not checked."""
    foreign: Literal["leave", "spool"] = "leave"
    spool: AbsolutePath | None = None
    """Directory for another client's messages, with `foreign = "spool"`; None: see `Settings.spool_of`."""
    uncorrelated: Literal["take", "leave"] = "take"

    @property
    def our_ods_codes(self) -> frozenset[str]:
        """Every organisation that this mailbox answers for."""
        return frozenset({self.ods_code, *self.also_serves})


class LedgerSettings(Table):
    """`[ledger]`: the durable record of everything."""

    url: LedgerUrl
    """May hold a PostgreSQL password: show `shown` instead."""

    @property
    def sqlite_file(self) -> Path | None:
        """None where the ledger is not SQLite."""
        text = self.url.get_secret_value()
        return Path(text.removeprefix("sqlite:///")) if text.startswith("sqlite:") else None

    @property
    def shown(self) -> str:
        """The url without user, password and parameters."""
        text = self.url.get_secret_value()
        scheme, _, rest = text.partition("://")
        if scheme == "sqlite":
            return text
        return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"


class PayloadsSettings(Table):
    """`[payloads]`: where received bytes are kept."""

    store: Literal["directory", "ledger"] = "directory"
    directory: AbsolutePath
    shared: bool = False
    """True: every daemon on this ledger sees the same directory."""


class PatientsSettings(Table):
    """`[patients]`: the practice's own list of patients. Without it business decisions wait for a person."""

    source: Literal["csv"]
    file: AbsolutePath
    max_age_days: Annotated[WholeNumber, Field(ge=1, le=3650)] = 7


class LimitsSettings(Table):
    """`[limits]`."""

    max_message_bytes: Annotated[WholeNumber, Field(ge=1, le=2**40)] = 20_971_520
    """Larger ones are kept but not parsed, and answered 20015. The standard advises 5 MB; real ones are larger."""
    free_bytes_min: Annotated[WholeNumber, Field(ge=0, le=2**50)] = 268_435_456
    """A guess: the log of the ledger grows to some 64 MB, and what is here must still be filed and answered."""


class AttachmentsSettings(Table):
    """`[attachments]`."""

    supported: Annotated[AttachmentTypes, Field(min_length=1)] = tuple(MEDIA_TYPES)
    """What the practice can open; others are refused with 20005."""


class DecisionsSettings(Table):
    """`[decisions]`: the clock of the decisions that wait for a person."""

    deadline_hours: Annotated[WholeNumber, Field(ge=1, le=8_760)] = int(DEADLINE.total_seconds() // 3600)
    reminder_hours: Hours = tuple(int(before.total_seconds() // 3600) for before in REMINDERS)
    """Before the deadline."""
    escalate_every_hours: Annotated[WholeNumber, Field(ge=1, le=720)] = int(ESCALATE_EVERY.total_seconds() // 3600)
    at_deadline: Literal["remind", "30001", "30002", "30003", "30004"] = "remind"
    """Only what may be said of a document, and nothing unless it is chosen: a code that nobody has decided is a statement
    about a patient whom nobody has looked up."""

    @property
    def rules(self) -> Deadlines:
        return Deadlines(
            deadline=timedelta(hours=self.deadline_hours),
            reminders=tuple(timedelta(hours=hours) for hours in self.reminder_hours),
            escalate_every=timedelta(hours=self.escalate_every_hours),
            at_deadline=None if self.at_deadline == "remind" else BusinessCode(self.at_deadline),
        )


Days = Annotated[WholeNumber, Field(ge=SHORTEST_DAYS, le=36_500)]


class RetentionSettings(Table):
    """`[retention]`: days after which what is settled goes. None: never; to remove clinical bytes is the practice's choice."""

    completed_payloads_days: Days | None = None
    rejected_payloads_days: Days | None = None
    correlated_payloads_days: Days | None = None
    uncorrelated_payloads_days: Days | None = None
    abandoned_payloads_days: Days | None = None
    response_bytes_days: Days | None = None
    """Of our responses that were delivered."""
    events_days: Annotated[WholeNumber, Field(ge=SHORTEST_EVENTS_DAYS, le=36_500)] | None = None
    """The lines of the timeline of messages that are settled."""

    @property
    def rules(self) -> Retention:
        kept = {state: getattr(self, f"{state}_payloads_days") for state in PRUNABLE}
        return Retention(
            payloads={state: timedelta(days=days) for state, days in kept.items() if days is not None},
            events=None if self.events_days is None else timedelta(days=self.events_days),
            response_bytes=None if self.response_bytes_days is None else timedelta(days=self.response_bytes_days),
        )


class WorkflowSettings(Table):
    """`[workflows.TOC_FHIR_IP_DISCH]`: a workflow of one's own, or what differs from the shipped table. None: as there."""

    strictness: Literal["strict", "standard", "lenient"] = "standard"
    ack_workflow_id: WorkflowId | None = None
    """Where responses go; `NONE`: it is never answered."""
    event_code: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")] | None = None
    routed_by_look_up: bool | None = None
    required_flags: Flags | None = None
    local_extensions: Texts | None = None
    approved_attachments: AttachmentTypes | None = None
    full_acknowledgement: bool = False
    """Whether business responses ask for an infrastructure response in turn (ITK3's pattern of this name)."""
