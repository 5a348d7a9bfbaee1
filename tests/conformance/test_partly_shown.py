"""A requirement of which the program does only some is called so in the report, whatever its cases say."""

from __future__ import annotations

from datetime import UTC, datetime

from mesh_itk3.simulator.conformance.evidence import Facts, document_of
from mesh_itk3.simulator.conformance.page import page
from mesh_itk3.simulator.conformance.run import Result
from mesh_itk3.simulator.conformance.table import CASES

FACTS = Facts(began_at=datetime(2025, 3, 11, 10, 0, tzinfo=UTC), seconds=1.0, daemon="mesh-itk3", samples=False)


def reported(requirement):
    results = [Result(case, "X26HC001", "pass") for case in CASES if requirement in case.requirements]
    assert results
    return document_of(results, FACTS)


def test_a_requirement_that_is_partly_done_is_called_partly_although_all_its_cases_passed():
    for requirement in ("RC-HS-01", "RC-HS-02", "GPCM-SD-040", "FHIR-V&V-01"):
        document = reported(requirement)
        assert document["passed"]
        assert document["partly"][requirement].endswith(".")
        assert f"{requirement.replace('&', '&amp;')} <b>partly</b>" in page(document)


def test_one_that_is_done_is_not():
    assert "FHIR-RR-01" not in reported("FHIR-RR-01")["partly"]
    assert "FHIR-RR-01 <b>partly" not in page(reported("FHIR-RR-01"))


def test_the_page_does_not_say_that_every_number_is_of_the_test_range():
    text = page(reported("RC-HS-01"))
    assert "all numbers belong" not in text
    assert "some with numbers outside it" in text
