"""A ledger is lost, and yesterday's backup put in its place: through the sandbox, with real processes."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from mesh_itk3.simulator.messages import a_message
from support.practice import Practice, a_hospital, codes
from support.sandbox import PRACTICE

pytestmark = pytest.mark.sandbox

WORKFLOW = "TOC_FHIR_IP_DISCH"


def test_no_letter_is_lost_none_is_filed_twice_and_what_was_sent_since_is_found_in_mesh(tmp_path, sandbox):
    practice, backup = Practice(tmp_path, sandbox.url), tmp_path / "backup.db"
    with a_hospital(practice.url) as hospital:
        sent = [hospital.send(a_message("ITK003D", seed="restore-1"), to=PRACTICE, workflow_id=WORKFLOW)]
        practice.once()
        practice.command("ledger", "backup", str(backup))
        # As the backup would be, had it been made a moment earlier: both responses owed, neither ever begun.
        with closing(sqlite3.connect(backup, isolation_level=None)) as connection:
            connection.execute("UPDATE response SET state = 'owed', mesh_message_id = NULL, sent_at = NULL, tracked_at = NULL")
        sent.append(hospital.send(a_message("ITK003D", seed="restore-2"), to=PRACTICE, workflow_id=WORKFLOW))
        practice.once()
        with (tmp_path / "state" / "ledger.db").open("r+b") as file:
            file.write(b"no ledger any more")
        practice.once(expect=1)

        done = practice.command("ledger", "restore", str(backup), "--by", "Jo", "--json")
        assert json.loads(done.stdout)["adopted"] == 1
        practice.once()

        hospital.read_inbox()
        answers = [hospital.responses_to(each) for each in sent]
        assert [codes(each) for each in answers] == [("20013", "30001")] * 2
        assert answers[0].surplus == (), "looked up by local id, found, not sent again"
        assert len(answers[1].surplus) == 2, "nothing knew of its first answers: documented in docs/operations.md"
    assert {practice.message(each.mesh_message_id)["state"] for each in sent} == {"completed"}
    assert len(practice.letters()) == 2
    assert json.loads(practice.command("ledger", "check", "--deep", "--json").stdout)["ok"]
