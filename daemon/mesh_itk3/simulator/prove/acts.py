"""What an operator does in a trial: decides, holds, ends that, has sent again what MESH refused. Each command is killed or not,
given again where it was, and judged by the message as it stands before and after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from signal import SIGKILL
from typing import TYPE_CHECKING, Any, Final

from mesh_itk3.simulator.prove.evidence import Evidence, Held, Message, Row, Violation
from mesh_itk3.simulator.prove.operator_oracle import HOLDABLE, PARKED, Act, of_an_act
from mesh_itk3.simulator.prove.warm import CHILD_FAILED

if TYPE_CHECKING:
    from mesh_itk3.simulator.prove.plan import Hold, Retry
    from mesh_itk3.simulator.prove.trial import Trial

POSITIVE: Final = "20013"


def decide(trial: Trial, index: int, code: str, killed_after_us: int | None) -> None:
    """A person's decision about this item."""
    message = replace(trial.messages[index], waits=False)
    trial.amend(index, message)
    before = _row(trial.evidence(), message)
    _act(trial, "respond", message, before, killed_after_us, code=code)


def hold(trial: Trial, planned: Hold) -> None:
    """Where it is not too late for that."""
    message = trial.messages[planned.item]
    found = trial.evidence()
    row = _row(found, message)
    _act(trial, "hold", message, row, planned.killed_after_us)
    if row is not None and row.state in HOLDABLE:
        letters = frozenset(each.path for each in found.letters if each.mesh_message_id == message.mesh_message_id)
        local_ids = frozenset(each.local_id for each in row.responses)
        trial.held[message.mesh_message_id] = Held(row.state, local_ids, letters)


def end(trial: Trial, holds: Sequence[Hold], retry: Retry) -> bool:
    """What an operator does when all else is settled; whether there was anything to do."""
    open_ = [each for each in holds if trial.messages[each.item].mesh_message_id in trial.held]
    for each in open_:
        if each.end == "abandon":
            _abandon(trial, each)
    has_retried = _retry(trial, retry)
    for each in open_:
        if each.end == "release":
            _release(trial, each)
    return has_retried or bool(open_)


def _release(trial: Trial, planned: Hold) -> None:
    message = trial.messages[planned.item]
    held = trial.held[message.mesh_message_id]
    _act(trial, "release", message, _row(trial.evidence(), message), planned.end_killed_after_us, held=held)
    del trial.held[message.mesh_message_id]


def _abandon(trial: Trial, planned: Hold) -> None:
    """From now on it deserves what was written before, but for what MESH has refused."""
    message = trial.messages[planned.item]
    held = trial.held[message.mesh_message_id]
    before = _row(trial.evidence(), message)
    _act(trial, "abandon", message, before, planned.end_killed_after_us, held=held)
    trial.held[message.mesh_message_id] = replace(held, is_abandoned=True)
    is_told = before is not None and any(each.state != PARKED for each in before.responses)
    codes = tuple(code for code in message.codes if code == POSITIVE and is_told)
    trial.amend(planned.item, replace(message, codes=codes, is_filed=bool(held.letters), state="abandoned", waits=False))


def _retry(trial: Trial, retry: Retry) -> bool:
    before = trial.evidence().rows
    unfinished = [each for each in trial.messages if not _has_ended(trial, each)]
    parked = [each for each in unfinished if _is_any_parked(before.get(each.mesh_message_id))]
    if not parked:
        return False
    if not retry.is_all:
        for each in parked:
            _act(trial, "retry", each, before[each.mesh_message_id], retry.killed_after_us)
        return True
    code, was_killed = _given(trial, "retry --all", parked[0], retry.killed_after_us)
    after = trial.evidence().rows
    for each in parked:
        rows = before[each.mesh_message_id], after.get(each.mesh_message_id)
        trial.outcome.violations += of_an_act(Act("retry", code, *rows, was_killed=was_killed))
    return True


def _has_ended(trial: Trial, message: Message) -> bool:
    held = trial.held.get(message.mesh_message_id)
    return held is not None and held.is_abandoned


def _is_any_parked(row: Row | None) -> bool:
    return row is not None and any(each.state == PARKED for each in row.responses)


def _row(found: Evidence, message: Message) -> Row | None:
    return found.rows.get(message.mesh_message_id)


def _act(
    trial: Trial, verb: str, message: Message, before: Row | None, killed_after_us: int | None, *,
    held: Held | None = None, code: str | None = None,
) -> None:  # fmt: skip
    """Gives the command, and judges it."""
    ended, was_killed = _given(trial, verb, message, killed_after_us, code=code)
    after = _row(trial.evidence(), message)
    trial.outcome.violations += of_an_act(Act(verb, ended, before, after, held, was_killed))


def _given(
    trial: Trial, verb: str, message: Message, killed_after_us: int | None, *, code: str | None = None
) -> tuple[int | None, bool]:
    """Its exit code, and whether it was killed and given once more."""
    order: dict[str, Any] = {"verb": verb, "id": message.mesh_message_id, "code": code}
    trial.outcome.acts[verb] += 1
    answer = trial.batch.order("act", **order, after_us=killed_after_us)
    was_killed = answer["signal"] == SIGKILL and not answer["is_late"]
    if was_killed:
        trial.note_kill(answer, f"the command {verb}", is_timed=True)
        answer = trial.batch.order("act", **order)
    if answer["code"] in (None, CHILD_FAILED):
        what = f"the command {verb}: exit {answer['code']}, signal {answer['signal']}"
        trial.outcome.violations.append(Violation("run failed", what))
    trial.outcome.story.append(f"{verb} {message.mesh_message_id}: exit {answer['code']}")
    return answer["code"], was_killed
