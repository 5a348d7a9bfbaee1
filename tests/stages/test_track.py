"""Responses that MESH has taken: followed until they are delivered or given up; raised where neither is ever said."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mesh_itk3.lifecycle import ResponseState
from mesh_itk3.ports import Entry, MailboxUnavailable, ResponseChanges, ResponseStep, Tracking
from mesh_itk3.simulator.messages import a_message
from mesh_itk3.stages.correlate import correlate
from mesh_itk3.stages.dispatch import dispatch
from mesh_itk3.stages.interpret import interpret
from mesh_itk3.stages.respond import respond
from mesh_itk3.stages.track import raise_overdue, track
from support.fake_mailbox import FakeMailbox, a_mesh_message, a_report
from support.stage_world import PRACTICE, a_small_daemon

SENT, DELIVERED, UNDELIVERED = ResponseState.SENT, ResponseState.DELIVERED, ResponseState.UNDELIVERED


@pytest.fixture
def hospital():
    return FakeMailbox(mailbox_id="X26ABC1")


def having_sent(tmp_path, hospital, count=1):
    """A daemon that has sent both responses to these messages, and their MESH ids."""
    messages = [a_mesh_message(a_message("ITK003D", seed=str(n))) for n in range(count)]
    daemon = a_small_daemon(tmp_path, FakeMailbox(messages, delivers_to={"X26ABC1": hospital}))
    daemon.collect()
    interpret(daemon.world)
    dispatch(daemon.world)
    respond(daemon.world, daemon.mailbox)
    return daemon, *(message.mesh_message_id for message in messages)


def states(daemon, message):
    return {level: response.state for level, response in daemon.responses(message).items()}


def test_a_response_that_nobody_fetches_is_raised_once_after_five_days(tmp_path, hospital):
    daemon, message = having_sent(tmp_path, hospital)
    daemon.clock.advance(days=5)
    assert raise_overdue(daemon.world) == 0
    daemon.clock.advance(hours=2)
    assert [raise_overdue(daemon.world) for _ in range(3)] == [2, 0, 0]
    said = daemon.said("response.overdue")
    assert {event["level"] for event in said} == {"infrastructure", "business"}
    assert {event["mesh_message_id"] for event in said} == {message}
    response = daemon.responses(message)["business"]
    assert (response.state, response.reason, response.raised_at) == (SENT, "never_acknowledged", daemon.clock.now())
    assert [each.level for each in daemon.ledger.unseen().responses] == ["infrastructure", "business"]


def test_a_restart_does_not_raise_it_again(tmp_path, hospital):
    daemon, _ = having_sent(tmp_path, hospital)
    daemon.clock.advance(days=6)
    raise_overdue(daemon.world)
    at = daemon.clock.now()
    daemon.ledger.close()
    restarted = a_small_daemon(tmp_path, daemon.mailbox)
    restarted.clock.at = at + timedelta(days=10)
    assert raise_overdue(restarted.world) == 0
    assert len(restarted.ledger.unseen().responses) == 2


def test_it_is_raised_while_mesh_cannot_be_asked_too(tmp_path, hospital):
    daemon, _ = having_sent(tmp_path, hospital)
    daemon.mailbox.fails_on, daemon.mailbox.error = ("track",), MailboxUnavailable("timeout")
    daemon.clock.advance(days=6)
    with pytest.raises(MailboxUnavailable):
        track(daemon.world, daemon.mailbox)
    assert raise_overdue(daemon.world) == 2


def failing_for(daemon, *mesh_message_ids):
    """MESH answers for every message but these with a fault of its own; what it was asked about, in order."""
    real, asked = daemon.mailbox.track, []

    def track_or_fail(mesh_message_id):
        asked.append(mesh_message_id)
        if mesh_message_id in mesh_message_ids:
            raise MailboxUnavailable("http_500")
        return real(mesh_message_id)

    daemon.mailbox.track = track_or_fail
    return asked


def test_one_response_that_mesh_cannot_tell_of_holds_up_no_other(tmp_path, hospital):
    daemon, first, second = having_sent(tmp_path, hospital, count=2)
    bad = daemon.responses(first)["infrastructure"]
    for sent in list(hospital._inbox):
        hospital.acknowledge(sent)
    asked = failing_for(daemon, bad.mesh_message_id)
    daemon.clock.advance(hours=2)
    assert track(daemon.world, daemon.mailbox) == 3
    assert states(daemon, first) == {"infrastructure": SENT, "business": DELIVERED}
    assert set(states(daemon, second).values()) == {DELIVERED}
    assert track(daemon.world, daemon.mailbox) == 0
    assert asked.count(bad.mesh_message_id) == 1


def test_it_is_asked_about_again_after_the_others(tmp_path, hospital):
    daemon, first, _ = having_sent(tmp_path, hospital, count=2)
    bad = daemon.responses(first)["infrastructure"].mesh_message_id
    asked = failing_for(daemon, bad)
    daemon.clock.advance(hours=2)
    track(daemon.world, daemon.mailbox, limit=2)
    daemon.clock.advance(hours=2)
    track(daemon.world, daemon.mailbox, limit=2)
    assert asked[0] == bad
    assert len(set(asked)) == 4


def test_after_several_failures_in_a_row_mesh_is_asked_no_more_in_this_turn(tmp_path, hospital):
    daemon, *messages = having_sent(tmp_path, hospital, count=3)
    sent = [each.mesh_message_id for message in messages for each in daemon.responses(message).values()]
    asked = failing_for(daemon, *sent)
    daemon.clock.advance(hours=2)
    with pytest.raises(MailboxUnavailable):
        track(daemon.world, daemon.mailbox)
    assert len(asked) == 3


def test_a_response_of_which_mesh_knows_nothing_any_more_is_raised_too(tmp_path, hospital):
    daemon, message = having_sent(tmp_path, hospital)
    daemon.mailbox._tracking.clear()
    daemon.clock.advance(days=6)
    track(daemon.world, daemon.mailbox)
    assert raise_overdue(daemon.world) == 2
    assert set(states(daemon, message).values()) == {SENT}


def test_a_response_that_arrives_late_after_all_needs_nobody_any_more(tmp_path, hospital):
    daemon, message = having_sent(tmp_path, hospital)
    daemon.clock.advance(days=6)
    raise_overdue(daemon.world)
    for sent in list(hospital._inbox):
        hospital.acknowledge(sent)
    daemon.clock.advance(days=2)
    assert track(daemon.world, daemon.mailbox) == 2
    assert set(states(daemon, message).values()) == {DELIVERED}
    assert daemon.ledger.unseen().responses == ()
    assert daemon.responses(message)["business"].reason is None


def test_after_five_days_mesh_is_asked_daily_and_after_thirty_no_more(tmp_path, hospital):
    daemon, _ = having_sent(tmp_path, hospital)
    asked = []
    for _ in range(40):
        before = len(daemon.mailbox.verbs("track"))
        for _ in range(4):
            daemon.clock.advance(hours=6)
            track(daemon.world, daemon.mailbox)
        asked.append((len(daemon.mailbox.verbs("track")) - before) // 2)
    assert asked[:5] == [4] * 5
    assert max(asked[7:28]) == 1
    assert sum(asked[7:28]) >= 15
    assert set(asked[31:]) == {0}


def test_no_response_is_asked_about_twice_in_one_turn(tmp_path, hospital):
    daemon, *_ = having_sent(tmp_path, hospital, count=3)
    daemon.clock.advance(days=3)
    assert track(daemon.world, daemon.mailbox) == 6
    assert len(set(daemon.mailbox.verbs("track"))) == 6


def test_what_is_raised_and_seen_and_then_given_up_by_mesh_stands_again(tmp_path, hospital):
    daemon, message = having_sent(tmp_path, hospital)
    daemon.clock.advance(days=6)
    raise_overdue(daemon.world)
    key = daemon.record(message).key
    daemon.ledger.mark_seen(key, Entry(at=daemon.clock.now(), stage="seen", outcome="seen", who="Jo"))
    for sent in list(hospital._inbox):
        hospital.expire(sent)
    daemon.clock.advance(days=2)
    track(daemon.world, daemon.mailbox)
    assert set(states(daemon, message).values()) == {UNDELIVERED}
    assert len(daemon.ledger.unseen().responses) == 2


# ---------------------------------------------------------------------------------------------- a clock that was ahead


@pytest.fixture
def sent_ahead(tmp_path, hospital):
    """Both responses went out while the clock was a year ahead, which has been set right since; and their message."""
    daemon, message = having_sent(tmp_path, hospital)
    steps = [
        ResponseStep(each.local_id, SENT, SENT, None, ResponseChanges(sent_at=daemon.clock.now() + timedelta(days=365)))
        for each in daemon.responses(message).values()
    ]
    daemon.ledger.apply_responses(steps)
    return daemon, message


def test_a_response_sent_by_a_clock_that_was_ahead_is_asked_about_all_the_same(sent_ahead, hospital):
    daemon, message = sent_ahead
    for sent in list(hospital._inbox):
        hospital.acknowledge(sent)
    raise_overdue(daemon.world)
    daemon.clock.advance(hours=2)
    assert track(daemon.world, daemon.mailbox) == 2
    assert set(states(daemon, message).values()) == {DELIVERED}


def test_a_response_sent_by_a_clock_that_was_ahead_is_raised_five_days_after_that_was_noticed_and_not_before(sent_ahead):
    daemon, message = sent_ahead
    noticed = daemon.clock.now()
    assert raise_overdue(daemon.world) == 0
    assert {each.sent_at for each in daemon.responses(message).values()} == {noticed}
    daemon.clock.advance(days=5)
    assert raise_overdue(daemon.world) == 0
    daemon.clock.advance(hours=2)
    assert [raise_overdue(daemon.world) for _ in range(2)] == [2, 0]
    timeline = [entry.outcome for entry in daemon.ledger.timeline(daemon.record(message).key)]
    assert timeline[-4:] == ["time_corrected"] * 2 + ["overdue"] * 2


def test_a_response_asked_about_by_a_clock_that_was_ahead_is_asked_about_again(tmp_path, hospital):
    daemon, message = having_sent(tmp_path, hospital)
    began = daemon.clock.now()
    daemon.clock.advance(days=20)
    track(daemon.world, daemon.mailbox)
    daemon.clock.at = began + timedelta(hours=2)
    for sent in list(hospital._inbox):
        hospital.acknowledge(sent)
    raise_overdue(daemon.world)
    assert track(daemon.world, daemon.mailbox) == 2
    assert set(states(daemon, message).values()) == {DELIVERED}
    assert {each.sent_at for each in daemon.responses(message).values()} == {began}


def test_what_is_raised_already_is_not_raised_again_because_a_clock_was_ahead(tmp_path, hospital):
    daemon, message = having_sent(tmp_path, hospital)
    daemon.clock.advance(days=6)
    raise_overdue(daemon.world)
    right = daemon.clock.now()
    daemon.clock.advance(days=300)
    steps = [
        ResponseStep(each.local_id, SENT, SENT, None, ResponseChanges(tracked_at=daemon.clock.now()))
        for each in daemon.responses(message).values()
    ]
    daemon.ledger.apply_responses(steps)
    daemon.clock.at = right
    assert [raise_overdue(daemon.world) for _ in range(3)] == [0, 0, 0]
    assert len(daemon.said("response.overdue")) == 2
    assert track(daemon.world, daemon.mailbox) == 2


# ---------------------------------------------------------------------------------------------- lost, and why


@pytest.mark.parametrize("code", ["14", "12", "EPL-151"])
def test_a_response_lost_to_a_mailbox_that_is_full_or_closed_is_raised_with_meshs_code(tmp_path, hospital, code):
    daemon, message = having_sent(tmp_path, hospital)
    ours = daemon.responses(message)["business"]
    daemon.mailbox.deliver(a_report(linked_message_id=ours.mesh_message_id, status_code=code))
    daemon.collect()
    correlate(daemon.world)
    lost = daemon.responses(message)["business"]
    assert (lost.state, lost.reason, lost.status_code) == (UNDELIVERED, "reported_undelivered", code)
    assert daemon.said("response.undelivered")[0]["status_code"] == code
    assert [each.local_id for each in daemon.ledger.unseen().responses] == [ours.local_id]


def test_a_status_code_that_is_none_is_not_repeated(tmp_path, hospital):
    daemon, message = having_sent(tmp_path, hospital)
    ours = daemon.responses(message)["business"]
    daemon.mailbox.deliver(a_report(linked_message_id=ours.mesh_message_id, status_code="EDITH, born 1946"))
    daemon.collect()
    correlate(daemon.world)
    assert daemon.responses(message)["business"].status_code is None
    assert "EDITH" not in repr(daemon.events)


def test_a_report_whose_headers_are_lost_still_says_that_it_is_undelivered(tmp_path, hospital):
    daemon, message = having_sent(tmp_path, hospital)
    report = a_report(linked_message_id=daemon.responses(message)["business"].mesh_message_id)
    daemon.mailbox.deliver(report)
    daemon.collect()
    daemon.world.payloads.discard(daemon.record(report.mesh_message_id).payload.name)
    correlate(daemon.world)
    assert daemon.responses(message)["business"].state is UNDELIVERED


def test_tracking_that_says_undeliverable_keeps_meshs_code(tmp_path, hospital):
    daemon, message = having_sent(tmp_path, hospital)
    daemon.mailbox.track = lambda _: Tracking("undeliverable", "14")
    daemon.clock.advance(hours=2)
    track(daemon.world, daemon.mailbox)
    assert {response.status_code for response in daemon.responses(message).values()} == {"14"}


def test_a_response_that_mesh_refuses_keeps_meshs_code_and_stands_until_seen(tmp_path):
    message = a_mesh_message(a_message("ITK003D"))
    daemon = a_small_daemon(tmp_path, FakeMailbox([message], delivers_to={}))
    daemon.collect()
    interpret(daemon.world)
    dispatch(daemon.world)
    respond(daemon.world, daemon.mailbox)
    parked = daemon.responses(message.mesh_message_id)
    assert {level: (each.state.value, each.status_code) for level, each in parked.items()} == {
        "infrastructure": ("parked", "12"),
        "business": ("parked", None),
    }
    assert len(daemon.ledger.unseen([PRACTICE]).responses) == 2


def test_a_report_that_meets_a_response_on_the_move_is_not_lost(tmp_path, hospital):
    """Another stage moves the response between our reading it and our noting the report."""
    daemon, message = having_sent(tmp_path, hospital)
    ours = daemon.responses(message)["business"]
    real = daemon.ledger

    class Stale:
        """Answers the first look-up with the response as it was before it was sent."""

        asked = 0

        def __getattr__(self, name):
            return getattr(real, name)

        def response_by(self, **named):
            Stale.asked += 1
            found = real.response_by(**named)
            if Stale.asked == 1 and found is not None:
                object.__setattr__(found, "state", ResponseState.OWED)
            return found

    object.__setattr__(daemon.world, "ledger", Stale())
    daemon.mailbox.deliver(a_report(linked_message_id=ours.mesh_message_id))
    daemon.collect()
    correlate(daemon.world)
    assert real.response_by(local_id=ours.local_id).state is UNDELIVERED
    assert len(daemon.said("response.undelivered")) == 1
