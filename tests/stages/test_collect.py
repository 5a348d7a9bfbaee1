"""Stage 1: MESH inbox -> durable -> acknowledged."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from mesh_itk3.adapters.spool import DirectorySpool
from mesh_itk3.handler import Declaration, Handler
from mesh_itk3.lifecycle import State
from mesh_itk3.ports import CredentialsRejected, Kind, MailboxUnavailable, MessageKey, StorageFailed
from mesh_itk3.reasons import Reason
from support import stage_world
from support.fake_mailbox import FakeMailbox, a_mesh_message, a_report
from support.stage_world import ACK_WORKFLOW, PRACTICE, ScriptedHandler, a_registry, a_small_daemon

BODY = b"<Bundle xmlns='http://hl7.org/fhir'/>"


@pytest.fixture(autouse=True, params=[1, 3], ids=["one worker", "three workers"])
def workers(request, monkeypatch):
    """What collect promises, it promises however many messages it fetches at the same time."""
    monkeypatch.setattr(stage_world, "WORKERS", request.param)
    return request.param


@pytest.fixture
def message():
    return a_mesh_message(BODY, subject="Letter about EDITH", filename="edith.xml")


def test_a_message_is_durable_before_it_is_acknowledged(tmp_path, message):
    daemon = a_small_daemon(tmp_path, FakeMailbox([message]))
    held_when_acknowledged = []

    class Watching(FakeMailbox):
        def acknowledge(self, mesh_message_id):
            record = daemon.record(mesh_message_id)
            held_when_acknowledged.append(daemon.world.payloads.read(record.payload.name))
            super().acknowledge(mesh_message_id)

    daemon.collector.mailbox = Watching([message])
    walk = daemon.collect()
    assert held_when_acknowledged == [BODY]
    assert (walk.collected, walk.acknowledged) == (1, 1)
    assert daemon.record(message.mesh_message_id).state is State.RECEIVED


def test_what_is_received_is_kept_unchanged_with_its_mesh_headers_beside_it(tmp_path, message):
    daemon = a_small_daemon(tmp_path, FakeMailbox([message]))
    daemon.collect()
    record = daemon.record(message.mesh_message_id)
    assert daemon.world.payloads.read(record.payload.name) == BODY
    assert daemon.world.payloads.headers(record.payload.name).all["subject"] == "Letter about EDITH"
    assert {path.stat().st_mode & 0o777 for path in daemon.payload_files()} == {0o600}


def test_nothing_of_a_subject_or_file_name_reaches_ledger_or_log(tmp_path, message):
    daemon = a_small_daemon(tmp_path, FakeMailbox([message]))
    daemon.collect()
    daemon.ledger.close()
    ledger = b"".join(path.read_bytes() for path in tmp_path.glob("ledger.db*"))
    assert b"EDITH" not in ledger.upper()
    assert "EDITH" not in repr(daemon.events).upper()


def test_a_redelivered_message_is_acknowledged_but_not_kept_twice(tmp_path, message):
    daemon = a_small_daemon(tmp_path, FakeMailbox([message], fails_on="acknowledge", fails_times=1))
    first = daemon.collect()
    files = daemon.payload_files()
    second = daemon.collect()
    assert (first.acknowledged, second.acknowledged, second.collected) == (0, 1, 0)
    assert daemon.payload_files() == files
    assert daemon.said("collect.done")[-1]["outcome"] == "redelivered"


def test_a_redelivered_message_whose_file_is_lost_is_downloaded_again_before_it_is_acknowledged(tmp_path, message):
    daemon = a_small_daemon(tmp_path, FakeMailbox([message], fails_on="acknowledge", fails_times=1))
    daemon.collect()
    daemon.world.payloads.discard(daemon.record(message.mesh_message_id).payload.name)
    daemon.collect()
    record = daemon.record(message.mesh_message_id)
    assert daemon.world.payloads.read(record.payload.name) == BODY
    assert [verb for verb, _ in daemon.mailbox.done if verb in {"open", "acknowledge"}] == [
        "open", "acknowledge", "open", "acknowledge",
    ]  # fmt: skip


def test_a_failing_acknowledge_holds_up_nothing_else(tmp_path):
    messages = [a_mesh_message(BODY) for _ in range(3)]
    daemon = a_small_daemon(tmp_path, FakeMailbox(messages, fails_on="acknowledge"))
    assert daemon.collect().collected == 3


def test_a_short_download_leaves_nothing_and_is_never_acknowledged(tmp_path, message):
    daemon = a_small_daemon(tmp_path, FakeMailbox([message], fails_on="write"))
    walk = daemon.collect()
    assert daemon.mailbox.acknowledged == []
    assert daemon.payload_files() == []
    assert daemon.ledger.get(MessageKey(PRACTICE, message.mesh_message_id)) is None
    assert (walk.collected, walk.failures) == (0, 1)
    assert daemon.said("collect.truncated")


def test_a_message_that_the_ledger_refuses_leaves_no_copy_at_every_poll_and_hides_no_other(tmp_path, message):
    refused = a_mesh_message(BODY, local_id="\ud800")
    daemon = a_small_daemon(tmp_path, FakeMailbox([refused, message]))
    for _ in range(3):
        daemon.collect()
    assert daemon.mailbox.acknowledged == [message.mesh_message_id]
    assert len(daemon.payload_files()) == 2


def test_one_message_that_cannot_be_fetched_does_not_hold_up_the_others(tmp_path):
    messages = [a_mesh_message(BODY) for _ in range(3)]
    daemon = a_small_daemon(tmp_path, FakeMailbox(messages, fails_on="open", fails_times=1))
    assert daemon.collect().collected == 2


def test_a_mesh_that_is_ill_ends_the_walk(tmp_path):
    messages = [a_mesh_message(BODY) for _ in range(50)]
    daemon = a_small_daemon(tmp_path, FakeMailbox(messages, fails_on="open"))
    with pytest.raises(MailboxUnavailable):
        daemon.collect()
    assert len(daemon.mailbox.verbs("open")) == 3


class PoisonedMailbox(FakeMailbox):
    """Downloads of some messages fail, each with its own fault; the others are well."""

    def poison(self, *messages, fault):
        self.faults = {**getattr(self, "faults", {}), **{message.mesh_message_id: fault for message in messages}}

    def open(self, mesh_message_id):
        opened = super().open(mesh_message_id)
        if fault := self.faults.get(mesh_message_id):
            raise fault
        return opened


@pytest.mark.parametrize("reason", ["bad_encoding", "junk_range", "no_length", "too_slow", "not_mesh", "http_500"])
def test_messages_that_can_never_be_downloaded_do_not_hide_those_behind_them(tmp_path, reason):
    poison, good = [a_mesh_message(BODY) for _ in range(5)], a_mesh_message(BODY)
    mailbox = PoisonedMailbox([*poison, good])
    mailbox.poison(*poison, fault=MailboxUnavailable(reason))
    walk = a_small_daemon(tmp_path, mailbox).collect()
    assert mailbox.acknowledged == [good.mesh_message_id]
    assert (walk.failures, walk.should_repeat) == (5, False)


@pytest.mark.parametrize("reason", ["connection", "timeout", "tls", "http_429", "http_502", "http_503", "http_504"])
def test_three_faults_of_mesh_in_a_row_end_the_walk(tmp_path, reason):
    messages = [a_mesh_message(BODY) for _ in range(9)]
    mailbox = PoisonedMailbox(messages)
    mailbox.poison(*messages, fault=MailboxUnavailable(reason))
    with pytest.raises(MailboxUnavailable):
        a_small_daemon(tmp_path, mailbox).collect()
    assert len(mailbox.verbs("open")) == 3


@pytest.mark.parametrize("verb", ["open", "acknowledge"])
def test_a_mesh_that_asks_to_be_left_in_peace_is_asked_no_more_by_any_worker(tmp_path, verb):
    asks = MailboxUnavailable("http_429", retry_after_s=120.0)
    mailbox = FakeMailbox([a_mesh_message(BODY) for _ in range(9)], fails_on=verb, error=asks)
    with pytest.raises(MailboxUnavailable):
        a_small_daemon(tmp_path, mailbox).collect()
    assert 1 <= len(mailbox.verbs(verb)) <= stage_world.WORKERS
    assert mailbox.acknowledged == []


def test_faults_of_mesh_with_a_success_between_do_not_end_the_walk(tmp_path):
    messages = [a_mesh_message(BODY) for _ in range(12)]
    mailbox = PoisonedMailbox(messages)
    mailbox.poison(*(message for n, message in enumerate(messages) if n % 3), fault=MailboxUnavailable("timeout"))
    assert a_small_daemon(tmp_path, mailbox, workers=1).collect().collected == 4


def test_a_message_that_failed_comes_last_in_the_next_walk_whatever_its_page(tmp_path):
    slow, waiting = [a_mesh_message(BODY) for _ in range(3)], [a_mesh_message(BODY) for _ in range(20)]
    mailbox = PoisonedMailbox([*slow, *waiting], page_size=10)
    mailbox.poison(*slow, fault=MailboxUnavailable("timeout"))
    daemon = a_small_daemon(tmp_path, mailbox)
    with pytest.raises(MailboxUnavailable):
        daemon.collect()
    mailbox.done.clear()
    walk = daemon.collect()
    assert (walk.collected, walk.failures) == (20, 3)
    assert mailbox.verbs("open")[-3:] == [message.mesh_message_id for message in slow]


def test_a_message_that_failed_for_a_while_is_collected_when_it_can_be(tmp_path, message):
    daemon = a_small_daemon(tmp_path, FakeMailbox([message], fails_on="open", fails_times=1))
    assert [daemon.collect().collected, daemon.collect().collected] == [0, 1]
    assert daemon.collector.failed == set()


def test_what_is_no_longer_in_the_inbox_is_forgotten(tmp_path, message):
    daemon = a_small_daemon(tmp_path, FakeMailbox([message], fails_on="write"))
    daemon.collect()
    daemon.mailbox.expire(message.mesh_message_id)
    daemon.collect()
    assert daemon.collector.failed == set()


def test_rejected_credentials_end_the_walk_at_once(tmp_path, message):
    mailbox = FakeMailbox([message, a_mesh_message(BODY)], fails_on="open", error=CredentialsRejected())
    daemon = a_small_daemon(tmp_path, mailbox)
    with pytest.raises(CredentialsRejected):
        daemon.collect()
    assert len(mailbox.verbs("open")) == 1


def test_a_disk_that_refuses_ends_the_walk_and_mesh_keeps_the_messages(tmp_path, message):
    daemon = a_small_daemon(tmp_path, FakeMailbox([message]))
    (tmp_path / "payloads").write_text("in the way")
    with pytest.raises(StorageFailed):
        daemon.collect()
    assert daemon.mailbox.acknowledged == []


def test_a_message_that_mesh_has_given_up_is_passed_over(tmp_path, message):
    mailbox = FakeMailbox([message, a_mesh_message(BODY)])
    daemon = a_small_daemon(tmp_path, mailbox)

    def expire_first(verb, about):
        if verb == "open" and about == message.mesh_message_id:
            mailbox.expire(message.mesh_message_id)

    note = mailbox._note
    mailbox._note = lambda verb, about: (expire_first(verb, about), note(verb, about))
    assert daemon.collect().collected == 1
    assert "gone" in [event["outcome"] for event in daemon.said("collect.done")]


# ---------------------------------------------------------------------------------------------- reports, responses


def test_a_report_is_recorded_and_acknowledged(tmp_path):
    report = a_report(linked_message_id="SENT1")
    daemon = a_small_daemon(tmp_path, FakeMailbox([report]))
    daemon.collect()
    record = daemon.record(report.mesh_message_id)
    assert (record.kind, record.linked_message_id) == (Kind.REPORT, "SENT1")
    assert daemon.mailbox.acknowledged == [report.mesh_message_id]


def test_a_message_on_a_response_workflow_is_a_response(tmp_path):
    message = a_mesh_message(BODY, workflow_id=ACK_WORKFLOW)
    daemon = a_small_daemon(tmp_path, FakeMailbox([message]))
    daemon.collect()
    assert daemon.record(message.mesh_message_id).kind is Kind.RESPONSE


def test_a_response_is_not_acknowledged_before_it_is_correlated_where_uncorrelated_ones_are_left(tmp_path):
    message = a_mesh_message(BODY, workflow_id=ACK_WORKFLOW)
    daemon = a_small_daemon(tmp_path, FakeMailbox([message]), leaves_uncorrelated=True)
    daemon.collect()
    daemon.collect()
    assert daemon.mailbox.acknowledged == []
    assert len(daemon.mailbox.verbs("open")) == 1


# ---------------------------------------------------------------------------------------------- foreign


def test_a_foreign_message_is_closed_unread_and_not_looked_at_again(tmp_path):
    message = a_mesh_message(BODY, workflow_id="SOMETHING_ELSE")
    daemon = a_small_daemon(tmp_path, FakeMailbox([message]))
    daemon.collect()
    daemon.collect()
    assert daemon.mailbox.verbs("open") == [message.mesh_message_id]
    assert daemon.mailbox.verbs("write") == []
    assert daemon.mailbox.acknowledged == []
    assert daemon.record(message.mesh_message_id).state is State.FOREIGN


def test_a_foreign_message_is_remembered_across_a_restart(tmp_path):
    mailbox = FakeMailbox([a_mesh_message(BODY, workflow_id="SOMETHING_ELSE")])
    first = a_small_daemon(tmp_path, mailbox)
    first.collect()
    first.ledger.close()
    a_small_daemon(tmp_path, mailbox).collect()
    assert len(mailbox.verbs("open")) == 1


def test_hundreds_of_foreign_messages_ahead_do_not_hide_ours(tmp_path):
    foreign = [a_mesh_message(BODY, workflow_id="SOMETHING_ELSE") for _ in range(700)]
    ours = a_mesh_message(BODY)
    daemon = a_small_daemon(tmp_path, FakeMailbox([*foreign, ours]))
    walk = daemon.collect()
    assert daemon.mailbox.acknowledged == [ours.mesh_message_id]
    assert walk.should_repeat
    daemon.collect()
    assert len(daemon.mailbox.verbs("open")) == 701


def test_a_page_full_of_messages_that_stay_is_not_walked_again_at_once(tmp_path):
    foreign = [a_mesh_message(BODY, workflow_id="SOMETHING_ELSE") for _ in range(500)]
    daemon = a_small_daemon(tmp_path, FakeMailbox(foreign))
    walk = daemon.collect()
    assert walk.was_page_full
    assert not walk.should_repeat


def test_a_workflow_that_stands_only_in_the_table_is_foreign(tmp_path):
    message = a_mesh_message(BODY, workflow_id="GPCONNECT_UPDATE_RECORD")
    daemon = a_small_daemon(tmp_path, FakeMailbox([message]))
    daemon.collect()
    assert daemon.record(message.mesh_message_id).state is State.FOREIGN


def test_a_foreign_message_becomes_ours_when_its_handler_is_installed(tmp_path):
    class Another(Handler):
        declaration = Declaration(name="another", workflows={"SOMETHING_ELSE": None})

        def handle(self, message, context):
            raise AssertionError

    message = a_mesh_message(BODY, workflow_id="SOMETHING_ELSE")
    mailbox = FakeMailbox([message])
    before = a_small_daemon(tmp_path, mailbox)
    before.collect()
    before.ledger.close()
    another = Another(Another.Settings())
    daemon = a_small_daemon(tmp_path, mailbox, routes=lambda scripted: a_registry(scripted, another))
    daemon.collect()
    assert daemon.record(message.mesh_message_id).state is State.RECEIVED
    assert mailbox.acknowledged == [message.mesh_message_id]


@pytest.mark.parametrize("how", ["broken", "disabled"])
def test_a_message_whose_handler_cannot_work_stays_in_mesh(tmp_path, message, how):
    daemon = a_small_daemon(tmp_path, FakeMailbox([message]), routes=lambda _: a_registry(**{how: [ScriptedHandler]}))
    daemon.collect()
    daemon.collect()
    assert daemon.mailbox.acknowledged == []
    assert daemon.ledger.get(MessageKey(PRACTICE, message.mesh_message_id)) is None
    assert [event["workflow_id"] for event in daemon.said("handler.unavailable")] == ["TOC_FHIR_IP_DISCH"]


def test_that_a_handler_cannot_work_is_said_once_whatever_waits_for_it_in_mesh(tmp_path):
    messages = [a_mesh_message(BODY) for _ in range(20)]
    daemon = a_small_daemon(tmp_path, FakeMailbox(messages), routes=lambda _: a_registry(disabled=[ScriptedHandler]))
    daemon.collect()
    assert len(daemon.mailbox.verbs("open")) == 20
    assert len(daemon.said("handler.unavailable")) == 1


def test_a_spool_that_refuses_leaves_foreign_messages_in_mesh_and_ours_are_collected(tmp_path):
    foreign = [a_mesh_message(BODY, workflow_id="SOMETHING_ELSE") for _ in range(5)]
    ours = a_mesh_message(BODY)
    (tmp_path / "spool").write_text("in the way")
    daemon = a_small_daemon(tmp_path, FakeMailbox([*foreign, ours]), spool=DirectorySpool(tmp_path / "spool"))
    walk = daemon.collect()
    assert daemon.mailbox.acknowledged == [ours.mesh_message_id]
    assert (walk.collected, walk.failures) == (1, 5)
    assert [(event["reason"], event["mailbox_id"]) for event in daemon.said("storage.failed")] == [("spool", PRACTICE)]
    assert {daemon.ledger.get(MessageKey(PRACTICE, each.mesh_message_id)) for each in foreign} == {None}


def test_what_the_spool_refused_is_spooled_when_it_is_repaired(tmp_path):
    foreign = a_mesh_message(BODY, workflow_id="SOMETHING_ELSE")
    (tmp_path / "spool").write_text("in the way")
    daemon = a_small_daemon(tmp_path, FakeMailbox([foreign]), spool=DirectorySpool(tmp_path / "spool"))
    daemon.collect()
    (tmp_path / "spool").unlink()
    daemon.collect()
    assert daemon.mailbox.acknowledged == [foreign.mesh_message_id]
    assert (tmp_path / "spool" / f"{foreign.mesh_message_id}.dat").read_bytes() == BODY


def a_spooling_daemon(tmp_path, mailbox, **collector):
    return a_small_daemon(tmp_path, mailbox, spool=DirectorySpool(tmp_path / "spool"), **collector)


@pytest.mark.parametrize("is_report", [False, True], ids=["message", "report where reports are held back"])
def test_a_spooled_message_whose_acknowledge_was_lost_is_acknowledged_and_not_downloaded_again(tmp_path, is_report):
    foreign = a_report(linked_message_id="NOBODYS") if is_report else a_mesh_message(BODY, workflow_id="SOMETHING_ELSE")
    mailbox = FakeMailbox([foreign], fails_on="acknowledge", fails_times=1)
    workflow_is_foreign = lambda _: a_registry()  # noqa: E731
    first = a_spooling_daemon(tmp_path, mailbox, routes=workflow_is_foreign, leaves_uncorrelated=True)
    first.collect()
    assert first.record(foreign.mesh_message_id).reason == Reason.FOREIGN_SPOOLED
    first.ledger.close()
    for path in (tmp_path / "spool").iterdir():
        path.unlink()  # the other client has fetched it
    daemon = a_spooling_daemon(tmp_path, mailbox, routes=workflow_is_foreign, leaves_uncorrelated=True)
    daemon.collect()
    assert mailbox.acknowledged == [foreign.mesh_message_id]
    assert len(mailbox.verbs("open")) == 1
    assert list((tmp_path / "spool").iterdir()) == []


def test_what_was_left_is_spooled_once_there_is_a_spool(tmp_path):
    foreign = a_mesh_message(BODY, workflow_id="SOMETHING_ELSE")
    first = a_small_daemon(tmp_path, FakeMailbox([foreign]))
    first.collect()
    assert first.record(foreign.mesh_message_id).reason == Reason.FOREIGN_LEFT
    first.ledger.close()
    daemon = a_spooling_daemon(tmp_path, first.mailbox)
    daemon.collect()
    assert daemon.record(foreign.mesh_message_id).reason == Reason.FOREIGN_SPOOLED
    assert daemon.mailbox.acknowledged == [foreign.mesh_message_id]
    assert (tmp_path / "spool" / f"{foreign.mesh_message_id}.dat").exists()


@pytest.mark.parametrize("has_spool", [True, False], ids=["with a spool", "with none any more"])
def test_what_was_spooled_is_known_in_a_ledger_that_does_not_say_so_in_the_row(tmp_path, has_spool):
    """Rows of before have no reason; their timeline has."""
    foreign = a_mesh_message(BODY, workflow_id="SOMETHING_ELSE")
    mailbox = FakeMailbox([foreign], fails_on="acknowledge", fails_times=1)
    first = a_spooling_daemon(tmp_path, mailbox)
    first.collect()
    first.ledger.close()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as ledger, ledger:
        assert ledger.execute("UPDATE message SET reason = NULL").rowcount == 1
    daemon = a_spooling_daemon(tmp_path, mailbox) if has_spool else a_small_daemon(tmp_path, mailbox)
    daemon.collect()
    assert mailbox.acknowledged == [foreign.mesh_message_id]
    assert len(mailbox.verbs("open")) == 1


# ---------------------------------------------------------------------------------------------- walking


def test_a_walk_goes_over_all_pages(tmp_path):
    messages = [a_mesh_message(BODY) for _ in range(25)]
    daemon = a_small_daemon(tmp_path, FakeMailbox(messages, page_size=10))
    walk = daemon.collect()
    assert (walk.pages, walk.collected) == (3, 25)


def test_a_walk_that_is_told_to_stop_ends_after_the_messages_in_hand(tmp_path, workers):
    messages = [a_mesh_message(BODY) for _ in range(9)]
    mailbox = FakeMailbox(messages)
    daemon = a_small_daemon(tmp_path, mailbox, is_stopping=lambda: len(mailbox.verbs("open")) >= 2)
    walk = daemon.collect()
    assert 2 <= walk.collected <= 2 + workers - 1
    assert walk.acknowledged == walk.collected


def test_a_walk_takes_no_more_than_its_share(tmp_path):
    messages = [a_mesh_message(BODY) for _ in range(5)]
    daemon = a_small_daemon(tmp_path, FakeMailbox(messages), max_messages=3)
    walk = daemon.collect()
    assert (walk.collected, walk.should_repeat) == (3, True)


def test_what_is_here_is_secured_while_a_long_download_goes_on(tmp_path):
    """The second message takes ten minutes: the first is recorded and acknowledged meanwhile."""
    first, second = a_mesh_message(BODY), a_mesh_message(BODY)
    seen = []

    class SlowDownload(FakeMailbox):
        def open(self, mesh_message_id):
            download = super().open(mesh_message_id)
            if mesh_message_id != second.mesh_message_id:
                return download
            daemon.clock.advance(minutes=10)
            write_to = download.write_to

            def slowly(file):
                write_to(file)
                seen.append(list(self.acknowledged))

            download.write_to = slowly
            return download

    daemon = a_small_daemon(tmp_path, SlowDownload([first, second]))
    daemon.collector.workers = 1
    walk = daemon.collect()
    assert seen == [[first.mesh_message_id]]
    assert (walk.collected, walk.acknowledged, walk.in_hand) == (2, 2, 0)
