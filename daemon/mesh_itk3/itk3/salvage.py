"""Finds the MessageHeader of a message that is broken, or too large to be read whole. PURE; constant memory.

A sender of a broken message still gets an answer that names it (explore_response_examples, under 10009), so id, flags and
SenderReference are read as far as they can be, wherever the header stands: in the outer Bundle's entries and nowhere else.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final, Protocol

from lxml import etree

from mesh_itk3.itk3 import xml
from mesh_itk3.itk3.json_salvage import JsonScanner
from mesh_itk3.itk3.message_header import MessageHeader, read_message_header
from mesh_itk3.itk3.xml_salvage import XmlScanner

_PROLOG_BYTES: Final = 1024
# As declared; UTF-16 shows by its bytes, whatever is declared. Only these: some of Python's codecs are no text
# encodings, or take time that grows with the square of the length.
_ENCODINGS: Final = {
    "iso-8859-1": "iso-8859-1",
    "iso-8859-15": "iso-8859-15",
    "latin1": "iso-8859-1",
    "windows-1252": "windows-1252",
    "us-ascii": "ascii",
}


class _Scanner(Protocol):
    where: str

    def feed(self, chunk: bytes) -> bool:
        """Whether nothing more is needed: the header has been found whole, or the search is given up."""

    def header(self) -> etree._Element | None:
        """The MessageHeader, whole or as far as it came."""


def salvage_header(chunks: Iterable[bytes], max_header_bytes: int) -> MessageHeader:
    """Whatever of the MessageHeader can be read. Never raises on any bytes (only what the iterable itself raises)."""
    pieces = iter(chunks)
    start = _start_of(pieces)
    encoding = _encoding_of(start)
    stream: Iterator[bytes] = chain((start,), pieces)
    if encoding is not None:
        stream = _as_utf8(stream, encoding)
        start = next(stream, b"")
        stream = chain((start,), stream)
    scanner: _Scanner = _scanner_for(start, max_header_bytes)
    for chunk in stream:
        if scanner.feed(chunk):
            break
    element = scanner.header()
    return MessageHeader() if element is None else read_message_header(element, None, scanner.where)


def _scanner_for(start: bytes, max_header_bytes: int) -> _Scanner:
    kind = JsonScanner if start.lstrip()[:1] == b"{" else XmlScanner
    return kind(max_header_bytes)


def _start_of(pieces: Iterator[bytes]) -> bytes:
    start = b""
    while len(start) < _PROLOG_BYTES:
        piece = next(pieces, None)
        if piece is None:
            break
        start += piece
    return start


def _encoding_of(start: bytes) -> str | None:
    """A Python codec; None for UTF-8 without a mark."""
    for mark, encoding in xml.BYTE_ORDER_MARKS:
        if start.startswith(mark):
            return encoding
    if start[1:2] == b"\x00":
        return "utf-16-le"
    if start[:1] == b"\x00":
        return "utf-16-be"
    return _ENCODINGS.get(xml.declared_encoding(start) or "")


def _as_utf8(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    for chunk in chunks:
        yield decoder.decode(chunk).encode("utf-8", errors="replace")
