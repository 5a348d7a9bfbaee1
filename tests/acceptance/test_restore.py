"""A ledger is lost, and yesterday's backup put in its place: through the sandbox, with real processes. Nothing is lost, nothing
answered twice.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from mesh_itk3.adapters.ledger import migrate, open_ledger
from mesh_itk3.simulator.faults import Status
from mesh_itk3.simulator.messages import a_message
from mesh_itk3.simulator.patients import SUSAN_DISAGREES
from mesh_itk3.simulator.prove.gather import sendings_of
from support.eventually import eventually
from support.practice import Practice, a_hospital, codes
from support.sandbox import PRACTICE

pytestmark = pytest.mark.sandbox

WORKFLOW = "TOC_FHIR_IP_DISCH"
ALWAYS = float("inf")


def a_letter(hospital, seed, **choices):
    return hospital.send(a_message("ITK003D", seed=seed, **choices), to=PRACTICE, workflow_id=WORKFLOW)


def lose_the_ledger(practice):
    with (practice.directory / "state" / "ledger.db").open("r+b") as file:
        file.write(b"no ledger any more")
    practice.once(expect=1)


def responses_on_the_wire(window, sent):
    """Of each letter: how many sends of a response to it MESH has seen."""
    sendings = sendings_of(window.news(PRACTICE))
    return [sum(each.answers == letter.message_header_id for each in sendings) for letter in sent]


def test_no_letter_is_lost_none_is_filed_twice_and_nothing_is_answered_twice(tmp_path, sandbox):
    practice, backup = Practice(tmp_path, sandbox.url), tmp_path / "backup.db"
    with a_hospital(practice.url) as hospital:
        sent = [a_letter(hospital, "restore-1"), a_letter(hospital, "restore-2", patient=SUSAN_DISAGREES)]
        practice.once()
        practice.command("ledger", "backup", str(backup))
        # As the backup would be, had it been made a moment earlier: the first letter's responses owed, neither ever begun.
        with closing(sqlite3.connect(backup, isolation_level=None)) as connection:
            connection.execute(
                "UPDATE response SET state = 'owed', mesh_message_id = NULL, sent_at = NULL, tracked_at = NULL"
                " WHERE answered_mesh_message_id = ?",
                (sent[0].mesh_message_id,),
            )
        practice.command("respond", sent[1].mesh_message_id, "30001", "--by", "Jo")
        sent.append(a_letter(hospital, "restore-3"))
        practice.once()
        of_before = practice.messages()
        lose_the_ledger(practice)

        done = practice.command("ledger", "restore", str(backup), "--by", "Jo", "--json")
        assert json.loads(done.stdout)["adopted"] == 1
        # The person's decision is lost, and is another one this time: the answer of before stands.
        practice.command("respond", sent[1].mesh_message_id, "30004", "--by", "Jo")
        practice.once()

        hospital.read_inbox()
        answers = [hospital.responses_to(each) for each in sent]
        assert [codes(each) for each in answers] == [("20013", "30001")] * 3
        assert [each.surplus for each in answers] == [()] * 3, "one response of each level to each letter"
    now = practice.messages()
    assert {each["state"] for each in now} == {"completed"}
    assert mesh_ids(now) == mesh_ids(of_before), "those that MESH has"
    assert len(practice.letters()) == 3
    assert json.loads(practice.command("ledger", "check", "--deep", "--json").stdout)["ok"]
    told = practice.command("trace", sent[1].mesh_message_id).stdout
    assert "from before the ledger was restored" in told
    assert "30004 or another" in told
    # MESH could not deliver one of them after all: it is known which.
    (letter,) = [each for each in of_before if each["mesh_message_id"] == sent[2].mesh_message_id]
    (business,) = filter(is_business, letter["responses"])
    sandbox.put_report(PRACTICE, workflow_id=business["workflow_id"], linked_message_id=business["mesh_message_id"])
    practice.once()
    assert [one["state"] for one in practice.message(sent[2].mesh_message_id)["responses"] if is_business(one)] == [
        "undelivered"
    ]


def mesh_ids(messages):
    """By which MESH has each response."""
    return {(each["mesh_message_id"], one["level"], one["mesh_message_id"]) for each in messages for one in each["responses"]}


def is_business(response):
    return response["level"] == "business"


def test_while_the_look_up_is_not_answered_nothing_goes_out(tmp_path, sandbox, faulty_mesh):
    practice, backup, window = Practice(tmp_path, faulty_mesh.url), tmp_path / "backup.db", sandbox.window()
    with a_hospital(sandbox.url) as hospital:
        migrate(f"sqlite:///{backup}", datetime.now(UTC))  # one that was made before the first letter came
        sent = [a_letter(hospital, "restore-4")]
        practice.once()
        assert responses_on_the_wire(window, sent) == [2]
        practice.command("ledger", "restore", str(backup), "--by", "Jo")

        faulty_mesh.fail("find_sent", Status(503), times=ALWAYS)
        with practice.running():
            eventually(lambda: faulty_mesh.counts["find_sent"] > 0)

        assert responses_on_the_wire(window, sent) == [0]
        assert {each["state"] for each in practice.message(sent[0].mesh_message_id)["responses"]} == {"owed"}


@pytest.mark.postgres
def test_after_pg_restore_letters_that_came_since_are_taken_up_and_nothing_is_answered_twice(tmp_path, sandbox, new_postgresql):
    store = f'[payloads]\ndirectory = "{tmp_path}/payloads"\nshared = true\n'
    practice = Practice(tmp_path, sandbox.url, extra=f'[ledger]\nurl = "{new_postgresql}"\n{store}')
    with a_hospital(practice.url) as hospital:
        sent = [a_letter(hospital, "restore-5", patient=SUSAN_DISAGREES)]
        practice.once()
        dump = a_copy_of(new_postgresql)
        practice.command("respond", sent[0].mesh_message_id, "30001", "--by", "Jo")
        sent.append(a_letter(hospital, "restore-6"))
        practice.once()

        practice.extra = f'[ledger]\nurl = "{dump}"\n{store}'
        practice.configure()
        with closing(open_ledger(dump, owner="other:1")) as other:
            other.hold([PRACTICE], datetime.now(UTC))
            refused = practice.command("ledger", "adopt", "--by", "Jo", expect=75)
            assert "other:1" in refused.stderr
        done = practice.command("ledger", "adopt", "--by", "Jo", "--json")
        assert json.loads(done.stdout)["adopted"] == 1
        practice.command("respond", sent[0].mesh_message_id, "30001", "--by", "Jo")
        practice.once()

        hospital.read_inbox()
        answers = [hospital.responses_to(each) for each in sent]
        assert [codes(each) for each in answers] == [("20013", "30001")] * 2
        assert [each.surplus for each in answers] == [()] * 2
    assert {each["state"] for each in practice.messages()} == {"completed"}
    assert len(practice.letters()) == 2


def a_copy_of(url):
    """The database as it is now, under another name: what pg_dump and pg_restore would make of it."""
    server, _, name = url.replace("postgresql:", "postgresql+psycopg:").rpartition("/")
    engine = sa.create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}_restored TEMPLATE {name}"))
    engine.dispose()
    return f"{url}_restored"
