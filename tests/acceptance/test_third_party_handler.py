"""A handler from another package: installed by pip beside the daemon, it takes its workflow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mesh_itk3.simulator.messages import a_message
from support.practice import Practice, a_hospital, codes
from support.sandbox import PRACTICE

pytestmark = pytest.mark.sandbox

EXAMPLE = Path(__file__).parents[2] / "examples" / "handler"
WORKFLOW = "GPCONNECT_UPDATE_RECORD"


@pytest.fixture
def practice(tmp_path, sandbox):
    return Practice(tmp_path, sandbox.url)


@pytest.fixture
def installed(tmp_path):
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    target = tmp_path / "packages"
    subprocess.run([*pip, "--target", str(target), str(EXAMPLE)], check=True, timeout=280, capture_output=True)
    return target


def test_an_installed_handler_takes_its_workflow_from_where_it_had_waited_in_mesh(practice, installed):
    body = a_message("ITK003D", event="ITK014M", definition="https://fhir.nhs.uk/MessageDefinition")
    with a_hospital(practice.url) as hospital:
        sent = hospital.send(body, to=PRACTICE, workflow_id=WORKFLOW)
        practice.once()
        assert practice.message(sent.mesh_message_id)["state"] == "foreign"
        practice.packages = installed
        practice.once()
        assert practice.message(sent.mesh_message_id)["handler"] == "pharmacy_first"
        practice.command("respond", sent.mesh_message_id, "30001", "--by", "Dr Example")
        practice.once()
        hospital.read_inbox()
        assert codes(hospital.responses_to(sent)) == ("20013", "30001")
    assert len(list((practice.directory / "state" / "letters").glob("*/*/message.xml"))) == 1


def test_check_names_the_distribution_that_a_handler_came_from(practice, installed):
    practice.packages = installed
    assert "pharmacy_first" in practice.command("check").stdout
