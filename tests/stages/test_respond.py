"""Stage 4: owed -> sent -> delivered or undelivered; never blindly twice."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import pytest

from mesh_itk3.lifecycle import ResponseState
from mesh_itk3.ports import (
    CertificateUnusable,
    CredentialsRejected,
    LookUpUnsupported,
    MailboxUnavailable,
    ResponseChanges,
    ResponseStep,
    SendRefused,
    SendUnresolved,
)
from mesh_itk3.simulator.messages import a_message
from mesh_itk3.stages.dispatch import dispatch
from mesh_itk3.stages.interpret import interpret
from mesh_itk3.stages.respond import respond
from mesh_itk3.stages.track import track
from support.fake_mailbox import FakeMailbox, a_mesh_message
from support.stage_world import a_small_daemon

OWED, SENT, PARKED = ResponseState.OWED, ResponseState.SENT, ResponseState.PARKED


def owing(tmp_path, *bodies, kind=FakeMailbox, **mailbox):
    """A daemon that owes both responses to these messages, and their MESH ids."""
    messages = [a_mesh_message(body) for body in bodies or (a_message("ITK003D"),)]
    daemon = a_small_daemon(tmp_path, kind(messages, **mailbox))
    daemon.collect()
    interpret(daemon.world)
    dispatch(daemon.world)
    return daemon, *(message.mesh_message_id for message in messages)


def states(daemon, message):
    return {level: response.state for level, response in daemon.responses(message).items()}


def test_both_responses_go_out_the_infrastructure_response_first(tmp_path):
    daemon, message = owing(tmp_path)
    assert respond(daemon.world, daemon.mailbox) == 2
    assert [b"20013" in daemon.mailbox.sent[0].body, b"30001" in daemon.mailbox.sent[1].body] == [True, True]
    assert states(daemon, message) == {"infrastructure": SENT, "business": SENT}
    assert respond(daemon.world, daemon.mailbox) == 0


@pytest.mark.parametrize(("was_asked", "answers"), [(True, 1), (False, 0)])
def test_what_mesh_refuses_for_good_is_an_answer_of_mesh_and_what_it_was_never_asked_is_none(tmp_path, was_asked, answers):
    daemon, message = owing(tmp_path, fails_on="send", error=SendRefused("12", was_asked=was_asked))
    assert respond(daemon.world, daemon.mailbox) == answers
    assert states(daemon, message)["infrastructure"] is PARKED


def test_a_response_whose_answer_was_lost_is_looked_up_and_not_sent_again(tmp_path):
    daemon, message = owing(tmp_path, fails_on="send_answer", fails_times=1)
    respond(daemon.world, daemon.mailbox)
    assert states(daemon, message)["infrastructure"] is OWED
    daemon.clock.advance(minutes=1)
    respond(daemon.world, daemon.mailbox)
    assert states(daemon, message) == {"infrastructure": SENT, "business": SENT}
    assert len(daemon.mailbox.sent) == 2
    assert len(daemon.mailbox.verbs("find_sent")) == 1


def test_a_response_that_never_arrived_is_sent_again_byte_for_byte(tmp_path):
    daemon, message = owing(tmp_path, fails_on="send", fails_times=1)
    before = daemon.responses(message)["infrastructure"]
    respond(daemon.world, daemon.mailbox)
    daemon.clock.advance(minutes=1)
    respond(daemon.world, daemon.mailbox)
    sent = daemon.mailbox.sent[0]
    assert sent.local_id == before.local_id
    assert states(daemon, message)["infrastructure"] is SENT
    assert daemon.mailbox.verbs("find_sent") == [before.local_id]


def test_a_response_begun_before_the_process_died_is_looked_up_first(tmp_path):
    daemon, _ = owing(tmp_path)
    claimed = daemon.ledger.claim_responses("X26ABC2", daemon.clock.now(), 1)
    assert claimed[0].unresolved_since is None
    daemon.ledger.close()
    restarted = a_small_daemon(tmp_path, daemon.mailbox)
    respond(restarted.world, daemon.mailbox)
    assert daemon.mailbox.verbs("find_sent") == [claimed[0].local_id]
    assert [sent.local_id for sent in daemon.mailbox.sent].count(claimed[0].local_id) == 1


@pytest.mark.parametrize("error", [MailboxUnavailable("timeout"), LookUpUnsupported()], ids=["away", "unsupported"])
def test_without_an_answer_to_the_look_up_the_identical_bytes_go_out_after_an_hour(tmp_path, error):
    daemon, message = owing(tmp_path, fails_on="send_answer", fails_times=1)
    respond(daemon.world, daemon.mailbox)
    first = daemon.mailbox.sent[0]
    daemon.mailbox.fails_on, daemon.mailbox.fails_times, daemon.mailbox.error = ("find_sent",), 10**9, error
    daemon.clock.advance(minutes=50)
    respond(daemon.world, daemon.mailbox)
    assert len(daemon.mailbox.sent) == 1
    daemon.clock.advance(minutes=20)
    respond(daemon.world, daemon.mailbox)
    assert daemon.mailbox.sent[1] == first
    assert states(daemon, message)["infrastructure"] is SENT


def test_the_hour_counts_from_the_last_send_that_was_begun(tmp_path):
    daemon, message = owing(tmp_path, fails_on="send", fails_times=1)
    respond(daemon.world, daemon.mailbox)
    daemon.clock.advance(minutes=50)
    daemon.mailbox.fails_on, daemon.mailbox.fails_times = ("send_answer",), 2
    respond(daemon.world, daemon.mailbox)
    assert len(daemon.mailbox.sent) == 1
    no_answer_to_a_look_up(daemon)
    for minutes in (15, 40):
        daemon.clock.advance(minutes=minutes)
        respond(daemon.world, daemon.mailbox)
        assert len(daemon.mailbox.sent) == 1
    daemon.clock.advance(minutes=15)
    respond(daemon.world, daemon.mailbox)
    assert daemon.mailbox.sent[1] == daemon.mailbox.sent[0]
    assert states(daemon, message)["infrastructure"] is SENT


def test_that_a_send_is_begun_again_is_in_the_ledger_before_the_bytes_go_out(tmp_path):
    """Whoever dies in it counts the hour from there."""
    daemon, message = owing(tmp_path, kind=Watched, fails_on="send", fails_times=1)
    respond(daemon.world, daemon.mailbox)
    daemon.clock.advance(minutes=50)
    found = []
    daemon.mailbox.before_send = lambda: found.append(daemon.responses(message)["infrastructure"].unresolved_since)
    respond(daemon.world, daemon.mailbox)
    assert found[0] == daemon.clock.now()


def test_once_an_hour_the_identical_bytes_go_out_and_not_at_every_try(tmp_path):
    daemon, _ = owing(tmp_path, fails_on=("send_answer", "find_sent"))
    daemon.mailbox.error = MailboxUnavailable("timeout")
    for _ in range(9):
        with suppress(MailboxUnavailable):
            respond(daemon.world, daemon.mailbox)
        daemon.clock.advance(minutes=20)
    assert len(daemon.mailbox.sent) == 3
    assert len({sent.body for sent in daemon.mailbox.sent}) == 1


def test_a_response_that_somebody_has_moved_while_mesh_was_asked_is_not_sent(tmp_path):
    daemon, message = owing(tmp_path, kind=Watched, fails_on="send", fails_times=1)
    respond(daemon.world, daemon.mailbox)
    daemon.clock.advance(minutes=5)
    owed = daemon.responses(message)["infrastructure"]
    step = ResponseStep(owed.local_id, OWED, SENT, None, ResponseChanges(mesh_message_id="FAKE"))
    daemon.mailbox.after_look_up = lambda: daemon.ledger.apply_responses([step])
    respond(daemon.world, daemon.mailbox)
    assert owed.local_id not in {sent.local_id for sent in daemon.mailbox.sent}
    assert states(daemon, message)["infrastructure"] is SENT


@dataclass
class Watched(FakeMailbox):
    """Somebody does something at a moment of a send."""

    before_send: Callable[[], object] = lambda: None
    after_look_up: Callable[[], object] = lambda: None

    def send(self, outgoing):
        self.before_send()
        return super().send(outgoing)

    def find_sent(self, local_id, *, size=0):
        found = super().find_sent(local_id, size=size)
        self.after_look_up()
        return found


def no_answer_to_a_look_up(daemon):
    daemon.mailbox.fails_on, daemon.mailbox.fails_times = ("find_sent",), 10**9
    daemon.mailbox.error = MailboxUnavailable("timeout")


def test_a_business_response_waits_until_mesh_has_taken_the_infrastructure_response(tmp_path):
    daemon, message = owing(tmp_path, fails_on="send", fails_times=1)
    respond(daemon.world, daemon.mailbox)
    assert daemon.mailbox.sent == []
    assert states(daemon, message) == {"infrastructure": OWED, "business": OWED}
    daemon.clock.advance(minutes=1)
    respond(daemon.world, daemon.mailbox)
    assert [b"20013" in sent.body for sent in daemon.mailbox.sent] == [True, False]


def test_a_response_that_mesh_refuses_is_parked_with_its_business_response(tmp_path):
    daemon, message = owing(tmp_path, delivers_to={})
    for _ in range(3):
        respond(daemon.world, daemon.mailbox)
        daemon.clock.advance(hours=1)
    assert states(daemon, message) == {"infrastructure": PARKED, "business": PARKED}
    assert not daemon.ledger.has_work([daemon.mailbox.mailbox_id])
    assert len(daemon.mailbox.verbs("send")) == 1
    assert daemon.said("response.parked")[0]["status_code"] == "12"


def test_a_mesh_that_is_ill_is_not_asked_fifty_times(tmp_path):
    bodies = [a_message("ITK003D", seed=str(n)) for n in range(20)]
    daemon, *messages = owing(tmp_path, *bodies, fails_on="send")
    with pytest.raises(MailboxUnavailable):
        respond(daemon.world, daemon.mailbox)
    assert len(daemon.mailbox.verbs("send")) == 3
    daemon.mailbox.heal()
    daemon.clock.advance(hours=1)
    assert respond(daemon.world, daemon.mailbox, limit=100) == 40
    assert {state for m in messages for state in states(daemon, m).values()} == {SENT}


def test_rejected_credentials_leave_everything_owed_and_only_what_was_in_hand_is_looked_up(tmp_path):
    daemon, message = owing(tmp_path, fails_on="send", error=CredentialsRejected())
    with pytest.raises(CredentialsRejected):
        respond(daemon.world, daemon.mailbox)
    unresolved = {level: response.unresolved_since for level, response in daemon.responses(message).items()}
    assert unresolved == {"infrastructure": daemon.clock.now(), "business": None}


def test_a_certificate_that_cannot_be_loaded_leaves_nothing_to_be_looked_up(tmp_path):
    daemon, message = owing(tmp_path, fails_on="send", error=CertificateUnusable())
    with pytest.raises(CertificateUnusable):
        respond(daemon.world, daemon.mailbox)
    assert [response.unresolved_since for response in daemon.responses(message).values()] == [None, None]


def test_a_send_that_somebody_on_the_way_has_repeated_is_found_and_not_sent_again(tmp_path):
    """MESH has taken the first and refuses the second, whose token it knows: what comes back is the refusal."""
    daemon, message = owing(tmp_path, fails_on="send_answer", fails_times=1, error=CredentialsRejected())
    with pytest.raises(CredentialsRejected):
        respond(daemon.world, daemon.mailbox)
    daemon.clock.advance(minutes=1)
    respond(daemon.world, daemon.mailbox)
    assert states(daemon, message) == {"infrastructure": SENT, "business": SENT}
    assert len(daemon.mailbox.sent) == 2


def test_a_retry_after_of_mesh_is_honoured(tmp_path):
    daemon, _ = owing(tmp_path, fails_on="send", fails_times=1, error=SendUnresolved("http_429", retry_after_s=600))
    with pytest.raises(MailboxUnavailable) as raised:
        respond(daemon.world, daemon.mailbox)
    assert raised.value.retry_after_s == 600
    daemon.clock.advance(seconds=500)
    respond(daemon.world, daemon.mailbox)
    assert daemon.mailbox.sent == []
    daemon.clock.advance(seconds=200)
    assert respond(daemon.world, daemon.mailbox) == 2


def test_a_retry_after_ends_the_batch_and_not_only_its_own_response(tmp_path):
    bodies = [a_message("ITK003D", seed=str(n)) for n in range(5)]
    daemon, *_ = owing(tmp_path, *bodies, fails_on="send", error=SendUnresolved("http_429", retry_after_s=600))
    with pytest.raises(MailboxUnavailable):
        respond(daemon.world, daemon.mailbox)
    assert len(daemon.mailbox.verbs("send")) == 1


def test_a_retry_after_of_a_look_up_is_honoured(tmp_path):
    daemon, _ = owing(tmp_path, fails_on="send", fails_times=1)
    respond(daemon.world, daemon.mailbox)
    daemon.mailbox.fails_on, daemon.mailbox.fails_times = ("find_sent",), 2
    daemon.mailbox.error = MailboxUnavailable("http_429", retry_after_s=600)
    daemon.clock.advance(minutes=1)
    with pytest.raises(MailboxUnavailable):
        respond(daemon.world, daemon.mailbox)
    daemon.clock.advance(seconds=500)
    respond(daemon.world, daemon.mailbox)
    assert len(daemon.mailbox.verbs("find_sent")) == 1


def test_a_retry_after_of_tracking_ends_the_turn(tmp_path):
    daemon, _ = owing(tmp_path)
    respond(daemon.world, daemon.mailbox)
    daemon.mailbox.fails_on, daemon.mailbox.error = "track", MailboxUnavailable("http_429", retry_after_s=600)
    daemon.clock.advance(hours=2)
    with pytest.raises(MailboxUnavailable):
        track(daemon.world, daemon.mailbox)
    assert len(daemon.mailbox.verbs("track")) == 1


def test_a_look_up_that_fails_in_a_way_that_nothing_had_expected_holds_up_no_other(tmp_path):
    daemon, message = owing(tmp_path, fails_on="send", fails_times=1)
    respond(daemon.world, daemon.mailbox)
    daemon.mailbox.fails_on, daemon.mailbox.fails_times, daemon.mailbox.error = "find_sent", 2, ValueError()
    daemon.clock.advance(minutes=1)
    respond(daemon.world, daemon.mailbox)
    daemon.clock.advance(minutes=10)
    respond(daemon.world, daemon.mailbox)
    assert states(daemon, message) == {"infrastructure": SENT, "business": SENT}


# ---------------------------------------------------------------------------------------------- tracking


def test_a_response_that_was_acknowledged_is_delivered(tmp_path):
    hospital = FakeMailbox(mailbox_id="X26ABC1")
    daemon, message = owing(tmp_path, delivers_to={"X26ABC1": hospital})
    respond(daemon.world, daemon.mailbox)
    for sent in list(hospital._inbox):
        hospital.acknowledge(sent)
    daemon.clock.advance(hours=2)
    assert track(daemon.world, daemon.mailbox) == 2
    assert set(states(daemon, message).values()) == {ResponseState.DELIVERED}


def test_a_response_that_mesh_gave_up_is_undelivered_and_said(tmp_path):
    hospital = FakeMailbox(mailbox_id="X26ABC1")
    daemon, message = owing(tmp_path, delivers_to={"X26ABC1": hospital})
    respond(daemon.world, daemon.mailbox)
    hospital.expire(next(iter(hospital._inbox)))
    daemon.clock.advance(hours=2)
    track(daemon.world, daemon.mailbox)
    assert states(daemon, message) == {"infrastructure": ResponseState.UNDELIVERED, "business": SENT}
    assert len(daemon.said("response.undelivered")) == 1


def test_tracking_is_not_polled_frequently(tmp_path):
    daemon, _ = owing(tmp_path)
    respond(daemon.world, daemon.mailbox)
    assert track(daemon.world, daemon.mailbox) == 0
    daemon.clock.advance(minutes=61)
    assert track(daemon.world, daemon.mailbox) == 2
    assert track(daemon.world, daemon.mailbox) == 0
