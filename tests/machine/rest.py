"""How a run ends: everything works again, people decide what waits, time passes. Then each message has had what it asked for,
or stands where an operator sees it.
"""

from __future__ import annotations

from collections.abc import Iterator

from machine.oracle import FILED, Delivered
from machine.people import release_all, retry_all
from machine.practice import MachinePractice
from mesh_itk3.commands.owed import all_owed
from mesh_itk3.handler import BusinessCode
from mesh_itk3.lifecycle import State
from mesh_itk3.stages.decide import decision
from support.stage_world import PRACTICE

ROUNDS = 300
"""Far more than it takes: a message that kills the process is parked at the tenth time, and each is tried alone."""
NOT_AT_REST = (State.RECEIVED, State.ACCEPTED, State.AWAITING_DECISION)


def come_to_rest(practice: MachinePractice) -> None:
    """Raises AssertionError where it does not."""
    practice.mesh.heal()
    practice.points.full = frozenset()
    practice.is_disabled = False
    practice.stop()
    practice.start()
    assert practice.daemon is not None, "no process can be started over what is on the disk"
    for _ in range(ROUNDS):
        practice.handler.script = []
        release_all(practice)
        for record in practice.daemon.ledger.waiting([State.AWAITING_DECISION]):
            practice.daemon.ledger.apply([decision(record, BusinessCode.PATIENT_KNOWN, "Jo", practice.clock.now())])
        found = sum(practice.work(what) for what in ("poll", "interpret", "dispatch", "correlate", "respond"))
        assert practice.daemon is not None
        if not found and not _is_left(practice) and not practice.daemon.ledger.has_work((PRACTICE,)):
            return
        practice.clock.advance(minutes=75)
    left = [(record.key.mesh_message_id, record.state.value) for record in practice.daemon.ledger.waiting(NOT_AT_REST)]
    left += [(each.local_id, each.state.value) for each in practice.daemon.ledger.outstanding_responses()]
    raise AssertionError(f"it does not come to rest: {left}, {practice.mesh.inbox}")


def _is_left(practice: MachinePractice) -> bool:
    """Whether something of ours is in the inbox."""
    return any(practice.oracle.delivered[each].what != "foreign" for each in practice.mesh.inbox)


def mend_and_retry(practice: MachinePractice) -> None:
    """Whatever is parked is tried again, by a handler that works now: nothing of it stays parked."""
    tempers = practice.handler.tempers
    tempers.update((document, "30001") for document, temper in tempers.items() if not temper.startswith("3"))
    retry_all(practice)
    come_to_rest(practice)


def wrong_at_rest(practice: MachinePractice) -> list[str]:
    """A sentence for each thing that is not as it should be."""
    oracle, stands = practice.oracle, parked(practice)
    set_aside = stands | abandoned(practice)
    held = [each for each in oracle.delivered.values() if each.mesh_message_id in oracle.acknowledged]
    wrong = list(oracle.broken)
    wrong += [f"the bytes of {oracle.lost()} messages are gone"] if oracle.lost() else []
    wrong += [f"{each} was parked without a reason" for each in stands if not oracle.may_be_parked(oracle.delivered[each])]
    for each in oracle.delivered.values():
        wrong += _not_where_it_belongs(practice, each)
    for document in {each.document for each in held if each.document}:
        # What MESH gave up may have been collected before, and only its acknowledge missing: it counts as either.
        if not any(each.mesh_message_id in oracle.expired for each in oracle.about(document)):
            wrong += _not_answered(practice, document, set_aside)
    return wrong


def parked(practice: MachinePractice) -> set[str]:
    """The messages that stand before an operator, as `mesh-itk3 owed` says it."""
    daemon = practice.daemon
    assert daemon is not None
    rows = all_owed(daemon.ledger, daemon.registry, daemon.world.deadlines, practice.clock.now())
    listed = {row["mesh_message_id"] for row in rows if row["kind"] == "parked"}
    # A parked message whose sender waits for nothing is no debt; `status` shows it.
    return listed | {record.key.mesh_message_id for record in daemon.ledger.waiting([State.PARKED])}


def abandoned(practice: MachinePractice) -> set[str]:
    """The messages that a person has ended."""
    assert practice.daemon is not None
    return {record.key.mesh_message_id for record in practice.daemon.ledger.waiting([State.ABANDONED])}


def _not_where_it_belongs(practice: MachinePractice, message: Delivered) -> Iterator[str]:
    mesh_message_id, oracle = message.mesh_message_id, practice.oracle
    if mesh_message_id in oracle.expired:
        return
    if message.what == "foreign":
        if not practice.mesh.holds(mesh_message_id):
            yield "a foreign message has left MESH"
        if oracle.opened[mesh_message_id] > 1 + oracle.deaths + oracle.faults + len(oracle.restores):
            yield f"a foreign message was opened {oracle.opened[mesh_message_id]} times"
    elif mesh_message_id not in oracle.acknowledged:
        yield f"{mesh_message_id} was never acknowledged"


def _not_answered(practice: MachinePractice, document: str, all_set_aside: set[str]) -> Iterator[str]:
    """Each message has its infrastructure response, the one that was accepted its business response, as they were asked for."""
    oracle, messages = practice.oracle, practice.oracle.about(document)
    ids, first = oracle.local_ids(document), messages[0]
    set_aside = [each for each in messages if each.mesh_message_id in all_set_aside]
    if first.asks_infrastructure and len(ids["infrastructure"]) < len(messages) - len(set_aside):
        yield f"{document}: {len(messages)} messages, {len(ids['infrastructure'])} infrastructure responses"
    if first.what == "refused":
        return
    if first.asks_infrastructure and not ids["20013"] and not set_aside:
        yield f"{document}: no 20013"
    is_held_back = bool(ids["20013"] & ids["refused"]) or bool(set_aside)
    if first.asks_business and not ids["business"] and not is_held_back:
        yield f"{document}: no business response"
    yield from _not_filed(practice, document, is_set_aside=bool(set_aside))


def _not_filed(practice: MachinePractice, document: str, *, is_set_aside: bool) -> Iterator[str]:
    oracle = practice.oracle
    filed = sum(count for each, count in oracle.letters().items() if oracle.delivered[each].document == document)
    codes = [code for each, code in oracle.finished.items() if oracle.delivered[each].document == document]
    if not codes and not is_set_aside:
        yield f"{document}: no handler has finished with it"
    # After a restore a decision is made again, and may be another one: what was filed stays filed.
    most = 1 if oracle.restores else int(bool(codes) and codes[-1] in FILED)
    least = int(bool(codes) and codes[-1] in FILED)
    if codes and not least <= filed <= most and not is_set_aside:
        yield f"{document}: answered {codes[-1]}, {filed} letters filed"
