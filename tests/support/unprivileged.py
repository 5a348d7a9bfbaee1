"""Somebody who may not read everything: what root's tests have to become, because nothing is closed to root."""

from __future__ import annotations

import os
import stat
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
    """pytest closes the folders above its temporary ones."""
    for path in (directory, *directory.parents):
        if path.owner() == "root" and path.is_relative_to("/tmp") and path != Path("/tmp"):  # noqa: S108 - where pytest works
            path.chmod(path.stat().st_mode | stat.S_IXOTH)
