"""What no response may hold: names, numbers and birth date of the patients in what was sent. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from lxml import etree

from mesh_itk3.simulator.conformance.case import Case, Letter, Message, Sample
from mesh_itk3.simulator.patients import EDITH, SimulatedPatient

_OF_A_PATIENT: Final = etree.XPath(
    "f:identifier/f:value/@value | f:name/f:family/@value | f:name/f:given/@value | f:name/f:text/@value | f:birthDate/@value",
    namespaces={"f": "http://hl7.org/fhir"},
    smart_strings=False,
)
_SHORTEST_WITHIN: Final = 4
"""Characters: a shorter word counts only where it stands by itself, for `Al` is part of `value`."""


def private_words(case: Case, bodies: Iterable[bytes]) -> tuple[str, ...]:
    """`bodies` are the messages that were sent. Of our own letters the cast is known; of official samples the words are
    taken from their Patient resources.
    """
    contents = [step.action.content for step in case.steps if isinstance(step.action, Message)]
    patients: list[SimulatedPatient] = [each.changes.get("patient", EDITH) for each in contents if isinstance(each, Letter)]
    words = [word for patient in patients for word in _words_of(patient)]
    if any(isinstance(each, Sample) for each in contents):
        words += [word for body in bodies for word in words_in(body)]
    return tuple(dict.fromkeys(words))


def _words_of(patient: SimulatedPatient) -> tuple[str, ...]:
    return (patient.nhs_number, patient.family_name, *patient.given_names, patient.date_of_birth.isoformat())


def words_in(body: bytes) -> Iterator[str]:
    """Of every Patient in this XML, however broken it is: names, whole and word by word, numbers and birth date."""
    parser = etree.XMLParser(recover=True, resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True)
    try:
        root = etree.fromstring(body, parser)
    except etree.XMLSyntaxError:
        return
    found = [] if root is None else [each for each in root.iter(etree.Element) if etree.QName(each).localname == "Patient"]
    for patient in found:
        values: Any = _OF_A_PATIENT(patient)
        for value in values:
            yield from _parts(value.strip())


def _parts(value: str) -> Iterator[str]:
    if not value:
        return
    yield value
    joined, parts = "".join(value.split()), value.split()
    if joined.isdigit():
        yield joined  # a number in groups is the same number; a group of it is nobody's
    else:
        yield from (part for part in parts if len(part) > 1)


def holds_any(text: str, words: Iterable[str]) -> bool:
    """Whether one of the words stands in the text, in whatever capitals."""
    lower = text.lower()
    return any(_is_in(lower, word.lower()) for word in words)


def _is_in(text: str, word: str) -> bool:
    if len(word) >= _SHORTEST_WITHIN:
        return word in text
    return re.search(rf"(?<![a-z0-9]){re.escape(word)}(?![a-z0-9])", text) is not None
