"""The standard's tables: workflows, message definitions, and what is owed."""

from __future__ import annotations

import pytest

from mesh_itk3.itk3.message_definitions import BASE, DEFINITIONS, cited
from mesh_itk3.itk3.owed import is_business_response_owed, is_infrastructure_response_owed
from mesh_itk3.itk3.response_codes import InfrastructureCode
from mesh_itk3.itk3.verdict import Verdict, refuse
from mesh_itk3.itk3.workflows import Workflow, WorkflowTable
from mesh_itk3.workflow_table import shipped

PAYLOADS = {
    "TOC_FHIR_IP_DISCH": "ITK003D",
    "TOC_FHIR_MH_DISCH": "ITK004D",
    "TOC_FHIR_EC_DISCH": "ITK005D",
    "TOC_FHIR_OP_ATTEN": "ITK006D",
    "GPFED_CONSULT_REPORT": "ITK007C",
    "GPCONNECT_SEND_DOCUMENT": "ITK007C",
    "DF_ONLINE_CONSULTATION": "ITK007C",
    "GPCONNECT_UPDATE_RECORD": "ITK014M",
    "DIGMED_FLU_VAC": "ITK009D",
    "DIGIMED_FLU_VAC": "ITK009D",
    "DIGMED_EMG_MED": "ITK010D",
    "DIGMED_MINOR_ILLNESS_PEM": "ITK013D",
    "DIGIMED_MINOR_ILLNESS_PEM": "ITK013D",
    "TOC_DISCH_DMS": None,
    "TOC_AE_DMS": None,
    "TOC_OUTP_ATT_DMS": None,
    "TOC_DISCH_MH_DMS": None,
}
NEVER_ANSWERED = {
    "BIRTHNOTIFICATION_1": "pds-birth-notification-1",
    "CHANGEOFADDRESS_1": "pds-change-of-address-1",
    "CHANGEOFGP_1": "pds-change-of-gp-1",
    "DEATHNOTIFICATION_1": "pds-death-notification-1",
    "BLOODSPOTTESTOUTCOME_1": "blood-spot-test-outcome-1",
    "NEWBORNHEARING_1": "newborn-hearing-1",
    "NIPEOUTCOME_1": "nipe-outcome-1",
    "PROFESSIONALCONTACTS_1": None,
    "VACCINATIONS_1": None,
}


@pytest.mark.parametrize("workflow_id", PAYLOADS)
def test_a_payload_workflow_is_answered_on_its_own_response_workflow(workflow_id):
    row = shipped().get(workflow_id)
    assert (row.ack_workflow_id, row.event_code) == (f"{workflow_id}_ACK", PAYLOADS[workflow_id])
    assert not shipped().is_response_workflow(workflow_id)


@pytest.mark.parametrize("workflow_id", PAYLOADS)
def test_a_reply_to_a_response_stays_on_its_workflow(workflow_id):
    response = shipped().get(f"{workflow_id}_ACK")
    assert response.ack_workflow_id == response.workflow_id
    assert shipped().is_response_workflow(response.workflow_id)


@pytest.mark.parametrize("workflow_id", NEVER_ANSWERED)
def test_national_events_are_never_answered(workflow_id):
    row = shipped().get(workflow_id)
    assert (row.ack_workflow_id, row.event_code) == (None, NEVER_ANSWERED[workflow_id])


def test_the_table_is_whole():
    assert {row.workflow_id for row in shipped().rows} == {
        *PAYLOADS, *(f"{workflow_id}_ACK" for workflow_id in PAYLOADS), *NEVER_ANSWERED,
    }  # fmt: skip
    assert all(row.source and row.payload for row in shipped().rows)


def test_an_unknown_workflow_has_no_row():
    assert shipped().get("") is None
    assert shipped().get("WHATEVER") is None
    assert not shipped().is_response_workflow("WHATEVER_ACK")


def test_a_response_workflow_need_not_end_in_ack():
    table = WorkflowTable((Workflow("A", "B", None, "a letter", "here"),))
    assert table.is_response_workflow("B")


# --------------------------------------------------------------------------------------------- message definitions

CITED = {
    # reference: known, version known, -Instance- form
    "ITK-eDischarge-MessageDefinition-4": (True, True, False),
    "ITK-eDischarge-MessageDefinition-3": (True, False, False),
    "ITK-eDischarge-MessageDefinition-Instance-1": (True, True, True),
    "ITK-EDIS-MessageDefinition-1": (True, True, False),
    "ITK-EDIS-MessageDefinition-2": (True, False, False),
    "ITK-SendTask-MessageDefinition-Instance-1": (True, True, True),
    "ITK-DM-CPCS-MessageDefinition-1": (True, True, False),
    "ITK-Wibble-MessageDefinition-Instance-1": (False, False, False),
    "ITK-Wibble-MessageDefinition-1": (False, False, False),
    "ITK-eDischarge-MessageDefinition": (False, False, False),
    "ITK-eDischarge-MessageDefinition-four": (False, False, False),
    "": (False, False, False),
}


@pytest.mark.parametrize("name", CITED)
def test_a_cited_definition_is_looked_up(name):
    found = cited(BASE + name)
    assert (found.is_known, found.is_version_known, found.has_instance_form) == CITED[name]


@pytest.mark.parametrize("reference", ["https://fhir.nhs.uk/MessageDefinition", "", "ITK-eDischarge-MessageDefinition-4"])
def test_only_full_urls_are_known(reference):
    assert not cited(reference).is_known


THEIRS = frozenset(
    {
        "https://fhir.nhs.uk/MessageDefinition",
        "https://example.org/fhir/Our-MessageDefinition-2",
        f"{BASE}ITK-OPL-MessageDefinition-7",
    }
)
CITED_WITH_THEIRS = {
    "https://fhir.nhs.uk/MessageDefinition": (True, True, False),
    "https://fhir.nhs.uk/MessageDefinition/": (False, False, False),
    "https://example.org/fhir/Our-MessageDefinition-2": (True, True, False),
    "https://example.org/fhir/OUR-MessageDefinition-2": (True, True, False),
    "https://example.org/fhir/Our-MessageDefinition-3": (True, False, False),
    "https://example.org/fhir/Our-MessageDefinition-Instance-1": (True, True, True),
    "https://example.org/other/Our-MessageDefinition-2": (False, False, False),
    f"{BASE}Our-MessageDefinition-2": (False, False, False),
    f"{BASE}ITK-OPL-MessageDefinition-7": (True, True, False),
    f"{BASE}ITK-OPL-MessageDefinition-4": (True, True, False),
    f"{BASE}ITK-OPL-MessageDefinition-5": (True, False, False),
    f"{BASE}ITK-eDischarge-MessageDefinition-4": (True, True, False),
}


@pytest.mark.parametrize("reference", CITED_WITH_THEIRS)
def test_a_definition_that_a_handler_declares_is_known_like_one_of_the_table(reference):
    found = cited(reference, THEIRS)
    assert (found.is_known, found.is_version_known, found.has_instance_form) == CITED_WITH_THEIRS[reference]


def test_a_definition_that_a_handler_declares_is_of_no_other_payload():
    assert cited(f"{BASE}ITK-OPL-MessageDefinition-4").is_of_another_payload("ITK014M")
    for reference in (f"{BASE}ITK-OPL-MessageDefinition-7", f"{BASE}ITK-OPL-MessageDefinition-4"):
        assert not cited(reference, THEIRS).is_of_another_payload("ITK014M")


@pytest.mark.parametrize("row", DEFINITIONS, ids=lambda row: row.name)
def test_every_known_definition_is_found_in_its_own_version(row):
    (version,) = row.versions
    found = cited(f"{BASE}{row.name}-MessageDefinition-{version}")
    assert found.is_version_known
    assert found.event_codes == row.event_codes
    assert row.source


# --------------------------------------------------------------------------------------------- what is owed

POSITIVE = Verdict(InfrastructureCode.SUCCESS, "accepted", "Bundle", "informational")
NEGATIVE = refuse(InfrastructureCode.UNREADABLE_MESSAGE, "Bundle", None, "doctype")


@pytest.mark.parametrize("verdict", [POSITIVE, NEGATIVE], ids=["20013", "10009"])
@pytest.mark.parametrize(("inf_ack", "is_owed"), [(True, True), (False, False), (None, True)])
def test_an_infrastructure_response_is_owed_unless_a_readable_flag_says_no(verdict, inf_ack, is_owed):
    assert is_infrastructure_response_owed(verdict, inf_ack) is is_owed


@pytest.mark.parametrize(("bus_ack", "is_owed"), [(True, True), (False, False), (None, True)])
def test_a_business_response_is_owed_unless_a_readable_flag_says_no(bus_ack, is_owed):
    assert is_business_response_owed(bus_ack) is is_owed
