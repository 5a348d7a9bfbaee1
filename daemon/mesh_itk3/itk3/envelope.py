"""Reads the outer bundle of a message, XML or JSON, into one shape. PURE; never raises, whatever the bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from lxml import etree

from mesh_itk3.itk3 import xml
from mesh_itk3.itk3.document import Document
from mesh_itk3.itk3.json_form import parse_json
from mesh_itk3.itk3.message_header import RESPONSE_EVENT, MessageHeader, read_message_header
from mesh_itk3.itk3.resource import References, Resource, entries_of, is_bundle
from mesh_itk3.itk3.response_codes import InfrastructureCode
from mesh_itk3.itk3.salvage import salvage_header

__all__ = ["Caps", "Envelope", "Fault", "Reading", "read_message", "read_oversize"]


_MARKS_OF_XML: Final = (b"<",)
_BYTES_OF_A_TAG: Final = 3
"""`<a></a>` is two tags in seven bytes: as many as are allowed cannot stand in three for each."""
_MARKS_OF_JSON: Final = (b"{", b"[", b",")


@dataclass(frozen=True, slots=True)
class Caps:
    """How much of a stranger's message is read."""

    max_bytes: int = 20_971_520
    """The standard advises 5 MB at most; real messages are larger."""
    max_depth: int = 200
    """Levels of elements. A guess: published messages stay under 30, and recursion over sections stays harmless."""
    max_marks: int = 1_000_000
    """Tags, or brackets and commas of JSON: a tree of very many tiny elements takes a hundred times its bytes. A guess:
    published messages have about 30,000 for each megabyte.
    """
    max_header_bytes: int = 1_048_576
    """How much of a MessageHeader is kept while it is cut out of a message that cannot be read whole. A guess: real
    ones have about 3 KB.
    """


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a message."""

    code: InfrastructureCode
    rule: str
    where: str
    """Element path; never a value from the message."""
    issue_code: str | None = None


class Envelope:
    """An outer message bundle that could be read. The received bytes stay the record: this is never written back."""

    def __init__(self, root: etree._Element, form: str) -> None:
        self.root = root
        self.form = form
        """`xml` or `json`: what arrived."""

    @property
    def bundle_id(self) -> str | None:
        return xml.value(self.root, "id")

    @property
    def bundle_type(self) -> str | None:
        return xml.value(self.root, "type")

    @property
    def identifier(self) -> tuple[str | None, str | None]:
        """System and value of Bundle.identifier."""
        return xml.value(self.root, "identifier/system"), xml.value(self.root, "identifier/value")

    @cached_property
    def entries(self) -> tuple[Resource, ...]:
        """The outer resources, in order; what an inner bundle holds is not among them."""
        return entries_of(self.root, "Bundle")

    @cached_property
    def _references(self) -> References:
        return References(self.entries)

    def resolve(self, reference: str | None) -> Resource | None:
        """The outer resource that the reference means: by fullUrl, then Type/id, then id."""
        return self._references.resolve(reference)

    @cached_property
    def message_headers(self) -> tuple[Resource, ...]:
        """There should be one, and it should be the first entry."""
        return tuple(entry for entry in self.entries if entry.type == "MessageHeader")

    @cached_property
    def documents(self) -> tuple[Document, ...]:
        """All inner bundles of type document."""
        bundles = (entry for entry in self.entries if is_bundle(entry))
        return tuple(Document(found.element, found.where) for found in bundles if found.value("type") == "document")

    @cached_property
    def document(self) -> Document | None:
        """The inner document: the one that MessageHeader.focus names, else the only one; None where that leaves a choice.

        One fullUrl may stand for both the Bundle and its Composition: the focus means the Bundle.
        """
        focus = self.message_headers[0].value("focus/reference") if self.message_headers else None
        named = {candidate.element for candidate in self._references.candidates(focus)} if focus else set()
        for document in self.documents:
            if document.element in named:
                return document
        return self.documents[0] if len(self.documents) == 1 else None


@dataclass(frozen=True, slots=True)
class Reading:
    """What could be read of a message, and what was found wrong on the way, most important first."""

    header: MessageHeader
    """Read as far as possible whatever else is wrong."""
    envelope: Envelope | None = field(repr=False)
    """None where the bytes are no bundle that can be read."""
    faults: tuple[Fault, ...] = ()

    @property
    def is_response(self) -> bool:
        """Whether any MessageHeader of the outer bundle, however many there are, has the event ITK008M: nothing negative is
        ever answered then. Of a bundle that could not be read whole it is the first MessageHeader that counts.
        """
        headers = self.envelope.message_headers if self.envelope else ()
        return self.header.is_response or any(RESPONSE_EVENT in found.values("event/code") for found in headers)


def read_message(raw: bytes, caps: Caps) -> Reading:
    """Reads a message of any bytes. More than `caps.max_bytes`: only its header is read, and the fault is 20015."""
    if len(raw) > caps.max_bytes:
        return read_oversize((raw,), caps)
    try:
        root, form = _parse(raw, caps)
    except xml.Unreadable as fault:
        header = salvage_header((raw,), caps.max_header_bytes)
        return Reading(header, None, (Fault(InfrastructureCode.UNREADABLE_MESSAGE, fault.rule, fault.where),))
    if root.tag != xml.IN_FHIR + "Bundle":
        header = _header_without_bundle(root, raw, caps)
        return Reading(header, None, (_header_fault("not_a_bundle", "Bundle", "structure"),))
    return _read_bundle(root, form)


def _header_without_bundle(root: etree._Element, raw: bytes, caps: Caps) -> MessageHeader:
    """A header that stands alone, or in what should have been a Bundle, still says who is answered, and whether at all."""
    if root.tag == xml.IN_FHIR + "MessageHeader":
        return read_message_header(root, None, "MessageHeader")
    return salvage_header((raw,), caps.max_header_bytes)


def read_oversize(chunks: Iterable[bytes], caps: Caps) -> Reading:
    """Streams a message that is too large, in constant memory, as far as the end of its MessageHeader, wherever it
    stands. The header holds what it says itself; nothing that it refers to is read.
    """
    fault = Fault(InfrastructureCode.MESSAGE_TOO_LARGE, "oversize", "Bundle")
    return Reading(salvage_header(chunks, caps.max_header_bytes), None, (fault,))


def _parse(raw: bytes, caps: Caps) -> tuple[etree._Element, str]:
    start = raw[:1024].lstrip()[:1]
    is_small = start != b"{" and len(raw) <= caps.max_marks * _BYTES_OF_A_TAG
    # Counting runs at memory speed, and before anything is built.
    marks = 0 if is_small else sum(map(raw.count, _MARKS_OF_JSON if start == b"{" else _MARKS_OF_XML))
    if marks > caps.max_marks:
        raise xml.Unreadable("too_many_elements")
    if start == b"{":
        return parse_json(raw, caps.max_depth, caps.max_marks - marks), "json"
    if not start and not raw.strip():  # what stands first spares a copy of all of it
        raise xml.Unreadable("empty")
    return xml.parse_xml(raw, caps.max_depth), "xml"


def _read_bundle(root: etree._Element, form: str) -> Reading:
    envelope = Envelope(root, form)
    found = envelope.message_headers
    header = read_message_header(found[0].element, envelope, found[0].where) if found else MessageHeader()
    return Reading(header, envelope, tuple(_structure_faults(envelope)))


def _structure_faults(envelope: Envelope) -> Iterable[Fault]:
    if envelope.bundle_type is None:
        yield _header_fault("bundle_type_missing", "Bundle.type", "required")
    elif envelope.bundle_type != "message":
        yield _header_fault("bundle_type_wrong", "Bundle.type", "value")
    if not envelope.message_headers:
        yield _header_fault("message_header_missing", "Bundle.entry", "required")
    elif len(envelope.message_headers) > 1:
        yield _header_fault("message_header_repeated", envelope.message_headers[1].where, "structure")


def _header_fault(rule: str, where: str, issue_code: str) -> Fault:
    return Fault(InfrastructureCode.HEADER_VALIDATION_FAILURE, rule, where, issue_code)
