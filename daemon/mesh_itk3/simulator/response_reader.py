"""How a hospital reads ITK3 responses: leniently, with an lxml reader of its own. Pure.

It shares no code with the daemon's reader on purpose, so that it can say when the daemon writes something wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from lxml import etree

UNREADABLE: Final = "UNREADABLE-IN-ORIGINAL-MESSAGE"
RESPONSE_CODES: Final = "ITK-ResponseCodes-1"

Level = Literal["infrastructure", "business"]


@dataclass(frozen=True, slots=True)
class Response:
    """What an ITK008M says, as far as it can be read; None for what is not there."""

    message_header_id: str | None
    answers: str | None
    """MessageHeader.response.identifier: the message that it answers."""
    code: str | None
    display: str | None
    severity: str | None
    issue_code: str | None
    diagnostics: str | None
    response_code: str | None
    """ok or fatal-error."""
    sender_reference: str | None
    business_requested: str | None
    infrastructure_requested: str | None
    source_endpoint: str | None
    sender_ods: str | None

    @property
    def level(self) -> Level | None:
        """The first digit of the code tells."""
        if self.code is None:
            return None
        return "business" if self.code.startswith("3") else "infrastructure"


def read_response(raw: bytes) -> Response | None:
    """None where it is not XML, or no ITK response."""
    root = _tree(raw)
    if (
        root is None
        or _first(root, "//*[local-name()='MessageHeader']/*[local-name()='event']/*[local-name()='code']") != "ITK008M"
    ):
        return None
    return Response(
        message_header_id=_first(root, _header("id")),
        answers=_first(root, _header("response", "identifier")),
        response_code=_first(root, _header("response", "code")),
        source_endpoint=_first(root, _header("source", "endpoint")),
        code=_first(root, f"{_CODING}/*[local-name()='code']"),
        display=_first(root, f"{_CODING}/*[local-name()='display']"),
        severity=_first(root, f"{_ISSUE}/*[local-name()='severity']"),
        issue_code=_first(root, f"{_ISSUE}/*[local-name()='code']"),
        diagnostics=_first(root, f"{_ISSUE}/*[local-name()='diagnostics']"),
        sender_reference=_first(root, _key("SenderReference")),
        business_requested=_first(root, _key("BusAckRequested")),
        infrastructure_requested=_first(root, _key("InfAckRequested")),
        sender_ods=_first(root, "//*[local-name()='Organization']/*[local-name()='identifier']/*[local-name()='value']"),
    )


def header_id_of(raw: bytes) -> str | None:
    """The MessageHeader.id of any message, even a broken one, as far as a repairing parser finds it."""
    root = _tree(raw, recover=True)
    return None if root is None else _first(root, _header("id"))


_ISSUE: Final = "//*[local-name()='OperationOutcome']/*[local-name()='issue']"
_CODING: Final = f"{_ISSUE}/*[local-name()='details']/*[local-name()='coding'][contains(*/@value, '{RESPONSE_CODES}')]"


def _tree(raw: bytes, *, recover: bool = False) -> etree._Element | None:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True, recover=recover)
    try:
        return etree.fromstring(raw, parser)
    except (etree.XMLSyntaxError, ValueError):
        return None


def _header(*names: str) -> str:
    return "//*[local-name()='MessageHeader']" + "".join(f"/*[local-name()='{name}']" for name in names)


def _key(url: str) -> str:
    return f"//*[local-name()='extension'][@url='{url}']/*"


def _first(root: etree._Element, path: str) -> str | None:
    found = root.xpath(f"({path})[1]/@value")
    return str(found[0]) if isinstance(found, list) and found else None
