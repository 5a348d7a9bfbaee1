"""Narratives of the shape that most systems write, recognised as a whole: what matches the grammar below is safe as it
stands, and cleaning it would give the same back. Anything else is for `narrative.sanitise`. PURE.

The grammar names every tag, attribute and nesting that it takes. It takes only what an HTML parser leaves where it is:
no text loose in a table, no block in a paragraph, no row without a body.
"""

from __future__ import annotations

import re
from typing import Any, Final

from lxml import etree

# Possessive throughout: a narrative that does not match is found out in one pass, whatever a sender writes.
_TEXT: Final = r"[^<&\r\ufeff]*+(?:&(?:amp|lt|gt);[^<&\r\ufeff]*+)*+"
_SPACE: Final = r"[ \t\n]*+"
_NUMBER: Final = r'="[0-9]{1,4}+%?+"'
_NAMESPACES: Final = r'(?: xmlns(?::[A-Za-z0-9]++)?+="[^"<>&]*+")*+'


def _element(names: str, content: str, attributes: str = "") -> str:
    # The closing tag is the right one: it is a serialiser's output that is matched. `<p></p>` and `<p/>` are alike in it.
    return rf"<(?:{names}){attributes}(?:/>|>{content}</(?:{names})>)"


def _mixed(*elements: str) -> str:
    return rf"{_TEXT}(?:(?:{'|'.join(elements)}){_TEXT})*+"


def _spaced(element: str) -> str:
    return rf"{_SPACE}(?:{element}{_SPACE})++"


_IN_LINE: Final = rf"<br/>|{_element('b|i|u|em|strong|sub|sup', _TEXT)}"
_PARAGRAPH: Final = _element("p", _mixed(_IN_LINE))
_LIST: Final = _element("ul|ol", _spaced(_element("li", _mixed(_IN_LINE, _PARAGRAPH))))
_CELL: Final = _element("th|td", _mixed(_IN_LINE, _PARAGRAPH, _LIST), rf"(?: (?:colspan|rowspan|width){_NUMBER})?+")
_ROWS: Final = _element("thead|tbody|tfoot", _spaced(_element("tr", _spaced(_CELL))))
_TABLE: Final = _element("table", _spaced(_ROWS), rf"(?: width{_NUMBER})?+")
_DIV: Final = rf"<div{_NAMESPACES}>({_mixed(_IN_LINE, _PARAGRAPH, _LIST, _TABLE)})</div>"
_STATUS: Final = rf'(?:<status value="[a-z]*+"/>)?+{_SPACE}'
_NARRATIVE: Final = re.compile(rf"(?:<text{_NAMESPACES}>{_SPACE}{_STATUS})?+{_DIV}(?:{_SPACE}</text>)?+")

_EMPTY: Final = re.compile(r"<([a-z]++)([^<>/]*+)/>")
_TAG: Final = re.compile(r"(<[^>]*+>)")
_SPOKEN: Final = dict.fromkeys(("</td>", "</th>"), " ") | dict.fromkeys(
    ("<br>", *(f"<{end}{name}>" for name in ("p", "ul", "ol", "li", "table", "tr") for end in ("", "/"))), "\n"
)
"""What stands for a tag in the plain text; nothing for all others, but for a table with a width."""

_WHITE: Final = "\t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"
"""ASCII's white space beside the blank, as Python sees it."""
_LONG: Final = 200


def read_plain(element: Any) -> tuple[str, str] | None:
    """Markup and plain text of a `text` or `div` that the grammar takes; else None."""
    found = _NARRATIVE.fullmatch(etree.tostring(element, encoding="unicode", with_tail=False))
    if found is None:
        return None
    content: str = found[1]
    if "/>" in content:
        content = _EMPTY.sub(r"<\1\2></\1>", content.replace("<br/>", "<br>"))
    text = _plain_text(content)
    return (f"<div>{content}</div>".replace("\xa0", "&nbsp;"), text) if text else ("", "")


def _plain_text(content: str) -> str:
    pieces = _TAG.split(content.replace("\n", " "))
    pieces[1::2] = [_SPOKEN.get(tag) or ("\n" if tag.startswith("<table ") else "") for tag in pieces[1::2]]
    text = "".join(pieces)
    if "&" in text:
        text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return "\n".join(line for line in map(tidy, text.split("\n")) if line)


def tidy(line: str) -> str:
    """The line with single blanks for any white space. A long one is not split where that would change nothing."""
    if len(line) > _LONG and line.isascii() and "  " not in line and not any(white in line for white in _WHITE):
        return line.strip()
    return " ".join(line.split())
