"""A disk that is full, read-only or nearly full: collecting stops, MESH keeps the messages, it is said once, and all goes on by
itself when there is room."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest

from mesh_itk3.adapters.disk_space import free_bytes, problem_of, require_room
from mesh_itk3.adapters.ledger import migrate, open_ledger
from mesh_itk3.adapters.letters import LetterFiles
from mesh_itk3.adapters.spool import DirectorySpool
from mesh_itk3.lifecycle import State
from mesh_itk3.ports import LedgerUnavailable, StorageFailed
from mesh_itk3.simulator.messages import a_message
from mesh_itk3.stages.collect import collect
from mesh_itk3.stages.dispatch import dispatch
from mesh_itk3.stages.interpret import interpret
from mesh_itk3.stages.intervene import hold, release
from mesh_itk3.stages.poll import handshake_if_due, poll
from support.eventually import DEADLINE_S, eventually
from support.fake_mailbox import FakeMailbox, a_mesh_message
from support.file_size import no_file_longer_than
from support.ledger_rows import NOW, record
from support.letters_builder import a_message as a_letter
from support.practice import Practice, a_hospital, codes
from support.sandbox import PRACTICE
from support.stage_world import WORKFLOW, a_small_daemon
from support.unprivileged import let_others_enter, unprivileged

BODY = b"<Bundle xmlns='http://hl7.org/fhir'/>" * 50


# ------------------------------------------------------------------------------------------------ said once


def test_a_disk_that_refuses_is_said_once_noted_for_status_and_its_recovery_said_once(tmp_path):
    daemon = a_small_daemon(tmp_path, FakeMailbox([a_mesh_message(BODY, workflow_id=WORKFLOW)]))
    (tmp_path / "payloads").write_text("in the way")
    for _ in range(5):
        assert poll(daemon.collector, daemon.guard) is None
    state = daemon.ledger.mailbox_state(PRACTICE)
    assert (state.disk_failures, state.disk_since) == (5, daemon.clock.now())
    assert (state.failures, state.reason) == (0, None)
    assert daemon.mailbox.acknowledged == []
    (tmp_path / "payloads").unlink()
    for _ in range(3):
        poll(daemon.collector, daemon.guard)

    assert [line["reason"] for line in daemon.said("storage.failed")] == ["File exists (EEXIST)"]
    assert len(daemon.said("storage.usable")) == 1
    assert daemon.said("mailbox.recovered") == []
    state = daemon.ledger.mailbox_state(PRACTICE)
    assert (state.disk_failures, state.disk_since) == (0, None)
    assert len(daemon.mailbox.acknowledged) == 1


def test_a_restart_on_a_full_disk_does_not_say_it_again_and_says_the_recovery(tmp_path):
    mailbox = FakeMailbox([a_mesh_message(BODY, workflow_id=WORKFLOW)])
    daemon = a_small_daemon(tmp_path, mailbox)
    (tmp_path / "payloads").write_text("in the way")
    poll(daemon.collector, daemon.guard)
    daemon.ledger.close()

    again = a_small_daemon(tmp_path, mailbox)
    poll(again.collector, again.guard)
    (tmp_path / "payloads").unlink()
    poll(again.collector, again.guard)

    assert (len(again.said("storage.failed")), len(again.said("storage.usable"))) == (0, 1)


def test_a_handshake_does_not_pass_for_a_recovery_of_the_disk(tmp_path):
    daemon = a_small_daemon(tmp_path, FakeMailbox([a_mesh_message(BODY, workflow_id=WORKFLOW)]))
    (tmp_path / "payloads").write_text("in the way")
    poll(daemon.collector, daemon.guard)
    handshake_if_due(daemon.mailbox, daemon.guard, at_once=True)

    assert daemon.ledger.mailbox_state(PRACTICE).disk_failures == 1
    assert (daemon.said("mailbox.recovered"), daemon.said("storage.usable")) == ([], [])


def troubles(daemon) -> tuple[int, str | None, int]:
    state = daemon.ledger.mailbox_state(PRACTICE)
    return state.failures, state.reason, state.disk_failures


@pytest.mark.parametrize("ends_first", ["disk", "MESH"])
def test_a_disk_that_refuses_while_mesh_is_away_stands_beside_it_and_outlasts_it_or_is_outlasted(tmp_path, ends_first):
    daemon = a_small_daemon(tmp_path)
    daemon.mailbox.fails_on = ("send", "handshake")
    handshake_if_due(daemon.mailbox, daemon.guard, at_once=True)
    daemon.clock.advance(minutes=1)
    began = daemon.clock.now()
    daemon.collector.check_room = lambda: require_room([tmp_path], 2**60)
    poll(daemon.collector, daemon.guard)
    assert troubles(daemon) == (1, "connection", 1)
    daemon.clock.advance(hours=1)
    if ends_first == "disk":
        daemon.collector.check_room = lambda: None
        poll(daemon.collector, daemon.guard)
        assert troubles(daemon) == (1, "connection", 0)
        assert (len(daemon.said("storage.usable")), daemon.said("mailbox.recovered")) == (1, [])
    else:
        daemon.mailbox.heal()
        handshake_if_due(daemon.mailbox, daemon.guard, at_once=True)
        assert troubles(daemon) == (0, None, 1)
        assert daemon.ledger.mailbox_state(PRACTICE).disk_since == began
        assert (daemon.said("storage.usable"), len(daemon.said("mailbox.recovered"))) == ([], 1)


def test_a_restart_knows_of_both_and_says_neither_again(tmp_path):
    mailbox = FakeMailbox(fails_on="handshake")
    daemon = a_small_daemon(tmp_path, mailbox)
    daemon.collector.check_room = lambda: require_room([tmp_path], 2**60)
    poll(daemon.collector, daemon.guard)
    handshake_if_due(mailbox, daemon.guard, at_once=True)
    daemon.ledger.close()

    again = a_small_daemon(tmp_path, mailbox)
    again.collector.check_room = daemon.collector.check_room
    again.clock.advance(minutes=2)
    poll(again.collector, again.guard)
    handshake_if_due(mailbox, again.guard, at_once=True)
    assert troubles(again) == (2, "connection", 2)
    assert (again.said("storage.failed"), again.said("mailbox.unavailable")) == ([], [])


def test_a_spool_that_refuses_is_said_once_over_all_polls_and_ours_are_collected(tmp_path):
    foreign = [a_mesh_message(BODY, workflow_id="SOMEBODY_ELSES") for _ in range(3)]
    ours = a_mesh_message(BODY, workflow_id=WORKFLOW)
    daemon = a_small_daemon(tmp_path, FakeMailbox([*foreign, ours]), spool=DirectorySpool(tmp_path / "spool"))
    (tmp_path / "spool").write_text("in the way")
    for _ in range(3):
        poll(daemon.collector, daemon.guard)
    assert daemon.mailbox.acknowledged == [ours.mesh_message_id]
    (tmp_path / "spool").unlink()
    poll(daemon.collector, daemon.guard)

    assert [line["reason"] for line in daemon.said("storage.failed")] == ["spool"]
    assert [line["reason"] for line in daemon.said("storage.usable")] == ["spool"]
    assert len(daemon.mailbox.acknowledged) == 4


def test_a_message_that_is_held_while_it_waits_for_the_disk_does_not_hush_the_next_time_that_the_disk_refuses(tmp_path):
    messages = [a_mesh_message(a_message("ITK003D", seed=f"{n}"), workflow_id=WORKFLOW) for n in range(2)]
    daemon = a_small_daemon(tmp_path, FakeMailbox(messages))
    collect(daemon.collector)
    interpret(daemon.world)
    daemon.handler.answers = [StorageFailed("No space left on device (ENOSPC)") for _ in range(2)]
    dispatch(daemon.world)
    held, now = daemon.record(messages[0].mesh_message_id), daemon.clock.now()
    daemon.ledger.act(hold(held, "Jo Smith", now).steps, (), now)
    daemon.clock.advance(hours=2)
    dispatch(daemon.world)
    assert len(daemon.said("storage.usable")) == 1
    released = release(daemon.record(messages[0].mesh_message_id), None, "Jo Smith", now)
    daemon.ledger.act(released.steps, (), now)
    daemon.handler.answers = [StorageFailed("No space left on device (ENOSPC)")]
    dispatch(daemon.world)

    assert len(daemon.said("storage.failed")) == 2


def test_letters_that_a_disk_refuses_are_said_once_and_their_messages_wait_uncounted(tmp_path):
    messages = [a_mesh_message(a_message("ITK003D", seed=f"{n}"), workflow_id=WORKFLOW) for n in range(4)]
    daemon = a_small_daemon(tmp_path, FakeMailbox(messages))
    collect(daemon.collector)
    interpret(daemon.world)
    daemon.handler.answers = [StorageFailed("No space left on device (ENOSPC)") for _ in range(12)]
    for _ in range(3):
        dispatch(daemon.world)
        daemon.clock.advance(minutes=2)
    records = [daemon.record(message.mesh_message_id) for message in messages]
    assert {(each.state, each.attempts, each.reason) for each in records} == {(State.ACCEPTED, 0, "storage_failed")}
    assert len(daemon.handler.calls) == 12
    dispatch(daemon.world)

    assert {daemon.record(message.mesh_message_id).state for message in messages} == {State.COMPLETED}
    assert [line["reason"] for line in daemon.said("storage.failed")] == ["No space left on device (ENOSPC)"]
    assert len(daemon.said("storage.usable")) == 1


def test_status_names_what_waits_for_the_disk_and_the_mailbox_that_is_not_collected(tmp_path):
    letter = a_mesh_message(a_message("ITK003D", seed="1"), workflow_id=WORKFLOW)
    daemon = a_small_daemon(tmp_path, FakeMailbox([letter]))
    collect(daemon.collector)
    interpret(daemon.world)
    daemon.handler.answers = [StorageFailed("full")]
    dispatch(daemon.world)
    daemon.mailbox.deliver(a_mesh_message(BODY, workflow_id=WORKFLOW))
    daemon.collector.check_room = lambda: require_room([tmp_path], 2**60)
    poll(daemon.collector, daemon.guard)

    practice = Practice(tmp_path / "p", "http://127.0.0.1:9", extra=f'[ledger]\nurl = "sqlite:///{tmp_path}/ledger.db"')
    assert json.loads(practice.command("status", "--json").stdout)["waiting_for_disk"] == 1
    said = practice.command("status").stdout
    assert "wait for a disk that refused a write: 1 message" in said
    assert f"mailbox {PRACTICE} is not collected: the disk has refused since 2026-03-02 09:00:00Z" in said


def test_a_message_that_waits_for_the_disk_is_not_tried_again_at_once(tmp_path):
    daemon = a_small_daemon(tmp_path, FakeMailbox([a_mesh_message(a_message("ITK003D", seed="1"), workflow_id=WORKFLOW)]))
    collect(daemon.collector)
    interpret(daemon.world)
    daemon.handler.answers = [StorageFailed("full") for _ in range(9)]
    for _ in range(9):
        dispatch(daemon.world)
    assert len(daemon.handler.calls) == 1


# ------------------------------------------------------------------------------------------------ what the kernel refuses


def test_a_file_that_grows_too_long_for_the_disk_keeps_its_message_in_mesh(tmp_path):
    small, large = a_mesh_message(BODY, workflow_id=WORKFLOW), a_mesh_message(BODY * 4000, workflow_id=WORKFLOW)
    daemon = a_small_daemon(tmp_path, FakeMailbox([large, small]))
    with no_file_longer_than(2_000_000):
        assert poll(daemon.collector, daemon.guard) is None
    assert daemon.payload_files() == []
    poll(daemon.collector, daemon.guard)

    assert sorted(daemon.mailbox.acknowledged) == sorted([small.mesh_message_id, large.mesh_message_id])
    assert len(daemon.said("storage.failed")) == 1


def test_a_ledger_that_may_not_grow_refuses_and_keeps_what_it_has(tmp_path):
    url = f"sqlite:///{tmp_path}/ledger.db"
    migrate(url, NOW)
    ledger = open_ledger(url, owner="this:1")
    record(ledger, 1)
    with no_file_longer_than(100), pytest.raises(LedgerUnavailable, match="disk under the ledger"):
        record(ledger, 2)
    record(ledger, 3)
    assert {message.key.mesh_message_id for message, _ in ledger.messages()} == {record_id(1), record_id(3)}
    ledger.close()


def record_id(number: int) -> str:
    from support.ledger_rows import key

    return key(number).mesh_message_id


@pytest.mark.open_to_others
def test_directories_that_may_not_be_written_refuse_and_a_letter_leaves_nothing(tmp_path):
    letters = tmp_path / "letters"
    letters.mkdir()
    letters.chmod(0o755)
    let_others_enter(letters)
    with unprivileged(), pytest.raises(StorageFailed, match="EACCES"):
        LetterFiles().file(letters, a_letter(), lambda folder: {"title": "a title"})
    assert list(letters.iterdir()) == []


# ------------------------------------------------------------------------------------------------ a reserve


def test_too_little_room_stops_a_walk_before_it_asks_mesh_and_more_room_lets_it_go_on(tmp_path):
    daemon = a_small_daemon(tmp_path, FakeMailbox([a_mesh_message(BODY, workflow_id=WORKFLOW)]))
    least = [2**60]
    daemon.collector.check_room = lambda: require_room([tmp_path], least[0])
    for _ in range(3):
        assert poll(daemon.collector, daemon.guard) is None
    assert daemon.mailbox.verbs("pages") == []
    least[0] = 1
    assert poll(daemon.collector, daemon.guard).collected == 1

    assert [line["reason"][:9] for line in daemon.said("storage.failed")] == ["less than"]
    assert len(daemon.said("storage.usable")) == 1


def test_a_walk_during_which_room_runs_out_keeps_the_rest_in_mesh(tmp_path):
    messages = [a_mesh_message(BODY, workflow_id=WORKFLOW) for _ in range(6)]
    daemon = a_small_daemon(tmp_path, FakeMailbox(messages))
    asked = []

    def check_room() -> None:
        asked.append("asked")
        if len(asked) == 4:
            raise StorageFailed("less than 256 MiB are free")

    daemon.collector.check_room = check_room
    assert poll(daemon.collector, daemon.guard) is None
    assert poll(daemon.collector, daemon.guard) is not None
    assert sorted(daemon.mailbox.acknowledged) == sorted(message.mesh_message_id for message in messages)
    assert len(daemon.said("storage.failed")) == 1


def test_room_is_asked_where_the_directory_would_be_made_and_zero_asks_nothing(tmp_path):
    assert free_bytes(tmp_path / "not" / "there") == pytest.approx(free_bytes(tmp_path), rel=0.5)
    assert problem_of(tmp_path / "not" / "there", 1) is None
    assert problem_of(tmp_path, 2**60).startswith("less than")
    require_room([tmp_path / "not" / "there"], 0)


def test_check_and_status_say_that_there_is_too_little_room(tmp_path):
    practice = Practice(tmp_path, "http://127.0.0.1:9", extra=f"[limits]\nfree_bytes_min = {2**50}")
    migrate(f"sqlite:///{tmp_path}/state/ledger.db", datetime.now(UTC))

    checks = json.loads(practice.command("check", "--offline", "--json", expect=1).stdout)["checks"]
    assert {each["check"]: each["outcome"] for each in checks if "disk" in each["check"]} == {
        "disk of ledger": "failed",
        "disk of payloads": "failed",
    }
    stored = json.loads(practice.command("status", "--json").stdout)["storage"]
    short = [each["kept"] for each in stored if (each["problem"] or "").startswith("less than")]
    assert short == ["ledger", "payloads"]
    assert "all goes on by itself" in practice.command("status").stdout


# ------------------------------------------------------------------------------------------------ a small disk of its own

FILL = """
import os, sys
with open(sys.argv[1], "wb") as file:
    try:
        while True:
            file.write(b"x" * 4096); file.flush()
    except OSError:
        pass
"""


def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    done = subprocess.run(
        ["unshare", "-Urm", "mount", "-t", "tmpfs", "-o", "size=1m", "none", "/mnt"], capture_output=True, check=False
    )
    return done.returncode == 0


class Told:
    """The other end of systemd's socket: what the daemon's status line says. Read all the time, as systemd does: the kernel
    keeps ten lines, and the daemon waits a second for room before it gives one up.
    """

    def __init__(self, name: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{name}")
        self._last = ""
        self._listening = threading.Thread(target=self._listen)
        self._listening.start()
        self.environment = {"NOTIFY_SOCKET": f"@{name}", "WATCHDOG_USEC": "1000000"}

    def _listen(self) -> None:
        while said := self._socket.recv(4096):
            for line in said.decode().splitlines():
                self._last = line if line.startswith("STATUS=") else self._last

    def says(self, text: str) -> bool:
        """Whether its last line has this in it."""
        return text in self._last

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RD)
        self._listening.join()
        self._socket.close()


@pytest.mark.sandbox
@pytest.mark.skipif(not can_mount(), reason="no user and mount namespaces here: a small disk cannot be mounted")
def test_a_running_daemon_on_a_disk_that_fills_up_goes_on_by_itself_when_there_is_room(sandbox, tmp_path):
    """The whole daemon on a tmpfs of its own: full with ledger, payloads and letters on it, then emptied."""
    practice = Practice(tmp_path / "practice", sandbox.url, extra="[limits]\nfree_bytes_min = 0")
    state, word = practice.directory / "state", tmp_path / "word"
    state.mkdir()
    script = f"""
mount -t tmpfs -o size=12m none {state}
{sys.executable} -m mesh_itk3 run --config {practice.config} > {practice.directory}/daemon.log 2>&1 &
daemon=$!
until [ -e {word}.fill ]; do sleep 0.05; done
{sys.executable} -c '{FILL}' {state}/ballast; touch {word}.filled
until [ -e {word}.free ]; do sleep 0.05; done
rm {state}/ballast; touch {word}.freed
until [ -e {word}.end ]; do sleep 0.05; done
kill -TERM $daemon; wait $daemon; code=$?
cp -r {state}/. {tmp_path}/left
exit $code
"""
    told = Told(f"mesh-itk3-disk-{os.getpid()}")
    inside = subprocess.Popen(
        ["unshare", "-Urm", "sh", "-c", script], start_new_session=True, env=os.environ | told.environment
    )
    try:
        eventually(lambda: practice.logged("service.started"))
        with a_hospital(practice.url) as hospital:
            first = hospital.send(a_message("ITK003D", seed="before"), to=PRACTICE, workflow_id="TOC_FHIR_IP_DISCH")
            eventually(lambda: hospital.read_inbox() and codes(hospital.responses_to(first)) == ("20013", "30001"))
            word.with_suffix(".fill").touch()
            eventually(word.with_suffix(".filled").exists)
            sent = [
                hospital.send(a_message("ITK003D", seed=f"full-{n}"), to=PRACTICE, workflow_id="TOC_FHIR_IP_DISCH")
                for n in range(3)
            ]
            eventually(lambda: practice.logged("storage.failed") or practice.logged("ledger.failed"))
            eventually(lambda: told.says("the disk refuses") or told.says("the ledger cannot be used"))
            polls = len(practice.logged("mailbox.polled"))
            word.with_suffix(".free").touch()
            eventually(word.with_suffix(".freed").exists)
            eventually(
                lambda: (hospital.read_inbox(), all(codes(hospital.responses_to(e)) == ("20013", "30001") for e in sent))[1]
            )
            assert [hospital.responses_to(each).surplus for each in (first, *sent)] == [()] * 4
            assert hospital.unexplained == ()
        said = practice.logged("storage.failed") + practice.logged("ledger.failed")
        usable = eventually(lambda: practice.logged("storage.usable") + practice.logged("ledger.usable"))
        assert 1 <= len(said) <= 4, said
        assert 1 <= len(usable) <= 4, usable
        assert polls >= 1
        eventually(lambda: told.says("0 in hand"))
        assert practice.logged("stage.broken") == []
    finally:
        word.with_suffix(".end").touch()
        assert inside.wait(DEADLINE_S) == 0
        told.close()
    assert len(list((tmp_path / "left").glob("letters/*/*/metadata.json"))) == 4
