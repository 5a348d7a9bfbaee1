"""The daemon on a PostgreSQL ledger: the same answers, and one collector for a mailbox among many daemons."""

from __future__ import annotations

import subprocess

import pytest

from mesh_itk3.simulator.messages import a_message
from support.practice import COMMAND, Practice, a_hospital, codes
from support.sandbox import PRACTICE

pytestmark = [pytest.mark.sandbox, pytest.mark.postgres]


@pytest.fixture
def practice(tmp_path, sandbox, new_postgresql):
    extra = f'[ledger]\nurl = "{new_postgresql}"\n[payloads]\ndirectory = "{tmp_path}/payloads"\nshared = true\n'
    return Practice(tmp_path, sandbox.url, extra=extra)


def test_messages_are_collected_answered_and_filed(practice):
    with a_hospital(practice.url) as hospital:
        sent = [
            hospital.send(a_message("ITK003D", seed=str(n)), to=PRACTICE, workflow_id="TOC_FHIR_IP_DISCH") for n in range(5)
        ]
        practice.once()
        hospital.read_inbox()
        assert {codes(hospital.responses_to(each)) for each in sent} == {("20013", "30001")}
    assert len(practice.letters()) == 5


def test_a_second_daemon_is_refused_while_the_first_holds_the_mailbox(practice):
    with (practice.directory / "daemon.log").open("wb") as log:
        first = subprocess.Popen([*COMMAND, "run", "--config", str(practice.config)], stderr=subprocess.PIPE, stdout=log)
        try:
            for line in first.stderr:
                if b"service.started" in line:
                    break
            refused = practice.command("run", "--once", expect=75)
        finally:
            first.terminate()
            first.stderr.close()
            first.wait(30)
    assert "Traceback" not in refused.stderr
    practice.once()
