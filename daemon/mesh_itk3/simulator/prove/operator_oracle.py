"""The part of the judge that is about an operator: what is parked, held or abandoned, and whether commands did what they say.
Pure; like the rest it knows nothing of how the daemon works.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mesh_itk3.simulator.prove.evidence import Evidence, Held, Row, Violation

PARKED: Final = "parked"
HOLDABLE: Final = frozenset({"received", "accepted", "awaiting_decision"})
"""States of a message to which something would happen yet."""
DONE: Final = 0
USAGE: Final = 2
"""Exit code of a command that says that there is nothing to do for it."""


def parked_with_cause(e: Evidence) -> Iterator[Violation]:
    """Only what MESH refuses and people hold; a business response is parked with its infrastructure response."""
    refused = {each.local_id for each in e.refused}
    for mesh_message_id, row in e.rows.items():
        if row.state == PARKED and mesh_message_id not in e.held:
            yield Violation("parked without cause", f"{mesh_message_id}: nobody holds it")
        is_any_parked = any(response.state == PARKED for response in row.responses)
        if is_any_parked and not any(response.local_id in refused for response in row.responses):
            yield Violation("parked without cause", f"{mesh_message_id}: MESH has refused no response to it")


def held_stands(e: Evidence) -> Iterator[Violation]:
    """Nothing happens to what is held or abandoned."""
    ids = {each.mesh_message_id: each.message_header_id for each in e.sent}
    for mesh_message_id, held in e.held.items():
        row = e.rows.get(mesh_message_id)
        if row is None or row.state != ("abandoned" if held.is_abandoned else PARKED):
            yield Violation("held goes on", f"{mesh_message_id}: it is {row.state if row else 'gone'}")
        if row is not None and not {response.local_id for response in row.responses} <= held.local_ids:
            yield Violation("held goes on", f"{mesh_message_id}: a response is written")
        if not {letter.path for letter in e.letters if letter.mesh_message_id == mesh_message_id} <= held.letters:
            yield Violation("held goes on", f"{mesh_message_id}: a letter is filed")
        others = (row for other, row in e.rows.items() if other != mesh_message_id)
        to_others = {response.local_id for row in others for response in row.responses}
        gone_out = {each.local_id for each in e.sendings if each.answers == ids.get(mesh_message_id)}
        if not gone_out <= held.local_ids | to_others:
            yield Violation("held goes on", f"{mesh_message_id}: it is answered")


@dataclass(frozen=True, slots=True)
class Act:
    """One command of an operator about one message, and the message before and after it."""

    verb: str
    code: int | None
    """Its exit code."""
    before: Row | None
    after: Row | None
    held: Held | None = None
    was_killed: bool = False
    """It had been given before, and killed: it may find that all is done."""


def of_an_act(act: Act) -> list[Violation]:
    """Whether it did what it says."""
    expected = _expected(act)
    if expected is None:
        is_obeyed = act.code not in (DONE, None) and act.after == act.before
    else:
        is_obeyed = act.code in ((DONE, USAGE) if act.was_killed else (DONE,)) and _as_asked(act, expected)
    if is_obeyed:
        return []
    states = [row.state if row else "unknown" for row in (act.before, act.after)]
    return [Violation("operator not obeyed", f"{act.verb}: exit {act.code}, the message was {states[0]}, is {states[1]}")]


def _expected(act: Act) -> str | None:
    """The state that it leads to; None: it is refused."""
    state = act.before.state if act.before else "unknown"
    match act.verb:
        case "hold":
            return PARKED if state in HOLDABLE else None
        case "release" | "abandon" if act.held is not None:
            return act.held.state if act.verb == "release" else "abandoned"
        case "respond":
            return "accepted" if state == "awaiting_decision" else None
        case "retry" if act.before and any(response.state == PARKED for response in act.before.responses):
            return state
    return None


def _as_asked(act: Act, expected: str) -> bool:
    before, after = act.before, act.after
    if before is None or after is None or after.state != expected or _written(after) != _written(before):
        return False
    return act.verb != "retry" or not any(each.state == PARKED for each in after.responses)


def _written(row: Row) -> list[tuple[str, str]]:
    return [(each.local_id, each.sha256) for each in row.responses]
