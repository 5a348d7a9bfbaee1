"""A section's narrative made safe to show, without losing a word of it. PURE.

Two locks. The first writes only elements of a fixed list, with escaped text, so that none of HTML's odd parsing modes can
begin; the second is nh3, which holds the same list. What a reader would see is counted before and after: a receiver once
lost a line of a medication list.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

import nh3


class Element(Protocol):
    """What is used of an XML element (lxml's)."""

    tag: Any
    text: str | None
    tail: str | None

    def get(self, key: str) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...


@dataclass(frozen=True, slots=True)
class Narrative:
    """A narrative as it may stand in a letter."""

    html: str
    """Safe to show: no URL, no script, no style, no attribute but those of tables."""
    warnings: tuple[str, ...]
    """What was left out or could not be kept, as words of `cautions.SENTENCES`."""

    @property
    def is_empty(self) -> bool:
        return not self.html


EMPTY: Final = Narrative("", ())

_KEPT: Final = frozenset(
    {
        "table", "caption", "colgroup", "col", "thead", "tbody", "tfoot", "tr", "th", "td", "p", "div", "br", "hr", "pre",
        "blockquote", "ul", "ol", "li", "dl", "dt", "dd", "b", "i", "u", "s", "em", "strong", "sub", "sup", "small", "code",
        "span", "h3", "h4", "h5", "h6", "ins", "del",
    }
)  # fmt: skip
# A sender's headings stand below the letter's own h1 and h2, or the outline a screen reader reads would be wrong.
_RENAMED: Final = {
    "h1": "h3", "h2": "h3", "h3": "h4", "h4": "h5", "h5": "h6", "strike": "s", "big": "strong", "tt": "code", "samp": "code",
    "kbd": "code", "listing": "pre", "xmp": "pre", "q": "i", "cite": "i", "var": "i", "dfn": "i", "menu": "ul", "dir": "ul",
}  # fmt: skip
# Elements that are not kept but begin a new line: without one, words of two of them would run together.
_BLOCKS: Final = frozenset(
    {
        "address", "article", "aside", "body", "center", "details", "dialog", "fieldset", "figcaption", "figure", "footer",
        "form", "header", "html", "legend", "main", "nav", "optgroup", "option", "section", "summary", "title",
    }
)  # fmt: skip
_DROPPED: Final = frozenset({"script", "style", "template"})
_VOID: Final = frozenset({"br", "hr", "col"})
_SPOKEN: Final = {"img": "alt", "input": "value", "area": "alt"}
_ACTIVE: Final = frozenset(
    {
        "script", "iframe", "object", "embed", "applet", "form", "input", "button", "select", "textarea", "frame", "frameset",
        "base", "link", "meta", "svg", "math", "audio", "video",
    }
)  # fmt: skip
_NUMBER: Final = re.compile(r"[0-9]{1,4}%?")
_TABLE_ATTRIBUTES: Final = {
    "table": ("width",), "col": ("span", "width"), "colgroup": ("span",), "td": ("colspan", "rowspan", "width"),
    "th": ("colspan", "rowspan", "width"), "ol": ("start",),
}  # fmt: skip
# Struck-through text means the opposite of what it says; the others carry emphasis. Colours and sizes are not kept.
_STYLES: Final = (
    (re.compile(r"text-decoration[^;]*line-through", re.IGNORECASE), "s"),
    (re.compile(r"text-decoration[^;]*underline", re.IGNORECASE), "u"),
    (re.compile(r"font-weight\s*:\s*(?:bold|[6-9]00)", re.IGNORECASE), "b"),
    (re.compile(r"font-style\s*:\s*(?:italic|oblique)", re.IGNORECASE), "i"),
)
_PREFORMATTED: Final = re.compile(r"white-space\s*:\s*(?:pre|break-spaces)", re.IGNORECASE)
_INLINE_HOLDERS: Final = frozenset({"p", "div", "td", "th", "li", "span", "dt", "dd", "caption", "h3", "h4", "h5", "h6", "pre"})
_MARKUP: Final = re.compile(r"<[^>]*>")

_CLEANER: Final = nh3.Cleaner(
    tags=set(_KEPT),
    clean_content_tags=set(_DROPPED),
    attributes={tag: set(names) for tag, names in _TABLE_ATTRIBUTES.items()},
    allowed_classes={"span": {"kept"}},
    link_rel=None,
    url_schemes=set(),
)


def sanitise(div: Element | None) -> Narrative:
    """The narrative of one section; EMPTY where there is no `div` or nothing to read in it."""
    if div is None:
        return EMPTY
    found = _Found()
    written: list[str] = []
    _write(div, written, found)
    marked_up = "".join(written)
    if not visible_text(marked_up):
        return Narrative("", tuple(sorted(found.warnings)))
    return _checked(marked_up, _CLEANER.clean(marked_up), found.warnings)


def visible_text(marked_up: str) -> str:
    """What a reader sees of this markup, without any white space: the measure of what may not be lost."""
    return "".join(html.unescape(_MARKUP.sub("", marked_up)).split())


def _checked(before: str, after: str, warnings: set[str]) -> Narrative:
    """The cleaned narrative; where cleaning has lost text, all of the text once more, plainly, below it."""
    if len(visible_text(after)) >= len(visible_text(before)):
        return Narrative(after.strip(), tuple(sorted(warnings)))
    plain = html.escape(html.unescape(_MARKUP.sub("\n", before)).strip(), quote=False)
    return Narrative(f"{after.strip()}\n<pre>{plain}</pre>", tuple(sorted(warnings | {"narrative_repeated"})))


class _Found:
    """What the walk over one narrative has left out."""

    __slots__ = ("warnings",)

    def __init__(self) -> None:
        self.warnings: set[str] = set()

    def note(self, name: str, element: Element) -> None:
        if name in _ACTIVE:
            self.warnings.add("active_content_removed")
        elif name == "img":
            self.warnings.add("image_removed")
        elif name == "a" and element.get("href"):
            self.warnings.add("link_removed")


_NAMES: dict[str, str] = {}
_NAMES_KEPT: Final = 512


def _local_name(tag: str) -> str:
    name = _NAMES.get(tag)
    if name is None:
        name = tag.rpartition("}")[2].rpartition(":")[2].lower()
        if len(_NAMES) < _NAMES_KEPT:  # Bounded: tags come from senders.
            _NAMES[tag] = name
    return name


def _write(element: Element, written: list[str], found: _Found) -> None:
    """Appends the element's markup. Recursion is bounded: the envelope refuses messages deeper than its cap."""
    if not isinstance(element.tag, str):
        return  # a comment or processing instruction; its tail is written by its parent
    name = _local_name(element.tag)
    found.note(name, element)
    if name in _DROPPED:
        return
    opening, closing = _tags(name, element)
    written.append(opening)
    if name in _SPOKEN and element.get(_SPOKEN[name]):
        written.append(f"[{html.escape(element.get(_SPOKEN[name]), quote=False)}]")
    _write_content(element, written, found)
    written.append(closing)


def _write_content(element: Element, written: list[str], found: _Found) -> None:
    if element.text:
        written.append(html.escape(element.text, quote=False))
    for child in element:
        _write(child, written, found)
        if child.tail:
            written.append(html.escape(child.tail, quote=False))


def _tags(name: str, element: Element) -> tuple[str, str]:
    name = _RENAMED.get(name, name)
    if name in _BLOCKS:
        name = "div"
    if name not in _KEPT:
        return "", ""
    if name in _VOID:
        return f"<{name}{_attributes(name, element)}>", ""
    opening, closing = f"<{name}{_attributes(name, element)}>", f"</{name}>"
    style = element.get("style")
    return _styled(opening, closing, style) if style and name in _INLINE_HOLDERS else (opening, closing)


def _attributes(name: str, element: Element) -> str:
    allowed = _TABLE_ATTRIBUTES.get(name)
    if not allowed:
        return ""
    values = ((attribute, (element.get(attribute) or "").strip()) for attribute in allowed)
    return "".join(f' {attribute}="{value}"' for attribute, value in values if _NUMBER.fullmatch(value))


def _styled(opening: str, closing: str, style: str) -> tuple[str, str]:
    for pattern, tag in _STYLES:
        if pattern.search(style):
            opening, closing = f"{opening}<{tag}>", f"</{tag}>{closing}"
    if _PREFORMATTED.search(style):
        opening, closing = f'{opening}<span class="kept">', f"</span>{closing}"
    return opening, closing
