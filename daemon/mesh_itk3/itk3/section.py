"""Sections of a Composition: the letter's text. PURE."""

from __future__ import annotations

from functools import cached_property
from typing import Final

from lxml import etree

from mesh_itk3.itk3 import xml

_BREAKS: Final = frozenset({"br", "p", "div", "tr", "li", "table", "h1", "h2", "h3", "h4", "h5", "h6", "pre", "ul", "ol"})
_CELLS: Final = frozenset({"td", "th", "dd", "dt"})


class Section:
    """One section, which may hold others. The narrative is untrusted: sanitise it before anybody sees it."""

    def __init__(self, element: etree._Element, where: str) -> None:
        self.element = element
        self.where = where

    @property
    def code(self) -> str | None:
        """SNOMED CT in Transfer of Care; other systems elsewhere."""
        return xml.value(self.element, "code/coding/code")

    @property
    def title(self) -> str:
        """The author's title, else the code's display, else nothing."""
        return (
            xml.value(self.element, "title")
            or xml.value(self.element, "code/coding/display")
            or xml.value(self.element, "code/text")
            or ""
        )

    @cached_property
    def div(self) -> etree._Element | None:
        """The narrative, whether or not its div has the XHTML namespace; None where there is no text."""
        return narrative(self.element)

    @property
    def entries(self) -> tuple[str, ...]:
        """References to the coded entries."""
        return tuple(xml.values(self.element, "entry/reference"))

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        return sections_of(self.element, self.where)

    def text(self) -> str:
        """The narrative as plain text: one line for each block or row."""
        return plain_text(self.div)


def sections_of(element: etree._Element, where: str) -> tuple[Section, ...]:
    found = enumerate(xml.children(element, "section"))
    return tuple(Section(section, f"{where}.section[{at}]") for at, section in found)


def narrative(element: etree._Element) -> etree._Element | None:
    """The div of this element's own `text`."""
    text = xml.first(element, "text")
    if text is None:
        return None
    return next((child for child in text.iterchildren(tag=etree.Element) if xml.local_name(child) == "div"), None)


def plain_text(div: etree._Element | None) -> str:
    if div is None:
        return ""
    pieces: list[str] = []
    for event, element in etree.iterwalk(div, events=("start", "end")):
        _add(pieces, event, element, is_root=element is div)
    lines = (" ".join(line.split()) for line in "".join(pieces).split("\n"))
    return "\n".join(line for line in lines if line)


def _add(pieces: list[str], event: str, element: etree._Element, *, is_root: bool) -> None:
    name = xml.local_name(element).lower()
    if name in _BREAKS:
        pieces.append("\n")
    elif name in _CELLS and event == "end":
        pieces.append(" ")
    if event == "start":
        pieces.append(" ".join((element.text or "").split("\n")))
    elif not is_root:
        pieces.append(" ".join((element.tail or "").split("\n")))
