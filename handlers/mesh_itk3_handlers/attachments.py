"""Attachments: what they are by their bytes, and the file names that we give them. PURE.

A sender's content type is a claim, and its file name never becomes a path. Which types are accepted at all is decided
elsewhere; here everything is kept, the unknown under an extension that nothing opens.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import Final

from mesh_itk3.itk3.attachment_types import MEDIA_TYPES, agree, kind_of_content, kind_of_type
from mesh_itk3.itk3.document import Attachment, InvalidAttachment
from mesh_itk3_handlers.cautions import Caution

_UNKNOWN: Final = "application/octet-stream"
_RUNS_IN_A_BROWSER: Final = frozenset({"html", "xml"})


@dataclass(frozen=True, slots=True)
class FiledAttachment:
    """One attachment as it is filed."""

    file: str
    """`attachments/01.pdf`; empty where its content could not be read."""
    content_type: str
    """What the bytes are."""
    declared_type: str | None
    """What the sender said."""
    bytes: int
    sha256: str
    warnings: tuple[Caution, ...]

    @property
    def kind(self) -> str:
        return self.file.rpartition(".")[2].upper()

    @property
    def size_words(self) -> str:
        kilobytes = self.bytes / 1000
        return f"{kilobytes / 1000:.1f} MB" if kilobytes >= 1000 else f"{max(1, round(kilobytes))} kB"  # noqa: PLR2004


def read(attachment: Attachment, number: int) -> tuple[FiledAttachment, bytes]:
    """The attachment and its bytes, of which there are none where the content is not base64."""
    buffer = io.BytesIO()
    try:
        attachment.write_to(buffer)
    except InvalidAttachment:
        where = f"attachment {number}"
        unreadable = Caution("attachment_unreadable", where)
        return FiledAttachment("", _UNKNOWN, attachment.content_type, 0, "", (unreadable,)), b""
    content = buffer.getvalue()
    extension, words = kind_of(content, attachment.content_type)
    file = f"attachments/{number:02}.{extension}"
    filed = FiledAttachment(
        file=file,
        content_type=_media_type_of(content),
        declared_type=attachment.content_type,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        warnings=tuple(Caution(word, file) for word in words),
    )
    return filed, content


def kind_of(content: bytes, declared_type: str | None) -> tuple[str, tuple[str, ...]]:
    """The file extension that is safe for this content, and what to warn of."""
    found = kind_of_content(content)
    words = [] if declared_type else ["attachment_type_missing"]
    if found is None:
        words.append("attachment_type_unknown")
    if declared_type and not agree(kind_of_type(declared_type), found):
        words.append("attachment_type_mismatch")
    if found == "doc" or (found == "docx" and b"vbaProject" in content):
        words.append("attachment_has_macros")
    if found in _RUNS_IN_A_BROWSER:
        # Opened in a browser it would run as a page of this machine; the source is still readable.
        return "txt", (*words, "attachment_filed_as_text")
    return found or "bin", tuple(words)


def _media_type_of(content: bytes) -> str:
    found = kind_of_content(content)
    return MEDIA_TYPES[found][0] if found else _UNKNOWN
