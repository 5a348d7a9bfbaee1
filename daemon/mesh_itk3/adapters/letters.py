"""Letters on disk: one directory per letter that is whole or absent, and found again by a repeated `handle`.

A letter is written into `.<day>.<name>.partial` in the output directory, every file and directory of it is fsynced, then it
is renamed to its place and the directory that names it is fsynced. It is for the service's own user, unless the output
directory itself is open to a group: then that group may read it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any, Final

import orjson

from mesh_itk3.adapters.durable import (
    PARTIAL_SUFFIX,
    DurableDirectories,
    begin_write_back,
    fsync_directory,
    fsync_file,
    reason_of,
    storage_failures,
)
from mesh_itk3.adapters.output_marks import Directory, OutputMarks
from mesh_itk3.handler import Folder, Message
from mesh_itk3.itk3.message_header import FHIR_ID
from mesh_itk3.ports import StorageFailed

METADATA: Final = "metadata.json"
# The underscore more than design rule 1 allows in a MessageHeader.id: MESH's own ids have one.
_SAFE_MESH_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SAFE_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_GROUP_READS: Final = stat.S_IRGRP | stat.S_IXGRP
_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})
_TRIES: Final = 5
_OPEN_AT_ONCE: Final = 32
"""A guess: written files stay open until they are synced, and a message may have thousands of attachments."""


class _PlaceTaken(Exception):
    """Another message with the same id was filed in this moment: it keeps the name."""


@dataclass(frozen=True, slots=True)
class _Modes:
    """Who may read a letter. Given to each file and directory by itself: a service's umask (0077) would close it again."""

    directory: int
    file: int


_OWNER_ONLY: Final = _Modes(directory=0o700, file=0o600)
_GROUP_TOO: Final = _Modes(directory=0o750, file=0o640)


class LetterFiles:
    """Implements `handler.Writer`. Safe from several threads and processes: a letter being written is locked."""

    def __init__(self, marks: OutputMarks | None = None) -> None:
        """`marks`: by what output directories are known again. None (tests of handlers): whatever stands there is the one."""
        self._marks = marks
        self._directories = DurableDirectories()

    def file(self, output: Path, message: Message, fill: Callable[[Folder], Mapping[str, Any]]) -> Path:
        """As `handler.Writer.file` says. Raises StorageFailed; what `fill` raises passes through and leaves nothing."""
        known = self._marks.require(output, message.mailbox_id) if self._marks else None
        parent = output / message.received_at.astimezone(UTC).date().isoformat()
        for _ in range(_TRIES):
            name, is_done = _place(parent, message)
            if is_done:
                # Once more: the process that renamed it may have died before it came to this.
                self._directories.make(parent, output)
                _make_name_durable(output, parent, name)
                return parent / name
            try:
                _make_day(self._directories, output, parent)
                _write_letter(output, parent, name, message, fill, known)
            except _PlaceTaken:
                continue
            return parent / name
        raise StorageFailed("the letter's place is taken by something that is no letter")


def directory_names(message_header_id: str | None, mesh_message_id: str) -> tuple[str, ...]:
    """The names that a letter may have, in the order in which they are tried (design rule 1).

    Ids come from a sender: one that could leave its folder, hide there or be taken for an unfinished one is not used.
    """
    mesh_name = _safe_mesh_name(mesh_message_id)
    first = message_header_id or ""
    if not FHIR_ID.fullmatch(first) or first.startswith("."):
        first = mesh_name
    return first, f"{first}--{mesh_name}"


def _safe_mesh_name(mesh_message_id: str) -> str:
    if _SAFE_MESH_ID.fullmatch(mesh_message_id) and not mesh_message_id.startswith("."):
        return mesh_message_id
    return "mesh-" + hashlib.sha256(mesh_message_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _place(parent: Path, message: Message) -> tuple[str, bool]:
    """The name for this letter, and whether it stands there already."""
    for name in directory_names(message.header.message_header_id, message.mesh_message_id):
        owner = _owner_of(parent / name)
        if owner is None or owner == message.mesh_message_id:
            return name, owner is not None
    raise StorageFailed("the letter's place is taken by something that is no letter")


def _owner_of(directory: Path) -> str | None:
    """The MESH message id in a directory's metadata; `""`, which is nobody's, where none can be read; None where nothing
    of that name exists.
    """
    if not os.path.lexists(directory):
        return None
    try:
        metadata = orjson.loads((directory / METADATA).read_bytes())
    except (OSError, ValueError):
        return ""
    owner = metadata.get("mesh_message_id") if isinstance(metadata, dict) else None
    return owner if isinstance(owner, str) else ""


def _modes_of(output: Path) -> _Modes:
    """Whoever made the output directory has said who may read letters; one that we make ourselves is ours alone."""
    try:
        mode = output.stat().st_mode
    except FileNotFoundError:
        return _OWNER_ONLY
    except OSError as error:
        raise StorageFailed(reason_of(error)) from error
    is_open = mode & _GROUP_READS == _GROUP_READS
    return _GROUP_TOO if is_open else _OWNER_ONLY


def _write_letter(
    output: Path,
    parent: Path,
    name: str,
    message: Message,
    fill: Callable[[Folder], Mapping[str, Any]],
    known: Directory | None,
) -> None:
    modes = _modes_of(output)
    # Not in the day's directory: that one has lost the setgid bit, from which a letter and its files have their group.
    with _locked_aside(_aside_of(output, parent, name)) as (aside, descriptor):
        if known is not None:
            known.require_around(descriptor)
        folder = _NewFolder(aside, name, modes)
        try:
            metadata = fill(folder)
            folder.finish()
            # The id by which a repeated `handle` knows its letter, whatever the handler wrote.
            folder.write_metadata({**metadata, "mesh_message_id": message.mesh_message_id})
            folder.sync(descriptor)
        finally:
            folder.abandon()
        _rename_to_absent(aside, parent / name)
        _make_name_durable(output, parent, name)


def _make_name_durable(output: Path, parent: Path, name: str) -> None:
    try:
        fsync_directory(parent)
    except StorageFailed:
        # Filed anew the next time: a second fsync would say that all is well (see `durable.make_durable`).
        aside = _aside_of(output, parent, name)
        with suppress(OSError):
            (parent / name).rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
        raise


def _aside_of(output: Path, parent: Path, name: str) -> Path:
    return output / f".{parent.name}.{name}{PARTIAL_SUFFIX}"


def _make_day(directories: DurableDirectories, output: Path, parent: Path) -> None:
    modes = _modes_of(output)
    directories.make(parent, output, _OWNER_ONLY.directory)
    with storage_failures():
        # Also when it was there: the process that made it may have died before it came to this.
        there = parent.stat()
        if there.st_uid == os.geteuid() and there.st_mode & modes.directory != modes.directory:
            parent.chmod(modes.directory)


def _rename_to_absent(aside: Path, target: Path) -> None:
    # rename() would replace an empty directory silently; one that stands there is not ours.
    if os.path.lexists(target):
        raise _PlaceTaken
    with storage_failures():
        try:
            aside.rename(target)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                raise _PlaceTaken from None
            raise


@contextmanager
def _locked_aside(aside: Path) -> Iterator[tuple[Path, int]]:
    """An empty directory to fill and its descriptor, nobody else's while the block runs; gone after an exception in it.

    The lock dies with its holder, so a remainder that can be locked is that of a crash, and is cleaned away.
    """
    with storage_failures():
        descriptor = _lock_directory(aside)
    try:
        with storage_failures():
            if os.listdir(descriptor):  # noqa: PTH208 a descriptor, no path
                _empty(aside)
        yield aside, descriptor
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    finally:
        os.close(descriptor)


def _lock_directory(aside: Path) -> int:
    """Makes and locks the directory of this name. Raises StorageFailed where another process is filling it."""
    for _ in range(_TRIES):
        with suppress(FileExistsError):
            aside.mkdir(mode=_OWNER_ONLY.directory)
        descriptor = os.open(aside, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _lock(descriptor)
            if _is_still_named(descriptor, aside):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # It was renamed or removed between the opening and the lock.
    raise StorageFailed("another process is filing this letter")


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StorageFailed("another process is filing this letter") from None
    except OSError as error:
        # Some network shares have no locks; there the one collector per mailbox has to be enough.
        if error.errno not in _NO_LOCKS:
            raise


def _is_still_named(descriptor: int, path: Path) -> bool:
    try:
        there = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    ours = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _empty(directory: Path) -> None:
    for left in list(directory.iterdir()):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()


class _NewFolder:
    """The directory of one letter while its handler fills it. Implements `handler.Folder`."""

    def __init__(self, directory: Path, name: str, modes: _Modes) -> None:
        self.name = name
        self._directory = directory
        self._modes = modes
        self._open_files: list[io.BufferedWriter] = []
        self._written: list[int] = []
        """Descriptors of whole files that are not synced yet: all are written before the first is synced, for a journal
        takes them at once.
        """
        self._streamed: list[Path] = []
        self._below: dict[str, Path] = {}

    def write(self, name: str, content: bytes) -> Path:
        """Raises ValueError for a name that is not safe, reserved or used already; StorageFailed."""
        path = self._path_of(name)
        self._write(path, content)
        return path

    def open(self, name: str) -> io.BufferedWriter:
        """The same, for streaming; a file that the handler leaves open is closed for it."""
        path = self._path_of(name)
        self._open_files = [file for file in self._open_files if not file.closed]
        file: io.BufferedWriter = io.BufferedWriter(_LetterFile(self._create(path), "wb"), 64 * 1024)
        self._open_files.append(file)
        self._streamed.append(path)
        return file

    def write_metadata(self, metadata: Mapping[str, Any]) -> None:
        # Last: a directory with metadata is a whole letter.
        content = orjson.dumps(dict(metadata), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        self._write(self._directory / METADATA, content)

    def finish(self) -> None:
        """Writes out what a handler left open."""
        for file in self._open_files:
            file.close()

    def sync(self, descriptor: int) -> None:
        """Makes every file durable, then every directory; `descriptor` is the letter's own. Directories are opened to their
        readers last. The setgid bit is not kept: it has done its work, and an unprivileged service in a sandbox
        (RestrictSUIDSGID=) may not set it.
        """
        with storage_failures():
            self._sync_written()
            for path in self._streamed:
                fsync_file(path)
            for path in self._below.values():
                path.chmod(self._modes.directory)
                fsync_directory(path)
            os.fchmod(descriptor, self._modes.directory)
            os.fsync(descriptor)

    def abandon(self) -> None:
        """Closes without writing: the raw files, for closing a buffer writes its rest once more onto a disk that refused."""
        for file in self._open_files:
            file.raw.close()
        self._close_written()

    def _path_of(self, name: str) -> Path:
        if name == METADATA:
            raise ValueError("metadata.json is what `fill` returns; it is written last")
        parts = name.split("/")
        if len(parts) > 2 or not all(_SAFE_FILE_NAME.fullmatch(part) for part in parts):  # noqa: PLR2004
            raise ValueError("a file's name is [A-Za-z0-9._-], begins with a letter or digit and has at most one `/`")
        if len(parts) > 1 and parts[0] not in self._below:
            self._make_below(parts[0])
        return self._directory / name

    def _make_below(self, name: str) -> None:
        path = self._directory / name
        with storage_failures():
            path.mkdir(mode=_OWNER_ONLY.directory, exist_ok=True)
        self._below[name] = path

    def _write(self, path: Path, content: bytes) -> None:
        descriptor = self._create(path)
        self._written.append(descriptor)
        with storage_failures():
            rest = memoryview(content).cast("B")
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            if len(self._written) >= _OPEN_AT_ONCE:
                self._sync_written()

    def _sync_written(self) -> None:
        for descriptor in self._written:
            begin_write_back(descriptor)
        for descriptor in self._written:
            os.fsync(descriptor)
        self._close_written()

    def _close_written(self) -> None:
        while self._written:
            os.close(self._written.pop())

    def _create(self, path: Path) -> int:
        """A descriptor to write with."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with storage_failures():
            try:
                descriptor = os.open(path, flags, _OWNER_ONLY.file)
            except FileExistsError:
                raise ValueError("a file of this name has been written already") from None
            os.fchmod(descriptor, self._modes.file)
        return descriptor


class _LetterFile(io.FileIO):
    """A file whose refused writes are StorageFailed wherever the handler makes them."""

    def write(self, data: Any, /) -> int:
        with storage_failures():
            return super().write(data)
