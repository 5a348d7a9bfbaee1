"""What the profiles forbid: elements of no meaning here, order, repetition. PURE.

`strict` refuses it; the other levels take most of it and note it, but not two of what says which message this is, what
kind, from whom and for whom. Sources: the cardinalities 0..0 and 1..1 of the
profiles ITK-Message-Bundle-1, ITK-MessageHeader-2, Extension-ITK-MessageHandling-2, CareConnect-ITK-Header-Organization-1
and ITK-Document-Bundle-1.
"""

from __future__ import annotations

from typing import Any, Final

from lxml import etree

from mesh_itk3.itk3 import xml
from mesh_itk3.itk3.envelope import Reading
from mesh_itk3.itk3.facts import Facts, Found
from mesh_itk3.itk3.handling_specification import EXTENSION_URL
from mesh_itk3.itk3.message_header import MessageHeader


def _any_of(*paths: str) -> Any:
    return xml.path(" | ".join(paths))


def _each(parent: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{parent}f:{name}" for name in names)


_OF_A_BUNDLE: Final = (
    *_each("", "total", "link", "signature"),
    *_each("f:entry/", "link", "search", "request", "response"),
)
_FORBIDDEN_IN_BUNDLE: Final = _any_of(*_OF_A_BUNDLE)
_FORBIDDEN_IN_HEADER: Final = _any_of(
    *_each("", "destination", "enterer", "author", "responsible", "reason"),
    *_each("f:source/", "name", "software", "version", "contact"),
    *_each("f:event/", "version", "userSelected"),
)
_REPEATED_IN_HEADER: Final = _any_of(*(f"f:{name}[2]" for name in ("timestamp", "source", "focus")))
_SECOND: Final = {name: xml.path(f"f:{name}[2]") for name in ("id", "event", "receiver", "sender")}
_FORBIDDEN_IN_KEYS: Final = _any_of(
    *_each("f:extension/f:valueCoding/", "version"),
    *_each("f:extension/f:valueReference/", "identifier", "display"),
)
_FORBIDDEN_IN_ORGANISATION: Final = _any_of(
    *_each("", "name", "telecom", "address", "active", "alias", "partOf", "contact", "endpoint")
)
_BEGINS_WITH_COMPOSITION: Final = xml.path("boolean(f:entry[1]/f:resource/f:Composition)")
_HOLDERS: Final = ("entry", "source", "event")


def _named(where: str, found: list[etree._Element]) -> Found:
    """The element's name is FHIR's own: the path found it by that."""
    if not found:
        return None
    parent, name = found[0].getparent(), xml.local_name(found[0])
    holder = f"{xml.local_name(parent)}." if parent is not None and xml.local_name(parent) in _HOLDERS else ""
    return f"{where}.{holder}{name}", "structure"


# ------------------------------------------------------------------------------------------- the message


def bundle_identifier_missing(reading: Reading, _: Facts) -> Found:
    has_none = reading.envelope is not None and not reading.envelope.identifier[1]
    return ("Bundle.identifier", "required") if has_none else None


def forbidden_in_bundle(reading: Reading, _: Facts) -> Found:
    return _named("Bundle", _FORBIDDEN_IN_BUNDLE(reading.envelope.root)) if reading.envelope else None


def header_not_first(reading: Reading, _: Facts) -> Found:
    entries = reading.envelope.entries if reading.envelope else ()
    return (reading.header.where, "structure") if entries and entries[0].type != "MessageHeader" else None


def _element(reading: Reading) -> etree._Element | None:
    headers = reading.envelope.message_headers if reading.envelope else ()
    return headers[0].element if headers else None


def forbidden_in_header(reading: Reading, _: Facts) -> Found:
    element = _element(reading)
    return None if element is None else _named(reading.header.where, _FORBIDDEN_IN_HEADER(element))


def repeated_in_header(reading: Reading, _: Facts) -> Found:
    element = _element(reading)
    return None if element is None else _named(reading.header.where, _REPEATED_IN_HEADER(element))


def _repeated(reading: Reading, name: str) -> Found:
    element = _element(reading)
    is_repeated = element is not None and bool(_SECOND[name](element))
    return (f"{reading.header.where}.{name}", "structure") if is_repeated else None


def id_repeated(reading: Reading, _: Facts) -> Found:
    return _repeated(reading, "id")


def event_repeated(reading: Reading, _: Facts) -> Found:
    return _repeated(reading, "event")


def receiver_repeated(reading: Reading, _: Facts) -> Found:
    return _repeated(reading, "receiver")


def sender_repeated(reading: Reading, _: Facts) -> Found:
    return _repeated(reading, "sender")


def receiver_unresolved(reading: Reading, _: Facts) -> Found:
    is_lost = reading.header.has_receiver and reading.header.receiver is None
    return (f"{reading.header.where}.receiver.reference", "value") if is_lost else None


def forbidden_in_organisation(reading: Reading, _: Facts) -> Found:
    for party in (reading.header.receiver, reading.header.sender):
        if party is not None and party.type == "Organization":
            found = _named(party.where, _FORBIDDEN_IN_ORGANISATION(party.element))
            if found:
                return found
    return None


def forbidden_in_keys(reading: Reading, _: Facts) -> Found:
    """An element that a handling key may not have, or a key that is there twice."""
    element = _element(reading)
    specification = None if element is None else _specification(element)
    if specification is None:
        return None
    urls = [extension.get("url") for extension in xml.children(specification, "extension")]
    is_wrong = len(set(urls)) < len(urls) or bool(_FORBIDDEN_IN_KEYS(specification))
    return (_specification_at(reading.header), "") if is_wrong else None


def _specification(header: etree._Element) -> etree._Element | None:
    found = (part for part in xml.children(header, "extension") if (part.get("url") or "").strip() == EXTENSION_URL)
    return next(found, None)


def _specification_at(header: MessageHeader) -> str:
    return f"{header.where}.extension(ITKMessageHandling)"


# ------------------------------------------------------------------------------------------- the document


def document_identifier_missing(reading: Reading, facts: Facts) -> Found:
    for document in reading.envelope.documents if reading.envelope and facts.needs_document else ():
        if not document.identifier[1]:
            return f"{document.where}.identifier", "required"
    return None


def composition_not_first(reading: Reading, facts: Facts) -> Found:
    for document in reading.envelope.documents if reading.envelope and facts.needs_document else ():
        if document.composition is not None and not _BEGINS_WITH_COMPOSITION(document.element):
            return f"{document.where}.entry", "structure"
    return None


def forbidden_in_document(reading: Reading, facts: Facts) -> Found:
    for document in reading.envelope.documents if reading.envelope and facts.needs_document else ():
        found = _named(document.where, _FORBIDDEN_IN_BUNDLE(document.element))
        if found:
            return found
    return None
