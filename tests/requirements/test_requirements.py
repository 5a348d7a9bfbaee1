"""The table of requirements cannot rot: what it names exists, can run, and is all that binds a receiver."""

from __future__ import annotations

import ast
import csv
import importlib.util
import os
from functools import cache
from pathlib import Path

import pytest

from mesh_itk3.simulator.conformance.table import CASES
from requirements.table import PAGE, PARTLY, ROOT, STATUSES, page, partly, requirements

TESTS = ROOT / "tests"
ROWS = {row.id: row for row in requirements()}
PUBLISHED = Path(os.environ["ITK3_EXAMPLES"]).parent / "spec" / "requirements.csv" if os.environ.get("ITK3_EXAMPLES") else None
# These skip where something that a machine may lack is missing: they may stand in a row, but not alone.
NOT_EVERYWHERE = {"examples", "postgres"}

# Every requirement that binds a receiver, from the texts that docs/conformance.md names.
RECEIVERS = set(
    """
FHIR-DOC-01 FHIR-DOC-02 FHIR-DOC-03 FHIR-DOC-04 FHIR-DOC-09 FHIR-V&V-01 FHIR-V&V-01/1
FHIR-RR-01 FHIR-RR-01/1 FHIR-RR-01/NB FHIR-RR-02 FHIR-RR-02/NB FHIR-RR-03 FHIR-RR-04
FHIR-RR-05 FHIR-RR-05/1 FHIR-RR-05/2 FHIR-RR-05/3 FHIR-HA-01 FHIR-HA-01/1 FHIR-HA-01/2 FHIR-BA-01 RC-HS-01 RC-HS-02
ITK3-UNNUMBERED-01 ITK3-UNNUMBERED-02 ITK3-UNNUMBERED-03 ITK3-UNNUMBERED-04 ITK3-UNNUMBERED-05 ITK3-UNNUMBERED-06
ITK3-UNNUMBERED-07 ITK3-UNNUMBERED-08
GPCM-C-01 GPCM-C-02 GPCM-SD-033 GPCM-SD-034 GPCM-SD-040 GPCM-SD-041 GPCM-SD-042
GPCM-SD-CS-054 GPCM-SD-CS-055 GPCM-SD-CS-056 GPCM-SD-CS-057 GPCM-SD-CS-058 GPCM-SD-CS-059 GPCM-SD-CS-062
GPCM-SD-OC-153 GPCM-SD-OC-154 GPCM-SD-OC-155 GPCM-SD-OC-156 GPCM-SD-OC-157 GPCM-SD-OC-158 GPCM-SD-OC-161
SD2-050..055 SD2-065/066 SD2-074 SD2-093/057 GP-GFR-18 GP-GFR-19
""".split()  # noqa: SIM905  one to a line would be sixty lines
)


def test_every_requirement_of_a_receiver_has_its_row_and_none_has_two():
    ids = [each for row in ROWS.values() for each in (row.id, *row.alike)]
    assert len(ids) == len(set(ids)) == sum(1 + len(row.alike) for row in requirements())
    assert {each for row in ROWS.values() if not row.binds for each in (row.id, *row.alike)} == RECEIVERS


def test_the_list_of_requirements_is_that_of_the_published_texts():
    if PUBLISHED is None or not PUBLISHED.is_file():
        pytest.skip("the list that was made of the published texts is not here (spec/requirements.csv beside ITK3_EXAMPLES)")
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert {each for each, row in rows.items() if row["receiver"] == "Y"} == RECEIVERS
    for row in ROWS.values():
        for each in (row.id, *row.alike):
            assert rows[each]["level"].upper().removesuffix(" CHECK") == row.level.upper(), each
            assert row.asks not in rows[each]["text"], f"{each}: say it in words of our own"


def test_the_page_is_what_the_file_says():
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make conformance-table`"


def test_the_conformance_report_calls_partly_what_the_file_calls_so():
    assert PARTLY.read_text(encoding="utf-8") == partly(), "run `make conformance-table`"


def test_no_conformance_case_shows_a_requirement_that_is_open_or_not_ours():
    claimed = {each for case in CASES for each in case.requirements}
    rows = {each: row for row in ROWS.values() for each in (row.id, *row.alike)}
    assert {rows[each].status for each in claimed} <= {"shown", "partly"}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_row_says_what_its_status_needs(row):
    assert row.status in STATUSES
    assert row.asks.endswith(".")
    if row.status in ("shown", "partly"):
        assert row.tests
        assert row.where
    if row.status != "shown":
        assert row.why, "say what is missing, or whose it is"
    if row.status == "open":
        assert not row.tests, "a test shows part of it: partly"


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_every_module_that_a_row_names_exists(row):
    for module in row.where:
        assert importlib.util.find_spec(module), module


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_every_test_that_a_row_names_exists_and_is_not_skipped(row):
    for test in row.tests:
        marks = marks_of(test)
        assert not marks & {"skip", "skipif", "xfail"}, test
    assert not row.tests or any(not marks_of(test) & NOT_EVERYWHERE for test in row.tests), (
        "no test of this row runs everywhere"
    )


def test_every_requirement_that_a_conformance_case_shows_has_its_row():
    known = {each for row in ROWS.values() for each in (row.id, *row.alike)}
    assert {each for case in CASES for each in case.requirements} <= known


def test_a_test_that_does_not_exist_or_checks_nothing_is_noticed(tmp_path):
    file = tmp_path / "test_it.py"
    file.write_text("import pytest\n@pytest.mark.skip\ndef test_a(): assert 1\ndef test_b(): pass\nclass T: pass\n")
    assert marks_in(file, "test_a") == {"skip"}
    with pytest.raises(AssertionError, match="no such test"):
        marks_in(file, "test_c")
    with pytest.raises(AssertionError, match="checks nothing"):
        marks_in(file, "test_b")


# --------------------------------------------------------------------------------------------- reading tests


def marks_of(test: str) -> set[str]:
    file, _, name = test.partition("::")
    return marks_in(TESTS / file, name)


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def marks_in(file: Path, name: str) -> set[str]:
    """The pytest marks of a test, its module's among them. It has to be there, and to check something."""
    module = tree(file)
    function = next((n for n in module.body if isinstance(n, ast.FunctionDef) and n.name == name), None)
    assert function is not None, f"no such test: {file.name}::{name}"
    checks = [n for n in ast.walk(function) if isinstance(n, ast.Assert | ast.With) or _is_a_check(n)]
    assert checks, f"checks nothing: {file.name}::{name}"
    shared = [n.value for n in module.body if isinstance(n, ast.Assign) and "pytestmark" in ast.unparse(n.targets[0])]
    return {found for node in (*function.decorator_list, *shared) for found in _marks(node)}


def _is_a_check(node: ast.AST) -> bool:
    """A helper of the tests that asserts for them."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.startswith(("assert_", "check_"))


def _marks(node: ast.expr) -> set[str]:
    return {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute) and ast.unparse(n.value) == "pytest.mark"}
