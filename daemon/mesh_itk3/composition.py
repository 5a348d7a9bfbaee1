"""Builds a daemon from its settings: the one place where adapters meet stages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from datetime import timedelta
from functools import partial
from typing import Final

from mesh_itk3 import events
from mesh_itk3.adapters.disk_space import require_room
from mesh_itk3.adapters.ledger import migrate, open_ledger, owner_name, settle_log
from mesh_itk3.adapters.letters import LetterFiles
from mesh_itk3.adapters.mesh_mailbox import MeshMailbox
from mesh_itk3.adapters.mesh_session import MeshConnection
from mesh_itk3.adapters.output_marks import OutputMarks
from mesh_itk3.adapters.patient_register import CsvPatientRegister, RegisterPatients
from mesh_itk3.adapters.payload_store import DirectoryPayloadStore
from mesh_itk3.adapters.spool import DirectorySpool
from mesh_itk3.daemon import Daemon
from mesh_itk3.itk3.envelope import Caps
from mesh_itk3.itk3.verdict import Strictness
from mesh_itk3.ports import Clock, StageLedger
from mesh_itk3.registry import Registry
from mesh_itk3.scheduler import Bell, Complaints, Progress
from mesh_itk3.settings import Settings
from mesh_itk3.stages.collect import Collector
from mesh_itk3.stages.guard import Guard
from mesh_itk3.stages.sweep import has_kept_payloads
from mesh_itk3.stages.world import Practice, World

COLLECTING_AT_ONCE: Final = 4
"""Messages of one mailbox fetched at the same time; measured with `make bench`."""


def build_mailbox(settings: Settings, mailbox_id: str) -> MeshMailbox:
    """The MESH mailbox of this id, over mesh-client. Connects to nothing yet. Raises OSError for unreadable
    certificate files.
    """
    mailbox = settings.mailboxes[mailbox_id]
    mesh = settings.mesh
    return MeshMailbox(
        MeshConnection(
            environment=mesh.environment,
            url=mesh.url,
            mailbox_id=mailbox_id,
            password=mailbox.password,
            shared_key=mesh.shared_key,
            client_certificate=mesh.client_certificate,
            client_key=mesh.client_key,
            ca_file=mesh.ca_file,
        )
    )


def compose(settings: Settings, registry: Registry, *, clock: Clock, stopping: threading.Event) -> Daemon:
    """Adapters and stages for these settings. Brings the ledger's schema up to date first, after a backup copy. Holds
    and connects to nothing yet. Raises LedgerUnavailable, StorageFailed.
    """
    url = settings.ledger.url.get_secret_value()
    settle_log(url)
    migrated = migrate(url, clock.now())
    if migrated.upgraded:
        events.emit(events.LEDGER_UPGRADED, schema=migrated.revision)
    ledger = open_ledger(url, owner=owner_name())
    progress = Progress(clock.monotonic)
    world = build_world(settings, registry, ledger, clock=clock, progress=progress.beat, is_stopping=stopping.is_set)
    daemon = Daemon(
        settings=settings,
        registry=registry,
        ledger=ledger,
        payloads=world.payloads,
        clock=clock,
        mailboxes={mailbox_id: build_mailbox(settings, mailbox_id) for mailbox_id in settings.mailboxes},
        collectors={},
        world=world,
        progress=progress,
        stopping=stopping,
        complaints=Complaints(clock.monotonic),
    )
    daemon.collectors = {mailbox_id: _collector(daemon, mailbox_id) for mailbox_id in settings.mailboxes}
    daemon.guards = {mailbox_id: Guard.restored(mailbox_id, ledger, clock) for mailbox_id in settings.mailboxes}
    daemon.bells = {mailbox_id: Bell(clock.monotonic) for mailbox_id in settings.mailboxes}
    if migrated.is_new:
        _say_what_a_new_ledger_does_not_know(daemon)
    return daemon


def _say_what_a_new_ledger_does_not_know(daemon: Daemon) -> None:
    """Letters in the payload store say that there was another ledger, which is lost or elsewhere: nobody should learn it from
    a sweep a day later.
    """
    for mailbox_id in daemon.mailbox_ids:
        if count := sum(1 for _ in daemon.payloads.orphans(daemon.clock.now() + timedelta(days=1), mailbox_id)):
            events.emit(events.PAYLOADS_UNEXPLAINED, mailbox_id=mailbox_id, count=count)


def build_world(
    settings: Settings,
    registry: Registry,
    ledger: StageLedger,
    *,
    clock: Clock,
    progress: Callable[[], None],
    is_stopping: Callable[[], bool],
    owed: Callable[[Collection[str]], None] = lambda _: None,
) -> World:
    """What the stages after collect are given, in whichever process they run."""
    return World(
        ledger=ledger,
        payloads=DirectoryPayloadStore(settings.payloads.directory),
        routes=registry,
        clock=clock,
        patients=_patients(settings, clock),
        files=LetterFiles(OutputMarks(settings.payloads.directory)),
        practices={mailbox_id: _practice(settings, mailbox_id) for mailbox_id in settings.mailboxes},
        caps=Caps(max_bytes=settings.limits.max_message_bytes),
        strictness={name: Strictness(workflow.strictness) for name, workflow in settings.workflows.items()},
        supported_attachments=frozenset(settings.attachments.supported),
        full_acknowledgement=frozenset(name for name, workflow in settings.workflows.items() if workflow.full_acknowledgement),
        deadlines=settings.decisions.rules,
        progress=progress,
        owed=owed,
        is_stopping=is_stopping,
    )


def _patients(settings: Settings, clock: Clock) -> RegisterPatients:
    if settings.patients is None:
        return RegisterPatients(None)
    return RegisterPatients(
        CsvPatientRegister(settings.patients.file, max_age_days=settings.patients.max_age_days, clock=clock)
    )


def _practice(settings: Settings, mailbox_id: str) -> Practice:
    mailbox = settings.mailboxes[mailbox_id]
    return Practice(
        ods_code=mailbox.ods_code,
        ods_codes=mailbox.our_ods_codes,
        persons=_set(mailbox.persons),
        known_senders=_set(mailbox.known_senders),
        authorised_senders=_set(mailbox.authorised_senders),
        leaves_uncorrelated=mailbox.uncorrelated == "leave",
    )


def _set(listed: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if listed is None else frozenset(listed)


def _collector(daemon: Daemon, mailbox_id: str) -> Collector:
    mailbox = daemon.settings.mailboxes[mailbox_id]
    if has_kept_payloads(daemon.ledger, mailbox_id):
        daemon.payloads.expect(mailbox_id)
    spool = daemon.settings.spool_of(mailbox_id)
    places = [place for place in (*daemon.settings.kept_in.values(), spool) if place]
    return Collector(
        mailbox=daemon.mailboxes[mailbox_id],
        ledger=daemon.ledger,
        payloads=daemon.payloads,
        routes=daemon.registry,
        clock=daemon.clock,
        spool=DirectorySpool(spool) if spool else None,
        leaves_uncorrelated=mailbox.uncorrelated == "leave",
        workers=COLLECTING_AT_ONCE,
        collected=lambda: daemon.look(),  # noqa: PLW0108  set later
        progress=daemon.progress.beat,
        is_stopping=daemon.stopping.is_set,
        check_room=partial(require_room, places, daemon.settings.limits.free_bytes_min),
    )
