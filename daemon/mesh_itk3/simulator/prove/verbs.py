"""An operator's commands, as a forked child carries them out: those of the command line, which dies while they run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from mesh_itk3.commands.abandon import abandon_message
from mesh_itk3.commands.console import CommandRefused
from mesh_itk3.commands.hold import hold_message, release_message
from mesh_itk3.commands.respond import record_decision
from mesh_itk3.commands.retry import retry_all, retry_one
from mesh_itk3.ports import LedgerUnavailable, StorageFailed

WHO: Final = "Prove"
WHY: Final = "handled_by_hand"
REFUSED: Final = 1


def act(order: Mapping[str, Any]) -> int:
    """The exit code, as the command line gives it."""
    try:
        return int(VERBS[order["verb"]](Path(order["config"]), order))
    except CommandRefused as refused:
        sys.stderr.write(f"{refused}\n")
        return int(refused.exit_code)
    except (LedgerUnavailable, StorageFailed) as refused:
        sys.stderr.write(f"{refused}\n")
        return REFUSED


def _respond(config: Path, order: Mapping[str, Any]) -> int:
    return record_decision(config, None, order["id"], order["code"], by=WHO, mailbox_id=None, as_json=False)


def _hold(config: Path, order: Mapping[str, Any]) -> int:
    return hold_message(config, None, order["id"], by=WHO, mailbox_id=None, as_json=False)


def _release(config: Path, order: Mapping[str, Any]) -> int:
    return release_message(config, None, order["id"], by=WHO, mailbox_id=None, as_json=False)


def _abandon(config: Path, order: Mapping[str, Any]) -> int:
    return abandon_message(config, None, order["id"], by=WHO, reason=WHY, mailbox_id=None, as_json=False)


def _retry(config: Path, order: Mapping[str, Any]) -> int:
    return retry_one(config, None, order["id"], by=WHO, mailbox_id=None, as_json=False)


def _retry_all(config: Path, _: Mapping[str, Any]) -> int:
    return retry_all(config, None, by=WHO, mailbox_id=None, reason=None, as_json=False)


VERBS: Final[Mapping[str, Callable[[Path, Mapping[str, Any]], int]]] = {
    "respond": _respond,
    "hold": _hold,
    "release": _release,
    "abandon": _abandon,
    "retry": _retry,
    "retry --all": _retry_all,
}
