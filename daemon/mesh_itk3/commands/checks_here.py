"""The checks that need this machine only: certificate, handlers, ledger, payload directory, patient register."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from mesh_itk3.adapters.certificate import EXPIRES_SOON
from mesh_itk3.adapters.disk_space import MIB, free_bytes, problem_of
from mesh_itk3.adapters.output_marks import Place
from mesh_itk3.commands.console import counted
from mesh_itk3.commands.finding import Finding, good, noted, wrong
from mesh_itk3.commands.letter_places import letter_places
from mesh_itk3.commands.opened import user_name
from mesh_itk3.ports import LedgerUnavailable, RegisterUnusable
from mesh_itk3.registry import Found, Registry
from mesh_itk3.settings import Settings
from mesh_itk3.settings_tables import LedgerSettings


def configuration_file(config: Path) -> Iterator[Finding]:
    """Whether the service may read it, too: root, who has read it, may read everything."""
    if not os.access(config, os.R_OK):
        yield wrong("configuration", f"{config} is not readable by {user_name()}", f"Let {user_name()} read it.")


def certificate(settings: Settings) -> Iterator[Finding]:
    """Readable, in force for a while, and the key is its own."""
    mesh = settings.mesh
    if mesh.client_certificate is None or mesh.client_key is None:
        yield good("certificate", "none configured, none needed for a sandbox")
        return
    yield certificate_finding(mesh.client_certificate, mesh.client_key, datetime.now(UTC))


def certificate_finding(certificate_file: Path, key_file: Path, now: datetime) -> Finding:
    """The first thing that is wrong with a client certificate and its key, or that nothing is."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    check = "certificate"
    try:
        found = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        key = load_pem_private_key(key_file.read_bytes(), password=None)
    except OSError as error:
        return wrong(check, f"cannot be read: {error.strerror}", f"Let {user_name()} read {certificate_file} and {key_file}.")
    except TypeError:
        return wrong(
            check, "the key is protected by a passphrase", f"Write {key_file} without one, readable to the service only."
        )
    except ValueError:
        return wrong(check, "certificate or key is not PEM", f"Look at {certificate_file} and {key_file}.")
    if found.public_key() != key.public_key():
        return wrong(check, "the key belongs to another certificate", f"{key_file} must be the key of {certificate_file}.")
    return _validity(found.not_valid_before_utc, found.not_valid_after_utc, now)


def _validity(begins: datetime, ends: datetime, now: datetime) -> Finding:
    days = (ends - now).days
    if now < begins:
        return wrong("certificate", f"not valid before {begins:%Y-%m-%d}", "Look at the clock of this machine.")
    if now >= ends:
        return wrong("certificate", f"expired on {ends:%Y-%m-%d}", "Order a new certificate.")
    if ends - now < EXPIRES_SOON:
        return noted("certificate", f"expires in {days} days, on {ends:%Y-%m-%d}", "Order a new one now: it takes days.")
    return good("certificate", f"valid until {ends:%Y-%m-%d}, {days} days")


def handlers(registry: Registry) -> Iterator[Finding]:
    """Each installed handler."""
    if not registry.all:
        yield wrong("handlers", "none is installed", "Install mesh-itk3 again; its own handlers come with it.")
    yield from (_handler(found) for found in registry.all)


def _handler(found: Found) -> Finding:
    check = f"handler {found.name}"
    if found.loaded is not None:
        return good(check, f"{found.provenance}, takes {', '.join(sorted(found.loaded.declaration.workflows))}")
    if not found.is_enabled:
        return noted(check, f"{found.provenance} is disabled", "Its messages stay in MESH, which gives up after five days.")
    return wrong(check, f"{found.provenance} {found.problem}", "Repair or disable it; until then its messages stay in MESH.")


def senders(settings: Settings, registry: Registry) -> Iterator[Finding]:
    """Where a list of senders does not hold: easily missed, and nothing else would say so."""
    looked_up = [name for name in sorted(registry.workflows) if (row := registry.workflow(name)) and row.routed_by_look_up]
    for mailbox_id, mailbox in settings.mailboxes.items():
        if looked_up and (mailbox.known_senders or mailbox.authorised_senders):
            yield noted(
                f"senders of {mailbox_id}",
                f"are not checked on {', '.join(looked_up)}: there MESH looks the practice up, and anybody may write",
                "Where you know who writes to you: [workflows.…] routed_by_look_up = false.",
            )


def ledger(settings: Settings) -> Iterator[Finding]:
    """There, or possible; of a schema that we know. Is not made, is not brought up to date."""
    file = settings.ledger.sqlite_file
    if file is not None:
        place = _place("ledger", file.parent, f"{file} is not there yet; `mesh-itk3 run` makes it")
        if place.is_wrong or not file.exists():
            yield place
            return
    try:
        schema = _schema(settings.ledger)
        yield schema
        yield from _server(settings.ledger)
        if schema.outcome == "ok" and file is not None:
            yield from _unserved(settings)
    except LedgerUnavailable as unusable:
        yield wrong("ledger", str(unusable), f"Look at {settings.ledger.shown}.")


def _schema(settings: LedgerSettings) -> Finding:
    """Raises LedgerUnavailable for a ledger that cannot be reached, is damaged or newer than this program."""
    from mesh_itk3.adapters.ledger import schema_revision
    from mesh_itk3.adapters.ledger.schema import REVISION

    revision = schema_revision(settings.url.get_secret_value())
    if revision is None:
        return good("ledger", f"{settings.shown} is empty; `mesh-itk3 run` makes its tables")
    if revision == REVISION:
        return good("ledger", f"{settings.shown}, schema {revision}")
    if revision < REVISION:  # migrations are numbered
        return noted("ledger", f"{settings.shown} has the older schema {revision}", "`mesh-itk3 run` brings it up to date.")
    return wrong(
        "ledger", f"its schema {revision} is newer than this program, which knows {REVISION}", "Install the newer version."
    )


def _unserved(settings: Settings) -> Iterator[Finding]:
    """Of a ledger that has this program's schema."""
    from mesh_itk3.adapters.ledger import open_ledger, owner_name
    from mesh_itk3.unserved import unserved_mailboxes

    with closing(open_ledger(settings.ledger.url.get_secret_value(), owner=f"command:{owner_name()}")) as ledger:
        for problem in unserved_mailboxes(settings, ledger):
            advice = "`mesh-itk3 owed` lists it. Configure the mailbox again, or tell the senders another way."
            yield noted("unserved mailbox", problem, advice)


def _server(settings: LedgerSettings) -> Iterator[Finding]:
    """What a PostgreSQL server says of its own durability. Raises LedgerUnavailable."""
    from mesh_itk3.adapters.ledger import undurable_settings

    if settings.sqlite_file is None:
        undurable = undurable_settings(settings.url.get_secret_value())
        if undurable:
            yield wrong(
                "ledger's server",
                f"does not keep what it has committed: {', '.join(undurable)}",
                "Set them to on: after a power cut messages would be lost that MESH no longer has.",
            )
        else:
            yield good("ledger's server", "fsync, full_page_writes and synchronous_commit are on")


def payload_directory(settings: Settings) -> Iterator[Finding]:
    """Writable, or one that we may make."""
    yield _place("payloads", settings.payloads.directory, str(settings.payloads.directory))


def room(settings: Settings) -> Iterator[Finding]:
    """Whether as much of each disk is free as collecting wants."""
    for name, directory in settings.kept_in.items():
        check = f"disk of {name}"
        if problem := problem_of(directory, settings.limits.free_bytes_min):
            yield wrong(
                check, f"{problem} ({directory})", "Until it is mended nothing is collected; MESH keeps messages for five days."
            )
        elif (free := free_bytes(directory)) is None:
            yield noted(check, f"the file system of {directory} does not say how much is free", "Watch it by other means.")
        else:
            yield good(check, f"{free // MIB} MiB free")


def letters(settings: Settings, registry: Registry) -> Iterator[Finding]:
    """Whether letters may be filed where they are to be."""
    for each in letter_places(settings, registry):
        check = f"letters of {', '.join(each.handlers)}"
        if each.problem:
            yield wrong(
                check,
                f"{each.output}: {each.problem}",
                "Until then letters wait in `accepted`, and no sender is told that one was filed.",
            )
            continue
        place = _place(check, each.output, str(each.output))
        if place.is_wrong or each.place is not Place.NEW:
            yield place
        else:
            yield noted(check, f"{each.output} has had no letter yet", "The first one marks it: see that its share is mounted.")


def _place(check: str, directory: Path, text: str) -> Finding:
    """Whether the daemon may write here, or make the directory: asked of the operating system, writing nothing."""
    there = next((place for place in (directory, *directory.parents) if place.exists()), directory)
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        return good(check, text)
    return wrong(
        check, f"{there} cannot be written by {user_name()}", "Run this as the service's user (or as root), or mend its owner."
    )


def register(settings: Settings) -> Iterator[Finding]:
    """Whether it can say anything now."""
    if settings.patients is None:
        yield noted("patient register", "none configured", "Every business decision waits for a person.")
        return
    from mesh_itk3.adapters.clock import SystemClock
    from mesh_itk3.adapters.patient_register import CsvPatientRegister

    patients = settings.patients
    try:
        count = CsvPatientRegister(patients.file, max_age_days=patients.max_age_days, clock=SystemClock()).count()
    except RegisterUnusable as unusable:
        yield wrong(
            "patient register",
            f"{patients.file} cannot be used: {unusable}",
            "Write a fresh, complete file. Until then every business decision waits for a person.",
        )
        return
    yield good("patient register", f"{patients.file}, {counted(count, 'patient')}")
