"""The inner document bundle of a message, read on demand. PURE."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Final

from lxml import etree

from mesh_itk3.itk3 import xml
from mesh_itk3.itk3.attachment import Attachment, InvalidAttachment
from mesh_itk3.itk3.resource import Part, References, Resource, entries_of, entry_named, first_entry, ods_codes
from mesh_itk3.itk3.section import Section, sections_of
from mesh_itk3.patient_match import PatientIdentity, identity_of

__all__ = ["Attachment", "Document", "InvalidAttachment", "Part", "Resource", "Section"]

_HOLDS_BINARIES: Final = xml.path("boolean(f:entry/f:resource/f:Binary)")
_FIRST_AS_IT_SHOULD: Final = xml.path("f:entry[1]/f:resource[1]/*[1][self::f:Composition]")
_COMPOSITIONS: Final = xml.path("f:entry/f:resource[1]/*[1][self::f:Composition]")
_FEW_LOOKUPS: Final = 4


class Document:
    """One ITK-Document-Bundle-1. Every property is read when asked for; what is absent is None or empty."""

    def __init__(self, element: etree._Element, where: str = "Bundle") -> None:
        self.element = element
        self.where = where
        """Its path from the outer Bundle."""
        self._lookups = 0

    # ------------------------------------------------------------------------------------------ identity

    @property
    def bundle_id(self) -> str | None:
        return xml.value(self.element, "id")

    @property
    def identifier(self) -> tuple[str | None, str | None]:
        """System and value of Bundle.identifier."""
        return xml.value(self.element, "identifier/system"), xml.value(self.element, "identifier/value")

    @property
    def document_id(self) -> str | None:
        """What tells documents apart: `system|value` of Bundle.identifier, or `|Bundle.id` where that is missing. None where
        both are: such a document is never known by it, for all such documents are alike in it.
        """
        system, value = self.identifier
        if value:
            return f"{system or ''}|{value}"
        return f"|{self.bundle_id}" if self.bundle_id else None

    @property
    def last_updated(self) -> str | None:
        """The document's date, as written."""
        return xml.value(self.element, "meta/lastUpdated")

    # ------------------------------------------------------------------------------------------ entries

    @cached_property
    def entries(self) -> tuple[Resource, ...]:
        return entries_of(self.element, self.where)

    @cached_property
    def _references(self) -> References:
        return References(self.entries)

    def resolve(self, reference: str | None) -> Resource | None:
        """The resource of this bundle that the reference means, or one contained in the Composition (`#id`)."""
        if reference and reference.startswith("#"):
            return self._contained(reference[1:])
        return self._looked_up(reference) or self._references.resolve(reference)

    def _looked_up(self, reference: str | None) -> Resource | None:
        """By fullUrl, while only a few are asked for and the entries have not been read: a verdict needs no more of them,
        and an index of thousands costs as much as the rest of it.
        """
        if not reference or "entries" in self.__dict__ or self._lookups >= _FEW_LOOKUPS:
            return None
        self._lookups += 1
        return entry_named(self.element, self.where, reference)

    def _contained(self, identifier: str) -> Resource | None:
        held = self.composition.contained if self.composition else ()
        return next((resource for resource in held if (resource.id or "").lstrip("#") == identifier), None)

    # ------------------------------------------------------------------------------------------ Composition

    @cached_property
    def composition(self) -> Resource | None:
        """The first Composition: it should be the first entry, and is not always."""
        usual = first_entry(self.element, self.where, _FIRST_AS_IT_SHOULD)
        return usual or first_entry(self.element, self.where, _COMPOSITIONS)

    def _value(self, path: str) -> str | None:
        return self.composition.value(path) if self.composition else None

    def _referenced(self, path: str) -> Iterator[Resource]:
        for reference in self.composition.values(f"{path}/reference") if self.composition else ():
            found = self.resolve(reference)
            if found is not None:
                yield found

    @cached_property
    def patient(self) -> Resource | None:
        """The Patient that Composition.subject names, and no other: a bundle may hold several."""
        return next((found for found in self._referenced("subject") if found.type == "Patient"), None)

    @property
    def type_code(self) -> str | None:
        return self._value("type/coding/code")

    @property
    def type_display(self) -> str | None:
        return self._value("type/coding/display") or self._value("type/text")

    @property
    def title(self) -> str | None:
        return self._value("title")

    @property
    def date(self) -> str | None:
        """When the author wrote it, as written: perhaps a date only, perhaps without a zone."""
        return self._value("date")

    @property
    def status(self) -> str | None:
        return self._value("status")

    @property
    def confidentiality(self) -> str | None:
        return self._value("confidentiality")

    @cached_property
    def author(self) -> tuple[Resource, ...]:
        return tuple(self._referenced("author"))

    @cached_property
    def custodian(self) -> Resource | None:
        return next(self._referenced("custodian"), None)

    @property
    def custodian_ods_code(self) -> str | None:
        return next(iter(ods_codes(self.custodian)), None)

    # ------------------------------------------------------------------------------------------ replacement

    @property
    def composition_identifier(self) -> str | None:
        return self._value("identifier/value")

    @cached_property
    def _replaces(self) -> Part | None:
        related = self.composition.all("relatesTo") if self.composition else ()
        return next((part for part in related if part.value("code") == "replaces"), None)

    @property
    def is_replacement(self) -> bool:
        """It replaces an earlier document as a whole, named or not."""
        return self._replaces is not None

    @property
    def replaces(self) -> str | None:
        """The Composition.identifier of the document that this one replaces."""
        return self._replaces.value("targetIdentifier/value") if self._replaces else None

    @property
    def names_what_it_replaces(self) -> bool:
        """By identifier, as GPCM-SD-039 wants it, or by reference, as FHIR allows."""
        targets = ("targetIdentifier/value", "targetReference/reference")
        return self._replaces is not None and any(map(self._replaces.value, targets))

    # ------------------------------------------------------------------------------------------ content

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """The sections in the author's order, each with its nested ones."""
        return sections_of(self.composition.element, self.composition.where) if self.composition else ()

    def all_sections(self) -> Iterator[Section]:
        """Every section, nested ones after the one that holds them."""
        return iter(self._all_sections)

    @cached_property
    def _all_sections(self) -> tuple[Section, ...]:
        found: list[Section] = []
        waiting = list(reversed(self.sections))
        while waiting:
            found.append(waiting.pop())
            waiting.extend(reversed(found[-1].sections))
        return tuple(found)

    @cached_property
    def attachments(self) -> tuple[Attachment, ...]:
        """Every Binary of the bundle, referenced or not: those that sections name come first, in the sections' order."""
        references = (reference for section in self.all_sections() for reference in section.entries)
        named = [found for reference in references if (found := self.resolve(reference)) and found.type == "Binary"]
        rest = [entry for entry in self.entries if entry.type == "Binary"]
        unique = {id(resource.element): resource for resource in (*named, *rest)}
        return tuple(Attachment(resource) for resource in unique.values())

    @cached_property
    def binaries(self) -> tuple[Attachment, ...]:
        """The same in the order of the entries: no section is read for it, and where there are none, no entry either."""
        entries = self.entries if _HOLDS_BINARIES(self.element) else ()
        held = self.composition.contained if self.composition else ()
        return tuple(Attachment(found) for found in (*entries, *held) if found.type == "Binary")

    @cached_property
    def patient_identity(self) -> PatientIdentity | None:
        return identity_of(self.patient) if self.patient else None
