"""What of a patient no response may hold: known for every case that sends one, and found where it stands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mesh_itk3.simulator.conformance.case import Case, Message, Sample, Step, accepted, letter
from mesh_itk3.simulator.conformance.private import holds_any, private_words
from mesh_itk3.simulator.conformance.table import CASES
from mesh_itk3.simulator.patients import EDITH

PATIENT = b"""<Bundle xmlns="http://hl7.org/fhir"><entry><resource><Patient>
<identifier><value value="999 000 1018"/></identifier><identifier><value value="LOCAL-7"/></identifier>
<name><text value="Ms Mo Fothergill"/><family value="Fothergill"/><given value="Mo"/></name><birthDate value="1931-02-03"/>
<contact><name><family value="Neighbour"/></name></contact></Patient></resource></entry></Bundle>"""
SAMPLE = Case("sample", "A sample.", "samples", (Step(Message(Sample("folder/sample.xml"))),))


def test_of_a_letter_of_ours_they_are_those_of_its_patient():
    case = Case("ours", "Ours.", "standard", (accepted(letter()),))
    assert {EDITH.nhs_number, EDITH.family_name, EDITH.date_of_birth.isoformat()} <= set(private_words(case, []))


def test_of_a_sample_they_are_taken_from_its_patients():
    words = private_words(SAMPLE, [PATIENT])
    assert {"999 000 1018", "9990001018", "LOCAL-7", "Fothergill", "Mo", "1931-02-03"} <= set(words)
    assert not {"999", "000", "1018"} & set(words)


def test_of_a_sample_that_is_not_well_formed_they_are_taken_too():
    assert "Fothergill" in private_words(SAMPLE, [PATIENT.replace(b"</Bundle>", b"") + b"</Nothing>"])


@pytest.mark.parametrize("body", [b"", b"no XML", b"\x1f\x8b\x00", b"{}"])
def test_what_is_no_xml_gives_none_and_no_error(body):
    assert private_words(SAMPLE, [body]) == ()


@pytest.mark.parametrize("text", ["fothergill: Bundle", "x MO.", "born 1931-02-03", 'value="9990001018"', "prefothergillian"])
def test_a_word_is_found_in_any_capitals(text):
    assert holds_any(text, private_words(SAMPLE, [PATIENT]))


def test_a_short_word_counts_only_by_itself():
    assert not holds_any("moment, model, among", private_words(SAMPLE, [PATIENT]))


SAMPLES = [pytest.param(case, file, id=file) for case in CASES for file in case.sample_files if "esponse" not in file]


@pytest.mark.examples
@pytest.mark.skipif("ITK3_EXAMPLES" not in os.environ, reason="ITK3_EXAMPLES does not name the folder of public samples")
@pytest.mark.parametrize(("case", "file"), SAMPLES)
def test_every_official_sample_of_a_patient_has_words_to_look_for(case, file):
    words = private_words(case, [(Path(os.environ["ITK3_EXAMPLES"]) / file).read_bytes()])
    assert any(word.isdigit() for word in words)
    assert any(word.isalpha() for word in words)
