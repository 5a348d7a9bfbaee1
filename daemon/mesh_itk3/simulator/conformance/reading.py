"""What a person sees of a message at a glance: its form and its flags, as far as they can be read. Pure."""

from __future__ import annotations

import re

_FLAG = rb'url"?\s*[:=]\s*"%s"\s*(?:>\s*<[A-Za-z:]*valueBoolean value=|,\s*"valueBoolean"\s*:\s*)"?([^">},]*)'


def form_of(body: bytes) -> str:
    """A file's extension: xml, json, gz or bin."""
    if body.startswith(b"\x1f\x8b"):
        return "gz"
    start = body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    return {b"<": "xml", b"{": "json", b"[": "json"}.get(start, "bin")


def read_flags(body: bytes) -> dict[str, str | None]:
    """InfAckRequested and BusAckRequested as they are written; None where there is none that can be seen."""
    return {"infrastructure": _flag(body, b"InfAckRequested"), "business": _flag(body, b"BusAckRequested")}


def _flag(body: bytes, name: bytes) -> str | None:
    found = re.search(_FLAG % name, body)
    return found[1].decode("utf-8", "replace") if found else None
