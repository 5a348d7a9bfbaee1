"""Reads a recorded message's bytes from the payload store: for the stages that judge, hand over and correlate."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from typing import BinaryIO, Final

from mesh_itk3.handler import Message
from mesh_itk3.itk3.envelope import Caps, Fault, Reading, read_message, read_oversize
from mesh_itk3.itk3.response_codes import InfrastructureCode
from mesh_itk3.ports import MessageRecord, PayloadMissing, PayloadStore, StoredPayload
from mesh_itk3.stages.world import World

BLOCK_BYTES: Final = 65_536
GZIP: Final = b"\x1f\x8b"
"""What every gzip stream begins with (RFC 1952), and no XML or JSON."""


def read(world: World, record: MessageRecord) -> tuple[Reading, bytes]:
    """What can be read of the message, and its bytes: as received, or, where its sender had compressed them, what was
    compressed. Empty where they cannot be taken whole. Raises PayloadMissing, StorageFailed.
    """
    payload = _payload(record)
    if kept := world.readings.take(payload.name):
        return kept
    if payload.bytes > world.caps.max_bytes:
        return _read_oversize(world, payload.name), b""
    raw = world.payloads.read(payload.name)
    if _is_compressed(world, payload.name, raw):
        return _read_compressed(raw, world.caps)
    return read_message(raw, world.caps), raw


def _payload(record: MessageRecord) -> StoredPayload:
    """Raises PayloadMissing where the row names none."""
    if record.payload is None:
        raise PayloadMissing(record.key.mesh_message_id)
    return record.payload


def _read_oversize(world: World, name: str) -> Reading:
    with world.payloads.open(name) as file:
        is_compressed = _is_compressed(world, name, file.read(len(GZIP)))
        file.seek(0)
        if not is_compressed:
            return read_oversize(_blocks(file), world.caps)
        with suppress(zlib.error):
            return read_oversize(_gunzipped(_blocks(file), world.caps.max_bytes + 1), world.caps)
        return read_oversize((), world.caps)


# ------------------------------------------------------------------------------------------------ compressed by its sender


def _is_compressed(world: World, name: str, start: bytes) -> bool:
    """MESH hands the flag through and acts on it in no way; what was compressed for the line only, the download undid."""
    if not start.startswith(GZIP):
        return False
    return world.payloads.headers(name).all.get("content-compressed", "").strip().upper() == "Y"


def _read_compressed(raw: bytes, caps: Caps) -> tuple[Reading, bytes]:
    """Damaged or cut off, it is unreadable however much of it could be unpacked; its header may still name it."""
    blocks: list[bytes] = []
    try:
        blocks.extend(_gunzipped(_blocks(io.BytesIO(raw)), caps.max_bytes + 1))
    except zlib.error:
        fault = Fault(InfrastructureCode.UNREADABLE_MESSAGE, "gzip_damaged", "Bundle")
        return Reading(read_oversize(blocks, caps).header, None, (fault,)), b""
    document = b"".join(blocks)
    return read_message(document, caps), document


def _gunzipped(blocks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """All members of a gzip stream, but no more than about `limit` bytes of them, however far a byte expands. Raises
    zlib.error where it is damaged or cut off.
    """
    member, unpacked = zlib.decompressobj(wbits=31), 0
    for block in blocks:
        data = block.lstrip(b"\0") if member.eof else block
        while data:
            if member.eof:
                member = zlib.decompressobj(wbits=31)
            piece = member.decompress(data, BLOCK_BYTES)
            if piece:
                yield piece
            unpacked += len(piece)
            if unpacked >= limit:
                return
            # Padding after a member is allowed, as gzip(1) does.
            data = member.unused_data.lstrip(b"\0") if member.eof else member.unconsumed_tail
    if not member.eof:
        raise zlib.error("cut off")


def keep(world: World, record: MessageRecord, reading: Reading, raw: bytes) -> None:
    """For the next stage, a moment later."""
    world.readings.keep(_payload(record).name, reading, raw)


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
    if reading.envelope is None:  # it had one when it was accepted
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
        mesh_headers=_Sidecar(world.payloads, _payload(record).name),
    )


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(BLOCK_BYTES):
        yield block
