"""Attachments: Binary resources of the document bundle, base64. PURE; writes only to the file that it is given."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from functools import cached_property
from typing import BinaryIO, Final

from mesh_itk3.itk3.attachment_types import START_BYTES
from mesh_itk3.itk3.resource import Resource

_BLOCK: Final = 65_536
_BLOCK_OF_START: Final = 6_144
"""Characters: those of START_BYTES, and room for some line ends."""
_WHITE: Final = b" \t\r\n\f\v"


class InvalidAttachment(Exception):
    """The attachment's content is absent or is not base64. The text is a rule name, never content."""


class Attachment:
    """One Binary. The sender's content type is a claim: check it against the bytes before use."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource

    @property
    def content_type(self) -> str | None:
        return self.resource.value("contentType")

    @property
    def where(self) -> str:
        return f"{self.resource.where}.content"

    def write_to(self, file: BinaryIO) -> int:
        """Decodes into the file block by block; how many bytes. Beside lxml's one copy of the encoded text the memory
        used is constant. Raises InvalidAttachment, perhaps after part has been written: throw the file away then.
        """
        written = sum(map(file.write, _pieces(self._encoded(), _BLOCK)))
        if not written:
            raise InvalidAttachment("content_missing")
        return written

    @cached_property
    def start(self) -> bytes | None:
        """What its content begins with, START_BYTES of it or all there is; no more is decoded. None where that is no base64
        or nothing.
        """
        found = b""
        try:
            for piece in _pieces(self._encoded(), _BLOCK_OF_START):
                found += piece
                if len(found) >= START_BYTES:
                    break
        except InvalidAttachment:
            return None
        return found or None

    def _encoded(self) -> str:
        # `content` in STU3, `data` in R4: senders that moved on send the other name.
        for name in ("content", "data"):
            for part in self.resource.all(name):
                text = part.element.get("value")
                if text:
                    return text
        raise InvalidAttachment("content_missing")


def _pieces(text: str, block_characters: int) -> Iterator[bytes]:
    """The content that this base64 stands for, a block at a time. Raises InvalidAttachment."""
    rest = b""
    is_ended = False
    for at in range(0, len(text), block_characters):
        block = rest + _ascii(text[at : at + block_characters]).translate(None, _WHITE)
        if block and is_ended:
            raise InvalidAttachment("base64_after_padding")
        whole = len(block) - len(block) % 4
        block, rest = block[:whole], block[whole:]
        yield _decoded(block)
        is_ended = is_ended or block.endswith(b"=")
    if rest:
        raise InvalidAttachment("base64_length")


def _ascii(text: str) -> bytes:
    try:
        return text.encode("ascii")
    except UnicodeEncodeError as error:
        raise InvalidAttachment("base64_alphabet") from error


def _decoded(block: bytes) -> bytes:
    try:
        return binascii.a2b_base64(block, strict_mode=True) if block else b""
    except binascii.Error as error:
        raise InvalidAttachment("base64_alphabet") from error


def encoded(content: bytes) -> str:
    """The text that a Binary holds for these bytes."""
    return base64.b64encode(content).decode("ascii")
