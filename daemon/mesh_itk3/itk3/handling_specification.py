"""The MessageHeader extension ITKMessageHandling: what the sender asks of us. PURE.

Source: Extension-ITK-MessageHandling-2 v2.1.0. Its six keys are 1..1 in the profile; official samples lack some.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from lxml import etree

from mesh_itk3.itk3 import xml

EXTENSION_URL: Final = "https://fhir.nhs.uk/STU3/StructureDefinition/Extension-ITK-MessageHandling-2"
RECIPIENT_TYPE_SYSTEM: Final = "https://fhir.nhs.uk/STU3/CodeSystem/ITK-RecipientType-1"
RECIPIENT_TYPES: Final = {"FA": "For Action", "FI": "For Information"}
MAX_SENDER_REFERENCE: Final = 255
"""Characters (FHIR-SR-03)."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the handling specification."""

    present: bool = False
    value: str | None = None
    """As far as it could be read, even where there is a problem."""
    problem: str | None = None
    """Rule name where the key is there but unusable."""
    deviation: str | None = None
    """Rule name where it is usable but not as the profile has it."""


@dataclass(frozen=True, slots=True)
class HandlingSpecification:
    """All keys, each as far as it could be read."""

    present: bool = False
    repeated: bool = False
    bus_ack_requested: Key = Key()
    inf_ack_requested: Key = Key()
    recipient_type: Key = Key()
    message_definition: Key = Key()
    sender_reference: Key = Key()
    local_extension: Key = Key()
    has_priority: bool = False
    """Removed from the standard in 2.5.0; old messages and official samples still carry it."""

    @property
    def bus_ack(self) -> bool | None:
        """Whether a business response is asked for; None: absent or unreadable."""
        return _flag(self.bus_ack_requested)

    @property
    def inf_ack(self) -> bool | None:
        """Whether an infrastructure response is asked for; None: absent or unreadable."""
        return _flag(self.inf_ack_requested)


def _flag(key: Key) -> bool | None:
    return None if key.problem or key.value is None else key.value == "true"


def read_handling_specification(message_header: etree._Element) -> HandlingSpecification:
    """Reads whatever is there; judging it is the verdict's business."""
    found = [part for part in xml.children(message_header, "extension") if _url(part) == EXTENSION_URL]
    if not found:
        return HandlingSpecification()
    keys: dict[str, list[etree._Element]] = {}
    for part in xml.children(found[0], "extension"):
        keys.setdefault(_url(part), []).append(part)
    return HandlingSpecification(
        present=True,
        repeated=len(found) > 1,
        bus_ack_requested=_key(keys.get("BusAckRequested", ()), _boolean),
        inf_ack_requested=_key(keys.get("InfAckRequested", ()), _boolean),
        recipient_type=_key(keys.get("RecipientType", ()), _recipient_type),
        message_definition=_key(keys.get("MessageDefinition", ()), _message_definition),
        sender_reference=_key(keys.get("SenderReference", ()), _sender_reference),
        local_extension=_key(keys.get("LocalExtension", ()), _local_extension),
        has_priority="Priority" in keys,
    )


def _url(extension: etree._Element) -> str:
    return (extension.get("url") or "").strip()


def _key(parts: Iterable[etree._Element], read: Callable[[etree._Element], Key]) -> Key:
    readings = [read(part) for part in parts]
    if not readings:
        return Key()
    first = readings[0]
    if any(reading != first for reading in readings):
        return Key(present=True, value=first.value, problem="repeated_differently")
    return first


def _boolean(part: etree._Element) -> Key:
    value = xml.value(part, "valueBoolean")
    if value in ("true", "false"):
        return Key(present=True, value=value)
    return Key(present=True, problem="not_a_boolean")


def _recipient_type(part: etree._Element) -> Key:
    code = xml.value(part, "valueCoding/code")
    if code not in RECIPIENT_TYPES:
        return Key(present=True, problem="recipient_type_code")
    if xml.value(part, "valueCoding/system") != RECIPIENT_TYPE_SYSTEM:
        return Key(present=True, value=code, problem="recipient_type_system")
    is_verbatim = xml.value(part, "valueCoding/display") == RECIPIENT_TYPES[code]
    return Key(present=True, value=code, deviation=None if is_verbatim else "recipient_type_display")


def _message_definition(part: etree._Element) -> Key:
    reference = xml.value(part, "valueReference/reference")
    return Key(present=True, value=reference, problem=None if reference else "message_definition_empty")


def _sender_reference(part: etree._Element) -> Key:
    holder = xml.first(part, "valueString")
    # Echoed exactly: the one value that is not stripped.
    text = holder.get("value") if holder is not None else None
    deviation = None
    if holder is None:
        text = xml.value(part, "valueReference/reference")
        deviation = "sender_reference_not_a_string" if text else None
    if not text or not text.strip():
        return Key(present=True, problem="sender_reference_empty")
    problem = "sender_reference_too_long" if len(text) > MAX_SENDER_REFERENCE else None
    return Key(present=True, value=text, problem=problem, deviation=deviation)


def _local_extension(part: etree._Element) -> Key:
    for child in part.iterchildren(tag=etree.Element):
        value = (child.get("value") or "").strip()
        if xml.local_name(child).startswith("value") and (value or len(child)):
            return Key(present=True, value=value or None)
    return Key(present=True, problem="local_extension_empty")
