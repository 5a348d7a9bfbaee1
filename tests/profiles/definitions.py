"""Reads StructureDefinitions and CodeSystems of the public samples (folder `profiles` of ITK3_EXAMPLES) into rules."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from lxml import etree

from profiles import stu3
from profiles.elements import FHIR, Node, Rules

_ATTRIBUTE_URL = "url"
_VALUE_SETS = ("ITK-ResponseCodes-1", "ITK-RecipientType-1", "ITK-MessageEvent-2")


def folder() -> Path | None:
    """Where the published profiles are, if they are here."""
    samples = os.environ.get("ITK3_EXAMPLES")
    found = Path(samples) / "profiles" if samples else None
    return found if found and found.is_dir() else None


@cache
def published(directory: Path) -> Rules:
    """All resources and extensions defined in this folder."""
    resources: dict[str, Node] = {}
    extensions: dict[str, Node] = {}
    for file in sorted(directory.glob("*.xml")):
        root = etree.parse(file).getroot()
        if etree.QName(root).localname != "StructureDefinition" or file.stem == "ITK-Document-Bundle-1":
            continue
        node = definition(root)
        if _said(root, "type") == "Extension":
            extensions[_said(root, "url")] = node
        else:
            resources[node.name] = node
    return Rules(resources, extensions, stu3.TYPES, stu3.PRIMITIVES, {**_hl7_value_sets(), **_nhs_value_sets(directory)})


def displays(directory: Path, code_system: str) -> dict[str, str]:
    """Code and display of every concept of a published CodeSystem."""
    root = etree.parse(directory / f"CodeSystem-{code_system}.xml").getroot()
    return {_said(concept, "code"): _said(concept, "display") for concept in root.iterfind(f"{{{FHIR}}}concept")}


def _hl7_value_sets() -> dict[str, frozenset[str]]:
    return {f"http://hl7.org/fhir/ValueSet/{name}": codes for name, codes in stu3.CODES.items()} | stu3.CODES


def _nhs_value_sets(directory: Path) -> dict[str, frozenset[str]]:
    return {f"https://fhir.nhs.uk/STU3/ValueSet/{name}": frozenset(displays(directory, name)) for name in _VALUE_SETS}


def definition(root: etree._Element) -> Node:
    """The snapshot as a tree. Its ids are not reliable; paths and order are: an element's parent is the last one that had
    the path above it.
    """
    latest: dict[str, Node] = {}
    is_extension = _said(root, "type") == "Extension"
    for element in root.iterfind(f"{{{FHIR}}}snapshot/{{{FHIR}}}element"):
        path = _said(element, "path")
        above, _, name = path.rpartition(".")
        node = _node(element, name or path)
        if _is_attribute(path, name, is_extension=is_extension, parent=latest.get(above)):
            node.name = f"@{name}"
        if above:
            _place(latest[above], node)
        latest[path] = node
    return latest[_said(root, "type")]


def _is_attribute(path: str, name: str, *, is_extension: bool, parent: Node | None) -> bool:
    """In XML the id of a data type and the url of an extension are attributes; the id of a resource is an element."""
    if name == _ATTRIBUTE_URL:
        return parent is not None and (parent.types == ("Extension",) or is_extension)
    is_of_resource = (path.count(".") == 1 and not is_extension) or (parent is not None and parent.types == ("Resource",))
    return name == "id" and not is_of_resource


def _place(parent: Node, node: Node) -> None:
    base = next((each for each in parent.children if each.name == node.name), None)
    if node.slice_name and base is not None:
        base.slices.append(node)
    else:
        parent.children.append(node)


def _node(element: etree._Element, name: str) -> Node:
    most = _said(element, "max")
    types = list(element.iterfind(f"{{{FHIR}}}type"))
    longest = _said(element, "maxLength")
    return Node(
        name=name,
        least=int(_said(element, "min")),
        most=None if most == "*" else int(most),
        types=tuple(dict.fromkeys(_said(each, "code") for each in types)),
        profiles=tuple(_values(types, "profile")),
        targets=tuple(target.rpartition("/")[2] for target in _values(types, "targetProfile")),
        fixed=next((each.get("value") for each in element if etree.QName(each).localname.startswith("fixed")), None),
        max_length=int(longest) if longest else None,
        value_set=_required(element),
        slice_name=_said(element, "sliceName") or None,
    )


def _required(element: etree._Element) -> str | None:
    binding = element.find(f"{{{FHIR}}}binding")
    if binding is None or _said(binding, "strength") != "required":
        return None
    reference = binding.find(f"{{{FHIR}}}valueSetReference/{{{FHIR}}}reference")
    return reference.get("value") if reference is not None else _said(binding, "valueSetUri")


def _values(elements: list[etree._Element], name: str) -> Iterator[str]:
    for element in elements:
        yield from (each.get("value", "") for each in element.iterfind(f"{{{FHIR}}}{name}"))


def _said(element: etree._Element, name: str) -> str:
    found = element.find(f"{{{FHIR}}}{name}")
    return found.get("value", "") if found is not None else ""
