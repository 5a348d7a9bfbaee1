"""docs/capability-statement.xml says what this daemon takes and sends, no more and no less."""

from __future__ import annotations

import pytest
from fhir.resources.STU3.capabilitystatement import CapabilityStatement

from mesh_itk3 import __version__
from mesh_itk3.itk3.message_definitions import BASE, cited
from mesh_itk3_handlers.discharge_letters import DischargeLetters
from mesh_itk3_handlers.transfer_of_care import TransferOfCare
from requirements.table import ROOT

FILE = ROOT / "docs" / "capability-statement.xml"


@pytest.fixture(scope="module")
def statement() -> CapabilityStatement:
    return CapabilityStatement.model_validate_xml(FILE.read_bytes())


def definitions(statement: CapabilityStatement, mode: str) -> set[str]:
    [messaging] = statement.messaging
    return {each.definition.reference for each in messaging.supportedMessage if each.mode == mode}


def test_it_is_a_valid_stu3_resource(statement):
    assert (statement.fhirVersion, statement.kind, statement.software.version) == ("3.0.1", "capability", __version__)


def test_it_names_every_event_that_a_shipped_handler_takes_and_the_response(statement):
    taken = TransferOfCare.declaration.event_codes | DischargeLetters.declaration.event_codes
    named = {event for definition in definitions(statement, "receiver") for event in cited(definition).event_codes}
    assert named == taken | {"ITK008M"}
    assert definitions(statement, "sender") == {f"{BASE}ITK-Response-MessageDefinition-1"}


def test_it_names_only_definitions_that_are_accepted_in_that_version(statement):
    for definition in definitions(statement, "receiver"):
        assert cited(definition).is_version_known, definition
