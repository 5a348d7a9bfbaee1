"""Transfer of Care: inpatient, mental health and emergency discharge summaries and outpatient letters (FHIR STU3)."""

from __future__ import annotations

from typing import ClassVar

from mesh_itk3.handler import Declaration
from mesh_itk3_handlers.filing import REASONS, LetterHandler


class TransferOfCare(LetterHandler):
    """Files ITK003D, 004D, 005D and 006D with the coded content of their lists."""

    declaration: ClassVar[Declaration] = Declaration(
        name="transfer_of_care",
        workflows={
            "TOC_FHIR_IP_DISCH": "TOC_FHIR_IP_DISCH_ACK",
            "TOC_FHIR_MH_DISCH": "TOC_FHIR_MH_DISCH_ACK",
            "TOC_FHIR_EC_DISCH": "TOC_FHIR_EC_DISCH_ACK",
            "TOC_FHIR_OP_ATTEN": "TOC_FHIR_OP_ATTEN_ACK",
        },
        event_codes=frozenset({"ITK003D", "ITK004D", "ITK005D", "ITK006D"}),
        reasons=REASONS,
    )
