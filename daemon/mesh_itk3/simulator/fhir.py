"""Small builders of FHIR STU3 JSON. Every dictionary is written in STU3 element order, which XML then keeps. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

Json = dict[str, Any]

NHS: Final = "https://fhir.nhs.uk/STU3/StructureDefinition/"
HL7_UK: Final = "https://fhir.hl7.org.uk/STU3/StructureDefinition/"
SNOMED: Final = "http://snomed.info/sct"
UUID_SYSTEM: Final = "https://tools.ietf.org/html/rfc4122"
ODS_ORGANISATION: Final = "https://fhir.nhs.uk/Id/ods-organization-code"


class Ids:
    """Draws the same identifier for the same name, always: a message is a function of its choices."""

    def __init__(self, seed: str) -> None:
        self._seed = seed

    def __call__(self, name: str) -> str:
        return str(uuid5(NAMESPACE_URL, f"mesh-itk3-simulator/{self._seed}/{name}"))


def coding(system: str, code: str, display: str) -> Json:
    return {"system": system, "code": code, "display": display}


def concept(system: str, code: str, display: str) -> Json:
    return {"coding": [coding(system, code, display)]}


def snomed(code: str | None, display: str) -> Json:
    """A SNOMED CT concept; without a code only its text, as senders without a terminology write it."""
    return concept(SNOMED, code, display) if code else {"text": display}


def identifier(value: str, system: str = UUID_SYSTEM) -> Json:
    return {"system": system, "value": value}


def reference(resource_id: str) -> Json:
    return {"reference": f"urn:uuid:{resource_id}"}


def extension(url: str, **value: object) -> Json:
    return {"url": url, **value}


def resource(kind: str, resource_id: str, profile: str | None = None, **elements: object) -> Json:
    """A resource with its profile; elements that are None are left out."""
    head: Json = {"resourceType": kind, "id": resource_id}
    if profile:
        head["meta"] = {"profile": [profile]}
    return head | {name: value for name, value in elements.items() if value is not None}


def entry(of: Json) -> Json:
    return {"fullUrl": f"urn:uuid:{of['id']}", "resource": of}


Rows = Sequence[tuple[str, str]]


def table(rows: Rows) -> str:
    """One table of PRSB elements and values, as hospitals write them."""
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{_paragraphs(value)}</td></tr>" for name, value in rows)
    return f'<table width="100%"><tbody>{cells}</tbody></table>'


def _paragraphs(value: str) -> str:
    lines = value.split("\n")
    return escape(value) if len(lines) == 1 else "".join(f"<p>{escape(line)}</p>" for line in lines)


def narrative(*parts: str) -> Json:
    return {"status": "additional", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{"".join(parts)}</div>'}


def section(title: str, code: Json | None, tables: Iterable[Rows], entries: Iterable[str] = (), extra: str = "") -> Json:
    """One Composition.section: title, code, narrative, and references to what it carries coded."""
    made: Json = {"title": title}
    if code:
        made["code"] = code
    made["text"] = narrative(*(table(rows) for rows in tables), extra)
    references = [reference(each) for each in entries]
    return made | ({"entry": references} if references else {})
