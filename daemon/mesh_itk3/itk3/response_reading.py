"""Reads ITK008M, the response message, as leniently as can be: nothing but what stands there, and never an error. PURE.

Older systems leave out the OperationOutcome, put the code elsewhere, or use codes of the drafts of 2017 (41001, RC001 of
CodeSystem ITK-Acknowledgement-1): such a response is still an answer to somebody.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mesh_itk3.itk3.envelope import Reading
from mesh_itk3.itk3.response_bundle import UNREADABLE
from mesh_itk3.itk3.response_codes import ELEMENTS, Level, ResponseCode, level_of, response_code_of

_OLDER_CODE: Final = re.compile(r"(?:RC)?[0-9]{3,5}", re.ASCII)
"""Short, so that no number of a person's can pass for one: an NHS number has ten digits, a date of birth eight."""
_FHIR_CODES: Final = frozenset({"ok", "transient-error", "fatal-error"})
"""MessageHeader.response.code (FHIR STU3 ValueSet response-code)."""


@dataclass(frozen=True, slots=True)
class ResponseReading:
    """An ITK008M that we received, read leniently: what cannot be read is None."""

    message_header_id: str | None
    answers: str | None
    """The MessageHeader.id that it answers, as written; None also for the fixed string for unreadable ones."""
    sender_reference: str | None
    code: ResponseCode | None
    """None: no OperationOutcome, or a code that is not in the table."""
    older_code: str | None
    """A code of an older standard (41001, RC001 …), where `code` is None."""
    level: Level | None
    response_code: str | None
    """MessageHeader.response.code: `ok`, `transient-error` or `fatal-error`; None also for anything else."""
    bus_ack: bool | None
    inf_ack: bool | None
    sender_ods_codes: tuple[str, ...] = ()

    @property
    def said(self) -> str | None:
        """The most exact word that could be read: the five digits, an older code, else FHIR's own word. Never made up."""
        return self.code or self.older_code or self.response_code

    @property
    def is_negative(self) -> bool:
        """Whether it refuses what it answers; by the table where the code stands in it."""
        if self.code is not None:
            return not ELEMENTS[self.code].is_positive
        return self.response_code == "fatal-error"


def read_response(reading: Reading) -> ResponseReading | None:
    """What a received response says; None where the message is no response at all.

    Nothing but the header's event or its `response` element makes it one: older senders leave out everything else.
    """
    header = reading.header
    if not header.is_response and header.response_identifier is None:
        return None
    code = next((found for text in header.outcome_codes if (found := response_code_of(text))), None)
    older = next((text for text in header.outcome_codes if _OLDER_CODE.fullmatch(text)), None)
    return ResponseReading(
        message_header_id=header.message_header_id,
        answers=None if header.response_identifier == UNREADABLE else header.response_identifier,
        sender_reference=header.handling.sender_reference.value,
        code=code,
        older_code=None if code else older,
        level=level_of(code) if code else None,
        response_code=header.response_code if header.response_code in _FHIR_CODES else None,
        bus_ack=header.handling.bus_ack,
        inf_ack=header.handling.inf_ack,
        sender_ods_codes=header.sender_ods_codes,
    )
