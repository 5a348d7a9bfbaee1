"""The MessageDefinitions that ITK3 payloads are known by, and what a reference to one says. PURE.

Never route on them: an official test message of every payload names another payload's definition.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

BASE: Final = "https://fhir.nhs.uk/STU3/MessageDefinition/"
RESPONSE: Final = BASE + "ITK-Response-MessageDefinition-1"


@dataclass(frozen=True, slots=True)
class Definition:
    """One known definition."""

    name: str
    versions: frozenset[int]
    event_codes: frozenset[str]
    """The payloads that may cite it; empty: any."""
    source: str


def _row(name: str, version: int, event_code: str | None, source: str) -> Definition:
    return Definition(name, frozenset({version}), frozenset({event_code} if event_code else ()), source)


DEFINITIONS: Final = (
    _row("ITK-eDischarge", 4, "ITK003D", "eDischarge guide 2.8.0"),
    _row("ITK-MH-eDischarge", 4, "ITK004D", "Mental Health eDischarge guide 2.8.0"),
    _row("ITK-EC-eDischarge", 4, "ITK005D", "Emergency Care eDischarge guide 2.8.0"),
    _row("ITK-OPL", 4, "ITK006D", "Outpatient Letter guide 2.8.0"),
    _row("ITK-GPConnectSendDocument", 1, "ITK007C", "GP Connect Messaging 1.6.0, GPCM-SD-CS-047"),
    _row("ITK-Response", 1, "ITK008M", "Distribution 2.10.0, explore_response_examples"),
    _row("ITK-DM-Immunization", 1, "ITK009D", "Digital Medicines guide"),
    _row("ITK-DM-EmergencySupply", 1, "ITK010D", "Digital Medicines guide"),
    _row("ITK-NP", 1, "ITK012M", "National Pathology examples"),
    _row("ITK-DM-MIRC", 1, "ITK013D", "Digital Medicines guide"),
    _row("ITK-DM-CPCS", 1, "ITK013D", "Digital Medicines guide, older name"),
    _row("ITK-SendPayload", 1, None, "Distribution 2.10.0: generic"),
    _row("ITK-EDIS", 1, "ITK003D", "legacy; in the NHS test harness for all four Transfer of Care payloads"),
    _row("ITK-SendTask", 1, "ITK007C", "legacy, GP Connect 1.0"),
)
_BY_NAME: Final = {definition.name.lower(): definition for definition in DEFINITIONS}
# `-Instance-` was dropped from the URLs in 2.5.1 and is still met, with the version numbers of its time.
_URL = re.compile(
    r"(?P<base>\S{1,200}/)(?P<name>[A-Za-z0-9-]{1,64}?)-MessageDefinition(?P<instance>-Instance)?-(?P<version>[0-9]{1,4})"
)


_MAX_CHARACTERS: Final = 500
"""More than that pattern takes; so what is remembered of strangers' references stays small."""


@dataclass(frozen=True, slots=True)
class Cited:
    """What a MessageDefinition reference says, against the table."""

    is_known: bool
    is_version_known: bool = False
    has_instance_form: bool = False
    event_codes: frozenset[str] = frozenset()

    def is_of_another_payload(self, event_code: str | None) -> bool:
        return bool(self.event_codes) and event_code not in self.event_codes


def cited(reference: str, further: frozenset[str] = frozenset()) -> Cited:
    """Looks the reference up in the table and among `further` URLs, whose payload is whatever they came with. Any number
    after `-Instance-` is taken for a known version.
    """
    if reference in further:
        return Cited(is_known=True, is_version_known=True)
    return _cited(reference, further) if len(reference) <= _MAX_CHARACTERS else Cited(is_known=False)


@lru_cache(maxsize=64)
def _cited(reference: str, further: frozenset[str]) -> Cited:
    parts = _URL.fullmatch(reference)
    found = [*_definitions(parts, further)] if parts else []
    if not parts or not found:
        return Cited(is_known=False)
    is_instance = parts["instance"] is not None
    return Cited(
        is_known=True,
        is_version_known=is_instance or any(int(parts["version"]) in one.versions for one in found),
        has_instance_form=is_instance,
        event_codes=found[0].event_codes,
    )


def _definitions(parts: re.Match[str], further: Iterable[str]) -> Iterator[Definition]:
    """Those of the reference's base and name, in whatever version: the further ones first, for they fit any payload."""
    name = parts["name"].lower()
    for url in further:
        other = _URL.fullmatch(url)
        if other and (other["base"], other["name"].lower()) == (parts["base"], name):
            yield _row(parts["name"], int(other["version"]), None, "a handler's declaration")
    if parts["base"] == BASE and name in _BY_NAME:
        yield _BY_NAME[name]
