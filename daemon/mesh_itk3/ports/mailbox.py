"""One MESH mailbox: what can be asked of it, what it answers, and how it fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, ClassVar, Literal, Protocol


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
    """MESH refused a send for good (400 or 417). Repeating it is pointless; `code` is MESH's own, e.g. `12`. `was_asked`
    false: it cannot be sent at all, and says nothing of MESH.
    """

    def __init__(self, code: str, *, was_asked: bool = True) -> None:
        super().__init__(code)
        self.code = code
        self.was_asked = was_asked


class SendUnresolved(Exception):
    """Whether MESH took the send is not known (connection lost, timeout, 5xx): look it up by local id before any resend."""

    def __init__(self, reason: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


class LookUpUnsupported(Exception):
    """MESH cannot tell whether it has a message with this local id: the look-up itself is not served here."""


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
