"""What a document holds, looked up once: a letter asks for the same sections and references many times. PURE."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import Any, Final

from lxml import etree

from mesh_itk3.itk3.document import Attachment, Document, Part, Resource, Section
from mesh_itk3.itk3.xml import IN_FHIR

_NAMESPACES: Final = {"f": IN_FHIR[1:-1]}


def _xpath(path: str) -> str:
    return "/".join(f"f:{name}" for name in path.split("/"))


@lru_cache(maxsize=512)
def _elements(path: str) -> Any:
    return etree.XPath(_xpath(path), namespaces=_NAMESPACES, smart_strings=False)


@lru_cache(maxsize=512)
def _first_value(path: str) -> Any:
    return etree.XPath(f"string(({_xpath(path)}/@value[normalize-space()])[1])", namespaces=_NAMESPACES, smart_strings=False)


@lru_cache(maxsize=64)
def _tags(names: tuple[str, ...]) -> dict[str, str]:
    return {IN_FHIR + name: name for name in names}


class ReadPart(Part):
    """A Part whose paths are followed inside libxml2: for one of three steps that takes less than half the time."""

    def value(self, path: str) -> str | None:
        text = _first_value(path)(self.element)
        # What is blank to XPath is blank to Python too, but not the other way round.
        return (text.strip() or super().value(path)) if text else None

    def values(self, path: str) -> tuple[str, ...]:
        texts = [(found.get("value") or "").strip() for found in _elements(path)(self.element)]
        return tuple([text for text in texts if text])

    def all(self, path: str) -> tuple[ReadPart, ...]:
        return tuple([ReadPart(found) for found in _elements(path)(self.element)])

    def fields(self, *names: str) -> dict[str, str | None]:
        """The first value of each of its children of these names."""
        tags = _tags(names)
        found: dict[str, str | None] = dict.fromkeys(names)
        for child in self.element:
            name = tags.get(child.tag)
            if name is not None and found[name] is None:
                found[name] = (child.get("value") or "").strip() or None
        return found


class ReadResource(ReadPart, Resource):
    """A Resource read so; its type is looked up once."""

    def __init__(self, resource: Resource) -> None:
        Resource.__init__(self, resource.element, resource.full_url, resource.where)
        self._type = resource.type

    @property
    def type(self) -> str:
        return self._type


class ReadSection:
    """One section and what it refers to."""

    def __init__(self, section: Section, contents: Contents) -> None:
        # No reference to `contents` is kept: a circle would hold the whole message until the garbage collector comes.
        self.part = ReadPart(section.element)
        self.code = self.part.value("code/coding/code")
        self.title = self.part.value("title") or section.title
        self.entries = tuple(contents.resolve_all(self.part.values("entry/reference")))
        """The resources that its entries refer to; references that lead nowhere are passed over."""
        self.sections = tuple(ReadSection(nested, contents) for nested in section.sections)

    def with_nested(self) -> Iterator[ReadSection]:
        """The section and all below it, in the author's order."""
        yield self
        for section in self.sections:
            yield from section.with_nested()


class Contents:
    """A document whose references, resources and sections are looked up once."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self._read: dict[int, ReadResource] = {}

    def _once(self, resource: Resource) -> ReadResource:
        # By identity: the document keeps its resources as long as it lives.
        read = self._read.get(id(resource))
        if read is None:
            read = self._read[id(resource)] = ReadResource(resource)
        return read

    def resolve(self, reference: str | None) -> ReadResource | None:
        """As `Document.resolve`; the same resource is the same object each time."""
        found = self.document.resolve(reference)
        return None if found is None else self._once(found)

    def resolve_all(self, references: tuple[str, ...]) -> Iterator[ReadResource]:
        """Those of the references that lead somewhere."""
        found = map(self.resolve, references)
        return (resource for resource in found if resource is not None)

    @cached_property
    def entries(self) -> tuple[ReadResource, ...]:
        return tuple(map(self._once, self.document.entries))

    def of_type(self, *types: str) -> tuple[ReadResource, ...]:
        """The entries of these types, in the document's order."""
        return tuple(entry for entry in self.entries if entry.type in types)

    @cached_property
    def composition(self) -> ReadResource | None:
        composition = self.document.composition
        return None if composition is None else self._once(composition)

    def named(self, path: str) -> Iterator[ReadResource]:
        """The resources that the Composition names at this path."""
        references = () if self.composition is None else self.composition.values(f"{path}/reference")
        return self.resolve_all(references)

    @cached_property
    def patient(self) -> ReadResource | None:
        patient = self.document.patient
        return None if patient is None else self._once(patient)

    @cached_property
    def author(self) -> tuple[ReadResource, ...]:
        return tuple(self.named("author"))

    @cached_property
    def custodian(self) -> ReadResource | None:
        return next(self.named("custodian"), None)

    @cached_property
    def encounter(self) -> ReadResource | None:
        """The Encounter that the Composition names."""
        return next((found for found in self.named("encounter") if found.type == "Encounter"), None)

    @cached_property
    def sections(self) -> tuple[ReadSection, ...]:
        return tuple(ReadSection(section, self) for section in self.document.sections)

    @cached_property
    def all_sections(self) -> tuple[ReadSection, ...]:
        """Every section, nested ones after the one that holds them."""
        return tuple(section for outer in self.sections for section in outer.with_nested())

    @cached_property
    def attachments(self) -> tuple[Attachment, ...]:
        """As `Document.attachments`, without following every reference where no Binary can be."""
        holds_others = self.composition is not None and self.composition.all("contained")
        return self.document.attachments if holds_others or self.of_type("Binary") else ()
