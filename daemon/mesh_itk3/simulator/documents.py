"""The document bundle and its Composition, common to every kind of document. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from mesh_itk3.simulator.choices import KINDS, Choices
from mesh_itk3.simulator.clinical import observation
from mesh_itk3.simulator.fhir import NHS, Json, entry, extension, identifier, narrative, reference, resource, section, snomed

CARE_SETTING: Final = NHS + "Extension-CareSettingType-1"
FILLER: Final = "Filler text of a simulated letter, without any meaning for anybody's care. "


@dataclass(frozen=True, slots=True)
class Filling:
    """What is added to reach a size."""

    characters: int = 0
    resources: int = 0
    attachment_bytes: int = 0


def document_bundle(choices: Choices, composition: Json, resources: Iterable[Json]) -> Json:
    ids = choices.ids
    made = resource(
        "Bundle",
        choices.document_bundle_id or ids("document-bundle"),
        identifier=identifier(choices.document_identifier or ids("document-identifier")),
        type="document",
        entry=[entry(each) for each in (composition, *resources)],
    )
    written = choices.written_at.isoformat(timespec="seconds")
    return {
        "resourceType": "Bundle",
        "id": made["id"],
        "meta": {"lastUpdated": written, "profile": [NHS + "ITK-Document-Bundle-1"]},
        **made,
    }


def composition(choices: Choices, sections: Sequence[Json], *, summary: str | None = None, encounter: bool = True) -> Json:
    ids, kind = choices.ids, KINDS[choices.kind]
    return resource(
        "Composition",
        ids("composition"),
        kind.composition_profile,
        text=None if summary is None else narrative(f"<p>{summary}</p>"),
        extension=[extension(CARE_SETTING, valueCodeableConcept=snomed(*kind.care_setting))],
        identifier=identifier(choices.composition_identifier or ids("composition-identifier")),
        status="final",
        type=snomed(*kind.composition_type),
        subject=reference(ids("patient")),
        encounter=reference(ids("encounter")) if encounter else None,
        date=choices.written_at.isoformat(timespec="seconds"),
        author=[reference(ids("author"))],
        title=kind.title,
        custodian=reference(ids("custodian")),
        relatesTo=_replaces(choices.replaces),
        section=list(sections),
    )


def _replaces(identifier_value: str | None) -> list[Json] | None:
    if identifier_value is None:
        return None
    return [{"code": "replaces", "targetIdentifier": identifier(identifier_value)}]


def filler(characters: int) -> str:
    """A paragraph whose text has this length; none for 0."""
    if characters <= 0:
        return ""
    whole, rest = divmod(characters, len(FILLER))
    return f"<p>{FILLER * whole}{'x' * rest}</p>"


def investigations(choices: Choices, count: int) -> tuple[list[Json], list[Json]]:
    """The section and the resources of a long series of results; both empty for 0."""
    if not count:
        return [], []
    results = [observation(choices, number) for number in range(count)]
    code = snomed("1082101000000102", "Investigation results")
    rows = [("Investigation result", "Heart rate, continuous monitoring: see the coded results")]
    return [section("Investigation results", code, [rows], (each["id"] for each in results))], results
