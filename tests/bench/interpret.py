"""What reading and judging a message costs, by size, against a bare lxml parse of the same bytes."""

from __future__ import annotations

import time
from collections.abc import Callable

from lxml import etree

from mesh_itk3.itk3.envelope import Caps, read_message
from mesh_itk3.itk3.verdict import Facts, judge
from mesh_itk3.simulator.messages import a_message

SIZES = {"10 KB": 10_240, "100 KB": 102_400, "1 MB": 1_048_576, "5 MB": 5_242_880}
OURS = frozenset({"A81001"})


def main() -> None:
    print(f"{'size':>8} {'lxml ms':>9} {'read+judge ms':>14} {'ratio':>6} {'ms per MB':>10}")
    for name, size in SIZES.items():
        body = _a_message(name, size)
        bare, ours = _best_of_alternating(lambda b=body: _bare(b), lambda b=body: _judged(b), 5 if size > 1e6 else 15)
        print(f"{name:>8} {bare:9.2f} {ours:14.2f} {ours / bare:6.2f} {ours / (size / 1_048_576):10.1f}")


def _a_message(seed: str, size: int) -> bytes:
    """The smallest is a Send Document: a discharge summary with its mandatory sections does not fit into 10 KB."""
    if size < 20_480:
        return a_message("ITK007C", seed=seed, size=size)
    return a_message("ITK003D", seed=seed, size=size, bulk="resources")


def _best_of_alternating(one: Callable[[], None], other: Callable[[], None], runs: int) -> tuple[float, float]:
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        for which, call in enumerate((one, other)):
            began = time.perf_counter()
            call()
            times[which].append((time.perf_counter() - began) * 1000)
    return min(times[0]), min(times[1])


def _bare(body: bytes) -> None:
    etree.fromstring(body, etree.XMLParser(huge_tree=True))


def _judged(body: bytes) -> None:
    verdict = judge(read_message(body, Caps()), Facts(our_ods_codes=OURS))
    assert verdict.is_positive, verdict
