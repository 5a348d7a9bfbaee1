"""Everything that is looked at in a response, by the hospital, with a reader of its own. Pure.

It shares no code with what wrote the response. Each check is one row: what has to be so, and where that is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

from lxml import etree

from mesh_itk3.simulator.conformance.case import Answer
from mesh_itk3.simulator.conformance.codes import CODES, Published
from mesh_itk3.simulator.conformance.private import holds_any
from mesh_itk3.simulator.correspondence import Received
from mesh_itk3.simulator.response_reader import UNREADABLE

FHIR: Final = "http://hl7.org/fhir"
NHS: Final = "https://fhir.nhs.uk/STU3/"
PROFILE: Final = NHS + "StructureDefinition/"
SIX_KEYS: Final = (
    "BusAckRequested",
    "InfAckRequested",
    "RecipientType",
    "MessageDefinition",
    "SenderReference",
    "LocalExtension",
)
HEADER_ORDER: Final = ("id", "meta", "extension", "event", "destination", "receiver", "sender", "timestamp", "enterer",
                       "author", "source", "responsible", "reason", "response", "focus")  # fmt: skip
"""MessageHeader of FHIR STU3."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the hospital knows about the message that a response answers."""

    answer: Answer
    message_header_id: str | None
    workflow_id: str
    """On which the response has to come."""
    practice_mailbox_id: str
    practice_ods: str
    earliest: datetime
    latest: datetime
    private: tuple[str, ...] = ()
    """Of the patient: nothing of it may stand in a response."""


class Look:
    """One response beside what was asked. Values are read by path; what is not there is an empty tuple."""

    def __init__(self, received: Received, asked: Asked) -> None:
        self.received = received
        self.asked = asked

    @property
    def raw(self) -> bytes:
        return self.received.body

    @cached_property
    def root(self) -> etree._Element:
        return etree.fromstring(self.raw, etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False))

    def values(self, path: str) -> tuple[str, ...]:
        """Every `value` at this path below the Bundle, in FHIR's namespace."""
        return self.attributes(f"{path}/@value")

    def attributes(self, path: str) -> tuple[str, ...]:
        return tuple(str(each) for each in self._found(path))

    def nodes(self, path: str) -> list[etree._Element]:
        return [each for each in self._found(path) if isinstance(each, etree._Element)]  # noqa: SLF001 - lxml has no public name for it

    def _found(self, path: str) -> list[object]:
        found = self.root.xpath("/f:Bundle/" + path, namespaces={"f": FHIR})
        return list(found) if isinstance(found, list) else []

    def handling(self, key: str, element: str) -> tuple[str, ...]:
        return self.values(f"{_HEADER}/f:extension/f:extension[@url='{key}']/{element}")

    @property
    def code(self) -> str | None:
        """The code that it carries."""
        found = self.values(f"{_ISSUE}/f:details/f:coding/f:code")
        return found[0] if found else None

    @property
    def published(self) -> Published | None:
        return CODES.get(self.code or "")


_HEADER: Final = "f:entry/f:resource/f:MessageHeader"
_OUTCOME: Final = "f:entry/f:resource/f:OperationOutcome"
_ISSUE: Final = _OUTCOME + "/f:issue"


def _is_plain_xml(look: Look) -> bool:
    look.raw.decode("utf-8")
    return not look.raw.startswith(b"\xef\xbb\xbf") and b"<!DOCTYPE" not in look.raw and look.root.tag == f"{{{FHIR}}}Bundle"


def _is_message_bundle(look: Look) -> bool:
    first = [etree.QName(each).localname for each in look.nodes("f:entry[1]/f:resource/*")]
    return (
        look.values("f:type") == ("message",)
        and look.values("f:meta/f:profile") == (PROFILE + "ITK-Message-Bundle-1",)
        and len(look.values("f:identifier/f:value")) == len(look.values("f:identifier/f:system")) == 1
        and first == ["MessageHeader"]
        and len(look.nodes(_HEADER)) == 1
    )


def _entries_name_themselves(look: Look) -> bool:
    urls = look.values("f:entry/f:fullUrl")
    ids = look.values("f:entry/f:resource/*/f:id")
    return len(set(ids)) == len(look.nodes("f:entry")) and urls == tuple(f"urn:uuid:{each}" for each in ids)


def _is_header_in_order(look: Look) -> bool:
    names = [etree.QName(each).localname for each in look.nodes(f"{_HEADER}/*")]
    at = [HEADER_ORDER.index(name) for name in names]
    return at == sorted(at) and look.values(f"{_HEADER}/f:meta/f:profile") == (PROFILE + "ITK-MessageHeader-2",)


def _is_event_response(look: Look) -> bool:
    return (
        look.values(f"{_HEADER}/f:event/f:code") == ("ITK008M",)
        and look.values(f"{_HEADER}/f:event/f:system") == (NHS + "CodeSystem/ITK-MessageEvent-2",)
        and look.values(f"{_HEADER}/f:event/f:display") == ("ITK Response",)
    )


def _has_six_keys(look: Look) -> bool:
    extension = f"{_HEADER}/f:extension"
    names = look.attributes(f"{extension}/f:extension/@url")
    is_one = look.attributes(f"{extension}/@url") == (PROFILE + "Extension-ITK-MessageHandling-2",)
    return is_one and sorted(names) == sorted(SIX_KEYS)


def _asks_as_it_may(look: Look) -> bool:
    flags = [look.handling(key, "f:valueBoolean") for key in SIX_KEYS[:2]]
    return flags == [("false",), ("true" if look.asked.answer.asks else "false",)]


def _has_response_definition(look: Look) -> bool:
    cited = look.handling("MessageDefinition", "f:valueReference/f:reference")
    return cited == (NHS + "MessageDefinition/ITK-Response-MessageDefinition-1",)


def _has_recipient_type(look: Look) -> bool:
    code, display = (look.handling("RecipientType", f"f:valueCoding/f:{name}") for name in ("code", "display"))
    system = look.handling("RecipientType", "f:valueCoding/f:system")
    return system == (NHS + "CodeSystem/ITK-RecipientType-1",) and (code, display) in {
        (("FA",), ("For Action",)),
        (("FI",), ("For Information",)),
    }


def _echoes_sender_reference(look: Look) -> bool:
    return look.handling("SenderReference", "f:valueString") == (look.asked.answer.sender_reference,)


def _is_sender_there(look: Look) -> bool:
    reference = look.values(f"{_HEADER}/f:sender/f:reference")
    if len(reference) != 1:
        return False
    entry = f"f:entry[f:fullUrl/@value='{reference[0]}']/f:resource/f:Organization"
    return (
        look.values(f"{entry}/f:identifier/f:value") == (look.asked.practice_ods,)
        and look.values(f"{entry}/f:identifier/f:system") == ("https://fhir.nhs.uk/Id/ods-organization-code",)
        and look.values(f"{entry}/f:meta/f:profile") == (PROFILE + "CareConnect-ITK-Header-Organization-1",)
    )


def _is_timestamp_now(look: Look) -> bool:
    written = [datetime.fromisoformat(each) for each in look.values(f"{_HEADER}/f:timestamp")]
    return len(written) == 1 and look.asked.earliest <= written[0] <= look.asked.latest


def _is_source_our_mailbox(look: Look) -> bool:
    return look.values(f"{_HEADER}/f:source/f:endpoint") == (look.asked.practice_mailbox_id,)


def _names_the_message(look: Look) -> bool:
    is_named = look.asked.answer.names_message
    expected = look.asked.message_header_id if is_named else UNREADABLE
    return look.values(f"{_HEADER}/f:response/f:identifier") == (expected,)


def _refers_to_one_outcome(look: Look) -> bool:
    reference = look.values(f"{_HEADER}/f:response/f:details/f:reference")
    return (
        len(look.nodes(_OUTCOME)) == len(look.nodes(_ISSUE)) == len(look.nodes(f"{_ISSUE}/f:details/f:coding")) == 1
        and reference == tuple(f"urn:uuid:{each}" for each in look.values(f"{_OUTCOME}/f:id"))
        and look.values(f"{_OUTCOME}/f:meta/f:profile") == (PROFILE + "ITK-Response-OperationOutcome-1",)
        and look.values(f"{_ISSUE}/f:details/f:coding/f:system") == (NHS + "CodeSystem/ITK-ResponseCodes-1",)
    )


def _is_code_as_published(look: Look) -> bool:
    published = look.published
    return (
        published is not None
        and look.values(f"{_ISSUE}/f:details/f:coding/f:display") == (published.display,)
        and look.values(f"{_HEADER}/f:response/f:code") == (published.response_code,)
        and look.values(f"{_ISSUE}/f:severity") == (published.severity,)
        and len(look.values(f"{_ISSUE}/f:code")) == 1
        and look.values(f"{_ISSUE}/f:code")[0] in published.issue_codes
    )


def _says_where(look: Look) -> bool:
    """A negative says what and where."""
    is_negative = look.published is None or not look.published.is_positive
    diagnostics = look.values(f"{_ISSUE}/f:diagnostics")
    return not is_negative or (len(diagnostics) == 1 and bool(diagnostics[0].strip()))


def _holds_nothing_private(look: Look) -> bool:
    return not holds_any(look.raw.decode("utf-8"), look.asked.private)


def _comes_as_mesh_message(look: Look) -> bool:
    received = look.received
    return (
        received.workflow_id == look.asked.workflow_id
        and received.from_mailbox_id == look.asked.practice_mailbox_id
        and bool(received.local_id)
    )


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to be so of every response."""

    name: str
    says: str
    source: str
    holds: Callable[[Look], bool]


CHECKS: Final = (
    Check("bytes", "It is a Bundle in XML and UTF-8, without byte order mark or DOCTYPE.", "ITK3-UNNUMBERED-03",
          _is_plain_xml),
    Check("bundle", "Bundle of type message with profile and identifier; its first entry is its one MessageHeader.",
          "ITK-Message-Bundle-1", _is_message_bundle),
    Check("entries", "Every entry's fullUrl is urn:uuid: and the id of its resource, each id once.", "ITK-Message-Bundle-1",
          _entries_name_themselves),
    Check("header", "MessageHeader has its profile, and its elements stand in the order of FHIR STU3.", "ITK-MessageHeader-2",
          _is_header_in_order),
    Check("event", "The event is ITK008M.", "GPCM-SD-CS-058", _is_event_response),
    Check("keys", "One handling extension with its six keys, each once.", "Extension-ITK-MessageHandling-2; GP-GFR-18",
          _has_six_keys),
    Check("flags", "BusAckRequested is false, and InfAckRequested too but for the business response of full acknowledgement.",
          "GPCM-SD-CS-054, -055; GP-GFR-19", _asks_as_it_may),
    Check("definition", "MessageDefinition is that of a response.", "GP-GFR-18", _has_response_definition),
    Check("recipient", "RecipientType is FA or FI, with its display.", "ITK-RecipientType-1", _has_recipient_type),
    Check("reference", "SenderReference repeats the original's; None where that had none that can be repeated.",
          "GPCM-SD-CS-056; GP-GFR-18", _echoes_sender_reference),
    Check("sender", "The sender is the practice's header Organization, found by fullUrl, with its ODS code.",
          "GPCM-SD-CS-057; GP-GFR-18", _is_sender_there),
    Check("timestamp", "The timestamp has a zone and lies within this run.", "GPCM-SD-CS-059", _is_timestamp_now),
    Check("source", "The source endpoint is the practice's MESH mailbox.", "ITK-MessageHeader-2", _is_source_our_mailbox),
    Check("answers", "response.identifier is the original's MessageHeader.id, or the fixed string where that cannot be read.",
          "explore_response_examples", _names_the_message),
    Check("outcome", "response.details refers to the one OperationOutcome, with one issue and one code.",
          "ITK-Response-OperationOutcome-1; ITK3-UNNUMBERED-07", _refers_to_one_outcome),
    Check("code", "Display, response.code, severity and issue.code are those published for the code.", "ITK-ResponseCodes-1",
          _is_code_as_published),
    Check("diagnostics", "A negative says what is wrong and where.", "GPCM-SD-042", _says_where),
    Check("privacy", "Nothing of the patient stands in it: no name, NHS number or birth date.", "FHIR-BA-02",
          _holds_nothing_private),
    Check("mesh", "It comes from the practice's mailbox on the response workflow, with a local id.", "GPCM-SD-CS-062",
          _comes_as_mesh_message),
)  # fmt: skip


def faults(received: Received, asked: Asked) -> list[str]:
    """Names of the checks that this response does not pass; empty where all is well. Never raises, whatever came."""
    look = Look(received, asked)
    return [check.name for check in CHECKS if not _holds(check, look)]


def _holds(check: Check, look: Look) -> bool:
    try:
        return check.holds(look)
    except (etree.XMLSyntaxError, etree.XPathError, ValueError, TypeError):
        return False  # what cannot be read does not hold
