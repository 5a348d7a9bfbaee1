"""How much of a disk is free, and whether it can be written at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from mesh_itk3.adapters.durable import storage_failures
from mesh_itk3.ports import StorageFailed

MIB: Final = 1024 * 1024


def free_bytes(directory: Path) -> int | None:
    """What the service may still write below this directory, or where it would be made; None where the file system does not
    say (some network shares). Raises StorageFailed. A quota is not seen before it is used up.
    """
    there = _statvfs(directory)
    return there.f_bavail * there.f_frsize if there.f_blocks else None


def require_room(directories: Iterable[Path], least: int) -> None:
    """Raises StorageFailed where less than so many bytes are free, or where nothing can be asked. 0: room is not asked for."""
    for directory in directories if least else ():
        free = free_bytes(directory)
        if free is not None and free < least:
            raise StorageFailed(too_little(least))


def problem_of(directory: Path, least: int) -> str | None:
    """Why nothing would be collected now, as far as can be told without writing."""
    try:
        if _statvfs(directory).f_flag & os.ST_RDONLY:
            return "it is mounted read-only"
        require_room([directory], least)
    except StorageFailed as refused:
        return str(refused)
    return None


def too_little(least: int) -> str:
    """In words, the same for every amount that is free: a change of it is no news."""
    return f"less than {least / MIB:.0f} MiB are free" if least >= MIB else f"less than {least} bytes are free"


def _statvfs(directory: Path) -> os.statvfs_result:
    with storage_failures():
        there = next((place for place in (directory, *directory.parents) if place.exists()), directory)
        return os.statvfs(there)
