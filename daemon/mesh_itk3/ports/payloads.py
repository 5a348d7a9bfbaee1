"""Received bytes on disk: those that we keep, and those that are spooled for another client."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol

from mesh_itk3.ports.mailbox import MeshHeaders


class StorageFailed(Exception):
    """The disk refused a durable write (full, read-only, I/O error), or a store is not there (a share that is away):
    collecting stops and MESH keeps the messages.
    """


class PayloadMissing(Exception):
    """The payload store is there, and has no whole file under this name."""


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


class Spool(Protocol):
    """Where messages on foreign workflows go with `foreign = "spool"`: the pair of files that the NHS MESH client writes."""

    def spool(self, headers: MeshHeaders, fill: Callable[[BinaryIO], None]) -> None:
        """Durable on return; safe to repeat for the same message. Raises StorageFailed and whatever `fill` raises."""
