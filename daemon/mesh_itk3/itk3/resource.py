"""Thin views over one FHIR resource or part of one, and the index that resolves references in one bundle. PURE."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from lxml import etree

from mesh_itk3.itk3 import xml

if TYPE_CHECKING:
    from fhir.resources.core.fhirabstractmodel import FHIRAbstractModel

ODS_SYSTEMS: Final = ("https://fhir.nhs.uk/Id/ods-organization-code", "https://fhir.nhs.uk/Id/ods-site-code")

_URN: Final = "urn:uuid:"


def normalise_id(text: str) -> str:
    """The form in which ids are compared: no white space around it, no `urn:uuid:`, lower case."""
    return text.strip().lower().removeprefix(_URN).lstrip()


def written_id(text: str) -> str:
    """The same as it was written, capitals and all: many compare ids letter by letter."""
    written = text.strip()
    return written if normalise_id(written) == written.lower() else written[-len(normalise_id(written)) :]


class Part:
    """One element of a resource, read by its child names. Holds clinical data: never log it."""

    def __init__(self, element: etree._Element) -> None:
        self.element = element

    @property
    def name(self) -> str:
        return xml.local_name(self.element)

    @property
    def url(self) -> str | None:
        """An extension's url."""
        return self.element.get("url")

    def value(self, path: str) -> str | None:
        """The first value along child names (`type/coding/code`), white space around it removed."""
        return xml.value(self.element, path)

    def values(self, path: str) -> tuple[str, ...]:
        return tuple(xml.values(self.element, path))

    def all(self, path: str) -> tuple[Part, ...]:
        """The elements at this path."""
        return tuple(Part(found) for found in xml.descend(self.element, path))

    def extension(self, url_tail: str) -> Part | None:
        """The first extension whose url ends so: payloads of several years differ in the beginning only."""
        for found in xml.children(self.element, "extension"):
            if (found.get("url") or "").strip().endswith(url_tail):
                return Part(found)
        return None


class Resource(Part):
    """One resource of a bundle."""

    def __init__(self, element: etree._Element, full_url: str | None, where: str) -> None:
        self.element = element  # not by way of Part: a large bundle has thousands of these
        self.full_url = full_url
        self.where = where
        """Its path from the outer Bundle, such as `Bundle.entry[2].resource`."""

    @property
    def type(self) -> str:
        return self.name

    @property
    def id(self) -> str | None:
        return self.value("id")

    def model(self) -> FHIRAbstractModel:
        """A typed fhir.resources STU3 model of this one resource. Raises whatever the library raises: pydantic's
        ValidationError, KeyError or ValueError; real NHS samples provoke all three.
        """
        from fhir.resources.STU3 import get_fhir_model_class

        model: Any = get_fhir_model_class(self.type)
        parsed: FHIRAbstractModel = model.model_validate_xml(etree.tostring(self.element, with_tail=False))
        return parsed

    @cached_property
    def contained(self) -> tuple[Resource, ...]:
        return tuple(
            Resource(element, None, f"{self.where}.contained[{at}]")
            for at, holder in enumerate(xml.children(self.element, "contained"))
            for element in holder.iterchildren(tag=etree.Element)
        )


def is_bundle(resource: Resource) -> bool:
    """Messages of 2018 spell the inner resource `bundle`."""
    return resource.type.lower() == "bundle"


_ENTRY: Final = xml.IN_FHIR + "entry"
_FULL_URL: Final = xml.IN_FHIR + "fullUrl"
_RESOURCE: Final = xml.IN_FHIR + "resource"


# At most one of each entry, so that equal numbers mean one of every entry.
_ELEMENTS: Final = xml.path("f:entry/f:resource[1]/*[1]")
_URLS: Final = xml.path("f:entry/f:fullUrl[1]/@value")
_COUNT: Final = xml.path("count(f:entry)")


def entries_of(bundle: etree._Element, where: str) -> tuple[Resource, ...]:
    """The resources of a bundle's entries, in order; entries without one are left out."""
    # Three paths inside libxml2 cost a tenth of a walk that makes every entry, fullUrl and holder an object of Python.
    elements, urls = _ELEMENTS(bundle), _URLS(bundle)
    if len(elements) == len(urls) == _COUNT(bundle):
        pairs = enumerate(zip(elements, urls, strict=True))
        return tuple([Resource(element, url, f"{where}.entry[{at}].resource") for at, (element, url) in pairs])
    return tuple(_walked(bundle, where))


_NAMED: Final = xml.path("f:entry[f:fullUrl/@value = $url]/f:resource[1]/*[1]")
_URL_OF: Final = xml.path("../../f:fullUrl[1]/@value")
_BEFORE: Final = xml.path("count(../../preceding-sibling::f:entry)")


def entry_named(bundle: etree._Element, where: str, full_url: str) -> Resource | None:
    """The first resource whose fullUrl is written exactly so; no other entry becomes an object of Python."""
    return _alone(_NAMED(bundle, url=full_url), where, full_url)


def first_entry(bundle: etree._Element, where: str, path: Any) -> Resource | None:
    """The first of the resources that a compiled path of this bundle leads to."""
    return _alone(path(bundle), where, None)


def _alone(found: list[etree._Element], where: str, full_url: str | None) -> Resource | None:
    if not found:
        return None
    url = full_url or next(iter(_URL_OF(found[0])), None)
    return Resource(found[0], url, f"{where}.entry[{int(_BEFORE(found[0]))}].resource")


def _walked(bundle: etree._Element, where: str) -> Iterator[Resource]:
    """Where some entry has no fullUrl or no resource."""
    for at, entry in enumerate(bundle.iterchildren(_ENTRY)):
        full_url = next(entry.iterchildren(_FULL_URL), None)
        holder = next(entry.iterchildren(_RESOURCE), None)
        if holder is not None and len(holder):
            url = None if full_url is None else full_url.get("value")
            yield Resource(holder[0], url, f"{where}.entry[{at}].resource")


class References:
    """Resolves references among the resources of one bundle: by fullUrl, then Type/id, then id.

    In real messages ids and fullUrls disagree, `urn:uuid:` comes and goes, and one fullUrl stands twice.
    """

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._resources = tuple(resources)

    @cached_property
    def _by_full_url(self) -> dict[str, list[Resource]]:
        return _grouped([(normalise_id(resource.full_url), resource) for resource in self._resources if resource.full_url])

    @cached_property
    def _by_id(self) -> dict[str, list[Resource]]:
        """By id and by Type/id; built only where a fullUrl does not answer, because reading every id costs more."""
        named = [(normalise_id(resource.id), resource) for resource in self._resources if resource.id]
        typed = ((f"{resource.type.lower()}/{identifier}", resource) for identifier, resource in named)
        return _grouped((*typed, *named))

    def candidates(self, reference: str) -> list[Resource]:
        """Everything that the reference may mean, on the first level that knows it."""
        key = normalise_id(reference)
        found = self._by_full_url.get(key)
        if found is None:
            return self._by_id_alone(key)
        # Written exactly so goes first: then `entry_named` and this index never name two different resources.
        return found if len(found) == 1 else sorted(found, key=lambda resource: resource.full_url != reference)

    def _by_id_alone(self, key: str) -> list[Resource]:
        last_two = "/".join(key.split("/")[-2:])
        return self._by_id.get(last_two) or self._by_id.get(last_two.rpartition("/")[2]) or []

    def resolve(self, reference: str | None) -> Resource | None:
        return next(iter(self.candidates(reference)), None) if reference else None


def _grouped(pairs: Iterable[tuple[str, Resource]]) -> dict[str, list[Resource]]:
    grouped: dict[str, list[Resource]] = {}
    for key, resource in pairs:
        grouped.setdefault(key, []).append(resource)
    return grouped


PERSON_SYSTEMS: Final = (
    # CareConnect-ITK-Header-Practitioner-1 has the first two; the third stands in documents.
    "https://fhir.nhs.uk/Id/sds-user-id",
    "https://fhir.nhs.uk/Id/sds-role-profile-id",
    "https://fhir.hl7.org.uk/Id/gmc-number",
)


def ods_codes(organisation: Resource | None) -> tuple[str, ...]:
    """The ODS organisation and site codes of an Organization, upper case."""
    return _identifiers(organisation, "Organization", ODS_SYSTEMS)


def person_ids(practitioner: Resource | None) -> tuple[str, ...]:
    """The national identifiers of a Practitioner, upper case. Local ones could mean somebody else."""
    return _identifiers(practitioner, "Practitioner", PERSON_SYSTEMS)


def _identifiers(holder: Resource | None, resource_type: str, systems: tuple[str, ...]) -> tuple[str, ...]:
    if holder is None or holder.type != resource_type:
        return ()
    return tuple(
        value.upper()
        for identifier in holder.all("identifier")
        if (identifier.value("system") or "") in systems and (value := identifier.value("value"))
    )
