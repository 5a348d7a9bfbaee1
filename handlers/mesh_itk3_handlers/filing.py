"""What both shipped handlers do with a document: refuse what nobody could read, match the patient, file the letter.

The order is that of the standard: whether the message can be taken (`examine`), then what became of it (`handle`).
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, ClassVar, Final
from zoneinfo import ZoneInfo

from pydantic import field_validator

from mesh_itk3.handler import (
    MATCH_REASONS,
    Accept,
    BusinessCode,
    Context,
    Defer,
    Folder,
    Handler,
    HandlerSettings,
    InfrastructureCode,
    Message,
    Refuse,
    Respond,
)
from mesh_itk3.itk3.document import Document, Resource
from mesh_itk3_handlers import attachments
from mesh_itk3_handlers.contents import Contents
from mesh_itk3_handlers.letter import Letter, care_setting, has_text, read_letter
from mesh_itk3_handlers.render import letter_html, particulars_of
from mesh_itk3_handlers.structured import Item, structured

FILED: Final = frozenset({BusinessCode.PATIENT_KNOWN, BusinessCode.PATIENT_DECEASED})
"""The answers with which a letter is kept; the other two say that it is not ours to keep (design rule 4)."""
REASONS: Final = {**MATCH_REASONS, "document_missing": "The message carries no document that can be read."}
"""Why a letter waits for a person."""
LONDON: Final = ZoneInfo("Europe/London")


class LetterSettings(HandlerSettings):
    """`[handlers.<name>]` of a handler that files letters."""

    output: Path
    """Where letters are filed; an absolute path."""

    @field_validator("output")
    @classmethod
    def _is_absolute(cls, output: Path) -> Path:
        if not output.is_absolute():
            raise ValueError("must be an absolute path")
        return output


class LetterHandler(Handler):
    """Base of the handlers that file documents as letters; what differs is what they take."""

    Settings: ClassVar[type[HandlerSettings]] = LetterSettings
    settings: LetterSettings

    def examine(self, message: Message) -> Accept | Refuse:
        """Refuses only what could not be read as a letter; everything else is for a person to judge."""
        document = message.document
        if document is None:
            return Refuse(InfrastructureCode.PAYLOAD_VALIDATION_FAILURE, "Bundle", "required", rule="document_missing")
        if not has_text(document):
            where = f"{document.composition.where if document.composition is not None else document.where}.section"
            return Refuse(InfrastructureCode.PAYLOAD_VALIDATION_FAILURE, where, "required", rule="no_readable_text")
        return Accept()

    def handle(self, message: Message, context: Context) -> Respond | Defer:
        """Files what belongs to this practice, durably, and says what became of it. Safe to call again."""
        document = message.document
        if document is None:
            return Defer("document_missing")
        if context.decision is not None:
            how = "decided_by_person" if context.decision.is_by_person else "decided_by_deadline"
            return self._carry_out(message, document, context, context.decision.code, how, ())
        identity = document.patient_identity
        if identity is None:
            return Defer("patient_absent")
        match = context.patients.match(identity, today(context.now))
        if match.code is None:
            return Defer(match.reason)
        return self._carry_out(message, document, context, match.code, match.reason, match.warnings)

    def _carry_out(
        self,
        message: Message,
        document: Document,
        context: Context,
        code: BusinessCode,
        patient_match: str,
        warnings: tuple[str, ...],
    ) -> Respond:
        if code in FILED:

            def fill(folder: Folder) -> Item:
                metadata = self._write_files(folder, message, document, patient_match, warnings)
                return {**metadata, "business_code": code, "decision": _decision(context), "created_at": _instant(context.now)}

            context.files.file(self.settings.output, message, fill)
        return Respond(code)

    def _write_files(
        self, folder: Folder, message: Message, document: Document, patient_match: str, warnings: tuple[str, ...]
    ) -> Item:
        contents = Contents(document)
        filed = tuple(_write_attachments(folder, contents))
        letter = read_letter(message, contents, filed)
        particulars = particulars_of(message, document, patient_match)
        folder.write("letter.html", letter_html(letter, filed, particulars))
        folder.write(f"message.{message.form}", message.raw)
        folder.write("structured.json", _json(structured(contents, letter)))
        found = dict.fromkeys((*(str(caution) for caution in letter.cautions), *warnings, *message.warnings))
        return metadata_of(message, contents, letter, filed, patient_match, list(found))


def today(now: datetime) -> date:
    """The date in the practice: births, deaths and deductions are entered by the local calendar, and six months after a
    death end at its midnight, not at Greenwich's.
    """
    return now.astimezone(LONDON).date()


def metadata_of(
    message: Message,
    contents: Contents,
    letter: Letter,
    filed: tuple[attachments.FiledAttachment, ...],
    patient_match: str,
    warnings: list[str],
) -> Item:
    """`metadata.json` but for what the filing itself decides."""
    document = contents.document
    return {
        "message_header_id": message.header.message_header_id,
        "document_id": document.document_id,
        "mesh_message_id": message.mesh_message_id,
        "mailbox_id": message.mailbox_id,
        "sender_mailbox_id": message.sender_mailbox_id,
        "workflow_id": message.workflow_id,
        "event_code": message.header.event_code,
        "document_type": {"code": document.type_code, "display": document.type_display},
        "title": document.title,
        "document_date": document.date,
        "received_at": _instant(message.received_at),
        "recipient_type": message.header.handling.recipient_type.value,
        "composition_id": document.composition_identifier,
        "replaces": document.replaces,
        "is_replacement": document.is_replacement,
        "confidentiality": document.confidentiality,
        "patient": _patient(document),
        "patient_match": patient_match,
        "author": "; ".join(letter.authors) or None,
        "custodian": {"ods_code": document.custodian_ods_code, "name": letter.organisation or None},
        "care_setting": care_setting(contents) or None,
        "encounter": _period(contents.encounter),
        "subject": message.mesh_headers.get("subject"),
        "attachments": [_attachment(held) for held in filed if held.file],
        "warnings": warnings,
    }


def _write_attachments(folder: Folder, contents: Contents) -> Any:
    for number, attachment in enumerate(contents.attachments, start=1):
        filed, content = attachments.read(attachment, number)
        if filed.file:
            folder.write(filed.file, content)
        yield filed


def _patient(document: Document) -> Item:
    identity = document.patient_identity
    if identity is None:
        return dict.fromkeys(("nhs_number", "nhs_number_valid", "family_name", "given_names", "date_of_birth"))
    return {
        "nhs_number": identity.nhs_number,
        "nhs_number_valid": identity.nhs_number_valid,
        "family_name": next(iter(identity.family_names), None),
        "given_names": list(identity.given_names),
        "date_of_birth": identity.date_of_birth,
    }


def _period(encounter: Resource | None) -> Item | None:
    if encounter is None:
        return None
    return {"start": encounter.value("period/start"), "end": encounter.value("period/end")}


def _attachment(held: attachments.FiledAttachment) -> Item:
    return {
        "file": held.file,
        "content_type": held.content_type,
        "declared_type": held.declared_type,
        "bytes": held.bytes,
        "sha256": held.sha256,
    }


def _decision(context: Context) -> Item | None:
    made = context.decision
    return None if made is None else {"code": made.code, "by": made.by, "at": _instant(made.at)}


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(content: Item) -> bytes:
    # Not indented: that would take json's slow path, and a program reads this.
    return json.dumps(content, ensure_ascii=False).encode("utf-8") + b"\n"
