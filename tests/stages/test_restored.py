"""After a restore, what was answered since the backup is judged again and not answered again: MESH is asked first."""

from __future__ import annotations

import shutil
from copy import deepcopy
from dataclasses import replace
from uuid import UUID

import pytest

from mesh_itk3.adapters.ledger.copies import back_up
from mesh_itk3.commands.messages import response_line
from mesh_itk3.handler import BusinessCode, Respond
from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import LookUpUnsupported, MailboxUnavailable, MessageKey, StorageFailed
from mesh_itk3.simulator.messages import a_message
from mesh_itk3.simulator.prove.points import Watch, watched_port
from mesh_itk3.stages.adopt import take_up
from mesh_itk3.stages.answer import local_id_of
from mesh_itk3.stages.correlate import correlate
from mesh_itk3.stages.dispatch import dispatch
from mesh_itk3.stages.interpret import interpret
from mesh_itk3.stages.respond import respond
from mesh_itk3.stages.track import track
from support.fake_mailbox import FakeMailbox, a_mesh_message, a_report
from support.stage_world import PRACTICE, a_small_daemon

OWED, SENT = ResponseState.OWED, ResponseState.SENT
BEFORE, AFTER = (a_mesh_message(a_message("ITK003D", seed=when)) for when in ("before", "after"))


def work(daemon):
    daemon.collect()
    interpret(daemon.world)
    dispatch(daemon.world)
    correlate(daemon.world)


@pytest.fixture
def lost(tmp_path):
    """A daemon that has collected one letter before its backup, another one after it, and answered both since."""
    daemon = a_small_daemon(tmp_path, FakeMailbox([BEFORE]))
    daemon.collect()
    back_up(tmp_path / "ledger.db", tmp_path / "backup.db")
    daemon.mailbox.deliver(AFTER)
    return daemon


def restored(lost, code=BusinessCode.PATIENT_KNOWN):
    """The daemon over the backup, before it has done anything; its handler gives this code now."""
    lost.ledger.close()
    shutil.copy(lost.directory / "backup.db", lost.directory / "ledger.db")
    for left in ("ledger.db-wal", "ledger.db-shm"):
        (lost.directory / left).unlink(missing_ok=True)
    daemon = a_small_daemon(lost.directory, lost.mailbox)
    daemon.clock.at = lost.clock.at
    daemon.clock.advance(minutes=10)
    daemon.handler.answers = [Respond(code)] * 9
    return daemon, take_up(*what_is_taken_up(daemon), who="Jo")


def answered(lost):
    work(lost)
    respond(lost.world, lost.mailbox)
    assert len(lost.mailbox.sent) == 4
    return lost


def all_responses(daemon):
    return [response for each in (BEFORE, AFTER) for response in daemon.responses(each.mesh_message_id).values()]


def test_nothing_that_was_answered_before_goes_out_again_and_all_of_it_counts_as_sent(lost):
    daemon, taken_up = restored(answered(lost))
    assert (taken_up.total.received, taken_up.owed) == (1, 0)

    work(daemon)
    assert respond(daemon.world, daemon.mailbox) == 4

    assert len(daemon.mailbox.sent) == 4, "one response of each level to each letter"
    assert daemon.mailbox.verbs("find_sent") == [each.local_id for each in daemon.mailbox.sent]
    assert {each.state for each in all_responses(daemon)} == {SENT}
    assert {each.local_id: each.mesh_message_id for each in all_responses(daemon)} == {
        each.local_id: daemon.mailbox.find_sent(each.local_id) for each in daemon.mailbox.sent
    }


def test_what_was_not_answered_before_goes_out_once_and_its_code_is_known(lost):
    work(lost)
    daemon, _ = restored(lost)

    work(daemon)
    respond(daemon.world, daemon.mailbox)

    assert sorted(each.local_id for each in daemon.mailbox.sent) == sorted(each.local_id for each in all_responses(daemon))
    assert {(each.state, each.reason, each.written_anew) for each in all_responses(daemon)} == {(SENT, None, False)}


def test_of_an_answer_of_before_the_code_is_said_not_to_be_known(lost):
    """A person decides otherwise, or the register has changed: what MESH has says 30001."""
    daemon, _ = restored(answered(lost), BusinessCode.PATIENT_NOT_KNOWN)

    work(daemon)
    respond(daemon.world, daemon.mailbox)

    business = daemon.responses(AFTER.mesh_message_id)["business"]
    assert (business.response_code, business.state, business.written_anew) == ("30002", SENT, True)
    assert "30002 or another" in response_line(business)
    (entry,) = [
        each
        for each in daemon.ledger.timeline(MessageKey(PRACTICE, AFTER.mesh_message_id))
        if (each.stage, each.response_code) == ("respond", "30002")
    ]
    assert (entry.outcome, entry.reason) == ("found_sent", "answered_before_restore")
    assert {each["reason"] for each in daemon.said("respond.done")} == {"answered_before_restore"}


def test_a_response_of_the_backup_that_went_out_since_is_found_and_is_the_one_that_is_known(lost, tmp_path):
    work(lost)
    (tmp_path / "backup.db").unlink()
    back_up(tmp_path / "ledger.db", tmp_path / "backup.db")
    respond(lost.world, lost.mailbox)
    daemon, taken_up = restored(lost)
    assert taken_up.owed == 4

    respond(daemon.world, daemon.mailbox)

    assert len(daemon.mailbox.sent) == 4
    assert {(each.state, each.reason, each.written_anew) for each in all_responses(daemon)} == {(SENT, None, False)}


@pytest.mark.parametrize("error", [MailboxUnavailable("timeout"), LookUpUnsupported()], ids=["away", "unsupported"])
def test_while_mesh_cannot_say_nothing_goes_out_before_the_hour_is_over(lost, error):
    daemon, _ = restored(answered(lost))
    daemon.mailbox.fails_on, daemon.mailbox.error = "find_sent", error
    work(daemon)

    for _ in range(5):
        respond_if_mesh_answers(daemon)
        daemon.clock.advance(minutes=11)
    assert len(daemon.mailbox.sent) == 4
    daemon.clock.advance(minutes=10)
    for _ in range(6):  # the hour of a business response begins when its turn comes
        respond_if_mesh_answers(daemon)
        daemon.clock.advance(minutes=20)

    assert len(daemon.mailbox.sent) == 8, "a doubled response is harmless, a missing one is not"
    assert {(each.state, each.written_anew) for each in all_responses(daemon)} == {(SENT, False)}


def test_the_hour_of_what_is_written_anew_begins_with_the_first_look_up_not_with_the_writing(lost):
    """The service stands still for a night after it; in the morning MESH fails once. What would go out is other bytes."""
    daemon, _ = restored(answered(lost))
    work(daemon)
    daemon.clock.advance(hours=14)
    daemon.mailbox.fails_on, daemon.mailbox.fails_times = "find_sent", 4

    respond_if_mesh_answers(daemon)
    daemon.clock.advance(minutes=20)
    for _ in range(3):
        respond_if_mesh_answers(daemon)
        daemon.clock.advance(minutes=5)

    assert len(daemon.mailbox.sent) == 4
    assert {(each.state, each.reason) for each in all_responses(daemon)} == {(SENT, "answered_before_restore")}


def test_what_mesh_did_not_have_and_then_has_was_sent_from_here(lost):
    """The answer to the send is lost: what the look-up finds then is no answer of before."""
    work(lost)
    daemon, _ = restored(lost)
    work(daemon)
    daemon.mailbox.fails_on, daemon.mailbox.fails_times = "send_answer", 4

    for _ in range(6):
        respond_if_mesh_answers(daemon)
        daemon.clock.advance(minutes=5)

    assert len(daemon.mailbox.sent) == 4
    assert {(each.state, each.reason, each.written_anew) for each in all_responses(daemon)} == {(SENT, None, False)}


def respond_if_mesh_answers(daemon):
    try:
        respond(daemon.world, daemon.mailbox)
    except MailboxUnavailable:
        assert daemon.mailbox.fails_on


def test_where_mesh_has_several_nothing_is_sent_either(lost):
    answered(lost)
    for each in list(lost.mailbox.sent):
        lost.mailbox.send(each)
    daemon, _ = restored(lost)

    work(daemon)
    respond(daemon.world, daemon.mailbox)

    assert len(daemon.mailbox.sent) == 8
    assert {(each.state, each.mesh_message_id) for each in all_responses(daemon)} == {(SENT, "")}


@pytest.mark.parametrize("by", ["linked_message_id", "local_id"])
def test_a_report_on_an_answer_of_before_finds_what_it_is_about(lost, by):
    answered(lost)
    of_before = lost.mailbox.sent[-1]
    daemon, _ = restored(lost)
    work(daemon)
    respond(daemon.world, daemon.mailbox)

    names = {"linked_message_id": daemon.mailbox.find_sent(of_before.local_id), "local_id": of_before.local_id}
    daemon.mailbox.deliver(a_report(**{by: names[by]}, status_code="14"))
    work(daemon)

    found = daemon.ledger.response_by(local_id=of_before.local_id)
    assert (found.state, found.reason, found.written_anew) == (ResponseState.UNDELIVERED, "reported_undelivered", True)


def test_an_answer_of_before_is_tracked_until_it_has_arrived(lost):
    daemon, _ = restored(answered(lost))
    work(daemon)
    respond(daemon.world, daemon.mailbox)
    daemon.clock.advance(hours=2)
    for each in all_responses(daemon):
        daemon.mailbox._tracking[each.mesh_message_id] = "acknowledged"
    track(daemon.world, daemon.mailbox)

    assert {(each.state, each.reason) for each in all_responses(daemon)} == {
        (ResponseState.DELIVERED, "answered_before_restore")
    }


def test_a_message_that_comes_after_the_restore_is_answered_without_asking(lost):
    daemon, _ = restored(answered(lost))
    new = a_mesh_message(a_message("ITK003D", seed="new"))
    daemon.mailbox.deliver(new)
    work(daemon)
    respond(daemon.world, daemon.mailbox)

    ids = {each.local_id for each in daemon.responses(new.mesh_message_id).values()}
    assert not ids & set(daemon.mailbox.verbs("find_sent"))
    assert {each.state for each in daemon.responses(new.mesh_message_id).values()} == {SENT}


def test_taking_up_again_changes_nothing_more(lost):
    daemon, _ = restored(answered(lost))
    again = take_up(*what_is_taken_up(daemon), who="Jo")
    assert (again.total.received, again.owed) == (0, 0)
    work(daemon)
    respond(daemon.world, daemon.mailbox)
    assert len(daemon.mailbox.sent) == 4
    assert {record.state for record, _ in daemon.ledger.messages()} == {State.COMPLETED}


class Killed(BaseException):
    """The process is dead."""


def test_a_taking_up_that_is_killed_anywhere_doubles_no_answer_even_if_a_daemon_runs_before_it_is_given_again(tmp_path):
    (tmp_path / "answered").mkdir()
    mailbox = beside_what_was_answered(tmp_path / "answered")
    for n in range(1, 1000):
        directory = shutil.copytree(tmp_path / "answered", tmp_path / str(n))
        daemon, died = taken_up_and_killed(directory, deepcopy(mailbox), n)
        work(daemon)
        respond(daemon.world, daemon.mailbox)

        take_up(*what_is_taken_up(daemon), who="Jo")
        work(daemon)
        respond(daemon.world, daemon.mailbox)

        assert len(daemon.mailbox.sent) == 4, n
        assert {each.state for each in all_responses(daemon)} == {SENT}, n
        daemon.ledger.close()
        if not died:
            break
    assert n > 10


def beside_what_was_answered(directory):
    """Makes a new ledger beside a store whose letters were answered; the mailbox that they came from."""
    first = a_small_daemon(directory, FakeMailbox([BEFORE, AFTER]))
    answered(first)
    first.ledger.close()
    for left in directory.glob("ledger.db*"):
        left.unlink()
    a_small_daemon(directory, first.mailbox).ledger.close()
    return first.mailbox


def taken_up_and_killed(directory, mailbox, at):
    """A daemon over the new ledger; and whether the taking up has died."""
    daemon = a_small_daemon(directory, mailbox)
    watch = Watch(kill_at=at, kill=die)
    ledger, *rest = what_is_taken_up(daemon)  # of the payload store it only reads
    try:
        take_up(watched_port(ledger, "ledger", watch), *rest, who="Jo")
    except Killed:
        return daemon, True
    return daemon, False


def die():
    raise Killed


def what_is_taken_up(daemon):
    world = daemon.world
    return daemon.ledger, world.payloads, world.routes, (PRACTICE,), daemon.clock.now()


def test_while_the_payload_store_is_away_nothing_is_marked(lost):
    work(lost)
    (lost.directory / "payloads").rename(lost.directory / "away")
    (lost.directory / "payloads").mkdir()

    with pytest.raises(StorageFailed):
        take_up(*what_is_taken_up(lost), who="Jo")

    assert lost.ledger.mailbox_state(PRACTICE).restored_at is None


def test_beside_a_new_ledger_everything_is_taken_up_with_a_sign_of_life_for_each_file(lost):
    work(lost)
    lost.ledger.close()
    for left in lost.directory.glob("ledger.db*"):
        left.unlink()
    daemon, signs = a_small_daemon(lost.directory, lost.mailbox), []

    taken_up = take_up(*what_is_taken_up(daemon), who="Jo", progress=lambda: signs.append(1))

    assert taken_up.total.received == 2
    assert len(signs) == 4, "when it is read, and when it becomes a message"


def test_a_local_id_follows_from_mailbox_message_and_level_alone():
    """What a ledger that is gone has sent is found by it for ever: a change of these values would double every answer."""
    key = MessageKey("X26ABC2", "20260302090000000000_A1B2C3")
    assert local_id_of(key, "infrastructure") == "296ee381-048a-50e1-8482-a49738e24502"
    assert local_id_of(key, "business") == "3585fcbc-008b-5db2-94bb-a50206054cc4"
    others = [
        local_id_of(replace(key, mailbox_id="X26ABC3"), "business"),
        local_id_of(replace(key, mesh_message_id="20260302090000000000_A1B2C4"), "business"),
    ]
    assert len({*others, local_id_of(key, "infrastructure"), local_id_of(key, "business")}) == 4
    assert {UUID(each).version for each in others} == {5}
