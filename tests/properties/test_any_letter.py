"""Whatever is accepted can be dealt with: no letter, however odd, makes a shipped handler fail and be parked for it."""

from __future__ import annotations

import json
import tempfile
from datetime import date
from pathlib import Path

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mesh_itk3.handler import Accept, BusinessCode, Defer, Refuse, Respond
from mesh_itk3.itk3.envelope import Caps, read_message
from mesh_itk3.itk3.facts import Facts, Strictness
from mesh_itk3.itk3.response_codes import ELEMENTS
from mesh_itk3.itk3.verdict import judge
from mesh_itk3_handlers.discharge_letters import DischargeLetters
from mesh_itk3_handlers.filing import LetterSettings
from mesh_itk3_handlers.transfer_of_care import TransferOfCare
from properties.hostile import IN_THE_LETTER, altered, altered_json
from support.letters_builder import a_context, a_message

HANDLERS = (TransferOfCare, DischargeLetters)
letters = st.one_of(
    altered(inside=IN_THE_LETTER), altered(inside=IN_THE_LETTER), altered(inside=IN_THE_LETTER), altered_json(), altered()
)
handlers = st.sampled_from(HANDLERS)
lenient = Facts(strictness=Strictness.LENIENT)


def is_accepted(raw: bytes) -> bool:
    return judge(read_message(raw, Caps()), lenient).is_positive


@given(letters, handlers)
def test_every_message_that_can_be_accepted_can_be_examined(raw, kind):
    assume(is_accepted(raw))
    with tempfile.TemporaryDirectory() as directory:
        answer = kind(LetterSettings(output=Path(directory))).examine(a_message(raw))
        assert isinstance(answer, Accept | Refuse)
        if isinstance(answer, Refuse):
            assert not ELEMENTS[answer.code].is_positive
            assert answer.where.isascii()
        assert list(Path(directory).iterdir()) == []


@settings(max_examples=settings().max_examples // 2)
@given(letters, handlers, st.sampled_from([None, BusinessCode.PATIENT_KNOWN, BusinessCode.PATIENT_NOT_KNOWN]))
def test_every_letter_that_is_accepted_can_be_handled_and_filed(raw, kind, decision):
    assume(is_accepted(raw))
    with tempfile.TemporaryDirectory() as directory:
        handler = kind(LetterSettings(output=Path(directory)))
        message = a_message(raw)
        assume(isinstance(handler.examine(message), Accept))
        answer = handler.handle(message, a_context(decision=decision))
        assert isinstance(answer, Respond | Defer)
        for letter in Path(directory).glob("*/*"):
            check_letter(letter, raw)


def check_letter(letter: Path, raw: bytes) -> None:
    """The received bytes unchanged, metadata that can be read, and nothing outside of the letter's directory."""
    date.fromisoformat(letter.parent.name)
    assert b"".join(file.read_bytes() for file in letter.glob("message.*")) == raw
    assert json.loads((letter / "metadata.json").read_bytes())["mesh_message_id"]
    assert (letter / "letter.html").read_text(encoding="utf-8").startswith("<!")
