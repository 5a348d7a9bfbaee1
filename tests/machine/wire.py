"""MESH, as the machine has it: the mailbox in memory, which tells the oracle what it is asked and what it has done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from machine.oracle import Oracle
from mesh_itk3.ports import MailboxUnavailable, Outgoing, SendRefused
from support.fake_mailbox import FakeDownload, FakeMailbox
from support.stage_world import FakeClock


@dataclass
class Wire(FakeMailbox):
    """`fails_on` knows one more: `send_refused`, for good."""

    oracle: Oracle = field(kw_only=True)
    clock: FakeClock = field(kw_only=True)

    def faults(self, fails_on: tuple[str, ...], times: int) -> None:
        """From now on it fails so; `heal` ends it."""
        self.fails_on, self.fails_times, self._failed = fails_on, times, 0

    def holds(self, mesh_message_id: str) -> bool:
        """Whether it stands in the inbox."""
        return mesh_message_id in self._inbox

    def is_read(self) -> None:
        """The other side fetches and acknowledges all that we have sent."""
        self._tracking = dict.fromkeys(self._tracking, "acknowledged")
        self.oracle.arrived |= {outgoing.local_id for outgoing in self.sent}

    @property
    def inbox(self) -> list[str]:
        return list(self._inbox)

    def pages(self) -> Iterator[tuple[str, ...]]:
        walk = self.oracle.walks_from(self.clock.now())
        for page in super().pages():
            walk.is_page_full = walk.is_page_full or len(page) >= self.page_size
            yield page

    def open(self, mesh_message_id: str) -> FakeDownload:
        download = super().open(mesh_message_id)
        self.oracle.opened[mesh_message_id] += 1
        return download

    def acknowledge(self, mesh_message_id: str) -> None:
        if self.holds(mesh_message_id) and not ({"acknowledge"} & set(self.fails_on) and self._failed < self.fails_times):
            self.oracle.acknowledges(mesh_message_id)
        super().acknowledge(mesh_message_id)

    def send(self, outgoing: Outgoing) -> str:
        if self.is_failing("send_refused"):
            self.oracle.sees(outgoing, self.clock.now(), is_taken=False)
            raise SendRefused("14")
        return super().send(outgoing)

    def find_sent(self, local_id: str, *, size: int = 0) -> str | None:
        try:
            return super().find_sent(local_id, size=size)
        except MailboxUnavailable:
            self.oracle.looked_up_in_vain[local_id] = self.clock.now()
            raise

    def _take(self, outgoing: Outgoing) -> str:
        self.oracle.sees(outgoing, self.clock.now(), is_taken=True)
        return super()._take(outgoing)
