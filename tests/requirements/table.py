"""Makes docs/conformance.md of requirements.toml, and what the report of the conformance run has to call partly:
`make conformance-table`.
"""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "conformance.md"
PARTLY = ROOT / "daemon" / "mesh_itk3" / "simulator" / "conformance" / "partly.json"
STATUSES = ("shown", "partly", "open", "not ours")

HEAD = """\
# Conformance

Every requirement of the ITK3 family that binds whoever receives documents, and how this daemon stands to it: where it is
done, and the tests that show it. Made by `make conformance-table` from `tests/requirements/requirements.toml`; a test
fails when a module or a test that is named here does not exist, is skipped, or when this page is not what the file says.

Ids and levels are those of the published texts: ITK3 Messaging Distribution 2.10.0 (`FHIR-`, `RC-HS-`; requirements that
it states without an id are `ITK3-UNNUMBERED-`), GP Connect Messaging 1.6.0 (`GPCM-`) and its later Send Document guide
(`SD2-`), and the checks of the NHS test harness (`GP-GFR-`). The words are ours. Requirements that bind only senders are
left out; so are those of the Generic FHIR Receiver standard that are not published.

| status | meaning | requirements |
|---|---|---|
"""
MEANINGS = {
    "shown": "done, and every test that is named shows it",
    "partly": "the tests show some of it; the row says what is missing",
    "open": "not done, or shown by no test",
    "not ours": "for somebody else to do; the row says for whom",
}
BEYOND = """
Every response that any test produces is also checked against the ITK3 profiles, by a checker that shares no code with
what writes it: [CONTRIBUTING.md](../CONTRIBUTING.md) says how. Where NHS's own sample responses break the profiles is
written down in `tests/profiles/test_published.py`.
"""


@dataclass(frozen=True)
class Requirement:
    id: str
    level: str
    asks: str
    status: str
    where: tuple[str, ...]
    tests: tuple[str, ...]
    alike: tuple[str, ...] = ()
    """Ids whose text is the same for another payload."""
    why: str = ""
    binds: str = ""
    """Whom it binds where that is not the receiver."""


def requirements() -> list[Requirement]:
    """The file, in its order."""
    rows = tomllib.loads((HERE / "requirements.toml").read_text(encoding="utf-8"))["requirement"]
    return [
        Requirement(**{name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}) for row in rows
    ]


def page() -> str:
    rows = requirements()
    counts = Counter(row.status for row in rows for _ in (row.id, *row.alike))
    meanings = "".join(f"| {status} | {MEANINGS[status]} | {counts[status]} |\n" for status in STATUSES)
    return f"{HEAD}{meanings}{BEYOND}\n{''.join(_tables(rows))}"


def _tables(rows: list[Requirement]) -> Iterator[str]:
    yield "| id | level | asks | status | where | shown by |\n|---|---|---|---|---|---|\n"
    for row in rows:
        ids = "<br>".join((row.id, *row.alike))
        asks = row.asks + (f" (Binds {row.binds}.)" if row.binds else "")
        status = row.status + (f": {row.why}" if row.why else "")
        where = "<br>".join(f"`{module}`" for module in row.where) or "-"
        tests = "<br>".join(f"`{test}`" for test in row.tests) or "-"
        yield f"| {ids} | {row.level} | {asks} | {status} | {where} | {tests} |\n"


def partly() -> str:
    """Requirements of which only some is done, with what is missing, for the report of the conformance run."""
    missing = {each: row.why for row in requirements() if row.status == "partly" for each in (row.id, *row.alike)}
    return json.dumps(missing, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PARTLY.write_text(partly(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
