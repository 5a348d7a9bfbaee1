"""Hardened XML: bytes of a stranger become one lxml tree, or an `Unreadable` that says why. PURE.

Nothing is fetched, no entity is expanded, no DOCTYPE gets as far as the parser.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Final

from lxml import etree

FHIR: Final = "http://hl7.org/fhir"
IN_FHIR: Final = "{" + FHIR + "}"

BYTE_ORDER_MARKS: Final = (
    (b"\xff\xfe\x00\x00", "utf-32"),  # before UTF-16's, which begins alike
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)

_WHITE = re.compile(rb"[ \t\r\n]*+")
_DECLARATION = re.compile(rb"<\?xml\s[^>]*?\?>")
_DECLARED_ENCODING = re.compile(rb"""\sencoding\s*=\s*["']([A-Za-z0-9._:-]{1,40})["']""")


class Unreadable(Exception):
    """The bytes cannot be read as a message. `rule` says why; `where` never holds a value."""

    def __init__(self, rule: str, where: str = "Bundle") -> None:
        super().__init__(rule)
        self.rule = rule
        self.where = where


def declared_encoding(raw: bytes) -> str | None:
    """What the XML declaration says, in lower case; None where it says nothing."""
    declaration = _DECLARATION.match(raw, 0, 1000)
    found = declaration and _DECLARED_ENCODING.search(declaration.group())
    return found.group(1).decode("ascii").lower() if found else None


def check_encoding(raw: bytes) -> None:
    """UTF-8 without byte order mark is the one encoding of the standard. Raises Unreadable."""
    if raw.startswith(tuple(mark for mark, _ in BYTE_ORDER_MARKS)):
        raise Unreadable("byte_order_mark")
    if b"\x00" in raw[:4]:  # UTF-16 or UTF-32 without a mark, which libxml2 would detect and accept
        raise Unreadable("encoding")
    if declared_encoding(raw) not in (None, "utf-8", "utf8"):
        raise Unreadable("encoding_declared")
    if not raw.isascii():
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Unreadable("encoding") from error


def check_prolog(raw: bytes) -> None:
    """Refuses a DOCTYPE before any parser sees it: libxml2 expands internal entities in attribute values whatever
    `resolve_entities` says. Raises Unreadable.
    """
    at = 0
    while True:
        at = _end_of_white(raw, at)
        if raw.startswith(b"<?", at):
            at = _after(raw, b"?>", at)
        elif raw.startswith(b"<!--", at):
            at = _after(raw, b"-->", at + 4)
        elif raw.startswith(b"<!", at):
            raise Unreadable("doctype")
        else:
            return


def _end_of_white(raw: bytes, at: int) -> int:
    run = _WHITE.match(raw, at)
    return run.end() if run else at


def _after(raw: bytes, mark: bytes, at: int) -> int:
    found = raw.find(mark, at)
    if found < 0:
        raise Unreadable("not_well_formed")
    return found + len(mark)


def parse_xml(raw: bytes, max_depth: int) -> etree._Element:
    """The root element. The caller has capped the bytes. Raises Unreadable."""
    check_encoding(raw)
    check_prolog(raw)
    try:
        root = etree.fromstring(raw, hardened_parser())
    except etree.XMLSyntaxError as error:
        raise Unreadable("not_well_formed", f"line {error.lineno}" if error.lineno else "Bundle") from error
    except ValueError as error:
        raise Unreadable("not_well_formed") from error
    check_depth(root, max_depth)
    return root


def check_depth(root: etree._Element, max_depth: int) -> None:
    """Levels of elements. Raises Unreadable."""
    if _is_deeper_than(min(_USUAL_DEPTH, max_depth))(root) and _is_deeper_than(max_depth)(root):
        raise Unreadable("depth")


def hardened_parser(*, recover: bool = False) -> etree.XMLParser:
    """`huge_tree` because attachments pass libxml2's 10 MB limit on one value; bytes and depth have caps of their own."""
    return etree.XMLParser(
        remove_comments=True,
        remove_pis=True,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=True,
        collect_ids=False,
        recover=recover,
    )


_USUAL_DEPTH: Final = 40
"""A path of two hundred steps costs a small message a tenth of its parse; few need the second look."""


@lru_cache(maxsize=8)
def _is_deeper_than(depth: int) -> Any:
    # One path of child steps runs inside libxml2 at a twentieth of the parse; walking the tree here would double it.
    return etree.XPath("boolean(" + "/*" * (depth + 1) + ")")


def path(expression: str) -> Any:
    """An XPath that runs inside libxml2, FHIR's elements under the prefix `f`."""
    return etree.XPath(expression, namespaces={"f": FHIR}, smart_strings=False)


def local_name(element: etree._Element) -> str:
    """The element's name without its namespace."""
    return str(element.tag).rpartition("}")[2]


@lru_cache(maxsize=512)
def _steps(path: str) -> tuple[str, ...]:
    return tuple(IN_FHIR + name for name in path.split("/"))


def children(element: etree._Element, name: str) -> Iterator[etree._Element]:
    """Child elements of this FHIR name, whatever prefix they were written with."""
    return element.iterchildren(IN_FHIR + name)


def first(element: etree._Element | None, name: str) -> etree._Element | None:
    return None if element is None else next(element.iterchildren(IN_FHIR + name), None)


def descend(element: etree._Element, path: str) -> Iterable[etree._Element]:
    """Every element at this path of child names, in document order."""
    steps = _steps(path)
    found: Iterable[etree._Element] = element.iterchildren(steps[0])
    for step in steps[1:]:
        found = [child for parent in found for child in parent.iterchildren(step)]
    return found


def values(element: etree._Element, path: str) -> Iterator[str]:
    """The values at this path, white space around them removed; empty ones are left out."""
    for found in descend(element, path):
        text = found.get("value")
        if text and (text := text.strip()):
            yield text


def value(element: etree._Element | None, path: str) -> str | None:
    """The first of `values`; written out, for this is the most called function of a letter."""
    if element is None:
        return None
    steps = _steps(path)
    for found in element.iterchildren(steps[0]) if len(steps) == 1 else descend(element, path):
        text = found.get("value")
        if text and (text := text.strip()):
            return text
    return None
