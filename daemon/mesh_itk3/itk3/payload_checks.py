"""What may be wrong with a payload, and whether it has been here before: one question each. PURE."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mesh_itk3.itk3 import xml
from mesh_itk3.itk3.document import Document
from mesh_itk3.itk3.envelope import Reading
from mesh_itk3.itk3.facts import Facts, Found

_WITHOUT_ZONE = re.compile(r"[0-9-]{10}T[0-9:.]+")


def _documents(reading: Reading, facts: Facts) -> tuple[Document, ...]:
    return reading.envelope.documents if reading.envelope and facts.needs_document else ()


def _document(reading: Reading) -> Document | None:
    return reading.envelope.document if reading.envelope else None


# ------------------------------------------------------------------------------------------- been here before


def _is_replacement(reading: Reading) -> bool:
    document = _document(reading)
    return document is not None and document.is_replacement


def message_known(reading: Reading, facts: Facts) -> Found:
    """A replacement is neither a known message nor a known document. Identical bytes again are 20007 all the same: a
    message that was sent twice replaces nothing, and would be filed twice.
    """
    is_duplicate = facts.is_known_message and (facts.is_same_bytes or not _is_replacement(reading))
    return (f"{reading.header.where}.id", "") if is_duplicate else None


def document_known(reading: Reading, facts: Facts) -> Found:
    document = _document(reading)
    if document is None or not facts.is_known_document or document.is_replacement or document.document_id is None:
        return None
    return f"{document.where}.identifier", ""


def replacement_names_nothing(reading: Reading, _: Facts) -> Found:
    """Nobody could tell which document it replaces."""
    document = _document(reading)
    if document is None or document.composition is None or not document.is_replacement or document.names_what_it_replaces:
        return None
    return f"{document.composition.where}.relatesTo", "required"


# ------------------------------------------------------------------------------------------- the document


def document_missing(reading: Reading, facts: Facts) -> Found:
    is_missing = facts.needs_document and not _documents(reading, facts)
    return ("Bundle.entry", "required") if is_missing else None


def document_repeated(reading: Reading, facts: Facts) -> Found:
    documents = _documents(reading, facts)
    return (documents[1].where, "structure") if len(documents) > 1 else None


def no_composition(reading: Reading, facts: Facts) -> Found:
    for document in _documents(reading, facts):
        if document.composition is None:
            return f"{document.where}.entry", "required"
    return None


def no_patient(reading: Reading, facts: Facts) -> Found:
    for document in _documents(reading, facts):
        if document.composition is not None and document.patient is None:
            return f"{document.composition.where}.subject", "required"
    return None


def date_without_zone(reading: Reading, facts: Facts) -> Found:
    for document in _documents(reading, facts):
        if _WITHOUT_ZONE.fullmatch(document.date or ""):
            return f"{document.where}.entry(Composition).date", "value"
        if _WITHOUT_ZONE.fullmatch(document.last_updated or ""):
            return f"{document.where}.meta.lastUpdated", "value"
    return None


def padding(reading: Reading, facts: Facts) -> Found:
    """Looks at the codes that decide something: the document's type and its sections'."""
    for document in _documents(reading, facts):
        for where, text in _deciding_codes(document):
            if text != text.strip():
                return where, "value"
    return None


def _deciding_codes(document: Document) -> Iterator[tuple[str, str]]:
    if document.composition is None:
        return
    for found in xml.descend(document.composition.element, "type/coding/code"):
        yield f"{document.composition.where}.type.coding.code", found.get("value") or ""
    for section in document.all_sections():
        for found in xml.descend(section.element, "code/coding/code"):
            yield f"{section.where}.code.coding.code", found.get("value") or ""
