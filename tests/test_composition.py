"""The composed daemon, its mailbox replaced by one in memory."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from itertools import pairwise

import pytest

from mesh_itk3.adapters.disk_space import require_room
from mesh_itk3.adapters.ledger.collectors import FileLock
from mesh_itk3.breaker import Breaker, Errand
from mesh_itk3.lifecycle import State
from mesh_itk3.once import run_once
from mesh_itk3.ports import CredentialsRejected, ResponseChanges, ResponseStep, SendRefused
from mesh_itk3.simulator.messages import a_message
from mesh_itk3.stages.prune import ROWS_AT_ONCE
from support.composed import a_composed_daemon
from support.fake_mailbox import FakeMailbox, a_mesh_message
from support.ledger_rows import a_message as a_received
from support.ledger_rows import an_entry
from support.sandbox import PRACTICE
from support.stage_world import HOSPITAL, captured


@pytest.fixture
def daemon(tmp_path):
    """One infrastructure response is owed, and the mailbox rejects every send until it is healed."""
    mailbox = FakeMailbox([a_mesh_message(a_message("ITK003D"))], fails_on="send", error=CredentialsRejected())
    daemon = a_composed_daemon(tmp_path, mailbox)
    daemon.collect(PRACTICE)
    daemon.interpret()
    yield daemon
    daemon.close()


def sends_in(daemon, minutes):
    """How many sends were tried while `respond` ran every five seconds."""
    mailbox = daemon.mailboxes[PRACTICE]
    before = len(mailbox.verbs("send"))
    for _ in range(minutes * 12):
        daemon.respond(PRACTICE)
        daemon.clock.advance(seconds=5)
    return len(mailbox.verbs("send")) - before


def test_rejected_credentials_are_not_tried_again_every_few_seconds(daemon):
    assert sends_in(daemon, minutes=60) <= 8


def test_what_is_owed_is_sent_once_the_credentials_are_taken(daemon):
    sends_in(daemon, minutes=5)
    daemon.mailboxes[PRACTICE].heal()
    assert sends_in(daemon, minutes=20) == 1
    assert daemon.guards[PRACTICE].breaker == Breaker()


def test_a_probe_that_mesh_refuses_for_good_is_an_answer_and_closes_the_breaker(daemon):
    mailbox = daemon.mailboxes[PRACTICE]
    daemon.respond(PRACTICE)
    assert daemon.guards[PRACTICE].breaker.failing
    events = captured()
    mailbox.heal()
    mailbox.delivers_to = {}
    daemon.clock.advance(hours=1)
    daemon.respond(PRACTICE)
    assert daemon.guards[PRACTICE].breaker == Breaker()
    assert daemon.ledger.mailbox_state(PRACTICE).failures == 0
    assert [line["event"] for line in events] == ["response.parked", "mailbox.recovered"]


def test_a_probe_that_finds_nothing_to_send_is_no_answer(daemon):
    daemon.respond(PRACTICE)
    mailbox = daemon.mailboxes[PRACTICE]
    daemon.clock.advance(hours=1)
    daemon.ledger.apply_responses([put_off(each, daemon.clock) for each in daemon.ledger.outstanding_responses()])
    tried = len(mailbox.done)
    daemon.respond(PRACTICE)
    assert len(mailbox.done) == tried
    assert daemon.guards[PRACTICE].breaker.failing == {Errand.RESPOND}


def test_a_probe_that_cannot_be_sent_at_all_is_no_answer_of_mesh(daemon):
    daemon.respond(PRACTICE)
    daemon.mailboxes[PRACTICE].error = SendRefused("unusable_header", was_asked=False)
    daemon.clock.advance(hours=1)
    daemon.respond(PRACTICE)
    assert {each.status_code for each in daemon.ledger.outstanding_responses()} == {"unusable_header"}
    assert daemon.guards[PRACTICE].breaker.failing == {Errand.RESPOND}


def put_off(response, clock):
    later = ResponseChanges(due_at=clock.now() + timedelta(minutes=10))
    return ResponseStep(response.local_id, response.state, response.state, None, later)


def test_once_does_not_wait_after_rejected_credentials(daemon):
    daemon.respond(PRACTICE)
    daemon.mailboxes[PRACTICE].heal()
    daemon.ledger.make_all_due((PRACTICE,))
    assert daemon.respond(PRACTICE) == 0
    assert run_once(daemon, wait=lambda _: None) == 0
    assert len(daemon.mailboxes[PRACTICE].sent) == 2


def test_tracking_waits_after_rejected_credentials_too(daemon):
    daemon.mailboxes[PRACTICE].heal()
    assert daemon.respond(PRACTICE) == 1
    mailbox = daemon.mailboxes[PRACTICE]
    mailbox.fails_on = "track"
    for _ in range(3):
        daemon.clock.advance(hours=12)
        daemon.track(PRACTICE)
        daemon.track(PRACTICE)
    assert len(mailbox.verbs("track")) == 3


def test_what_cannot_be_closed_keeps_nothing_else_open(daemon, tmp_path):
    class Unclosable(FakeMailbox):
        def close(self):
            raise OSError("this connection stays")

    well = FakeMailbox()
    daemon.mailboxes = {"X26ABC9": Unclosable(), PRACTICE: well}
    events = captured()
    daemon.close()
    assert well.is_closed
    FileLock(tmp_path / "state" / "ledger.db").hold((), daemon.clock.now())
    assert [(line["event"], line["stage"], line["error_type"]) for line in events] == [("stage.broken", "close", "OSError")]


def test_a_holder_of_leases_has_the_name_of_no_other_process_even_where_both_have_one_number():
    """As in two containers of one name, in which each daemon is process 1."""
    asked = "from mesh_itk3.adapters.ledger import owner_name; assert owner_name() == owner_name(); print(owner_name())"
    command = [sys.executable, "-c", asked]
    names = [
        subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.split(":") for _ in range(2)
    ]
    first, second = ((host, drawn) for host, _pid, drawn in names)
    assert first[0] == second[0]
    assert first[1] != second[1]


def test_a_restart_without_its_payload_directory_begins_no_new_one(daemon, tmp_path):
    (tmp_path / "state" / "payloads").rename(tmp_path / "unmounted")
    daemon.close()
    mailbox = FakeMailbox([a_mesh_message(a_message("ITK003D", seed="new"))])
    restarted = a_composed_daemon(tmp_path, mailbox)
    restarted.collect(PRACTICE)
    assert mailbox.acknowledged == []
    (tmp_path / "unmounted").rename(tmp_path / "state" / "payloads")
    restarted.collect(PRACTICE)
    assert len(mailbox.acknowledged) == 1
    restarted.close()


def test_a_new_ledger_beside_letters_of_another_says_so_at_once(daemon, tmp_path):
    daemon.close()
    (tmp_path / "state" / "ledger.db").rename(tmp_path / "lost.db")
    said = captured()
    a_composed_daemon(tmp_path, FakeMailbox()).close()
    lines = [line for line in said if line["event"] == "payloads.unexplained"]
    assert [(line["mailbox_id"], line["count"]) for line in lines] == [(PRACTICE, 1)]


# ---------------------------------------------------------------------------------------------- the spacing of polls


def walks_in(daemon, seconds):
    """When a walk began, while one looked every second whether a poll was due."""
    job, began = collecting(daemon), []
    for _ in range(seconds):
        before = len(daemon.mailboxes[PRACTICE].verbs("pages"))
        job.run()
        began += [daemon.clock.monotonic()] * (len(daemon.mailboxes[PRACTICE].verbs("pages")) - before)
        daemon.clock.advance(seconds=1)
    return began


def collecting(daemon):
    (job,) = [job for job in daemon.jobs() if job.name == f"collect:{PRACTICE}"]
    return job


@pytest.fixture
def every_five_minutes(tmp_path):
    daemon = a_composed_daemon(tmp_path, FakeMailbox())
    practice = daemon.settings.mailboxes[PRACTICE].model_copy(update={"poll_interval_s": 300})
    mesh = daemon.settings.mesh.model_copy(update={"environment": "integration"})
    daemon.settings = daemon.settings.model_copy(update={"mailboxes": {PRACTICE: practice}, "mesh": mesh})
    yield daemon
    daemon.close()


def test_a_walk_that_began_late_is_not_followed_by_one_on_time(every_five_minutes):
    first = walks_in(every_five_minutes, 400)
    every_five_minutes.clock.advance(seconds=450)  # the machine was busy: one turn comes late
    later = walks_in(every_five_minutes, 700)
    walks = [*first, *later]
    spacing = [second - first for first, second in pairwise(walks)]
    assert spacing == [300, 550, 300, 300]
    assert collecting(every_five_minutes).every_s <= 30, "or a walk would wait for most of another interval"


def test_a_clock_that_was_years_ahead_at_the_last_poll_does_not_hold_up_the_next(every_five_minutes):
    daemon = every_five_minutes
    daemon.clock.advance(days=3650)
    daemon.collect(PRACTICE)
    daemon.clock.advance(days=-3650)
    assert collecting(daemon).first_at == daemon.clock.now() + timedelta(minutes=5)


# ---------------------------------------------------------------------------------------------- duties over time


@pytest.fixture
def undecided(tmp_path):
    """One letter whose patient's number cannot be read, with a configuration that decides at the deadline."""
    nobodys = a_message("ITK003D").replace(b'"https://fhir.nhs.uk/Id/nhs-number"', b'"urn:elsewhere"')
    mailbox = FakeMailbox([a_mesh_message(nobodys)])
    extra = (
        '[decisions]\ndeadline_hours = 10\nat_deadline = "30002"\n[workflows.TOC_FHIR_IP_DISCH]\nfull_acknowledgement = true'
    )
    daemon = a_composed_daemon(tmp_path, mailbox, extra=extra)
    yield daemon
    daemon.close()


def states(daemon):
    return [record.state for record, _ in daemon.ledger.messages()]


def test_the_job_for_duties_decides_at_the_deadline_and_lets_the_next_stage_look(undecided):
    undecided.collect(PRACTICE)
    undecided.interpret()
    undecided.dispatch()
    (job,) = [job for job in undecided.jobs() if job.name == "duties"]
    looks = []
    undecided.look = lambda: looks.append("look")
    job.run()
    assert (states(undecided), looks) == ([State.AWAITING_DECISION], [])
    undecided.clock.advance(hours=6)
    job.run()
    assert states(undecided) == [State.AWAITING_DECISION]
    looks.clear()
    undecided.clock.advance(hours=4)
    job.run()
    assert (states(undecided), looks) == ([State.ACCEPTED], ["look"])
    undecided.dispatch()
    undecided.respond(PRACTICE)
    sent = [sent.body for sent in undecided.mailboxes[PRACTICE].sent]
    assert [b'"30002"' in body and b'"InfAckRequested"><valueBoolean value="true"' in body for body in sent] == [False, True]


def test_once_decides_what_is_due_sends_it_and_asks_what_became_of_the_last(undecided):
    waits = []
    assert run_once(undecided, waits.append) == 0
    assert states(undecided) == [State.AWAITING_DECISION]
    for hours, state in ((11, State.AWAITING_DECISION), (4, State.COMPLETED)):
        undecided.clock.advance(hours=hours)
        assert run_once(undecided, waits.append) == 0
        assert states(undecided) == [state]
    mailbox = undecided.mailboxes[PRACTICE]
    assert (len(mailbox.sent), len(mailbox.verbs("track"))) == (2, 2)


def settle(daemon, hospital):
    """The letter that waits is filed and answered, and both responses are delivered."""
    daemon.collect(PRACTICE)
    daemon.interpret()
    daemon.dispatch()
    assert daemon.respond(PRACTICE) == 2
    for mesh_message_id in next(hospital.pages()):
        hospital.acknowledge(mesh_message_id)
    daemon.clock.advance(hours=2)
    daemon.track(PRACTICE)


def test_a_clock_that_is_years_ahead_prunes_nothing_and_that_is_said_once(tmp_path):
    """MESH refuses requests whose time is more than two hours off, as `ClockSkew` of the fault matrix does."""
    hospital = FakeMailbox(mailbox_id=HOSPITAL)
    mailbox = FakeMailbox([a_mesh_message(a_message("ITK003D"))], delivers_to={HOSPITAL: hospital}, error=CredentialsRejected())
    daemon = a_composed_daemon(tmp_path, mailbox, extra="[retention]\ncompleted_payloads_days = 30\nresponse_bytes_days = 30")
    settle(daemon, hospital)
    said = captured()

    daemon.clock.advance(days=3 * 365)
    mailbox.fails_on = "pages"
    for _ in range(3):
        daemon.collect(PRACTICE)
        daemon.prune()
        daemon.clock.advance(hours=1)
    assert [line["event"] for line in said if line["event"].startswith("retention")] == ["retention.held_back"]

    # The years have really passed: MESH answers, and what is old goes.
    mailbox.heal()
    daemon.collect(PRACTICE)
    daemon.prune()
    assert sorted(line["outcome"] for line in said if line["event"] == "retention.pruned") == ["payloads", "response_bytes"]
    daemon.close()


def test_a_disk_that_is_too_full_to_collect_is_still_pruned_or_it_would_never_have_room_again(tmp_path):
    """MESH lets go of what nobody collects after five days, and what retention frees is the room that collecting waits for."""
    hospital = FakeMailbox(mailbox_id=HOSPITAL)
    mailbox = FakeMailbox([a_mesh_message(a_message("ITK003D"))], delivers_to={HOSPITAL: hospital})
    daemon = a_composed_daemon(tmp_path, mailbox, extra="[retention]\ncompleted_payloads_days = 30")
    settle(daemon, hospital)
    daemon.collect(PRACTICE)
    daemon.collectors[PRACTICE].check_room = lambda: require_room([tmp_path], 2**62)
    said = captured()

    for _ in range(31):
        daemon.clock.advance(days=1)
        daemon.collect(PRACTICE)
        daemon.handshake(PRACTICE)
        daemon.prune()
    assert daemon.ledger.mailbox_state(PRACTICE).disk_failures == 31
    assert [line["event"] for line in said if line["event"].startswith("retention")] == ["retention.pruned"]
    daemon.close()


def test_old_lines_that_stay_do_not_keep_pruning_from_those_behind_them(tmp_path):
    daemon = a_composed_daemon(tmp_path, FakeMailbox([]), extra="[retention]\nevents_days = 90")
    unfinished = [(a_received(number, PRACTICE), an_entry()) for number in range(1, ROWS_AT_ONCE + 2)]
    daemon.ledger.record_all_received(unfinished)
    daemon.collect(PRACTICE)
    daemon.stopping.set()  # each run ends after its first step, as if that had taken its time

    daemon.prune()
    assert daemon.events_after > 0
    daemon.prune()
    assert daemon.events_after == 0
    daemon.close()
