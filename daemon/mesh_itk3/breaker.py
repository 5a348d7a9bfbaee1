"""The circuit breaker of one mailbox: whether MESH is asked now, or left in peace for a while. PURE.

closed ── an errand fails ──▶ open ── its time is over ──▶ half open: one errand asks, once
   ▲                            ▲                              │
   └── all that failed is well ─┼──────────────── yes ◀────────┤
                                └─ for a longer time ── no ◀───┘
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Self

from mesh_itk3.retry import Pace

FORGET_AFTER: Final = timedelta(hours=2)
"""A guess. What failed and has had nothing to ask for since counts as well again, when MESH answers everything else."""
SPREAD_S: Final = 60.0
"""After a restart those mailboxes where MESH was away are asked again within this time, each at its own moment."""


class Errand(StrEnum):
    """What is asked of MESH for a mailbox."""

    COLLECT = "collect"
    RESPOND = "respond"
    TRACK = "track"
    HANDSHAKE = "handshake"


@dataclass(frozen=True, slots=True)
class Breaker:
    """A new one is closed. Each method gives the next one."""

    failures: int = 0
    """In a row: how often it has opened since everything was well."""
    failing: frozenset[Errand] = frozenset()
    """What has failed, and has not succeeded since. Empty: closed."""
    failed_at: datetime | None = None
    """Last."""
    until: datetime | None = None
    """Before this nothing is asked that has failed."""
    others_until: datetime | None = None
    """Before this nothing else is asked either. It does not grow while the same errands fail again, or one that comes often
    (sending) would always be the probe, and the others would never show that MESH answers them."""
    asked_until: datetime | None = None
    """MESH itself has asked to be left in peace until then (Retry-After): that holds for everything, always."""
    probe: Errand | None = None
    """Half open: this errand is asking."""
    is_partial: bool = False
    """MESH answers other errands meanwhile: only what fails is held up."""
    is_each_alone: bool = False
    """Whatever fails never holds up other errands (`--once`, design rule 9)."""

    @classmethod
    def restored(cls, failures: int, now: datetime, *, jitter: float) -> Self:
        """Of a mailbox that had failed so often when the last process ended. It is asked soon, for much may have been mended;
        `jitter` in [0, 1) spreads hundreds of them over a minute.
        """
        if not failures:
            return cls()
        until = now + timedelta(seconds=SPREAD_S * jitter)
        return cls(failures=failures, failing=frozenset({Errand.COLLECT}), failed_at=now, until=until, others_until=until)

    def for_one_try(self) -> Breaker:
        """What `--once` goes by: of what was, nothing holds up anything but what MESH itself has asked for."""
        return Breaker(failures=self.failures, asked_until=self.asked_until, is_each_alone=True)

    def admitting(self, errand: Errand, now: datetime) -> Breaker | None:
        """While this errand asks: `probe` is it where it is to ask as little as it can. None: it is not to ask now."""
        if self.asked_until is not None and now < self.asked_until:
            return None
        if not self._holds_up(errand):
            return self
        until = self.until if errand in self.failing else self.others_until
        if self.probe is not None or (until is not None and now < until):
            return None
        return replace(self, probe=errand)

    def _holds_up(self, errand: Errand) -> bool:
        return errand in self.failing or (bool(self.failing) and not self.is_partial and not self.is_each_alone)

    def failed(
        self, errand: Errand, now: datetime, pace: Pace, *, jitter: float = 0.0, retry_after_s: float | None = None
    ) -> Breaker:
        """MESH has not answered this errand, or has refused it."""
        asked = None if retry_after_s is None else now + timedelta(seconds=retry_after_s)
        asked_until = max(filter(None, (asked, self.asked_until)), default=None)
        noted = replace(
            self,
            failing=self.failing | {errand},
            failed_at=now,
            asked_until=asked_until,
            is_partial=self.is_partial and errand in self.failing,
            probe=None if self.probe is errand else self.probe,
        )
        if self.until is not None and now < self.until:  # begun before it opened: the same failure once more
            return noted
        failures = self.failures + 1
        until = now + timedelta(seconds=pace.delay_s(failures, jitter=jitter, at_least_s=retry_after_s))
        others_until = self.others_until if errand in self.failing else until
        return replace(noted, failures=failures, until=until, others_until=others_until)

    def succeeded(self, errand: Errand, now: datetime) -> Breaker:
        """MESH has answered this errand. Closed, where that was the last that failed."""
        failing = self.failing - {errand}
        if not failing or (self.failed_at is not None and now - self.failed_at >= FORGET_AFTER):
            return Breaker(asked_until=self.asked_until, is_each_alone=self.is_each_alone)
        return replace(self, failing=failing, is_partial=True, probe=None if self.probe is errand else self.probe)

    def released(self, errand: Errand) -> Breaker:
        """There was nothing to ask after all."""
        return replace(self, probe=None) if self.probe is errand else self
