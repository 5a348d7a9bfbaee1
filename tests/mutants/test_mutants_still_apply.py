"""`make mutants` takes minutes; that its table is not stale costs nothing and is looked at in every run."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from mutants.planting import Mutant, all_mutants

ROOT = Path(__file__).resolve().parents[2]
MUTANTS = all_mutants()


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_a_mutant_changes_what_stands_there_once_and_still_compiles(mutant):
    source = (ROOT / mutant.file).read_text("utf-8")
    planted = mutant.planted(source)
    assert ast.dump(ast.parse(planted)) != ast.dump(ast.parse(source))


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_the_tests_that_a_mutant_names_are_there(mutant):
    assert mutant.tests
    for test in mutant.tests:
        file, _, name = test.partition("::")
        functions = [node.name for node in ast.walk(ast.parse((ROOT / file).read_text("utf-8"))) if hasattr(node, "name")]
        assert name in functions, f"{test} is gone"


def test_a_mutant_whose_text_is_gone_is_an_error():
    with pytest.raises(ValueError, match="stands 0 times"):
        Mutant("gone", "file", (("no such text", "other"),), ("tests",)).planted("source")
    with pytest.raises(ValueError, match="stands 2 times"):
        Mutant("twice", "file", (("a", "b"),), ("tests",)).planted("aa")
