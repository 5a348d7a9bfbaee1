"""Responses as other systems send them to us."""

from __future__ import annotations

from datetime import UTC, datetime

from mesh_itk3.itk3.response_bundle import ResponseIds, write_response
from mesh_itk3.itk3.response_codes import response_code_of


def a_response(answers="66666666-0000-4000-8000-000000000001", code="30001", *, number=1, asks=False):
    """An ITK008M as a hospital or practice would send it."""
    ids = ResponseIds(*(f"{number:08d}-0000-4000-8000-00000000000{n}" for n in range(5)))
    return write_response(
        code=response_code_of(code),
        issue_code=None,
        diagnostics=None,
        ids=ids,
        now=datetime(2026, 3, 2, tzinfo=UTC),
        mailbox_id="X26ABC1",
        ods_code="RA9",
        answers=answers,
        sender_reference="None",
        asks_infrastructure_response=asks,
    )
