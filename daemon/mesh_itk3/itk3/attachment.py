"""Attachments: Binary resources of the document bundle, base64. PURE; writes only to the file that it is given."""

from __future__ import annotations

import base64
import binascii
from typing import BinaryIO, Final

from mesh_itk3.itk3.resource import Resource

_BLOCK: Final = 65_536
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
        text = self._encoded()
        written = 0
        rest = b""
        is_ended = False
        for at in range(0, len(text), _BLOCK):
            block = rest + _ascii(text[at : at + _BLOCK]).translate(None, _WHITE)
            if block and is_ended:
                raise InvalidAttachment("base64_after_padding")
            whole = len(block) - len(block) % 4
            block, rest = block[:whole], block[whole:]
            written += file.write(_decoded(block))
            is_ended = is_ended or block.endswith(b"=")
        if rest:
            raise InvalidAttachment("base64_length")
        if not written:
            raise InvalidAttachment("content_missing")
        return written

    def _encoded(self) -> str:
        # `content` in STU3, `data` in R4: senders that moved on send the other name.
        for name in ("content", "data"):
            for part in self.resource.all(name):
                text = part.element.get("value")
                if text:
                    return text
        raise InvalidAttachment("content_missing")


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
