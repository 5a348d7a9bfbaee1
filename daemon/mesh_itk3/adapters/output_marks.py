"""By what a directory for letters is known again: a mark, which is a small file in it, and the payload store's memory of it.

The empty mount point of a share that is away looks like a new directory, and a letter filed there is found by nobody. So the
first letter marks its directory, before it is filed; the payload store remembers which mark each configured path has had; and
from then on nothing is filed where that mark is missing. Only the very directory that had it, emptied by a program that takes
letters on and everything else with them, gets it again. The memory stands with the payloads, for every daemon of a ledger sees
those, and a restored backup of the ledger does not take them back.
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
_SAID: Final = "marked by "
_NOBODYS: Final = ""
"""The id of a mark that cannot be read as one."""


class Place(Enum):
    """What a directory for letters is found to be."""

    NEW = "new"
    """Nothing has been filed under this path yet: the first letter marks it."""
    KNOWN = "known"
    EMPTIED = "emptied"
    """It has no mark, and is the very directory that had it: the next letter gives it back."""
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


@dataclass(frozen=True, slots=True)
class _Found:
    """What stands at a path now."""

    mark: str | None
    """None: there is no mark."""
    directory: Directory
    identity: str
    """By what the very directory is known without its mark, until this machine mounts its file system again under another
    number. The empty mount point of a share is another directory of another file system.
    """


class OutputMarks:
    """The marks of the directories that letters are filed in. What decides is read each time: other processes change it. Safe
    to use from several threads and processes.
    """

    def __init__(self, payloads: Path) -> None:
        """`payloads`: the payload store's directory."""
        self._payloads = payloads
        self._remembered = payloads / REMEMBERED
        self._directories = DurableDirectories()
        self._noted: dict[Path, str] = {}
        """Identities that are remembered, so that one need not look again."""

    def require(self, output: Path, mailbox_id: str) -> Directory:
        """The directory that `output` means now, if letters belong there. One that is new gets its mark, one that was emptied
        gets it again, durable on return. `mailbox_id`: whose payload is being filed. Raises StorageFailed, saying what to do.
        """
        place, found = self._look(output)
        if place is Place.EMPTIED and found is not None:
            place, found = self._mark_again(output, found)
        elif place is Place.NEW:
            # The memory is away with the payload store: then nothing is known to be new.
            with storage_failures():
                if not (self._payloads / folder_of(mailbox_id)).is_dir():
                    raise StorageFailed("the payload store is not there")
            self._begin(output)
            events.emit(events.OUTPUT_MARKED, directory=str(output))
            place, found = self._look(output)
        if place is not Place.KNOWN or found is None:
            raise StorageFailed(_refusal(output, place))
        self._note(output, found)
        return found.directory

    def look(self, output: Path) -> Place:
        """What stands there, changing nothing. Raises StorageFailed where it cannot be told."""
        return self._look(output)[0]

    def mark(self, output: Path, *, who: str) -> None:
        """From now on `output` means the directory that is there now, and no other that it has meant: a person says so, whose
        name stands in the memory of the mark. Durable on return. Raises StorageFailed.
        """
        self._begin(output, f"{_SAID}{who}")
        with storage_failures():
            for other in self._ids(output) - {_mark_in(output)}:
                self._memory_of(output, other).unlink(missing_ok=True)
        fsync_directory(self._remembered)

    def _look(self, output: Path) -> tuple[Place, _Found | None]:
        with storage_failures():
            ids = self._ids(output)
            try:
                found = _read(output)
            except FileNotFoundError:
                return (Place.ABSENT if ids else Place.NEW), None
            if not ids:
                return Place.NEW, found
            if found.mark is None:
                return (Place.EMPTIED if self._had(output, found) else Place.UNMARKED), found
        return (Place.KNOWN if found.mark in ids else Place.OTHER), found

    def _had(self, output: Path, found: _Found) -> str | None:
        """The id of the mark that this very directory had."""
        with storage_failures():
            had = (each for each in sorted(self._ids(output)) if found.identity in self._lines(output, each))
            return next(had, None)

    def _mark_again(self, output: Path, emptied: _Found) -> tuple[Place, _Found | None]:
        self._write_mark(output, self._had(output, emptied) or secrets.token_hex(16))
        place, found = self._look(output)
        if found is None or found.directory != emptied.directory:
            # The share has gone away since: its mount point must not have its mark.
            with storage_failures():
                (output / MARK).unlink(missing_ok=True)
            raise StorageFailed("the directory for letters has changed while it got its mark again")
        events.emit(events.OUTPUT_MARKED, directory=str(output))
        return place, found

    def _note(self, output: Path, found: _Found) -> None:
        """Remembers by what the directory is known without its mark: a share has another number after the next mount."""
        if found.mark and self._noted.get(output) != found.identity:
            with suppress(StorageFailed):  # a full disk under the payloads keeps no letter from a share that has room
                with storage_failures():
                    lines = self._lines(output, found.mark)
                if lines and found.identity not in lines:  # none: a person has just said that it is another directory
                    self._remember(output, found)
                self._noted[output] = found.identity

    def _begin(self, output: Path, said: str = "") -> None:
        """The mark first, then the memory of it: the other way round a crash would leave a directory that nobody may use.
        Two that begin at once may write two marks; each remembers the one that it finds, so that the last one is known.
        """
        self._directories.make(output, output)
        if _mark_in(output):
            fsync_file(output / MARK)  # whoever wrote it may have died before it came to this
            fsync_directory(output)
        else:
            self._write_mark(output, secrets.token_hex(16))
        with storage_failures():
            found = _read(output)
        if not found.mark:
            raise StorageFailed(_refusal(output, Place.UNMARKED))
        self._directories.make(self._remembered, self._payloads)
        self._remember(output, found, said)

    def _remember(self, output: Path, found: _Found, said: str = "") -> None:
        """`said`: by whom it was marked; what was said before stays."""
        mark = found.mark or _NOBODYS
        with storage_failures():
            before = [line for line in self._lines(output, mark) if line.startswith(_SAID)]
        lines = [str(output), found.identity, *([said] if said else before)]
        write_file(self._memory_of(output, mark), lambda file: _write(file, "".join(f"{line}\n" for line in lines)))

    def _write_mark(self, output: Path, mark: str) -> None:
        # For whoever may read the letters: an importer that opens every file it finds must not stumble over this one.
        with storage_failures():
            mode = 0o640 if output.stat().st_mode & stat.S_IRGRP else 0o600
        text = _TEXT.format(id=mark)

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

    def _lines(self, output: Path, mark: str) -> list[str]:
        """What is remembered with a mark; nothing where another process has just forgotten it. Raises OSError."""
        with suppress(FileNotFoundError):
            return os.fsdecode(self._memory_of(output, mark).read_bytes()).splitlines()
        return []

    def _memory_of(self, output: Path, found: str) -> Path:
        return self._remembered / f"{_digest(output)}.{found}"


def problem_of(output: Path, place: Place) -> str | None:
    """Why nothing is filed there, with the way out; None where letters may be filed. A configured path names no patient."""
    if place in (Place.NEW, Place.KNOWN, Place.EMPTIED):
        return None
    return (
        f"the directory {place.value}: its share is not mounted, or it was emptied or made anew. Mount the share; if the"
        f" directory is right as it is: {COMMAND} {output} --by WHO"
    )


def _refusal(output: Path, place: Place) -> str:
    return f"nothing is filed in {output}: {problem_of(output, place)}"


def _digest(output: Path) -> str:
    return hashlib.sha256(os.fsencode(output)).hexdigest()[:32]


def _read(output: Path) -> _Found:
    """Raises OSError."""
    # O_PATH: one that may be entered and not listed will do.
    directory = os.open(output, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        there, host = os.fstat(directory), os.uname().nodename
        identity = f"{host} {there.st_dev} {there.st_ino} {os.fstatvfs(directory).f_fsid}"
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            mark = os.open(MARK, flags, dir_fd=directory)
        except FileNotFoundError:
            return _Found(None, Directory.of(there), identity)
        try:
            found = _FIRST_LINE.match(os.read(mark, 200))
        finally:
            os.close(mark)
        return _Found(found[1].decode() if found else _NOBODYS, Directory.of(there), identity)
    finally:
        os.close(directory)


def _mark_in(output: Path) -> str | None:
    with storage_failures():
        return _read(output).mark


def _write(file: BinaryIO, text: str) -> None:
    file.write(os.fsencode(text))
