"""Follows JSON that no parser takes, or that is too large, as far as an outer MessageHeader. PURE; constant memory."""

from __future__ import annotations

import re
from collections import deque
from typing import Any, Final

import msgspec
from lxml import etree

from mesh_itk3.itk3.json_form import element_of
from mesh_itk3.itk3.xml import Unreadable

_STRUCTURE = re.compile(rb'["{}\[\],:]')
_STRING_END = re.compile(rb'(?>[^"\\]+|\\.)*+"', re.DOTALL)
_TOKEN = re.compile(rb'"(?>[^"\\]+|\\.)*+(?:"|\Z)|[{}\[\],]', re.DOTALL)
_ERROR_AT = re.compile(r"byte (\d+)")

_MAX_DEPTH: Final = 64
_MAX_NAME_BYTES: Final = 256
_CUT: Final = -1
"""In place of the beginning of a string that was too long to be a name, and of which nothing is kept."""
_MAX_MARKS: Final = 8_000_000
"""Brackets, commas and the like that are looked at; some seconds of work. A guess: a real letter has far fewer."""
_RESOURCE_DEPTH: Final = 4
"""The resource object's own level: Bundle, its entries, the entry, the resource."""


class JsonScanner:
    """Feed it a message piece by piece. `header` is what was found; `where` is its path."""

    def __init__(self, max_header_bytes: int) -> None:
        self._max_header_bytes = max_header_bytes
        self.where = "Bundle"
        self._buffer = b""
        self._at = 0
        self._marks = 0
        self._depth = 0
        self._kinds: list[bytes] = []
        self._keys: list[bytes] = []
        self._is_key = False
        self._in_string_at: int | None = None
        self._entries = 0
        self._resource_at: int | None = None
        self._is_header: bool | None = None
        self._found: bytes | None = None

    # ---------------------------------------------------------------------------------------- feeding

    def feed(self, chunk: bytes) -> bool:
        """Whether the header has been found whole, or the search is given up."""
        self._drop_read()
        self._buffer += chunk
        while self._found is None and self._marks < _MAX_MARKS and self._step():
            self._marks += 1
            self._cap_resource()
        self._cap_resource()
        return self._found is not None or self._marks >= _MAX_MARKS

    def _cap_resource(self) -> None:
        """A header is kept as far as the cap; another resource, or one that has not said what it is, not at all."""
        if self._resource_at is not None and self._at - self._resource_at > self._max_header_bytes:
            self._end_resource(self._resource_at + self._max_header_bytes)

    def _drop_read(self) -> None:
        keep_from = self._at if self._resource_at is None else min(self._resource_at, self._at)
        if self._in_string_at is not None and self._in_string_at != _CUT:
            if self._at - self._in_string_at > _MAX_NAME_BYTES:
                self._in_string_at = _CUT
            else:
                keep_from = min(keep_from, self._in_string_at)
                self._in_string_at -= keep_from
        self._buffer = self._buffer[keep_from:]
        self._at -= keep_from
        if self._resource_at is not None:
            self._resource_at -= keep_from

    def _step(self) -> bool:
        if self._in_string_at is not None:
            return self._finish_string()
        mark = _STRUCTURE.search(self._buffer, self._at)
        if mark is None:
            self._at = len(self._buffer)
            return False
        self._at = mark.end()
        self._take(mark.group(), mark.start())
        return True

    def _finish_string(self) -> bool:
        start = self._in_string_at
        end = _STRING_END.match(self._buffer, self._at)
        if end is None:
            # Resume before a backslash that may be the last byte so far; elsewhere all of it has been looked at.
            self._at = self._resume_at()
            return False
        self._in_string_at = None
        self._at = end.end()
        self._take_string(b"" if start == _CUT else self._buffer[start : end.end() - 1])
        return True

    def _resume_at(self) -> int:
        end = len(self._buffer)
        backslashes = end - len(self._buffer[self._at :].rstrip(b"\\")) - self._at
        return end - backslashes % 2

    # ---------------------------------------------------------------------------------------- structure

    def _take(self, mark: bytes, at: int) -> None:
        if mark == b'"':
            self._in_string_at = at + 1
        elif mark in b"{[":
            self._open(mark, at)
        elif mark in b"}]":
            self._close(at)
        elif mark == b",":
            self._is_key = self._kind() == b"{"
        else:
            self._is_key = False

    def _kind(self) -> bytes:
        return self._kinds[-1] if self._kinds and self._depth <= _MAX_DEPTH else b""

    def _open(self, mark: bytes, at: int) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            return
        self._kinds.append(mark)
        self._keys.append(b"")
        self._is_key = mark == b"{"
        if self._kinds == [b"{", b"[", b"{"] and self._keys[0] == b"entry":
            self._entries += 1
        if self._is_at_resource() and self._resource_at is None:
            self._resource_at, self._is_header = at, None

    def _is_at_resource(self) -> bool:
        return self._kinds == [b"{", b"[", b"{", b"{"] and self._keys[0] == b"entry" and self._keys[2] == b"resource"

    def _close(self, at: int) -> None:
        if self._depth == _RESOURCE_DEPTH and self._resource_at is not None:
            self._end_resource(at + 1)
        if 0 < self._depth <= _MAX_DEPTH:
            self._kinds.pop()
            self._keys.pop()
        self._depth = max(0, self._depth - 1)
        self._is_key = False

    def _take_string(self, text: bytes) -> None:
        if self._depth > _MAX_DEPTH or not self._keys:
            return
        if self._is_key:
            self._keys[-1] = text[:100]
        elif self._depth == _RESOURCE_DEPTH and self._keys[-1] == b"resourceType" and self._resource_at is not None:
            self._is_header = text == b"MessageHeader"
            if not self._is_header:
                self._give_up_resource()

    # ---------------------------------------------------------------------------------------- the resource

    def _end_resource(self, end: int) -> None:
        if self._is_header:
            self._found = self._buffer[self._resource_at : end]
            self.where = f"Bundle.entry[{self._entries - 1}].resource"
        else:
            self._give_up_resource()

    def _give_up_resource(self) -> None:
        self._resource_at = None

    def header(self) -> etree._Element | None:
        """The MessageHeader, whole or as far as the message goes."""
        found = self._found
        if found is None and self._resource_at is not None and self._is_header:
            self.where = f"Bundle.entry[{self._entries - 1}].resource"
            found = self._buffer[self._resource_at :]
        content = None if found is None else _decode(found)
        try:
            return None if content is None else element_of(content)
        except Unreadable:
            return None


def _decode(text: bytes) -> dict[str, Any] | None:
    """The object, or as much of it as stands before the first mistake."""
    try:
        return _object(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        told = _ERROR_AT.search(str(error))
        end = int(told.group(1)) if told else len(text)
    for at, closers in reversed(_cuts(text[:end])):
        try:
            return _object(text[:at] + closers)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
    return None


def _cuts(text: bytes) -> deque[tuple[int, bytes]]:
    """The last places where the object could be cut, and what would close it there."""
    cuts: deque[tuple[int, bytes]] = deque(maxlen=_MAX_DEPTH)
    closers = bytearray()
    for found in _TOKEN.finditer(text):
        mark = found.group()
        if mark in b"{[":
            closers += b"}" if mark == b"{" else b"]"
        elif mark in b"}]":
            del closers[-1:]
        elif mark != b",":  # a string; one without an end is not the last place
            continue
        if mark not in b"{[" and 0 < len(closers) <= _MAX_DEPTH:
            cuts.append((found.start() + (mark != b","), bytes(reversed(closers))))
    return cuts


def _object(text: bytes) -> dict[str, Any] | None:
    decoded = msgspec.json.decode(text)
    return decoded if isinstance(decoded, dict) else None
