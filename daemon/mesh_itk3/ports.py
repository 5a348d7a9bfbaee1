"""What the stages need of the world, as Protocols and the values that cross them. No I/O here.

Every time is an aware UTC `datetime`. Adapters translate each library's exceptions into the errors of this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Literal, Protocol, TypedDict

from mesh_itk3.itk3.response_codes import Level
from mesh_itk3.lifecycle import ResponseState, State, check_response_transition, check_transition

if TYPE_CHECKING:
    from mesh_itk3.handler import Declaration, Handler
    from mesh_itk3.itk3.workflows import Workflow

# --------------------------------------------------------------------------------------------------- errors


class MailboxUnavailable(Exception):
    """MESH could not be reached or answered with a temporary fault: time heals it. Try again, not before `retry_after_s`."""

    def __init__(self, reason: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        """From a fixed vocabulary: `timeout`, `connection`, `http_503` … Safe to log."""
        self.retry_after_s = retry_after_s


class CredentialsRejected(Exception):
    """MESH refused the mailbox's credentials, certificate or clock (403): an operator has to act."""

    reason: ClassVar[str] = "credentials_rejected"
    """For log and `status`."""


class CertificateUnusable(CredentialsRejected):
    """Client certificate, key or CA file cannot be loaded here (missing, closed to this user, not PEM): MESH was not asked."""

    reason: ClassVar[str] = "certificate_unusable"


class MessageGone(Exception):
    """MESH no longer has the message (404 or 410): it expired, or another client has acknowledged it."""


class TruncatedDownload(Exception):
    """Fewer bytes than promised arrived. Nothing of it may be kept, and the message must not be acknowledged."""


class SendRefused(Exception):
    """MESH refused a send for good (400 or 417). Repeating it is pointless; `code` is MESH's own, e.g. `12`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class SendUnresolved(Exception):
    """Whether MESH took the send is not known (connection lost, timeout, 5xx): look it up by local id before any resend."""

    def __init__(self, reason: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


class LookUpUnsupported(Exception):
    """MESH cannot tell whether it has a message with this local id: the look-up itself is not served here."""


class PayloadMissing(Exception):
    """The payload store is there, and has no whole file under this name."""


class StorageFailed(Exception):
    """The disk refused a durable write (full, read-only, I/O error), or a store is not there (a share that is away):
    collecting stops and MESH keeps the messages.
    """


class LedgerConflict(Exception):
    """A row was not in the state that a step expected: somebody else has moved it. Read it again."""


class StepRefused(Exception):
    """The ledger cannot hold a value of this step (too long, or no text), or the step contradicts what is there: a fault
    of the step. Its whole batch was undone; the others pass without it, and it fails however often it is tried.
    """


class MessageInProgress(Exception):
    """A living daemon works on this message at this moment: nobody can stop it in the middle. Try again in a moment."""


class LedgerUnavailable(Exception):
    """The ledger cannot be used (missing server, damaged file, newer schema); the text says which, for an operator."""


class LedgerDamaged(LedgerUnavailable):
    """The ledger's file is damaged: nothing may be written into it any more. The text names the way out."""


class HeldByAnother(Exception):
    """Another daemon collects this mailbox. Exit 75; the text names the holder."""


class LeaseLost(Exception):
    """Our lease on a mailbox has passed to another daemon: nothing may be committed for it."""


class RegisterUnusable(Exception):
    """The patient register is missing, unreadable, empty, being rewritten or too old: it "cannot say" (design rule 5)."""


# --------------------------------------------------------------------------------------------------- MESH mailbox


@dataclass(frozen=True, slots=True)
class MeshHeaders:
    """The MESH headers of one message, as received."""

    mesh_message_id: str
    workflow_id: str
    message_type: Literal["DATA", "REPORT"]
    sender_mailbox_id: str | None = None
    """Mex-From; a REPORT has none."""
    recipient_mailbox_id: str | None = None
    local_id: str | None = None
    linked_message_id: str | None = None
    """REPORT only: the MESH id of the message that it reports on."""
    status_code: str | None = None
    status_event: str | None = None
    all: Mapping[str, str] = field(default_factory=dict)
    """Every mex-* header by its lower-case name without `mex-`. May hold patient data (subject, filename): goes to the
    sidecar of the payload file, never to ledger or log."""


class Download(Protocol):
    """An opened message: headers are read, the body is not. Always close it."""

    @property
    def headers(self) -> MeshHeaders: ...

    def write_to(self, file: BinaryIO) -> None:
        """Streams the whole decoded body, all chunks, in constant memory. Raises TruncatedDownload,
        MailboxUnavailable, MessageGone; then what was written is worthless. Not repeatable: open again.
        """

    def close(self) -> None:
        """Closes the connection; unread bytes are thrown away. Never acknowledges."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to send."""

    to_mailbox_id: str
    workflow_id: str
    local_id: str
    body: bytes
    content_type: str = "application/fhir+xml"


@dataclass(frozen=True, slots=True)
class Tracking:
    """What MESH says of a message that we sent."""

    state: Literal["accepted", "acknowledged", "undeliverable"]
    status_code: str | None = None


class Mailbox(Protocol):
    """One MESH mailbox. Safe to use from several threads."""

    @property
    def mailbox_id(self) -> str: ...

    def handshake(self) -> None:
        """Proves credentials and connection. Raises CredentialsRejected, MailboxUnavailable."""

    def pages(self) -> Iterator[tuple[str, ...]]:
        """One walk over the whole inbox: pages of MESH message ids, oldest first. A page may repeat ids of an earlier
        one. Raises CredentialsRejected, MailboxUnavailable at any page.
        """

    @property
    def page_size(self) -> int:
        """The most ids that a page holds."""

    def open(self, mesh_message_id: str) -> Download:
        """Raises MessageGone, CredentialsRejected, MailboxUnavailable."""

    def acknowledge(self, mesh_message_id: str) -> None:
        """Tells MESH that we hold it: MESH deletes it. Safe to repeat; a message that is gone counts as acknowledged.
        Raises CredentialsRejected, MailboxUnavailable.
        """

    def send(self, outgoing: Outgoing) -> str:
        """The MESH message id. One try, never repeated inside. Raises SendRefused (final), SendUnresolved (look it up),
        CredentialsRejected (not sent).
        """

    def find_sent(self, local_id: str, *, size: int = 0) -> str | None:
        """The MESH id of the message that we sent under this local id; None where MESH has none; the first where it
        has several (a doubled send; its id may then be unknown: an empty string). None also for one cut off between its
        chunks; where MESH has several and `size` (bytes of the body) needs chunks, nobody can tell whether one is whole:
        LookUpUnsupported. Raises MailboxUnavailable, CredentialsRejected, LookUpUnsupported.
        """

    def track(self, mesh_message_id: str) -> Tracking | None:
        """None where MESH does not know the message (any more). Raises MailboxUnavailable, CredentialsRejected."""

    def close(self) -> None: ...


# --------------------------------------------------------------------------------------------------- payload store


@dataclass(frozen=True, slots=True)
class StoredPayload:
    """One received message on disk."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class PrunedPayload:
    """What is still known of received bytes that the configured retention has removed."""

    at: datetime
    """When the row let go of them."""
    bytes: int
    sha256: str


class PayloadDraft(Protocol):
    """A received message that is written and not durable yet."""

    @property
    def stored(self) -> StoredPayload: ...


class PayloadStore(Protocol):
    """Received bytes, one file per MESH message, with a sidecar of its MESH headers (design rules 3 and 18)."""

    def expect(self, mailbox_id: str) -> None:
        """Tells the store that this mailbox has had payloads: where its place is missing, the store is away and not new,
        and `write` raises StorageFailed.
        """

    def new_name(self, mailbox_id: str) -> str:
        """A name of ours, never shared, drawn before the ledger row; nothing is written yet."""

    def write(self, name: str, fill: Callable[[BinaryIO], None], headers: MeshHeaders) -> StoredPayload:
        """Durable on return: sidecar and file written aside, fsynced, renamed, directory fsynced. Whatever `fill`
        raises passes through and leaves nothing. Raises StorageFailed.
        """

    def draft(self, name: str, fill: Callable[[BinaryIO], None], headers: MeshHeaders) -> PayloadDraft:
        """As `write`, but nothing is durable before `keep`. Whoever does not keep it drops it. Raises StorageFailed."""

    def keep(self, drafts: Sequence[PayloadDraft]) -> None:
        """All durable on return, each under its name: together they cost hardly more than one. Raises StorageFailed, and
        then none of them is there.
        """

    def drop(self, drafts: Sequence[PayloadDraft]) -> None:
        """They are not wanted after all. Raises nothing for what is not there (any more)."""

    def is_whole(self, name: str, size: int) -> bool:
        """Whether the file is there with this size. Raises StorageFailed where it cannot be told."""

    def read(self, name: str) -> bytes:
        """Raises PayloadMissing, StorageFailed."""

    def open(self, name: str) -> BinaryIO:
        """Raises PayloadMissing, StorageFailed."""

    def headers(self, name: str) -> MeshHeaders:
        """From the sidecar. Raises PayloadMissing, StorageFailed."""

    def look_at(self, name: str) -> tuple[StoredPayload, datetime]:
        """Size and digest of the file as it is now, read whole, and when it was last written (UTC). Raises PayloadMissing,
        StorageFailed.
        """

    def discard(self, name: str) -> None:
        """Removes file and sidecar if they are there."""

    def orphans(self, older_than: datetime, mailbox_id: str) -> Iterable[str]:
        """Names, in no order, of this mailbox's files last written before `older_than`; the ledger says which of them no
        row names. The last part of a name begins with `.` where a file was never finished.
        """


# --------------------------------------------------------------------------------------------------- ledger


class Kind(StrEnum):
    """What a received MESH message is, told from its headers (or, on a payload workflow, from its event)."""

    MESSAGE = "message"
    RESPONSE = "response"
    """On a response workflow, or with event ITK008M anywhere: never answered negatively (design rule 11)."""
    REPORT = "report"


@dataclass(frozen=True, slots=True, order=True)
class MessageKey:
    """One received MESH message in one mailbox."""

    mailbox_id: str
    mesh_message_id: str


@dataclass(frozen=True, slots=True)
class Received:
    """What collect knows when it makes a message durable. Never patient data."""

    key: MessageKey
    workflow_id: str
    kind: Kind
    received_at: datetime
    sender_mailbox_id: str | None
    local_id: str | None
    linked_message_id: str | None
    payload: StoredPayload | None
    """None for foreign messages, whose bytes we do not keep."""


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """One row of the message table."""

    key: MessageKey
    workflow_id: str
    kind: Kind
    state: State
    received_at: datetime
    sender_mailbox_id: str | None = None
    local_id: str | None = None
    linked_message_id: str | None = None
    payload: StoredPayload | None = None
    acknowledged_at: datetime | None = None
    message_header_id: str | None = None
    event_code: str | None = None
    document_id: str | None = None
    """Inner Bundle.identifier as `system|value`, or `|Bundle.id` where that is missing."""
    is_replacement: bool = False
    bus_ack_requested: bool | None = None
    inf_ack_requested: bool | None = None
    """None: could not be read, which counts as asked (except on responses, design rule 11)."""
    response_code: str | None = None
    """The last verdict: infrastructure when rejected, business when completed."""
    handler: str | None = None
    attempts: int = 0
    interrupted: int = 0
    is_alone: bool = False
    """It was in progress when a process died: tried by itself from now on."""
    due_at: datetime | None = None
    reason: str | None = None
    """Why it is where it is, from the fixed vocabulary of `reasons.py`."""
    parked_from: State | None = None
    decision_code: str | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None
    accepted_at: datetime | None = None
    finished_at: datetime | None = None
    warnings: tuple[str, ...] = ()
    """Rule names of waived deviations, e.g. `sender_reference_missing`; never values."""
    duplicate_of: str | None = None
    """MESH message id of the first one, where this was answered 20007 or 20008."""
    differs_from_first: bool = False
    """A duplicate whose bytes differ from the first: stands in `status` until somebody looks."""
    sender_not_told: bool = False
    """Rejected without a response, because none was asked for or none can be sent; or abandoned, and its sender has yet to
    hear of it; or `is_unmatched`. Stands in `status` likewise.
    """
    deferred_at: datetime | None = None
    """Since when it has waited for a person's decision: its deadline counts from here."""
    reminded_at: datetime | None = None
    """When it was last said that the decision is missing."""
    seen_at: datetime | None = None
    """When a person said that they know of what stood in `status`."""
    seen_by: str | None = None
    answers_local_id: str | None = None
    """Received responses and reports: the local id of the response of ours that it answers."""
    pruned: PrunedPayload | None = None
    """Retention has removed its bytes; `payload` is None then. Only of what is settled: nobody reads it again."""
    events_pruned_at: datetime | None = None
    """When retention last removed lines of its timeline; None: it is whole."""

    @property
    def sha256(self) -> str | None:
        """Of its bytes, whether they are still there or not; None where they were never kept."""
        kept = self.payload or self.pruned
        return kept.sha256 if kept else None

    @property
    def is_unmatched(self) -> bool:
        """Came as a response, and is none that can be read, or refuses something that it does not name. Such a thing is
        never answered (design rule 11), so its sender does not know. Or a report on something that nothing here has sent.
        """
        return self.kind is not Kind.MESSAGE and self.sender_not_told


class Changes(TypedDict, total=False):
    """Columns of a message that a step may set; absent means unchanged."""

    kind: Kind
    message_header_id: str | None
    event_code: str | None
    document_id: str | None
    is_replacement: bool
    bus_ack_requested: bool | None
    inf_ack_requested: bool | None
    response_code: str | None
    handler: str | None
    attempts: int
    interrupted: int
    due_at: datetime | None
    reason: str | None
    parked_from: State | None
    decision_code: str | None
    decided_by: str | None
    decided_at: datetime | None
    accepted_at: datetime | None
    finished_at: datetime | None
    warnings: tuple[str, ...]
    duplicate_of: str | None
    differs_from_first: bool
    sender_not_told: bool
    deferred_at: datetime | None
    reminded_at: datetime | None
    linked_message_id: str | None
    answers_local_id: str | None


@dataclass(frozen=True, slots=True)
class NewResponse:
    """A response that is now owed. Its bytes and ids are drawn here, so that every resend is byte-identical."""

    level: Level
    response_code: str
    message_header_id: str
    local_id: str
    to_mailbox_id: str
    workflow_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a message's timeline (table `message_event`, append-only): what an operator and an auditor read."""

    at: datetime
    stage: str
    outcome: str
    response_code: str | None = None
    reason: str | None = None
    attempt: int | None = None
    who: str | None = None
    """The person who acted, where a person did."""


@dataclass(frozen=True, slots=True)
class Step:
    """One message's move, what it now owes, and its line in the timeline: committed together or not at all."""

    key: MessageKey
    old: State
    new: State
    entry: Entry
    changes: Changes = field(default_factory=Changes)
    responses: tuple[NewResponse, ...] = ()

    def __post_init__(self) -> None:
        check_transition(self.old, self.new)


@dataclass(frozen=True, slots=True)
class ResponseRecord:
    """One row of the outbox."""

    local_id: str
    """Mex-LocalID, unique per response: the key of the outbox."""
    key: MessageKey
    """The message that it answers; `key.mailbox_id` sends it."""
    level: Level
    response_code: str
    state: ResponseState
    message_header_id: str
    to_mailbox_id: str
    workflow_id: str
    body: bytes
    created_at: datetime
    mesh_message_id: str | None = None
    attempts: int = 0
    due_at: datetime | None = None
    unresolved_since: datetime | None = None
    """A send was begun then and its outcome is not known: look it up before any resend (design rule 15)."""
    sent_at: datetime | None = None
    tracked_at: datetime | None = None
    """When MESH was last asked whether it was delivered."""
    reason: str | None = None
    status_code: str | None = None
    """MESH's own code where it could not deliver or refused it, e.g. `14`."""
    raised_at: datetime | None = None
    """When something was found wrong although MESH took it: never acknowledged, or refused by the other side."""
    seen_at: datetime | None = None
    """When a person said that they know of it."""
    body_pruned_at: datetime | None = None
    """When retention removed `body`, which is empty since: only of what was delivered."""
    infrastructure_state: ResponseState | None = None
    """Business responses only: the state of the infrastructure response of the same message; None where none is owed."""


class ResponseChanges(TypedDict, total=False):
    """Columns of a response that a step may set; absent means unchanged."""

    mesh_message_id: str | None
    attempts: int
    due_at: datetime | None
    unresolved_since: datetime | None
    sent_at: datetime | None
    tracked_at: datetime | None
    reason: str | None
    status_code: str | None
    raised_at: datetime | None
    seen_at: datetime | None


@dataclass(frozen=True, slots=True)
class ResponseStep:
    """One response's move and its line in the timeline of the message that it answers."""

    local_id: str
    old: ResponseState
    new: ResponseState
    entry: Entry | None = None
    changes: ResponseChanges = field(default_factory=ResponseChanges)

    def __post_init__(self) -> None:
        check_response_transition(self.old, self.new)


@dataclass(frozen=True, slots=True)
class MailboxState:
    """What is remembered of a mailbox between runs."""

    mailbox_id: str
    last_handshake_at: datetime | None = None
    last_poll_at: datetime | None = None
    """When the last walk began, whatever came of it: the five-minute rule counts from here, across restarts."""
    last_success_at: datetime | None = None
    failures: int = 0
    """How often in a row MESH did not answer or refused, whatever it was asked. Not 0: it has not answered since
    `last_success_at`, or not everything, and is asked at growing intervals."""
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """Counts for `status`: messages and responses by mailbox and state."""

    messages: Mapping[tuple[str, State], int]
    responses: Mapping[tuple[str, ResponseState], int]
    oldest_waiting: Mapping[tuple[str, State], datetime]


@dataclass(frozen=True, slots=True)
class Unseen:
    """What stands in `status` until a person says that they have seen it, each oldest first."""

    messages: tuple[MessageRecord, ...]
    """The sender has not been told, it is a duplicate that differs from the first, or a response that is unmatched."""
    responses: tuple[ResponseRecord, ...]
    """Undelivered, refused by MESH or by the other side, or never acknowledged. `body` is empty."""


@dataclass(frozen=True, slots=True)
class Hold:
    """What another process of the same daemon needs to commit in its name."""

    owner: str
    tokens: Mapping[str, int] = field(default_factory=dict)
    """PostgreSQL: the fencing token of each mailbox's lease."""
    descriptors: tuple[int, ...] = ()
    """Kept open there, so that nobody else becomes the collector before both are gone."""


@dataclass(frozen=True, slots=True)
class Expired:
    """What retention lets go of: the time before which each kind must have been settled. Absent or None: kept for ever."""

    payloads: Mapping[State, datetime] = field(default_factory=dict)
    events: datetime | None = None
    response_bytes: datetime | None = None


@dataclass(frozen=True, slots=True)
class Prunable:
    """How much of one kind would go now."""

    kind: Literal["payloads", "events", "response_bytes"]
    count: int
    bytes: int | None = None
    """None where there are no bytes to speak of (lines of a timeline)."""
    oldest_at: datetime | None = None
    """When the oldest of it was finished or written."""
    state: State | None = None
    """Payloads only: of the messages in this state."""


class Ledger(Protocol):
    """The durable record of everything. Each method is one transaction, durable on return; all may raise
    LedgerUnavailable. Safe to use from several threads.
    """

    # -- who collects
    def hold(self, mailbox_ids: Sequence[str], now: datetime) -> None:
        """Becomes the one collector of these mailboxes. SQLite: an operating-system lock beside the file. PostgreSQL:
        a lease row with expiry and fencing token. Raises HeldByAnother. Call again to renew (before the lease's
        expiry); releases what is no longer named. Raises HeldByAnother or LeaseLost where another has had one that we
        held: it is not ours again before `release`, `hold` and `recover`.
        """

    def held(self) -> Hold:
        """What is held now, for a process that works for this one."""

    def release(self) -> None:
        """Gives up every mailbox."""

    def recover(self, mailbox_ids: Sequence[str], now: datetime) -> list[MessageRecord]:
        """After `hold`, before the first claim: what a dead process left in progress is freed, marked `is_alone`, and
        counted in `interrupted` where it was alone. Parks (from its state) what `retry.is_parked_after_interruption` says.
        Returns those that were found, as they are now.
        """

    # -- collect
    def known(self, mailbox_id: str, mesh_message_ids: Sequence[str]) -> Mapping[str, MessageRecord]:
        """The rows that exist among these ids (any number of them)."""

    def record_received(self, received: Received, entry: Entry, *, state: State = State.RECEIVED) -> None:
        """A new row. An existing row in state FOREIGN is taken over (its handler has been installed since); any other
        existing row raises LedgerConflict. Raises LeaseLost, StepRefused.
        """

    def record_all_received(self, received: Sequence[tuple[Received, Entry]]) -> None:
        """As `record_received`, all in one transaction or none. For messages of one mailbox."""

    def replace_payload(self, key: MessageKey, payload: StoredPayload, entry: Entry) -> None:
        """A redelivery whose file had been lost was downloaded again (design rule 3)."""

    def record_acknowledged(self, keys: Sequence[MessageKey], at: datetime) -> None: ...

    # -- interpret, dispatch, correlate
    def claim(
        self, state: State, kinds: Sequence[Kind], mailbox_ids: Sequence[str], now: datetime, limit: int
    ) -> list[MessageRecord]:
        """Marks up to `limit` due messages as in progress and commits, before anybody touches their bytes (design rule
        8): oldest first within a mailbox, mailboxes taken in turn. A message that `is_alone` is claimed by itself, after
        the others have gone. Shaped for FOR UPDATE SKIP LOCKED.
        """

    def unclaim(self, keys: Sequence[MessageKey]) -> None:
        """Gives claimed messages back untouched."""

    def is_accepted(self, mailbox_id: str, sender_mailbox_id: str | None, message_header_id: str) -> MessageRecord | None:
        """The first accepted message with this MessageHeader.id (compared in lower case, without urn:uuid:) in the same
        receiving mailbox from the same Mex-From (design rule 2).
        """

    def accepted_before(
        self, mailbox_id: str, sender_mailbox_id: str | None, message_header_id: str | None, document_id: str | None
    ) -> tuple[MessageRecord | None, MessageRecord | None]:
        """The same, and the same for the inner document's identifier: both at once, at the price of one. An id that could
        not be read is None, and nothing is known by it.
        """

    def apply(self, steps: Sequence[Step]) -> None:
        """All steps in one transaction; each is conditional on the message being in `step.old`, and clears its claim.
        Raises LedgerConflict, StepRefused (then nothing of the batch was applied), LeaseLost.
        """

    # -- respond
    def claim_responses(self, mailbox_id: str, now: datetime, limit: int) -> list[ResponseRecord]:
        """Owed responses that are due, oldest first; marks each with `unresolved_since = now` where that was empty and
        commits, before any is sent. The records returned carry the value *before* this claim: None means never tried.
        Leaves out business responses whose infrastructure response is parked or waits for a later time.
        """

    def sent_responses(
        self, mailbox_id: str, tracked_before: datetime, limit: int, *, sent_after: datetime | None = None
    ) -> list[ResponseRecord]:
        """Responses in state SENT that MESH was last asked about (or that were sent) before this time; with
        `sent_after`, only those sent since.
        """

    def apply_responses(self, steps: Sequence[ResponseStep]) -> None:
        """As `apply`, for responses. Where an infrastructure response is parked, the business response that is owed for
        the same message is parked with it (`infrastructure_refused`): it could never be sent. `apply` does the same with
        one that is written later.
        """

    def act(self, steps: Sequence[Step], responses: Sequence[ResponseStep], now: datetime) -> None:
        """What an operator does to messages and to responses of ours, in one transaction or not at all: as `apply` and
        `apply_responses`. With an infrastructure response that is owed again comes the business response that was parked
        with it. Raises MessageInProgress where a living daemon has claimed one of the messages; what a dead one has left
        claimed is moved, and `is_alone` from then on. Raises LedgerConflict, StepRefused.
        """

    def doubt_owed(self, now: datetime) -> int:
        """After a restore: what is owed may have been sent since the backup. From now on each of it counts as a send whose
        outcome is not known, and is looked up before it is sent (design rule 15). How many.
        """

    def overdue_responses(self, mailbox_ids: Sequence[str], sent_before: datetime, limit: int) -> list[ResponseRecord]:
        """Responses in state SENT that went out before this time and have not been raised yet. `body` is empty."""

    def response_by(
        self, *, mesh_message_id: str | None = None, local_id: str | None = None, message_header_id: str | None = None
    ) -> ResponseRecord | None:
        """The response of ours with this MESH id, local id or MessageHeader.id (lower case, without urn:uuid:)."""

    # -- mailbox state, payload sweep
    def mailbox_state(self, mailbox_id: str) -> MailboxState: ...

    def record_mailbox_state(self, state: MailboxState) -> None: ...

    def sweep(self, names: Sequence[str], discard: Callable[[str], None]) -> int:
        """Calls `discard` for the payload names that no row names, inside a write transaction; how many."""

    # -- retention
    def prunable(self, expired: Expired, mailbox_ids: Sequence[str]) -> list[Prunable]:
        """What `let_go_of_payloads`, `prune_events` and `prune_response_bytes` would take now; changes nothing."""

    def let_go_of_payloads(
        self, state: State, before: datetime, mailbox_ids: Sequence[str], limit: int, entry: Entry
    ) -> list[StoredPayload]:
        """Up to `limit` settled messages in this state, finished before that time, no longer name their payload; their rows
        keep its size and digest. The caller then removes the files, through `sweep`; a file that a crash leaves behind is
        swept later. Never of a message that is unanswered, has an answer on its way or lost and unseen, stands in `status`,
        or is what such a one is compared with. Raises LeaseLost.
        """

    def prune_events(
        self, before: datetime, mailbox_ids: Sequence[str], after: int, limit: int, now: datetime
    ) -> tuple[int, int | None]:
        """Looks at `limit` lines of the timelines behind position `after`, oldest first, and removes those written before
        that time of messages that were settled before it. How many, and where to go on: None at the end.
        """

    def prune_response_bytes(self, before: datetime, mailbox_ids: Sequence[str], limit: int, now: datetime) -> int:
        """Removes the bytes of up to `limit` responses that were written before that time and are delivered; how many."""

    # -- people and tools
    def find(self, identifier: str) -> list[MessageRecord]:
        """Messages with this MESH message id, MessageHeader id or local id (theirs, or a response's of ours)."""

    def get(self, key: MessageKey) -> MessageRecord | None: ...

    def messages(
        self, *, states: Sequence[State] = (), mailbox_ids: Sequence[str] = (), limit: int | None = None
    ) -> Iterator[tuple[MessageRecord, tuple[ResponseRecord, ...]]]:
        """Newest first, in bounded memory. ResponseRecord.body may be empty here."""

    def timeline(self, key: MessageKey) -> list[Entry]: ...

    def responses_to(self, key: MessageKey) -> tuple[ResponseRecord, ...]:
        """Our responses to one message, in the order they were written. ResponseRecord.body may be empty here."""

    def answers_to(self, local_ids: Sequence[str]) -> list[MessageRecord]:
        """Received responses and reports that answer these responses of ours, in the order they came."""

    def overview(self, now: datetime, *, is_whole: bool = True) -> Overview:
        """Not `is_whole`: without what is settled, of which there may be millions: for whoever asks again and again."""

    def waiting(self, states: Sequence[State], mailbox_ids: Sequence[str] = ()) -> list[MessageRecord]:
        """Every message in one of these states, oldest first: for states that few are in."""

    def outstanding_responses(self, mailbox_ids: Sequence[str] = ()) -> list[ResponseRecord]:
        """Responses owed, or sent and not yet delivered, or raised and not yet seen; oldest first. `body` is empty."""

    def unseen(self, mailbox_ids: Sequence[str] = ()) -> Unseen: ...

    def mark_seen(self, key: MessageKey, entry: Entry) -> int:
        """A person (`entry.who`) knows of everything that stands in `status` about this message and our responses to it;
        how many things those were. Nothing is written where there is none. Safe to repeat.
        """

    def has_work(self, mailbox_ids: Sequence[str]) -> bool:
        """Whether any message is received or accepted, or any response owed, whenever it may be due."""

    def make_all_due(self, mailbox_ids: Sequence[str]) -> None:
        """Forgets the waiting times of messages and responses: what `--once` begins with (design rule 9)."""

    def close(self) -> None: ...


# --------------------------------------------------------------------------------------------------- routes


class Routed(Protocol):
    """The one handler that takes a message."""

    @property
    def name(self) -> str: ...

    @property
    def handler(self) -> Handler: ...

    @property
    def declaration(self) -> Declaration: ...


class Routes(Protocol):
    """Which workflows are ours, and who takes them (design rule 7). Implemented by the registry of handlers."""

    def is_ours(self, workflow_id: str) -> bool:
        """An installed handler names it, or it is the response workflow of one that does."""

    def is_response_workflow(self, workflow_id: str) -> bool:
        """Any response workflow of the table or of a declaration (design rule 17)."""

    def unavailable(self, workflow_id: str) -> str | None:
        """Why none of the handlers of this workflow can work now; None where one can, and for response workflows."""

    def response_workflow(self, workflow_id: str) -> str | None:
        """Where answers to this workflow go; None where it is never answered."""

    def workflow(self, workflow_id: str) -> Workflow | None:
        """Its row of the workflow table; None where it has none."""

    def event_codes(self, workflow_id: str) -> frozenset[str]:
        """The events that the handlers of this workflow take; empty: any."""

    def needs_document(self, workflow_id: str) -> bool:
        """Whether the payload has to be one ITK3 document."""

    def message_definitions(self, workflow_id: str) -> frozenset[str]:
        """The MessageDefinition URLs that the handlers of this workflow declare beside the known ones."""

    def route(self, workflow_id: str, event_code: str | None, composition_type: str | None) -> Routed | None:
        """The one handler of this message: by workflow, then event, then Composition.type. None: nobody takes it."""

    def by_name(self, name: str) -> Routed | None:
        """The working handler of this name."""


# --------------------------------------------------------------------------------------------------- patients, clock


@dataclass(frozen=True, slots=True)
class RegisteredPatient:
    """One row of the practice's patient register."""

    nhs_number: str
    """Empty: a patient without one."""
    date_of_birth: date
    family_name: str
    status: Literal["registered", "left", "deceased"]
    status_date: date | None


class PatientRegister(Protocol):
    """The practice's own list of patients."""

    def look_up(self, nhs_number: str) -> RegisteredPatient | None:
        """By ten digits; None only from a register read whole. Raises RegisterUnusable."""

    def unnumbered(self, date_of_birth: str | None) -> tuple[RegisteredPatient, ...]:
        """The patients without an NHS number who were born on this day (YYYY-MM-DD); all of them for None. Raises
        RegisterUnusable.
        """


class Spool(Protocol):
    """Where messages on foreign workflows go with `foreign = "spool"`: the pair of files that the NHS MESH client writes."""

    def spool(self, headers: MeshHeaders, fill: Callable[[BinaryIO], None]) -> None:
        """Durable on return; safe to repeat for the same message. Raises StorageFailed and whatever `fill` raises."""


class Clock(Protocol):
    """Time, so that tests can hold it."""

    def now(self) -> datetime:
        """Aware UTC."""

    def monotonic(self) -> float:
        """Seconds, for durations only."""
