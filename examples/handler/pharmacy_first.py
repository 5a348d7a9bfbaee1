"""Keeps Pharmacy First records (GP Connect Update Record) until a clinician has accepted or refused them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from mesh_itk3.handler import BusinessCode, Context, Declaration, Defer, Folder, Handler, HandlerSettings, Message, Respond

ACCEPTED = (BusinessCode.PATIENT_KNOWN, BusinessCode.PATIENT_DECEASED)


class PharmacyFirstSettings(HandlerSettings):
    output: Path


class PharmacyFirst(Handler):
    declaration = Declaration(
        name="pharmacy_first",
        workflows={"GPCONNECT_UPDATE_RECORD": "GPCONNECT_UPDATE_RECORD_ACK"},
        event_codes=frozenset({"ITK014M"}),
        reasons={"clinician_to_accept": "A clinician reads the record and accepts or refuses it."},
        message_definitions=frozenset({"https://fhir.nhs.uk/MessageDefinition"}),
    )
    Settings = PharmacyFirstSettings
    settings: PharmacyFirstSettings

    def handle(self, message: Message, context: Context) -> Respond | Defer:
        if context.decision is None:
            return Defer("clinician_to_accept")
        if context.decision.code in ACCEPTED:
            context.files.file(self.settings.output, message, partial(fill, message))
        return Respond(context.decision.code)


def fill(message: Message, folder: Folder) -> dict[str, Any]:
    folder.write(f"message.{message.form}", message.raw)
    entries = message.document.entries if message.document else ()
    return {"event_code": message.header.event_code, "resources": sorted({entry.type for entry in entries})}
