"""What a power cut at any moment may leave of a directory tree.

The operating system's calls are watched (`os.fsync`, `os.rename`, …: the interface that our code uses, not our code). At each
of them the tree is looked at: names that have come or gone since are *pending* in their directory until that directory is
fsynced; the content of a file is pending until that file is. A power cut keeps what is not pending and, of what is, anything:
all of it, none, one thing alone, all but one; of a content nothing, half, or all.

An fsync can be made to fail. Then what it should have made durable is dropped, as Linux does: a second fsync of the same says
that all is well, and the disk has nothing (https://wiki.postgresql.org/wiki/Fsync_Errors).
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from unittest import mock

WATCHED = ("open", "mkdir", "rename", "replace", "link", "unlink", "remove", "rmdir", "fsync", "fdatasync", "close")
Names = dict[str, int]
"""Name -> number of a file or directory, of one directory."""
Tree = dict[str, bytes | None]
"""Path below the root -> content; None for a directory."""


def is_unfinished(path: str) -> bool:
    """Whether it stands below a name by which nobody looks for anything."""
    return any(part.startswith(".") and part.endswith(".partial") for part in path.split("/"))


@dataclass
class PowerCuts:
    """Records what happens below `root`; after each call looks at every tree that a power cut now could leave."""

    root: Path
    unit_of: Callable[[str], str] = lambda path: path
    """Files of one unit are there together or not at all."""
    deaf_to: Literal["files", "directories"] | None = None
    """Whose fsync counts for nothing: as if the code had left it out."""
    fails_at: int | None = None
    """Which fsync fails with an I/O error, from 1."""
    fsyncs: int = 0
    """So many there were."""
    wrong: list[str] = field(default_factory=list)
    """What a power cut could have broken."""
    looked_at: int = 0
    """Trees."""
    _directories: dict[int, Names] = field(default_factory=dict)
    _durable: dict[int, Names] = field(default_factory=dict)
    _contents: dict[int, bytes] = field(default_factory=dict)
    _durable_contents: dict[int, bytes] = field(default_factory=dict)
    _dropped: set[tuple[int, str, int | None]] = field(default_factory=set)
    """Names whose fsync has failed: directory, name, number (None: the name's removal)."""
    _dropped_contents: dict[int, bytes] = field(default_factory=dict)
    _synced_contents: list[bytes] = field(default_factory=list)
    _promised: Tree = field(default_factory=dict)
    _seen_cuts: dict[tuple[Any, ...], Tree] = field(default_factory=dict)
    _numbers: dict[int, int] = field(default_factory=dict)
    _last_number: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self._look()
        self._durable = {inode: dict(names) for inode, names in self._directories.items()}
        self._durable_contents = dict(self._contents)

    @contextmanager
    def recording(self) -> Iterator[PowerCuts]:
        with _watching(self._called):
            yield self
        if self.fails_at is None:
            self._judge_what_was_early()

    def promise(self, *below: str) -> None:
        """From now on all that stands below these paths (none given: below the root), finished, survives every power cut."""
        with self._lock:
            self._look()
            now = {path: content for path, content in self._now().items() if not is_unfinished(path)}
            self._promised |= {p: c for p, c in now.items() if not below or p.startswith(below)}
            self._cut("promise")

    def make_durable(self, path: Path) -> None:
        """As if it had been fsynced before the recording."""
        self._look()
        self._synced(self._numbers[path.stat().st_ino])

    def forget(self, path: Path) -> None:
        """As if nothing of this file's content had ever been durable."""
        self._durable_contents.pop(self._numbers[path.stat().st_ino], None)

    def durable_content_was(self, content: bytes) -> bool:
        """Whether some file with this content has been fsynced during the recording."""
        return content in self._synced_contents

    # ------------------------------------------------------------------------------------------------ recording

    def _called(self, call: str, arguments: tuple[Any, ...], inode: int | None) -> None:
        with self._lock:
            self._look()
            if call in ("fsync", "fdatasync") and (number := self._numbers.get(inode or 0)) is not None:
                self.fsyncs += 1
                if self.fsyncs == self.fails_at:
                    self._lost(number)
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                self._synced(number)
            self._cut(call)

    def _synced(self, number: int) -> None:
        if number in self._directories:
            if self.deaf_to != "directories":
                kept = {change for change in self._pending_in(number) if (number, *change) not in self._dropped}
                self._durable[number] = self._with({(number, name) for name, _ in kept})[number]
        elif self.deaf_to != "files" and self._dropped_contents.get(number) != self._contents[number]:
            self._durable_contents[number] = self._contents[number]
            self._synced_contents.append(self._contents[number])

    def _lost(self, number: int) -> None:
        if number in self._directories:
            self._dropped |= {(number, *change) for change in self._pending_in(number)}
        else:
            self._dropped_contents[number] = self._contents[number]

    def _pending_in(self, number: int) -> set[tuple[str, int | None]]:
        """Names that have come (with their number), gone (None) or changed since this directory was made durable."""
        now, durable = self._directories[number], self._durable.get(number, {})
        return {(name, now.get(name)) for name in {*now, *durable} if now.get(name) != durable.get(name)}

    def _look(self) -> None:
        directories: dict[int, Names] = {}
        contents: dict[int, bytes] = {}
        seen: dict[int, int] = {}
        waiting = [(self.root, self._number(self.root.stat().st_ino, seen))]
        while waiting:
            place, number = waiting.pop()
            names = directories[number] = {}
            for entry in os.scandir(place):
                names[entry.name] = self._number(entry.inode(), seen)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((Path(entry.path), names[entry.name]))
                else:
                    contents[names[entry.name]] = Path(entry.path).read_bytes()
        self._numbers = seen
        self._directories, self._contents = directories, contents
        # A name that has changed since is written anew.
        self._dropped = {(at, name, to) for at, name, to in self._dropped if directories.get(at, {}).get(name) == to}

    def _number(self, inode: int, seen: dict[int, int]) -> int:
        """Of a file or directory; another one for whatever gets the inode of one that is gone."""
        if inode not in seen:
            if inode not in self._numbers:
                self._last_number += 1
            seen[inode] = self._numbers.get(inode, self._last_number)
        return seen[inode]

    def _now(self) -> Tree:
        return self._tree(self._directories, dict(self._contents))

    # ------------------------------------------------------------------------------------------------ cutting

    def _cut(self, call: str) -> None:
        for directories in self._left_names():
            for left in ("nothing", "half", "all"):
                self.looked_at += 1
                self._judge(self._tree(directories, self._left_contents(left)), call)

    def _left_names(self) -> Iterator[dict[int, Names]]:
        pending = [(number, name) for number in self._directories for name, _ in sorted(self._pending_in(number), key=str)]
        one = [{change} for change in pending]
        but_one = [set(pending) - {change} for change in pending]
        for kept in [set(), set(pending), *one, *but_one]:
            yield self._with(kept)

    def _with(self, kept: set[tuple[int, str]]) -> dict[int, Names]:
        directories = {number: dict(self._durable.get(number, {})) for number in {*self._directories, *self._durable}}
        for number, name in kept:
            if (now := self._directories[number].get(name)) is None:
                directories[number].pop(name, None)
            else:
                directories[number][name] = now
        return directories

    def _left_contents(self, left: str) -> dict[int, bytes]:
        contents = {}
        for number, now in self._contents.items():
            durable = self._durable_contents.get(number, b"")
            pending = {"nothing": durable, "half": now[: len(now) // 2], "all": now}[left]
            contents[number] = durable if now == durable else pending
        return contents

    def _tree(self, directories: dict[int, Names], contents: dict[int, bytes]) -> Tree:
        tree: Tree = {}
        waiting = [("", self._numbers[self.root.stat().st_ino])]
        while waiting:
            place, number = waiting.pop()
            for name, below in directories.get(number, {}).items():
                path = f"{place}/{name}".lstrip("/")
                if below in contents:
                    tree[path] = contents[below]
                elif below in directories:
                    tree[path] = None
                    waiting.append((path, below))
        return tree

    # ------------------------------------------------------------------------------------------------ judging

    def _judge(self, tree: Tree, call: str) -> None:
        for path, content in self._promised.items():
            if path not in tree:
                self._say(f"{self._kind(path)} is gone")
            elif tree[path] != content:
                self._say(f"{self._kind(path)} is not whole")
        finished = {path: content for path, content in tree.items() if content is not None and not is_unfinished(path)}
        self._seen_cuts.setdefault(tuple(sorted(finished.items())), finished)

    def _judge_what_was_early(self) -> None:
        """Whole or absent: what stands under its name at any moment is what stands there in the end."""
        final = {path: content for path, content in self._now().items() if content is not None and not is_unfinished(path)}
        for seen in self._seen_cuts.values():
            for path, content in seen.items():
                if path in final and content != final[path]:
                    self._say(f"{self._kind(path)} was there and not whole")
            units = {self.unit_of(path) for path in seen}
            for path in final:
                if self.unit_of(path) in units and path not in seen:
                    self._say(f"{self._kind(path)} was missing from what was there")

    def _kind(self, path: str) -> str:
        return Path(path).name if Path(path).suffix else f"directory {path}"

    def _say(self, what: str) -> None:
        if what not in self.wrong:
            self.wrong.append(what)


@contextmanager
def _watching(called: Callable[[str, tuple[Any, ...], int | None], None]) -> Iterator[None]:
    with mock.patch.multiple(os, **{name: _watched(name, getattr(os, name), called) for name in WATCHED}):
        yield


_inside = threading.local()


def _watched(name: str, call: Callable[..., Any], called: Callable[[str, tuple[Any, ...], int | None], None]) -> Any:
    def watched(*arguments: Any, **keywords: Any) -> Any:
        if getattr(_inside, "recorder", False):
            return call(*arguments, **keywords)
        _inside.recorder = True
        try:
            inode = os.fstat(arguments[0]).st_ino if name in ("fsync", "fdatasync") else None
            answer = call(*arguments, **keywords)
            called(name, arguments, inode)
        finally:
            _inside.recorder = False
        return answer

    return watched
