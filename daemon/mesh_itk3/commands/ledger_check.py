"""`mesh-itk3 ledger check`: whether the ledger is sound, and everything there that it names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from mesh_itk3.adapters.ledger import open_ledger
from mesh_itk3.adapters.ledger.health import broken_rules, damage
from mesh_itk3.adapters.payload_store import DirectoryPayloadStore
from mesh_itk3.commands.console import Exit, counted, print_json, say, shown
from mesh_itk3.commands.finding import Finding, good, wrong
from mesh_itk3.commands.sqlite_ledger import settings_of_file
from mesh_itk3.ports import LedgerUnavailable, MessageRecord, PayloadMissing, PayloadStore, Records
from mesh_itk3.settings import Settings

MOST_NAMED = 20
"""Messages that are named one by one; a guess: more do not fit a screen."""
WAY_OUT = "Stop the service and put a backup in its place: `mesh-itk3 ledger restore FILE --by WHO`. Keep this file."


def check_ledger(config: Path, credentials: Path | None, *, deep: bool, as_json: bool) -> int:
    """Prints one line for each thing; changes nothing. `deep`: reads every payload and compares its digest."""
    settings, file = settings_of_file(config, credentials, "check")
    findings: list[Finding] = []
    for finding in _findings(settings, file, deep=deep):
        findings.append(finding)
        if not as_json:
            _print(finding)
    is_sound = not any(finding.is_wrong for finding in findings)
    if as_json:
        print_json({"ok": is_sound, "checks": [asdict(finding) for finding in findings]})
    return Exit.DONE if is_sound else Exit.FAILED


def _print(finding: Finding) -> None:
    say(shown(f"{finding.mark} {finding.check}: {finding.text}"))
    if finding.advice:
        say(shown(f"    {finding.advice}"))


def _findings(settings: Settings, file: Path, *, deep: bool) -> Iterator[Finding]:
    if not file.is_file():
        yield wrong(
            "file", f"{file} is not there", "`mesh-itk3 run` makes a new ledger; a backup is put there by `ledger restore`."
        )
        return
    try:
        found = [wrong("file", line, WAY_OUT if not number else "") for number, line in enumerate(damage(file))]
        yield from found or [good("file", f"{file} is whole")]
        if not found:
            yield from _content(settings, file, deep=deep)
    except LedgerUnavailable as unusable:
        yield wrong("file", str(unusable), WAY_OUT)


def _content(settings: Settings, file: Path, *, deep: bool) -> Iterator[Finding]:
    """Raises LedgerUnavailable where the schema is not this program's."""
    ledger = open_ledger(settings.ledger.url.get_secret_value(), owner="command")
    try:
        broken = [wrong("rules", f"{count} {words}", "Report it: this must not happen.") for words, count in broken_rules(file)]
        yield from broken or [good("rules", "nothing contradicts itself; everything owed has its bytes")]
        payloads = DirectoryPayloadStore(settings.payloads.directory)
        yield from _payloads(ledger, payloads, deep=deep)
    finally:
        ledger.close()


def _payloads(ledger: Records, payloads: PayloadStore, *, deep: bool) -> Iterator[Finding]:
    advice = "`mesh-itk3 trace ID` says how far it had come. If it was not finished, ask its sender for it."
    there = gone = 0
    for record, _ in ledger.messages():
        there += record.payload is not None
        # Looked at again where something is wrong: beside a running daemon it may just have been pruned.
        if _problem(record, payloads, deep=deep) and (problem := _problem(ledger.get(record.key), payloads, deep=deep)):
            gone += 1
            if gone <= MOST_NAMED:
                yield wrong(
                    "payload", f"{record.key.mesh_message_id} in {record.key.mailbox_id} ({record.state}): {problem}", advice
                )
    if gone > MOST_NAMED:
        yield wrong("payload", f"and {gone - MOST_NAMED} more", advice)
    if not gone:
        how = "and has its digest" if deep else "with its size"
        yield good("payloads", f"{counted(there, 'payload')}: each is there {how}")


def _problem(record: MessageRecord | None, payloads: PayloadStore, *, deep: bool) -> str | None:
    payload = record.payload if record else None
    if payload is None or (not deep and payloads.is_whole(payload.name, payload.bytes)):
        return None
    try:
        found, _ = payloads.look_at(payload.name)
    except PayloadMissing:
        return "its bytes are not in the payload store"
    if found.bytes != payload.bytes:
        return f"its file has {found.bytes} bytes and not {payload.bytes}"
    return None if found.sha256 == payload.sha256 else "its bytes are not those that were received: the digest differs"
