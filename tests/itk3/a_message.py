"""Builds ITK3 messages for the tests of this folder: every part can be replaced or left out."""

from __future__ import annotations

import base64
import json
from typing import Any

from fhir.resources.STU3.bundle import Bundle

FHIR = "http://hl7.org/fhir"
EXTENSION = "https://fhir.nhs.uk/STU3/StructureDefinition/Extension-ITK-MessageHandling-2"
RECIPIENT_TYPE = "https://fhir.nhs.uk/STU3/CodeSystem/ITK-RecipientType-1"
EVENTS = "https://fhir.nhs.uk/STU3/CodeSystem/ITK-MessageEvent-2"
DEFINITIONS = "https://fhir.nhs.uk/STU3/MessageDefinition/"
ODS = "https://fhir.nhs.uk/Id/ods-organization-code"

HEADER_ID = "0b0e2b0e-6d6e-4a55-8f0e-0a1b2c3d4e01"
SENDER_ID = "0b0e2b0e-6d6e-4a55-8f0e-0a1b2c3d4e02"
RECEIVER_ID = "0b0e2b0e-6d6e-4a55-8f0e-0a1b2c3d4e03"
DOCUMENT_ID = "0b0e2b0e-6d6e-4a55-8f0e-0a1b2c3d4e04"
COMPOSITION_ID = "0b0e2b0e-6d6e-4a55-8f0e-0a1b2c3d4e05"
PATIENT_ID = "0b0e2b0e-6d6e-4a55-8f0e-0a1b2c3d4e06"


def extension(url: str, content: str) -> str:
    return f'<extension url="{url}">{content}</extension>'


def flag(value: str) -> str:
    return f'<valueBoolean value="{value}"/>'


def recipient_type(code: str = "FA", system: str = RECIPIENT_TYPE, display: str = "For Action") -> str:
    return f'<valueCoding><system value="{system}"/><code value="{code}"/><display value="{display}"/></valueCoding>'


def definition(name: str = "ITK-eDischarge-MessageDefinition-4", base: str = DEFINITIONS) -> str:
    return f'<valueReference><reference value="{base}{name}"/></valueReference>'


def handling(**keys: str | None) -> str:
    """The extension ITKMessageHandling; a key that is None is left out."""
    contents: dict[str, str | None] = {
        "BusAckRequested": flag("true"),
        "InfAckRequested": flag("true"),
        "RecipientType": recipient_type(),
        "MessageDefinition": definition(),
        "SenderReference": '<valueString value="None"/>',
        "LocalExtension": '<valueString value="None"/>',
        **keys,
    }
    inner = "".join(extension(key, content) for key, content in contents.items() if content is not None)
    return extension(EXTENSION, inner)


def event(code: str = "ITK003D", display: str = "ITK eDischarge", system: str = EVENTS) -> str:
    return f'<event><system value="{system}"/><code value="{code}"/><display value="{display}"/></event>'


def entry(resource: str, full_url: str | None) -> str:
    url = f'<fullUrl value="{full_url}"/>' if full_url else ""
    return f"<entry>{url}<resource>{resource}</resource></entry>"


def organisation(identifier: str, ods_code: str) -> str:
    inner = f'<identifier><system value="{ODS}"/><value value="{ods_code}"/></identifier>'
    return entry(f'<Organization><id value="{identifier}"/>{inner}</Organization>', f"urn:uuid:{identifier}")


def patient(identifier: str = PATIENT_ID, content: str = "") -> str:
    return entry(f'<Patient><id value="{identifier}"/>{content}</Patient>', f"urn:uuid:{identifier}")


def section(title: str = "Clinical summary", code: str = "887181000000106", div: str | None = None, more: str = "") -> str:
    text = "" if div is None else f'<text><status value="additional"/>{div}</text>'
    coding = f'<code><coding><system value="http://snomed.info/sct"/><code value="{code}"/></coding></code>'
    return f'<section><title value="{title}"/>{coding}{text}{more}</section>'


def binary(identifier: str, content: bytes | str, *, content_type: str = "application/pdf", element: str = "content") -> str:
    text = base64.b64encode(content).decode() if isinstance(content, bytes) else content
    inner = f'<contentType value="{content_type}"/><{element} value="{text}"/>'
    return entry(f'<Binary><id value="{identifier}"/>{inner}</Binary>', f"urn:uuid:{identifier}")


def composition(
    *,
    subject: str | None = f"urn:uuid:{PATIENT_ID}",
    date: str = "2024-01-02T03:04:05+00:00",
    relates_to: str = "",
    sections: str = "",
    full_url: str | None = f"urn:uuid:{COMPOSITION_ID}",
    type_code: str = "373942005",
) -> str:
    named = f'<subject><reference value="{subject}"/></subject>' if subject else ""
    coding = f'<coding><system value="http://snomed.info/sct"/><code value="{type_code}"/></coding>'
    return entry(
        f'<Composition><id value="{COMPOSITION_ID}"/><identifier><value value="the-composition"/></identifier>'
        f'<status value="final"/><type>{coding}</type>{named}<date value="{date}"/>'
        f'<author><reference value="urn:uuid:{SENDER_ID}"/></author><title value="Discharge summary"/>'
        f"{relates_to}{sections}</Composition>",
        full_url,
    )


def document(
    content: str | None = None,
    *,
    full_url: str | None = f"urn:uuid:{DOCUMENT_ID}",
    bundle_type: str | None = "document",
    identifier: str = '<identifier><system value="urn:systems"/><value value="the-document"/></identifier>',
    bundle_id: str = DOCUMENT_ID,
) -> str:
    inner = composition(sections=section()) + patient() if content is None else content
    kind = f'<type value="{bundle_type}"/>' if bundle_type else ""
    return entry(f'<Bundle><id value="{bundle_id}"/>{identifier}{kind}{inner}</Bundle>', full_url)


def message_header(
    *,
    header_id: str | None = f'<id value="{HEADER_ID}"/>',
    specification: str | None = None,
    event: str = event(),
    receiver: str = "",
    sender: str = f'<sender><reference value="urn:uuid:{SENDER_ID}"/></sender>',
    timestamp: str = '<timestamp value="2024-01-02T03:04:05+00:00"/>',
    source: str = '<source><endpoint value="X26HOSP1"/></source>',
    focus: str = f'<focus><reference value="urn:uuid:{DOCUMENT_ID}"/></focus>',
    response: str = "",
) -> str:
    extensions = handling() if specification is None else specification
    parts = (header_id or "", extensions, event, receiver, sender, timestamp, source, response, focus)
    return f"<MessageHeader>{''.join(parts)}</MessageHeader>"


def a_message(
    *,
    bundle_type: str | None = "message",
    header: str | None = None,
    sender_entry: str = organisation(SENDER_ID, "RA901"),
    receiver_ods_code: str | None = None,
    documents: str | None = None,
    before: str = "",
    after: str = "",
    **header_parts: str | None,
) -> bytes:
    """A whole message that `standard` accepts, unless a part is replaced."""
    receiver_entry = ""
    if receiver_ods_code is not None:
        header_parts["receiver"] = f'<receiver><reference value="urn:uuid:{RECEIVER_ID}"/></receiver>'
        receiver_entry = organisation(RECEIVER_ID, receiver_ods_code)
    head = message_header(**header_parts) if header is None else header  # type: ignore[arg-type]
    kind = f'<type value="{bundle_type}"/>' if bundle_type else ""
    payload = document() if documents is None else documents
    header_entry = entry(head, f"urn:uuid:{HEADER_ID}") if head else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><Bundle xmlns="{FHIR}"><id value="the-bundle"/>'
        f'<identifier><value value="the-bundle-identifier"/></identifier>{kind}'
        f"{before}{header_entry}{sender_entry}{receiver_entry}{payload}{after}</Bundle>"
    ).encode()


def in_json(raw: bytes) -> bytes:
    """The same message in JSON as another implementation writes it; urls first, as people write extensions."""
    return json.dumps(_urls_first(json.loads(Bundle.model_validate_xml(raw).model_dump_json()))).encode()


def _urls_first(value: Any) -> Any:
    if isinstance(value, list):
        return [_urls_first(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: _urls_first(value[name]) for name in sorted(value, key=lambda name: name not in ("url", "resourceType"))}
