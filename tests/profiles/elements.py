"""What may stand where in a FHIR STU3 XML instance, and a walk that says where an instance differs.

A tree of `Node`s comes from a StructureDefinition (`definitions.py`) or from the tables written here by hand (`by_hand.py`);
the walk is the same. Nothing of the daemon is imported: what it writes is judged by somebody else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from lxml import etree

FHIR = "http://hl7.org/fhir"
XHTML = "http://www.w3.org/1999/xhtml"


@dataclass(frozen=True, order=True)
class Finding:
    """One difference: the path of element names from the root of the instance, and the rule that it breaks."""

    path: str
    rule: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.path}"


@dataclass
class Node:
    """What a profile says of one element; `most` None is any number."""

    name: str
    least: int = 0
    most: int | None = 1
    types: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    """Of an extension: the StructureDefinition that it has to follow."""
    targets: tuple[str, ...] = ()
    """Of a reference: the kinds of resource, or the profiles, that it may point at."""
    fixed: str | None = None
    max_length: int | None = None
    value_set: str | None = None
    """Of a required binding."""
    slice_name: str | None = None
    children: list[Node] = field(default_factory=list)
    """Empty: the type says what it holds."""
    slices: list[Node] = field(default_factory=list)

    def fits(self, name: str) -> bool:
        if not self.name.endswith("[x]"):
            return name == self.name
        choice = name.removeprefix(self.name[:-3])
        return name.startswith(self.name[:-3]) and choice.lower() in {each.lower() for each in self.types}


@dataclass(frozen=True)
class Rules:
    """All that a walk needs; resources by their kind, extensions by their url, value sets by their name."""

    resources: Mapping[str, Node]
    extensions: Mapping[str, Node]
    types: Mapping[str, Node]
    primitives: Mapping[str, re.Pattern[str]]
    value_sets: Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Pointer:
    """A reference that was met, and what it may point at."""

    path: str
    reference: str
    targets: tuple[str, ...]


def local_name(element: etree._Element) -> str:
    return etree.QName(element).localname


class Walk:
    """One walk over one instance: `findings` and the `pointers` that were met."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.findings: list[Finding] = []
        self.pointers: list[Pointer] = []

    def resource(self, element: etree._Element, path: str = "") -> None:
        """Any resource of which the rules know the kind."""
        kind = local_name(element)
        here = f"{path}.{kind}" if path else kind
        node = self._rules.resources.get(kind)
        if node is None or etree.QName(element).namespace != FHIR:
            self._say(here, "unknown_resource")
        else:
            self._group(element, node.children, here, is_resource=True)

    def _say(self, path: str, rule: str) -> None:
        self.findings.append(Finding(path, rule))

    def _element(self, element: etree._Element, node: Node, path: str) -> None:
        kind = self._kind(element, node)
        if kind == "Resource":
            self._inner_resource(element, path)
        elif kind == "xhtml":
            self._xhtml(element, path)
        elif kind in self._rules.primitives:
            self._primitive(element, node, kind, path)
        else:
            self._attributes(element, {"id", "url"} if kind == "Extension" else {"id"}, path)
            self._complex(element, node, kind, path)

    @staticmethod
    def _kind(element: etree._Element, node: Node) -> str:
        if len(node.types) > 1:
            said = local_name(element).removeprefix(node.name.removesuffix("[x]")).lower()
            return next((each for each in node.types if each.lower() == said), node.types[0])
        return node.types[0] if node.types else "BackboneElement"

    def _inner_resource(self, element: etree._Element, path: str) -> None:
        self._attributes(element, set(), path)
        self._texts(element, path)
        inside = list(element.iterchildren(tag=etree.Element))
        if len(inside) != 1:
            self._say(path, "not_one_resource")
        for resource in inside:
            self.resource(resource, path)

    def _xhtml(self, element: etree._Element, path: str) -> None:
        if etree.QName(element).namespace != XHTML:
            self._say(path, "unknown_element")

    def _complex(self, element: etree._Element, node: Node, kind: str, path: str) -> None:
        declared = node.children
        if kind == "Extension" and not declared:
            declared = self._extension(element, node)
        if not declared:
            known = self._rules.types.get(kind)
            if known is None:
                self._say(path, f"cannot_check_type_{kind}")
                return
            declared = known.children
        if not len(element):
            self._say(path, "empty")
        if kind == "Reference":
            self._reference(element, node, path)
        if kind == "Extension" and len({local_name(child)[:5] for child in element.iterchildren(tag=etree.Element)}) > 1:
            # ext-1: a value or extensions, not both. Of the other invariants ele-1 is `empty`; bdl-7 is in responses.py.
            self._say(path, "value_and_extensions")
        if node.value_set:
            codes = [code.get("value", "") for code in element.iterfind(f".//{{{FHIR}}}code")]
            self._binding(node.value_set, codes, path)
        self._group(element, declared, path)

    def _extension(self, element: etree._Element, node: Node) -> list[Node]:
        known = next((self._rules.extensions[url] for url in node.profiles if url in self._rules.extensions), None)
        return known.children if known else []

    def _reference(self, element: etree._Element, node: Node, path: str) -> None:
        for reference in element.iterfind(f"{{{FHIR}}}reference"):
            if node.targets:
                self.pointers.append(Pointer(path, reference.get("value", ""), node.targets))

    def _primitive(self, element: etree._Element, node: Node, kind: str, path: str) -> None:
        self._attributes(element, {"id", "value"}, path)
        self._group(element, [Node("extension", most=None, types=("Extension",))], path)
        value = element.get("value")
        if value is None:
            if not len(element):
                self._say(path, "empty")
        else:
            self._value(value, node, kind, path)

    def _value(self, value: str, node: Node, kind: str, path: str) -> None:
        if not self._rules.primitives[kind].fullmatch(value):
            self._say(path, f"not_a_{kind}")
        if node.fixed is not None and value != node.fixed:
            self._say(path, "fixed_value")
        if node.max_length is not None and len(value) > node.max_length:
            self._say(path, "too_long")
        if node.value_set:
            self._binding(node.value_set, [value], path)

    def _binding(self, value_set: str, codes: Iterable[str], path: str) -> None:
        allowed = self._rules.value_sets.get(value_set)
        if allowed is None:
            self._say(path, "cannot_check_binding")
        elif any(code not in allowed for code in codes):
            self._say(path, "binding")

    def _attributes(self, element: etree._Element, allowed: set[str], path: str) -> None:
        for name, value in element.attrib.items():
            if name not in allowed:
                self._say(f"{path}.@{name}", "unknown_attribute")
            elif not value:
                self._say(f"{path}.@{name}", "empty")

    # ------------------------------------------------------------------------------- children of one element

    def _group(self, element: etree._Element, declared: list[Node], path: str, *, is_resource: bool = False) -> None:
        """Names, order, how many of each, and each of them."""
        if is_resource:
            self._attributes(element, set(), path)
        self._texts(element, path)
        found: dict[int, list[etree._Element]] = {}
        last = -1
        for child in element.iterchildren(tag=etree.Element):
            at = next((number for number, node in enumerate(declared) if node.fits(local_name(child))), None)
            if at is None or (etree.QName(child).namespace != FHIR and declared[at].types != ("xhtml",)):
                self._say(f"{path}.{local_name(child)}", "unknown_element")
                continue
            if at < last:
                self._say(f"{path}.{local_name(child)}", "order")
            last = max(last, at)
            found.setdefault(at, []).append(child)
        for number, node in enumerate(declared):
            self._members(found.get(number, []), node, path, element)

    def _texts(self, element: etree._Element, path: str) -> None:
        texts = [element.text, *(child.tail for child in element)]
        if any(text and text.strip() for text in texts):
            self._say(path, "text")

    def _members(self, members: list[etree._Element], node: Node, path: str, parent: etree._Element) -> None:
        here = f"{path}.{node.name}"
        if node.name.startswith("@"):
            self._attribute_rule(parent, node, path)
            return
        self._count(members, node, here)
        if node.most == 0:
            return
        rest = list(members)
        for part in node.slices:
            taken = [member for member in rest if self._is_of(member, part)]
            rest = [member for member in rest if member not in taken]
            self._count(taken, part, f"{here}:{part.slice_name}")
            for member in taken if part.most != 0 else ():
                self._element(member, part, f"{here}:{part.slice_name}")
        for member in rest:
            self._element(member, node, f"{path}.{local_name(member)}")

    def _attribute_rule(self, element: etree._Element, node: Node, path: str) -> None:
        value = element.get(node.name[1:])
        if value is None:
            if node.least:
                self._say(f"{path}.{node.name}", "missing")
        elif node.fixed is not None and value != node.fixed:
            self._say(f"{path}.{node.name}", "fixed_value")

    def _count(self, members: list[etree._Element], node: Node, path: str) -> None:
        if len(members) < node.least:
            self._say(path, "missing")
        if node.most is not None and len(members) > node.most:
            self._say(path, "not_allowed" if node.most == 0 else "too_many")

    def _is_of(self, member: etree._Element, part: Node) -> bool:
        """Discriminated by the fixed value of its url (extensions) or of its system (identifiers)."""
        for node in self._discriminators(part):
            if node.name == "@url":
                return member.get("url") == node.fixed
            if node.name == "system":
                return any(each.get("value") == node.fixed for each in member.iterfind(f"{{{FHIR}}}system"))
        return False

    def _discriminators(self, part: Node) -> Iterator[Node]:
        yield from (node for node in part.children if node.fixed is not None)
        for url in part.profiles:
            known = self._rules.extensions.get(url)
            yield from (node for node in known.children if node.name == "@url") if known else (Node("@url", fixed=url),)


def parsed(table: str) -> dict[str, Node]:
    """Nodes from lines like `  system 1..1 uri = fixed in value-set -> Target|Target max 255`, indented by their depth."""
    roots: dict[str, Node] = {}
    stack: list[tuple[int, Node]] = []
    for line in table.splitlines():
        text = line.split("#")[0].strip() if "# " in line else line.strip()
        if not text:
            continue
        depth = len(line) - len(line.lstrip())
        while stack and stack[-1][0] >= depth:
            stack.pop()
        node = _node(text)
        if stack:
            _add(stack[-1][1], node)
        else:
            roots[node.name] = node
        stack.append((depth, node))
    return roots


def _add(parent: Node, node: Node) -> None:
    base = next((each for each in parent.children if each.name == node.name), None)
    if node.slice_name and base:
        base.slices.append(node)
    else:
        parent.children.append(node)


_LINE = re.compile(
    r"(?P<name>[@\w\[\]]+?)(:(?P<slice>\w+))?( (?P<least>\d)\.\.(?P<most>\d|\*))?( (?P<types>[\w|]+))?"
    r"( of (?P<profile>\S+))?( = (?P<fixed>\S+))?( in (?P<value_set>\S+))?( -> (?P<targets>\S+))?( max (?P<max>\d+))?"
)


def _node(text: str) -> Node:
    found = _LINE.fullmatch(text)
    assert found, f"this line of a table cannot be read: {text}"
    most = found["most"]
    return Node(
        name=found["name"],
        least=int(found["least"] or 0),
        most=None if most == "*" else int(most or 1),
        types=tuple((found["types"] or "").split("|")) if found["types"] else (),
        profiles=(found["profile"],) if found["profile"] else (),
        targets=tuple(found["targets"].split("|")) if found["targets"] else (),
        fixed=found["fixed"],
        max_length=int(found["max"]) if found["max"] else None,
        value_set=found["value_set"],
        slice_name=found["slice"],
    )


def with_children(node: Node, children: Iterable[Node]) -> Node:
    return replace(node, children=[*children])
