"""Whether a case came out as it has to: what the hospital received, and what the practice's daemon says. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from mesh_itk3.simulator.conformance.case import Answer, Case, Message, Reply, Step
from mesh_itk3.simulator.conformance.close_reading import CHECKS, Asked, faults
from mesh_itk3.simulator.conformance.codes import response_workflow
from mesh_itk3.simulator.correspondence import Received

Verdict = Literal["pass", "fail", "not run"]
SAYS: Final = {check.name: check.says for check in CHECKS}


@dataclass(frozen=True, slots=True)
class Sent:
    """One message that MESH took from the hospital."""

    step: int
    mesh_message_id: str
    workflow_id: str
    message_header_id: str | None
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Filed:
    """A letter on the practice's disk."""

    has_same_bytes: bool
    missing: tuple[str, ...]
    attachments: int


@dataclass(frozen=True, slots=True)
class Observed:
    """All that came of one case."""

    sent: tuple[Sent, ...]
    received: tuple[Received, ...]
    """In the order in which MESH listed it."""
    records: Mapping[str, Mapping[str, Any]]
    """What the practice's daemon says of each sent message, by MESH id; a row of `mesh-itk3 messages --json`."""
    filed: Mapping[str, Filed]
    left: frozenset[str]
    """MESH ids that still stand in the practice's inbox."""
    refused: frozenset[str]
    """MESH ids of which the daemon's log says that they were refused."""
    earliest: datetime
    latest: datetime
    practice_mailbox_id: str
    practice_ods: str
    private: tuple[str, ...]
    owed: frozenset[str] = frozenset()
    """MESH ids of which `mesh-itk3 owed` says that somebody has to see to their answer."""
    problems: tuple[str, ...] = ()
    """What went wrong while the case was played."""


def expected_answers(case: Case) -> list[tuple[int, Answer]]:
    """Every response that has to come, in its order, with the step whose message it answers."""
    return [
        (number if answer.about is None else answer.about, answer)
        for number, step in enumerate(case.steps)
        for _ in range(_times(step))
        for answer in step.answers
    ]


def _times(step: Step) -> int:
    return step.action.times if isinstance(step.action, Message) else 1


def differences(case: Case, observed: Observed) -> list[str]:
    """What is not as it has to be, one sentence each; empty where the case passes."""
    answers = _one_by_one(case, observed) if not _is_crowd(case) else _crowd(case, observed)
    return [*observed.problems, *answers, *_records(case, observed)]


def _is_crowd(case: Case) -> bool:
    return any(_times(step) > 1 for step in case.steps)


# ------------------------------------------------------------------------------------------------ what the hospital received


def _one_by_one(case: Case, observed: Observed) -> Iterator[str]:
    expected = expected_answers(case)
    for number in range(max(len(expected), len(observed.received))):
        place = f"response {number + 1}"
        if number >= len(observed.received):
            yield f"{place}: nothing came, expected {expected[number][1].code}"
        elif number >= len(expected):
            yield f"{place}: {_name(observed.received[number])} came, and nothing was expected"
        else:
            yield from _response(place, observed.received[number], *expected[number], case, observed)


def _name(item: Received) -> str:
    if item.report_of is not None or item.report_code is not None:
        return "a MESH report"
    return (item.response.code if item.response else None) or "something that is no response"


def _response(place: str, item: Received, step: int, answer: Answer, case: Case, observed: Observed) -> Iterator[str]:
    if _name(item) != answer.code:
        yield f"{place}: {_name(item)} came, expected {answer.code}"
        return
    for fault in faults(item, _asked(step, answer, case, observed)):
        yield f"{place}: {SAYS[fault]}: not so"


def _asked(step: int, answer: Answer, case: Case, observed: Observed, message_header_id: str | None = None) -> Asked:
    ours = next((each for each in observed.sent if each.step == step), None)
    action = case.steps[step].action
    workflow_id = action.workflow_id if isinstance(action, Message | Reply) else ""
    return Asked(
        answer=answer,
        message_header_id=message_header_id or (ours.message_header_id if ours else None),
        workflow_id=response_workflow(workflow_id),
        practice_mailbox_id=observed.practice_mailbox_id,
        practice_ods=observed.practice_ods,
        earliest=observed.earliest,
        latest=observed.latest,
        private=observed.private,
    )


def _crowd(case: Case, observed: Observed) -> Iterator[str]:
    """Many messages of one kind: each has to get its own responses, in whatever order the messages come."""
    step = case.steps[0]
    by_message: dict[str, list[Received]] = {}
    for item in observed.received:
        by_message.setdefault((item.response.answers if item.response else None) or "", []).append(item)
    wrong = 0
    for sent in observed.sent:
        wrong += bool(list(_of_one(by_message.pop(sent.message_header_id or "", []), step, sent, case, observed)))
    if wrong:
        yield f"{wrong} of {len(observed.sent)} messages did not get exactly the responses that they should"
    if by_message:
        yield f"{sum(map(len, by_message.values()))} items came that answer none of the messages"


def _of_one(items: Sequence[Received], step: Step, sent: Sent, case: Case, observed: Observed) -> Iterator[str]:
    if [_name(item) for item in items] != [answer.code for answer in step.answers]:
        yield "other codes"
        return
    for item, answer in zip(items, step.answers, strict=True):
        yield from faults(item, _asked(0, answer, case, observed, sent.message_header_id))


# ------------------------------------------------------------------------------------------------ what the practice says


def _records(case: Case, observed: Observed) -> Iterator[str]:
    for sent in observed.sent:
        step = case.steps[sent.step]
        if step.becomes is not None:
            yield from _record(sent, step, observed)


def _record(sent: Sent, step: Step, observed: Observed) -> Iterator[str]:
    record = observed.records.get(sent.mesh_message_id)
    is_left = sent.mesh_message_id in observed.left
    state = "left in MESH" if is_left else record["state"] if record else "unknown"
    if state != step.becomes:
        yield f"the practice says of message {sent.step + 1}: {state}, expected {step.becomes}"
    yield from _filing(sent, step, observed.filed.get(sent.mesh_message_id))
    if record is not None:
        yield from _details(sent, step, record, observed)


def _filing(sent: Sent, step: Step, filed: Filed | None) -> Iterator[str]:
    if step.is_filed != (filed is not None):
        yield f"message {sent.step + 1} was {'filed' if filed else 'not filed'}, expected the contrary"
    if filed is None:
        return
    if filed.missing:
        yield f"message {sent.step + 1} was filed without {', '.join(filed.missing)}"
    if not filed.has_same_bytes:
        yield f"the filed message {sent.step + 1} is not the bytes that were sent"
    if step.attachments not in (None, filed.attachments):
        yield f"message {sent.step + 1} was filed with {filed.attachments} attachments, expected {step.attachments}"


def _details(sent: Sent, step: Step, record: Mapping[str, Any], observed: Observed) -> Iterator[str]:
    place = f"the practice's record of message {sent.step + 1}"
    if step.becomes == "rejected" and sent.mesh_message_id not in observed.refused:
        yield f"{place}: its refusal does not stand in the log"
    if bool(record.get("sender_not_told")) != step.is_untold:
        yield f"{place}: the mark that the sender was not told is wrong"
    if (sent.mesh_message_id in observed.owed) != _is_owed(step):
        yield f"{place}: it {'does not stand' if _is_owed(step) else 'stands'} in the list of what is owed"
    first = next((each.mesh_message_id for each in observed.sent if each.step == step.repeats), None)
    if record.get("duplicate_of") != first:
        yield f"{place}: does not say which message it repeats" if first else f"{place}: says that it repeats another"
    if bool(record.get("differs_from_first")) != step.has_differing_bytes:
        yield f"{place}: the mark of differing bytes is wrong"
    if missing := set(step.warnings) - set(record.get("warnings", ())):
        yield f"{place}: the deviation {', '.join(sorted(missing))} is not recorded"
    states = tuple(response["state"] for response in record.get("responses", ()))
    wanted = step.response_states or ("sent",) * len(states)
    if tuple("sent" if state == "delivered" else state for state in states) != wanted:
        yield f"{place}: its responses are {', '.join(states) or 'none'}, expected {', '.join(wanted)}"


def _is_owed(step: Step) -> bool:
    """A person has to decide, or a response was lost or refused."""
    is_lost = bool({"parked", "undelivered"} & set(step.response_states))
    return step.becomes == "awaiting_decision" or is_lost or step.is_response_refused
