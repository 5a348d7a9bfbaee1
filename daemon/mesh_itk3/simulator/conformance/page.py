"""The report as a page: one file, nothing remote, readable on paper and by a screen reader. Pure but for its template."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from itertools import groupby
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

_PACKAGE: Final = "mesh_itk3.simulator.conformance"
WORDS: Final = {"pass": "Pass", "fail": "Fail", "not run": "Not run"}
MARKS: Final = {"pass": "✓", "fail": "✗", "not run": "…"}


def page(document: Mapping[str, Any]) -> str:
    """The HTML of one run's document."""
    cases = document["cases"]
    return _template().render(
        document=document,
        groups=[_group(name, list(members)) for name, members in groupby(cases, key=lambda case: case["group"])],
        failed=[case for case in cases if case["verdict"] == "fail"],
        words=WORDS,
        marks=MARKS,
        style=resources.files(_PACKAGE).joinpath("templates", "report.css").read_text("utf-8"),
    )


def _group(name: str, cases: list[Mapping[str, Any]]) -> dict[str, Any]:
    counts = {verdict: sum(case["verdict"] == verdict for case in cases) for verdict in WORDS}
    return {"name": name, "anchor": "group-" + name.lower().replace(" ", "-"), "cases": cases, "counts": counts}


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader(_PACKAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html.j2")
