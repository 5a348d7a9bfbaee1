"""Who collects a mailbox: one daemon, and nobody else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from mesh_itk3.ports.messages import MessageRecord


class HeldByAnother(Exception):
    """Another daemon collects this mailbox. Exit 75; the text names the holder."""


class LeaseLost(Exception):
    """Our lease on a mailbox has passed to another daemon: nothing may be committed for it."""


@dataclass(frozen=True, slots=True)
class Hold:
    """What another process of the same daemon needs to commit in its name."""

    owner: str
    tokens: Mapping[str, int] = field(default_factory=dict)
    """PostgreSQL: the fencing token of each mailbox's lease."""
    descriptors: tuple[int, ...] = ()
    """Kept open there, so that nobody else becomes the collector before both are gone."""


class Collecting(Protocol):
    """Becoming the one collector of mailboxes, and staying it."""

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
