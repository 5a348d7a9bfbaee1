"""Lets a command run by root act as the owner of the ledger, so that it leaves no files of root's behind."""

from __future__ import annotations

import os
import pwd
from pathlib import Path


def act_as_owner(path: Path) -> int | None:
    """Gives up root for good in favour of the user who owns `path` (or, where it is not there yet, its directory).
    Returns that user's id; None where nothing was to be done: not root, root's own, or neither exists. Read
    configuration and credentials first: the owner may not be allowed to. Raises OSError where giving up is refused.
    """
    if os.geteuid() != 0:
        return None
    found = next((place.stat() for place in (path, path.parent) if place.exists()), None)
    if found is None or found.st_uid == 0:
        return None
    gid, groups = _groups(found.st_uid, found.st_gid)
    # Groups before user: afterwards there is no right left to change them.
    os.setgroups(groups)
    os.setgid(gid)
    os.setuid(found.st_uid)
    return found.st_uid


def _groups(uid: int, gid: int) -> tuple[int, list[int]]:
    """A user whom nobody has named (systemd's DynamicUser, a container's) has only the file's group."""
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return gid, []
    return user.pw_gid, os.getgrouplist(user.pw_name, user.pw_gid)
