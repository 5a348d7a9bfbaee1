"""Every response that can be written, by a checker that shares no code with what writes it."""

from __future__ import annotations

import ast
import itertools
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from mesh_itk3.itk3.response_bundle import ResponseIds, write_response
from mesh_itk3.itk3.response_codes import BusinessCode, InfrastructureCode
from profiles import responses
from profiles.response_table import RESPONSE_CODES

CODES = [*InfrastructureCode, *BusinessCode]
IDS = ResponseIds(*(f"0a0a0a0a-0000-4000-8000-00000000000{n}" for n in range(1, 6)))
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ORIGINAL = "0b0e2b0e-6d6e-4a55-8f0e-0a1b2c3d4e01"

ECHOED = {
    "none": None,
    "their word for none": "NULL",
    "a reference": "W-2026/17",
    "markup": '<a b="c">&amp;</a>',
    "line ends": "a\tb\r\nc",
    "255": "\u00e9" * 255,
    "256": "x" * 256,
    "blanks only": "   ",
}
ANSWERED = {"a uuid": ORIGINAL, "capitals": ORIGINAL.upper(), "unreadable": None, "no id": "a b"}
DIAGNOSTICS = {"none": None, "a path": "not_found: Composition.subject", "too long": "x" * 5000, "controls": "\x00\n"}


def a_response(**changes) -> bytes:
    parts = {
        "code": InfrastructureCode.SUCCESS,
        "issue_code": None,
        "diagnostics": None,
        "ids": IDS,
        "now": NOW,
        "mailbox_id": "X26ABC2",
        "ods_code": "A81001",
        "answers": ORIGINAL,
        "sender_reference": None,
    }
    return write_response(**{**parts, **changes})


def test_the_checkers_own_table_has_every_code_that_can_be_written():
    assert {code.value for code in CODES} == set(RESPONSE_CODES)
    assert len(RESPONSE_CODES) == 49


@pytest.mark.parametrize("echoed", ECHOED)
@pytest.mark.parametrize("code", CODES, ids=lambda code: code.value)
def test_every_code_with_every_kind_of_echo_keeps_the_profiles(code, echoed):
    asking = (False, True) if isinstance(code, BusinessCode) else (False,)
    for (answers, diagnostics), asks in itertools.product(zip(ANSWERED.values(), DIAGNOSTICS.values(), strict=True), asking):
        raw = a_response(
            code=code,
            answers=answers,
            sender_reference=ECHOED[echoed],
            diagnostics=diagnostics,
            asks_infrastructure_response=asks,
        )
        assert responses.findings(raw) == []


def test_a_reference_without_a_word_character_is_echoed_although_the_test_harness_would_not_take_it():
    """GPCM-SD-CS-056 (the value of the original) goes before GP-GFR-18 (a word character): the sender chose it."""
    assert [str(found) for found in responses.findings(a_response(sender_reference="--"))] == [
        "no_word_character: SenderReference"
    ]


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.value)
def test_whatever_issue_code_is_asked_for_the_response_carries_one_of_its_own(code):
    for issue_code in {*(each for row in RESPONSE_CODES.values() for each in row.issue_codes), "fatal", ""}:
        assert responses.findings(a_response(code=code, issue_code=issue_code)) == []


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=14)), timezone(-timedelta(hours=11, minutes=30))], ids=str)
@pytest.mark.parametrize("now", ["2026-02-28T23:59:59.999999", "2024-02-29T00:00:00", "9998-12-31T12:00:00"])
def test_every_time_keeps_the_profiles(now, zone):
    assert responses.findings(a_response(now=datetime.fromisoformat(now).replace(tzinfo=zone))) == []


def test_the_checker_shares_no_code_with_what_it_checks():
    for file in Path(__file__).parent.glob("*.py"):
        if not file.name.startswith("test_"):
            tree = ast.parse(file.read_text())
            imported = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
            imported += [alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names]
            assert not [name for name in imported if name.startswith("mesh_itk3")], file.name
