"""The whole conformance run, as it is run for an assurance submission. It takes one to two minutes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.sandbox, pytest.mark.whole_table]


@pytest.mark.timeout(1200)
def test_every_case_of_the_table_passes(tmp_path):
    """Official samples are run where ITK3_EXAMPLES names their folder, and counted as not run where it does not."""
    samples = os.environ.get("ITK3_EXAMPLES")
    command = [sys.executable, "-m", "mesh_itk3", "conformance", "--out", str(tmp_path / "report"), "--json"]
    done = subprocess.run(
        [*command, *(["--samples", samples] if samples else [])], capture_output=True, text=True, timeout=1100, check=False
    )
    document = json.loads(done.stdout)
    assert {case["name"]: case["differences"] for case in document["cases"] if case["verdict"] == "fail"} == {}
    assert done.returncode == 0
    not_run = [case["name"] for case in document["cases"] if case["verdict"] == "not run"]
    assert all(name.startswith("sample-") for name in not_run)
    assert bool(not_run) == (not samples)
    assert document["counts"]["pass"] >= 80
