"""What the demo says of each message, and that it fits the terminal."""

from datetime import UTC, datetime

import pytest
from rich.console import Console

from mesh_itk3.simulator.correspondence import Answers, Received, Sent
from mesh_itk3.simulator.demo_cast import Expected, Part, Progress, differences, parts
from mesh_itk3.simulator.demo_view import final_table, live_table
from mesh_itk3.simulator.response_reader import Response

SENT = Sent("mesh-1", "local-1", "TOC_FHIR_IP_DISCH", "X26ABC2", "m-1", 3, 1, "now")
LETTER = "2025-03-11/0f3b7c1e-9d51-5c0a-b6b5-3f0f6c6d7e88"


def a_response(code, display="A display (with brackets)"):
    said = dict.fromkeys(Response.__dataclass_fields__) | {"code": code, "display": display}
    return Received("r", "W_ACK", None, None, "now", response=Response(**said))


def progress(*codes, letter=None, **expected):
    answers = Answers()
    for code in codes:
        answers = answers.and_also(a_response(code))
    part = Part("Inpatient discharge", "ITK003D", b"...", Expected(**({"infrastructure": "20013"} | expected)))
    return Progress(part, SENT, answers, letter)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (progress("20013"), []),
        (progress("20013", "30001", business="30001", is_filed=True, letter=LETTER), []),
        (progress(), ["infrastructure: nothing, expected 20013"]),
        (progress("10009"), ["infrastructure: 10009, expected 20013"]),
        (progress("20013", "30001"), ["business: 30001, expected nothing"]),
        (progress("20013", business="30001"), ["business: nothing, expected 30001"]),
        (progress("20013", is_filed=True), ["not filed"]),
        (progress("20013", letter=LETTER), ["filed, expected nothing"]),
        (progress("20013", "20013"), ["1 answers too many"]),
    ],
)
def test_every_difference_is_named(made, said):
    assert differences(made) == said


def test_a_message_is_settled_when_all_has_come_right_or_wrong():
    assert progress("10009").is_settled
    assert not progress("20013", business="30001").is_settled
    assert not progress("20013", "30001", business="30001", is_filed=True).is_settled


def text_of(table, width):
    console = Console(width=width, record=True, force_terminal=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


@pytest.mark.parametrize("width", [80, 100, 131, 132, 160, 200])
def test_the_final_table_shows_codes_and_whole_paths_at_every_width(width):
    made = [
        progress("20013", "30001", business="30001", is_filed=True, letter=LETTER),
        progress("10009"),
    ]
    text = text_of(final_table(made, width), width)
    assert max(len(line) for line in text.splitlines()) <= width
    for said in ("20013", "30001", LETTER, "✓", "✗", "infrastructure: 10009, expected 20013"):
        assert said in text
    assert "brackets" not in text


def test_a_terminal_without_tick_marks_gets_words():
    text = text_of(final_table([progress("20013"), progress("10009")], 80, encoding="ascii"), 80)
    assert "ok" in text
    assert "NO" in text
    assert "✓" not in text


def test_the_live_table_has_one_line_for_each_message_in_80_columns():
    mix = [Progress(part) for part in parts(datetime(2025, 3, 11, tzinfo=UTC), "seed")]
    assert len(text_of(live_table(mix), 80).splitlines()) == len(mix) + 1


def test_the_mix_has_everything_that_a_practice_meets():
    mix = parts(datetime(2025, 3, 11, tzinfo=UTC), "seed")
    kinds = {part.kind for part in mix}
    assert {"ITK003D", "ITK004D", "ITK005D", "ITK006D", "ITK007C", "ITK009D"} <= kinds
    expected = {(part.expected.infrastructure, part.expected.business) for part in mix}
    assert {("20013", code) for code in ("30001", "30002", "30003", "30004")} <= expected
    assert {("10009", None), ("10001", None), ("20007", None)} <= expected
    assert any(part.decision for part in mix)
    assert any(part.chunk_bytes and len(part.body) > 3 * part.chunk_bytes for part in mix)
