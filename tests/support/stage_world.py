"""A small daemon for stage tests: a real ledger and payload store in a folder, a real registry, a handler that the test
scripts, time that the test holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from mesh_itk3.adapters.ledger import migrate, open_ledger
from mesh_itk3.adapters.letters import LetterFiles
from mesh_itk3.adapters.patient_register import RegisterPatients
from mesh_itk3.adapters.payload_store import DirectoryPayloadStore
from mesh_itk3.handler import Accept, BusinessCode, Context, Declaration, Handler, HandlerSettings, Message, Respond
from mesh_itk3.ports import Ledger, MessageKey, MessageRecord, ResponseRecord
from mesh_itk3.registry import Found, Loaded, Registry
from mesh_itk3.stages.collect import Collector, Walk, collect
from mesh_itk3.stages.guard import Guard
from mesh_itk3.stages.world import Practice, World
from mesh_itk3.workflow_table import shipped
from support.fake_mailbox import FakeMailbox

PRACTICE = "X26ABC2"
HOSPITAL = "X26ABC1"
WORKFLOW = "TOC_FHIR_IP_DISCH"
ACK_WORKFLOW = "TOC_FHIR_IP_DISCH_ACK"
WORKERS = 1
"""Of collect, in tests that do not say."""


@dataclass
class FakeClock:
    """Stands still until it is advanced."""

    at: datetime = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def advance(self, **by: float) -> None:
        self.at += timedelta(**by)


class ScriptedHandler(Handler):
    """Answers what the test put into `examined` and `answers`; an exception among them is raised."""

    declaration = Declaration(
        name="scripted",
        workflows={WORKFLOW: ACK_WORKFLOW},
        reasons={"date_of_birth_differs": "The dates of birth differ."},
    )

    def __init__(self, settings: HandlerSettings | None = None) -> None:
        super().__init__(settings or HandlerSettings())
        self.examined: Any = Accept()
        self.answers: list[Any] = []
        self.calls: list[tuple[Message, Context]] = []

    def examine(self, message: Message) -> Any:
        return _given(self.examined)

    def handle(self, message: Message, context: Context) -> Any:
        self.calls.append((message, context))
        return _given(self.answers.pop(0) if self.answers else Respond(BusinessCode.PATIENT_KNOWN))


def _given(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


def a_registry(*handlers: Handler, broken: Iterable[type[Handler]] = (), disabled: Iterable[type[Handler]] = ()) -> Registry:
    found = [_found(each.declaration, each) for each in handlers]
    found += [_found(each.declaration, None, problem="cannot be loaded") for each in broken]
    found += [_found(each.declaration, None, is_enabled=False) for each in disabled]
    return Registry(found, shipped())


def _found(declaration: Declaration, handler: Handler | None, *, is_enabled: bool = True, problem: str | None = None) -> Found:
    loaded = Loaded(declaration.name, handler, declaration, "test", "1") if handler else None
    return Found(declaration.name, "test", "1", is_enabled, declaration, loaded, problem)


@dataclass
class SmallDaemon:
    """The parts, and the few verbs that tests repeat."""

    world: World
    mailbox: FakeMailbox
    handler: ScriptedHandler
    clock: FakeClock
    collector: Collector
    guard: Guard
    directory: Path
    events: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def ledger(self) -> Ledger:
        return self.world.ledger

    def collect(self) -> Walk:
        return collect(self.collector)

    def record(self, mesh_message_id: str) -> MessageRecord:
        record = self.ledger.get(MessageKey(PRACTICE, mesh_message_id))
        assert record is not None
        return record

    def responses(self, mesh_message_id: str) -> dict[str, ResponseRecord]:
        """By level."""
        listed = {record.key.mesh_message_id: responses for record, responses in self.ledger.messages()}
        return {response.level: response for response in listed[mesh_message_id]}

    def codes(self, mesh_message_id: str) -> dict[str, str]:
        return {level: response.response_code for level, response in self.responses(mesh_message_id).items()}

    def payload_files(self) -> list[Path]:
        return [path for path in (self.directory / "payloads").rglob("*") if path.is_file()]

    def said(self, name: str) -> list[Mapping[str, Any]]:
        """The log events of this name."""
        return [event for event in self.events if event["event"] == name]


def a_small_daemon(
    directory: Path,
    mailbox: FakeMailbox | None = None,
    *,
    routes: Callable[[ScriptedHandler], Registry] = a_registry,
    **collector: Any,
) -> SmallDaemon:
    """Fresh, or over what an earlier one left in `directory`: then it is a restart."""
    url = f"sqlite:///{directory}/ledger.db"
    clock, handler = FakeClock(), ScriptedHandler()
    migrate(url, clock.now())
    ledger, payloads, registry = open_ledger(url, owner="test"), DirectoryPayloadStore(directory / "payloads"), routes(handler)
    ledger.hold((PRACTICE,), clock.now())
    ledger.recover((PRACTICE,), clock.now())
    mailbox = mailbox or FakeMailbox()
    world = World(
        ledger=ledger,
        payloads=payloads,
        routes=registry,
        clock=clock,
        patients=RegisterPatients(None),
        files=LetterFiles(),
        practices={PRACTICE: Practice("A81001", frozenset({"A81001"}))},
    )
    collector.setdefault("workers", WORKERS)
    kept = Collector(mailbox=mailbox, ledger=ledger, payloads=payloads, routes=registry, clock=clock, **collector)
    return SmallDaemon(world, mailbox, handler, clock, kept, Guard.restored(PRACTICE, ledger, clock), directory, captured())


def captured() -> list[Mapping[str, Any]]:
    """Every event that is emitted from now on, and nothing on standard error."""
    events: list[Mapping[str, Any]] = []

    def keep(_logger: Any, _method: str, event: Mapping[str, Any]) -> Any:
        events.append(dict(event))
        raise structlog.DropEvent

    structlog.configure(processors=[keep], cache_logger_on_first_use=False)
    return events
