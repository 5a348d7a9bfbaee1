"""One trial: sends, runs, kills, spoils, lets it settle, and has the oracle judge after every kill and in the end."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from signal import SIGKILL
from typing import Any, Final

from mesh_itk3.simulator.conformance.replies import a_response
from mesh_itk3.simulator.conformance.replies import message_header_id as reply_header_id
from mesh_itk3.simulator.faults import Fault, Status
from mesh_itk3.simulator.prove import acts
from mesh_itk3.simulator.prove.evidence import Evidence, Held, Message, Sending, Violation
from mesh_itk3.simulator.prove.gather import calls_of, digest, refused_sending, sendings_of, sent_bytes, taken
from mesh_itk3.simulator.prove.oracle import at_any_time, in_the_end, of_one_round
from mesh_itk3.simulator.prove.plan import Item, Plan, Round, Step
from mesh_itk3.simulator.prove.planned_faults import FAULTS, REFUSALS
from mesh_itk3.simulator.prove.stories import STORIES, Story, body_of, workflow_of
from mesh_itk3.simulator.prove.warm import CHILD_FAILED
from mesh_itk3.simulator.prove.world import Batch
from mesh_itk3.simulator.response_reader import header_id_of, read_response
from mesh_itk3.simulator.sandbox import HOSPITAL_MAILBOX, PRACTICE_MAILBOX
from mesh_itk3.workflow_table import shipped

CLEAN_ROUNDS: Final = 3
"""At most, until a run says that everything is done: one has always been enough."""


@dataclass(slots=True)
class Outcome:
    """What came of one trial."""

    seed: int
    violations: list[Violation] = field(default_factory=list)
    messages: int = 0
    responses: int = 0
    repeated: int = 0
    """Responses that went out once more, byte for byte the same."""
    rounds: int = 0
    killed_at: Counter[str] = field(default_factory=Counter)
    """Kills by the name of the point, or of the last point before it."""
    timed_kills: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    """Faults that happened, by verb and kind."""
    acts: Counter[str] = field(default_factory=Counter)
    """An operator's commands, each once however often it was killed."""
    service: str | None = None
    story: list[str] = field(default_factory=list)
    """What happened, line by line, for whoever looks at a failure."""

    @property
    def kills(self) -> int:
        return self.killed_at.total()

    def to_json(self) -> dict[str, Any]:
        counts = {name: dict(getattr(self, name)) for name in ("killed_at", "faults", "acts")}  # asdict cannot copy a Counter
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        return plain | counts | {"violations": [asdict(each) for each in self.violations], "kills": self.kills}


class Trial:
    """Runs one plan in a batch."""

    def __init__(self, plan: Plan, batch: Batch) -> None:
        self.plan, self.batch = plan, batch
        self.outcome = Outcome(plan.seed, service=plan.service.kills if plan.service else None)
        self.messages: list[Message] = []
        self.sendings: list[Sending] = []
        self.held: dict[str, Held] = {}
        self._refused: list[Sending] = []
        batch.proxy.befallen = self._befallen
        self._items: list[tuple[Item, Message, bytes]] = []
        self._lines: list[dict[str, Any]] = []
        batch.world.window.news(PRACTICE_MAILBOX)  # what came before is not ours
        self._letters_before = batch.disk.letter_paths()

    def run(self) -> Outcome:
        """Ends at the first violation: what follows one proves nothing."""
        for number, step in enumerate(self.plan.steps):
            self._begin(step)
            is_service = number == 0 and self.plan.service is not None
            if not (self._service() if is_service else self._rounds(step)) or not self._settle() or not self._operate(step):
                break
        if not self.outcome.violations:
            self.outcome.violations += self._judged(in_the_end)
        self.outcome.messages = len(self.messages)
        self.outcome.responses = len({each.local_id for each in self.sendings})
        self.outcome.repeated = len(self.sendings) - self.outcome.responses
        return self.outcome

    # -------------------------------------------------------------------------------------------- sending

    def _begin(self, step: Step) -> None:
        for item in step.items:
            self._send(item)
        if step.decides:
            for index, (item, _, _) in enumerate(self._items):
                if code := STORIES[item.story].decision:
                    acts.decide(self, index, code, step.decision_killed_after_us)

    def _send(self, item: Item) -> None:
        story = STORIES[item.story]
        if story.follows == "report":
            return self._report(item)
        body, workflow_id, header_id = self._written(item, story)
        sent = self.batch.world.hospital.send(
            body, to=PRACTICE_MAILBOX, workflow_id=workflow_id, chunk_bytes=story.chunk_bytes,
            content_type="application/fhir+json" if body.startswith(b"{") else "application/fhir+xml",
        )  # fmt: skip
        return self._sent(item, story, sent.mesh_message_id, body, header_id)

    def _written(self, item: Item, story: Story) -> tuple[bytes, str, str | None]:
        """Bytes, workflow and MessageHeader.id."""
        if item.of is None:
            body = body_of(story, item.kind, item.seed, item.patient)
            return body, workflow_of(story, item.kind), None if story.is_foreign else _header_id(body)
        first, _, body = self._items[item.of]
        workflow_id = workflow_of(STORIES[first.story], first.kind)
        if story.follows == "again":
            return body, workflow_id, header_id_of(body)
        asks = story.follows == "asking_reply"
        answers = self._business_response_id(item.of)
        reply = a_response(
            seed=item.seed, code="30001" if asks else "20013", answers=answers, asks=asks, mailbox_id=HOSPITAL_MAILBOX
        )
        row = shipped().get(workflow_id)
        return reply, (row.ack_workflow_id if row else None) or workflow_id, reply_header_id(item.seed)

    def _business_response_id(self, index: int) -> str:
        """The MessageHeader.id of our business response to this item."""
        found = self._business_response(index)
        response = read_response(found["bytes"])
        return (response.message_header_id if response else None) or ""

    def _business_response(self, index: int) -> dict[str, Any]:
        answered = self._items[index][1].message_header_id
        for line in self._lines:
            response = read_response(line["bytes"])
            if response is not None and response.answers == answered and response.level == "business":
                return line
        return {"bytes": b"", "local_id": "", "workflow_id": "", "mesh_message_id": ""}

    def _report(self, item: Item) -> None:
        line = self._business_response(item.of or 0)
        fields = {"mailbox_id": PRACTICE_MAILBOX, "code": "14", "description": "Not collected after 5 days",
                  "workflow_id": line["workflow_id"], "subject": "-", "local_id": line["local_id"],
                  "linked_message_id": line["mesh_message_id"]}  # fmt: skip
        self._sent(item, STORIES[item.story], self.batch.world.window.report(fields), b"", None)

    def _sent(self, item: Item, story: Story, mesh_message_id: str, body: bytes, header_id: str | None) -> None:
        deserves = story.deserves
        message = Message(
            mesh_message_id, digest(body), header_id, deserves.codes, deserves.is_filed, deserves.state,
            is_foreign=story.is_foreign, waits=story.decision is not None,
        )  # fmt: skip
        self.messages.append(message)
        self._items.append((item, message, body))
        self.outcome.story.append(f"sent {item.story} ({item.kind}) as {mesh_message_id}")

    def amend(self, index: int, message: Message) -> None:
        """It deserves something else from now on."""
        item, _, body = self._items[index]
        self.messages[index], self._items[index] = message, (item, message, body)

    # -------------------------------------------------------------------------------------------- running

    def _rounds(self, step: Step) -> bool:
        """Whether nothing was violated."""
        for number, each in enumerate(step.rounds, 1):
            if not self._round(each):
                return False
            for hold in step.holds:
                if hold.after == number:
                    acts.hold(self, hold)
        return not self.outcome.violations

    def _operate(self, step: Step) -> bool:
        """What an operator ends; then all is settled again. Whether nothing was violated."""
        if not acts.end(self, step.holds, step.retry):
            return True
        return not self.outcome.violations and all(self._round(each) for each in step.then) and self._settle()

    def _round(self, planned: Round) -> bool:
        proxy, kill = self.batch.proxy, planned.kill
        order: dict[str, Any] = {"most_file_bytes": planned.most_file_bytes}
        if kill is not None:
            order |= {"at_point": kill.at_point, "named": kill.named, "after_us": kill.after_us}
        if planned.faults:
            order["config"] = str(self.batch.faulty_configuration)
            for fault in planned.faults:
                proxy.fail(fault.verb, FAULTS[fault.kind](), on=fault.on, times=fault.times)
        before = proxy.counts.copy()
        answer = self.batch.order("round", **order)
        self._note_faults(planned, before)
        proxy.heal()
        proxy.release()  # what was late arrives
        return self._look(
            answer, is_disturbed=bool(planned.faults or planned.most_file_bytes), is_timed=bool(kill and kill.after_us)
        )

    def _note_faults(self, planned: Round, before: Counter[str]) -> None:
        for fault in planned.faults:
            calls = self.batch.proxy.counts[fault.verb] - before[fault.verb]
            if happened := max(0, min(calls, fault.on + fault.times - 1) - fault.on + 1):
                self.outcome.faults[f"{fault.verb}: {fault.kind}"] += happened
                self.outcome.story.append(f"{fault.verb}: {fault.kind}, {happened} times")
        if planned.most_file_bytes:
            self.outcome.faults["disk: no larger file"] += 1

    def _befallen(self, verb: str, fault: Fault, headers: Mapping[str, str], body: bytes) -> None:
        """What MESH refuses for good never reaches the sandbox."""
        if verb == "send" and isinstance(fault, Status) and str(fault.status) in REFUSALS:
            self._refused.append(refused_sending(headers, body))

    def _look(self, answer: dict[str, Any], *, is_disturbed: bool, is_timed: bool) -> bool:
        """After one run: what happened, and whether all holds."""
        self.outcome.rounds += 1
        if answer["signal"] == SIGKILL and not answer["is_late"]:
            self.note_kill(answer, "before the first point", is_timed=is_timed)
        else:
            self.outcome.story.append(f"ran to its end: exit {answer['code']}, {answer['passed']} points")
        if answer["is_late"] or answer["code"] == CHILD_FAILED or answer["signal"] not in (None, SIGKILL):
            self.outcome.violations.append(Violation("run failed", f"exit {answer['code']}, signal {answer['signal']}"))
        self._news(is_disturbed=is_disturbed)
        self.outcome.violations += self._judged(at_any_time)
        return not self.outcome.violations

    def note_kill(self, answer: dict[str, Any], otherwise: str, *, is_timed: bool) -> None:
        """Counts it, by its point or else by where it came."""
        self.outcome.killed_at[answer["point"] or otherwise] += 1
        self.outcome.timed_kills += is_timed
        self.outcome.story.append(f"killed {'some time after' if is_timed else 'at'} {answer['point'] or otherwise}")

    def _settle(self) -> bool:
        """Clean runs until one says that all is done."""
        for _ in range(CLEAN_ROUNDS):
            answer = self.batch.order("round")
            if not self._look(answer, is_disturbed=False, is_timed=False):
                return False
            if answer["code"] == 0:
                return True
        self.outcome.violations.append(Violation("no next step", f"after {CLEAN_ROUNDS} clean runs: exit {answer['code']}"))
        return False

    def _service(self) -> bool:
        from mesh_itk3.simulator.prove.service_trial import run_service

        return run_service(self)

    # -------------------------------------------------------------------------------------------- judging

    def _news(self, *, is_disturbed: bool) -> None:
        lines = self.take_news()
        self.outcome.violations += of_one_round(calls_of(lines), messages=len(self.messages), is_disturbed=is_disturbed)

    def take_news(self) -> list[dict[str, Any]]:
        """The calls since the last look; what was sent is kept."""
        lines = self.batch.world.window.news(PRACTICE_MAILBOX)
        self.sendings += sendings_of(lines)
        self._lines += [line | {"bytes": sent_bytes(line)} for line in taken(lines)]
        return lines

    def _judged(self, judge: Any) -> list[Violation]:
        found: list[Violation] = judge(self.evidence())
        return found

    def evidence(self) -> Evidence:
        """What there is now."""
        disk = self.batch.disk
        ids = [each.mesh_message_id for each in self.messages]
        inbox = self.batch.world.window.inbox(PRACTICE_MAILBOX)  # before the ledger: what it has acknowledged must be there
        try:
            rows = disk.rows(ids, disk.copy_ledger(self.batch.root / "copy"))
        except sqlite3.Error as error:
            self.outcome.violations.append(Violation("run failed", f"the ledger cannot be read: {type(error).__name__}"))
            rows = {}
        letters = [disk.letter(path) for path in sorted(disk.letter_paths() - self._letters_before)]
        return Evidence(
            HOSPITAL_MAILBOX, self.messages, inbox, self.sendings, rows, letters, tuple(self._refused), dict(self.held)
        )


def _header_id(body: bytes) -> str | None:
    if body.startswith(b"{"):
        import orjson

        return str(orjson.loads(body)["entry"][0]["resource"]["id"])
    return header_id_of(body)
