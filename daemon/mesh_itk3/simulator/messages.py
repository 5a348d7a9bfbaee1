"""Builds whole ITK3 messages, valid or broken on purpose. Pure: equal arguments give equal bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson

from mesh_itk3.simulator.choices import KINDS, Bulk, Choices, choose
from mesh_itk3.simulator.documents import Filling
from mesh_itk3.simulator.fhir import Json
from mesh_itk3.simulator.fhir_xml import to_xml
from mesh_itk3.simulator.other_documents import emergency_supply, send_document, vaccination
from mesh_itk3.simulator.transfer_of_care import transfer_of_care
from mesh_itk3.simulator.wrapper import message_bundle

__all__ = ["KINDS", "a_20_kb_letter", "a_message", "build", "choose", "cut_off", "not_well_formed", "without_header_id"]

DOCUMENTS: Final[dict[str, Callable[[Choices, Filling], Json]]] = {
    "ITK003D": transfer_of_care,
    "ITK004D": transfer_of_care,
    "ITK005D": transfer_of_care,
    "ITK006D": transfer_of_care,
    "ITK007C": send_document,
    "ITK009D": vaccination,
    "ITK010D": emergency_supply,
}


def a_message(kind: str, **changes: Any) -> bytes:
    """A valid message of this kind, e.g. `a_message("ITK003D", business_requested=None)`. See `Choices` for what can change."""
    return build(choose(kind, **changes))


def a_20_kb_letter(seed: str) -> bytes:
    """A discharge summary of exactly 20 KB, the benchmark's unit; each seed gives another message."""
    return a_message("ITK003D", seed=seed, optional_sections=False, size=20 * 1024)


def build(choices: Choices) -> bytes:
    """The message's bytes. Raises ValueError where `size` is smaller than the message."""
    if choices.size is None:
        return _rendered(choices, Filling())
    return _rendered(choices, _filling(choices, choices.size))


def _rendered(choices: Choices, filling: Filling) -> bytes:
    bundle = message_bundle(choices, DOCUMENTS[choices.kind](choices, filling))
    return orjson.dumps(bundle) if choices.form == "json" else to_xml(bundle)


def _filling(choices: Choices, size: int) -> Filling:
    """What makes the message exactly `size` bytes: measured, not calculated, so no builder has to know its own length."""
    bulk = _bulk(choices, size, choices.bulk)
    one = Filling(1, bulk.resources, bulk.attachment_bytes)
    missing = size - len(_rendered(choices, one))
    if missing < 0:
        raise ValueError(f"this message cannot be as small as {size} bytes: {-missing} too many")
    return Filling(1 + missing, bulk.resources, bulk.attachment_bytes)


def _bulk(choices: Choices, size: int, bulk: Bulk) -> Filling:
    bare = len(_rendered(choices, Filling(1)))
    if bulk == "resources":
        first, second = (len(_rendered(choices, Filling(1, resources=count))) for count in (1, 2))
        return Filling(resources=max(0, 1 + (size - first) // (second - first)))
    if bulk == "attachment":
        if choices.kind != "ITK007C":
            raise ValueError("only ITK007C carries an attachment")
        # Base64 writes three bytes as four characters; what is left over becomes text.
        return Filling(attachment_bytes=max(0, (size - bare) * 3 // 4 - 400))
    return Filling()


def not_well_formed(message: bytes) -> bytes:
    """The message with the first table cell of its narrative left open: what careless HTML does to a letter."""
    return message.replace(b"</td>", b"", 1)


def cut_off(message: bytes, keep: float = 0.6) -> bytes:
    """The message's beginning only."""
    return message[: int(len(message) * keep)]


def without_header_id(message: bytes, message_header_id: str) -> bytes:
    """The message whose MessageHeader has no id, so that a response cannot name it."""
    return message.replace(b'<MessageHeader><id value="%s"/>' % message_header_id.encode(), b"<MessageHeader>", 1)
