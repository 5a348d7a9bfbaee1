"""Letters carried as documents: GP Connect Send Document and the Digital Medicines documents."""

from __future__ import annotations

from typing import ClassVar

from mesh_itk3.handler import Declaration
from mesh_itk3_handlers.filing import REASONS, LetterHandler


class DischargeLetters(LetterHandler):
    """Files ITK007C with its attachments, and ITK009D, 010D and 013D as readable letters."""

    declaration: ClassVar[Declaration] = Declaration(
        name="discharge_letters",
        workflows={
            "GPFED_CONSULT_REPORT": "GPFED_CONSULT_REPORT_ACK",
            "GPCONNECT_SEND_DOCUMENT": "GPCONNECT_SEND_DOCUMENT_ACK",
            "DF_ONLINE_CONSULTATION": "DF_ONLINE_CONSULTATION_ACK",
            # Two spellings are in use: the Digital Medicines guide's, and with one more I, the Simplifier guide's.
            "DIGMED_FLU_VAC": "DIGMED_FLU_VAC_ACK",
            "DIGIMED_FLU_VAC": "DIGIMED_FLU_VAC_ACK",
            "DIGMED_EMG_MED": "DIGMED_EMG_MED_ACK",
            "DIGMED_MINOR_ILLNESS_PEM": "DIGMED_MINOR_ILLNESS_PEM_ACK",
            "DIGIMED_MINOR_ILLNESS_PEM": "DIGIMED_MINOR_ILLNESS_PEM_ACK",
        },
        event_codes=frozenset({"ITK007C", "ITK009D", "ITK010D", "ITK013D"}),
        reasons=REASONS,
    )
