"""What one trial does, drawn from its seed alone: what is sent, when the daemon is killed, what MESH does wrong. Pure but for
its own random generator: equal seeds give equal plans.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from random import Random
from typing import Any, Final

from mesh_itk3.simulator import faults
from mesh_itk3.simulator.choices import KINDS
from mesh_itk3.simulator.faults import Fault
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


@dataclass(frozen=True, slots=True)
class Kill:
    """When the process is killed; a run that ends before that is not."""

    at_point: int | None = None
    """At the so manyth point that it passes: of all, or of those of this name."""
    named: str | None = None
    after_us: int | None = None
    """So long after it began, from outside."""


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """One fault of MESH: see FAULTS for the kinds."""

    verb: str
    kind: str
    on: int = 1
    times: int = 1


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
class Step:
    """What is sent and decided, then the runs that go wrong; after that clean ones until all is settled."""

    items: tuple[Item, ...]
    rounds: tuple[Round, ...]
    decides: bool = False
    decision_killed_after_us: int | None = None


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


# ------------------------------------------------------------------------------------------------ faults

_DROP_BEFORE: Final = faults.DropBefore()
_DROP_AFTER: Final = faults.DropAfter()

FAULTS: Final[Mapping[str, Callable[[], Fault]]] = {
    "dropped before": lambda: _DROP_BEFORE,
    "dropped after": lambda: _DROP_AFTER,
    "cut at once": lambda: faults.Cut(0),
    "cut after 1,000 bytes": lambda: faults.Cut(1_000),
    "short gzip": faults.ShortGzip,
    "two gzip members": faults.TwoMembers,
    "403": lambda: faults.Status(403),
    "404": lambda: faults.Status(404),
    "410": lambda: faults.Status(410),
    "429": lambda: faults.Status(429),
    "429 with Retry-After": lambda: faults.Status(429, retry_after="1"),
    "500": lambda: faults.Status(500),
    "502": lambda: faults.Status(502),
    "503": lambda: faults.Status(503),
    "a page of HTML": faults.html,
    "a page of HTML with 502": lambda: faults.html(502),
}
_OF_THE_LINE: Final = ("dropped before", "dropped after", "dropped before", "dropped after", "cut at once")
_OF_THE_SERVER: Final = ("403", "429", "429 with Retry-After", "500", "502", "503", "a page of HTML with 502")
_ANYWHERE: Final = _OF_THE_LINE + _OF_THE_SERVER
_OF_A_DOWNLOAD: Final = ("cut after 1,000 bytes", "cut after 1,000 bytes", "short gzip", "two gzip members", "404", "410")

FAULTS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "handshake": (*_ANYWHERE, "a page of HTML"),
    "list": (*_ANYWHERE, "a page of HTML"),
    "open": (*_ANYWHERE, *_OF_A_DOWNLOAD),
    "chunk": (*_ANYWHERE, *_OF_A_DOWNLOAD),
    "acknowledge": _ANYWHERE,
    "send": _ANYWHERE,
    "find_sent": (*_ANYWHERE, "404", "a page of HTML"),
}
"""What can go wrong at each verb without deserving another end than the usual one."""
_VERBS: Final = (
    "handshake",
    "list",
    "open",
    "open",
    "chunk",
    "acknowledge",
    "acknowledge",
    "send",
    "send",
    "send",
    "find_sent",
)


def _faults(draw: Random) -> tuple[PlannedFault, ...]:
    return tuple(_fault(draw) for _ in range(draw.choice((1, 1, 1, 2, 3))))


def _fault(draw: Random) -> PlannedFault:
    verb = draw.choice(_VERBS)
    return PlannedFault(verb, draw.choice(FAULTS_OF[verb]), draw.choice((1, 1, 1, 2, 3)), draw.choice((1, 1, 1, 2, 4)))


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
        killed_after = draw.randrange(60_000) if decides and draw.random() < 0.3 else None  # noqa: PLR2004 - a share
        rounds = _rounds(draw, len(second) + 1) if draw.random() < 0.6 else ()  # noqa: PLR2004 - a share
        steps.append(Step(second, rounds, decides, killed_after))
    service = ServiceRun(draw.choice(("group", "group", "inner")), draw.randrange(900_000)) if is_service else None
    return Plan(seed, tuple(steps), service)


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
    is_killed = not is_faulty or draw.random() < 0.85  # noqa: PLR2004 - a share
    is_full = draw.random() < 0.04  # noqa: PLR2004 - a share
    return Round(
        _kill(draw, messages) if is_killed else None,
        _faults(draw) if is_faulty else (),
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
    )


def _round_of(document: Mapping[str, Any]) -> Round:
    kill = document["kill"]
    planned = tuple(PlannedFault(**each) for each in document["faults"])
    return Round(Kill(**kill) if kill else None, planned, document["most_file_bytes"])


def _check(plan: Plan) -> None:
    for step in plan.steps:
        for item in step.items:
            if item.story not in STORIES or item.kind not in KINDS:
                raise ValueError(f"no such message: {item.story} {item.kind}")
        for each in step.rounds:
            for fault in each.faults:
                if fault.verb not in FAULTS_OF or fault.kind not in FAULTS:
                    raise ValueError(f"no such fault: {fault.kind} at {fault.verb}")
