"""The payload store: received bytes in a directory of this machine, one file per MESH message, never shared.

`<mailbox_id>/<YYYY-MM>/<uuid>.bin` with `<uuid>.headers.json` beside it. The sidecar holds every MESH header, the
subject and the file name among them, which may name a patient: mode 0600 like the bytes, and never in ledger or log.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final, cast

from mesh_itk3.adapters.durable import DurableDirectories, FileAside, is_unfinished, make_durable, reason_of, storage_failures
from mesh_itk3.ports import MeshHeaders, PayloadDraft, PayloadMissing, StorageFailed, StoredPayload

_MAILBOX_CHARACTERS: Final = re.compile(r"[^A-Za-z0-9-]")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}/\d{4}-\d{2}/(?:[0-9a-f]{32}\.bin|\.[0-9a-f]{1,64}\.partial)")
"""What `new_name` draws, and what `durable` leaves behind when the power fails. Nothing else becomes a path."""
_BODY_SUFFIX: Final = ".bin"
_SIDECAR_SUFFIX: Final = ".headers.json"


class DirectoryPayloadStore:
    """`PayloadStore` over a directory, made (mode 0700) on the first write. Safe to use from several threads.

    A mailbox's folder, once there, is the sign that the store is there: the empty mount point of a share that is away has
    none. Without it nothing is called missing, and nothing is written where the share would hide it later.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._expected: set[str] = set()
        self._directories = DurableDirectories()

    def expect(self, mailbox_id: str) -> None:
        """See `PayloadStore.expect`."""
        self._expected.add(folder_of(mailbox_id))

    def new_name(self, mailbox_id: str) -> str:
        """`<mailbox_id>/<YYYY-MM>/<uuid>.bin`; the month (UTC) keeps directories small enough to list."""
        return f"{folder_of(mailbox_id)}/{datetime.now(UTC):%Y-%m}/{uuid.uuid4().hex}{_BODY_SUFFIX}"

    def write(self, name: str, fill: Callable[[BinaryIO], None], headers: MeshHeaders) -> StoredPayload:
        """Sidecar and file, both durable on return; see `PayloadStore.write`."""
        draft = self.draft(name, fill, headers)
        self.keep([draft])
        return draft.stored

    def draft(self, name: str, fill: Callable[[BinaryIO], None], headers: MeshHeaders) -> _Draft:
        """See `PayloadStore.draft`."""
        path = self._path(name)
        self._check_there(path)
        self._directories.make(path.parent, self._directory)
        self._expected.add(path.parent.parent.name)
        sidecar = FileAside(_sidecar(path), lambda file: _write_all(file, _encode(headers)))
        try:
            body, digest = _write_body(path, fill)
        except BaseException:
            sidecar.drop()
            raise
        return _Draft(StoredPayload(name=name, bytes=digest.size, sha256=digest.sha256), (sidecar, body))

    def keep(self, drafts: Sequence[PayloadDraft]) -> None:
        """See `PayloadStore.keep`."""
        make_durable(list(chain.from_iterable(cast("_Draft", draft).files for draft in drafts)))

    def drop(self, drafts: Sequence[PayloadDraft]) -> None:
        """See `PayloadStore.drop`."""
        for draft in drafts:
            for file in cast("_Draft", draft).files:
                file.drop()

    def is_whole(self, name: str, size: int) -> bool:
        """Whether the file is there with this size; a name that is none of ours is not there. Raises StorageFailed."""
        try:
            path = self._path(name)
        except PayloadMissing:
            return False
        with storage_failures():
            return path.is_file() and path.stat().st_size == size

    def read(self, name: str) -> bytes:
        path = self._path(name)
        with _missing_file(path):
            return path.read_bytes()

    def open(self, name: str) -> BinaryIO:
        path = self._path(name)
        with _missing_file(path):
            return path.open("rb")

    def headers(self, name: str) -> MeshHeaders:
        path = self._path(name)
        with _missing_file(path):
            text = _sidecar(path).read_bytes()
        return _decode(text)

    def look_at(self, name: str) -> tuple[StoredPayload, datetime]:
        """See `PayloadStore.look_at`."""
        path = self._path(name)
        with _missing_file(path), path.open("rb") as file:
            digest, found = hashlib.file_digest(file, "sha256"), os.fstat(file.fileno())
        written = datetime.fromtimestamp(found.st_mtime, UTC)
        return StoredPayload(name=name, bytes=found.st_size, sha256=digest.hexdigest()), written

    def discard(self, name: str) -> None:
        """Removes file and sidecar if they are there. Raises StorageFailed where they are and stay."""
        path = self._path(name)
        with storage_failures():
            path.unlink(missing_ok=True)
            _sidecar(path).unlink(missing_ok=True)

    def orphans(self, older_than: datetime, mailbox_id: str) -> Iterable[str]:
        """Also names what a crash left half written, and sidecars whose file is gone."""
        limit = older_than.timestamp()
        for place in (self._directory / folder_of(mailbox_id)).glob("[0-9][0-9][0-9][0-9]-[0-9][0-9]"):
            for file_name, written in _last_written(place).items():
                name = f"{place.parent.name}/{place.name}/{file_name}"
                if written < limit and _NAME.fullmatch(name):
                    yield name

    def _check_there(self, path: Path) -> None:
        if path.parent.parent.name in self._expected and not _is_store_there(path):
            raise StorageFailed("the payload store is not there")

    def _path(self, name: str) -> Path:
        # A name comes back from the ledger, which may have been restored or edited: it never leaves the store.
        if not _NAME.fullmatch(name):
            raise PayloadMissing("the payload's name is none that this store gives")
        return self._directory / name


class _Digesting(io.RawIOBase):
    """Passes writes on to a file, counting and hashing them. Cannot seek: what is hashed is what is there."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)
        return len(data)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


@dataclass(frozen=True, slots=True)
class _Draft:
    """`PayloadDraft` of this store."""

    stored: StoredPayload
    files: tuple[FileAside, FileAside]


def _write_body(path: Path, fill: Callable[[BinaryIO], None]) -> tuple[FileAside, _Digesting]:
    written: list[_Digesting] = []

    def fill_and_digest(file: BinaryIO) -> None:
        digest = _Digesting(file)
        fill(cast("BinaryIO", digest))
        written.append(digest)

    return FileAside(path, fill_and_digest), written[0]


def _write_all(file: BinaryIO, data: bytes) -> None:
    file.write(data)


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(_BODY_SUFFIX) + _SIDECAR_SUFFIX)


def _encode(headers: MeshHeaders) -> bytes:
    values = {name: getattr(headers, name) for name in _HEADER_FIELDS}
    return json.dumps({**values, "all": dict(headers.all)}).encode()  # not indented: that would be Python's own slow writer


def _decode(text: bytes) -> MeshHeaders:
    try:
        values = json.loads(text)
        return MeshHeaders(**{name: values[name] for name in _HEADER_FIELDS})
    except (ValueError, TypeError, KeyError):
        # `from None`: the decoder's error holds the whole text, and the text may name a patient.
        raise PayloadMissing("the sidecar of this payload is damaged") from None


_HEADER_FIELDS: Final = tuple(field.name for field in fields(MeshHeaders))


def folder_of(mailbox_id: str) -> str:
    """The name of a mailbox's folder in the store."""
    return _MAILBOX_CHARACTERS.sub("_", mailbox_id)[:64] or "_"


def _is_store_there(path: Path) -> bool:
    """Whether the mailbox's folder is there, in which `<YYYY-MM>/<file>` stands or should."""
    with storage_failures():
        return path.parent.parent.is_dir()


@contextmanager
def _missing_file(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        if not _is_store_there(path):
            raise StorageFailed("the payload store is not there") from error
        raise PayloadMissing("the payload store has no such file") from error
    except OSError as error:
        raise StorageFailed(reason_of(error)) from error


def _last_written(place: Path) -> dict[str, float]:
    """Name -> when it, or its sidecar, was last written (seconds since 1970). A sidecar stands under its file's name."""
    written: dict[str, float] = {}
    for path in place.iterdir():
        try:
            at = path.lstat().st_mtime
        except FileNotFoundError:
            continue  # discarded, or renamed to its own name, while we looked
        name = path.name if is_unfinished(path.name) else path.name.replace(_SIDECAR_SUFFIX, _BODY_SUFFIX)
        written[name] = max(at, written.get(name, at))
    return written
