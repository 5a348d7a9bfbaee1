"""Tag soup: follows the elements of XML that no parser takes, as far as an outer MessageHeader. PURE; constant memory.

It reads tags only and forgives: an end tag closes what stands open above its start tag, one without a start tag is
passed over. So a broken narrative costs no more than itself.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from lxml import etree

from mesh_itk3.itk3 import xml

# Possessive throughout: a hostile tag cannot make it backtrack.
_ATTRIBUTES = rb"""((?>[^<>"']+|"[^"<]*+"|'[^'<]*+')*+)"""
_NAME = rb"""([^\s<>/=!?"'&]{1,200}+)"""
_TAG = re.compile(rb"<(/?+)" + _NAME + _ATTRIBUTES + rb">")
_UNFINISHED = re.compile(rb"</?+(?:" + _NAME + _ATTRIBUTES + rb""")?+(?:(["'])[^<]*+)?+\Z""")
_ENDS: Final = ((b"<!--", b"-->"), (b"<![CDATA[", b"]]>"), (b"<?", b"?>"))
_LONGEST_OPENING: Final = 9
_DOCTYPE_END = re.compile(rb"\A[^\[>]*+(?:>|\[.*?\]\s*+>)", re.DOTALL)

_MAX_TAG_BYTES: Final = 65_536
_MAX_DEPTH: Final = 1000
_MAX_TAGS: Final = 4_000_000
"""Tags that are looked at; some seconds of work. A guess: a real letter has far fewer."""
_TO_HEADER: Final = (b"Bundle", b"entry", b"resource")


class XmlScanner:
    """Feed it a message piece by piece. `header` is what was found; `where` is its path."""

    def __init__(self, max_header_bytes: int) -> None:
        self._max_header_bytes = max_header_bytes
        self.where = "Bundle"
        self._buffer = b""
        self._at = 0
        self._tags = 0
        self._has_doctype = False
        self._until: bytes | None = None
        self._kept = b""
        self._open: list[bytes] = []
        self._open_count: Counter[bytes] = Counter()
        self._entries = 0
        self._header_at: int | None = None
        self._header_tag = b""
        self._found: bytes | None = None

    # ---------------------------------------------------------------------------------------- feeding

    def feed(self, chunk: bytes) -> bool:
        """Whether the header has been found whole, or the search is given up."""
        self._drop_read()
        self._buffer += chunk
        while self._found is None and self._tags < _MAX_TAGS and self._step():
            self._tags += 1
        if self._header_at is not None and len(self._buffer) - self._header_at > self._max_header_bytes:
            self._finish(self._header_at + self._max_header_bytes)
        return self._found is not None or self._tags >= _MAX_TAGS

    def _drop_read(self) -> None:
        keep_from = self._at if self._header_at is None else min(self._header_at, self._at)
        self._buffer = self._buffer[keep_from:]
        self._at -= keep_from
        if self._header_at is not None:
            self._header_at -= keep_from

    def _step(self) -> bool:
        """Reads one tag; False where more bytes are needed."""
        if self._until is not None:
            return self._skip()
        at = self._buffer.find(b"<", self._at)
        if at < 0:
            self._at = len(self._buffer)
            return False
        self._at = at
        tag = _TAG.match(self._buffer, at)
        if tag is not None:
            self._at = tag.end()
            self._take(tag)
            return True
        return self._other(at)

    def _other(self, at: int) -> bool:
        """What begins with `<` and is no whole tag."""
        for opening, ending in _ENDS:
            if self._buffer.startswith(opening, at):
                self._until = ending
                self._at = at + len(opening)
                return True
        if not self._has_doctype and self._buffer.startswith(b"<!DOCTYPE", at):
            return self._doctype(at)
        if len(self._buffer) - at < _LONGEST_OPENING or _UNFINISHED.match(self._buffer, at):
            return self._wait_for_tag(at)
        self._at = at + 1
        return True

    def _doctype(self, at: int) -> bool:
        end = _DOCTYPE_END.match(self._buffer[at : at + _MAX_TAG_BYTES])
        if end is None and len(self._buffer) - at < _MAX_TAG_BYTES:
            return False
        self._has_doctype = True  # only one is looked for: each search may cost as much as a tag may be long
        self._at = at + (end.end() if end else _LONGEST_OPENING)
        return True

    def _wait_for_tag(self, at: int) -> bool:
        """Waits for the rest of a tag, but keeps no huge attribute value (an attachment) meanwhile."""
        unfinished = _UNFINISHED.match(self._buffer, at)
        quote = unfinished and unfinished.group(3)
        if self._header_at is None and len(self._buffer) - at > _MAX_TAG_BYTES:
            if not quote or not unfinished:
                self._at = at + 1
                return True
            self._kept = self._buffer[at : unfinished.start(3) + 1][:_MAX_TAG_BYTES]
            self._until = quote
            self._at = len(self._buffer)
        return False

    def _skip(self) -> bool:
        ending = self._until or b""
        found = self._buffer.find(ending, self._at)
        if found < 0:
            self._at = max(self._at, len(self._buffer) - len(ending) + 1)
            return False
        self._until = None
        self._at = found + len(ending)
        if self._kept:
            self._buffer = self._kept + self._buffer[found:]
            self._at = 0
            self._kept = b""
        return True

    # ---------------------------------------------------------------------------------------- elements

    def _take(self, tag: re.Match[bytes]) -> None:
        name = tag.group(2).rpartition(b":")[2]
        if tag.group(1):
            self._close(name, tag.end())
        elif not tag.group(3).endswith(b"/"):
            self._start(name, tag)

    def _start(self, name: bytes, tag: re.Match[bytes]) -> None:
        if name == b"entry" and self._open[-1:] == [name]:
            self._close(name, tag.start())  # no entry holds another directly: its end tag was broken
        path = self._path()
        if name == b"entry" and path == _TO_HEADER[:1]:
            self._entries += 1
        if name == b"MessageHeader" and path == _TO_HEADER and self._header_at is None:
            self._header_at = tag.start()
            self._header_tag = tag.group(2)
            self.where = f"Bundle.entry[{self._entries - 1}].resource"
        if len(self._open) < _MAX_DEPTH:
            self._open.append(name)
            self._open_count[name] += 1

    def _path(self) -> tuple[bytes, ...]:
        """The open elements from the outermost Bundle on; what stands around a Bundle does not matter. Where there is none, a
        header that stands alone, or where one stands in a Bundle, is at its place: it may still be an ITK008M.
        """
        if b"Bundle" not in self._open[: 2 * len(_TO_HEADER)]:
            return _TO_HEADER if tuple(self._open[1:]) in ((), _TO_HEADER[1:]) and len(self._open) != 1 else ()
        if len(self._open) > 2 * len(_TO_HEADER):
            return ()
        return tuple(self._open[self._open.index(b"Bundle") :])

    def _close(self, name: bytes, end: int) -> None:
        if not self._open_count[name]:
            return
        while True:
            closed = self._open.pop()
            self._open_count[closed] -= 1
            if closed == b"MessageHeader" and self._header_at is not None and self._path() == _TO_HEADER:
                self._finish(end)
            if closed == name:
                return

    def _finish(self, end: int) -> None:
        self._found = self._buffer[self._header_at : end]

    # ---------------------------------------------------------------------------------------- result

    def header(self) -> etree._Element | None:
        """The MessageHeader, whole or as far as the message goes."""
        found = self._found
        if found is None and self._header_at is not None:
            found = self._buffer[self._header_at :][: self._max_header_bytes]
        return None if found is None else _recover(found, self._header_tag)


def _recover(text: bytes, tag: bytes) -> etree._Element | None:
    """Parses what was cut out of a message, without the namespaces that were declared around it and without any DTD."""
    prefix = tag.rpartition(b":")[0]
    declared = b' xmlns:%s="%s"' % (prefix, xml.FHIR.encode()) if prefix else b""
    whole = b'<Bundle xmlns="%s"%s>%s' % (xml.FHIR.encode(), declared, text.decode("utf-8", "replace").encode())
    try:
        root = etree.fromstring(whole, xml.hardened_parser(recover=True))
    except (etree.XMLSyntaxError, ValueError):
        return None
    return None if root is None else xml.first(root, "MessageHeader")
