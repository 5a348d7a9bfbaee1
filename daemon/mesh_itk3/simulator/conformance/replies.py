"""Responses that a hospital writes: what it says to the responses of a practice. Pure."""

from __future__ import annotations

from typing import Final

from mesh_itk3.simulator.choices import HOSPITAL_ODS
from mesh_itk3.simulator.conformance.codes import CODES
from mesh_itk3.simulator.fhir import (
    NHS,
    ODS_ORGANISATION,
    Ids,
    Json,
    coding,
    entry,
    extension,
    identifier,
    reference,
    resource,
)
from mesh_itk3.simulator.fhir_xml import to_xml

_SYSTEM: Final = "https://fhir.nhs.uk/STU3/CodeSystem/"
_DEFINITION: Final = "https://fhir.nhs.uk/STU3/MessageDefinition/ITK-Response-MessageDefinition-1"


def a_response(*, seed: str, code: str, answers: str, asks: bool, mailbox_id: str) -> bytes:
    """An ITK008M with this code; `asks` is its InfAckRequested. Equal arguments give equal bytes."""
    ids = Ids(f"reply/{seed}")
    bundle = resource(
        "Bundle",
        ids("bundle"),
        NHS + "ITK-Message-Bundle-1",
        identifier=identifier(ids("identifier")),
        type="message",
        entry=[entry(each) for each in (_header(ids, code, answers, asks, mailbox_id), _sender(ids), _outcome(ids, code))],
    )
    return to_xml(bundle)


def message_header_id(seed: str) -> str:
    """Of the response that `a_response` writes for this seed."""
    return Ids(f"reply/{seed}")("header")


def _header(ids: Ids, code: str, answers: str, asks: bool, mailbox_id: str) -> Json:  # noqa: FBT001 - the flag as it is written
    return resource(
        "MessageHeader",
        ids("header"),
        NHS + "ITK-MessageHeader-2",
        extension=[_handling(asks)],
        event=coding(_SYSTEM + "ITK-MessageEvent-2", "ITK008M", "ITK Response"),
        sender=reference(ids("sender")),
        timestamp="2025-03-11T09:45:00+00:00",
        source={"endpoint": mailbox_id},
        response={"identifier": answers, "code": CODES[code].response_code, "details": reference(ids("outcome"))},
    )


def _handling(asks: bool) -> Json:  # noqa: FBT001 - the flag as it is written
    recipient = coding(_SYSTEM + "ITK-RecipientType-1", "FI", "For Information")
    keys = (
        extension("BusAckRequested", valueBoolean=False),
        extension("InfAckRequested", valueBoolean=asks),
        extension("RecipientType", valueCoding=recipient),
        extension("MessageDefinition", valueReference={"reference": _DEFINITION}),
        extension("SenderReference", valueString="None"),
        extension("LocalExtension", valueString="None"),
    )
    return {"url": NHS + "Extension-ITK-MessageHandling-2", "extension": list(keys)}


def _sender(ids: Ids) -> Json:
    return resource(
        "Organization",
        ids("sender"),
        NHS + "CareConnect-ITK-Header-Organization-1",
        identifier=[identifier(HOSPITAL_ODS, ODS_ORGANISATION)],
    )


def _outcome(ids: Ids, code: str) -> Json:
    published = CODES[code]
    issue = {
        "severity": published.severity,
        "code": published.issue_codes[0],
        "details": {"coding": [coding(_SYSTEM + "ITK-ResponseCodes-1", code, published.display)]},
    }
    return resource("OperationOutcome", ids("outcome"), NHS + "ITK-Response-OperationOutcome-1", issue=[issue])
