"""FHIR STU3 JSON to FHIR XML, for messages that the simulator made itself. Pure.

Element order is the order of the dictionaries: `fhir.py` and its callers write them in STU3 order.
"""

from __future__ import annotations

from typing import Any, Final

from lxml import etree

from mesh_itk3.simulator.fhir import Json

FHIR: Final = "http://hl7.org/fhir"


def to_xml(resource: Json) -> bytes:
    """UTF-8, no byte order mark, no indentation."""
    root = etree.Element(f"{{{FHIR}}}{resource['resourceType']}", nsmap={None: FHIR})  # type: ignore[dict-item]  # the stubs know no default namespace
    _fill(root, resource)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def _fill(parent: etree._Element, content: Json) -> None:
    for name, value in content.items():
        if name == "resourceType":
            continue
        if name == "url" and parent.tag == f"{{{FHIR}}}extension":
            parent.set("url", value)
            continue
        for each in value if isinstance(value, list) else [value]:
            _append(parent, name, each)


def _append(parent: etree._Element, name: str, value: Any) -> None:
    if name == "div":
        parent.append(etree.fromstring(value))  # our own narrative, well-formed by construction
        return
    child = etree.SubElement(parent, f"{{{FHIR}}}{name}")
    if not isinstance(value, dict):
        child.set("value", _literal(value))
    elif "resourceType" in value:
        _fill(etree.SubElement(child, f"{{{FHIR}}}{value['resourceType']}"), value)
    else:
        _fill(child, value)


def _literal(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
