"""What people do beside the daemon, each with a command of its own: the operator's verbs, `seen`, a backup and its restore.

Through the very steps that the commands take. The oracle is told what was committed, and nothing of the ledger besides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

from machine.practice import MachinePractice
from mesh_itk3.adapters.ledger import open_ledger
from mesh_itk3.adapters.ledger.copies import back_up, clear, prepare, switch
from mesh_itk3.adapters.payload_store import DirectoryPayloadStore
from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import Entry, Ledger, MessageInProgress, MessageRecord
from mesh_itk3.reasons import Reason
from mesh_itk3.stages.adopt import take_up
from mesh_itk3.stages.intervene import (
    Act,
    abandon,
    began_to_wait,
    can_be_retried,
    hold,
    is_held,
    parked_from,
    release,
    retry,
)
from support.stage_world import PRACTICE

JO = "Jo"
UNFINISHED = (State.RECEIVED, State.ACCEPTED, State.AWAITING_DECISION)


def retry_all(practice: MachinePractice) -> None:
    """Everything that is parked and not held, responses that MESH has refused among it."""
    ledger, now = _ledger(practice), practice.clock.now()
    parked = (each.key for each in ledger.unseen().responses if each.state is ResponseState.PARKED)
    for key in dict.fromkeys([*(record.key for record in ledger.waiting([State.PARKED])), *parked]):
        record, responses = ledger.get(key), ledger.responses_to(key)
        if record is not None and can_be_retried(record, responses) and _commit(practice, retry(record, responses, JO, now)):
            practice.oracle.may_be_sent_again(response.local_id for response in responses)


def hold_one(practice: MachinePractice, choose: Callable[[int], int]) -> None:
    """`choose`: which of so many."""
    for record in _one_of(_ledger(practice).waiting(UNFINISHED), choose):
        if _commit(practice, hold(record, JO, practice.clock.now())):
            practice.oracle.held.add(record.key.mesh_message_id)


def release_all(practice: MachinePractice) -> None:
    """Whatever is held goes on."""
    ledger = _ledger(practice)
    for record in filter(is_held, ledger.waiting([State.PARKED])):
        began = began_to_wait(ledger.timeline(record.key)) if parked_from(record) is State.AWAITING_DECISION else None
        if _commit(practice, release(record, began and began.reason, JO, practice.clock.now())):
            practice.oracle.held.discard(record.key.mesh_message_id)


def abandon_one(practice: MachinePractice, choose: Callable[[int], int], reason: Reason) -> None:
    """Where nothing is parked, one is held first: only what stands still is ended."""
    ledger = _ledger(practice)
    if not ledger.waiting([State.PARKED]):
        hold_one(practice, choose)
    for record in _one_of(ledger.waiting([State.PARKED]), choose):
        responses = ledger.responses_to(record.key)
        if _commit(practice, abandon(record, responses, reason, JO, practice.clock.now())):
            practice.oracle.is_abandoned(record.key.mesh_message_id, [response.local_id for response in responses])


def see_all(practice: MachinePractice) -> None:
    """A person knows of everything that stands in `status`."""
    ledger = _ledger(practice)
    unseen = ledger.unseen()
    for key in dict.fromkeys(each.key for each in (*unseen.messages, *unseen.responses)):
        ledger.mark_seen(key, Entry(at=practice.clock.now(), stage="seen", outcome="seen", who=JO))
    practice.oracle.people_have_seen |= {response.local_id for response in unseen.responses}


def take_backup(practice: MachinePractice) -> None:
    """Beside the daemon, whatever it does; replaces the one before."""
    target = practice.directory / "backup.db"
    target.unlink(missing_ok=True)
    back_up(practice.directory / "state" / "ledger.db", target)
    practice.has_backup = True
    practice.oracle.is_backed_up()


def restore(practice: MachinePractice) -> None:
    """The daemon is stopped, the older ledger put in the place of the newer one. The payload store and the letters stay."""
    practice.stop()
    practice.oracle.is_restored()
    practice.clock.advance(minutes=10)  # whoever stops a service, looks for the backup and gives the command
    file, now = practice.directory / "state" / "ledger.db", practice.clock.now()
    aside = prepare(practice.directory / "backup.db", file)
    payloads = DirectoryPayloadStore(practice.settings.payloads.directory)
    with closing(open_ledger(f"sqlite:///{aside}", owner="restore")) as ledger:
        take_up(ledger, payloads, practice.registry(), (PRACTICE,), now, who=JO)
    kept = switch(file, aside, now)
    clear(file)
    _remove(kept)


def _remove(kept: Path | None) -> None:
    """The replaced ledger: memory is what it lies in."""
    for path in kept.parent.glob(f"{kept.name}*") if kept else ():
        path.unlink()


def _ledger(practice: MachinePractice) -> Ledger:
    assert practice.daemon is not None
    return practice.daemon.ledger


def _one_of(records: list[MessageRecord], choose: Callable[[int], int]) -> Iterator[MessageRecord]:
    if records:
        yield records[choose(len(records))]


def _commit(practice: MachinePractice, act: Act) -> bool:
    """Whether it was done: what a living daemon has in its hands is left to it."""
    with suppress(MessageInProgress):
        _ledger(practice).act(act.steps, act.responses, practice.clock.now())
        return True
    return False
