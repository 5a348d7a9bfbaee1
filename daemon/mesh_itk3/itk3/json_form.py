"""FHIR JSON, converted once to the shape of FHIR XML, so that everything else reads one form. PURE."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from lxml import etree

from mesh_itk3.itk3 import xml
from mesh_itk3.itk3.xml import Unreadable

XHTML: Final = "http://www.w3.org/1999/xhtml"
_DEFAULT_NAMESPACE: Final[Any] = {None: xml.FHIR}

_NAME = re.compile(r"_?[A-Za-z][A-Za-z0-9]{0,63}")
_STRINGS = re.compile(rb'"(?>[^"\\]+|\\.)*+"(\s*+:)?', re.DOTALL)
_MAX_DEPTH: Final = 100
_MAX_TAGS: Final = 10_000
"""Of the narrative of one resource that was decoded by itself."""
_ALWAYS_ONE: Final = frozenset({"id"})
_STRING_NAMES: Final = frozenset(
    {"id", "url", "fullUrl", "system", "code", "display", "reference", "identifier", "endpoint", "timestamp", "type", "status"}
    | {"valueString", "valueUri"}
)
"""What decides about a message and is, wherever it is a primitive in STU3, some kind of string."""
_PARSER_LIMITS: Final = (etree.ErrorTypes.ERR_RESOURCE_LIMIT, etree.ErrorTypes.ERR_INTERNAL_ERROR)
"""libxml2 has a depth of its own where it stops, 2048; which of the two it then says depends on its version."""
_BOOLEAN_NAMES: Final = frozenset({"valueBoolean"})


class _Decimal(str):
    """A number as it was written: a float would change 1.10 into 1.1."""

    __slots__ = ()


_DECODER: Final = msgspec.json.Decoder(float_hook=_Decimal)


def parse_json(raw: bytes, max_depth: int, max_tags: int = 1_000_000) -> etree._Element:
    """The root element of the XML that says the same. `max_tags` is how many there may be in its narratives. Raises
    Unreadable.
    """
    xml.check_encoding(raw)
    decoded = decode(raw)
    try:
        root = _Builder(max_depth, max_tags).resource(decoded, 1)
    except (ValueError, TypeError) as error:  # characters that XML cannot hold
        raise Unreadable("json_characters") from error
    xml.check_depth(root, max_depth)  # a narrative adds its own levels to those of the JSON
    # FHIR: property names are unique. Of two, parsers differ in which they take.
    if sum(1 for colon in _STRINGS.findall(raw) if colon) != _names_in(decoded):
        raise Unreadable("json_names_repeated")
    return root


def element_of(resource: dict[str, Any]) -> etree._Element:
    """As much as can be read of one resource that was decoded by itself. Raises Unreadable where its type cannot."""
    return _Builder(_MAX_DEPTH, _MAX_TAGS, forgives=True).resource(resource, 1)


def decode(raw: bytes) -> dict[str, Any]:
    """Raises Unreadable."""
    try:
        decoded = _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreadable("not_well_formed") from error
    except RecursionError as error:
        raise Unreadable("depth") from error
    if not isinstance(decoded, dict):
        raise Unreadable("not_well_formed")
    return decoded


def _names_in(decoded: Any) -> int:
    """How many property names are left after decoding."""
    names = 0
    waiting = [decoded]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            names += len(value)
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return names


class _Builder:
    """One conversion."""

    def __init__(self, max_depth: int, max_tags: int, *, forgives: bool = False) -> None:
        self.max_depth = max_depth
        self.tags_left = max_tags
        self.forgives = forgives
        """Leaves out what cannot be read, and reads the rest."""

    def resource(self, content: dict[str, Any], depth: int) -> etree._Element:
        kind = content.get("resourceType")
        if not isinstance(kind, str) or not _NAME.fullmatch(kind):
            raise Unreadable("json_resource_type")
        element = etree.Element(xml.IN_FHIR + kind, nsmap=_DEFAULT_NAMESPACE)
        self._fill(element, content, depth, is_resource=True)
        return element

    def _fill(self, element: etree._Element, content: dict[str, Any], depth: int, *, is_resource: bool) -> None:
        if depth > self.max_depth:
            raise Unreadable("depth")
        for name, value in content.items():
            try:
                _check_name(name)
                if name == "resourceType":
                    continue
                if _is_attribute(element, name, is_resource=is_resource):
                    _set_text(element, name, name, value)
                elif not name.startswith("_"):
                    self._add_all(element, name, value, content.get(f"_{name}"), depth)
                elif name[1:] not in content:
                    self._add_all(element, name[1:], None, value, depth)
                # Otherwise it was taken together with its primitive.
            except (Unreadable, ValueError, TypeError):
                if not self.forgives:
                    raise

    def _add_all(self, parent: etree._Element, name: str, value: Any, extra: Any, depth: int) -> None:
        if not isinstance(value, list) and not isinstance(extra, list):
            self._add(parent, name, value, extra, depth)
            return
        if name in _ALWAYS_ONE:  # an array says no one of its values
            self._add(parent, name, None, None, depth)
            return
        values = value if isinstance(value, list) else [value] if value is not None else []
        extras = extra if isinstance(extra, list) else [extra] if extra is not None else []
        for at in range(max(len(values), len(extras))):
            self._add(parent, name, _at(values, at), _at(extras, at), depth)

    def _add(self, parent: etree._Element, name: str, value: Any, extra: Any, depth: int) -> None:
        if name == "div" and isinstance(value, str):
            self._add_narrative(parent, value)
            return
        element = etree.SubElement(parent, xml.IN_FHIR + name)
        if isinstance(value, list) or not (extra is None or isinstance(extra, dict)):
            raise Unreadable("json_shape")
        if not isinstance(value, dict):
            if value is not None:
                _set_text(element, "value", name, value)
        elif "resourceType" in value:
            element.append(self.resource(value, depth + 2))
        else:
            self._fill(element, value, depth + 1, is_resource=False)
        if extra is not None:
            self._fill(element, extra, depth + 1, is_resource=False)

    def _add_narrative(self, parent: etree._Element, text: str) -> None:
        """The narrative is XML inside a string, which the caps on JSON do not see."""
        self.tags_left -= text.count("<")
        if self.tags_left < 0:
            raise Unreadable("too_many_elements")
        div = _narrative(text)
        xml.check_depth(div, self.max_depth)  # before it is moved: that may recurse
        parent.append(div)


def _at(values: list[Any], at: int) -> Any:
    return values[at] if at < len(values) else None


def _is_attribute(element: etree._Element, name: str, *, is_resource: bool) -> bool:
    """An `id` of anything but a resource, and an extension's `url`, are attributes in XML."""
    if name == "id":
        return not is_resource
    return name == "url" and xml.local_name(element) in ("extension", "modifierExtension")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise Unreadable("json_name")


def _set_text(element: etree._Element, attribute: str, name: str, value: Any) -> None:
    """A value of another type than FHIR has under this name is no value: JSON's types say what XML leaves open."""
    if not isinstance(value, (bool, str, int)):
        raise Unreadable("json_shape")
    is_string = isinstance(value, str) and not isinstance(value, _Decimal)
    if (name in _STRING_NAMES and not is_string) or (name in _BOOLEAN_NAMES and not isinstance(value, bool)):
        return
    element.set(attribute, str(value).lower() if isinstance(value, bool) else str(value))


def _narrative(text: str) -> etree._Element:
    """One that cannot be read is kept as plain text: a letter is not lost for it."""
    raw = text.encode()
    try:
        xml.check_prolog(raw)
        return etree.fromstring(raw, xml.hardened_parser())
    except (etree.XMLSyntaxError, Unreadable) as error:
        if isinstance(error, etree.XMLSyntaxError) and getattr(error, "code", None) in _PARSER_LIMITS:
            raise Unreadable("depth") from error
        div = etree.Element(f"{{{XHTML}}}div")
        div.text = text
        return div
