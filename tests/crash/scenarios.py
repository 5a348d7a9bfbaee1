"""What is swept: each scenario brings its messages to where the swept run begins, and says what has to become of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from crash.world import WORKFLOW, Expected, World
from mesh_itk3.simulator.conformance.replies import a_response, message_header_id
from mesh_itk3.simulator.patients import SUSAN_DISAGREES
from support.sandbox import HOSPITAL, PRACTICE

ANSWERED: Final = ("20013", "30001")
YESTERDAY: Final = time.time() - 25 * 3600
FOREIGN: Final = "SOMEBODY_ELSES"
RETENTION: Final = """
[retention]
completed_payloads_days = 30
response_bytes_days = 30
events_days = 90
"""


@dataclass(frozen=True)
class Begun:
    """A trial that is about to be killed."""

    expected: list[Expected]
    work: str = "round"
    asked: Mapping[str, Any] = field(default_factory=dict)
    afterwards: Callable[[], list[Expected]] | None = None
    """What a person does once the daemon is up again; what is to be expected then."""


def accepted(world: World) -> Begun:
    """A letter that is taken, filed and answered twice."""
    return Begun([world.send(ANSWERED, "completed")])


def rejected(world: World) -> Begun:
    """A letter for another organisation."""
    return Begun([world.send(("20002", None), "rejected", receiver_ods="Z99999")])


def two_letters(world: World) -> Begun:
    """Two in one batch: they share commits, and one of them is refused."""
    return Begun([world.send(ANSWERED, "completed"), world.send(("20002", None), "rejected", receiver_ods="Z99999")])


def waits_for_a_person(world: World) -> Begun:
    """The register disagrees about the patient's date of birth."""
    return Begun([_waiting(world)])


def decided_by_a_person(world: World) -> Begun:
    """The command in which a person decides is killed. Not decided, they do it again."""
    waiting = _waiting(world)
    world.recover()
    asked = {"id": waiting.mesh_message_id, "code": "30001"}

    def decide_again() -> list[Expected]:
        with world.ledger() as ledger:
            is_waiting = world.row(ledger, waiting)["state"] == "awaiting_decision"
        assert world.run("respond", **asked).code == (0 if is_waiting else 70)
        world.recover()
        return [_now_answered(waiting)]

    return Begun([waiting], "respond", asked, decide_again)


def carried_out(world: World) -> Begun:
    """A person has decided; the run that files and answers is killed."""
    waiting = _waiting(world)
    world.recover()
    assert world.run("respond", id=waiting.mesh_message_id, code="30001").code == 0
    return Begun([_now_answered(waiting)])


def correlated(world: World) -> Begun:
    """The hospital answers a response of ours and asks for a 20013; MESH reports that another could not be delivered."""
    letter = world.send(ANSWERED, "completed")
    world.recover()
    ours = world.responses_to(letter)
    seed = f"reply-{world.trials}"
    header_id = ours["business"]["message_header_id"]
    body = a_response(seed=seed, code="30001", answers=header_id, asks=True, mailbox_id=HOSPITAL)
    sent = world.hospital.send(body, to=PRACTICE, workflow_id=f"{WORKFLOW}_ACK")
    assert sent.message_header_id == message_header_id(seed)
    undelivered = ours["infrastructure"]
    world.sandbox.put_report(
        PRACTICE,
        workflow_id=undelivered["workflow_id"],
        local_id=undelivered["local_id"],
        linked_message_id=undelivered["mesh_message_id"],
    )
    world.reported.append(undelivered["local_id"])
    return Begun([letter, Expected(sent, body, ("20013", None), "correlated")])


def foreign_spooled(world: World) -> Begun:
    """A message on a workflow that is not ours, laid down for another client."""
    body = b"another program's message, byte for byte\n" * 50
    sent = world.hospital.send(body, to=PRACTICE, workflow_id=FOREIGN)
    return Begun([Expected(sent, body, (None, None), "foreign")])


def redelivered(world: World) -> Begun:
    """MESH lists a letter again that was taken, answered and acknowledged."""
    letter = world.send(ANSWERED, "completed")
    world.recover()
    world.sandbox.add_event(letter.mesh_message_id, "accepted")
    assert letter.mesh_message_id in world.in_mesh()
    return Begun([letter])


def sent_and_not_recorded(world: World) -> Begun:
    """The daemon has died between MESH taking its response and recording that; the restart, which asks MESH, is killed too."""
    letter = world.send(ANSWERED, "completed")
    assert world.round(named="after mailbox.send", kill_at=1).was_killed
    return Begun([letter])


def file_lost(world: World) -> Begun:
    """MESH lists it again, and its file is gone: the bytes come again before MESH is told anything."""
    begun = redelivered(world)
    (letter,) = begun.expected
    with world.ledger() as ledger:
        world.payload(world.row(ledger, letter)["payload_name"]).unlink()
    return begun


def swept(world: World) -> Begun:
    """A file that no row names has become a day old; the sweep that removes it is killed."""
    letter = world.send(ANSWERED, "completed")
    before = set(world.payloads())
    assert world.round(named="after payloads.keep", kill_at=1).was_killed
    orphans = set(world.payloads()) - before
    assert len(orphans) == 2  # the bytes and their headers
    world.recover()
    for orphan in orphans:
        os.utime(orphan, times=(YESTERDAY, YESTERDAY))

    def sweep_again() -> list[Expected]:
        assert world.run("sweep").code == 0
        assert not orphans & set(world.payloads())
        return [letter]

    return Begun([letter], "sweep", {}, sweep_again)


def pruned(world: World) -> Begun:
    """Weeks later retention lets go of what was received and sent; the daemon's job that does it is killed."""
    return _pruning(world, "prune")


def pruned_by_command(world: World) -> Begun:
    """The same, of `mesh-itk3 prune`."""
    return _pruning(world, "prune command")


def _pruning(world: World, work: str) -> Begun:
    if RETENTION not in world.practice.config.read_text():
        world.practice.config.write_text(world.practice.config.read_text() + RETENTION)
    letter = world.send(ANSWERED, "completed")
    world.recover()
    world.hospital.read_inbox()
    assert len(world.letters_of(letter)) == 1
    with world.ledger() as ledger:
        payload = world.payload(world.row(ledger, letter)["payload_name"])
    world.let_weeks_pass()

    def prune_again() -> list[Expected]:
        assert world.run(work).code == 0
        for file in world.payloads():  # a kill between row and file leaves a file, which the sweep takes a day later
            os.utime(file, times=(YESTERDAY, YESTERDAY))
        assert world.run("sweep").code == 0
        assert list(payload.parent.glob(f"{payload.stem}*")) == []
        return [replace(letter, is_pruned=True)]

    return Begun([replace(letter, is_pruned=None)], work, {}, prune_again)


def delivered(world: World) -> Begun:
    """MESH is asked what became of the responses, and says that the hospital has them."""
    letter = world.send(ANSWERED, "completed")
    world.recover()
    world.hospital.read_inbox()
    world.backdate_sends()
    return Begun([letter])


def _waiting(world: World) -> Expected:
    return world.send(("20013", None), "awaiting_decision", patient=SUSAN_DISAGREES)


def _now_answered(waiting: Expected) -> Expected:
    return Expected(waiting.sent, waiting.body, ANSWERED, "completed", is_filed=True)


RECEIVED: Final = (rejected, foreign_spooled, redelivered, file_lost)
SEVERAL: Final = (two_letters, correlated)
DECIDED: Final = (waits_for_a_person, decided_by_a_person, carried_out)
SENT: Final = (sent_and_not_recorded, delivered)
KEPT: Final = (swept, pruned)
ALL: Final[tuple[Callable[[World], Begun], ...]] = (accepted, *RECEIVED, *SEVERAL, *DECIDED, *SENT, *KEPT)
