"""What the bytes of an attachment show: the kinds of the standard, and nothing that they do not show."""

from __future__ import annotations

import pytest

from mesh_itk3.itk3.attachment_types import START_BYTES, agree, kind_of_content, kind_of_start, kind_of_type

COMPOUND_FILE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
WORD_STREAM = "WordDocument".encode("utf-16-le")
WHOLE = {
    "PDF": (b"%PDF-1.7 ...", "pdf"),
    "Word": (COMPOUND_FILE + b"..." + WORD_STREAM, "doc"),
    "another compound file": (COMPOUND_FILE + b"...Workbook", None),
    "Word of 2007": (b"PK\x03\x04...word/document.xml...", "docx"),
    "another archive": (b"PK\x03\x04...xl/workbook.xml...", None),
    "RTF": (b" \r\n{\\rtf1 x}", "rtf"),
    "RTF behind more white space than is looked through": (b" " * START_BYTES + b"{\\rtf1 x}", "txt"),
    "HTML": (b"<html><body>x</body></html>", "html"),
    "HTML behind a byte order mark": (b"\xef\xbb\xbf<html><body>x</body></html>", "html"),
    "HTML with a null byte": (b"<html>\x00</html>", None),
    "XML": (b"<?xml version='1.0'?><x/>", "xml"),
    "text": (b"Dear colleague", "txt"),
    "text in UTF-8 that no other character set has": ("\N{LATIN CAPITAL LETTER A WITH ACUTE}lvaro".encode(), "txt"),
    "text of Windows": ("Entla\N{LATIN SMALL LETTER SHARP S}ung".encode("cp1252"), "txt"),
    "text that breaks off in the middle of a character": (
        b"\xff\xfe" + "x\N{CLOCK FACE ONE OCLOCK}".encode("utf-16-le")[:-1],
        None,
    ),
    "text with a control character": (b"Dear\x01colleague", None),
}


@pytest.mark.parametrize("row", WHOLE)
def test_whole_content_is_of_the_kind_that_it_shows(row):
    content, kind = WHOLE[row]
    assert kind_of_content(content) == kind


def test_of_words_formats_a_beginning_shows_only_the_container():
    assert kind_of_start(COMPOUND_FILE + b"...Workbook") == "doc"
    assert kind_of_start(b"PK\x03\x04...xl/workbook.xml...") == "docx"


def beginning(end: bytes) -> bytes:
    """As much as is looked at, or a byte more, in UTF-16 and with this end."""
    pairs = -(-(START_BYTES - 2 - len(end)) // 2)
    return b"\xff\xfe" + b"x\x00" * pairs + end


CLOCK = "\N{CLOCK FACE ONE OCLOCK}".encode("utf-16-le")


@pytest.mark.parametrize("left", [2, 3])
def test_a_beginning_may_break_off_in_the_middle_of_a_character(left):
    assert kind_of_start(beginning(CLOCK[:left])) == "txt"


def test_what_is_no_character_further_ahead_is_no_text():
    assert kind_of_start(beginning(CLOCK[:2] + b"x\x00")) is None


def test_texts_are_not_told_apart_and_everything_else_is():
    assert agree("html", "txt")
    assert agree("pdf", "pdf")
    for declared, found in (("pdf", "txt"), ("html", "pdf"), (None, "xml"), ("txt", None)):
        assert not agree(declared, found)


def test_a_name_is_known_in_any_spelling_and_with_parameters():
    assert kind_of_type(" Text/Plain ; charset=utf-8") == "txt"
    assert (kind_of_type("image/gif"), kind_of_type(""), kind_of_type(None)) == (None, None, None)
