"""When a send may be repeated, and when not (design rule 15): seen on the wire, where the other side sees it."""

from __future__ import annotations

import signal
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from mesh_itk3.simulator.faults import DropAfter, DropBefore, Fault, Held, Late, ReplayRefused, Status, html
from mesh_itk3.simulator.faulty_mesh import FaultyMesh
from mesh_itk3.simulator.messages import a_message
from support.eventually import eventually
from support.fault_play import Play, an_empty_ledger
from support.practice import Practice, a_hospital, codes
from support.sandbox import PRACTICE

IMPATIENT = Path(__file__).with_name("impatient.py")
WORKFLOW = "TOC_FHIR_IP_DISCH"
GONE = b'{"detail":[{"event":"RECEIVE","code":"20","msg":"Message does not exist"}]}'

pytestmark = pytest.mark.sandbox


@pytest.fixture
def play(tmp_path, sandbox):
    """One practice whose responses go out in one piece each."""
    proxy = FaultyMesh(sandbox.url, refuses_replays=True)
    proxy.start()
    (tmp_path / "empty").mkdir()
    empty = an_empty_ledger(tmp_path / "empty")
    play = Play(tmp_path / "practice", sandbox, proxy, empty, {"chunk_bytes": 1_000_000})
    yield play
    play.close()


def sends_and_look_ups(play):
    return [verb for verb, _ in play.reached if verb in ("send", "find_sent")]


# Of the first send of all, the 20013 of the first letter; what MESH saw of it then. Three more responses follow.
REPEATED = ["find_sent", "send", *["send"] * 3]
FOUND = ["send", "find_sent", *["send"] * 3]


@pytest.mark.parametrize(
    ("fault", "first"),
    [
        (DropBefore(), REPEATED),
        (Status(404, GONE), REPEATED),
        (Status(429, retry_after="30"), REPEATED),
        (Status(500), REPEATED),
        (html(503), REPEATED),
        (html(400), REPEATED),
        (html(200), REPEATED),
        (Status(403), REPEATED),
        (DropAfter(), FOUND),
        (ReplayRefused(), FOUND),
    ],
    ids=[
        "dropped before",
        "404",
        "429",
        "500",
        "503",
        "400 of a gateway",
        "HTML",
        "403",
        "dropped after",
        "repeated on the way",
    ],
)
def test_no_send_is_repeated_before_mesh_has_said_that_it_does_not_have_it(play, fault: Fault, first):
    play.letters_arrive()
    play.proxy.fail("send", fault)
    play.run(minutes=30, step_s=60)
    assert sorted(sends_and_look_ups(play)) == sorted(first)
    # What was looked up is looked up before it is sent; the other letter's may go out between.
    assert first[0] == "send" or sends_and_look_ups(play).index("find_sent") <= 2
    assert play.answers() == [("20013", "30001")] * 2
    assert play.doubled() == 0


@pytest.mark.parametrize("status", [400, 417])
def test_what_mesh_refuses_for_good_is_never_sent_again_nor_looked_up(play, status):
    play.letters_arrive()
    play.proxy.fail("send", Status(status))
    play.run(minutes=180, step_s=600)
    assert "find_sent" not in sends_and_look_ups(play)
    assert sorted(play.answers(), key=str) == [("20013", "30001"), (None, None)]
    assert play.events()["response.parked"] == 1


def test_the_look_up_that_is_not_served_lets_the_identical_bytes_go_out_after_an_hour_and_not_before(play):
    play.letters_arrive()
    play.proxy.fail("send", DropAfter())
    play.proxy.fail("find_sent", Status(501), times=float("inf"))
    play.run(minutes=55, step_s=300)
    assert play.answers().count(("20013", "30001")) == 1
    assert play.doubled() == 0
    play.run(minutes=60, step_s=300)
    assert play.answers() == [("20013", "30001")] * 2
    assert play.doubled() == 1


def test_a_send_that_arrives_after_mesh_has_denied_it_is_doubled_with_the_same_bytes_under_the_same_local_id(play):
    """The window that nothing here can close: our connection is gone, our bytes are not, and MESH has not seen them yet."""
    play.letters_arrive()
    play.proxy.fail("send", Late())
    play.run(minutes=30, step_s=60)
    assert play.answers() == [("20013", "30001")] * 2
    assert play.doubled() == 0
    assert [answer.status for answer in play.proxy.release()] == [202]
    assert play.answers() == [("20013", "30001")] * 2
    assert play.doubled() == 1
    play.run(minutes=180, step_s=900)
    assert play.status() == {"delivered": 4}


def test_a_reload_that_cannot_wait_for_a_send_does_not_send_it_again(tmp_path, sandbox, faulty_mesh, monkeypatch):
    monkeypatch.setenv("DRAIN_S", "1")
    practice = Practice(tmp_path / "practice", faulty_mesh.url)
    with a_hospital(sandbox.url) as hospital, practice.running(by=IMPATIENT) as daemon:
        faulty_mesh.fail("send", Held())
        sent = [hospital.send(a_message("ITK003D", seed="held"), to=PRACTICE, workflow_id=WORKFLOW)]
        eventually(lambda: faulty_mesh.counts["send"])
        daemon.send_signal(signal.SIGHUP)
        eventually(lambda: practice.logged("config.invalid"))
        # As many polls, one a second, as take longer than the interval at which what is owed is looked at anyway.
        polls = len(practice.logged("mailbox.polled"))
        eventually(lambda: len(practice.logged("mailbox.polled")) >= polls + 7)
        sent.append(hospital.send(a_message("ITK003D", seed="after"), to=PRACTICE, workflow_id=WORKFLOW))
        eventually(lambda: len(practice.logged("dispatch.done")) == 2)
        assert (faulty_mesh.counts["send"], faulty_mesh.counts["find_sent"]) == (1, 0)
        faulty_mesh.release()
        eventually(lambda: _is_answered(hospital, sent))
        assert [hospital.responses_to(one).surplus for one in sent] == [(), ()]
        assert (faulty_mesh.counts["send"], faulty_mesh.counts["find_sent"]) == (4, 0)


def _is_answered(hospital, sent):
    hospital.read_inbox()
    return all(codes(hospital.responses_to(one)) == ("20013", "30001") for one in sent)


def test_a_call_whose_caller_died_in_the_middle_never_arrives_not_even_late(sandbox):
    """A process that is killed while it sends leaves half a body: MESH would wait for the rest."""
    proxy = FaultyMesh(sandbox.url)
    proxy.start()
    befallen = []
    proxy.befallen = lambda verb, *_: befallen.append(verb)
    proxy.fail("send", Late(), times=float("inf"))
    host, port = proxy.url.removeprefix("http://").split(":")
    answer = b""
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.sendall(b"POST /messageexchange/X26ABC2/outbox HTTP/1.1\r\nHost: here\r\nContent-Length: 9\r\n\r\nhalf")
        line.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            answer = line.recv(100)
    proxy.stop()
    assert (answer, befallen, proxy.counts["send"], proxy.release()) == (b"", [], 0, [])
