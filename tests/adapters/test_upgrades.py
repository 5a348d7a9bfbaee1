"""A ledger of each released schema, with data in it, becomes one of today. Killed: tests/crash/test_migrate_killed.py."""

from __future__ import annotations

from contextlib import closing

import pytest
import sqlalchemy as sa

from mesh_itk3.adapters.ledger import migrate, open_ledger, schema_revision
from mesh_itk3.adapters.ledger.engine import connect
from mesh_itk3.adapters.ledger.migrate import SHIPPED, Migrations
from mesh_itk3.adapters.ledger.schema import REVISION
from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import Expired, MailboxState
from support.ledger_rows import HERE, NOW, later

MESSAGES = ("completed", "rejected", "accepted", "parked")
INSERT = {
    "message": """INSERT INTO message (mailbox_id, mesh_message_id, workflow_id, kind, state, received_at, acknowledged_at,
        payload_name, payload_bytes, payload_sha256, finished_at)
        VALUES (:here, :state, 'W', 'message', :state, :at, :at, :state, 10, 'digest', :finished)""",
    "message_event": """INSERT INTO message_event (mailbox_id, mesh_message_id, at, stage, outcome)
        VALUES (:here, :state, :at, 'collect', 'received')""",
    "response": """INSERT INTO response (local_id, mailbox_id, answered_mesh_message_id, level, response_code, state,
        message_header_id, message_header_id_key, to_mailbox_id, workflow_id, created_at, mesh_message_id)
        VALUES (:state, :here, :state, 'infrastructure', '20013', :response, :state, :state, 'THERE', 'W', :at, :state)""",
    "response_body": "INSERT INTO response_body (local_id, body) VALUES (:state, :body)",
}
OF_RESPONSE = {"completed": "delivered", "rejected": "undelivered", "accepted": "owed", "parked": "sent"}


def an_old_ledger(url: str, revision: str) -> None:
    migrate(url, NOW, Migrations(SHIPPED.directory, revision))
    database = connect(url)
    at = NOW.isoformat(timespec="microseconds")
    with database.writing() as connection:
        for state in MESSAGES:
            row = {"here": HERE, "state": state, "at": at, "body": b"bytes", "response": OF_RESPONSE[state]}
            row["finished"] = at if state in ("completed", "rejected") else None
            for statement in INSERT.values():
                connection.execute(sa.text(statement), row)
    database.close()


@pytest.mark.parametrize("revision", ["0001", "0002", "0003", "0004"])
def test_a_ledger_of_each_released_schema_keeps_all_it_held_and_can_be_pruned(empty_url, revision):
    an_old_ledger(empty_url, revision)

    assert migrate(empty_url, NOW).upgraded
    assert schema_revision(empty_url) == REVISION

    with closing(open_ledger(empty_url, owner="new")) as ledger:
        found = {record.state.value: (record.payload.name, record.payload.sha256) for record, _ in ledger.messages()}
        assert found == {state: (state, "digest") for state in MESSAGES}
        assert {ledger.response_by(local_id=state).state.value for state in MESSAGES} == set(OF_RESPONSE.values())
        assert ledger.response_by(local_id="completed").body == b"bytes"
        (owed,) = ledger.claim_responses(HERE, NOW, 10)
        assert (owed.state, owed.local_id, owed.written_anew) == (ResponseState.OWED, "accepted", False)
        assert ledger.mailbox_state(HERE).restored_at is None
        rules = Expired({State.COMPLETED: later(days=1), State.REJECTED: later(days=1)}, None, later(days=1))
        # Of the rejected one the answer was lost, and nobody has seen it.
        assert [(each.kind, each.count) for each in ledger.prunable(rules, (HERE,))] == [("payloads", 1), ("response_bytes", 1)]


INSERT_STATE = """INSERT INTO mailbox_state (mailbox_id, last_poll_at, last_success_at, failures, reason)
    VALUES (:mailbox, :polled, :well, :failures, :reason)"""


@pytest.mark.parametrize("revision", ["0001", "0002", "0003"])
def test_what_a_mailbox_failed_with_is_of_mesh_or_of_the_disk_afterwards(empty_url, revision):
    migrate(empty_url, NOW, Migrations(SHIPPED.directory, revision))
    database = connect(empty_url)
    times = {"polled": later(hours=1).isoformat(timespec="microseconds"), "well": NOW.isoformat(timespec="microseconds")}
    with database.writing() as connection:
        for mailbox, failures, reason in (("FULL", 4, "storage_failed"), ("AWAY", 5, "timeout"), ("WELL", 0, None)):
            row = {"mailbox": mailbox, "failures": failures, "reason": reason, **times}
            connection.execute(sa.text(INSERT_STATE), row)
    database.close()

    assert migrate(empty_url, NOW).upgraded

    with closing(open_ledger(empty_url, owner="new")) as ledger:
        known = {"last_poll_at": later(hours=1), "last_success_at": NOW}
        assert ledger.mailbox_state("FULL") == MailboxState("FULL", **known, disk_failures=4, disk_since=later(hours=1))
        assert ledger.mailbox_state("AWAY") == MailboxState("AWAY", **known, failures=5, reason="timeout")
        assert ledger.mailbox_state("WELL") == MailboxState("WELL", **known)
