"""What reading and judging a message costs, by size, against a bare lxml parse of the same bytes."""

from __future__ import annotations

import time
from collections.abc import Callable

from lxml import etree

from mesh_itk3.itk3.attachment_types import KINDS
from mesh_itk3.itk3.envelope import Caps, read_message
from mesh_itk3.itk3.verdict import Facts, judge
from mesh_itk3.simulator.choices import Bulk
from mesh_itk3.simulator.messages import a_message
from mesh_itk3.workflow_table import shipped

PRACTICE = {"our_ods_codes": frozenset({"A81001"}), "supported_attachments": KINDS}
MESSAGES: dict[str, tuple[int, str, Bulk]] = {
    # A discharge summary with its mandatory sections does not fit into 10 KB.
    "10 KB": (10_240, "ITK007C", "text"),
    "100 KB": (102_400, "ITK003D", "resources"),
    "1 MB": (1_048_576, "ITK003D", "resources"),
    "1 MB attached": (1_048_576, "ITK007C", "attachment"),
    "5 MB": (5_242_880, "ITK003D", "resources"),
}
FACTS = {
    "ITK003D": Facts(**PRACTICE, workflow=shipped().get("TOC_FHIR_IP_DISCH")),
    "ITK007C": Facts(**PRACTICE, workflow=shipped().get("GPFED_CONSULT_REPORT")),
}


def main() -> None:
    print(f"{'size':>15} {'lxml ms':>9} {'read+judge ms':>14} {'ratio':>6} {'ms per MB':>10}")
    for name, (size, kind, bulk) in MESSAGES.items():
        body, facts = a_message(kind, seed=name, size=size, bulk=bulk), FACTS[kind]
        bare, ours = _best_of_alternating(
            lambda b=body: _bare(b), lambda b=body, f=facts: _judged(b, f), 7 if size > 2e6 else 25
        )
        print(f"{name:>15} {bare:9.2f} {ours:14.2f} {ours / bare:6.2f} {ours / (size / 1_048_576):10.1f}")


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


def _judged(body: bytes, facts: Facts) -> None:
    verdict = judge(read_message(body, Caps()), facts)
    assert verdict.is_positive, verdict
