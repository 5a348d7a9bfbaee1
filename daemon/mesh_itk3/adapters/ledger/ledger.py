"""`Ledger` over SQLAlchemy: each method is one transaction, durable on return. SQLite or PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, insert, select, update

from mesh_itk3.adapters.ledger import acts, claims, duties, messages, pruning, queries, responses, restoring, rows
from mesh_itk3.adapters.ledger.claims import Due
from mesh_itk3.adapters.ledger.collectors import LEASE, Borrowed, Collectors, FileLock, Leases
from mesh_itk3.adapters.ledger.engine import Database, connect
from mesh_itk3.adapters.ledger.failures import faults_of_steps
from mesh_itk3.adapters.ledger.migrate import require_current_schema
from mesh_itk3.adapters.ledger.schema import mailbox_state
from mesh_itk3.lifecycle import State
from mesh_itk3.ports import (
    Entry,
    Expired,
    Hold,
    Kind,
    LeaseLost,
    MailboxState,
    MessageKey,
    MessageRecord,
    Overview,
    Prunable,
    Received,
    ResponseRecord,
    ResponseStep,
    Step,
    StoredPayload,
    Unseen,
)

PAGE_ROWS: Final = 200
"""Messages read at once by `messages`: what bounds its memory."""
SWEEP_NAMES: Final = 200
"""Payload names looked for in one transaction, so that a long sweep keeps nobody waiting."""


def open_ledger(url: str, *, owner: str, lease: timedelta = LEASE) -> SqlLedger:
    """The ledger at this URL, which must exist and have this program's schema (`migrate` sees to both): nothing is made.

    `owner` names this process to other daemons, and no other process ever (`owner_name`). Raises LedgerUnavailable
    with a sentence for an operator.
    """
    database = connect(url)
    try:
        require_current_schema(database)
    except BaseException:
        database.close()
        raise
    if file := database.sqlite_file:
        return SqlLedger(database, FileLock(file, is_sound=lambda: not database.is_damaged))
    return SqlLedger(database, Leases(database, owner=owner, duration=lease))


def open_held_ledger(url: str, hold: Hold) -> SqlLedger:
    """The same for a process that works for the one that holds the mailboxes. Raises LedgerUnavailable."""
    database = connect(url)
    leases = None if database.is_sqlite else Leases(database, owner=hold.owner, tokens=hold.tokens)
    return SqlLedger(database, Borrowed(leases))


class SqlLedger:
    """See `mesh_itk3.ports.Ledger`, whose docstrings are the contract."""

    def __init__(self, database: Database, collectors: Collectors) -> None:
        self._database = database
        self._collectors = collectors
        self._turn = threading.Lock()
        self._served_last: dict[State, str] = {}
        self._is_looked_at = False

    # -- who collects

    def hold(self, mailbox_ids: Sequence[str], now: datetime) -> None:
        self._collectors.hold(mailbox_ids, now)
        if isinstance(self._collectors, FileLock) and not self._is_looked_at:
            # Once, by the process that is going to write: a damaged file must not be written into.
            self._database.look_at(self._collectors.ledger, was_clean=self._collectors.was_clean)
            self._is_looked_at = True

    def held(self) -> Hold:
        return self._collectors.held()

    def release(self) -> None:
        self._collectors.release()

    def recover(self, mailbox_ids: Sequence[str], now: datetime) -> list[MessageRecord]:
        with self._writing(mailbox_ids) as connection:
            return claims.recover(connection, mailbox_ids, now)

    # -- collect

    def known(self, mailbox_id: str, mesh_message_ids: Sequence[str]) -> Mapping[str, MessageRecord]:
        with self._database.reading() as connection:
            return messages.known(connection, mailbox_id, mesh_message_ids)

    def record_received(self, received: Received, entry: Entry, *, state: State = State.RECEIVED) -> None:
        with self._writing([received.key.mailbox_id]) as connection:
            messages.record_received(connection, [(received, entry)], state)

    def record_all_received(self, received: Sequence[tuple[Received, Entry]]) -> None:
        if received:
            with self._writing({each.key.mailbox_id for each, _ in received}) as connection:
                messages.record_received(connection, received, State.RECEIVED)

    def replace_payload(self, key: MessageKey, payload: StoredPayload, entry: Entry) -> None:
        with self._writing([key.mailbox_id]) as connection:
            messages.replace_payload(connection, key, payload, entry)

    def record_acknowledged(self, keys: Sequence[MessageKey], at: datetime) -> None:
        if keys:
            with self._writing({key.mailbox_id for key in keys}) as connection:
                messages.record_acknowledged(connection, keys, at)

    # -- interpret, dispatch, correlate

    def claim(
        self, state: State, kinds: Sequence[Kind], mailbox_ids: Sequence[str], now: datetime, limit: int
    ) -> list[MessageRecord]:
        due = Due(state, tuple(kinds), tuple(mailbox_ids), now)
        with self._turn, self._writing(mailbox_ids) as connection:
            found = claims.claim(connection, due, limit, self._served_last.get(state))
            if found:
                self._served_last[state] = list(dict.fromkeys(record.key.mailbox_id for record in found))[-1]
            return found

    def unclaim(self, keys: Sequence[MessageKey]) -> None:
        if not keys:
            return
        try:
            with self._writing({key.mailbox_id for key in keys}) as connection:
                claims.unclaim(connection, keys)
        except LeaseLost:
            # Whoever holds the mailbox now has freed them; what is claimed by this time is claimed by that process.
            return

    def is_accepted(self, mailbox_id: str, sender_mailbox_id: str | None, message_header_id: str) -> MessageRecord | None:
        with self._database.asking() as connection:
            return messages.accepted_before(connection, mailbox_id, sender_mailbox_id, message_header_id, None)[0]

    def accepted_before(
        self, mailbox_id: str, sender_mailbox_id: str | None, message_header_id: str | None, document_id: str | None
    ) -> tuple[MessageRecord | None, MessageRecord | None]:
        with self._database.asking() as connection:
            return messages.accepted_before(connection, mailbox_id, sender_mailbox_id, message_header_id, document_id)

    def apply(self, steps: Sequence[Step]) -> None:
        if steps:
            with self._writing({step.key.mailbox_id for step in steps}) as connection, faults_of_steps():
                messages.apply(connection, steps)

    # -- respond

    def claim_responses(self, mailbox_id: str, now: datetime, limit: int) -> list[ResponseRecord]:
        with self._writing([mailbox_id]) as connection:
            return responses.claim(connection, mailbox_id, now, limit)

    def sent_responses(
        self, mailbox_id: str, tracked_before: datetime, limit: int, *, sent_after: datetime | None = None
    ) -> list[ResponseRecord]:
        with self._database.reading() as connection:
            return responses.sent(connection, mailbox_id, tracked_before, limit, sent_after)

    def apply_responses(self, steps: Sequence[ResponseStep]) -> None:
        if not steps:
            return
        with self._database.writing() as connection, faults_of_steps():
            if self._collectors.checks:
                self._collectors.check(connection, responses.mailboxes_of(connection, steps))
            responses.apply(connection, steps)

    def act(self, steps: Sequence[Step], responses: Sequence[ResponseStep], now: datetime) -> None:
        with self._writing({step.key.mailbox_id for step in steps}) as connection, faults_of_steps():
            acts.act(connection, self._collectors, steps, responses, now)

    def mark_restored(self, mailbox_ids: Sequence[str], now: datetime) -> int:
        with self._writing(mailbox_ids) as connection:
            return restoring.begin(connection, self._restored(connection, mailbox_ids), now)

    def end_restoring(self, mailbox_ids: Sequence[str]) -> None:
        with self._writing(mailbox_ids) as connection:
            restoring.end(connection, self._restored(connection, mailbox_ids))

    def _restored(self, connection: Connection, mailbox_ids: Sequence[str]) -> set[str]:
        """A file is restored whole. In PostgreSQL another daemon may be serving the others, whose leases are not ours."""
        of_file = queries.mailboxes(connection) if self._database.is_sqlite else ()
        return {*mailbox_ids, *of_file}

    def overdue_responses(
        self, mailbox_ids: Sequence[str], sent_before: datetime, limit: int, *, noted_after: datetime | None = None
    ) -> list[ResponseRecord]:
        with self._database.reading() as connection:
            return duties.overdue_responses(connection, mailbox_ids, sent_before, limit, noted_after)

    def response_by(
        self, *, mesh_message_id: str | None = None, local_id: str | None = None, message_header_id: str | None = None
    ) -> ResponseRecord | None:
        with self._database.reading() as connection:
            return responses.by_id(connection, mesh_message_id, local_id, message_header_id)

    # -- mailbox state, payload sweep

    def mailbox_state(self, mailbox_id: str) -> MailboxState:
        with self._database.reading() as connection:
            row = connection.execute(select(mailbox_state).where(mailbox_state.c.mailbox_id == mailbox_id)).first()
        return MailboxState(mailbox_id) if row is None else rows.mailbox_state_record(row)

    def record_mailbox_state(self, state: MailboxState) -> None:
        values = rows.mailbox_state_values(state)
        with self._writing([state.mailbox_id]) as connection:
            known = update(mailbox_state).where(mailbox_state.c.mailbox_id == state.mailbox_id).values(values)
            if connection.execute(known).rowcount == 0:
                connection.execute(insert(mailbox_state), values)

    def unnamed(self, names: Sequence[str]) -> list[str]:
        found: list[str] = []
        for start in range(0, len(names), SWEEP_NAMES):
            with self._database.reading() as connection:
                found += queries.unnamed_payloads(connection, names[start : start + SWEEP_NAMES])
        return found

    def sweep(self, names: Sequence[str], discard: Callable[[str], None]) -> int:
        swept = 0
        for start in range(0, len(names), SWEEP_NAMES):
            # Inside a write transaction: no row can begin to name a file between the look and its removal.
            with self._database.writing() as connection:
                unnamed = queries.unnamed_payloads(connection, names[start : start + SWEEP_NAMES])
                for name in unnamed:
                    discard(name)
                swept += len(unnamed)
        return swept

    # -- retention

    def prunable(self, expired: Expired, mailbox_ids: Sequence[str]) -> list[Prunable]:
        with self._database.reading() as connection:
            return list(pruning.prunable(connection, expired, mailbox_ids))

    def let_go_of_payloads(
        self, state: State, before: datetime, mailbox_ids: Sequence[str], limit: int, entry: Entry
    ) -> list[StoredPayload]:
        with self._writing(mailbox_ids) as connection:
            return pruning.let_go_of_payloads(connection, state, before, mailbox_ids, limit, entry)

    def prune_events(
        self, before: datetime, mailbox_ids: Sequence[str], after: int, limit: int, now: datetime
    ) -> tuple[int, int | None]:
        with self._writing(mailbox_ids) as connection:
            return pruning.prune_events(connection, before, mailbox_ids, after, limit, now)

    def prune_response_bytes(self, before: datetime, mailbox_ids: Sequence[str], limit: int, now: datetime) -> int:
        with self._writing(mailbox_ids) as connection:
            return pruning.prune_response_bytes(connection, before, mailbox_ids, limit, now)

    # -- people and tools

    def find(self, identifier: str) -> list[MessageRecord]:
        with self._database.reading() as connection:
            return queries.find(connection, identifier)

    def get(self, key: MessageKey) -> MessageRecord | None:
        with self._database.reading() as connection:
            return queries.get(connection, key)

    def messages(
        self, *, states: Sequence[State] = (), mailbox_ids: Sequence[str] = (), limit: int | None = None
    ) -> Iterator[tuple[MessageRecord, tuple[ResponseRecord, ...]]]:
        left, before = limit, None
        while left is None or left > 0:
            size = PAGE_ROWS if left is None else min(PAGE_ROWS, left)
            # A transaction per page: a slow reader of the list must not keep the write-ahead log from being emptied.
            with self._database.reading() as connection:
                page, before = queries.page(connection, states, mailbox_ids, before, size)
            yield from page
            left = None if left is None else left - len(page)
            if before is None:
                return

    def timeline(self, key: MessageKey) -> list[Entry]:
        with self._database.reading() as connection:
            return queries.timeline(connection, key)

    def responses_to(self, key: MessageKey) -> tuple[ResponseRecord, ...]:
        with self._database.reading() as connection:
            return queries.responses_to(connection, key)

    def overview(self) -> Overview:
        with self._database.reading() as connection:
            return queries.overview(connection, is_whole=True)

    def overview_of_what_waits(self) -> Overview:
        with self._database.reading() as connection:
            return queries.overview(connection, is_whole=False)

    def answers_to(self, local_ids: Sequence[str]) -> list[MessageRecord]:
        with self._database.reading() as connection:
            return duties.answers_to(connection, local_ids)

    def waiting(self, states: Sequence[State], mailbox_ids: Sequence[str] = ()) -> list[MessageRecord]:
        with self._database.reading() as connection:
            return duties.waiting(connection, states, mailbox_ids)

    def outstanding_responses(self, mailbox_ids: Sequence[str] = ()) -> list[ResponseRecord]:
        with self._database.reading() as connection:
            return duties.outstanding_responses(connection, mailbox_ids)

    def unseen(self, mailbox_ids: Sequence[str] = ()) -> Unseen:
        with self._database.reading() as connection:
            return duties.unseen(connection, mailbox_ids)

    def mark_seen(self, key: MessageKey, entry: Entry) -> int:
        with self._writing([key.mailbox_id]) as connection:
            return duties.mark_seen(connection, key, entry)

    def has_work(self, mailbox_ids: Sequence[str]) -> bool:
        with self._database.reading() as connection:
            return queries.has_work(connection, mailbox_ids)

    def make_all_due(self, mailbox_ids: Sequence[str]) -> None:
        with self._writing(mailbox_ids) as connection:
            queries.make_all_due(connection, mailbox_ids)

    def move_back(self, mailbox_ids: Sequence[str], by: timedelta) -> None:
        with self._writing(mailbox_ids) as connection:
            queries.move_back(connection, mailbox_ids, by)

    def close(self) -> None:
        """Releases what is held, if that can still be done, and closes every connection."""
        try:
            self._collectors.release()
        finally:
            self._database.close()

    @contextmanager
    def _writing(self, mailbox_ids: Collection[str]) -> Iterator[Connection]:
        with self._database.writing() as connection:
            if self._collectors.checks:
                self._collectors.check(connection, mailbox_ids)
            yield connection
