"""The attachment types of the standard: what senders call them, and what their bytes begin with. PURE.

Source: Transfer of Care, page build_attachments. GP Connect Messaging has the same list and spells some names otherwise;
both spellings are known, and those of older media type registers.
"""

from __future__ import annotations

import re
from typing import Final

MEDIA_TYPES: Final[dict[str, tuple[str, ...]]] = {
    # kind, which is also its file extension: names, the usual one first
    "pdf": ("application/pdf", "application/x-pdf"),
    "doc": ("application/msword",),
    "docx": ("application/vnd.openxmlformats-officedocument.wordprocessingml.document",),
    "rtf": ("application/rtf", "text/rtf", "application/mswrtford"),
    "html": ("text/html",),
    "txt": ("text/plain",),
    "xml": ("text/xml", "application/xml"),
    "jpg": ("image/jpeg", "image/jpg", "image/pjpeg"),
    "png": ("image/png",),
    "tiff": ("image/tiff", "image/tif"),
}
KINDS: Final = frozenset(MEDIA_TYPES)
TEXTS: Final = frozenset({"html", "xml", "txt"})
"""Not told apart when they are compared with what the sender said: a fragment of HTML may look like XML or plain text."""
START_BYTES: Final = 4096
"""As much of an attachment as tells its kind."""

_KIND_OF: Final = {name: kind for kind, names in MEDIA_TYPES.items() for name in names}
_PDF_WITHIN: Final = 1024
"""Readers of PDF look for its mark in this much of a file (ISO 32000-1, annex H.3)."""
_MARKS: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
)
# Word takes white space and a byte order mark before it.
_RTF: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*+\{\\rtf")
_FOREIGN: Final = re.compile(
    # Of programs, archives, sound, film and pictures that the standard does not list. Asked only of what is no legible text.
    rb"MZ.{0,62}\x00|\x7fELF|\xfe\xed\xfa[\xce\xcf]|[\xce\xcf]\xfa\xed\xfe|\xca\xfe\xba\xbe|L\x00\x00\x00\x01\x14\x02\x00"
    rb"|Rar!\x1a\x07|7z\xbc\xaf\x27\x1c|\x1f\x8b|BZh[1-9]|\xfd7zXZ\x00|MSCF\x00|SQLite format 3\x00"
    rb"|GIF8[79]a|RIFF.{4}(?:WAVE|AVI |WEBP)|OggS\x00|\x00\x00..ftyp",
    re.DOTALL,
)
_COMPOUND_FILE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ZIP: Final = b"PK\x03\x04"
_XML: Final = re.compile(rb"\s*<(?:\?xml|[A-Za-z_][A-Za-z0-9_.:-]*[\s/>])")
# Comments are passed over once and for all: going back over a few hundred of them would take for ever.
_HTML: Final = re.compile(
    rb"\s*+(?:<!--(?>.*?-->)\s*+)*+<(?:!doctype\s+html|html|head|body|script|svg)\b", re.IGNORECASE | re.DOTALL
)
_UTF_16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def media_type(content_type: str | None) -> str:
    """The type without its parameters, lower case; empty where there is none."""
    return (content_type or "").partition(";")[0].strip().lower()


def kind_of_type(content_type: str | None) -> str | None:
    """The kind that a sender means by this content type; None for no type, and for one that is not of the standard."""
    return _KIND_OF.get(media_type(content_type))


def kind_of_content(content: bytes) -> str | None:
    """What these bytes are, all of them being here; None for nothing that the standard lists."""
    found = _kind_by_mark(content)
    if found == "doc":
        return found if "WordDocument".encode("utf-16-le") in content else None
    if found == "docx":
        return found if b"word/document.xml" in content else None
    return found or _kind_of_text(content, is_whole=True)


def kind_of_start(start: bytes) -> str | None:
    """What an attachment may be that begins with these bytes. Of Word's two formats only the container shows here: another
    compound file is taken for `doc`, another archive for `docx`.
    """
    return _kind_by_mark(start) or _kind_of_text(start, is_whole=len(start) < START_BYTES)


def is_foreign(start: bytes) -> bool:
    """Whether what begins so, and is of no kind that the standard lists, can be told to be something else."""
    return _FOREIGN.match(start) is not None


def agree(declared: str | None, found: str | None) -> bool:
    """Whether content of the one kind may be called the other."""
    return declared == found or (declared in TEXTS and found in TEXTS)


def _kind_by_mark(content: bytes) -> str | None:
    if b"%PDF-" in content[:_PDF_WITHIN]:
        return "pdf"
    for mark, kind in _MARKS:
        if content.startswith(mark):
            return kind
    if _RTF.match(content, 0, START_BYTES):
        return "rtf"
    if content.startswith(_COMPOUND_FILE):
        return "doc"
    return "docx" if content.startswith(_ZIP) else None


def _kind_of_text(content: bytes, *, is_whole: bool) -> str | None:
    if content.startswith(_UTF_16_MARKS):  # as word processors save a plain text
        text = _decoded(content, "utf-16", is_whole=is_whole)
        content = b"\x00" if text is None else text.encode()
    if b"\x00" in content:
        return None
    head = content[:START_BYTES].removeprefix(b"\xef\xbb\xbf")
    if _HTML.match(head):
        return "html"
    if _XML.match(head):
        return "xml"
    return "txt" if _is_text(content, is_whole=is_whole) else None


def _is_text(content: bytes, *, is_whole: bool) -> bool:
    text = _decoded(content, "utf-8", is_whole=is_whole)
    if text is None:
        text = _decoded(content, "cp1252", is_whole=True)
    return text is not None and not _CONTROLS.search(text)


def _decoded(content: bytes, encoding: str, *, is_whole: bool) -> str | None:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        # A character of up to four bytes may be cut off at the end of a beginning.
        if is_whole or error.start < len(content) - 3:
            return None
        return content[: error.start].decode(encoding)
