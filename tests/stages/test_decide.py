"""Decisions that wait for a person: what is said about them over days, and what the configuration decides at the end."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mesh_itk3.deadlines import Deadlines
from mesh_itk3.handler import BusinessCode, Defer, Respond
from mesh_itk3.lifecycle import State
from mesh_itk3.simulator.messages import a_message
from mesh_itk3.stages.decide import CONFIGURATION, decision, watch_decisions
from mesh_itk3.stages.dispatch import dispatch
from mesh_itk3.stages.interpret import interpret
from mesh_itk3.stages.respond import respond
from support.fake_mailbox import FakeMailbox, a_mesh_message
from support.stage_world import a_registry, a_small_daemon

SAID = ("decision.reminder", "decision.overdue", "decision.by_deadline")


def waiting(tmp_path, *bodies, reason="date_of_birth_differs", **rules):
    """A daemon with messages that wait for a person since now, and their MESH ids."""
    messages = [a_mesh_message(body) for body in bodies or (a_message("ITK003D"),)]
    daemon = a_small_daemon(tmp_path, FakeMailbox(messages))
    object.__setattr__(daemon.world, "deadlines", Deadlines(**rules))
    daemon.collect()
    interpret(daemon.world)
    daemon.handler.answers = [Defer(reason) for _ in messages]
    dispatch(daemon.world)
    return daemon, *(message.mesh_message_id for message in messages)


def heard(daemon, *, hours, every=1.0):
    """What is said while this many hours pass, looking every so many hours: (hours since the beginning, event)."""
    began, said = daemon.clock.now(), []
    for _ in range(int(hours / every)):
        daemon.clock.advance(hours=every)
        before = len(daemon.events)
        watch_decisions(daemon.world)
        elapsed = (daemon.clock.now() - began).total_seconds() / 3600
        said += [(elapsed, event["event"]) for event in daemon.events[before:] if event["event"] in SAID]
    return said


def test_a_decision_is_reminded_of_before_its_deadline_and_raised_daily_after_it(tmp_path):
    daemon, message = waiting(tmp_path)
    assert heard(daemon, hours=130) == [
        (48, "decision.reminder"),
        (68, "decision.reminder"),
        (72, "decision.overdue"),
        (96, "decision.overdue"),
        (120, "decision.overdue"),
    ]
    assert daemon.record(message).state is State.AWAITING_DECISION
    assert daemon.codes(message) == {"infrastructure": "20013"}


def test_what_is_said_names_the_message_why_it_waits_and_the_hours_left(tmp_path):
    daemon, message = waiting(tmp_path)
    heard(daemon, hours=73)
    reminder, overdue = daemon.said("decision.reminder")[0], daemon.said("decision.overdue")[0]
    assert (reminder["mesh_message_id"], reminder["hours_left"], reminder["reason"]) == (message, 24.0, "date_of_birth_differs")
    assert overdue["hours_left"] == 0.0
    timeline = [entry.outcome for entry in daemon.ledger.timeline(daemon.record(message).key) if entry.stage == "decide"]
    assert timeline == ["reminded", "reminded", "overdue"]


def test_a_restart_neither_repeats_nor_forgets_what_was_said(tmp_path):
    daemon, message = waiting(tmp_path)
    heard(daemon, hours=50)
    at = daemon.clock.now()
    daemon.ledger.close()
    restarted = a_small_daemon(tmp_path)
    restarted.clock.at = at
    assert heard(restarted, hours=17) == []
    assert heard(restarted, hours=2) == [(1, "decision.reminder")]
    assert restarted.record(message).deferred_at == at - timedelta(hours=50)


def test_a_daemon_that_stood_still_for_a_week_says_it_once(tmp_path):
    daemon, _ = waiting(tmp_path)
    daemon.clock.advance(days=7)
    assert [watch_decisions(daemon.world) for _ in range(3)] == [1, 0, 0]
    assert len(daemon.said("decision.overdue")) == 1


def test_a_decision_that_is_made_is_not_spoken_of_any_more(tmp_path):
    daemon, message = waiting(tmp_path)
    daemon.ledger.apply([decision(daemon.record(message), BusinessCode.PATIENT_LEFT, "Jo", daemon.clock.now())])
    daemon.handler.answers = [Respond(BusinessCode.PATIENT_LEFT)]
    dispatch(daemon.world)
    assert heard(daemon, hours=200, every=10) == []
    assert daemon.codes(message)["business"] == "30003"


def test_each_message_has_its_own_clock(tmp_path):
    daemon, first = waiting(tmp_path)
    daemon.clock.advance(hours=40)
    second = daemon.mailbox.deliver(a_mesh_message(a_message("ITK003D", seed="two")))
    daemon.collect()
    interpret(daemon.world)
    daemon.handler.answers = [Defer("date_of_birth_differs")]
    dispatch(daemon.world)
    heard(daemon, hours=10)
    assert [said["mesh_message_id"] for said in daemon.said("decision.reminder")] == [first]
    heard(daemon, hours=39)
    assert [said["mesh_message_id"] for said in daemon.said("decision.reminder")] == [first, first, second]


def test_by_default_nothing_is_ever_decided_by_itself(tmp_path):
    daemon, message = waiting(tmp_path)
    heard(daemon, hours=24 * 60, every=12)
    assert daemon.record(message).state is State.AWAITING_DECISION
    assert daemon.record(message).decision_code is None


def test_the_configured_code_is_decided_at_the_deadline_and_carried_out_by_the_handler(tmp_path):
    daemon, message = waiting(tmp_path, at_deadline=BusinessCode.PATIENT_NOT_KNOWN)
    assert heard(daemon, hours=71)[-1] == (68, "decision.reminder")
    assert heard(daemon, hours=2) == [(1, "decision.by_deadline")]
    record = daemon.record(message)
    assert (record.state, record.decision_code, record.decided_by) == (State.ACCEPTED, "30002", CONFIGURATION)
    daemon.handler.answers = [Respond(BusinessCode.PATIENT_NOT_KNOWN)]
    dispatch(daemon.world)
    decided = daemon.handler.calls[-1][1].decision
    assert (decided.code, decided.is_by_person) == (BusinessCode.PATIENT_NOT_KNOWN, False)
    respond(daemon.world, daemon.mailbox)
    assert [b"20013" in sent.body or b"30002" in sent.body for sent in daemon.mailbox.sent] == [True, True]
    entry = next(entry for entry in daemon.ledger.timeline(record.key) if entry.outcome == "decided")
    assert (entry.response_code, entry.reason, entry.who) == ("30002", "deadline_decided", CONFIGURATION)


def test_a_code_that_the_handler_does_not_let_a_person_decide_is_not_decided_but_raised(tmp_path):
    daemon, message = waiting(tmp_path, at_deadline=BusinessCode.REFERRAL_OPEN)
    assert heard(daemon, hours=73)[-1] == (72, "decision.overdue")
    assert daemon.record(message).state is State.AWAITING_DECISION


def test_nothing_is_decided_while_the_handler_that_would_carry_it_out_is_gone(tmp_path):
    daemon, message = waiting(tmp_path, at_deadline=BusinessCode.PATIENT_LEFT)
    routes = daemon.world.routes
    object.__setattr__(daemon.world, "routes", a_registry())
    assert heard(daemon, hours=73)[-1] == (72, "decision.overdue")
    object.__setattr__(daemon.world, "routes", routes)
    assert heard(daemon, hours=3) == [(3, "decision.by_deadline")]
    assert daemon.record(message).decision_code == "30003"


@pytest.mark.parametrize("reason", ["no_register", "register_unusable"])
def test_nothing_is_decided_by_itself_where_no_register_could_answer(tmp_path, reason):
    daemon, message = waiting(tmp_path, reason=reason, at_deadline=BusinessCode.PATIENT_NOT_KNOWN)
    daemon.clock.advance(hours=80)
    assert heard(daemon, hours=100) == [(1, "decision.overdue"), (16, "decision.overdue"), (40, "decision.overdue"),
                                        (64, "decision.overdue"), (88, "decision.overdue")]  # fmt: skip
    record = daemon.record(message)
    assert (record.state, record.reason, record.decision_code) == (State.AWAITING_DECISION, reason, None)


def test_after_a_downtime_the_first_look_says_it_and_decides_nothing(tmp_path):
    daemon, message = waiting(tmp_path, at_deadline=BusinessCode.PATIENT_NOT_KNOWN)
    daemon.clock.advance(hours=80)
    assert heard(daemon, hours=4) == [(1, "decision.overdue")]
    assert daemon.record(message).decision_code is None
    assert heard(daemon, hours=1) == [(1, "decision.by_deadline")]


def test_a_person_who_decides_at_the_same_moment_wins(tmp_path):
    daemon, _ = waiting(tmp_path, at_deadline=BusinessCode.PATIENT_LEFT)
    heard(daemon, hours=71)
    daemon.clock.advance(hours=9)
    listed = daemon.ledger.waiting([State.AWAITING_DECISION])
    daemon.ledger.apply([decision(listed[0], BusinessCode.PATIENT_KNOWN, "Jo", daemon.clock.now())])

    class Slow:
        """The ledger as this daemon had read it a moment before the person's decision."""

        def __getattr__(self, name):
            return (lambda *_: listed) if name == "waiting" else getattr(daemon_ledger, name)

    daemon_ledger = daemon.ledger
    object.__setattr__(daemon.world, "ledger", Slow())
    watch_decisions(daemon.world)
    assert (daemon_ledger.get(listed[0].key).decision_code, daemon_ledger.get(listed[0].key).decided_by) == ("30001", "Jo")
    assert daemon.said("decision.by_deadline") == []


@pytest.mark.parametrize(("who", "reason"), [("Jo", "person_decided"), (CONFIGURATION, "deadline_decided")])
def test_the_record_says_whether_a_person_decided(tmp_path, who, reason):
    daemon, message = waiting(tmp_path)
    step = decision(daemon.record(message), BusinessCode.PATIENT_KNOWN, who, daemon.clock.now())
    assert (step.entry.reason, step.changes["reason"], step.changes["decided_by"]) == (reason, reason, who)


# ---------------------------------------------------------------------------------------------- a clock that was ahead


def test_a_decision_that_began_to_wait_by_a_clock_that_was_ahead_waits_from_when_that_was_noticed(tmp_path):
    daemon, message = waiting(tmp_path)
    daemon.clock.advance(days=-365)
    noticed = daemon.clock.now()
    watch_decisions(daemon.world)
    assert daemon.record(message).deferred_at == noticed
    assert heard(daemon, hours=100) == [
        (48, "decision.reminder"),
        (68, "decision.reminder"),
        (72, "decision.overdue"),
        (96, "decision.overdue"),
    ]


def test_nothing_is_decided_early_because_a_clock_was_ahead(tmp_path):
    rules = {"deadline": timedelta(hours=72), "at_deadline": BusinessCode.PATIENT_NOT_KNOWN}
    daemon, message = waiting(tmp_path, **rules)
    began = daemon.clock.now()
    daemon.clock.advance(hours=70)
    watch_decisions(daemon.world)
    daemon.clock.at = began + timedelta(hours=1)
    assert heard(daemon, hours=70) == [(47, "decision.reminder"), (67, "decision.reminder")]
    assert daemon.record(message).state is State.AWAITING_DECISION
    assert heard(daemon, hours=1) == [(1, "decision.by_deadline")]
