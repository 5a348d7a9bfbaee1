"""Whatever comes, fails, dies and is tried in whatever order: nothing is lost, nothing is answered twice, nothing stands still.

Rules drive the composed daemon of `practice.py`; the oracle judges from outside what MESH was told and what lies on the disk,
after every step and again when all has been healed.

`ITK3_OVERNIGHT=1` makes ten times as many steps, other ones each time; `ITK3_STEPS` as many as it says, and then
nothing is asked of how often each thing was seen; `ITK3_SHRINK=1` looks for the shortest way to what was found, which
takes minutes.
"""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import wraps

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from itk3.a_message import DOCUMENT_ID, HEADER_ID, flag, handling
from itk3.a_message import a_message as an_itk3_message
from machine import people
from machine.oracle import Delivered
from machine.practice import WORK, MachinePractice
from machine.rest import come_to_rest, mend_and_retry, parked, wrong_at_rest
from mesh_itk3.handler import BusinessCode
from mesh_itk3.lifecycle import State
from mesh_itk3.reasons import ABANDON_REASONS
from mesh_itk3.stages.decide import decision
from mesh_itk3.stages.track import MESH_KEEPS_UNREAD
from support.fake_mailbox import a_mesh_message, a_report
from support.stage_world import ACK_WORKFLOW, PRACTICE, WORKFLOW

IS_OVERNIGHT = os.environ.get("ITK3_OVERNIGHT") == "1"
STEPS = int(os.environ.get("ITK3_STEPS", "200000" if IS_OVERNIGHT else "20000"))
STEPS_OF_A_RUN = 100
TROUBLE = ("defer", "later", "raise", "file and raise", "exit", "nonsense", "die", "file and die", "hang")
CODES = tuple(BusinessCode)[:4]
WORKS = st.sampled_from(sorted(WORK))
ACTS = st.lists(st.sampled_from(["", "", "30001", "30004", "30002", *TROUBLE]), min_size=1, max_size=5)
"""What the handler does to the next messages; "" and those after the last: what that message's temper is."""
TEMPERS = st.sampled_from([*["30001", "30002", "30003", "30004", "defer"] * 3, "raise", "raise", "die"])
SEND_FAULTS = st.sampled_from(
    [(), ("send",), ("send_answer",), ("send_answer", "find_sent"), ("send_refused",), ("find_sent",), ("send", "find_sent")]
)
POLL_FAULTS = st.sampled_from([(), ("pages",), ("open",), ("write",), ("acknowledge",), ("acknowledge_answer",)])
DISKS = st.sampled_from([{"payloads"}, {"letters"}, {"ledger"}, {"payloads", "letters", "ledger"}])


RULES = (
    "deliver", "resend", "echo", "report", "expire", "poll", "handle", "send", "lose_answers", "go_through", "work", "decide",
    "wait", "crash", "restart", "reload", "fill_disk", "free_disk", "lose_lease", "operate", "grow_old", "keep",
)  # fmt: skip
VERBS = ("retry", "hold", "hold", "release", "abandon", "seen")
OUTCOMES = (
    "20013",
    "20007",
    "20008",
    "10001",
    *CODES,
    "letters",
    "deaths",
    "faults",
    "parked",
    "resent",
    "abandoned",
    "pruned",
    "restores",
)
MADE: Counter[str] = Counter()
"""How many steps of each kind were made, over all runs."""
SEEN: Counter[str] = Counter()
"""What came of them: the codes that MESH was given, letters filed, processes that died."""


def step(function: Callable[..., None]) -> Callable[..., None]:
    """A rule whose steps are counted."""

    @wraps(function)
    def counted(machine: Machine, **drawn: object) -> None:
        MADE[function.__name__] += 1
        function(machine, **drawn)

    return counted


def steps() -> int:
    """How many were made."""
    return sum(MADE[rule] for rule in RULES)


def is_up(machine: Machine) -> bool:
    return machine.practice.daemon is not None


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.practice = MachinePractice()
        self.oracle, self.mesh = self.practice.oracle, self.practice.mesh
        self.documents = 0
        self.practice.start()

    @initialize(code=st.sampled_from([None, *CODES]), page_size=st.sampled_from([2, 3, 500]))
    def configured(self, code, page_size):
        self.practice.at_deadline, self.mesh.page_size = code, page_size
        self.practice.stop()
        self.practice.start()

    # -------------------------------------------------------------------------------------------- what comes

    @rule(
        infrastructure=st.booleans(),
        business=st.booleans(),
        what=st.sampled_from(["letter"] * 4 + ["refused", "foreign"]),
        temper=TEMPERS,
    )
    @step
    def deliver(self, infrastructure, business, what, temper):
        if what == "foreign":
            self._put(Delivered("", b"not ours", "foreign"), workflow_id="SOMEBODY_ELSES")
            return
        self.documents += 1
        document = f"document-{self.documents}"
        self.practice.handler.tempers[document] = temper
        message = Delivered("", b"", what, document, "", infrastructure, business)
        self._put(self._with_header(message, self.documents))

    @precondition(lambda self: self._letters())
    @rule(data=st.data(), is_new_header=st.booleans())
    @step
    def resend(self, data, is_new_header):
        """The same document once more: the same message, or, where the sender wraps it anew, another (20007, 20008)."""
        first = self._one_of(data, self._letters())
        self.documents += is_new_header
        self._put(self._with_header(first, self.documents) if is_new_header else first)

    @precondition(lambda self: self.mesh.sent)
    @rule(data=st.data(), workflow_id=st.sampled_from([ACK_WORKFLOW, WORKFLOW]))
    @step
    def echo(self, data, workflow_id):
        """What we sent comes back."""
        sent = self._one_of(data, self.mesh.sent)
        self._put(Delivered("", sent.body, "other"), workflow_id=workflow_id, local_id=sent.local_id)

    @precondition(lambda self: self.mesh.sent)
    @rule(data=st.data())
    @step
    def report(self, data):
        """MESH says that it could not deliver one of ours."""
        message = a_report(local_id=self._one_of(data, self.mesh.sent).local_id)
        self._put(Delivered("", b"", "other"), message)

    @precondition(lambda self: self._unread())
    @rule(data=st.data())
    @step
    def expire(self, data):
        """MESH gives up what nobody has fetched in five days."""
        mesh_message_id = self._one_of(data, self._unread())
        self.oracle.expired.add(mesh_message_id)
        self.mesh.expire(mesh_message_id)

    # -------------------------------------------------------------------------------------------- what is done

    @precondition(is_up)
    @rule(fails_on=POLL_FAULTS, times=st.integers(1, 3))
    @step
    def poll(self, fails_on, times):
        self._work("poll", fails_on, times)

    @precondition(is_up)
    @rule(acts=ACTS)
    @step
    def handle(self, acts):
        """Handler ok, fails, hangs, asks for time, for a person, dies."""
        self.practice.handler.script = list(acts)
        self.practice.work("interpret")
        self.practice.work("dispatch")

    @precondition(is_up)
    @rule(fails_on=SEND_FAULTS, times=st.integers(1, 4), limit=st.integers(1, 6))
    @step
    def send(self, fails_on, times, limit):
        self._work("respond", fails_on, times, limit)

    @precondition(is_up)
    @rule(minutes=st.sampled_from([5, 70]))
    @step
    def lose_answers(self, minutes):
        """MESH takes what we send and its answer is lost; later it cannot be asked either."""
        for what in ("interpret", "dispatch"):
            self._work(what)
        self._work("respond", ("send_answer",))
        self.practice.clock.advance(minutes=minutes)
        self._work("respond", ("find_sent",))

    @precondition(is_up)
    @rule(acts=ACTS, fails_on=st.one_of(POLL_FAULTS, SEND_FAULTS))
    @step
    def go_through(self, acts, fails_on):
        """Everything once, in the order in which a message takes it."""
        self.practice.handler.script = list(acts)
        for what in ("poll", "interpret", "dispatch", "correlate", "respond"):
            self._work(what, fails_on, times=1)

    @precondition(is_up)
    @rule(what=st.sampled_from(["interpret", "correlate", "track", "duties", "sweep", "handshake"]))
    @step
    def work(self, what):
        self._work(what)

    @precondition(is_up)
    @rule(code=st.sampled_from(CODES))
    @step
    def decide(self, code):
        """A person decides, in a command of their own."""
        with self.practice.a_job():
            for record in self.practice.daemon.ledger.waiting([State.AWAITING_DECISION])[:1]:
                self.practice.daemon.ledger.apply([decision(record, code, "Jo", self.practice.clock.now())])

    @rule(minutes=st.sampled_from([1, 5, 70, 30 * 60, 100 * 60]))
    @step
    def wait(self, minutes):
        """Backoffs end, decisions come near their deadline and pass it, responses are overdue."""
        self.practice.clock.advance(minutes=minutes)
        self.practice.work("duties")

    # -------------------------------------------------------------------------------------------- what people do besides

    @precondition(is_up)
    @rule(verb=st.sampled_from(VERBS), data=st.data(), reason=st.sampled_from(list(ABANDON_REASONS)))
    @step
    def operate(self, verb, data, reason):
        """An operator's verb, or `seen`, in a command of its own."""
        MADE[verb] += 1
        if verb == "abandon":  # or there would hardly ever be one to end
            self.deliver(infrastructure=True, business=True, what="letter", temper="defer")
        if verb in ("hold", "abandon"):  # what has just come, before its handler has dealt with it
            self._work("poll")
            self._work("interpret")
        if not is_up(self):
            return
        with self.practice.a_job():
            match verb:
                case "retry":
                    people.retry_all(self.practice)
                case "hold":
                    people.hold_one(self.practice, self._number_of(data))
                case "release":
                    people.release_all(self.practice)
                case "abandon":
                    people.abandon_one(self.practice, self._number_of(data), reason)
                case "seen":
                    people.see_all(self.practice)

    @precondition(is_up)
    @rule(days=st.sampled_from([0, 31, 95]))
    @step
    def grow_old(self, days):
        """The other side reads what it has got; people know what stands; what is settled is pruned, weeks later."""
        self.mesh.is_read()
        self.practice.clock.advance(hours=2)
        self._work("track")
        if is_up(self):
            with self.practice.a_job():
                people.see_all(self.practice)
        self.practice.clock.advance(days=days)
        self._work("poll")  # retention counts from when MESH has last answered
        self._work("prune")

    @rule(is_restored=st.sampled_from([False, False, True]))
    @step
    def keep(self, is_restored):
        """A backup is taken; or the ledger is lost, and the last one takes its place beside the newer payload store."""
        if is_restored and self.practice.has_backup:
            people.restore(self.practice)
            self.practice.start()
        else:
            people.take_backup(self.practice)

    # -------------------------------------------------------------------------------------------- what goes wrong

    @precondition(is_up)
    @rule(what=WORKS, at=st.integers(1, 40), acts=ACTS, fails_on=st.one_of(POLL_FAULTS, SEND_FAULTS), comes_back=st.booleans())
    @step
    def crash(self, what, at, acts, fails_on, comes_back):
        """Killed at the `at`-th call of a port; idle, where the work ends before."""
        self.practice.handler.script = list(acts)
        self.practice.points.dies_in = at
        self._work(what, fails_on)
        if is_up(self):
            self.practice.bury()
        if comes_back:
            self.practice.start()

    @precondition(lambda self: not is_up(self))
    @rule()
    @step
    def restart(self):
        self.practice.start()

    @precondition(is_up)
    @rule(is_disabled=st.booleans())
    @step
    def reload(self, is_disabled):
        """Told to stop, and a new process with its configuration read anew: the handler may be switched off or on."""
        self.practice.is_disabled = is_disabled
        self.practice.stop()
        self.practice.start()

    @precondition(lambda self: not self.practice.points.full)
    @rule(disks=DISKS, refuses=st.integers(1, 8))
    @step
    def fill_disk(self, disks, refuses):
        """For so many writes."""
        self.practice.points.full, self.practice.points.refuses = frozenset(disks), refuses

    @precondition(lambda self: self.practice.points.full)
    @rule()
    @step
    def free_disk(self):
        self.practice.points.full = frozenset()

    @precondition(is_up)
    @rule(what=WORKS, at=st.integers(1, 6))
    @step
    def lose_lease(self, what, at):
        """Another daemon has taken over: this one commits nothing more, and stops. Later it is ours again."""
        self.practice.points.loses_lease_in = at
        self._work(what)
        self.practice.points.loses_lease_in = None
        if not is_up(self):
            self.practice.start()

    # -------------------------------------------------------------------------------------------- what must hold

    @invariant()
    def nothing_is_wrong(self):
        """Each letter is filed once, and each document. MESH deletes for two reasons only: it was told that we hold the
        message, or it gave up waiting. What else must not be, the oracle says.
        """
        filed = self.oracle.letters()
        assert self.oracle.broken == []
        assert self.oracle.lost() == 0
        assert set(filed.values()) <= {1}
        assert len({self.oracle.delivered[each].document for each in filed}) == len(filed)
        gone = {each for each in self.oracle.delivered if not self.mesh.holds(each)}
        assert gone <= self.oracle.acknowledged | self.oracle.expired

    def teardown(self):
        """All is healed and somebody decides what waits: then everything has had its answer, or stands before a person."""
        try:
            come_to_rest(self.practice)
            assert wrong_at_rest(self.practice) == []
            SEEN.update(each.code for each in self.oracle.answers)
            SEEN.update(letters=len(self.oracle.letters()), deaths=self.oracle.deaths, faults=self.oracle.faults)
            SEEN.update(
                parked=len(parked(self.practice)),
                abandoned=self.oracle.endings,
                pruned=len(self.oracle.pruned),
                restores=len(self.oracle.restores),
                resent=len(self.mesh.sent) - len({each.local_id for each in self.mesh.sent}),
            )
            if parked(self.practice):
                mend_and_retry(self.practice)
                assert parked(self.practice) == set()
                assert wrong_at_rest(self.practice) == []
        finally:
            self.practice.close()

    # -------------------------------------------------------------------------------------------- inside

    def _work(self, what, fails_on=(), times=3, limit=50):
        self.mesh.faults(fails_on, times)
        self.practice.work(what, limit)
        self.mesh.heal()

    def _one_of(self, data, things):
        return things[self._number_of(data)(len(things))]

    def _number_of(self, data):
        return lambda many: data.draw(st.integers(0, many - 1))

    def _letters(self):
        return [each for each in self.oracle.delivered.values() if each.document]

    def _unread(self):
        since = self.practice.clock.now() - MESH_KEEPS_UNREAD
        return [each for each in self.mesh.inbox if self.oracle.delivered[each].at <= since]

    def _with_header(self, message, number):
        header_id = f"{HEADER_ID[:-6]}{number:06x}"
        asks = {
            "InfAckRequested": flag(str(message.asks_infrastructure).lower()),
            "BusAckRequested": flag(str(message.asks_business).lower()),
        }
        broken = {} if message.what == "letter" else {"MessageDefinition": None}
        body = an_itk3_message(specification=handling(**asks, **broken))
        body = body.replace(HEADER_ID.encode(), header_id.encode()).replace(b"the-document", message.document.encode())
        assert DOCUMENT_ID.encode() in body
        return replace(message, body=body, header_id=header_id)

    def _put(self, message, on_the_wire=None, **said):
        on_the_wire = on_the_wire or a_mesh_message(message.body, recipient_mailbox_id=PRACTICE, filename="letter.xml", **said)
        mesh_message_id, now = on_the_wire.mesh_message_id, self.practice.clock.now()
        self.oracle.delivered[mesh_message_id] = replace(message, mesh_message_id=mesh_message_id, at=now)
        self.mesh.deliver(on_the_wire)


RUNS = settings(
    max_examples=25,
    stateful_step_count=STEPS_OF_A_RUN,
    database=None,
    deadline=None,
    phases=(Phase.generate, Phase.shrink) if os.environ.get("ITK3_SHRINK") == "1" else (Phase.generate,),
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.plays_the_practice  # thousands of responses, of the same few codes: judging each would take as long as the run
@pytest.mark.timeout(0 if IS_OVERNIGHT else 900)
def test_whatever_happens_in_whatever_order_nothing_is_lost_and_nothing_answered_twice():
    MADE.clear()
    SEEN.clear()
    number = secrets.randbits(32) if IS_OVERNIGHT else 0
    while steps() < STEPS:
        seed(number)(Machine)
        try:
            run_state_machine_as_test(Machine, settings=RUNS)
        except BaseException as error:
            error.add_note(f"seed {number}, after {steps()} steps")
            raise
        number += 1
    assert steps() >= STEPS
    if "ITK3_STEPS" in os.environ:
        return
    assert min(MADE[rule] for rule in (*RULES, *VERBS)) >= STEPS // 1_000, f"hardly ever made: {MADE}"
    assert min(SEEN[each] for each in OUTCOMES) >= STEPS // 2_000, f"hardly ever seen: {SEEN}"
