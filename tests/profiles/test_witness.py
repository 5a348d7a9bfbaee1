"""Nothing that leaves the daemon passes unseen: each place where a response is seen, and a run that fails by it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from mesh_client import AuthTokenGenerator

from mesh_itk3.ports import Outgoing
from mesh_itk3.simulator.messages import a_message
from mesh_itk3.stages.dispatch import dispatch
from mesh_itk3.stages.interpret import interpret
from mesh_itk3.stages.respond import respond
from profiles.test_every_code import a_response
from profiles.witness import WITNESS
from support.eventually import eventually
from support.fake_mailbox import FakeMailbox, a_mesh_message
from support.sandbox import HOSPITAL, PRACTICE
from support.stage_world import a_small_daemon

ACK = "TOC_FHIR_IP_DISCH_ACK"
TESTS = Path(__file__).parents[1]


def broken(raw: bytes = b"") -> bytes:
    return (raw or a_response()).replace(b'display value="Success"', b'display value="Fine"')


def said(directory: Path | None = None) -> list[str]:
    """What is wrong with all that was seen; seen here, it does not fail this test at its end."""
    return [f"{where}: {found}" for where, raw in WITNESS.take(directory) for found in WITNESS.judge(raw)]


WRONG = "not_of_this_code: OperationOutcome.issue.details.coding.display"


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.sandbox
def test_what_the_sandbox_is_sent_is_seen(sandbox, practice_mailbox, compressed):
    from mesh_client import MeshClient

    with MeshClient(
        sandbox.url, PRACTICE, "password", shared_key=b"TestKey", max_retries=0, transparent_compress=compressed
    ) as mesh:
        mesh.send_message(HOSPITAL, broken(), workflow_id=ACK)
    assert said() == [f"sent to the sandbox on {ACK}: {WRONG}"]


@pytest.mark.sandbox
def test_a_send_that_dies_on_its_way_is_not_judged_by_half_its_bytes(sandbox):
    token = AuthTokenGenerator(b"TestKey", PRACTICE, "password")()
    said = {"Authorization": token, "Mex-To": HOSPITAL, "Mex-WorkflowID": ACK, "Content-Length": "1000"}
    head = "".join(f"{name}: {value}\r\n" for name, value in said.items())
    with socket.create_connection(("127.0.0.1", sandbox.port)) as connection:
        connection.sendall(
            f"POST /messageexchange/{PRACTICE}/outbox HTTP/1.1\r\nHost: mesh\r\n{head}\r\n".encode() + b"<Bundle"
        )
    eventually(lambda: b'"send"' in sandbox.calls.read_bytes())
    assert WITNESS.take(None) == []


@pytest.mark.sandbox
def test_what_the_hospital_sends_is_not_judged(sandbox, hospital_mailbox):
    hospital_mailbox.send(Outgoing(PRACTICE, ACK, "L-1", broken()))
    assert WITNESS.take(None) == []


def test_what_a_fake_mailbox_is_sent_is_seen():
    FakeMailbox().send(Outgoing(HOSPITAL, ACK, "L-1", broken()))
    FakeMailbox().send(Outgoing(HOSPITAL, "ON_ANY_WORKFLOW", "L-2", broken()))
    FakeMailbox().send(Outgoing(HOSPITAL, ACK, "L-3", b"no response at all"))
    assert said() == [f"sent on {ACK}: {WRONG}", f"sent on ON_ANY_WORKFLOW: {WRONG}", f"sent on {ACK}: not_xml: "]


def test_what_stands_in_an_outbox_is_seen_although_it_was_never_sent(tmp_path):
    daemon = a_small_daemon(tmp_path, FakeMailbox([a_mesh_message(a_message("ITK003D"))]))
    daemon.collect()
    interpret(daemon.world)
    dispatch(daemon.world)
    seen = WITNESS.take(tmp_path)
    assert [where for where, _ in seen] == ["in the outbox of ledger.db"] * 2
    assert [code for _, raw in seen for code in (b"20013", b"30001") if code in raw] == [b"20013", b"30001"]
    respond(daemon.world, daemon.mailbox)
    assert len(WITNESS.take(None)) == 2


def test_a_run_with_one_broken_response_fails_and_says_what_is_wrong(tmp_path):
    (tmp_path / "conftest.py").write_text("from profiles.hook import *\n")
    (tmp_path / "test_some_day.py").write_text(f"""\
from mesh_itk3.ports import Outgoing
from support.fake_mailbox import FakeMailbox

def test_that_is_about_something_else():
    FakeMailbox().send(Outgoing("{HOSPITAL}", "{ACK}", "L-1", {broken()!r}))
""")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180, env=environment, cwd=tmp_path)
    assert run.returncode == 1
    assert WRONG in run.stdout
    assert "1 responses seen" in run.stdout
