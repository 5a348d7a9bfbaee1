"""One collector per mailbox: an operating-system lock beside a SQLite ledger, lease rows on PostgreSQL."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import Connection, bindparam, or_, select, update

from mesh_itk3.adapters.ledger.engine import Database
from mesh_itk3.adapters.ledger.schema import lease
from mesh_itk3.ports import HeldByAnother, Hold, LeaseLost, LedgerUnavailable

LEASE: Final = timedelta(seconds=90)
"""Long enough for a renewal to be missed, short enough that another daemon takes over within a poll."""

LOOKED_AT_S: Final = 1.0
"""How long one tries to take a lock that another process may only be looking at: that takes far less."""

_DRAWN: Final = os.urandom(4).hex()


def owner_name() -> str:
    """Who holds a lease: this process on this machine, for a person; and for other daemons this process alone, for two
    containers may have one name and both be process 1.
    """
    return f"{socket.gethostname()}:{os.getpid()}:{_DRAWN}"


class Collectors(Protocol):
    """Who collects. `check` runs inside the transaction that it guards."""

    def hold(self, mailbox_ids: Sequence[str], now: datetime) -> None: ...

    def check(self, connection: Connection, mailbox_ids: Collection[str]) -> None: ...

    @property
    def checks(self) -> bool:
        """Whether `check` has anything to look at: else its caller saves itself the trouble."""

    def is_alive(self, connection: Connection, mailbox_id: str, now: datetime) -> bool:
        """Whether some process, this one or another, lives that may have messages of this mailbox in progress. Asked inside
        the transaction that moves one.
        """

    def held(self) -> Hold: ...

    def release(self) -> None: ...


class Borrowed:
    """The hold of the process that started this one: looked at like its own, and neither renewed nor given up here."""

    def __init__(self, leases: Leases | None) -> None:
        """`leases` None: a file lock, which the operating system looks after."""
        self._leases = leases

    @property
    def checks(self) -> bool:
        return self._leases is not None

    def hold(self, mailbox_ids: Sequence[str], now: datetime) -> None:
        """It is held by who lends it."""

    def check(self, connection: Connection, mailbox_ids: Collection[str]) -> None:
        if self._leases is not None:
            self._leases.check(connection, mailbox_ids)

    def is_alive(self, connection: Connection, mailbox_id: str, now: datetime) -> bool:
        """The lender is, or this process would not be."""
        del connection, mailbox_id, now
        return True

    def held(self) -> Hold:
        raise HeldByAnother("what is borrowed is not lent again")

    def release(self) -> None:
        """The lender does."""


class FileLock:
    """The lock of one ledger file: free the moment its holder dies, whatever the way."""

    def __init__(self, ledger: Path, *, is_sound: Callable[[], bool] | None = None) -> None:
        """`is_sound`: whether the ledger may be called so when the lock is given up. None, for whoever only keeps daemons away
        for a while: what the last one has left written stays to be found by the next.
        """
        self.ledger = ledger
        self._path = ledger.with_name(ledger.name + ".lock")
        self._is_sound = is_sound
        self.was_clean = True
        """Whether who held it last gave it up and did not die. Known once it is held."""
        self._descriptor: int | None = None
        self._guard = threading.Lock()

    @property
    def checks(self) -> bool:
        return False

    def hold(self, mailbox_ids: Sequence[str], now: datetime) -> None:
        """For all mailboxes of the ledger, whichever are named. Raises HeldByAnother."""
        del mailbox_ids, now
        with self._guard:
            if self._descriptor is None:
                self._descriptor = self._lock()

    def check(self, connection: Connection, mailbox_ids: Collection[str]) -> None:
        """The operating system takes no lock away."""

    def is_alive(self, connection: Connection, mailbox_id: str, now: datetime) -> bool:
        """By the lock. The caller's transaction keeps a daemon that starts now from claiming anything."""
        del connection, mailbox_id, now
        return self.is_held()

    def is_held(self) -> bool:
        """Whether somebody collects, this process or another. Takes the lock, shared, for as long as the look takes: whoever
        wants it then tries again (`LOOKED_AT_S`). A lock that may not be looked at counts as held.
        """
        if self._descriptor is not None:
            return True
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:  # nobody has ever collected into this ledger
            return False
        except OSError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False

    def held(self) -> Hold:
        descriptor = self._descriptor
        return Hold(owner="", descriptors=() if descriptor is None else (descriptor,))

    def release(self) -> None:
        with self._guard:
            if self._descriptor is not None:
                # What stays written there says to the next holder that this one, or one before, did not end well.
                if self._is_sound() if self._is_sound else self.was_clean:
                    _write_holder(self._descriptor, "")
                os.close(self._descriptor)
                self._descriptor = None

    def _lock(self) -> int:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise LedgerUnavailable(f"the lock file beside the ledger cannot be opened ({type(error).__name__})") from error
        try:
            _take(descriptor)
        except OSError as error:
            holder = os.pread(descriptor, 200, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise HeldByAnother(f"another process collects into this ledger: {holder or 'not known which'}") from error
        self.was_clean = not os.pread(descriptor, 1, 0)
        _write_holder(descriptor, f"pid {os.getpid()} on {socket.gethostname()}\n")
        return descriptor


def _take(descriptor: int) -> None:
    """Again and again while somebody may only be looking. Raises OSError where it stays held."""
    until = time.monotonic() + LOOKED_AT_S
    while True:
        try:
            # flock and not lockf: the latter is lost when any other part of this process closes the file.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(LOOKED_AT_S / 50)
        else:
            return


def _write_holder(descriptor: int, holder: str) -> None:
    # For a person to read. The lock holds without it, also on a disk that is full.
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder.encode(), 0)


class Leases:
    """Lease rows with expiry and a fencing token that grows at every takeover.

    Expiry goes by the daemons' clocks and only says when another may take over. That a daemon whose lease has passed on
    commits nothing does not hang on clocks: each transaction finds its own token in the row, and keeps the row from
    changing until it commits.
    """

    def __init__(
        self, database: Database, *, owner: str, duration: timedelta = LEASE, tokens: Mapping[str, int] | None = None
    ) -> None:
        """`owner` is no other process's, ever: what it left is taken over at once. `tokens`: those that it has already."""
        self._database = database
        self._owner = owner
        self._duration = duration
        self._tokens: dict[str, int] = dict(tokens or {})
        self._has_held = tokens is not None
        self._guard = threading.RLock()

    @property
    def checks(self) -> bool:
        """A process that never held anything (a person's `respond`) is bound by the state of the row alone."""
        return self._has_held

    def hold(self, mailbox_ids: Sequence[str], now: datetime) -> None:
        """All of them or, by HeldByAnother or LeaseLost, no new one. A lease that ran out while nobody wanted it is
        renewed as it was; one that another has had since stays lost until `release`, for what is in progress there is no
        longer ours.
        """
        with self._guard:
            with self._database.writing() as connection:
                # Sorted: two daemons that want the same mailboxes must not each wait for the other.
                tokens = {mailbox_id: self._hold_one(connection, mailbox_id, now) for mailbox_id in sorted(set(mailbox_ids))}
                self._give_up(connection, self._tokens.keys() - tokens.keys())
            self._tokens = tokens
            self._has_held = True

    def check(self, connection: Connection, mailbox_ids: Collection[str]) -> None:
        """Raises LeaseLost unless every one is still ours. FOR SHARE: nobody takes over before this commits."""
        wanted = set(mailbox_ids)
        query = (
            select(lease.c.mailbox_id, lease.c.token)
            .where(lease.c.mailbox_id.in_(wanted), lease.c.owner == self._owner)
            .order_by(lease.c.mailbox_id)
            .with_for_update(read=True)
        )
        found = {row.mailbox_id: row.token for row in connection.execute(query)}
        for mailbox_id in wanted:
            if mailbox_id not in self._tokens or found.get(mailbox_id) != self._tokens[mailbox_id]:
                raise LeaseLost(f"the lease on mailbox {mailbox_id} is no longer ours")

    def is_alive(self, connection: Connection, mailbox_id: str, now: datetime) -> bool:
        """By the lease: for at most its length after the holder has died this says that it lives. FOR SHARE: nobody takes
        over before this commits.
        """
        of_mailbox = (lease.c.mailbox_id == mailbox_id) & lease.c.owner.is_not(None) & (lease.c.expires_at > now)
        return connection.execute(select(lease.c.token).where(of_mailbox).with_for_update(read=True)).first() is not None

    def held(self) -> Hold:
        return Hold(owner=self._owner, tokens=dict(self._tokens))

    def release(self) -> None:
        with self._guard:
            if self._tokens:
                with self._database.writing() as connection:
                    self._give_up(connection, set(self._tokens))
                self._tokens = {}

    def _hold_one(self, connection: Connection, mailbox_id: str, now: datetime) -> int:
        return (self._renew if mailbox_id in self._tokens else self._take)(connection, mailbox_id, now)

    def _renew(self, connection: Connection, mailbox_id: str, now: datetime) -> int:
        token = self._tokens[mailbox_id]
        ours = (lease.c.mailbox_id == mailbox_id) & (lease.c.owner == self._owner) & (lease.c.token == token)
        if connection.execute(update(lease).where(ours).values(expires_at=now + self._duration)).rowcount != 1:
            raise self._held(connection, mailbox_id) or LeaseLost(f"the lease on mailbox {mailbox_id} is no longer ours")
        return token

    def _take(self, connection: Connection, mailbox_id: str, now: datetime) -> int:
        """The token. Takes what is free, has expired, or was left by another daemon of this very process, which a reload has
        closed; the new token keeps that one from committing anything. Else raises HeldByAnother.
        """
        # Imported here: it takes every command on a SQLite ledger a twentieth of its time.
        from sqlalchemy.dialects import postgresql

        expires_at = now + self._duration
        new = postgresql.insert(lease).values(mailbox_id=mailbox_id, owner=self._owner, token=1, expires_at=expires_at)
        take = new.on_conflict_do_update(
            index_elements=["mailbox_id"],
            set_={"owner": self._owner, "token": lease.c.token + 1, "expires_at": expires_at},
            where=or_(lease.c.owner.is_(None), lease.c.owner == self._owner, lease.c.expires_at <= now),
        ).returning(lease.c.token)
        token = connection.execute(take).scalar()
        if token is None:
            raise self._held(connection, mailbox_id) or HeldByAnother(f"mailbox {mailbox_id} is collected by another")
        return int(token)

    def _held(self, connection: Connection, mailbox_id: str) -> HeldByAnother | None:
        holder = connection.execute(select(lease.c.owner).where(lease.c.mailbox_id == mailbox_id)).scalar()
        return HeldByAnother(f"mailbox {mailbox_id} is collected by {holder}") if holder else None

    def _give_up(self, connection: Connection, mailbox_ids: Collection[str]) -> None:
        # The row stays: its token must never go back.
        statement = (
            update(lease)
            .where(lease.c.mailbox_id == bindparam("b_mailbox_id"), lease.c.token == bindparam("b_token"))
            .values(owner=None, expires_at=None)
        )
        held = [{"b_mailbox_id": mailbox_id, "b_token": self._tokens[mailbox_id]} for mailbox_id in sorted(mailbox_ids)]
        if held:
            connection.execute(statement, held)
