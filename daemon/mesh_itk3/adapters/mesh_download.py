"""A MESH message streamed to a file, so that nothing short is ever taken for whole.

mesh-client's own `Message.read(n)` returns short data without an error when the connection drops; so the chunks are
fetched one by one, and status, length and the end of each gzip stream are checked here.
"""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import BinaryIO, Final, Protocol

import requests
import urllib3.exceptions

from mesh_itk3.adapters.mesh_errors import translated
from mesh_itk3.adapters.mesh_session import MIN_BYTES_PER_S, MeshSession
from mesh_itk3.ports import MailboxUnavailable, MeshHeaders, TruncatedDownload

BLOCK_BYTES: Final = 256 * 1024
"""Read, and decompressed, at a time: the memory of a download, whatever its size."""

_RANGE: Final = re.compile(r"\s*([0-9]{1,6})\s*:\s*([0-9]{1,6})\s*")


def read_headers(mesh_message_id: str, headers: Mapping[str, str]) -> MeshHeaders:
    """The MESH headers of a download. Raises MailboxUnavailable where they are not those of the message asked for."""
    mex = {name[4:]: value for name, value in ((name.lower(), value) for name, value in headers.items()) if name[:4] == "mex-"}
    if not mex or mex.get("messageid", mesh_message_id).upper() != mesh_message_id.upper():
        raise MailboxUnavailable("not_mesh")
    return MeshHeaders(
        mesh_message_id=mesh_message_id,
        workflow_id=mex.get("workflowid", ""),
        message_type="REPORT" if mex.get("messagetype", "").upper() == "REPORT" else "DATA",
        sender_mailbox_id=mex.get("from"),
        recipient_mailbox_id=mex.get("to"),
        local_id=mex.get("localid"),
        linked_message_id=mex.get("linkedmsgid"),
        status_code=mex.get("statuscode"),
        status_event=mex.get("statusevent"),
        all=mex,
    )


def read_chunk_range(headers: Mapping[str, str]) -> tuple[int, int]:
    """Number of this chunk and of all, from Mex-Chunk-Range. Reports send 1:0; without the header it is 1:1."""
    found = _RANGE.fullmatch(headers.get("Mex-Chunk-Range", "1:1"))
    if not found:
        raise MailboxUnavailable("junk_range")
    return int(found[1]), max(1, int(found[2]))


class MeshDownload:
    """An opened message: `ports.Download`."""

    def __init__(self, session: MeshSession, mesh_message_id: str, response: requests.Response) -> None:
        """Raises MailboxUnavailable where the response is no message of MESH; the caller then closes the response."""
        self._session = session
        self._response = response
        self.headers = read_headers(mesh_message_id, response.headers)
        number, self._chunks = read_chunk_range(response.headers)
        if number != 1:
            raise MailboxUnavailable("junk_range")

    def write_to(self, file: BinaryIO) -> None:
        """As `ports.Download`. What `file.write` raises passes through unchanged."""
        for number in range(1, self._chunks + 1):
            if number > 1:
                self._response = self._fetch(number)
            try:
                self._check_place(number)
                # Not `writelines`: the collector's file only has `write`.
                for block in decoded(self._response, self._session.connection.timeout_s):  # noqa: FURB122
                    file.write(block)
            finally:
                self._response.close()

    def _fetch(self, number: int) -> requests.Response:
        mesh_message_id = self.headers.mesh_message_id
        return self._session.ask(lambda client: client.retrieve_message_chunk(mesh_message_id, number))

    def _check_place(self, number: int) -> None:
        """206 says that more follows, 200 that this is the last: a gap or an early end shows here."""
        expected = HTTPStatus.PARTIAL_CONTENT if number < self._chunks else HTTPStatus.OK
        if self._response.status_code != expected or read_chunk_range(self._response.headers) != (number, self._chunks):
            raise TruncatedDownload("chunk")

    def close(self) -> None:
        """As `ports.Download`. Unread bytes are not waited for: the connection goes, unless there are none (a report)."""
        if self._response.headers.get("Content-Length") == "0":
            self._response.raw.drain_conn()
        self._response.close()


def decoded(response: requests.Response, timeout_s: float) -> Iterator[bytes]:
    """One chunk's body in blocks, decompressed, up to its proven end. Raises TruncatedDownload, MailboxUnavailable."""
    decoder = _decoder_for(response)
    for block in _raw_blocks(response, timeout_s):
        yield from decoder.blocks(block)
    decoder.finish()


def _raw_blocks(response: requests.Response, timeout_s: float) -> Iterator[bytes]:
    """The bytes on the wire, undecoded: only so does urllib3 notice that some are missing. Counted once more here."""
    promised, received, begun = _promised_bytes(response), 0, time.monotonic()
    while block := _read(response):
        received += len(block)
        if time.monotonic() - begun > timeout_s + received / MIN_BYTES_PER_S:
            raise MailboxUnavailable("too_slow")
        yield block
    if promised is not None and received != promised:
        raise TruncatedDownload("length")


def _read(response: requests.Response) -> bytes:
    """What has arrived, at most a block; waits for the first byte only, so that a trickle cannot hold it for hours."""
    with translated():
        try:
            block: bytes | None = response.raw.read1(BLOCK_BYTES, decode_content=False)
        except urllib3.exceptions.ProtocolError as error:  # IncompleteRead, or the connection went in the body
            raise TruncatedDownload("connection") from error
    return block or b""


def _promised_bytes(response: requests.Response) -> int | None:
    """Content-Length; None where the end is marked otherwise. Without any mark, a cut body would look like a whole one."""
    headers = response.headers
    is_chunked = "chunked" in headers.get("Transfer-Encoding", "").lower()
    length = headers.get("Content-Length", "").strip()
    if length and not is_chunked:
        if not re.fullmatch(r"[0-9]{1,15}", length):
            raise MailboxUnavailable("no_length")
        return int(length)
    if not is_chunked and _encoding(response) not in GZIP:
        raise MailboxUnavailable("no_length")
    return None


class _Decoder(Protocol):
    def blocks(self, data: bytes) -> Iterator[bytes]: ...

    def finish(self) -> None: ...


class _Identity:
    def blocks(self, data: bytes) -> Iterator[bytes]:
        yield data

    def finish(self) -> None:
        return None


class _Gzip:
    """Gzip of any number of members, in bounded memory however far a byte expands."""

    def __init__(self) -> None:
        self._member: zlib._Decompress | None = None

    def blocks(self, data: bytes) -> Iterator[bytes]:
        """Raises MailboxUnavailable for what is no gzip, or fails its checksum."""
        while data:
            member = self._member or zlib.decompressobj(wbits=31)
            with translated():
                block = member.decompress(data, BLOCK_BYTES)
            if block:
                yield block
            # Padding after a member is allowed, as gzip(1) does.
            data = member.unused_data.lstrip(b"\0") if member.eof else member.unconsumed_tail
            self._member = None if member.eof else member

    def finish(self) -> None:
        if self._member is not None:
            raise TruncatedDownload("gzip")


GZIP: Final = ("gzip", "x-gzip")


def _encoding(response: requests.Response) -> str:
    return response.headers.get("Content-Encoding", "").strip().lower()


def _decoder_for(response: requests.Response) -> _Decoder:
    encoding = _encoding(response)
    if encoding in GZIP:
        return _Gzip()
    if encoding in ("", "identity"):
        return _Identity()
    raise MailboxUnavailable("bad_encoding")
