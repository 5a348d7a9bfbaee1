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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from mesh_itk3.ports import StorageFailed

BUFFER_BYTES: Final = 256 * 1024
"""A guess: few system calls for a large message, little memory for many."""
PARTIAL_SUFFIX: Final = ".partial"


class FileAside:
    """A file that is written beside its place, `path`, and not durable before `make_durable`."""

    def __init__(self, path: Path, fill: Callable[[BinaryIO], None], mode: int = 0o600) -> None:
        """Writes it through `fill(file)`. The directory must exist. What `fill` raises passes through and leaves nothing.
        Raises StorageFailed where the disk refuses, also out of `file.write` inside `fill`.
        """
        self.path = path
        self._aside = _aside_of(path)
        self._is_in_place = False
        with storage_failures():
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            self._raw = _DurableFile(os.open(self._aside, flags, mode), "r+b")
        try:
            self._fill(fill)
        except BaseException:
            self.drop()
            raise

    def _fill(self, fill: Callable[[BinaryIO], None]) -> None:
        file = io.BufferedRandom(self._raw, BUFFER_BYTES)
        fill(file)
        file.flush()
        file.detach()  # else the buffer would close it when it goes
        begin_write_back(self._raw.fileno())

    def sync(self) -> None:
        """Its content is durable on return, under the name that nobody looks for."""
        with storage_failures():
            os.fsync(self._raw.fileno())
        self._raw.close()

    def take_place(self) -> None:
        """Replaces what has that name, in one step. Durable once the directory is synced."""
        with storage_failures():
            self._aside.replace(self.path)
        self._is_in_place = True

    def drop(self) -> None:
        """Away with it, unless it has taken its place. Safe to repeat."""
        # What the disk says now is no news: the reason to drop it has been said.
        with suppress(OSError):
            self._raw.close()
        if not self._is_in_place:
            with suppress(OSError):
                self._aside.unlink(missing_ok=True)

    def withdraw(self) -> None:
        """Away with it wherever it stands: it is not known to be durable. Safe to repeat."""
        self.drop()
        if self._is_in_place:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)


def make_durable(files: Sequence[FileAside]) -> None:
    """Contents, then names, then the directories that hold them: durable in their places on return. Together they cost
    hardly more than one, for the journal of a file system takes at once what waits for it. Raises StorageFailed; then none
    is left, as far as the disk allows it. No fsync is tried again: the kernel reports a failed one once, drops what it could
    not write, and says of the next that all is well. Whoever tries again writes everything anew.
    """
    try:
        for file in files:
            file.sync()
        for file in files:
            file.take_place()
        for directory in dict.fromkeys(file.path.parent for file in files):
            fsync_directory(directory)
    except BaseException:
        for file in files:
            file.withdraw()
        raise


def begin_write_back(descriptor: int) -> None:
    """Lets the disk begin, so that a later fsync finds most of it done: of several files begun before the first is synced,
    one commit of the journal takes all. Promises nothing.
    """
    # Linux's mm/fadvise.c: what is dirty is written back without waiting; it stays in memory for who reads it next.
    with suppress(OSError):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def write_file(path: Path, fill: Callable[[BinaryIO], None], mode: int = 0o600) -> None:
    """Writes `path` through `fill(file)`, as FileAside. Durable on return; replaces a file of that name in one step. Raises
    StorageFailed.
    """
    make_durable([FileAside(path, fill, mode)])


@contextmanager
def file_aside(path: Path, mode: int = 0o600) -> Iterator[Path]:
    """Gives the name of an empty file, for whoever cannot write into an open one; it becomes `path` at the end of the
    block, durable. After an exception in the block nothing is left. Raises StorageFailed.
    """
    aside = _aside_of(path)
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


class DurableDirectories:
    """Makes directories, and remembers which of them this process knows to be durable. Safe to use from several threads."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[int, int]] = {}

    def make(self, path: Path, root: Path, mode: int = 0o700) -> None:
        """On return `path` is there and durable, with all that lead to it from `root`, the directory that somebody has
        configured, and whatever above that had to be made. Raises StorageFailed.
        """
        if self._known.get(path) == (there := _identity(path)) and there is not None:
            return
        with storage_failures():
            missing = [place for place in (path, *path.parents) if not place.is_dir()]
            # Those that were there too: whoever made them may have died before it came to that, or be a thread about to.
            doubtful = [place for place in (path, *path.parents) if place in missing or place.is_relative_to(root)]
            try:
                for place in reversed(doubtful):
                    place.mkdir(mode=mode, exist_ok=True)
                    _fsync_name(place, is_ours=place in missing)
            except OSError:
                # The next try makes them anew: see `make_durable` about a second fsync.
                for place in missing:
                    with suppress(OSError):
                        place.rmdir()
                raise
        if (there := _identity(path)) is not None:
            self._known[path] = there


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        there = path.stat()
    except OSError:
        return None
    return there.st_dev, there.st_ino


def _fsync_name(place: Path, *, is_ours: bool) -> None:
    try:
        _fsync(place.parent, os.O_DIRECTORY)
    except PermissionError:
        # A directory of others that we may pass and not read: nor have we made anything in it.
        if is_ours:
            raise


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


def _aside_of(path: Path) -> Path:
    return path.parent / f".{secrets.token_hex(12)}{PARTIAL_SUFFIX}"


def _fsync(path: Path, flags: int = 0) -> None:
    # A configured directory may be a symbolic link; a file of ours never is.
    follows = 0 if flags & os.O_DIRECTORY else os.O_NOFOLLOW
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | follows | flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
