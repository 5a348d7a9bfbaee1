"""The MESH workflows of ITK3 payloads and where their responses go: a table, never a suffix put on a string. PURE.

Sources are in the rows. `_HARNESS` is the cross-reference of nhsdigitalmait/FHIR_MESH. The guides contradict one another
on the spelling of DIGMED_… and DIGIMED_…: both stand here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final


@dataclass(frozen=True, slots=True)
class Workflow:
    """One row."""

    workflow_id: str
    """Empty where none has been published."""
    ack_workflow_id: str | None
    """Where responses to it go; None: it is never answered, or no such workflow has been published."""
    event_code: str | None
    payload: str
    source: str


@dataclass(frozen=True)
class WorkflowTable:
    """Rows by workflow id."""

    rows: tuple[Workflow, ...]

    @cached_property
    def _by_id(self) -> dict[str, Workflow]:
        return {row.workflow_id: row for row in self.rows if row.workflow_id}

    @cached_property
    def _response_workflows(self) -> frozenset[str]:
        return frozenset(row.ack_workflow_id for row in self.rows if row.ack_workflow_id)

    def get(self, workflow_id: str) -> Workflow | None:
        return self._by_id.get(workflow_id)

    def is_response_workflow(self, workflow_id: str) -> bool:
        """Whether responses come on it: every value of the column ack_workflow_id."""
        return workflow_id in self._response_workflows


_HARNESS: Final = "NHS test-harness cross-reference"
_DIGITAL_MEDICINES: Final = "ITK-FHIR-Digital-Medicines repository"
_NOT_PUBLISHED: Final = "not published: no workflow id found"
_INFERRED: Final = "inferred: the harness keeps a reply to a response on the same workflow"


def _never_answered(workflow_id: str, event_code: str | None, payload: str, source: str) -> Workflow:
    # Their messages have no handling specification, and their rows in the source say NONE.
    return Workflow(workflow_id, None, event_code, payload, source)


def _response(workflow_id: str, event_code: str | None, source: str) -> Workflow:
    # In full acknowledgement the reply to a response stays on the response's own workflow.
    return Workflow(workflow_id, workflow_id, event_code, "Response", source)


_ROWS: Final = (
    Workflow(
        "TOC_FHIR_IP_DISCH",
        "TOC_FHIR_IP_DISCH_ACK",
        "ITK003D",
        "Inpatient / day case eDischarge (document)",
        f"{_HARNESS}; digital.nhs.uk",
    ),
    Workflow(
        "TOC_FHIR_MH_DISCH",
        "TOC_FHIR_MH_DISCH_ACK",
        "ITK004D",
        "Mental Health eDischarge (document)",
        f"{_HARNESS}; digital.nhs.uk",
    ),
    Workflow(
        "TOC_FHIR_EC_DISCH",
        "TOC_FHIR_EC_DISCH_ACK",
        "ITK005D",
        "Emergency Care eDischarge (document)",
        f"{_HARNESS}; digital.nhs.uk",
    ),
    Workflow("TOC_FHIR_OP_ATTEN", "TOC_FHIR_OP_ATTEN_ACK", "ITK006D", "Outpatient Letter (document)", _HARNESS),
    Workflow(
        "GPFED_CONSULT_REPORT",
        "GPFED_CONSULT_REPORT_ACK",
        "ITK007C",
        "GP Connect Send Document v1, federated consultation report, online consultation 1.x",
        f"GP Connect Messaging 1.6.0; {_HARNESS}",
    ),
    Workflow(
        "GPCONNECT_SEND_DOCUMENT",
        "GPCONNECT_SEND_DOCUMENT_ACK",
        "ITK007C",
        "GP Connect Send Document v2",
        "GP Connect guide 2.x; absent from the NHS test harness",
    ),
    Workflow(
        "DF_ONLINE_CONSULTATION",
        "DF_ONLINE_CONSULTATION_ACK",
        "ITK007C",
        "Online consultation (draft guide)",
        "GP Connect, draft guide only",
    ),
    Workflow(
        "GPCONNECT_UPDATE_RECORD",
        "GPCONNECT_UPDATE_RECORD_ACK",
        "ITK014M",
        "GP Connect Update Record / Pharmacy First",
        f"GP Connect guide; {_HARNESS}",
    ),
    Workflow(
        "DIGMED_FLU_VAC",
        "DIGMED_FLU_VAC_ACK",
        "ITK009D",
        "Digital Medicines vaccination (document)",
        f"{_DIGITAL_MEDICINES}; digital.nhs.uk; {_HARNESS}",
    ),
    Workflow(
        "DIGMED_EMG_MED",
        "DIGMED_EMG_MED_ACK",
        "ITK010D",
        "Digital Medicines emergency supply (document)",
        f"{_DIGITAL_MEDICINES}; {_HARNESS}",
    ),
    Workflow(
        "DIGMED_MINOR_ILLNESS_PEM",
        "DIGMED_MINOR_ILLNESS_PEM_ACK",
        "ITK013D",
        "Digital Medicines minor illness (document; retired 2023-06)",
        _DIGITAL_MEDICINES,
    ),
    Workflow(
        "DIGIMED_MINOR_ILLNESS_PEM",
        "DIGIMED_MINOR_ILLNESS_PEM_ACK",
        "ITK013D",
        "Digital Medicines minor illness, alternative spelling",
        f"{_HARNESS}, against the spelling of the {_DIGITAL_MEDICINES}",
    ),
    Workflow("", None, "ITK012M", "National Pathology", _NOT_PUBLISHED),
    Workflow("", None, "ITK011M", "Events Management Service", _NOT_PUBLISHED),
    Workflow("TOC_DISCH_DMS", "TOC_DISCH_DMS_ACK", None, "Legacy ITK2 / CDA or Kettering XML discharge", _HARNESS),
    Workflow("TOC_AE_DMS", "TOC_AE_DMS_ACK", None, "Legacy ITK2 / CDA or Kettering XML emergency department", _HARNESS),
    Workflow("TOC_OUTP_ATT_DMS", "TOC_OUTP_ATT_DMS_ACK", None, "Legacy ITK2 / CDA or Kettering XML outpatient", _HARNESS),
    Workflow(
        "TOC_DISCH_MH_DMS", "TOC_DISCH_MH_DMS_ACK", None, "Legacy ITK2 / CDA or Kettering XML mental health discharge", _HARNESS
    ),
    _never_answered("BIRTHNOTIFICATION_1", "pds-birth-notification-1", "NEMS birth notification", _HARNESS),
    _never_answered("CHANGEOFADDRESS_1", "pds-change-of-address-1", "NEMS change of address", _HARNESS),
    _never_answered("CHANGEOFGP_1", "pds-change-of-gp-1", "NEMS change of GP", _HARNESS),
    _never_answered("DEATHNOTIFICATION_1", "pds-death-notification-1", "NEMS death notification", _HARNESS),
    _never_answered("BLOODSPOTTESTOUTCOME_1", "blood-spot-test-outcome-1", "NEMS child health blood spot", _HARNESS),
    _never_answered("NEWBORNHEARING_1", "newborn-hearing-1", "NEMS child health newborn hearing", _HARNESS),
    _never_answered("NIPEOUTCOME_1", "nipe-outcome-1", "NEMS child health NIPE outcome", _HARNESS),
    _never_answered(
        "PROFESSIONALCONTACTS_1", None, "NEMS professional contacts", f"{_HARNESS}, older FHIR_ITK3 configuration only"
    ),
    _never_answered("VACCINATIONS_1", None, "NEMS vaccinations", f"{_HARNESS}, older FHIR_ITK3 configuration only"),
    _response("TOC_FHIR_IP_DISCH_ACK", "ITK008M", _HARNESS),
    _response("TOC_FHIR_MH_DISCH_ACK", "ITK008M", _HARNESS),
    _response("TOC_FHIR_EC_DISCH_ACK", "ITK008M", _HARNESS),
    _response("TOC_FHIR_OP_ATTEN_ACK", "ITK008M", _HARNESS),
    _response("GPFED_CONSULT_REPORT_ACK", "ITK008M", _HARNESS),
    _response("GPCONNECT_UPDATE_RECORD_ACK", "ITK008M", _HARNESS),
    _response("DIGMED_FLU_VAC_ACK", "ITK008M", _HARNESS),
    _response("DIGMED_EMG_MED_ACK", "ITK008M", _HARNESS),
    _response("TOC_DISCH_DMS_ACK", None, _HARNESS),
    _response("TOC_AE_DMS_ACK", None, _HARNESS),
    _response("TOC_OUTP_ATT_DMS_ACK", None, _HARNESS),
    _response("TOC_DISCH_MH_DMS_ACK", None, _HARNESS),
    Workflow(
        "DIGIMED_FLU_VAC",
        "DIGIMED_FLU_VAC_ACK",
        "ITK009D",
        "Digital Medicines vaccination, alternative spelling",
        f"Simplifier guide, against {_DIGITAL_MEDICINES} and {_HARNESS}",
    ),
    _response("DF_ONLINE_CONSULTATION_ACK", "ITK008M", _INFERRED),
    _response("DIGIMED_MINOR_ILLNESS_PEM_ACK", "ITK008M", _INFERRED),
    _response("DIGMED_MINOR_ILLNESS_PEM_ACK", "ITK008M", _INFERRED),
    _response("GPCONNECT_SEND_DOCUMENT_ACK", "ITK008M", _INFERRED),
    _response("DIGIMED_FLU_VAC_ACK", "ITK008M", _INFERRED),
)

SHIPPED: Final = WorkflowTable(_ROWS)
