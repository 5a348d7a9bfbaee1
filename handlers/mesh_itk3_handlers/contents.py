"""What a document holds, looked up once: a letter asks for the same elements and references many times. PURE."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache

from mesh_itk3.itk3.document import Attachment, Document, Part, Resource, Section
from mesh_itk3.itk3.xml import IN_FHIR


@lru_cache(maxsize=512)
def _steps(path: str) -> tuple[str, ...]:
    return tuple(IN_FHIR + name for name in path.split("/"))


class ReadPart(Part):
    """A Part that keeps its children. They must not change while it is in use."""

    _by_name: dict[str, list[ReadPart]] | None = None

    def by_name(self) -> dict[str, list[ReadPart]]:
        """Its child elements under their qualified names, in order."""
        named = self._by_name
        if named is None:
            named = self._by_name = {}
            for child in self.element:
                tag = child.tag
                if tag in named:
                    named[tag].append(ReadPart(child))
                else:
                    named[tag] = [ReadPart(child)]
        return named

    def _at(self, path: str) -> Sequence[ReadPart]:
        first, *rest = _steps(path)
        found: Sequence[ReadPart] = self.by_name().get(first, ())
        for step in rest:
            if not found:
                break
            found = [child for parent in found for child in parent.by_name().get(step, ())]
        return found

    def value(self, path: str) -> str | None:
        for part in self._at(path):
            text = part.element.get("value")
            if text and (text := text.strip()):
                return text
        return None

    def values(self, path: str) -> tuple[str, ...]:
        texts = ((part.element.get("value") or "").strip() for part in self._at(path))
        return tuple(text for text in texts if text)

    def all(self, path: str) -> tuple[ReadPart, ...]:
        return tuple(self._at(path))

    def extension(self, url_tail: str) -> ReadPart | None:
        for part in self._at("extension"):
            if (part.url or "").strip().endswith(url_tail):
                return part
        return None


class ReadResource(ReadPart, Resource):
    """A Resource that keeps its children."""

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
    """A document whose resources, references and sections are read once."""

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
