"""A document as a letter: what its reader sees, read from the resources. PURE.

Author, custodian, dates, care setting and recipients should not stand in the sections' text (FHIR-TXT-01), so a letter of
sections alone would lose them; and everything coded must stand in the text (FHIR-CC-03), so every section is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from mesh_itk3.handler import Message
from mesh_itk3.itk3.document import Document, Part, Resource
from mesh_itk3.itk3.resource import ods_codes
from mesh_itk3.patient_match import VERIFIED, PatientIdentity
from mesh_itk3_handlers import narrative, wording
from mesh_itk3_handlers.attachments import FiledAttachment
from mesh_itk3_handlers.cautions import Caution
from mesh_itk3_handlers.contents import Contents, ReadSection
from mesh_itk3_handlers.narrative import Narrative

RECIPIENT_TYPES: Final = {"FA": "For action", "FI": "For information"}
_ACTION_SECTIONS: Final = frozenset({"887201000000105"})
"""Plan and requested actions: the one place where a letter asks its reader to do something."""
_GP_PRACTICE: Final = "886711000000101"
_DISTRIBUTION_LIST: Final = "887261000000109"
_STAYS: Final = frozenset({"IMP", "ACUTE", "NONAC"})
"""v3 ActEncounterCode: the patient stayed; all others attended."""
_DEEPEST_HEADING: Final = 6
_NUMBER_OF_PEOPLE: Final = 20
"""A guess at how many copies are worth listing above the text; the section lists them all."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One labelled entry above the sections."""

    label: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Banner:
    """Who the patient is: the first thing that a reader checks."""

    name: str
    date_of_birth: str
    gender: str
    nhs_number: str
    nhs_number_doubt: str
    """`not valid`, `not verified` or nothing."""
    address: str
    telecom: str
    died: str


@dataclass(frozen=True, slots=True)
class LetterSection:
    """One section, ready to show."""

    number: str
    title: str
    """Never empty; `given_title` is what the sender wrote."""
    given_title: str
    code: str | None
    html: str
    """Sanitised."""
    text: str
    entries: tuple[str, ...]
    """What a section without text refers to, in words: coded content that the text should have repeated."""
    heading_level: int
    is_action: bool
    sections: tuple[LetterSection, ...]

    def with_nested(self) -> Iterator[LetterSection]:
        """The section and all below it, in the author's order."""
        yield self
        for section in self.sections:
            yield from section.with_nested()


@dataclass(frozen=True, slots=True)
class Letter:
    """Everything that `letter.html` shows."""

    title: str
    document_type: str
    organisation: str
    authors: tuple[str, ...]
    recipient_type: str
    is_replacement: bool
    patient: Banner
    facts: tuple[Fact, ...]
    summary: str
    """Composition.text, sanitised; some senders put one line here."""
    sections: tuple[LetterSection, ...]
    cautions: tuple[Caution, ...]


def read_letter(message: Message, contents: Contents, attachments: tuple[FiledAttachment, ...]) -> Letter:
    """The letter that this document is."""
    document = contents.document
    authors, organisation = author_names(contents), organisation_name(contents.custodian)
    cautions = [*_document_cautions(document, authors, organisation), *_patient_cautions(document)]
    summary = _narrative_of(contents.composition)
    sections = tuple(_sections(contents, contents.sections, "", 2, cautions))
    cautions += [Caution(word, "summary") for word in summary.warnings]
    cautions += [caution for attachment in attachments for caution in attachment.warnings]
    document_type = document.type_display or document.title or "Document"
    return Letter(
        title=document.title or document_type,
        document_type=document_type,
        organisation=organisation,
        authors=authors,
        recipient_type=RECIPIENT_TYPES.get(message.header.handling.recipient_type.value or "", ""),
        is_replacement=document.is_replacement,
        patient=_banner(contents),
        facts=tuple(fact for fact in _facts(message, contents) if any(fact.lines)),
        summary=summary.html,
        sections=sections,
        cautions=tuple(dict.fromkeys(cautions)),
    )


def has_text(document: Document) -> bool:
    """Whether there is a word to read: in a section, in the Composition's own text, or in an attachment."""
    holders: Iterable[Part] = (Part(section.element) for section in document.all_sections())
    own = (document.composition,) if document.composition is not None else ()
    return bool(document.attachments) or any(_has_words(holder) for holder in (*holders, *own))


def _has_words(holder: Part) -> bool:
    return any(not str(words).isspace() for text in holder.all("text") for words in text.element.itertext())


def organisation_name(organisation: Resource | None) -> str:
    return "" if organisation is None else organisation.value("name") or next(iter(ods_codes(organisation)), "")


def author_names(contents: Contents) -> tuple[str, ...]:
    """Every author's name; a device's or organisation's counts."""
    return tuple(name for author in contents.author if (name := wording.resource_words(author)))


def care_setting(contents: Contents) -> str:
    """The extension has had four URLs; all end alike."""
    return wording.extension_words(contents.composition, "CareSettingType-1")


# ------------------------------------------------------------------------------------------------ the sections


def _sections(
    contents: Contents, sections: Iterable[ReadSection], prefix: str, level: int, cautions: list[Caution]
) -> Iterator[LetterSection]:
    for at, section in enumerate(sections, start=1):
        number = f"{prefix}{at}"
        text = _narrative_of(section.part)
        cautions += [Caution(word, f"section {number}") for word in text.warnings]
        nested = tuple(_sections(contents, section.sections, f"{number}.", min(level + 1, _DEEPEST_HEADING), cautions))
        entries = () if text.html else tuple(_entry_words(contents, section))
        if not (text.html or nested or entries):
            cautions.append(Caution("section_text_missing", f"section {number}"))
        yield LetterSection(
            number=number,
            title=section.title or "Section without a title",
            given_title=section.title,
            code=section.code,
            html=text.html,
            text=text.text,
            entries=entries,
            heading_level=level,
            is_action=section.code in _ACTION_SECTIONS,
            sections=nested,
        )


def _narrative_of(holder: Part | None) -> Narrative:
    """All that stands in `text`, not its first div only: nothing of it may be lost."""
    texts = [narrative.sanitise(text.element) for text in holder.all("text")] if holder is not None else []
    if len(texts) == 1:
        return texts[0]
    words = {word for text in texts for word in text.warnings}
    html, plain = ("\n".join(filter(None, parts)) for parts in ([text.html for text in texts], [text.text for text in texts]))
    return Narrative(html, plain, tuple(sorted(words)))


def _entry_words(contents: Contents, section: ReadSection) -> Iterator[str]:
    numbers = {id(held.resource.element): number for number, held in enumerate(contents.attachments, start=1)}
    for found in section.entries:
        if found.type == "Binary":
            yield f"Attachment {numbers.get(id(found.element), '')}".strip()
        elif words := wording.resource_words(found):
            yield f"{found.type}: {words}"


# ------------------------------------------------------------------------------------------------ the patient


def _banner(contents: Contents) -> Banner:
    patient, identity = contents.patient, contents.document.patient_identity
    if patient is None or identity is None:
        return Banner("", "", "", "", "", address="", telecom="", died="")
    died = wording.date_words(patient.value("deceasedDateTime"))
    return Banner(
        name=wording.patient_name(patient),
        date_of_birth=wording.date_words(identity.date_of_birth),
        gender=(patient.value("gender") or "").capitalize(),
        nhs_number=wording.nhs_number_words(identity.nhs_number),
        nhs_number_doubt=_doubt(identity),
        address=wording.address_words(patient),
        telecom=wording.telecom_words(patient),
        died=died or ("Yes" if patient.value("deceasedBoolean") == "true" else ""),
    )


def _doubt(identity: PatientIdentity) -> str:
    if not identity.nhs_number_valid:
        return "not valid"
    return "" if identity.verification_status == VERIFIED else "not verified"


def _patient_cautions(document: Document) -> Iterator[Caution]:
    identity = document.patient_identity
    if identity is None:
        return
    if not identity.nhs_number:
        yield Caution("nhs_number_missing")
    elif not identity.nhs_number_valid:
        yield Caution("nhs_number_invalid")
    elif identity.verification_status != VERIFIED:
        yield Caution("nhs_number_not_verified")
    if not any(identity.family_names):
        yield Caution("patient_name_missing")
    if not identity.date_of_birth:
        yield Caution("date_of_birth_missing")


def _document_cautions(document: Document, authors: tuple[str, ...], organisation: str) -> Iterator[Caution]:
    if document.is_replacement:
        yield Caution("document_is_replacement")
    if document.status not in (None, "final", "amended"):
        yield Caution("document_not_final")
    if document.confidentiality in ("R", "V"):
        yield Caution("document_restricted")
    if not authors:
        yield Caution("author_missing")
    if not organisation:
        yield Caution("custodian_missing")


# ------------------------------------------------------------------------------------------------ above the sections


def _facts(message: Message, contents: Contents) -> Iterator[Fact]:
    yield Fact("Written by", tuple(line for author in contents.author for line in _person_lines(contents, author)))
    yield Fact("Organisation", tuple(_organisation_lines(contents.custodian)))
    yield Fact("Date written", (wording.date_words(contents.document.date),))
    yield Fact("Care setting", (care_setting(contents),))
    yield from _encounter_facts(contents.encounter)
    yield Fact("Sent to", tuple(_organisation_lines(message.header.receiver)))
    yield Fact("GP practice", tuple(dict.fromkeys(_practice_lines(contents))))
    yield Fact("Copies to", tuple(dict.fromkeys(_copies(contents)))[:_NUMBER_OF_PEOPLE])


def _person_lines(contents: Contents, person: Resource) -> Iterator[str]:
    if person.type == "Organization":
        yield from _organisation_lines(person)
        return
    lines = (wording.resource_words(person), wording.role_words(contents, person), wording.telecom_words(person))
    yield from (line for line in lines if line)


def _organisation_lines(organisation: Resource | None) -> Iterator[str]:
    if organisation is None:
        return
    if organisation.type != "Organization":
        yield wording.resource_words(organisation)
        return
    name, codes = organisation.value("name") or "", ", ".join(ods_codes(organisation))
    lines = (f"{name} ({codes})" if name and codes else name or codes, wording.address_words(organisation))
    yield from (line for line in (*lines, wording.telecom_words(organisation)) if line)


def _encounter_facts(encounter: Resource | None) -> Iterator[Fact]:
    if encounter is None:
        return
    kind = encounter.value("class/code")
    # Outpatient samples carry `hospitalization` too: it tells only where the class does not.
    is_stay = kind in _STAYS if kind else bool(encounter.all("hospitalization"))
    begin, end = ("Admitted", "Discharged") if is_stay else ("Attended", "Attendance ended")
    yield Fact(begin, (wording.date_words(encounter.value("period/start")),))
    yield Fact(end, (wording.date_words(encounter.value("period/end")),))
    yield Fact("Type of contact", (wording.coded_words(encounter, "type") or wording.coded_words(encounter, "class"),))


def _referenced_by(contents: Contents, code: str) -> Iterator[Resource]:
    return (found for section in contents.all_sections if section.code == code for found in section.entries)


def _practice_lines(contents: Contents) -> Iterator[str]:
    for found in _referenced_by(contents, _GP_PRACTICE):
        if found.type == "Organization":
            yield from _organisation_lines(found)


def _copies(contents: Contents) -> Iterator[str]:
    extension = [] if contents.composition is None else contents.composition.all("extension")
    # Older documents name recipients here; newer ones in the distribution list.
    older = [part for part in extension if (part.url or "").endswith("InformationRecipient-1")]
    named = (contents.resolve(part.value("valueReference/reference")) for part in older)
    for found in (*named, *_referenced_by(contents, _DISTRIBUTION_LIST)):
        if found is not None and found.type != "PractitionerRole":
            yield wording.resource_words(found)
