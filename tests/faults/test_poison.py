"""Five hundred messages in one inbox, four of which break a stage each: the others are answered, in the same poll; of the four
nothing is lost, none is tried for ever, and the service lives.
"""

from __future__ import annotations

import json
import signal
from collections import Counter
from pathlib import Path

import pytest

from mesh_itk3.retry import MAX_ATTEMPTS, MAX_INTERRUPTED
from mesh_itk3.simulator.faults import Status
from mesh_itk3.simulator.messages import a_message
from support.eventually import eventually
from support.practice import Practice, a_hospital, codes
from support.sandbox import PRACTICE

IMPATIENT = Path(__file__).with_name("impatient.py")
MESSAGES = 500
WORKFLOW = "DIGMED_FLU_VAC"
HANDLER = """
import json, os, signal
from mesh_itk3.handler import Accept, BusinessCode, Declaration, Handler, Respond

class Breakable(Handler):
    declaration = Declaration(name="breakable", workflows={"DIGMED_FLU_VAC": "DIGMED_FLU_VAC_ACK"})

    def examine(self, message):
        self.meet(message, "interpret")
        return Accept()

    def handle(self, message, context):
        self.meet(message, "dispatch")
        self.meet(message, "kill")
        return Respond(BusinessCode("30001"))

    def meet(self, message, where):
        with open(os.environ["POISON"]) as file:
            if json.load(file).get(message.mesh_message_id) != where:
                return
        if where == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise ValueError("poison")
"""


@pytest.fixture
def practice(tmp_path, faulty_mesh, monkeypatch):
    packages = tmp_path / "packages"
    information = packages / "breakable-1.0.dist-info"
    information.mkdir(parents=True)
    (packages / "breakable.py").write_text(HANDLER)
    (information / "entry_points.txt").write_text("[mesh_itk3.handlers]\nbreakable = breakable:Breakable\n")
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: breakable\nVersion: 1.0\n")
    monkeypatch.setenv("POISON", str(tmp_path / "poison.json"))
    return Practice(
        tmp_path / "practice",
        faulty_mesh.url,
        extra="[handlers.discharge_letters]\nenabled = false",
        packages=packages,
    )


@pytest.mark.sandbox
@pytest.mark.timeout(1200)
def test_four_poisons_keep_none_of_the_others_from_being_answered_in_the_same_poll(practice, sandbox, faulty_mesh, tmp_path):
    with a_hospital(sandbox.url) as hospital:
        bodies = (
            a_message("ITK009D", seed=f"{n}", optional_sections=False, business_requested=n % 5 == 0) for n in range(MESSAGES)
        )
        sent = [hospital.send(body, to=PRACTICE, workflow_id=WORKFLOW) for body in bodies]
        stuck, interpret, dispatch, kill = poisons = [sent[n] for n in (5, 130, 260, 390)]
        met = dict(zip((interpret, dispatch, kill), ("interpret", "dispatch", "kill"), strict=True))
        (tmp_path / "poison.json").write_text(json.dumps({one.mesh_message_id: where for one, where in met.items()}))
        faulty_mesh.fail("open", Status(500), times=float("inf"), about=stuck.mesh_message_id)

        with practice.running(by=IMPATIENT) as daemon:
            eventually(lambda: len(practice.logged("message.parked")) == len(met), within_s=400)
            others = [one for one in sent if one not in poisons]
            answered = {("20013", "30001"): MESSAGES // 5 - len(poisons), ("20013", None): MESSAGES * 4 // 5}
            eventually(lambda: _answers(hospital, others) == answered, within_s=300)
            assert daemon.poll() is None
            tries = _opened(faulty_mesh, stuck)
            polls = faulty_mesh.counts["list"]  # in this order: another poll may begin between the two
            assert stuck.mesh_message_id in _left(sandbox)
            faulty_mesh.heal()
            eventually(lambda: _answers(hospital, [stuck]) == {("20013", "30001"): 1}, within_s=300)

        assert _answers(hospital, [interpret, dispatch, kill]) == {(None, None): 1, ("20013", None): 2}
        assert hospital.unexplained == ()
        assert sum(len(hospital.responses_to(one).surplus) for one in sent) == 0

    # In one poll, whatever the others do; and one try of the one that cannot be downloaded in each walk, never more.
    assert practice.logged("mailbox.polled")[0]["collected"] == MESSAGES - 1
    assert all(faulty_mesh.paths[f"open {_path(one)}"] == 1 for one in others)
    assert tries <= 3 * polls
    stages = {line["mesh_message_id"]: (line["stage"], line["reason"]) for line in practice.logged("message.parked")}
    assert stages == {
        interpret.mesh_message_id: ("interpret", "stage_failed"),
        dispatch.mesh_message_id: ("dispatch", "handler_failed"),
        kill.mesh_message_id: ("recover", "process_died"),
    }
    failed = Counter(line["mesh_message_id"] for line in practice.logged("stage.failed"))
    assert failed == {interpret.mesh_message_id: MAX_ATTEMPTS, dispatch.mesh_message_id: MAX_ATTEMPTS}
    deaths = practice.logged("inner.died")
    assert {line["exit_code"] for line in deaths} == {-signal.SIGKILL}
    # Once with others, which are not punished for it; then alone, counted.
    assert MAX_INTERRUPTED <= len(deaths) <= MAX_INTERRUPTED + 1
    assert not practice.logged("stage.broken")
    for one in (interpret, dispatch, kill):
        shown = json.loads(practice.command("trace", one.mesh_message_id, "--json").stdout)
        assert shown["state"] == "parked"
        assert Path(shown["payload_file"]).stat().st_size == one.bytes


def _answers(hospital, sent):
    hospital.read_inbox()
    return Counter(codes(hospital.responses_to(one)) for one in sent)


def _path(sent):
    return f"/messageexchange/{PRACTICE}/inbox/{sent.mesh_message_id}"


def _opened(mesh, sent):
    return mesh.paths[f"open {_path(sent)}"]


def _left(sandbox):
    practice = sandbox.mailbox(PRACTICE)
    try:
        return {one for page in practice.pages() for one in page}
    finally:
        practice.close()
