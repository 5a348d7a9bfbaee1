"""What MESH does wrong in a trial: the kinds of fault, where each may befall, and how they are drawn. Pure but for the random
generator that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Final

from mesh_itk3.simulator import faults
from mesh_itk3.simulator.faults import Fault

REFUSALS: Final = ("400", "417")
"""What MESH says of a send that it will never take: the response is parked, and an operator has to act."""


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """One fault of MESH: see FAULTS for the kinds."""

    verb: str
    kind: str
    on: int = 1
    times: int = 1


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
    "400": lambda: faults.Status(400),
    "417": lambda: faults.Status(417),
    "late": faults.Late,
    "listed twice": faults.ListedAgain,
    "slow line": lambda: faults.Trickle(0.001),
    "wrong number of chunks": lambda: faults.Header("Mex-Chunk-Range", "1:9"),
    "cut gzip": faults.CutGzip,
    "cut without a length": lambda: faults.NoLength(1_000),
    "refused token": faults.ReplayRefused,
    "wrong clock": lambda: faults.ClockSkew(timedelta(hours=3)),
}
_OF_THE_LINE: Final = ("dropped before", "dropped after", "dropped before", "dropped after", "cut at once")
_OF_THE_SERVER: Final = ("403", "429", "429 with Retry-After", "500", "502", "503", "a page of HTML with 502")
_ANYWHERE: Final = (*_OF_THE_LINE, *_OF_THE_SERVER, "refused token", "wrong clock")
_OF_A_DOWNLOAD: Final = (
    "cut after 1,000 bytes", "cut after 1,000 bytes", "short gzip", "two gzip members", "404", "410", "cut gzip",
    "cut without a length", "wrong number of chunks",
)  # fmt: skip

FAULTS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "handshake": (*_ANYWHERE, "a page of HTML"),
    "list": (*_ANYWHERE, "a page of HTML", "listed twice", "slow line"),
    "open": (*_ANYWHERE, *_OF_A_DOWNLOAD),
    "chunk": (*_ANYWHERE, *_OF_A_DOWNLOAD),
    "acknowledge": (*_ANYWHERE, "late"),
    "send": (*_ANYWHERE, *REFUSALS, "late", "late", "slow line"),
    "find_sent": (*_ANYWHERE, "404", "a page of HTML", "slow line"),
}
"""What can go wrong at each verb without deserving another end than the usual one; what MESH refuses for good gets there by an
operator.
"""
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


def draw_faults(draw: Random) -> tuple[PlannedFault, ...]:
    """One to four of them, in one run."""
    found = [_fault(draw) for _ in range(draw.choice((1, 1, 1, 2, 3)))]
    if draw.random() < 0.3:  # noqa: PLR2004 - a share: by chance alone MESH would hardly ever refuse a response
        found.append(PlannedFault("send", draw.choice(REFUSALS), draw.choice((1, 1, 2, 3)), draw.choice((1, 1, 2, 4))))
    elif any(fault.verb == "find_sent" for fault in found):
        found.append(PlannedFault("send", "dropped after"))  # or nothing would be looked up
    return tuple(found)


def _fault(draw: Random) -> PlannedFault:
    verb = draw.choice(_VERBS)
    return PlannedFault(verb, draw.choice(FAULTS_OF[verb]), draw.choice((1, 1, 1, 2, 3)), draw.choice((1, 1, 1, 2, 4)))


def is_any_refusal(planned: Sequence[PlannedFault]) -> bool:
    """Whether MESH refuses a response for good."""
    return any(fault.verb == "send" and fault.kind in REFUSALS for fault in planned)
