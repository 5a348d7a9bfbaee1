"""One daemon: what it does with its adapters and stages, and when. `composition` builds it."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from mesh_itk3 import events
from mesh_itk3.adapters.certificate import EXPIRES_SOON, expires_at
from mesh_itk3.breaker import Errand
from mesh_itk3.lifecycle import State
from mesh_itk3.ports import Clock, Ledger, Mailbox, PayloadStore
from mesh_itk3.reasons import Reason
from mesh_itk3.registry import Registry
from mesh_itk3.retention import is_held_back
from mesh_itk3.scheduler import Bell, Complaints, Job, Progress, tick_s, until
from mesh_itk3.settings import Settings
from mesh_itk3.stages.attempt import ids
from mesh_itk3.stages.collect import Collector, Walk
from mesh_itk3.stages.correlate import correlate
from mesh_itk3.stages.decide import watch_decisions
from mesh_itk3.stages.dispatch import dispatch
from mesh_itk3.stages.guard import Guard
from mesh_itk3.stages.interpret import interpret
from mesh_itk3.stages.poll import handshake_if_due, is_poll_due, poll
from mesh_itk3.stages.prune import counted_from, expired, prune
from mesh_itk3.stages.respond import respond
from mesh_itk3.stages.sweep import sweep
from mesh_itk3.stages.track import raise_overdue, track
from mesh_itk3.stages.world import World

RENEW_LEASE_S: Final = 20.0
HOUSEKEEPING_S: Final = 3600.0
HANDSHAKE_S: Final = 60.0
"""How often one looks whether a handshake is due."""
DAY_S: Final = 86_400.0
LOOK_FOR_POLL_S: Final = 5.0
"""How often one looks whether a poll is due, at most; a tenth of the interval where that is shorter."""
TRACK_S: Final = 600.0
DUTIES_S: Final = 60.0
"""How often one looks what is due about decisions and responses that wait: deadlines are hours, not seconds."""
HELD_BACK_SAID_AT: Final = 2
"""At the so manyth look in a row: after a long stop the first comes before the first poll."""
ORPHANS_OLDER_THAN: Final = timedelta(hours=24)
SENDING_AT_ONCE: Final = 4
"""Responses of one mailbox sent at the same time; measured likewise."""
TRACKED_AT_ONCE: Final = 50
BATCH: Final = 50
"""Messages that share a claim and a commit."""
RUN_FOR_S: Final = 5.0
"""A stage that always finds more to do ends its run after this long, so that the others get their turn."""


@dataclass(slots=True)
class Daemon:
    """One daemon with one set of settings. `jobs` is what it does; build a new one to reload."""

    settings: Settings
    registry: Registry
    ledger: Ledger
    payloads: PayloadStore
    clock: Clock
    mailboxes: dict[str, Mailbox]
    collectors: dict[str, Collector]
    world: World
    progress: Progress
    stopping: threading.Event
    complaints: Complaints
    """What its jobs have failed with."""
    bells: dict[str, Bell] = field(default_factory=dict)
    """Of the jobs that wait for something to do."""
    look: Callable[[], None] = lambda: None
    """Called when there is something new for the stages after collect, where another process runs them."""
    lost: threading.Event = field(default_factory=threading.Event)
    """Set when another daemon has taken over a mailbox: this one commits nothing more and has to stop."""
    greeted: set[str] = field(default_factory=set)
    """Mailboxes that have had their handshake since this start."""
    guards: dict[str, Guard] = field(default_factory=dict)
    """Whether MESH is asked for a mailbox now, or left in peace."""
    events_after: int = 0
    """Where `prune` goes on in the timelines: from the beginning each time, it would only ever see the old lines that stay."""
    held_back: int = 0
    """How often in a row `prune` has found the clock past what MESH vouches for."""

    @property
    def mailbox_ids(self) -> tuple[str, ...]:
        return tuple(self.mailboxes)

    def hold(self) -> None:
        """Becomes the collector of every mailbox and frees what a dead process left in progress. Raises
        HeldByAnother.
        """
        self.ledger.hold(self.mailbox_ids, self.clock.now())
        self.recover()

    def recover(self) -> None:
        """Frees what is in progress, for whoever had it is dead."""
        found = self.ledger.recover(self.mailbox_ids, self.clock.now())
        if found:
            events.emit(events.LEDGER_RECOVERED, count=len(found))
        for record in found:
            if record.state is State.PARKED:
                events.emit(events.MESSAGE_PARKED, **ids(record), stage="recover", reason=Reason.PROCESS_DIED)

    def close(self) -> None:
        """Gives up the mailboxes and closes every connection. What cannot be closed is said, and raises nothing: all that
        matters is in the ledger, and the daemon that replaces this one can do without.
        """
        for close in (*(mailbox.close for mailbox in self.mailboxes.values()), self.ledger.release, self.ledger.close):
            try:
                close()
            except Exception as error:  # noqa: BLE001 - whatever it is, the others are closed, and a reload goes on
                self.complaints.say("close", error)

    # -------------------------------------------------------------------------------------------- what is done

    def collect(self, mailbox_id: str) -> None:
        """One poll of one mailbox."""
        self.poll(mailbox_id)

    def collect_if_due(self, mailbox_id: str) -> None:
        """The same, once the interval has passed since the last walk began. A scheduler's beat does not see to that: a walk
        that begins late is followed by one on time, and MESH asks for five minutes between any two.
        """
        if is_poll_due(self.collectors[mailbox_id], self.settings.mailboxes[mailbox_id].poll_interval_s):
            self.collect(mailbox_id)

    def poll(self, mailbox_id: str) -> Walk | None:
        """The same; its last walk, None where MESH was not asked or did not answer."""
        return poll(self.collectors[mailbox_id], self.guards[mailbox_id])

    def interpret(self) -> int:
        """Judges what is received; how many messages."""
        return self._in_batches(partial(interpret, limit=BATCH))

    def dispatch(self) -> int:
        """Hands what is accepted to its handlers; how many messages."""
        return self._in_batches(partial(dispatch, limit=BATCH))

    def correlate(self) -> int:
        """Matches received responses and reports with what they answer; how many."""
        return self._in_batches(partial(correlate, limit=BATCH))

    def respond(self, mailbox_id: str) -> int:
        """Sends what this mailbox owes; of how many responses MESH has answered."""
        return self.guards[mailbox_id].ask(Errand.RESPOND, partial(self._send, self.mailboxes[mailbox_id])) or 0

    def _send(self, mailbox: Mailbox, is_probe: bool) -> int:  # noqa: FBT001  the guard says it
        if is_probe:
            return respond(self.world, mailbox, limit=1, most_unresolved=1)
        return self._in_batches(lambda world: respond(world, mailbox, limit=BATCH, workers=SENDING_AT_ONCE))

    def track(self, mailbox_id: str) -> None:
        """Asks MESH what became of the responses sent some time ago."""
        mailbox = self.mailboxes[mailbox_id]
        self.guards[mailbox_id].ask(
            Errand.TRACK, lambda is_probe: track(self.world, mailbox, limit=1 if is_probe else TRACKED_AT_ONCE)
        )

    def look_at_duties(self) -> None:
        """Says what is due about decisions that wait and responses that nobody has acknowledged; makes the decisions that
        the configuration makes.
        """
        if watch_decisions(self.world):
            self.look()
        raise_overdue(self.world)

    def handshake(self, mailbox_id: str) -> None:
        """At start, and then daily: MESH asks for one in 24 hours."""
        at_once = mailbox_id not in self.greeted
        if handshake_if_due(self.mailboxes[mailbox_id], self.guards[mailbox_id], at_once=at_once):
            self.greeted.add(mailbox_id)

    def sweep(self) -> None:
        """Removes what a crash between payload and ledger has left of the mailboxes whose lease is held. Raises
        HeldByAnother.
        """
        self.renew()
        for mailbox_id in self.mailbox_ids:
            swept = sweep(self.ledger, self.payloads, mailbox_id, self.clock.now() - ORPHANS_OLDER_THAN)
            if swept.removed:
                events.emit(events.PAYLOADS_SWEPT, mailbox_id=mailbox_id, count=swept.removed)
            if swept.unexplained:
                events.emit(events.PAYLOADS_UNEXPLAINED, mailbox_id=mailbox_id, count=swept.unexplained)
            self.progress.beat()

    def prune(self) -> None:
        """Removes some of what the configured retention lets go of; the rest at the next run. Raises LeaseLost."""
        now, began = self.clock.now(), self.clock.monotonic()
        counts_from = self._counts_from(now)
        if counts_from is None:
            return
        gone = expired(self.settings.retention.rules, counts_from)
        count: Counter[str] = Counter()
        freed: Counter[str] = Counter()
        for step in prune(self.ledger, self.payloads, gone, self.mailbox_ids, now, events_after=self.events_after):
            if step.kind == "events":
                self.events_after = step.after or 0
            count[step.kind] += step.count
            freed[step.kind] += step.bytes or 0
            self.progress.beat()
            if self.stopping.is_set() or self.clock.monotonic() - began > RUN_FOR_S:
                break
        for kind, number in count.items():
            if number:
                events.emit(events.RETENTION_PRUNED, outcome=kind, count=number, bytes=freed[kind] or None)

    def _counts_from(self, now: datetime) -> datetime | None:
        """What retention counts from. Said once where that is long ago."""
        found = counted_from(self.ledger, self.mailbox_ids, now)
        is_behind = is_held_back(now, found) and self.settings.retention.rules.is_anything_pruned
        self.held_back = self.held_back + 1 if is_behind else 0
        if found is not None and self.held_back == HELD_BACK_SAID_AT:
            events.emit(events.RETENTION_HELD_BACK, seconds=round((now - found).total_seconds()))
        return found

    def look_at_certificate(self) -> None:
        """Says daily that the client certificate runs out soon, while there is time to order another."""
        file = self.settings.mesh.client_certificate
        expires = expires_at(file) if file else None
        if expires is not None and expires - self.clock.now() < EXPIRES_SOON:
            days_left = (expires - self.clock.now()).days
            events.emit(events.CERTIFICATE_EXPIRING, days_left=days_left, expires_at=expires.isoformat())

    def renew(self) -> None:
        """Keeps the mailboxes ours. Raises HeldByAnother where that came too late."""
        self.ledger.hold(self.mailbox_ids, self.clock.now())

    def give_way(self) -> None:
        """Another daemon has our mailboxes: say so once, begin nothing more."""
        if not self.lost.is_set():
            self.lost.set()
            events.emit(events.LEASE_LOST, pid=os.getpid())
        self.stopping.set()

    def _in_batches(self, stage: Callable[[World], int]) -> int:
        """Runs the stage while it fills whole batches, for a bounded time. What is less than a batch waits for the next
        turn: taken one by one, messages cost several times as much. How many it took.
        """
        done, began = 0, self.clock.monotonic()
        while not self.stopping.is_set():
            taken = stage(self.world)
            done += taken
            if taken < BATCH or self.clock.monotonic() - began > RUN_FOR_S:
                break
        return done

    # -------------------------------------------------------------------------------------------- when

    def jobs(self) -> list[Job]:
        """What the scheduler runs: all that talks to MESH, and what keeps this daemon in order. The stages between have a
        process of their own (`inner`).
        """
        tick = tick_s(len(self.mailboxes))
        own = [
            Job("duties", self.look_at_duties, DUTIES_S),
            Job("renew", self.renew, RENEW_LEASE_S),
            Job("sweep", self.sweep, HOUSEKEEPING_S),
            Job("prune", self.prune, HOUSEKEEPING_S),
            Job("certificate", self.look_at_certificate, DAY_S),
        ]
        return own + [job for mailbox_id in self.mailbox_ids for job in self._mailbox_jobs(mailbox_id, tick)]

    def _mailbox_jobs(self, mailbox_id: str, tick: float) -> list[Job]:
        interval_s = self.settings.mailboxes[mailbox_id].poll_interval_s
        now = self.clock.now()
        return [
            Job(
                f"collect:{mailbox_id}",
                lambda: self.collect_if_due(mailbox_id),
                min(LOOK_FOR_POLL_S, interval_s / 10),
                first_at=self._first_poll_at(mailbox_id, now),
            ),
            Job(
                f"respond:{mailbox_id}",
                lambda: _discard(self.respond(mailbox_id)),
                tick,
                bell=self.bells[mailbox_id],
            ),
            Job(f"track:{mailbox_id}", lambda: self.track(mailbox_id), TRACK_S),
            Job(
                f"handshake:{mailbox_id}",
                lambda: self.handshake(mailbox_id),
                HANDSHAKE_S,
            ),
        ]

    def _first_poll_at(self, mailbox_id: str, now: datetime) -> datetime:
        """MESH's five minutes count across restarts; the sandbox does not mind."""
        if self.settings.mesh.environment == "sandbox":
            return now
        interval = timedelta(seconds=self.settings.mailboxes[mailbox_id].poll_interval_s)
        return until(self.ledger.mailbox_state(mailbox_id).last_poll_at, interval, now)

    def ring(self, mailbox_ids: Iterable[str]) -> None:
        """These mailboxes owe responses. Ids that are none of ours are passed over."""
        for mailbox_id in mailbox_ids:
            if bell := self.bells.get(mailbox_id):
                bell.ring()


def _discard(_: object) -> None:
    """A job returns nothing."""
