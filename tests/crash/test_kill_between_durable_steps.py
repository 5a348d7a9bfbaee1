"""SIGKILL between every pair of durable steps: a real process dies, another takes over. Nothing is lost, nothing is
answered twice, one letter is filed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mesh_itk3.simulator.messages import a_message
from support.practice import Practice, a_hospital, codes
from support.sandbox import PRACTICE

DYING = Path(__file__).with_name("dying.py")
WORKFLOW = "TOC_FHIR_IP_DISCH"

# point, before or after the n-th call: what has become durable by then
POINTS = [
    ("payloads.draft", "before", 1, "opened, nothing written"),
    ("payloads.draft", "after", 1, "written aside, nothing durable"),
    ("payloads.keep", "after", 1, "payload renamed, no row"),
    ("ledger.record_all_received", "after", 1, "row committed, not acknowledged"),
    ("mailbox.acknowledge", "after", 1, "acknowledged, not noted"),
    ("ledger.record_acknowledged", "after", 1, "acknowledgement noted"),
    ("ledger.claim", "after", 1, "claimed or nothing to claim"),
    ("payloads.read", "after", 1, "in progress, bytes read"),
    ("handler.examine", "after", 1, "examined, not committed"),
    ("ledger.apply", "before", 1, "judged, not committed"),
    ("ledger.apply", "after", 1, "accepted and 20013 owed"),
    ("ledger.claim", "after", 3, "in progress for the handler, or nothing to claim"),
    ("handler.handle", "before", 1, "handler about to be called"),
    ("handler.handle", "after", 1, "letter filed, not committed"),
    ("ledger.apply", "before", 2, "handled, not committed"),
    ("ledger.apply", "after", 2, "completed and business response owed"),
    ("ledger.claim_responses", "after", 1, "send marked as begun or nothing owed yet"),
    ("mailbox.send", "before", 1, "send marked as begun, not sent"),
    ("mailbox.send", "after", 1, "MESH has taken the first, not recorded"),
    ("mailbox.send", "before", 2, "second send begun, not sent"),
    ("mailbox.send", "after", 2, "MESH has taken the second, not recorded"),
    ("ledger.apply_responses", "before", 1, "sent, not recorded"),
    ("ledger.apply_responses", "after", 1, "sent and recorded"),
]


@pytest.fixture
def practice(tmp_path, sandbox):
    return Practice(tmp_path, sandbox.url)


def die_at(practice, point, when, nth):
    command = [sys.executable, str(DYING), str(practice.config), point, when, str(nth)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("point", "when", "nth", "durable"), POINTS, ids=[f"{when} {point} {nth}" for point, when, nth, _ in POINTS]
)
def test_a_kill_here_loses_nothing_and_answers_nothing_twice(practice, point, when, nth, durable):
    with a_hospital(practice.url) as hospital:
        sent = hospital.send(a_message("ITK003D", seed=f"{point}{when}{nth}"), to=PRACTICE, workflow_id=WORKFLOW)
        died = die_at(practice, point, when, nth)
        assert died.returncode == -signal.SIGKILL, f"not killed at {durable}: {died.stderr[-2000:]}"
        practice.once()
        hospital.read_inbox()
        answers = hospital.responses_to(sent)
        assert codes(answers) == ("20013", "30001")
        assert answers.surplus == ()
        assert hospital.unexplained == ()
    assert practice.message(sent.mesh_message_id)["state"] == "completed"
    assert len(practice.letters()) == 1


@pytest.mark.sandbox
def test_killed_again_and_again_it_still_ends_with_one_answer_of_each_level(practice):
    with a_hospital(practice.url) as hospital:
        sent = [hospital.send(a_message("ITK003D", seed=f"again-{n}"), to=PRACTICE, workflow_id=WORKFLOW) for n in range(3)]
        for point, when, nth, _ in POINTS[::3]:
            die_at(practice, point, when, nth)
        practice.once()
        hospital.read_inbox()
        assert [codes(hospital.responses_to(each)) for each in sent] == [("20013", "30001")] * 3
        assert [hospital.responses_to(each).surplus for each in sent] == [()] * 3
    assert len(practice.letters()) == 3
