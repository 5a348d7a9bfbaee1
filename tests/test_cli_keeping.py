"""`prune` and `ledger check|backup|restore|adopt` as a person types them: real processes over a real ledger."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mesh_itk3.adapters.ledger.schema import REVISION
from mesh_itk3.adapters.payload_store import DirectoryPayloadStore
from mesh_itk3.lifecycle import State
from mesh_itk3.ports import Kind, MeshHeaders, MessageKey, Received, Step
from support.place import MAILBOX, NOW, Place, an_entry, is_one_line, send, take
from support.unprivileged import let_others_enter

BYTES = b"<Bundle/>"
A_HEADER = MeshHeaders("NAMELESS", "TOC_FHIR_IP_DISCH", "DATA", "X26HC005", MAILBOX)


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    place.configure(retention={"completed_payloads_days": 30})
    place.make_ledger()
    mesh_answered(place, datetime.now(UTC))
    return place


def mesh_answered(place, at):
    with place.ledger() as ledger:
        ledger.record_mailbox_state(replace(ledger.mailbox_state(MAILBOX), last_success_at=at))


def change(file, *statements):
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def payloads(place):
    return DirectoryPayloadStore(place.state / "payloads")


def a_filed_letter(place, mesh_message_id, *, is_recorded=True):
    """Completed long ago, its bytes kept; or in the payload store alone."""
    headers = MeshHeaders(mesh_message_id, "TOC_FHIR_IP_DISCH", "DATA", "X26HC005", MAILBOX)
    stored = payloads(place).write(payloads(place).new_name(MAILBOX), lambda file: file.write(BYTES) and None, headers)
    key = MessageKey(MAILBOX, mesh_message_id)
    if is_recorded:
        with place.ledger() as ledger:
            received = Received(key, "TOC_FHIR_IP_DISCH", Kind.MESSAGE, NOW, "X26HC005", None, None, stored)
            ledger.record_received(received, an_entry("collect", "received"))
            ledger.record_acknowledged([key], NOW)
            ledger.apply([Step(key, State.RECEIVED, State.ACCEPTED, an_entry("interpret", "accepted"))])
            done = Step(key, State.ACCEPTED, State.COMPLETED, an_entry("dispatch", "completed"), {"finished_at": NOW})
            ledger.apply([done])
    return key, stored


# ------------------------------------------------------------------------------------------------ prune


def test_prune_shows_what_would_go_then_removes_it_and_everything_says_so(place):
    key, stored = a_filed_letter(place, "OLD")

    (row,) = place.json("prune", "--dry-run")["pruned"]
    assert (row["kind"], row["state"], row["count"], row["bytes"]) == ("payloads", "completed", 1, len(BYTES))
    assert row["oldest_at"] == NOW.isoformat()
    assert payloads(place).is_whole(stored.name, stored.bytes)

    done = place.run("prune")
    assert (done.returncode, is_one_line(done.stdout)) == (0, True)
    assert "1 payload of completed messages, 0.0 MB: gone" in done.stdout
    assert not payloads(place).is_whole(stored.name, stored.bytes)

    trace = place.run("trace", key.mesh_message_id).stdout
    assert "pruned on" in trace
    assert stored.sha256 in trace
    assert str(place.state / "payloads") not in trace
    (message,) = place.json("messages")["messages"]
    assert (message["payload"], message["bytes"], message["sha256"]) == (None, len(BYTES), stored.sha256)
    assert message["payload_pruned_at"]
    assert place.json("ledger", "check")["ok"], "what is pruned is not missed"


@pytest.mark.parametrize("ago", [timedelta(days=3), timedelta(days=3 * 365), None], ids=["days", "years", "never"])
def test_where_mesh_does_not_vouch_for_the_clock_prune_removes_nothing_unless_a_person_does(place, ago):
    _, stored = a_filed_letter(place, "OLD")
    mesh_answered(place, ago and datetime.now(UTC) - ago)

    assert place.json("prune", "--dry-run")["pruned"]
    refused = place.run("prune")
    assert (refused.returncode, is_one_line(refused.stderr)) == (2, True)
    assert "prune --by-clock" in refused.stderr
    assert payloads(place).is_whole(stored.name, stored.bytes)

    assert place.run("prune", "--by-clock").returncode == 0
    assert not payloads(place).is_whole(stored.name, stored.bytes)


def test_without_retention_nothing_goes_and_prune_says_why(place):
    place.configure()
    _, stored = a_filed_letter(place, "OLD")

    assert "no [retention]" in place.run("prune").stdout
    assert payloads(place).is_whole(stored.name, stored.bytes)


def test_a_retention_shorter_than_mesh_may_need_is_refused(place):
    place.configure(retention={"completed_payloads_days": 29, "events_days": 89})

    done = place.run("prune", "--dry-run")

    assert done.returncode == 78
    assert "[retention] completed_payloads_days" in done.stderr
    assert "[retention] events_days" in done.stderr


# ------------------------------------------------------------------------------------------------ check


def test_check_names_every_payload_that_is_gone_short_or_changed(place):
    letters = {name: a_filed_letter(place, name)[1] for name in ("GONE", "SHORT", "CHANGED", "GOOD")}
    payloads(place).discard(letters["GONE"].name)
    (place.state / "payloads" / letters["SHORT"].name).write_bytes(BYTES[:-1])
    (place.state / "payloads" / letters["CHANGED"].name).write_bytes(BYTES[::-1])

    done = place.run("ledger", "check")
    assert done.returncode == 1
    assert [name for name in letters if name in done.stdout] == ["GONE", "SHORT"]

    done = place.run("ledger", "check", "--deep")
    assert done.returncode == 1
    assert [name for name in letters if name in done.stdout] == ["GONE", "SHORT", "CHANGED"]


def test_check_of_a_damaged_ledger_and_the_daemons_refusal_name_the_way_out(place):
    for number in range(60):
        take(place, f"MESSAGE-{number}")
    with place.ledger_file.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * 40_000)

    done = place.run("ledger", "check")
    assert done.returncode == 1
    assert "✗ file" in done.stdout
    assert "ledger restore" in done.stdout

    done = place.run("run", "--once")
    assert done.returncode == 1
    assert "ledger check" in done.stderr
    assert "ledger restore" in done.stderr
    assert "Traceback" not in done.stderr


def test_on_postgresql_the_verbs_say_what_to_use_instead(place):
    place.configure(ledger={"url": "postgresql://nobody@127.0.0.1:1/ledger"}, payloads={"shared": True})

    done = place.run("ledger", "backup", "/nowhere")

    assert (done.returncode, is_one_line(done.stderr)) == (2, True)
    assert "pg_" in done.stderr


# ------------------------------------------------------------------------------------------------ backup and restore


def test_a_backup_never_replaces_a_file(place):
    target = place.directory / "backup.db"
    target.write_text("another")

    done = place.run("ledger", "backup", str(target))

    assert (done.returncode, is_one_line(done.stderr)) == (2, True)
    assert target.read_text() == "another"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as somebody else")
@pytest.mark.open_to_others
def test_a_backup_by_root_where_the_ledgers_owner_may_not_write_says_that_and_not_that_the_disk_refuses(place):
    let_others_enter(place.directory)
    for path in (place.state, *place.state.iterdir()):
        os.chown(path, 65534, 65534)

    done = place.run("ledger", "backup", str(place.directory / "backup.db"))

    assert (done.returncode, is_one_line(done.stderr)) == (2, True)
    assert "the ledger's owner, as whom this acts, may not write into" in done.stderr


def test_a_restore_loses_no_letter_and_has_what_is_owed_looked_up(place):
    before, _ = a_filed_letter(place, "BEFORE")
    owing = take(place, "OWING", State.ACCEPTED)
    backup = place.directory / "backup.db"
    assert place.json("ledger", "backup", str(backup))["schema"] == REVISION
    after, stored = a_filed_letter(place, "AFTER")
    send(place, "answer-to-OWING", "SENT")

    document = place.json("ledger", "restore", str(backup), "--by", "Jo Smith")

    assert (document["adopted"], document["owed_to_be_looked_up"]) == (1, 1)
    with place.ledger() as ledger:
        assert ledger.get(before).state is State.COMPLETED
        is_taken_up(ledger, after, stored)
        is_looked_up_before_it_is_sent(ledger, owing)
    with closing(sqlite3.connect(document["old_ledger"])) as old:
        assert old.execute("SELECT count(*) FROM message WHERE state = 'completed'").fetchone() == (2,)


def is_taken_up(ledger, key, stored):
    assert (ledger.get(key).state, ledger.get(key).payload) == (State.RECEIVED, stored)
    assert [(entry.outcome, entry.who) for entry in ledger.timeline(key)] == [("adopted", "Jo Smith")]


def is_looked_up_before_it_is_sent(ledger, key):
    (owed,) = ledger.claim_responses(MAILBOX, NOW + timedelta(days=1), 10)
    assert (owed.key, owed.unresolved_since is not None) == (key, True)


def test_a_restore_is_refused_while_a_daemon_collects(place):
    backup = place.directory / "backup.db"
    assert place.run("ledger", "backup", str(backup)).returncode == 0
    with place.ledger() as ledger:
        ledger.hold([MAILBOX], NOW)
        before = place.ledger_file.read_bytes()

        done = place.run("ledger", "restore", str(backup), "--by", "Jo")

        assert (done.returncode, is_one_line(done.stderr)) == (75, True)
        assert place.ledger_file.read_bytes() == before


def test_letters_that_no_row_names_are_taken_up_beside_a_ledger_and_named_with_who_said_so(place):
    before, _ = a_filed_letter(place, "BEFORE")
    owing = take(place, "OWING", State.ACCEPTED)
    after, stored = a_filed_letter(place, "AFTER", is_recorded=False)

    document = place.json("ledger", "adopt", "--by", "Jo Smith")

    counts = {"adopted": 1, "found_again": 0, "unexplained": 0, "older": 0, "owed_to_be_looked_up": 1}
    assert document == {"schema": REVISION, **counts}
    with place.ledger() as ledger:
        assert ledger.get(before).state is State.COMPLETED
        is_taken_up(ledger, after, stored)
        is_looked_up_before_it_is_sent(ledger, owing)
        assert ledger.mailbox_state(MAILBOX).restored_at is not None
    assert place.json("status")["mailboxes"][0]["restored_at"]
    again = place.run("ledger", "adopt", "--by", "Jo Smith")
    assert again.stdout.startswith("0 messages that the ledger did not know")


def test_beside_a_lost_ledger_adopt_makes_a_new_one(place):
    _, stored = a_filed_letter(place, "BEFORE")
    for left in place.state.glob("ledger.db*"):
        left.unlink()
    nameless = payloads(place).write(payloads(place).new_name(MAILBOX), lambda file: file.write(BYTES) and None, A_HEADER)
    (place.state / "payloads" / nameless.name.replace(".bin", ".headers.json")).unlink()

    done = place.run("ledger", "adopt", "--by", "Jo")

    assert done.returncode == 0, done.stderr
    assert "1 message that the ledger did not know" in done.stdout
    assert "1 file of the payload store without a word of which message" in done.stdout
    assert '"ledger.adopted"' in done.stderr
    with place.ledger() as ledger:
        assert [record.payload for record, _ in ledger.messages()] == [stored]


def test_of_what_came_so_long_ago_that_mesh_has_forgotten_the_answers_nothing_is_taken_up_unless_it_is_asked_for(place):
    old, stored = a_filed_letter(place, "OLD", is_recorded=False)
    days_ago = (datetime.now(UTC) - timedelta(days=31)).timestamp()
    for path in (place.state / "payloads" / stored.name).parent.iterdir():
        os.utime(path, (days_ago, days_ago))

    left = place.run("ledger", "adopt", "--by", "Jo").stdout
    assert "0 messages that the ledger did not know" in left
    assert "1 message that came more than 30 days ago: left in the payload store" in left
    with place.ledger() as ledger:
        assert ledger.get(old) is None
    assert payloads(place).is_whole(stored.name, stored.bytes)

    document = place.json("ledger", "adopt", "--older", "--by", "Jo")
    assert (document["adopted"], document["older"]) == (1, 0)


def test_nothing_is_taken_up_while_a_daemon_collects(place):
    after, _ = a_filed_letter(place, "AFTER", is_recorded=False)
    with place.ledger() as ledger:
        ledger.hold([MAILBOX], NOW)

        done = place.run("ledger", "adopt", "--by", "Jo")

        assert (done.returncode, is_one_line(done.stderr)) == (75, True)
        assert ledger.get(after) is None
        assert ledger.mailbox_state(MAILBOX).restored_at is None


@pytest.mark.parametrize(
    "how", ["damaged", "newer", "itself", "empty", "no_database", "anothers", "another_practices", "in_the_way"]
)
def test_a_backup_that_will_not_do_changes_nothing(place, how):
    take(place, "MESSAGE")
    backup = place.state / "ledger.db.restored" if how == "in_the_way" else place.directory / "backup.db"
    assert place.run("ledger", "backup", str(backup)).returncode == 0
    if how == "damaged":
        backup.write_bytes(backup.read_bytes()[:8192] + b"\xa5" * 50_000)
    elif how == "newer":
        change(backup, "UPDATE mesh_itk3_schema SET version_num = '9999'")
    elif how in ("empty", "no_database"):
        backup.write_bytes(b"" if how == "empty" else b"no database" * 1000)
    elif how == "anothers":
        backup.unlink()
        change(backup, "CREATE TABLE theirs (a)")
    elif how == "another_practices":
        change(backup, "UPDATE message SET mailbox_id = 'X26OTHER'")
    elif how == "itself":
        backup = place.ledger_file
    names = sorted(path.name for path in place.state.iterdir() if "lock" not in path.name)

    done = place.run("ledger", "restore", str(backup), "--by", "Jo")

    assert done.returncode in (1, 2)
    assert is_one_line(done.stderr)
    assert "the ledger cannot be used" not in done.stderr, "it can: it is the backup that cannot"
    left = sorted(path.name for path in place.state.iterdir() if "lock" not in path.name)
    assert left == names
    with place.ledger() as ledger:
        assert ledger.get(MessageKey(MAILBOX, "MESSAGE")) is not None


def test_a_backup_whose_name_begins_like_a_restores_own_is_not_removed(place):
    take(place, "MESSAGE")
    backup = place.state / "ledger.db.restored-on-monday"
    assert place.run("ledger", "backup", str(backup)).returncode == 0

    assert place.run("ledger", "restore", str(backup), "--by", "Jo").returncode == 0

    assert backup.is_file()
    with place.ledger() as ledger:
        assert ledger.get(MessageKey(MAILBOX, "MESSAGE")) is not None
