"""A handler of somebody else's is broken; what it has parked goes through once it is mended, and nobody is answered twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mesh_itk3.simulator.messages import a_message
from support.eventually import eventually
from support.practice import Practice, a_hospital, codes
from support.sandbox import PRACTICE

pytestmark = pytest.mark.sandbox

HANDLER = """
import pathlib, time
from mesh_itk3.handler import BusinessCode, Declaration, Handler, Respond

class Theirs(Handler):
    declaration = Declaration(name="theirs", workflows={"DIGMED_FLU_VAC": "DIGMED_FLU_VAC_ACK"})

    def handle(self, message, context):
"""
BROKEN = "        raise KeyError('a fault of theirs')\n"
MENDED = """\
        pathlib.Path({begun!r}).touch()
        while not pathlib.Path({go_on!r}).exists():
            time.sleep(0.02)
        return Respond(BusinessCode("30001"))
"""


@pytest.fixture
def practice(tmp_path, sandbox):
    extra = "[handlers.discharge_letters]\nenabled = false"
    return Practice(tmp_path, sandbox.url, extra=extra, packages=tmp_path / "packages")


def install(practice: Practice, body: str) -> None:
    """Another package, in place of a shipped handler."""
    information = practice.packages / "theirs-1.0.dist-info"
    information.mkdir(parents=True, exist_ok=True)
    (practice.packages / "theirs.py").write_text(HANDLER + body)
    (information / "entry_points.txt").write_text("[mesh_itk3.handlers]\ntheirs = theirs:Theirs\n")
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")


def parked(practice: Practice) -> list[tuple[str, str, str]]:
    rows = json.loads(practice.command("parked", "--json").stdout)["parked"]
    return sorted((row["mesh_message_id"], row["reason"], row["parked_from"]) for row in rows)


def test_what_a_broken_handler_has_parked_is_dealt_with_and_answered_once_after_the_repair(practice, tmp_path):
    begun, go_on = tmp_path / "begun", tmp_path / "go-on"
    install(practice, BROKEN)
    with a_hospital(practice.url) as hospital:
        bodies = [a_message("ITK009D", seed=str(number)) for number in range(3)]
        sent = [hospital.send(body, to=PRACTICE, workflow_id="DIGMED_FLU_VAC") for body in bodies]
        first = sent[0].mesh_message_id
        practice.once(expect=1)
        assert parked(practice) == sorted((each.mesh_message_id, "handler_failed", "accepted") for each in sent)

        install(practice, MENDED.format(begun=str(begun), go_on=str(go_on)))
        with practice.running():
            eventually(lambda: practice.logged("service.started"))
            done = practice.command("retry", "--all", "--by", "Jo Smith")
            assert done.stdout.startswith("tried again: 3 messages\n")
            eventually(begun.exists)
            in_hand = practice.command("hold", first, "--by", "Jo", expect=75)
            assert in_hand.stderr.count("\n") == 1
            go_on.touch()

            def are_answered() -> bool:
                hospital.read_inbox()
                return {codes(hospital.responses_to(each)) for each in sent} == {("20013", "30001")}

            eventually(are_answered)
        assert parked(practice) == []
        assert len(hospital.read_inbox()) == 0
    story = json.loads(practice.command("trace", first, "--json").stdout)
    acts = [(entry["outcome"], entry["who"]) for entry in story["timeline"] if entry["stage"] in ("retry", "hold")]
    assert acts == [("retried", "Jo Smith")]
    assert Path(story["payload_file"]).read_bytes() == bodies[0]
