"""`mesh-itk3 check`: everything that the daemon needs, looked at and left unchanged."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from mesh_itk3.commands import checks_here
from mesh_itk3.commands.console import Exit, counted, print_json, say, shown
from mesh_itk3.commands.finding import Finding, good, noted, wrong
from mesh_itk3.commands.opened import become_owner, read_settings, user_name
from mesh_itk3.ports import CertificateUnusable, CredentialsRejected, Mailbox, MailboxUnavailable
from mesh_itk3.registry import registry_of
from mesh_itk3.settings import Settings
from mesh_itk3.settings_advice import advice
from mesh_itk3.settings_errors import ConfigInvalid

HANDSHAKES_AT_ONCE = 8

BuildMailbox = Callable[[Settings, str], Mailbox]


def check_everything(config: Path, credentials: Path | None, *, offline: bool, as_json: bool) -> int:
    """Prints one line for each thing. A wrong configuration ends it: raises ConfigInvalid after the `--json` document."""
    findings: list[Finding] = []
    try:
        for finding in _findings(config, credentials, offline=offline):
            findings.append(finding)
            if not as_json:
                _print(finding)
    except ConfigInvalid as invalid:
        if as_json:
            _print_document([*findings, *(wrong("configuration", problem) for problem in invalid.problems)])
        raise
    if as_json:
        _print_document(findings)
    return Exit.FAILED if any(finding.is_wrong for finding in findings) else Exit.DONE


def _findings(config: Path, credentials: Path | None, *, offline: bool) -> Iterator[Finding]:
    settings = read_settings(config, credentials, needs_secrets=True)
    yield good(
        "configuration", f"{config}: {counted(len(settings.mailboxes), 'mailbox', 'mailboxes')}, {settings.mesh.environment}"
    )
    yield good("credentials", "shared key and a password for each mailbox are there")
    yield from (noted("advice", line) for line in advice(config, credentials, os.environ))
    # From here on as the service: it reads configuration, certificate and key with its own rights, and so do its handlers.
    # Secrets have been read; those systemd hands over as values. Before the first run nobody owns a ledger: then as root.
    become_owner(settings)
    yield from checks_here.configuration_file(config)
    yield from checks_here.certificate(settings)
    registry = registry_of(settings)
    yield from checks_here.handlers(registry)
    yield from checks_here.senders(settings, registry)
    if not offline:
        yield from _handshakes(settings)
    yield from checks_here.ledger(settings)
    yield from checks_here.payload_directory(settings)
    yield from checks_here.letters(settings, registry)
    yield from checks_here.room(settings)
    yield from checks_here.register(settings)


def _print(finding: Finding) -> None:
    say(shown(f"{finding.mark} {finding.check}: {finding.text}"))
    if finding.advice:
        say(shown(f"    {finding.advice}"))


def _print_document(findings: Sequence[Finding]) -> None:
    is_ok = not any(finding.is_wrong for finding in findings)
    print_json({"ok": is_ok, "checks": [asdict(finding) for finding in findings]})


def _handshakes(settings: Settings) -> Iterator[Finding]:
    from mesh_itk3.composition import build_mailbox

    with ThreadPoolExecutor(HANDSHAKES_AT_ONCE) as pool:
        yield from pool.map(lambda mailbox_id: handshake(settings, mailbox_id, build_mailbox), settings.mailboxes)


def handshake(settings: Settings, mailbox_id: str, build: BuildMailbox) -> Finding:
    """One real handshake with MESH."""
    check = f"mailbox {mailbox_id}"
    try:
        mailbox = build(settings, mailbox_id)
        try:
            mailbox.handshake()
        finally:
            mailbox.close()
    except CertificateUnusable as unusable:
        return wrong(
            check,
            f"its certificate files cannot be used ({type(unusable.__cause__).__name__})",
            f"Let {user_name()} read [mesh] client_certificate, client_key and ca_file, all PEM, the key without a passphrase.",
        )
    except CredentialsRejected:
        return wrong(
            check,
            "MESH refuses its credentials",
            "Look at mailbox id, password, shared key, certificate and the clock of this machine.",
        )
    except MailboxUnavailable as away:
        return wrong(
            check, f"MESH cannot be reached ({away.reason})", "Look at network, proxy, firewall and NHS service status."
        )
    except ValueError as unusable:  # MeshConnection names the field, never its value
        return wrong(check, f"cannot be asked: {unusable}", "Look at [mesh] and at the mailbox's table.")
    return good(check, "MESH answered the handshake")
