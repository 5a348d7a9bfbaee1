"""The daemon as a process: ready, alive, reloading, stopping, alone."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from mesh_itk3.simulator.messages import a_message
from support.eventually import DEADLINE_S, eventually
from support.practice import COMMAND, Practice, a_hospital, codes
from support.sandbox import PRACTICE

pytestmark = pytest.mark.sandbox

UNCLOSABLE = Path(__file__).with_name("unclosable.py")


@pytest.fixture
def practice(tmp_path, sandbox):
    return Practice(tmp_path, sandbox.url)


def test_the_running_daemon_answers_and_files_and_stops_on_sigterm_with_nothing_half_done(practice):
    with a_hospital(practice.url) as hospital, practice.running() as daemon:
        sent = [
            hospital.send(a_message("ITK003D", seed=str(n)), to=PRACTICE, workflow_id="TOC_FHIR_IP_DISCH") for n in range(5)
        ]
        eventually(lambda: hospital.read_inbox() is not None and _all_answered(hospital, sent))
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(DEADLINE_S) == 0
    assert practice.logged("service.stopped")
    assert len(practice.letters()) == 5
    assert {message["state"] for message in practice.messages()} == {"completed"}


def _all_answered(hospital, sent):
    return {codes(hospital.responses_to(each)) for each in sent} == {("20013", "30001")}


def test_a_decision_made_while_the_daemon_runs_is_carried_out_by_it(practice):
    (practice.directory / "patients.csv").unlink()
    with a_hospital(practice.url) as hospital, practice.running():
        sent = hospital.send(a_message("ITK003D"), to=PRACTICE, workflow_id="TOC_FHIR_IP_DISCH")
        eventually(lambda: practice.logged("decision.needed"))
        practice.command("respond", sent.mesh_message_id, "30001", "--by", "Dr Example")
        eventually(lambda: hospital.read_inbox() is not None and _all_answered(hospital, [sent]))
    assert practice.letter(sent.mesh_message_id) is not None


def test_sighup_reads_the_configuration_again(practice):
    with practice.running() as daemon:
        eventually(lambda: practice.logged("mailbox.polled"))
        practice.extra = '[workflows.TOC_FHIR_IP_DISCH]\nstrictness = "strict"'
        practice.configure()
        daemon.send_signal(signal.SIGHUP)
        eventually(lambda: practice.logged("config.reloaded"))
        with a_hospital(practice.url) as hospital:
            body = a_message("ITK003D", sender_reference=None)
            sent = hospital.send(body, to=PRACTICE, workflow_id="TOC_FHIR_IP_DISCH")
            eventually(lambda: hospital.read_inbox() is not None and codes(hospital.responses_to(sent)) == ("10001", None))


def test_a_wrong_configuration_is_refused_on_sighup_and_the_old_one_goes_on(practice):
    with practice.running() as daemon, a_hospital(practice.url) as hospital:
        eventually(lambda: practice.logged("mailbox.polled"))
        practice.extra = "[limits]\nmax_mesage_bytes = 7"
        practice.configure()
        daemon.send_signal(signal.SIGHUP)
        problem = eventually(lambda: practice.logged("config.invalid"))[0]["problem"]
        assert "max_mesage_bytes" in problem
        sent = hospital.send(a_message("ITK003D"), to=PRACTICE, workflow_id="TOC_FHIR_IP_DISCH")
        eventually(lambda: hospital.read_inbox() is not None and _all_answered(hospital, [sent]))


def test_old_connections_that_cannot_be_closed_do_not_end_the_daemon_that_reloads(practice):
    with practice.running(by=UNCLOSABLE) as daemon:
        eventually(lambda: practice.logged("service.started"))
        daemon.send_signal(signal.SIGHUP)
        eventually(lambda: practice.logged("config.reloaded"))
        with a_hospital(practice.url) as hospital:
            sent = hospital.send(a_message("ITK003D"), to=PRACTICE, workflow_id="TOC_FHIR_IP_DISCH")
            eventually(lambda: hospital.read_inbox() is not None and _all_answered(hospital, [sent]))
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(DEADLINE_S) == 0
    assert {line["stage"] for line in practice.logged("stage.broken")} == {"close"}


def test_a_second_daemon_on_the_same_ledger_is_refused_with_75_and_one_line(practice):
    with practice.running() as daemon:
        eventually(lambda: practice.logged("service.started"))
        second = practice.command("run", "--once", expect=75)
        plain = [line for line in second.stderr.splitlines() if not line.startswith("{")]
        assert len(plain) == 1
        assert str(daemon.pid) in plain[0]


def test_a_wrong_configuration_ends_with_78_and_names_the_key_but_not_the_value(practice):
    practice.mailbox_extra = 'passwort = "hunter2"'
    practice.configure()
    done = practice.command("run", expect=78)
    assert "passwort" in done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


@contextmanager
def as_a_unit(practice):
    """The daemon as systemd runs it, and the socket on which systemd listens."""
    told = practice.directory / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(told))
        listening.settimeout(DEADLINE_S)
        environment = os.environ | {"NOTIFY_SOCKET": str(told), "WATCHDOG_USEC": "600000"}
        with (practice.directory / "daemon.log").open("wb") as log:
            process = subprocess.Popen([*COMMAND, "run", "--config", str(practice.config)], env=environment, stderr=log)
        try:
            yield process, listening
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(DEADLINE_S)


def test_systemd_is_told_ready_status_watchdog_and_stopping(practice):
    with as_a_unit(practice) as (process, listening):
        heard = _listen_until(listening, "WATCHDOG=1", times=3)
        process.send_signal(signal.SIGTERM)
        heard += _listen_until(listening, "STOPPING=1")
    assert heard[0].startswith("READY=1")
    assert any(line.startswith("STATUS=1 mailboxes") for said in heard for line in said.splitlines())


def test_systemd_is_told_that_mesh_does_not_answer_and_that_the_disk_refuses_at_the_same_time(practice):
    practice.url = "http://127.0.0.1:9"
    practice.configure()
    with as_a_unit(practice) as (_, listening):
        _listen_until(listening, "0 parked; 1 of 1 unavailable: MESH does not answer, or refuses")
    practice.extra = f"[limits]\nfree_bytes_min = {2**50}"
    practice.configure()
    (practice.directory / "notify").unlink()
    with as_a_unit(practice) as (_, listening):
        said = _listen_until(listening, "STATUS=nothing is collected, the disk refuses: less than")[-1]
        assert said.strip().endswith("; 1 of 1 unavailable: MESH does not answer, or refuses")


def _listen_until(listening, word, times=1):
    heard = []
    while sum(word in said for said in heard) < times:
        heard.append(listening.recv(4096).decode())
    return heard


def test_once_exits_with_1_when_mesh_cannot_be_reached(practice):
    practice.url = "http://127.0.0.1:9"
    practice.configure()
    done = practice.once(expect=1)
    assert "Traceback" not in done.stderr


def test_no_patient_data_and_no_secret_reaches_the_log_at_any_level(practice):
    practice.directory.joinpath("mesh-itk3.toml").write_text('log_level = "debug"\n' + practice.config.read_text())
    with a_hospital(practice.url) as hospital, practice.running():
        sent = [
            hospital.send(a_message(kind), to=PRACTICE, workflow_id="TOC_FHIR_IP_DISCH", subject="Edith Fothergill")
            for kind in ("ITK003D", "ITK004D")
        ]
        hospital.send(a_message("ITK003D", seed="bad")[:-300], to=PRACTICE, workflow_id="TOC_FHIR_IP_DISCH")
        eventually(lambda: hospital.read_inbox() is not None and _all_answered(hospital, sent))
        eventually(lambda: practice.logged("message.rejected"))
    said = (practice.directory / "daemon.log").read_text().lower()
    for private in ("fothergill", "edith", "999 000", "1946-03-14", "sluice", 'password"', "testkey", "nhsmesh "):
        assert private not in said
    assert not re.search(r"(?<![0-9a-f])9990001", said), "an id may have these digits, by chance"
