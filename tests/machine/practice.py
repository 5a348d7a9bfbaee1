"""One practice in this process: the real composition over a ledger and a payload store in memory-backed files, MESH as `Wire`,
a clock that stands still, and a process that can die at any call of a port.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import structlog

from machine.oracle import FILED, Oracle
from machine.wire import Wire
from mesh_itk3.adapters.ledger import migrate
from mesh_itk3.composition import compose
from mesh_itk3.daemon import Daemon
from mesh_itk3.deadlines import Deadlines
from mesh_itk3.handler import BusinessCode, Context, Declaration, Defer, Handler, HandlerSettings, Message, Respond, RetryLater
from mesh_itk3.ports import (
    CredentialsRejected,
    HeldByAnother,
    LeaseLost,
    LedgerConflict,
    LedgerUnavailable,
    MailboxUnavailable,
    StorageFailed,
)
from mesh_itk3.registry import Registry
from mesh_itk3.settings import Settings, load_settings
from mesh_itk3.simulator.prove.points import watch
from mesh_itk3.stages.readings import Readings
from mesh_itk3.stages.respond import respond
from support.stage_world import ACK_WORKFLOW, PRACTICE, WORKFLOW, FakeClock, a_registry

MEMORY: Final = Path("/dev/shm")  # noqa: S108 - speed; every directory in it has a name of its own
LEDGER_WRITES: Final = (
    "act", "apply", "apply_responses", "claim", "claim_responses", "let_go_of_payloads", "make_all_due", "mark_seen",
    "prune_events", "prune_response_bytes", "record_acknowledged", "record_all_received", "record_mailbox_state",
    "record_received", "recover", "replace_payload", "sweep", "unclaim",
)  # fmt: skip
WRITES: Final = {
    "payloads": ("before payloads.draft", "before payloads.keep", "before payloads.write"),
    "letters": ("before files.file",),
    "ledger": tuple(f"before ledger.{verb}" for verb in LEDGER_WRITES),
}
"""The points at which a full disk is noticed."""
EVERY_FAULT: Final = (StorageFailed, LedgerUnavailable, LedgerConflict, MailboxUnavailable, CredentialsRejected)
"""What the scheduler catches, says and tries again at the next turn."""
_TEMPLATE: Final = tempfile.TemporaryDirectory()


class Killed(BaseException):
    """The process is dead: nothing that it does from here on reaches anything."""


@dataclass
class Points:
    """Passed before and after every call of a port: there the process dies, the disk is full, the lease is lost."""

    dies_in: int | None = None
    loses_lease_in: int | None = None
    full: frozenset[str] = frozenset()
    refuses: int = 0
    """So many writes more, then somebody has made room."""
    is_dead: bool = False

    def __call__(self, point: str) -> None:
        if self.is_dead:
            raise Killed(point)
        for disk in self.full:
            if point in WRITES[disk]:
                self.refuses -= 1
                self.full = self.full if self.refuses > 0 else frozenset()
                raise LedgerUnavailable("disk full") if disk == "ledger" else StorageFailed("No space left on device (ENOSPC)")
        if self.dies_in is not None:
            self.dies_in -= 1
            if self.dies_in <= 0:
                self.die()
        if self.loses_lease_in is not None and point in WRITES["ledger"]:
            self.loses_lease_in -= 1
            if self.loses_lease_in <= 0:
                raise LeaseLost("another daemon has taken over")

    def die(self) -> None:
        """Now."""
        self.is_dead = True
        raise Killed


class FilingHandler(Handler):
    """Does to each call what stands next in `script`. What it has filed it answers as filed, as a handler has to."""

    declaration = Declaration(
        name="filing", workflows={WORKFLOW: ACK_WORKFLOW}, reasons={"date_of_birth_differs": "The dates of birth differ."}
    )

    def __init__(self, output: Path, oracle: Oracle, points: Points, clock: FakeClock) -> None:
        super().__init__(HandlerSettings())
        self.output, self.oracle, self.points, self.clock = output, oracle, points, clock
        self.script: list[str] = []
        self.tempers: dict[str, str] = {}
        """By document: what it does where the script says nothing."""

    def handle(self, message: Message, context: Context) -> Any:
        mesh_message_id = message.mesh_message_id
        temper = self.tempers[self.oracle.delivered[mesh_message_id].document]
        act = (self.script.pop(0) if self.script else "") or temper
        self.oracle.handles(mesh_message_id)
        match act:
            case "die" | "hang" | "file and die":
                self._dies(act, message, context)
            case "raise" | "file and raise" | "exit" | "nonsense" | "later":
                self.oracle.failures[mesh_message_id] += 1
                return self._fails(act, message, context)
            case "defer" if context.decision is None and not self._is_filed(message):
                return Defer("date_of_birth_differs")
        return self._finish(message, context, act if act.startswith("3") else "30001")

    def _dies(self, act: str, message: Message, context: Context) -> None:
        if act == "file and die":
            self._file(message, context)
        if act == "hang":
            self.clock.advance(minutes=6)  # then it is killed
        self.oracle.killed[message.mesh_message_id] += 1
        self.points.die()

    def _fails(self, act: str, message: Message, context: Context) -> Any:
        if act == "file and raise":
            self._file(message, context)
        if act == "exit":
            raise SystemExit(1)
        if act == "nonsense":
            return "nonsense"
        if act == "later":
            return RetryLater(timedelta(minutes=1))
        raise RuntimeError("a handler's fault")

    def _finish(self, message: Message, context: Context, code: str) -> Respond:
        if context.decision is not None:
            code = context.decision.code.value
        elif self._is_filed(message):
            code = "30001"
        if code in FILED:
            self._file(message, context)
        self.oracle.finished[message.mesh_message_id] = code
        return Respond(BusinessCode(code))

    def _file(self, message: Message, context: Context) -> None:
        """Never what was decided not to be filed, however it then fails."""
        if context.decision is not None and context.decision.code.value not in FILED:
            return

        def fill(folder: Any) -> Mapping[str, Any]:
            folder.write("message.xml", message.raw)
            return {"mesh_message_id": message.mesh_message_id}

        context.files.file(self.output, message, fill)

    def _is_filed(self, message: Message) -> bool:
        return any(
            message.mesh_message_id in path.read_text()
            for path in self.output.glob(f"*/{message.header.message_header_id}*/metadata.json")
        )


@dataclass
class MachinePractice:
    """`daemon` is None while no process runs."""

    at_deadline: BusinessCode | None = None
    page_size: int = 3
    directory: Path = field(init=False)
    daemon: Daemon | None = None
    is_disabled: bool = False
    """Its handler is switched off."""
    has_backup: bool = False
    """One that can be restored."""

    def __post_init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="machine-", dir=MEMORY if MEMORY.is_dir() else None))
        self.clock = FakeClock(datetime.now(UTC).replace(microsecond=0))
        self.oracle = Oracle(self.directory)
        self.points = Points()
        self._dated: set[Path] = set()
        self.mesh = Wire(oracle=self.oracle, clock=self.clock, mailbox_id=PRACTICE, page_size=self.page_size)
        self.handler = FilingHandler(self.directory / "letters", self.oracle, self.points, self.clock)
        (self.directory / "state").mkdir()
        an_empty_ledger(self.directory / "state" / "ledger.db", self.clock)
        self.settings = the_settings(self.directory)
        structlog.configure(processors=[_drop], cache_logger_on_first_use=False)

    # -- a process begins and ends

    def start(self) -> None:
        """Builds everything anew over what is on the disk, as a process does. A full disk lets none begin."""
        self._disarm()
        daemon = compose(self.settings, self.registry(), clock=self.clock, stopping=threading.Event())
        daemon.mailboxes[PRACTICE] = daemon.collectors[PRACTICE].mailbox = self.mesh
        daemon.collectors[PRACTICE].workers = 1  # more would make a run another at every repetition
        daemon.world = dataclasses.replace(daemon.world, deadlines=Deadlines(at_deadline=self.at_deadline))
        watch(daemon, self.points)
        # Only the sandbox may be polled at once after a start; this one is to keep MESH's five minutes.
        mesh = self.settings.mesh.model_copy(update={"environment": "integration"})
        daemon.settings = self.settings.model_copy(update={"mesh": mesh})
        try:
            daemon.hold()
        except LedgerUnavailable:
            daemon.ledger.close()
            return
        self.daemon = daemon
        collecting = next(job for job in daemon.jobs() if job.name.startswith("collect:"))
        self.poll_at = collecting.first_at or self.clock.now()
        self.poll_every_s = self.settings.mailboxes[PRACTICE].poll_interval_s

    def registry(self) -> Registry:
        """Of its handler, which may be switched off."""
        return a_registry(disabled=[FilingHandler]) if self.is_disabled else a_registry(self.handler)

    def stop(self) -> None:
        """As a signal does it: what is claimed has been given back, everything is closed."""
        if self.daemon is not None:
            self.daemon.close()
            self.daemon = None

    def bury(self) -> None:
        """Throws away what the dead process held in memory; open transactions are undone, as the kernel would have it."""
        self.oracle.deaths += 1
        self._disarm()
        daemon, self.daemon = self.daemon, None
        if daemon is not None:
            daemon.ledger.close()

    def bury_inner(self) -> None:
        """Only the process that reads and runs handlers has died: the service frees what it had and starts another."""
        assert self.daemon is not None
        self.oracle.deaths += 1
        self._disarm()
        self.daemon.world = dataclasses.replace(self.daemon.world, readings=Readings(), unreleased=set())
        try:
            self.daemon.recover()
        except LedgerUnavailable:  # the service tries that again; here it is started anew
            self.bury()

    def close(self) -> None:
        """The end of a run."""
        self.oracle.close()
        self.stop()
        shutil.rmtree(self.directory)

    def _disarm(self) -> None:
        self.points.is_dead, self.points.dies_in, self.points.loses_lease_in = False, None, None

    # -- what it does

    @contextmanager
    def a_job(self, *, is_inner: bool = False) -> Iterator[None]:
        """One run of a job: its errors are the scheduler's, its death is the process's."""
        try:
            yield
        except EVERY_FAULT:
            self.oracle.faults += 1
        except Killed:
            self.bury_inner() if is_inner else self.bury()
        except (LeaseLost, HeldByAnother):
            assert self.daemon is not None
            self.oracle.faults += 1
            self._disarm()
            self.daemon.give_way()
            with suppress(LedgerUnavailable):
                self.daemon.ledger.close()
            self.daemon = None

    def work(self, what: str, limit: int = 50) -> int:
        """One run of one job; how much it found to do."""
        daemon = self.daemon
        if daemon is None:
            return 0
        found = 0
        with self.a_job(is_inner=what in INNER and self.points.dies_in is None):
            found = int(WORK[what](self, daemon, limit) or 0)
        if what == "poll":
            self._date_payloads()
        if what in REMOVING and self.oracle.looks_at_what_is_gone(self.clock.now()):
            self.has_backup = (
                False  # an older ledger would name what is gone; `ledger check` says so, and nothing is lost by it
            )
        return found

    def _date_payloads(self) -> None:
        """Files are as old as this clock says, in the order in which they were written."""
        store = self.directory / "state" / "payloads"
        young = [path for path in store.glob("*/*/*") if path not in self._dated]
        for number, path in enumerate(sorted(young, key=lambda path: path.stat().st_mtime_ns)):
            at = self.clock.now().timestamp() + number / 1e6
            os.utime(path, (at, at))
            self._dated.add(path)

    def _poll(self, daemon: Daemon, _: int) -> None:
        """As the scheduler would: not before its time, and then once in an interval."""
        self.clock.at = max(self.clock.at, self.poll_at)
        self.poll_at = self.clock.at + timedelta(seconds=self.poll_every_s)
        daemon.collect(PRACTICE)

    def _respond(self, daemon: Daemon, limit: int) -> int:
        return respond(daemon.world, daemon.mailboxes[PRACTICE], limit=limit)


Working = Callable[[MachinePractice, Daemon, int], int | None]
WORK: Final[Mapping[str, Working]] = {
    "poll": MachinePractice._poll,
    "interpret": lambda _, daemon, __: daemon.interpret(),
    "dispatch": lambda _, daemon, __: daemon.dispatch(),
    "correlate": lambda _, daemon, __: daemon.correlate(),
    "respond": MachinePractice._respond,
    "track": lambda _, daemon, __: daemon.track(PRACTICE),
    "duties": lambda _, daemon, __: daemon.look_at_duties(),
    "sweep": lambda _, daemon, __: daemon.sweep(),
    "handshake": lambda _, daemon, __: daemon.handshake(PRACTICE),
    "prune": lambda _, daemon, __: daemon.prune(),
}
REMOVING: Final = frozenset({"prune", "sweep"})
INNER: Final = frozenset({"interpret", "dispatch", "correlate"})


def an_empty_ledger(path: Path, clock: FakeClock) -> None:
    """A copy: making one takes longer than all that a run does with it."""
    template = Path(_TEMPLATE.name) / "ledger.db"
    if not template.exists():
        migrate(f"sqlite:///{template}", clock.now())
    shutil.copy(template, path)


def the_settings(directory: Path) -> Settings:
    config = directory / "mesh-itk3.toml"
    config.write_text(f"""\
state_directory = "{directory}/state"
[mesh]
environment = "sandbox"
url = "http://127.0.0.1:9"
shared_key = "not used"
[mailboxes.{PRACTICE}]
ods_code = "A81001"
password = "not used"
poll_interval_s = 300
[retention]
completed_payloads_days = 30
rejected_payloads_days = 30
correlated_payloads_days = 30
uncorrelated_payloads_days = 30
abandoned_payloads_days = 30
response_bytes_days = 30
events_days = 90
""")
    config.chmod(0o600)
    return load_settings(config, None, {})


def _drop(_logger: Any, _method: str, _event: Any) -> Any:
    raise structlog.DropEvent
