"""By what a directory for letters is known again: a mark, which is a small file in it, and the payload store's memory of it.

The empty mount point of a share that is away looks like a new directory, and a letter filed there is found by nobody. So the
first letter marks its directory, before it is filed; the payload store remembers which mark each configured path has had; and
from then on nothing is filed where that mark is missing. The memory stands with the payloads, for every daemon of a ledger
sees those, and a restored backup of the ledger does not take them back.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import BinaryIO, Final, Self

from mesh_itk3 import events
from mesh_itk3.adapters.durable import DurableDirectories, fsync_directory, fsync_file, storage_failures, write_file
from mesh_itk3.adapters.payload_store import folder_of
from mesh_itk3.ports import StorageFailed

MARK: Final = ".mesh-itk3-letters"
REMEMBERED: Final = ".letters"
"""In the payload directory: `<digest of the path>.<id>` for each mark that a path may have."""
COMMAND: Final = "mesh-itk3 mark-output"
_FIRST_LINE: Final = re.compile(rb"mesh-itk3 letters ([0-9a-f]{32})\r?(?:\n|$)")
_TEXT: Final = """\
mesh-itk3 letters {id}
Letters are filed in this directory. Leave this file here: without it the directory is taken for the empty mount point of a
share that is away, and nothing is filed.
"""
_NOBODYS: Final = ""
"""The id of a mark that cannot be read as one."""


class Place(Enum):
    """What a directory for letters is found to be."""

    NEW = "new"
    """Nothing has been filed under this path yet: the first letter marks it."""
    KNOWN = "known"
    ABSENT = "is not there"
    UNMARKED = f"has no mark ({MARK})"
    OTHER = f"has the mark ({MARK}) of another directory"


@dataclass(frozen=True, slots=True)
class Directory:
    """One that is there, however often its path comes to mean another."""

    device: int
    inode: int

    @classmethod
    def of(cls, there: os.stat_result) -> Self:
        return cls(there.st_dev, there.st_ino)

    def require_around(self, descriptor: int) -> None:
        """Raises StorageFailed unless the open directory stands in this one: a share may go away between the look at its mark
        and the making of a letter's directory. Once in it, a letter stays: a rename does not leave a file system.
        """
        with storage_failures():
            around = Directory.of(os.stat("..", dir_fd=descriptor))
        if around != self:
            raise StorageFailed("the directory for letters has changed while a letter was filed")


class OutputMarks:
    """The marks of the directories that letters are filed in. Keeps nothing in memory: other processes change it. Safe to use
    from several threads and processes.
    """

    def __init__(self, payloads: Path) -> None:
        """`payloads`: the payload store's directory."""
        self._payloads = payloads
        self._remembered = payloads / REMEMBERED
        self._directories = DurableDirectories()

    def require(self, output: Path, mailbox_id: str) -> Directory:
        """The directory that `output` means now, if letters belong there. One that is new gets its mark, durable on return.
        `mailbox_id`: whose payload is being filed. Raises StorageFailed, saying what to do.
        """
        place, directory = self._look(output)
        if place is Place.NEW:
            # The memory is away with the payload store: then nothing is known to be new.
            with storage_failures():
                if not (self._payloads / folder_of(mailbox_id)).is_dir():
                    raise StorageFailed("the payload store is not there")
            self._begin(output)
            events.emit(events.OUTPUT_MARKED, directory=str(output))
            place, directory = self._look(output)
        if place is not Place.KNOWN or directory is None:
            raise StorageFailed(_refusal(output, place))
        return directory

    def look(self, output: Path) -> Place:
        """What stands there, changing nothing. Raises StorageFailed where it cannot be told."""
        return self._look(output)[0]

    def mark(self, output: Path, *, who: str) -> None:
        """From now on `output` means the directory that is there now, and no other that it has meant: a person says so, whose
        name stands in the memory of the mark. Durable on return. Raises StorageFailed.
        """
        self._begin(output, f"marked by {who}\n")
        with storage_failures():
            for other in self._ids(output) - {_mark_in(output)}:
                self._memory_of(output, other).unlink(missing_ok=True)
        fsync_directory(self._remembered)

    def _look(self, output: Path) -> tuple[Place, Directory | None]:
        with storage_failures():
            ids = self._ids(output)
            try:
                found, directory = _read(output)
            except FileNotFoundError:
                return (Place.ABSENT if ids else Place.NEW), None
        if not ids:
            return Place.NEW, directory
        if found is None:
            return Place.UNMARKED, directory
        return (Place.KNOWN if found in ids else Place.OTHER), directory

    def _begin(self, output: Path, said: str = "") -> None:
        """The mark first, then the memory of it: the other way round a crash would leave a directory that nobody may use.
        Two that begin at once may write two marks; each remembers the one that it finds, so that the last one is known.
        """
        self._directories.make(output, output)
        found = _mark_in(output)
        if found:
            fsync_file(output / MARK)  # whoever wrote it may have died before it came to this
            fsync_directory(output)
        else:
            self._write_mark(output)
            found = _mark_in(output)
        if not found:
            raise StorageFailed(_refusal(output, Place.UNMARKED))
        self._directories.make(self._remembered, self._payloads)
        write_file(self._memory_of(output, found), lambda file: _write(file, f"{output}\n{said}"))

    def _write_mark(self, output: Path) -> None:
        # For whoever may read the letters: an importer that opens every file it finds must not stumble over this one.
        with storage_failures():
            mode = 0o640 if output.stat().st_mode & stat.S_IRGRP else 0o600
        text = _TEXT.format(id=secrets.token_hex(16))

        def fill(file: BinaryIO) -> None:
            _write(file, text)
            os.fchmod(file.fileno(), mode)

        write_file(output / MARK, fill)

    def _ids(self, output: Path) -> frozenset[str]:
        """The marks that this path may have; none: it was never used. Raises OSError."""
        prefix = f"{_digest(output)}."
        with suppress(FileNotFoundError, NotADirectoryError):
            names = os.listdir(self._remembered)  # noqa: PTH208 names are wanted, once for every letter
            return frozenset(name.removeprefix(prefix) for name in names if name.startswith(prefix))
        return frozenset()

    def _memory_of(self, output: Path, found: str) -> Path:
        return self._remembered / f"{_digest(output)}.{found}"


def problem_of(output: Path, place: Place) -> str | None:
    """Why nothing is filed there, with the way out; None where letters may be filed. A configured path names no patient."""
    if place in (Place.NEW, Place.KNOWN):
        return None
    return (
        f"the directory {place.value}: its share is not mounted, or it was emptied or made anew. Mount the share; if the"
        f" directory is right as it is: {COMMAND} {output} --by WHO"
    )


def _refusal(output: Path, place: Place) -> str:
    return f"nothing is filed in {output}: {problem_of(output, place)}"


def _digest(output: Path) -> str:
    return hashlib.sha256(os.fsencode(output)).hexdigest()[:32]


def _read(output: Path) -> tuple[str | None, Directory]:
    """The mark in a directory, None where there is none, and which directory that is. Raises OSError."""
    # O_PATH: one that may be entered and not listed will do.
    directory = os.open(output, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        there = Directory.of(os.fstat(directory))
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            mark = os.open(MARK, flags, dir_fd=directory)
        except FileNotFoundError:
            return None, there
        try:
            found = _FIRST_LINE.match(os.read(mark, 200))
        finally:
            os.close(mark)
        return (found[1].decode() if found else _NOBODYS), there
    finally:
        os.close(directory)


def _mark_in(output: Path) -> str | None:
    with storage_failures():
        return _read(output)[0]


def _write(file: BinaryIO, text: str) -> None:
    file.write(os.fsencode(text))
