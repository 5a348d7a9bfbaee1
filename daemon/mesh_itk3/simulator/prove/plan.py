"""What one trial does, drawn from its seed alone: what is sent, when the daemon is killed, what MESH does wrong. Pure but for
its own random generator: equal seeds give equal plans.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from random import Random
from typing import Any, Final

from mesh_itk3.simulator.choices import KINDS
from mesh_itk3.simulator.prove.planned_faults import FAULTS, FAULTS_OF, PlannedFault, draw_faults, is_any_refusal
from mesh_itk3.simulator.prove.stories import STORIES, Story

POINTS_OF_A_ROUND: Final = 88
"""About so many are passed by a round, whatever it finds."""
POINTS_OF_A_MESSAGE: Final = 45
"""And so many more for each message: one letter passes 134 in all."""
LONGEST_US: Final = 160_000
"""About how long a round with one letter takes; each further one makes it longer."""
MORE_US: Final = 40_000
SERVICE_SHARE: Final = 0.02
"""Of trials with the two processes of `mesh-itk3 run`, each of them slow."""

NAMED_POINTS: Final = tuple(
    f"{when} {call}"
    for call in (
        "payloads.draft", "payloads.keep", "ledger.record_all_received", "mailbox.acknowledge", "ledger.record_acknowledged",
        "ledger.claim", "payloads.read", "handler.examine", "handler.handle", "ledger.apply", "ledger.claim_responses",
        "mailbox.send", "ledger.apply_responses",
    )
    for when in ("before", "after")
)  # fmt: skip
"""Those between two durable steps: some trials aim at one of them."""
UNFINISHED: Final = (
    "after ledger.record_all_received", "before mailbox.acknowledge", "before ledger.claim", "before handler.examine",
    "before handler.handle", "after handler.handle", "before ledger.apply",
)  # fmt: skip
"""Whoever is killed there leaves a message that can be held yet."""


@dataclass(frozen=True, slots=True)
class Kill:
    """When the process is killed; a run that ends before that is not."""

    at_point: int | None = None
    """At the so manyth point that it passes: of all, or of those of this name."""
    named: str | None = None
    after_us: int | None = None
    """So long after it began, from outside."""


@dataclass(frozen=True, slots=True)
class Round:
    """One run of the daemon."""

    kill: Kill | None = None
    faults: tuple[PlannedFault, ...] = ()
    most_file_bytes: int | None = None
    """The disk takes no larger file."""


@dataclass(frozen=True, slots=True)
class Item:
    """One message."""

    story: str
    kind: str
    seed: str
    patient: int = 0
    of: int | None = None
    """The number of the item that it is about."""


@dataclass(frozen=True, slots=True)
class Hold:
    """An operator holds a message; when all else is settled, they end that."""

    item: int
    """The number of the item, among all of the trial."""
    after: int
    """So many runs of the step."""
    end: str = "release"
    """Or `abandon`."""
    killed_after_us: int | None = None
    """The command is killed, and given again."""
    end_killed_after_us: int | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """How an operator has sent again what MESH has refused for good, where it has."""

    is_all: bool = False
    """`retry --all`, instead of one message after the other."""
    killed_after_us: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What is sent and decided, then the runs that go wrong; after that clean ones until all is settled, then what an operator
    ends, and runs until that is settled too.
    """

    items: tuple[Item, ...]
    rounds: tuple[Round, ...]
    decides: bool = False
    decision_killed_after_us: int | None = None
    holds: tuple[Hold, ...] = ()
    retry: Retry = Retry()
    then: tuple[Round, ...] = ()
    """Runs that go wrong after the operator has acted."""


@dataclass(frozen=True, slots=True)
class ServiceRun:
    """The real two processes instead of the rounds of a step."""

    kills: str
    """What is killed: `group` or `inner`."""
    after_us: int
    """After the first call that it makes of MESH."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One trial."""

    seed: int
    steps: tuple[Step, ...]
    service: ServiceRun | None = None


# ------------------------------------------------------------------------------------------------ the draw


def draw_plan(seed: int, *, service_share: float = SERVICE_SHARE) -> Plan:
    """The plan of this seed."""
    draw = Random(seed)
    is_service = draw.random() < service_share
    first = tuple(_first_item(draw, f"{seed}/{number}") for number in range(draw.choice((1, 1, 1, 1, 1, 2, 2, 2, 3, 4))))
    second = _second_items(draw, seed, first)
    decides = any(STORIES[item.story].decision for item in first)
    steps = [Step(first, _rounds(draw, len(first)))]
    if second or decides:
        killed_after = _killed_after(draw) if decides else None
        rounds = _rounds(draw, len(second) + 1) if draw.random() < 0.6 else ()  # noqa: PLR2004 - a share
        steps.append(Step(second, rounds, decides, killed_after))
    service = ServiceRun(draw.choice(("group", "group", "inner")), draw.randrange(900_000)) if is_service else None
    return Plan(seed, _with_operator(draw, tuple(steps)), service)


def _killed_after(draw: Random) -> int | None:
    """When a command is killed, if it is."""
    return draw.randrange(60_000) if draw.random() < 0.3 else None  # noqa: PLR2004 - a share


def _with_operator(draw: Random, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """What an operator does in each step."""
    items = [item for step in steps for item in step.items]
    followed = {item.of for item in items}
    keeps = [number for number, item in enumerate(items) if number in followed or STORIES[item.story].decision]
    found, sent = [], 0
    for step in steps:
        sent += len(step.items)
        acting = replace(step, retry=Retry(draw.random() < 0.4, _killed_after(draw)), then=_then(draw))  # noqa: PLR2004
        is_holding = step.rounds and draw.random() < 0.2  # noqa: PLR2004 - a share
        found.append(_holding(draw, acting, sent, keeps) if is_holding else acting)
    return tuple(found)


def _then(draw: Random) -> tuple[Round, ...]:
    return (Round(_kill(draw, 1)),) if draw.random() < 0.5 else ()  # noqa: PLR2004 - a share


def _holding(draw: Random, step: Step, sent: int, keeps: Sequence[int]) -> Step:
    """One of what was sent until then is held after one of the runs, which often leaves it unfinished. What something else of
    the trial needs to end well is never abandoned.
    """
    item, after = draw.randrange(sent), draw.randint(1, len(step.rounds))
    end = "abandon" if item not in keeps and draw.random() < 0.4 else "release"  # noqa: PLR2004 - a share
    hold = Hold(item, after, end, _killed_after(draw), _killed_after(draw))
    rounds = list(step.rounds)
    if draw.random() < 0.8:  # noqa: PLR2004 - a share
        rounds[after - 1] = replace(rounds[after - 1], kill=Kill(draw.choice((1, 1, 1, 2)), draw.choice(UNFINISHED)))
    return replace(step, rounds=tuple(rounds), holds=(hold,))


def _first_item(draw: Random, seed: str) -> Item:
    names = [name for name, story in STORIES.items() if not story.follows]
    name = draw.choices(names, [STORIES[each].weight for each in names])[0]
    return Item(name, draw.choice(STORIES[name].kinds), seed, draw.randrange(4))


def _second_items(draw: Random, seed: int, first: tuple[Item, ...]) -> tuple[Item, ...]:
    """What follows an accepted letter whose business response is known by then; at most one thing for each."""
    names = [name for name, story in STORIES.items() if story.follows]
    found = []
    for number, item in enumerate(first):
        if _can_be_followed(STORIES[item.story]) and draw.random() < 0.25:  # noqa: PLR2004 - a share
            name = draw.choices(names, [STORIES[each].weight for each in names])[0]
            found.append(Item(name, item.kind, f"{seed}/{number}", item.patient, of=number))
    return tuple(found)


def _can_be_followed(story: Story) -> bool:
    return story.deserves.codes == ("20013", "30001") and story.decision is None and story.changes.get("form") != "json"


def _rounds(draw: Random, messages: int) -> tuple[Round, ...]:
    count = draw.choices((1, 2, 3, 4, 5), (70, 18, 6, 3, 3))[0]
    return tuple(_round(draw, messages) for _ in range(count))


def _round(draw: Random, messages: int) -> Round:
    is_faulty = draw.random() < 0.3  # noqa: PLR2004 - a share
    planned = draw_faults(draw) if is_faulty else ()
    is_killed = not is_faulty or draw.random() < (0.5 if is_any_refusal(planned) else 0.85)
    is_full = draw.random() < 0.04  # noqa: PLR2004 - a share
    return Round(
        _kill(draw, messages) if is_killed else None,
        planned,
        draw.randrange(4_096, 120_000) if is_full else None,
    )


def _kill(draw: Random, messages: int) -> Kill:
    match draw.choices(("counted", "named", "timed"), (50, 20, 30))[0]:
        case "counted":
            return Kill(at_point=draw.randint(1, POINTS_OF_A_ROUND + POINTS_OF_A_MESSAGE * messages))
        case "named":
            return Kill(at_point=draw.choice((1, 1, 1, 2, 2, 3)), named=draw.choice(NAMED_POINTS))
        case _:
            return Kill(after_us=draw.randrange(LONGEST_US + MORE_US * messages))


# ------------------------------------------------------------------------------------------------ as JSON


def to_json(plan: Plan) -> dict[str, Any]:
    """A document from which `from_json` makes the same plan."""
    return asdict(plan)


def from_json(document: Mapping[str, Any]) -> Plan:
    """Raises KeyError, TypeError, ValueError where it is none of ours."""
    service = document["service"]
    plan = Plan(
        int(document["seed"]),
        tuple(_step(step) for step in document["steps"]),
        ServiceRun(**service) if service else None,
    )
    _check(plan)
    return plan


def _step(document: Mapping[str, Any]) -> Step:
    return Step(
        tuple(Item(**item) for item in document["items"]),
        tuple(_round_of(each) for each in document["rounds"]),
        bool(document["decides"]),
        document["decision_killed_after_us"],
        tuple(Hold(**each) for each in document.get("holds", ())),  # a trial that was stored before there were any has none
        Retry(**document.get("retry", {})),
        tuple(_round_of(each) for each in document.get("then", ())),
    )


def _round_of(document: Mapping[str, Any]) -> Round:
    kill = document["kill"]
    planned = tuple(PlannedFault(**each) for each in document["faults"])
    return Round(Kill(**kill) if kill else None, planned, document["most_file_bytes"])


def _check(plan: Plan) -> None:
    items = sum(len(step.items) for step in plan.steps)
    for step in plan.steps:
        if not all(each.end in ("release", "abandon") and 0 <= each.item < items for each in step.holds):
            raise ValueError("no such hold")
        for item in step.items:
            if item.story not in STORIES or item.kind not in KINDS:
                raise ValueError(f"no such message: {item.story} {item.kind}")
        for each in (*step.rounds, *step.then):
            for fault in each.faults:
                if fault.verb not in FAULTS_OF or fault.kind not in FAULTS:
                    raise ValueError(f"no such fault: {fault.kind} at {fault.verb}")
