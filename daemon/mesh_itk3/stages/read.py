"""Reads a recorded message's bytes from the payload store: for the stages that judge, hand over and correlate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from mesh_itk3.handler import Message
from mesh_itk3.itk3.envelope import Reading, read_message, read_oversize
from mesh_itk3.ports import MessageRecord, PayloadMissing
from mesh_itk3.stages.world import World

BLOCK_BYTES = 65_536


def read(world: World, record: MessageRecord) -> tuple[Reading, bytes]:
    """What can be read of the message, and its bytes (empty where it is too large to be taken whole). Raises
    PayloadMissing.
    """
    if record.payload is None:
        raise PayloadMissing(record.key.mesh_message_id)
    if record.payload.bytes > world.caps.max_bytes:
        with world.payloads.open(record.payload.name) as file:
            return read_oversize(_blocks(file), world.caps), b""
    raw = world.payloads.read(record.payload.name)
    return read_message(raw, world.caps), raw


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
        mesh_headers=world.payloads.headers(record.payload.name).all,
    )


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(BLOCK_BYTES):
        yield block
