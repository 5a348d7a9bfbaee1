"""`mesh-itk3 run --once`: collect until empty, process, send all that is owed, exit (design rule 9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from typing import Any, Final

from mesh_itk3.daemon import Daemon
from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import HeldByAnother, LeaseLost

TRIES: Final = 3
BETWEEN_TRIES_S: Final = 3.0
POLL_S: Final = 0.05
MAX_WALKS: Final = 1_000
"""A walk that brings nothing new ends the collecting; this many walks end it whatever they bring."""


def run_once(daemon: Daemon, wait: Callable[[float], Any]) -> int:
    """Everything due now, up to three tries a few seconds apart. 0: done (messages that wait for a person are done);
    1: something was parked in this run, or could not be collected or sent. Raises HeldByAnother.
    """
    try:
        return _tries(daemon, wait)
    except (LeaseLost, HeldByAnother) as error:
        daemon.give_way()
        raise HeldByAnother("another daemon has taken over the mailboxes") from error


def _tries(daemon: Daemon, wait: Callable[[float], Any]) -> int:
    parked = _parked(daemon)
    is_everything_reached = False
    for attempt in range(TRIES):
        if attempt:
            wait(BETWEEN_TRIES_S)
        if daemon.stopping.is_set():
            break
        daemon.ledger.make_all_due(daemon.mailbox_ids)
        for guard in daemon.guards.values():
            guard.for_one_try()
        daemon.look_at_duties()
        is_everything_reached = _one_round(daemon)
        if is_everything_reached and not daemon.ledger.has_work(daemon.mailbox_ids):
            break
    if not daemon.stopping.is_set():
        for mailbox_id in daemon.mailbox_ids:
            daemon.track(mailbox_id)
    is_done = is_everything_reached and not daemon.ledger.has_work(daemon.mailbox_ids)
    return 0 if is_done and _parked(daemon) <= parked else 1


def _one_round(daemon: Daemon) -> bool:
    """Collects every mailbox while the later stages already work; whether every mailbox could be walked to its end."""
    with ThreadPoolExecutor(min(16, 2 * len(daemon.mailboxes) + 1), "once") as pool:
        walks = [pool.submit(_walk_until_empty, daemon, mailbox_id) for mailbox_id in daemon.mailbox_ids]
        while not all(walk.done() for walk in walks):
            if not _process(daemon, pool):
                wait_for(walks, POLL_S)
        while _process(daemon, pool):
            pass
        _acknowledge_correlated(daemon)
    return all(walk.result() for walk in walks)


def _walk_until_empty(daemon: Daemon, mailbox_id: str) -> bool:
    """Whether the walks ended because there was nothing new of ours."""
    daemon.handshake(mailbox_id)
    for _ in range(MAX_WALKS):
        walk = daemon.poll(mailbox_id)
        if walk is None or daemon.stopping.is_set():
            return False
        if not walk.collected:
            return walk.failures == 0
    return False


def _acknowledge_correlated(daemon: Daemon) -> None:
    """With `uncorrelated = "leave"` a response is acknowledged only when it is known to answer something of ours, that
    is at the walk after.
    """
    for mailbox_id, collector in daemon.collectors.items():
        if collector.leaves_uncorrelated:
            daemon.poll(mailbox_id)


def _process(daemon: Daemon, pool: ThreadPoolExecutor) -> bool:
    """One turn of every stage after collect; whether any found something to do."""
    sending: Sequence[Future[int]] = [pool.submit(daemon.respond, mailbox_id) for mailbox_id in daemon.mailbox_ids]
    done = daemon.interpret() + daemon.dispatch() + daemon.correlate()
    return done + sum(sent.result() for sent in sending) > 0


def _parked(daemon: Daemon) -> int:
    overview = daemon.ledger.overview_of_what_waits()
    messages = sum(n for (_, state), n in overview.messages.items() if state is State.PARKED)
    return messages + sum(n for (_, state), n in overview.responses.items() if state is ResponseState.PARKED)
