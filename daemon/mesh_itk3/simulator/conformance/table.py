"""The whole table of cases, in the order of the report. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from mesh_itk3.simulator.conformance.case import Case
from mesh_itk3.simulator.conformance.setups import AUTHORISED
from mesh_itk3.simulator.conformance.tables import (
    configured,
    handling,
    header,
    hostile,
    patterns,
    payload,
    samples,
    strictness,
    transport,
)

GROUPS: Final = (
    ("Payloads", payload.PAYLOADS),
    ("Patterns of exchange", (*patterns.FLAGS, *configured.FULL_ACKNOWLEDGEMENT)),
    ("Business responses", payload.BUSINESS),
    ("Handling specification", handling.CASES),
    ("Message header and parties", header.CASES),
    ("Persons and senders", configured.PARTIES),
    ("Faults of the payload", (*payload.FAULTS, *configured.RULES)),
    ("Attachments", configured.ATTACHMENTS),
    ("Duplicates", patterns.DUPLICATES),
    ("Unreadable and hostile messages", hostile.UNREADABLE),
    ("Other forms of the same message", hostile.OTHER_FORMS),
    ("Strictness", strictness.CASES),
    ("Responses that come to us", patterns.RESPONSES),
    ("MESH", transport.CASES),
    ("Official samples", samples.CASES),
)

CASES: Final[tuple[Case, ...]] = tuple(replace(case, group=group) for group, cases in GROUPS for case in cases)
_OWN: Final = {"sender-authorised": AUTHORISED}
MAILBOX_IDS: Final = {case.name: _OWN.get(case.name, f"X26HC{number:03d}") for number, case in enumerate(CASES, start=1)}
"""The hospital's mailbox for each case."""
