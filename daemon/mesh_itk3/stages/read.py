"""Reads a recorded message's bytes from the payload store: for the stages that judge, hand over and correlate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import BinaryIO, Final

from mesh_itk3.handler import Message
from mesh_itk3.itk3.envelope import Reading, read_message, read_oversize
from mesh_itk3.ports import MessageRecord, PayloadMissing, PayloadStore
from mesh_itk3.stages.world import World

BLOCK_BYTES: Final = 65_536


def read(world: World, record: MessageRecord) -> tuple[Reading, bytes]:
    """What can be read of the message, and its bytes (empty where it is too large to be taken whole). Raises
    PayloadMissing.
    """
    if record.payload is None:
        raise PayloadMissing(record.key.mesh_message_id)
    if kept := world.readings.take(record.payload.name):
        return kept
    if record.payload.bytes > world.caps.max_bytes:
        with world.payloads.open(record.payload.name) as file:
            return read_oversize(_blocks(file), world.caps), b""
    raw = world.payloads.read(record.payload.name)
    return read_message(raw, world.caps), raw


def keep(world: World, record: MessageRecord, reading: Reading, raw: bytes) -> None:
    """For the next stage, a moment later."""
    if record.payload is not None:
        world.readings.keep(record.payload.name, reading, raw)


class _Sidecar(Mapping[str, str]):
    """The MESH headers of a message, read from the payload store only when a handler looks at one."""

    def __init__(self, payloads: PayloadStore, name: str) -> None:
        self._payloads, self._name = payloads, name

    @cached_property
    def _headers(self) -> Mapping[str, str]:
        return self._payloads.headers(self._name).all

    def __getitem__(self, name: str) -> str:
        return self._headers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)


def message_for_handler(
    world: World, record: MessageRecord, reading: Reading, raw: bytes, warnings: tuple[str, ...]
) -> Message:
    """The message as a handler sees it. Only for readings with an envelope."""
    if reading.envelope is None or record.payload is None:
        raise PayloadMissing(record.key.mesh_message_id)
    return Message(
        raw=raw,
        header=reading.header,
        envelope=reading.envelope,
        workflow_id=record.workflow_id,
        mesh_message_id=record.key.mesh_message_id,
        mailbox_id=record.key.mailbox_id,
        sender_mailbox_id=record.sender_mailbox_id,
        received_at=record.received_at,
        warnings=warnings,
        mesh_headers=_Sidecar(world.payloads, record.payload.name),
    )


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(BLOCK_BYTES):
        yield block
