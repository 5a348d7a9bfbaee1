"""Attachments are named by us and typed by their bytes."""

import hashlib

import pytest

from mesh_itk3_handlers.attachments import kind_of, read
from support.letters_builder import a_message, binary

PDF = b"%PDF-1.7\n..."
JPEG = b"\xff\xd8\xff\xe0..."
PNG = b"\x89PNG\r\n\x1a\n..."
TIFF = b"II*\x00..."
RTF = b"{\\rtf1 words}"
DOC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1..." + "WordDocument".encode("utf-16-le")
DOCX = b"PK\x03\x04...word/document.xml..."
ZIP = b"PK\x03\x04...anything.exe"
DOCX_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

KINDS = {
    "pdf": (PDF, "application/pdf", "pdf", ()),
    "pdf after a few bytes": (b"\r\n" + PDF, "application/pdf", "pdf", ()),
    "type with parameters and capitals": (PDF, "Application/PDF; charset=x", "pdf", ()),
    "jpg": (JPEG, "image/jpeg", "jpg", ()),
    "jpg under its other name": (JPEG, "image/jpg", "jpg", ()),
    "png": (PNG, "image/png", "png", ()),
    "tiff": (TIFF, "image/tiff", "tiff", ()),
    "rtf": (RTF, "application/rtf", "rtf", ()),
    "rtf after a line end": (b"\r\n" + RTF, "application/rtf", "rtf", ()),
    "rtf after a byte order mark": (b"\xef\xbb\xbf" + RTF, "text/rtf", "rtf", ()),
    "tiff under its short name": (TIFF, "image/tif", "tiff", ()),
    "text with a byte of no character set": (
        b"Dear colleague \x81",
        "text/plain",
        "bin",
        ("attachment_type_unknown", "attachment_type_mismatch"),
    ),
    "rtf as text": (RTF, "text/rtf", "rtf", ()),
    "docx": (DOCX, DOCX_TYPE, "docx", ()),
    "docx with macros": (DOCX + b"vbaProject", DOCX_TYPE, "docx", ("attachment_has_macros",)),
    "doc": (DOC, "application/msword", "doc", ("attachment_has_macros",)),
    "text": (b"Dear colleague", "text/plain", "txt", ()),
    "latin-1 text": ("café".encode("latin-1"), "text/plain", "txt", ()),
    "utf-16 text": ("Liebe Kollegin".encode("utf-16"), "text/plain", "txt", ()),
    "utf-16 html": ("<html>x</html>".encode("utf-16"), "text/html", "txt", ("attachment_filed_as_text",)),
    "no utf-16 after all": (
        b"\xff\xfe\x00\xd8\x00\xd8",
        "text/plain",
        "bin",
        ("attachment_type_unknown", "attachment_type_mismatch"),
    ),
    "comments without end": (b"<!---->" * 600 + b"x", "text/plain", "txt", ()),
    "html": (b"<!DOCTYPE html><p>x", "text/html", "txt", ("attachment_filed_as_text",)),
    "html that says it is text": (b"<html><script>x</script>", "text/plain", "txt", ("attachment_filed_as_text",)),
    "svg": (b"<svg onload='x'>", "image/svg+xml", "txt", ("attachment_type_mismatch", "attachment_filed_as_text")),
    "xml": (b"<?xml version='1.0'?><x/>", "text/xml", "txt", ("attachment_filed_as_text",)),
    "pdf that says it is png": (PDF, "image/png", "pdf", ("attachment_type_mismatch",)),
    "program that says it is pdf": (
        b"MZ\x90\x00",
        "application/pdf",
        "bin",
        ("attachment_type_unknown", "attachment_type_mismatch"),
    ),
    "zip that says it is docx": (ZIP, DOCX_TYPE, "bin", ("attachment_type_unknown", "attachment_type_mismatch")),
    "unknown of an unknown type": (b"\x00\x01\x02", "application/dicom", "bin", ("attachment_type_unknown",)),
    "pdf of an unknown type": (PDF, "application/octet-stream", "pdf", ("attachment_type_mismatch",)),
    "pdf without a type": (PDF, None, "pdf", ("attachment_type_missing",)),
}


@pytest.mark.parametrize(("content", "declared", "extension", "words"), KINDS.values(), ids=KINDS)
def test_the_extension_follows_the_content_and_a_false_type_is_told(content, declared, extension, words):
    assert kind_of(content, declared) == (extension, words)


def test_an_attachment_is_decoded_measured_and_named_by_its_number():
    message = a_message(entries=binary("b", " JVBE\nRi0xLjQg\teA== "))
    filed, content = read(message.document.attachments[0], 3)
    assert content == b"%PDF-1.4 x"
    assert (filed.file, filed.content_type, filed.bytes) == ("attachments/03.pdf", "application/pdf", 10)
    assert filed.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("content", ["!!!", "JVBERi0xLjQgeA", "", "JVBE=Ri0x"])
def test_an_attachment_that_is_not_base64_is_told_and_not_filed(content):
    filed, decoded = read(a_message(entries=binary("b", content)).document.attachments[0], 1)
    assert (filed.file, decoded) == ("", b"")
    assert [str(caution) for caution in filed.warnings] == ["attachment_unreadable: attachment 1"]
