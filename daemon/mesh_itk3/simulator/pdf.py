"""A small, valid PDF with some lines of text: the letter inside a Send Document. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random


def a_pdf(lines: Sequence[str], *, at_least_bytes: int = 0) -> bytes:
    """One A4 page in Helvetica. Padded, where asked, by an unused stream that compresses as badly as a scan."""
    bare = _document(lines, padding=b"")
    missing = at_least_bytes - len(bare)
    return bare if missing <= 0 else _document(lines, padding=Random(at_least_bytes).randbytes(missing))


def _document(lines: Sequence[str], padding: bytes) -> bytes:
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 5 0 R /Resources << /Font << /F1 4 0 R >> >> >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        _stream(_page(lines)),
    ]
    if padding:
        objects.append(_stream(padding))
    return _assemble(objects)


def _page(lines: Sequence[str]) -> bytes:
    shown = b"".join(b"(" + _escaped(line) + b") Tj T*\n" for line in lines)
    return b"BT /F1 11 Tf 15 TL 60 780 Td\n" + shown + b"ET"


def _escaped(line: str) -> bytes:
    text = line.encode("cp1252", "replace")
    return text.replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")


def _stream(content: bytes) -> bytes:
    return b"<< /Length %d >>\nstream\n" % len(content) + content + b"\nendstream"


def _assemble(objects: Sequence[bytes]) -> bytes:
    parts, offsets, position = [b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"], [], 15
    for number, body in enumerate(objects, start=1):
        part = b"%d 0 obj\n" % number + body + b"\nendobj\n"
        offsets.append(position)
        position += len(part)
        parts.append(part)
    rows = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    count = len(objects) + 1
    parts.append(b"xref\n0 %d\n0000000000 65535 f \n" % count + rows)
    parts.append(b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (count, position))
    return b"".join(parts)
