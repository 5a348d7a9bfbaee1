"""One line of `mesh-itk3 check`. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check saw. The field names are a contract of `check --json`."""

    check: str
    outcome: Literal["ok", "warning", "failed"]
    text: str
    advice: str = ""
    """What to do about it."""

    @property
    def is_wrong(self) -> bool:
        return self.outcome == "failed"

    @property
    def mark(self) -> str:
        return {"ok": "✓", "warning": "!", "failed": "✗"}[self.outcome]


def good(check: str, text: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", text)


def noted(check: str, text: str, advice: str = "") -> Finding:
    """It works, but somebody should look: never fails the check."""
    return Finding(check, "warning", text, advice)


def wrong(check: str, text: str, advice: str = "") -> Finding:
    """It does not work."""
    return Finding(check, "failed", text, advice)
