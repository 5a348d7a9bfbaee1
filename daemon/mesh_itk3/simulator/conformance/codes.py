"""What a hospital knows about response codes and response workflows, written out from the published tables. Pure.

It shares nothing with the daemon's own tables on purpose, so that it can say when the daemon writes something wrong.
Sources: CodeSystem ITK-ResponseCodes-1 v1.5.0 (displays, verbatim) and the response-code mapping page of ITK3 Messaging
Distribution 2.10.0; workflow ids from the payload guides and the cross-reference of the NHS test harness.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Published:
    """One response code as it is published."""

    display: str
    response_code: str
    severity: str
    issue_codes: tuple[str, ...]

    @property
    def is_positive(self) -> bool:
        return self.response_code == "ok"


def _fatal(display: str, *issue_codes: str) -> Published:
    return Published(display, "fatal-error", "fatal", issue_codes or ("processing",))


def _ok(display: str) -> Published:
    return Published(display, "ok", "information", ("informational",))


CODES: Final[Mapping[str, Published]] = {
    "10001": _fatal("Handling Specification Error"),
    "10002": _fatal("Infrastructure Level Response Value - Processing Error"),
    "10003": _fatal("Business Level Response Value - Processing Error"),
    "10004": _fatal("Message Definition Value - Processing Error"),
    "10005": _fatal("Message Definition Version Value - Processing Error"),
    "10007": _fatal("Sender Reference Value - Processing Error"),
    "10008": _fatal("Handling Specification Business Rule Error"),
    "10009": _fatal("Unreadable message received"),
    "10010": _fatal("Recipient Type - Processing Error"),
    "20001": _fatal("Unrecognised Recipient Person", "not-found"),
    "20002": _fatal("Unrecognised Recipient Organisation", "not-found"),
    "20003": _fatal("Unrecognised Sender", "not-found"),
    "20004": _fatal("Non-Approved file type received as an attachment", "security"),
    "20005": _fatal("Unsupported file type received as an attachment", "security"),
    "20006": _fatal(
        "ITK header validation failure", "invalid", "structure", "required", "value", "processing", "code-invalid", "extension"
    ),
    "20007": _fatal("Duplicate Message received", "duplicate"),
    "20008": _fatal("Duplicate Document received", "duplicate"),
    "20009": _fatal(
        "Payload validation failure",
        "invalid",
        "structure",
        "required",
        "value",
        "invariant",
        "processing",
        "not-supported",
        "code-invalid",
        "extension",
        "business-rule",
    ),
    "20010": _fatal("Unrecognised Payload Recipient Organisation", "not-found"),
    "20011": _fatal("Unrecognised Payload Recipient Person", "not-found"),
    "20012": _fatal("Unauthorised Sender", "security"),
    "20013": _ok("Success"),
    "20014": _fatal("Unable to Process Replacement Document"),
    "20015": _fatal("Message too large"),
    "30001": _ok("Patient known here. (e.g. Patient is registered here)"),
    "30002": _fatal("Patient not known here. (aka 'patient record not present in system')", "not-found"),
    "30003": _fatal("Patient no longer at this clinical setting", "business-rule"),
    "30004": _ok(
        "Patient known here and recently deceased (i.e. patient record current in GP practice system at time of patient’s death and deduction subsequently occurred for this reason)"
    ),
}
"""All infrastructure codes, and the business codes that a document can be answered with."""

INFRASTRUCTURE: Final = tuple(code for code in CODES if not code.startswith("3"))

RESPONSE_WORKFLOWS: Final[Mapping[str, str]] = {
    "TOC_FHIR_IP_DISCH": "TOC_FHIR_IP_DISCH_ACK",
    "TOC_FHIR_MH_DISCH": "TOC_FHIR_MH_DISCH_ACK",
    "TOC_FHIR_EC_DISCH": "TOC_FHIR_EC_DISCH_ACK",
    "TOC_FHIR_OP_ATTEN": "TOC_FHIR_OP_ATTEN_ACK",
    "GPFED_CONSULT_REPORT": "GPFED_CONSULT_REPORT_ACK",
    "GPCONNECT_SEND_DOCUMENT": "GPCONNECT_SEND_DOCUMENT_ACK",
    "DF_ONLINE_CONSULTATION": "DF_ONLINE_CONSULTATION_ACK",
    "DIGMED_FLU_VAC": "DIGMED_FLU_VAC_ACK",
    "DIGIMED_FLU_VAC": "DIGIMED_FLU_VAC_ACK",
    "DIGMED_EMG_MED": "DIGMED_EMG_MED_ACK",
    "DIGMED_MINOR_ILLNESS_PEM": "DIGMED_MINOR_ILLNESS_PEM_ACK",
    "DIGIMED_MINOR_ILLNESS_PEM": "DIGIMED_MINOR_ILLNESS_PEM_ACK",
}
"""Where the response to a message of this workflow comes. A reply to a response stays on the response's own workflow."""


def response_workflow(workflow_id: str) -> str:
    return RESPONSE_WORKFLOWS.get(workflow_id, workflow_id)
