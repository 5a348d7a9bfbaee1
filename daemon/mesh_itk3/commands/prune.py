"""`mesh-itk3 prune`: removes now what the configured retention lets go of, or shows what would go."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mesh_itk3 import events
from mesh_itk3.adapters.payload_store import DirectoryPayloadStore
from mesh_itk3.commands.console import CommandRefused, Exit, counted, instant, print_json, say, say_moment
from mesh_itk3.commands.opened import existing_ledger, ledger_to_change, read_settings
from mesh_itk3.ports import MailboxStates, Prunable
from mesh_itk3.retention import is_held_back
from mesh_itk3.stages.prune import Pruned, counted_from, expired, prune

_MB = 1_000_000
NOTHING = "nothing is ever pruned: the configuration has no [retention]"
_KINDS = {"payloads": "payload", "events": "line of a timeline", "response_bytes": "response's bytes"}
_MANY = {"payloads": "payloads", "events": "lines of timelines", "response_bytes": "responses' bytes"}


def prune_now(config: Path, credentials: Path | None, *, dry_run: bool, as_json: bool, by_clock: bool = False) -> int:
    """Bounded steps, so that a daemon beside it goes on. With `dry_run` nothing is changed. Refused while MESH does not vouch
    for this machine's clock, unless a person does (`by_clock`).
    """
    settings = read_settings(config, credentials, needs_secrets=False)
    rules, now = settings.retention.rules, datetime.now(UTC)
    gone, mailbox_ids = expired(rules, now), tuple(settings.mailboxes)
    with (existing_ledger if dry_run else ledger_to_change)(settings) as ledger:
        if not dry_run and not by_clock and rules.is_anything_pruned:
            _check_clock(ledger, mailbox_ids, now)
        if dry_run:
            found = [_row(each) for each in ledger.prunable(gone, mailbox_ids)]
        else:
            payloads = DirectoryPayloadStore(settings.payloads.directory)
            steps = prune(ledger, payloads, gone, mailbox_ids, now)
            with _progress(steps) as watched:
                found = _summed(watched)
    if as_json:
        print_json({"dry_run": dry_run, "is_anything_configured": rules.is_anything_pruned, "pruned": found})
        return Exit.DONE
    for row in found:
        say(_line(row, dry_run=dry_run))
    if not found:
        say("nothing is old enough" if rules.is_anything_pruned else NOTHING)
    return Exit.DONE


def _check_clock(ledger: MailboxStates, mailbox_ids: Iterable[str], now: datetime) -> None:
    """Raises CommandRefused. A clock years ahead would make everything old."""
    answered_at = counted_from(ledger, mailbox_ids, now)
    if answered_at is not None and not is_held_back(now, answered_at):
        return
    answered = "has never answered here" if answered_at is None else f"last answered at {say_moment(answered_at)}"
    raise CommandRefused(
        f"this machine's clock says {say_moment(now)}, and MESH, which would refuse a wrong one, {answered}: nothing was"
        " removed. If the clock is right: mesh-itk3 prune --by-clock"
    )


def _row(each: Prunable) -> dict[str, Any]:
    state = each.state.value if each.state else None
    return {"kind": each.kind, "state": state, "count": each.count, "bytes": each.bytes, "oldest_at": instant(each.oldest_at)}


def _summed(steps: Iterable[Pruned]) -> list[dict[str, Any]]:
    rows: dict[tuple[str, str | None], dict[str, Any]] = {}
    for step in steps:
        state = step.state.value if step.state else None
        row = rows.setdefault((step.kind, state), {"kind": step.kind, "state": state, "count": 0, "bytes": step.bytes and 0})
        row["count"] += step.count
        row["bytes"] = None if step.bytes is None else row["bytes"] + step.bytes
    found = [row for row in rows.values() if row["count"]]
    for row in found:
        events.emit(events.RETENTION_PRUNED, outcome=row["kind"], state=row["state"], count=row["count"], bytes=row["bytes"])
    return found


def _line(row: dict[str, Any], *, dry_run: bool) -> str:
    what = counted(row["count"], _KINDS[row["kind"]], _MANY[row["kind"]])
    of = f" of {row['state']} messages" if row["state"] else ""
    size = f", {row['bytes'] / _MB:.1f} MB" if row["bytes"] is not None else ""
    oldest = f", the oldest of {say_moment(datetime.fromisoformat(row['oldest_at']))}" if row.get("oldest_at") else ""
    return f"{what}{of}{size}{oldest}{': would go' if dry_run else ': gone'}"


@contextmanager
def _progress(steps: Iterable[Pruned]) -> Iterator[Iterable[Pruned]]:
    """On a terminal, what has gone so far; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield steps
        return
    from rich.console import Console

    with Console(stderr=True).status("pruning") as status:

        def watched() -> Iterator[Pruned]:
            done = 0
            for step in steps:
                done += step.count
                status.update(f"pruning: {done} so far")
                yield step

        yield watched()
