"""What is remembered of a mailbox between runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class MailboxState:
    """What is remembered of a mailbox between runs."""

    mailbox_id: str
    last_handshake_at: datetime | None = None
    last_poll_at: datetime | None = None
    """When the last walk began, whatever came of it: the five-minute rule counts from here, across restarts."""
    last_success_at: datetime | None = None
    """When the last walk began that came to its end, or what ended a time without answers."""
    failures: int = 0
    """How often in a row MESH did not answer or refused, whatever it was asked. Not 0: it has not answered since
    `last_success_at`, or not everything, and is asked at growing intervals."""
    reason: str | None = None
    disk_failures: int = 0
    """How often in a row nothing could be collected because the disk refused, whatever MESH does meanwhile."""
    disk_since: datetime | None = None
    """When the first of those polls began; None while the disk takes what is collected."""
    restored_at: datetime | None = None
    """When a person last restored the ledger, or took letters up into it. Written by `mark_restored` alone."""

    @property
    def answered_at(self) -> datetime | None:
        """When MESH was last asked something that it has answered, by this machine's clock: also while nothing can be collected
        because the disk refuses, for then there are handshakes. None: never.
        """
        return max(filter(None, (self.last_success_at, self.last_handshake_at)), default=None)


class MailboxStates(Protocol):
    """What the guard of a mailbox and retention ask of the ledger."""

    def mailbox_state(self, mailbox_id: str) -> MailboxState: ...

    def record_mailbox_state(self, state: MailboxState) -> None: ...
