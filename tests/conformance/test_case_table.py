"""The table of conformance cases: complete, well-formed, reproducible."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from mesh_itk3.simulator.conformance import edits
from mesh_itk3.simulator.conformance.case import Letter, Message
from mesh_itk3.simulator.conformance.codes import CODES, INFRASTRUCTURE
from mesh_itk3.simulator.conformance.described import described, table_sha256
from mesh_itk3.simulator.conformance.judge import expected_answers
from mesh_itk3.simulator.conformance.setups import BY_NAME
from mesh_itk3.simulator.conformance.table import CASES, MAILBOX_IDS
from mesh_itk3.simulator.patients import EDITH

LETTERS = [
    pytest.param(case, step.action.content, id=f"{case.name}-{number}")
    for case in CASES
    for number, step in enumerate(case.steps)
    if isinstance(step.action, Message) and isinstance(step.action.content, Letter)
]


def test_there_are_at_least_eighty_cases_and_each_has_its_own_name():
    names = [case.name for case in CASES]
    assert len(names) >= 80
    assert len(set(map(str.lower, names))) == len(names)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_name_can_be_typed_and_used_as_a_directory(case):
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,99}", case.name)
    assert case.setup in BY_NAME
    assert case.shows.endswith(".")


def test_every_infrastructure_code_is_shown_but_20014_which_no_shipped_handler_gives():
    shown = {answer.code for case in CASES for _, answer in expected_answers(case)}
    assert set(INFRASTRUCTURE) - shown == {"20014"}


def test_every_business_code_of_a_document_is_shown():
    shown = {answer.code for case in CASES for _, answer in expected_answers(case)}
    assert {code for code in CODES if code.startswith("3")} <= shown


@pytest.mark.parametrize(("case", "content"), LETTERS)
def test_a_message_is_the_same_bytes_every_time(case, content):
    """No edit finds nothing to change: it would raise."""
    mailbox_id = MAILBOX_IDS[case.name]
    assert content.body(case.name, mailbox_id) == content.body(case.name, mailbox_id)


def identifiers_of(body):
    """What stands behind an identifier system of NHS numbers, in XML or JSON, whatever the prefix."""
    return b" ".join(re.findall(rb'nhs-number".{1,40}?value"?[=:]"([^"]*)', body, re.IGNORECASE | re.DOTALL))


def test_nhs_numbers_are_looked_for_where_they_are():
    assert identifiers_of(Letter().body("x", "X26HC001")) == EDITH.nhs_number.encode()
    assert identifiers_of(Letter(changes={"form": "json"}).body("x", "X26HC001")) == EDITH.nhs_number.encode()


@pytest.mark.parametrize(("case", "content"), LETTERS)
def test_every_patient_is_invented(case, content):
    body = content.body(case.name, MAILBOX_IDS[case.name])
    assert set(re.findall(rb"(?<!\d)(\d{3})\d{7}(?!\d)", identifiers_of(body))) <= {b"999"}


def test_the_digest_of_the_table_is_reproducible_and_changes_with_any_case():
    assert table_sha256() == table_sha256()
    first = CASES[0]
    for changed in (
        replace(first, shows="Another thing."),
        replace(first, requirements=()),
        replace(first, setup="strict"),
        replace(first, steps=(replace(first.steps[0], answers=()),)),
        replace(first, steps=(replace(first.steps[0], action=Message(Letter(edits=(edits.prefixed,)))),)),
    ):
        assert table_sha256([changed]) != table_sha256([first])


def test_the_three_levels_of_strictness_get_the_same_bytes():
    by_name = {case.name: described(case)["steps"][0]["action"]["sha256"] for case in CASES if case.group == "Strictness"}
    stems = {name.rpartition("-")[0] for name in by_name}
    assert len(by_name) == 3 * len(stems)
    for stem in stems:
        assert len({by_name[f"{stem}-{level}"] for level in ("strict", "standard", "lenient")}) == 1


def test_an_edit_that_finds_nothing_to_change_is_an_error():
    with pytest.raises(ValueError, match="nothing to change"):
        edits.swap("<Nowhere>", "<Somewhere>")(b"<Bundle/>")


def test_a_description_names_what_is_sent_by_its_digest():
    case = next(case for case in CASES if case.name == "duplicate-message")
    first, second = described(case)["steps"]
    assert first["action"]["sha256"] == second["action"]["sha256"]
    assert [answer["code"] for answer in second["answers"]] == ["20007"]
