"""The ITK3 message bundle around a document: MessageHeader, handling extension, header organisations. Pure."""

from __future__ import annotations

from typing import Final

from mesh_itk3.simulator.choices import KINDS, Choices
from mesh_itk3.simulator.fhir import (
    NHS,
    ODS_ORGANISATION,
    Json,
    coding,
    entry,
    extension,
    identifier,
    reference,
    resource,
)

EVENTS: Final = "https://fhir.nhs.uk/STU3/CodeSystem/ITK-MessageEvent-2"
RECIPIENT_TYPES: Final = "https://fhir.nhs.uk/STU3/CodeSystem/ITK-RecipientType-1"
PRIORITIES: Final = "https://fhir.nhs.uk/STU3/CodeSystem/ITK-Priority-1"
RECIPIENT_DISPLAYS: Final = {"FA": "For Action", "FI": "For Information"}


def message_bundle(choices: Choices, document: Json) -> Json:
    """The outer bundle: header first, then its organisations, then the one document."""
    ids = choices.ids
    organisations = [_header_organisation(ids("header-sender"), choices.sender_ods)]
    if choices.receiver_ods is not None:
        organisations.append(_header_organisation(ids("header-receiver"), choices.receiver_ods))
    header = _message_header(choices, document["id"])
    return resource(
        "Bundle",
        choices.bundle_id or ids("bundle"),
        NHS + "ITK-Message-Bundle-1",
        identifier=identifier(choices.bundle_identifier or ids("bundle-identifier")),
        type="message",
        entry=[entry(each) for each in (header, *organisations, document)],
    )


def _header_organisation(resource_id: str, ods_code: str) -> Json:
    return resource(
        "Organization",
        resource_id,
        NHS + "CareConnect-ITK-Header-Organization-1",
        identifier=[identifier(ods_code, ODS_ORGANISATION)],
    )


def _message_header(choices: Choices, document_bundle_id: str) -> Json:
    ids = choices.ids
    return resource(
        "MessageHeader",
        choices.message_header_id,
        NHS + "ITK-MessageHeader-2",
        extension=[_handling(choices)] if choices.handling else None,
        event=_event(choices.event),
        receiver=None if choices.receiver_ods is None else reference(ids("header-receiver")),
        sender=reference(ids("header-sender")),
        timestamp=choices.written_at.isoformat(timespec="seconds"),
        source={"endpoint": choices.source_endpoint},
        focus=[reference(document_bundle_id)],
    )


def _event(code: str | None) -> Json | None:
    if code is None:
        return None
    return coding(EVENTS, code, KINDS[code].event_display if code in KINDS else "Unknown event")


def _handling(choices: Choices) -> Json:
    keys = (
        _value("BusAckRequested", choices.business_requested, "valueBoolean"),
        _value("InfAckRequested", choices.infrastructure_requested, "valueBoolean"),
        _recipient_type(choices.recipient_type),
        _priority(choices.priority),
        _definition(choices.definition),
        _value("SenderReference", choices.sender_reference, "valueString"),
        _value("LocalExtension", choices.local_extension, "valueString"),
    )
    return {"url": NHS + "Extension-ITK-MessageHandling-2", "extension": [key for key in keys if key]}


def _value(url: str, value: object, element: str) -> Json | None:
    return None if value is None else extension(url, **{element: value})


def _recipient_type(code: str | None) -> Json | None:
    if code is None:
        return None
    return extension("RecipientType", valueCoding=coding(RECIPIENT_TYPES, code, RECIPIENT_DISPLAYS.get(code, "For Nobody")))


def _priority(code: str | None) -> Json | None:
    if code is None:
        return None
    return extension("Priority", valueCoding=coding(PRIORITIES, code, code.capitalize()))


def _definition(url: str | None) -> Json | None:
    return None if url is None else extension("MessageDefinition", valueReference={"reference": url})
