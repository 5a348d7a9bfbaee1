"""The daemon on a PostgreSQL ledger: the same answers, and one collector for a mailbox among many daemons."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from mesh_itk3.simulator.messages import a_message
from support.eventually import DEADLINE_S, eventually
from support.practice import COMMAND, Practice, a_hospital, codes
from support.sandbox import PRACTICE

pytestmark = [pytest.mark.sandbox, pytest.mark.postgres]

UNCLOSABLE = Path(__file__).parents[1] / "service" / "unclosable.py"


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
            first.wait(DEADLINE_S)
    assert "Traceback" not in refused.stderr
    practice.once()


def test_a_reload_takes_over_the_lease_that_the_old_daemon_of_this_process_could_not_give_up(practice):
    with practice.running(by=UNCLOSABLE) as daemon:
        eventually(lambda: practice.logged("service.started"))
        daemon.send_signal(signal.SIGHUP)
        eventually(lambda: practice.logged("config.reloaded") or daemon.poll() is not None)
        with a_hospital(practice.url) as hospital:
            sent = hospital.send(a_message("ITK003D"), to=PRACTICE, workflow_id="TOC_FHIR_IP_DISCH")
            eventually(lambda: hospital.read_inbox() is not None and codes(hospital.responses_to(sent)) == ("20013", "30001"))
        refused = practice.command("run", "--once", expect=75)
        assert "is collected by" in refused.stderr
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(20) == 0
    assert practice.logged("lease.lost") == []
    assert len(practice.letters()) == 1


def test_a_daemon_that_slept_while_another_took_over_wakes_commits_nothing_and_ends_with_75(practice, new_postgresql):
    log = practice.directory / "daemon.log"
    with a_hospital(practice.url) as hospital, log.open("wb") as output:
        command = [*COMMAND, "run", "--config", str(practice.config)]
        sleeper = subprocess.Popen(command, stderr=output, stdout=output, start_new_session=True)
        try:
            eventually(lambda: b'"service.started"' in log.read_bytes() and b'"mailbox.polled"' in log.read_bytes())
            eventually(lambda: _sleeps_outside_a_transaction(sleeper, new_postgresql))
            _let_every_lease_run_out(new_postgresql)
            taken_over = hospital.send(a_message("ITK003D", seed="over"), to=PRACTICE, workflow_id="TOC_FHIR_IP_DISCH")
            practice.once()
            left = hospital.send(a_message("ITK003D", seed="left"), to=PRACTICE, workflow_id="TOC_FHIR_IP_DISCH")
            os.killpg(sleeper.pid, signal.SIGCONT)
            assert sleeper.wait(DEADLINE_S) == 75
        finally:
            if sleeper.poll() is None:
                os.killpg(sleeper.pid, signal.SIGKILL)
                sleeper.wait(DEADLINE_S)
        assert len(practice.logged("lease.lost")) == 1
        assert [message["mesh_message_id"] for message in practice.messages()] == [taken_over.mesh_message_id]
        practice.once()
        hospital.read_inbox()
        answers = [hospital.responses_to(each) for each in (taken_over, left)]
    assert [codes(each) for each in answers] == [("20013", "30001")] * 2
    assert [each.surplus for each in answers] == [()] * 2
    assert len(practice.letters()) == 2


def _sleeps_outside_a_transaction(sleeper: subprocess.Popen[bytes], url: str) -> bool:
    """Stopped; inside one it would keep its locks, and everybody would wait for it: then it goes on, for another try."""
    os.killpg(sleeper.pid, signal.SIGSTOP)
    os.waitpid(sleeper.pid, os.WUNTRACED)
    busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with _connected(url) as connection:
        is_idle = connection.execute(sa.text(f"{busy} AND state <> 'idle'")).scalar() == 0
    if not is_idle:
        os.killpg(sleeper.pid, signal.SIGCONT)
    return is_idle


def _let_every_lease_run_out(url: str) -> None:
    """As if it had slept for longer than a lease lasts."""
    with _connected(url) as connection:
        connection.execute(sa.text("UPDATE lease SET expires_at = now() - interval '1 second'"))


@contextmanager
def _connected(url: str) -> Iterator[sa.Connection]:
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        yield connection
    engine.dispose()
