"""What collect makes durable before it acknowledges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from mesh_itk3.lifecycle import State
from mesh_itk3.ports.messages import Entry, Kind, MessageKey, MessageRecord
from mesh_itk3.ports.payloads import StoredPayload


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


class Arrivals(Protocol):
    """What collect asks of the ledger."""

    def known(self, mailbox_id: str, mesh_message_ids: Sequence[str]) -> Mapping[str, MessageRecord]:
        """The rows that exist among these ids (any number of them). Of a FOREIGN one `reason` says whether it was left in MESH
        or spooled, also where an older program has written the row.
        """

    def record_received(self, received: Received, entry: Entry, *, state: State = State.RECEIVED) -> None:
        """A new row, with the entry's reason. An existing row in state FOREIGN is taken over (its handler has been installed
        since); any other existing row raises LedgerConflict. Raises LeaseLost, StepRefused.
        """

    def record_all_received(self, received: Sequence[tuple[Received, Entry]]) -> None:
        """As `record_received`, all in one transaction or none. For messages of one mailbox."""

    def replace_payload(self, key: MessageKey, payload: StoredPayload, entry: Entry) -> None:
        """A redelivery whose file had been lost was downloaded again (design rule 3). What waits, or was parked, for want of
        it alone goes on where it was, its attempts uncounted, in the same transaction.
        """

    def record_acknowledged(self, keys: Sequence[MessageKey], at: datetime) -> None: ...
