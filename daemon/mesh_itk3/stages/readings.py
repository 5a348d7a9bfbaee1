"""What one stage has read and the next will need a moment later."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from mesh_itk3.itk3.envelope import Reading

KEPT_BYTES: Final = 2_097_152
"""Bytes of messages whose reading is kept from interpret to dispatch; a tree takes some ten times as much."""


@dataclass(slots=True)
class Readings:
    """What interpret has read, for dispatch a moment later: the same bytes need not be parsed twice. Losing one costs a
    second parse and nothing else.
    """

    _kept: OrderedDict[str, tuple[Reading, bytes]] = field(default_factory=OrderedDict)
    _bytes: int = 0
    _lock: Lock = field(default_factory=Lock)

    def keep(self, name: str, reading: Reading, raw: bytes) -> None:
        """Under its payload's name; the oldest give way."""
        with self._lock:
            self._kept[name] = (reading, raw)
            self._bytes += len(raw)
            while self._bytes > KEPT_BYTES:
                _, (_, oldest) = self._kept.popitem(last=False)
                self._bytes -= len(oldest)

    def take(self, name: str) -> tuple[Reading, bytes] | None:
        """Once: whoever takes it has it for itself."""
        with self._lock:
            found = self._kept.pop(name, None)
            self._bytes -= len(found[1]) if found else 0
            return found
