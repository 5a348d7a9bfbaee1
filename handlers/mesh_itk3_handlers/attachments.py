"""Attachments: what they are by their bytes, and the file names that we give them. PURE.

A sender's content type is a claim, and its file name never becomes a path. Which types are accepted at all is decided
elsewhere; here everything is kept, the unknown under an extension that nothing opens.
"""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass
from typing import Final

from mesh_itk3.itk3.document import Attachment, InvalidAttachment
from mesh_itk3_handlers.cautions import Caution

_HEAD_BYTES: Final = 4096
_PDF_WITHIN: Final = 1024
"""Readers of PDF look for its mark in this much of a file (ISO 32000-1, annex H.3)."""

# What GP systems are expected to take (Transfer of Care, page build_attachments), and the names that senders use.
DECLARED: Final[dict[str, str]] = {
    "application/pdf": "pdf",
    "application/x-pdf": "pdf",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/rtf": "rtf",
    "text/rtf": "rtf",
    "text/html": "html",
    "text/plain": "txt",
    "text/xml": "xml",
    "application/xml": "xml",
    "image/jpeg": "jpg",
    "image/jpg": "jpg",
    "image/pjpeg": "jpg",
    "image/png": "png",
    "image/tiff": "tiff",
}
_MARKS: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"{\\rtf", "rtf"),
)
CONTENT_TYPES: Final[dict[str, str]] = {
    "pdf": "application/pdf",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "rtf": "application/rtf",
    "html": "text/html",
    "txt": "text/plain",
    "xml": "text/xml",
    "jpg": "image/jpeg",
    "png": "image/png",
    "tiff": "image/tiff",
    "bin": "application/octet-stream",
}
_RUNS_IN_A_BROWSER: Final = frozenset({"html", "xml"})
_TEXTS: Final = frozenset({"html", "xml", "txt"})
"""Not told apart when they are compared with what the sender said: a fragment of HTML may look like XML or plain text."""
_XML: Final = re.compile(rb"\s*<(?:\?xml|[A-Za-z_][A-Za-z0-9_.:-]*[\s/>])")
_HTML: Final = re.compile(rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body|script|svg)\b", re.IGNORECASE | re.DOTALL)


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
        return FiledAttachment("", CONTENT_TYPES["bin"], attachment.content_type, 0, "", (unreadable,)), b""
    content = buffer.getvalue()
    extension, words = kind_of(content, attachment.content_type)
    file = f"attachments/{number:02}.{extension}"
    filed = FiledAttachment(
        file=file,
        content_type=CONTENT_TYPES[_found_in(content) or "bin"],
        declared_type=attachment.content_type,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        warnings=tuple(Caution(word, file) for word in words),
    )
    return filed, content


def kind_of(content: bytes, declared_type: str | None) -> tuple[str, tuple[str, ...]]:
    """The file extension that is safe for this content, and what to warn of."""
    declared = DECLARED.get((declared_type or "").partition(";")[0].strip().lower())
    found = _found_in(content)
    words = [] if declared_type else ["attachment_type_missing"]
    if found is None:
        words.append("attachment_type_unknown")
    if declared_type and not _agrees(declared, found):
        words.append("attachment_type_mismatch")
    if found == "doc" or (found == "docx" and b"vbaProject" in content):
        words.append("attachment_has_macros")
    if found in _RUNS_IN_A_BROWSER:
        # Opened in a browser it would run as a page of this machine; the source is still readable.
        return "txt", (*words, "attachment_filed_as_text")
    return found or "bin", tuple(words)


def _agrees(declared: str | None, found: str | None) -> bool:
    return declared == found or (declared in _TEXTS and found in _TEXTS)


def _found_in(content: bytes) -> str | None:
    """What the bytes are: a key of CONTENT_TYPES, or None for nothing that we know."""
    if b"%PDF-" in content[:_PDF_WITHIN]:
        return "pdf"
    for mark, kind in _MARKS:
        if content.startswith(mark):
            return kind
    if content.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return "doc" if "WordDocument".encode("utf-16-le") in content else None
    if content.startswith(b"PK\x03\x04"):
        return "docx" if b"word/document.xml" in content else None
    return _kind_of_text(content)


def _kind_of_text(content: bytes) -> str | None:
    if b"\x00" in content:
        return None
    head = content[:_HEAD_BYTES].removeprefix(b"\xef\xbb\xbf")
    if _HTML.match(head):
        return "html"
    if _XML.match(head):
        return "xml"
    return "txt" if _is_text(content) else None


def _is_text(content: bytes) -> bool:
    for encoding in ("utf-8", "cp1252"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        return not re.search(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]", text)
    return False
