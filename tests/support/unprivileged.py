"""Somebody who may not read everything: what root's tests have to become, because nothing is closed to root."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STRANGER = 54321
"""A user id without a name."""


@contextmanager
def unprivileged() -> Iterator[None]:
    """In the block this process is no longer root, if it was. Not for tests with threads of their own."""
    if os.geteuid() != 0:
        yield
        return
    groups, gid = os.getgroups(), os.getgid()
    os.setgroups([])
    os.setresgid(STRANGER, STRANGER, gid)
    os.setresuid(STRANGER, STRANGER, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(gid, gid, gid)
        os.setgroups(groups)


def let_others_enter(directory: Path) -> None:
    """Up to the folder of a test that is marked `open_to_others`."""
    assert not any(part.startswith("pytest-of-") for part in directory.parts), (
        "pytest closes its own: mark the test open_to_others"
    )
    for path in (directory, *directory.parents):
        if path.owner() == "root" and path.is_relative_to(tempfile.gettempdir()) and path != Path(tempfile.gettempdir()):
            path.chmod(path.stat().st_mode | stat.S_IXOTH)
