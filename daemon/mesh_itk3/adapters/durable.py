"""Files and directories that are whole or absent, and still there after the power has failed.

Everything is written aside, fsynced and renamed, and then the directory that names it is fsynced too: without the last
step a crash may forget the name although the bytes are on the disk. Names beginning `.` and ending `.partial` are ours
and unfinished; whoever sweeps may remove them when they are old.
"""

from __future__ import annotations

import errno
import io
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from mesh_itk3.ports import StorageFailed

BUFFER_BYTES: Final = 256 * 1024
"""A guess: few system calls for a large message, little memory for many."""
PARTIAL_SUFFIX: Final = ".partial"


def write_file(path: Path, fill: Callable[[BinaryIO], None], mode: int = 0o600, *, sync_directory: bool = True) -> None:
    """Writes `path` through `fill(file)`. Durable on return; replaces a file of that name in one step.

    What `fill` raises passes through and leaves neither a file nor a remainder; the file before it, if any, stays.
    The directory must exist. Raises StorageFailed where the disk refuses, also out of `file.write` inside `fill`.
    `sync_directory=False` leaves the name to the caller's own `fsync_directory`, when several files share one.
    """
    aside = _aside(path.parent)
    try:
        _fill_and_sync(aside, fill, mode)
        with storage_failures():
            aside.replace(path)
            if sync_directory:
                fsync_directory(path.parent)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


@contextmanager
def file_aside(path: Path, mode: int = 0o600) -> Iterator[Path]:
    """Gives the name of an empty file, for whoever cannot write into an open one; it becomes `path` at the end of the
    block, durable. After an exception in the block nothing is left. Raises StorageFailed.
    """
    aside = _aside(path.parent)
    try:
        with storage_failures():
            os.close(os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode))
        yield aside
        with storage_failures():
            _fsync(aside)
            aside.replace(path)
            fsync_directory(path.parent)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def fsync_directory(path: Path) -> None:
    """Makes the names in a directory durable. Raises StorageFailed."""
    with storage_failures():
        _fsync(path, os.O_DIRECTORY)


def fsync_file(path: Path) -> None:
    """Makes the content of a file durable. Raises StorageFailed."""
    with storage_failures():
        _fsync(path)


def make_directories(path: Path, mode: int = 0o700) -> None:
    """Makes a directory and those above it that are missing, each durable on return. Raises StorageFailed."""
    with storage_failures():
        missing = [place for place in (path, *path.parents) if not place.is_dir()]
        for place in reversed(missing):
            place.mkdir(mode=mode, exist_ok=True)
            fsync_directory(place.parent)


def fsync_tree(directory: Path) -> None:
    """Makes every file below a directory durable, and every directory. Links are not followed. Raises StorageFailed."""
    with storage_failures():
        for place, _, files in os.walk(directory, topdown=False):
            for file in files:
                _fsync(Path(place, file))
            _fsync(Path(place), os.O_DIRECTORY)


def is_unfinished(name: str) -> bool:
    """Whether a file or directory name is of something written aside."""
    return name.startswith(".") and name.endswith(PARTIAL_SUFFIX)


@contextmanager
def storage_failures() -> Iterator[None]:
    """Turns what the operating system says of a failed write into StorageFailed. Its text names no file: a file name may
    come from a message.
    """
    try:
        yield
    except OSError as error:
        raise StorageFailed(reason_of(error)) from error


def reason_of(error: OSError) -> str:
    """What the operating system said, without paths: `No space left on device (ENOSPC)`."""
    number = error.errno or 0
    return f"{os.strerror(number)} ({errno.errorcode.get(number, 'unknown')})"


class _DurableFile(io.FileIO):
    """A file whose failed writes are StorageFailed even inside a caller's `fill`, whose own OSErrors (of a connection,
    say) pass through unchanged.
    """

    def write(self, data: object, /) -> int:
        with storage_failures():
            return super().write(data)  # type: ignore[arg-type]


def _aside(parent: Path) -> Path:
    return parent / f".{secrets.token_hex(12)}{PARTIAL_SUFFIX}"


def _fill_and_sync(path: Path, fill: Callable[[BinaryIO], None], mode: int) -> None:
    with storage_failures():
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    raw = _DurableFile(descriptor, "r+b")
    try:
        file = io.BufferedRandom(raw, BUFFER_BYTES)
        fill(file)
        file.flush()
        with storage_failures():
            os.fsync(descriptor)
    finally:
        # The raw file, not the buffer: closing a buffer writes its rest once more, onto a disk that has just refused.
        raw.close()


def _fsync(path: Path, flags: int = 0) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
