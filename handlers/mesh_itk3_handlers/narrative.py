"""A section's narrative made safe to show, without losing a word of it. PURE.

Two locks. The first writes only elements of a fixed list, with escaped text, so that none of HTML's odd parsing modes can
begin; the second is nh3, which holds the same list. What a reader would see is counted before and after: a receiver once
lost a line of a medication list. Narratives of the commonest shape are recognised before (`plain_narrative`).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

import nh3

from mesh_itk3_handlers.plain_narrative import read_plain, tidy


class Element(Protocol):
    """What is used of an XML element (lxml's)."""

    tag: Any
    text: str | None
    tail: str | None

    def get(self, key: str) -> Any: ...
    def keys(self) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...


@dataclass(frozen=True, slots=True)
class Narrative:
    """A narrative as it may stand in a letter."""

    html: str
    """Safe to show: no URL, no script, no style, no attribute but those of tables. Empty where there is nothing to read."""
    text: str
    """The same as plain text: one line for each block or row."""
    warnings: tuple[str, ...]
    """What was left out or could not be kept, as words of `cautions.SENTENCES`."""


EMPTY: Final = Narrative("", "", ())

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
_REMOVED: Final = {"img": "image_removed", "a": "link_removed"}
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
_STYLED: Final = frozenset({"p", "div", "td", "th", "li", "span", "dt", "dd", "caption", "h3", "h4", "h5", "h6", "pre"})
_LINES: Final = _BLOCKS | {
    "p", "div", "br", "hr", "pre", "blockquote", "ul", "ol", "li", "dl", "dt", "dd", "table", "caption", "tr",
    "h3", "h4", "h5", "h6",
}  # fmt: skip
_CELLS: Final = frozenset({"td", "th"})
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
    plain = read_plain(div)
    return Narrative(*plain, ()) if plain is not None else cleaned(div)


def cleaned(div: Element) -> Narrative:
    """The same, written anew element by element and cleaned: any narrative goes this way that is not plain."""
    page = _Page()
    _write(div, page)
    text, warnings = page.text(), tuple(sorted(page.warnings))
    if not text:
        return Narrative("", "", warnings)
    return checked(_CLEANER.clean("".join(page.markup)).strip(), text, warnings)


def checked(markup: str, text: str, warnings: tuple[str, ...]) -> Narrative:
    """The cleaned markup; where it no longer holds all of the text, the text once more, plainly, below it."""
    if visible_length(markup) < len("".join(text.split())):
        markup = f"{markup}\n<pre>{_escaped(text)}</pre>"
        warnings = tuple(sorted({*warnings, "narrative_repeated"}))
    return Narrative(markup, text, warnings)


def visible_length(markup: str) -> int:
    """How many characters other than white space a reader sees of this markup."""
    text = _MARKUP.sub("", markup)
    return len("".join((html.unescape(text) if "&" in text else text).split()))


class _Page:
    """What the walk over one narrative has written and left out."""

    __slots__ = ("depth_in_pre", "markup", "warnings", "words")

    def __init__(self) -> None:
        self.markup: list[str] = []
        self.words: list[str] = []
        self.warnings: set[str] = set()
        self.depth_in_pre = 0

    def write(self, text: str) -> None:
        self.markup.append(_escaped(text))
        self.words.append(text if self.depth_in_pre else text.replace("\n", " "))

    def text(self) -> str:
        return "\n".join(line for line in map(tidy, "".join(self.words).split("\n")) if line)


@dataclass(frozen=True, slots=True)
class _Rule:
    """What is done with elements of one name."""

    name: str
    """The name it is written with; empty where only its content is."""
    is_dropped: bool
    spoken: str | None
    """An attribute whose value a browser shows as text."""
    warning: str | None
    attributes: tuple[str, ...]
    opening: str
    closing: str
    before: str
    after: str
    """What stands around its content in the plain text."""


def _rule(tag: str) -> _Rule:
    own = tag.rpartition("}")[2].rpartition(":")[2].lower()
    name = "div" if own in _BLOCKS else _RENAMED.get(own, own)
    is_line = name in _LINES
    kept = name if name in _KEPT else ""
    return _Rule(
        name=kept,
        is_dropped=own in _DROPPED,
        spoken=_SPOKEN.get(own),
        warning="active_content_removed" if own in _ACTIVE else _REMOVED.get(own),
        attributes=_TABLE_ATTRIBUTES.get(name, ()),
        opening=f"<{kept}>" if kept else "",
        closing=f"</{kept}>" if kept and kept not in _VOID else "",
        before="\n" if is_line else "",
        after="\n" if is_line else " " if name in _CELLS else "",
    )


_RULES: dict[str, _Rule] = {}
_RULES_KEPT: Final = 512


def _rule_of(tag: str) -> _Rule:
    rule = _RULES.get(tag)
    if rule is None:
        rule = _rule(tag)
        if len(_RULES) < _RULES_KEPT:  # Bounded: tags come from senders.
            _RULES[tag] = rule
    return rule


def _write(element: Element, page: _Page) -> None:
    """Writes the element. Recursion is bounded: the envelope refuses messages deeper than its cap."""
    if not isinstance(element.tag, str):
        return  # a comment or processing instruction; its tail is written by its parent
    rule = _rule_of(element.tag)
    if rule.is_dropped:
        page.warnings.add("active_content_removed")
        return
    opening, closing = _tags(rule, element, page) if element.keys() or rule.warning else (rule.opening, rule.closing)
    page.markup.append(opening)
    page.words.append(rule.before)
    page.depth_in_pre += rule.name == "pre"
    if element.text:
        page.write(element.text)
    for child in element:
        _write(child, page)
        if child.tail:
            page.write(child.tail)
    page.depth_in_pre -= rule.name == "pre"
    page.words.append(rule.after)
    page.markup.append(closing)


def _tags(rule: _Rule, element: Element, page: _Page) -> tuple[str, str]:
    """The tags of an element that has attributes, and a note of what is left out with them."""
    if rule.warning and (rule.warning != "link_removed" or element.get("href")):
        page.warnings.add(rule.warning)
    if rule.spoken and element.get(rule.spoken):
        page.write(f"[{element.get(rule.spoken)}]")
    opening, closing = rule.opening, rule.closing
    if rule.attributes:
        opening = f"<{rule.name}{_attributes(rule, element)}>"
    style = element.get("style")
    return _styled(opening, closing, style) if style and rule.name in _STYLED else (opening, closing)


def _attributes(rule: _Rule, element: Element) -> str:
    values = ((name, (element.get(name) or "").strip()) for name in rule.attributes)
    return "".join(f' {name}="{value}"' for name, value in values if _NUMBER.fullmatch(value))


def _styled(opening: str, closing: str, style: str) -> tuple[str, str]:
    for pattern, tag in _STYLES:
        if pattern.search(style):
            opening, closing = f"{opening}<{tag}>", f"</{tag}>{closing}"
    if _PREFORMATTED.search(style):
        opening, closing = f'{opening}<span class="kept">', f"</span>{closing}"
    return opening, closing


def _escaped(text: str) -> str:
    return html.escape(text, quote=False) if "&" in text or "<" in text or ">" in text else text
