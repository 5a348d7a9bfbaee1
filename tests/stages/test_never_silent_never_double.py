"""Never silent, never double: whatever comes, fails, dies and is tried in whatever order, each sender gets what was asked
for, once. Rules drive the real stages over a real ledger, and now and then write into the ledger what nobody may.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mesh_itk3.adapters.ledger import migrate
from mesh_itk3.commands.owed import all_owed
from mesh_itk3.deadlines import Deadlines
from mesh_itk3.handler import BusinessCode, Defer, Respond, RetryLater
from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import Kind, LedgerConflict, MailboxUnavailable, MessageRecord, ResponseRecord
from mesh_itk3.reasons import ABANDON_REASONS, MustBeTold
from mesh_itk3.simulator.messages import a_message, cut_off
from mesh_itk3.stages import intervene
from mesh_itk3.stages.correlate import correlate
from mesh_itk3.stages.decide import decision, watch_decisions
from mesh_itk3.stages.dispatch import dispatch
from mesh_itk3.stages.interpret import interpret
from mesh_itk3.stages.respond import respond
from mesh_itk3.stages.track import raise_overdue, track
from support.fake_mailbox import NEVER, FakeMailbox, a_mesh_message, a_report
from support.stage_world import ACK_WORKFLOW, PRACTICE, FakeClock, a_small_daemon

CODES = (BusinessCode.PATIENT_KNOWN, BusinessCode.PATIENT_NOT_KNOWN, BusinessCode.PATIENT_LEFT, BusinessCode.PATIENT_DECEASED)
ANSWERS = [
    *map(Respond, CODES),
    Defer("date_of_birth_differs"),
    RetryLater(timedelta(minutes=1)),
    RuntimeError("a handler's fault"),
    "nonsense",
]
FLAGS = st.sampled_from([True, True, False, None, "junk"])
FAULTS = st.sampled_from([(), (), "send", "send_answer", ("send_answer", "find_sent"), "acknowledge", "track"])
FORGE = sa.text(
    """INSERT INTO response (local_id, mailbox_id, answered_mesh_message_id, level, response_code, state, message_header_id,
    message_header_id_key, to_mailbox_id, workflow_id, created_at) VALUES (:local_id, :mailbox_id, :mesh_message_id, :level,
    '30001', 'owed', 'forged', 'forged', 'X26ABC1', 'W', '2026-03-02T09:00:00.000000+00:00')"""
)
_TEMPLATE = tempfile.TemporaryDirectory()


def an_empty_ledger(directory: Path) -> None:
    """A copy: making one takes longer than all that a run does with it."""
    template = Path(_TEMPLATE.name) / "ledger.db"
    if not template.exists():
        migrate(f"sqlite:///{template}", FakeClock().now())
    shutil.copy(template, directory / "ledger.db")


class Practice(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        an_empty_ledger(self.directory)
        self.mailbox = FakeMailbox()
        self.daemon = a_small_daemon(self.directory, self.mailbox)
        self.bodies: list[bytes] = []
        self.forged = 0

    # -------------------------------------------------------------------------------------------- what may happen

    @initialize(code=st.sampled_from([None, *CODES]))
    def configured(self, code):
        self.deadlines = Deadlines(at_deadline=code)
        object.__setattr__(self.daemon.world, "deadlines", self.deadlines)

    @rule(infrastructure=FLAGS, business=FLAGS, harm=st.sampled_from(["", "", "", "definition", "cut off", "response"]))
    def receive(self, infrastructure, business, harm):
        changes = {"definition": None} if harm == "definition" else {"event": "ITK008M"} if harm == "response" else {}
        body = a_message(
            "ITK003D",
            seed=str(len(self.bodies)),
            infrastructure_requested=infrastructure,
            business_requested=business,
            **changes,
        )
        self.bodies.append(cut_off(body) if harm == "cut off" else body)
        self.mailbox.deliver(a_mesh_message(self.bodies[-1]))

    @precondition(lambda self: self.bodies)
    @rule(data=st.data())
    def receive_again(self, data):
        self.mailbox.deliver(a_mesh_message(data.draw(st.sampled_from(self.bodies))))

    @precondition(lambda self: self.mailbox.sent)
    @rule(data=st.data(), workflow_id=st.sampled_from([ACK_WORKFLOW, "TOC_FHIR_IP_DISCH"]))
    def receive_what_we_sent(self, data, workflow_id):
        sent = data.draw(st.sampled_from(self.mailbox.sent))
        self.mailbox.deliver(a_mesh_message(sent.body, workflow_id=workflow_id, local_id=sent.local_id))

    @precondition(lambda self: self.mailbox.sent)
    @rule(data=st.data())
    def receive_a_report(self, data):
        self.mailbox.deliver(a_report(local_id=data.draw(st.sampled_from(self.mailbox.sent)).local_id))

    @rule(answers=st.lists(st.sampled_from(ANSWERS), max_size=6), limit=st.integers(1, 5))
    def work(self, answers, limit):
        self.daemon.handler.answers = list(answers)
        self.daemon.collect()
        interpret(self.daemon.world, limit=limit)
        dispatch(self.daemon.world, limit=limit)
        correlate(self.daemon.world, limit=limit)

    @rule(fails_on=FAULTS, times=st.integers(1, 4), limit=st.integers(1, 6))
    def send(self, fails_on, times, limit):
        self.mailbox.fails_on, self.mailbox.fails_times, self.mailbox._failed = fails_on, times, 0
        with suppress(MailboxUnavailable):
            respond(self.daemon.world, self.mailbox, limit=limit)
        with suppress(MailboxUnavailable):
            track(self.daemon.world, self.mailbox, limit=limit)
        self.mailbox.heal()

    @rule(code=st.sampled_from(CODES))
    def decide(self, code):
        for record in self.daemon.ledger.waiting([State.AWAITING_DECISION])[:1]:
            self.daemon.ledger.apply([decision(record, code, "Jo", self.daemon.clock.now())])

    @rule(verb=st.sampled_from(["hold", "release", "retry", "abandon"]), reason=st.sampled_from(list(ABANDON_REASONS)))
    def operate(self, verb, reason):
        """A person acts on the newest message that the verb fits."""
        ledger, now = self.daemon.ledger, self.daemon.clock.now()
        for record, responses in ledger.messages():
            match verb:
                case "hold" if intervene.can_be_held(record):
                    act = intervene.hold(record, "Jo", now)
                case "release" if intervene.is_held(record):
                    began = intervene.began_to_wait(ledger.timeline(record.key))
                    act = intervene.release(record, began and began.reason, "Jo", now)
                case "retry" if intervene.can_be_retried(record, responses):
                    act = intervene.retry(record, responses, "Jo", now)
                case "abandon" if record.state is State.PARKED:
                    act = intervene.abandon(record, responses, reason, "Jo", now)
                case _:
                    continue
            ledger.act(act.steps, act.responses, now)
            return

    @rule(hours=st.sampled_from([0.1, 2, 30, 100]))
    def wait(self, hours):
        self.daemon.clock.advance(hours=hours)
        watch_decisions(self.daemon.world)
        raise_overdue(self.daemon.world)

    @rule(at=st.sampled_from(["idle", "received", "accepted", "owed"]))
    def die(self, at):
        """The process is killed while it holds some messages, or before it has noted what MESH took."""
        ledger, now = self.daemon.ledger, self.daemon.clock.now()
        if at in ("received", "accepted"):
            ledger.claim(State(at), tuple(Kind), (PRACTICE,), now, 2)
        elif at == "owed":
            ledger.claim_responses(PRACTICE, now, 2)
        ledger.close()
        self.daemon = a_small_daemon(self.directory, self.mailbox)
        self.daemon.clock.at = now
        object.__setattr__(self.daemon.world, "deadlines", self.deadlines)

    @rule()
    def forge(self):
        """Writes past every stage what the ledger has to refuse."""
        for record, responses in list(self.daemon.ledger.messages()):
            answered = {response.level for response in responses}
            levels = answered | ({"business"} if record.state is State.REJECTED else set())
            for level in levels:
                self.forged += 1
                named = {"mailbox_id": record.key.mailbox_id, "mesh_message_id": record.key.mesh_message_id, "level": level}
                with pytest.raises(LedgerConflict), self.daemon.ledger._database.writing() as connection:
                    connection.execute(FORGE, {**named, "local_id": f"forged-{self.forged}"})

    # -------------------------------------------------------------------------------------------- what must hold

    @invariant()
    def no_message_is_answered_twice_on_a_level_and_nothing_follows_a_negative(self):
        for record, responses in self.daemon.ledger.messages():
            codes = {response.level: response.response_code for response in responses}
            assert len(codes) == len(responses)
            if record.state is State.REJECTED or codes.get("infrastructure", "20013") != "20013":
                assert "business" not in codes
            if record.kind is not Kind.MESSAGE and record.state is not State.RECEIVED:
                assert set(codes.items()) <= {("infrastructure", "20013")}

    @invariant()
    def what_went_out_is_what_the_ledger_owed_and_a_repetition_is_identical(self):
        owed = {response.local_id for _, responses in self.daemon.ledger.messages() for response in responses}
        bodies = {}
        for sent in self.mailbox.sent:
            assert sent.local_id in owed
            assert bodies.setdefault(sent.local_id, sent.body) == sent.body

    @invariant()
    def a_refusal_is_told_or_stands(self):
        unseen = {record.key for record in self.daemon.ledger.unseen().messages}
        for record, responses in self.daemon.ledger.messages():
            assert record.state is not State.REJECTED or responses or record.key in unseen

    # -------------------------------------------------------------------------------------------- how it ends

    def teardown(self):
        """Everything works again and somebody decides what waits: then nobody is left without an answer unseen."""
        try:
            self._settle()
            self._nobody_is_left_without_an_answer()
        finally:
            self.daemon.ledger.close()
            shutil.rmtree(self.directory)

    def _settle(self):
        self.mailbox.heal()
        self.mailbox.fails_times = NEVER
        for _ in range(30):
            self.daemon.handler.answers = []
            for record in self.daemon.ledger.waiting([State.AWAITING_DECISION]):
                self.daemon.ledger.apply([decision(record, CODES[0], "Jo", self.daemon.clock.now())])
            self.daemon.collect()
            done = [stage(self.daemon.world) for stage in (interpret, dispatch, correlate)]
            done.append(respond(self.daemon.world, self.mailbox))
            self.daemon.clock.advance(hours=2)
            if not any(done) and not self.daemon.ledger.has_work((PRACTICE,)):
                return
        raise AssertionError("it does not come to rest")

    def _nobody_is_left_without_an_answer(self):
        owed = all_owed(self.daemon.ledger, self.daemon.world.routes, self.deadlines, self.daemon.clock.now())
        listed = Counter(row["mesh_message_id"] for row in owed if row["kind"] in ("parked", "abandoned"))
        for record, responses in self.daemon.ledger.messages():
            if record.kind is Kind.MESSAGE and not knows_by_another_way(record):
                assert missing_levels(record, responses) == set() or listed[record.key.mesh_message_id]
            for response in responses:
                assert response.state in (ResponseState.SENT, ResponseState.DELIVERED, ResponseState.UNDELIVERED)


def missing_levels(record: MessageRecord, responses: tuple[ResponseRecord, ...]) -> set[str]:
    """What its sender asked for and did not get."""
    asked = set() if record.inf_ack_requested is False else {"infrastructure"}
    if record.state is not State.REJECTED and record.bus_ack_requested is not False:
        asked.add("business")
    return asked - {response.level for response in responses}


def knows_by_another_way(record: MessageRecord) -> bool:
    """A person has ended it, and said that its sender knows."""
    return record.state is State.ABANDONED and ABANDON_REASONS[record.reason] is MustBeTold.NOBODY


Practice.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
TestNeverSilentNeverDouble = Practice.TestCase
