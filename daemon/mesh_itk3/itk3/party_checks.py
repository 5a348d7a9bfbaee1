"""Whom a message is for and whom it is from: one question each, answered with where. PURE.

Persons and senders are checked only where a list of them is kept; recipients always (FHIR-RR-01).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mesh_itk3.itk3.document import Document
from mesh_itk3.itk3.envelope import Reading
from mesh_itk3.itk3.facts import UNKNOWN_PRACTICE, Facts, Found
from mesh_itk3.itk3.resource import Resource, ods_codes, person_ids

GP_PRACTICE_SECTION: Final = "886711000000101"
DISTRIBUTION_LIST_SECTION: Final = "887261000000109"
_INFORMATION_RECIPIENT: Final = "Extension-ITK-InformationRecipient-1"
"""Of documents from before the distribution list."""


def is_ours(codes: tuple[str, ...], facts: Facts) -> bool:
    """Whether one of these codes is answered for here; the stand-in for an unknown practice always is."""
    return any(code == UNKNOWN_PRACTICE or code in facts.our_ods_codes for code in codes)


# ------------------------------------------------------------------------------------------- in the header


def receiver_not_ours(reading: Reading, facts: Facts) -> Found:
    codes = reading.header.receiver_ods_codes
    is_elsewhere = bool(codes) and bool(facts.our_ods_codes) and not is_ours(codes, facts)
    return (f"{reading.header.where}.receiver", "") if is_elsewhere else None


def person_not_ours(reading: Reading, facts: Facts) -> Found:
    person = reading.header.receiver
    if facts.our_persons is None or person is None or person.type != "Practitioner":
        return None
    return None if facts.our_persons.intersection(person_ids(person)) else (f"{reading.header.where}.receiver", "")


def _is_routed_by_look_up(facts: Facts) -> bool:
    """Then whoever treated the patient may be the sender, and senders are not checked (ITK-ResponseCodes-1). The workflow
    alone tells: V81999 and Mex-To are what the sender wrote, and nobody may free himself from a list.
    """
    return facts.workflow.routed_by_look_up


def sender_unknown(reading: Reading, facts: Facts) -> Found:
    """By what the message says of itself."""
    if facts.known_senders is None or _is_routed_by_look_up(facts):
        return None
    sender = reading.header.sender
    is_known = facts.known_senders.intersection((*ods_codes(sender), *person_ids(sender)))
    return None if is_known else (f"{reading.header.where}.sender", "")


def sender_not_authorised(reading: Reading, facts: Facts) -> Found:
    """By the mailbox that it came from, for which MESH vouches."""
    if facts.authorised_senders is None or _is_routed_by_look_up(facts):
        return None
    is_authorised = (facts.sender_mailbox_id or "").upper() in facts.authorised_senders
    return None if is_authorised else (f"{reading.header.where}.sender", "")


def _names_receiver(reading: Reading) -> bool:
    """Whether the header says for whom the message is, by an ODS code or a person's national identifier. A receiver that
    says neither tells no more than none would, and must not keep the document from being asked.
    """
    return bool(reading.header.receiver_ods_codes or person_ids(reading.header.receiver))


# ------------------------------------------------------------------------------------------- in the document


def _documents(reading: Reading, facts: Facts) -> tuple[Document, ...]:
    return reading.envelope.documents if reading.envelope and facts.needs_document else ()


def _practice_codes(document: Document) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Path of each GP practice section, and the ODS codes of the Organizations that it names."""
    for section in document.all_sections():
        if section.code == GP_PRACTICE_SECTION:
            yield section.where, tuple(code for entry in section.entries for code in ods_codes(document.resolve(entry)))


def _foreign_practice(reading: Reading, facts: Facts) -> str | None:
    """Path of the GP practice section whose Organization has ODS codes, none of them ours."""
    if not facts.our_ods_codes:
        return None
    for document in _documents(reading, facts):
        for where, codes in _practice_codes(document):
            if codes and not is_ours(codes, facts):
                return where
    return None


def practice_without_receiver(reading: Reading, facts: Facts) -> Found:
    where = None if _names_receiver(reading) else _foreign_practice(reading, facts)
    return (where, "") if where else None


def practice_beside_receiver(reading: Reading, facts: Facts) -> Found:
    where = _foreign_practice(reading, facts) if _names_receiver(reading) else None
    return (where, "") if where else None


def person_in_document_unknown(reading: Reading, facts: Facts) -> Found:
    """Only where nothing else says that the document is for us: a distribution list names everybody who gets a copy, and
    most of them are none of ours.
    """
    if facts.our_persons is None or _names_receiver(reading):
        return None
    for document in _documents(reading, facts):
        named = [found for found in _named_recipients(document) if found.type == "Practitioner"]
        persons = {identifier for person in named for identifier in person_ids(person)}
        if named and not facts.our_persons & persons and not _names_our_organisation(document, facts):
            return named[0].where, ""
    return None


def _names_our_organisation(document: Document, facts: Facts) -> bool:
    recipients = tuple(code for found in _named_recipients(document) for code in ods_codes(found))
    return is_ours(recipients, facts) or any(is_ours(codes, facts) for _, codes in _practice_codes(document))


def _named_recipients(document: Document) -> Iterator[Resource]:
    references = [entry for section in document.all_sections() for entry in section.entries if _is_distribution(section.code)]
    composition = document.composition
    for extension in composition.all("extension") if composition is not None else ():
        if (extension.url or "").strip().endswith(_INFORMATION_RECIPIENT):
            references.extend(extension.values("valueReference/reference"))
    for reference in references:
        found = document.resolve(reference)
        if found is not None:
            yield found


def _is_distribution(section_code: str | None) -> bool:
    return section_code == DISTRIBUTION_LIST_SECTION
