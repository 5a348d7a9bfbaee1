"""`owed` and `seen`, and what `status`, `messages` and `trace` say of duties: real processes over a real ledger."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import Changes, Kind, MailboxState, MessageKey, ResponseChanges, ResponseStep, Step
from mesh_itk3.reasons import Reason
from support.place import MAILBOX, NOW, Place, a_received, an_entry, is_one_line, send, take

OWED, SENT = ResponseState.OWED, ResponseState.SENT


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    made.configure()
    made.make_ledger()
    return made


def refuse(place, mesh_message_id, *, mailbox_id=MAILBOX, header_id=None, **changes):
    """A refused message: not told, or a duplicate that differs, as `changes` say."""
    key = MessageKey(mailbox_id, mesh_message_id)
    received = a_received(mesh_message_id)
    with place.ledger() as ledger:
        ledger.record_received(received, an_entry("collect", "received"))
        marks = Changes(message_header_id=header_id or f"header-of-{mesh_message_id}", **changes)
        ledger.apply([Step(key, State.RECEIVED, State.REJECTED, an_entry("interpret", "rejected"), marks)])
    return key


def defer(place, mesh_message_id, *, hours_ago, **changes):
    """A message that has waited for a person so long."""
    key = take(place, mesh_message_id, State.ACCEPTED)
    at = datetime.now(UTC) - timedelta(hours=hours_ago)
    marks = Changes(deferred_at=at, **{"reason": "date_of_birth_differs", **changes})
    with place.ledger() as ledger:
        entry = an_entry("dispatch", "awaiting_decision")
        ledger.apply([Step(key, State.ACCEPTED, State.AWAITING_DECISION, entry, marks)])
    return key


def move(place, local_id, old, new, **changes):
    with place.ledger() as ledger:
        ledger.apply_responses([ResponseStep(local_id, old, new, None, ResponseChanges(**changes))])


def deliver(place, mesh_message_id):
    """The response to this message has arrived: nothing is owed of it."""
    send(place, f"answer-to-{mesh_message_id}", f"MESH-{mesh_message_id}")
    move(place, f"answer-to-{mesh_message_id}", SENT, ResponseState.DELIVERED)


# ------------------------------------------------------------------------------------------------ owed


def owed(place, *arguments):
    return place.json("owed", *arguments)["owed"]


def test_where_nothing_is_owed_the_list_is_empty_and_the_exit_code_0(place):
    assert owed(place) == []
    done = place.run("owed")
    assert (done.returncode, done.stdout) == (0, "nothing is owed\n")


def test_decisions_that_wait_are_listed_oldest_first_with_the_hours_left_and_what_to_do(place):
    for name, hours in (("M1", 10), ("M2", 80), ("M3", 71)):
        defer(place, name, hours_ago=hours)
        deliver(place, name)
    listed = owed(place)
    assert [(row["kind"], row["mesh_message_id"], row["level"]) for row in listed] == [
        ("decision", "M2", "business"),
        ("decision", "M3", "business"),
        ("decision", "M1", "business"),
    ]
    assert [row["hours_left"] for row in listed] == pytest.approx([-8, 1, 62], abs=0.2)
    assert listed[0]["reason_text"] == "The dates of birth differ."
    assert listed[0]["to_do"] == "Read the letter, then mesh-itk3 respond M2 CODE --by WHO"
    text = place.run("owed").stdout
    assert "hours late" in text
    assert "hours left" in text
    assert "mesh-itk3 respond M2 CODE --by WHO" in text


def test_what_is_owed_by_a_mailbox_that_is_not_configured_any_more_is_not_said_to_go_on_by_itself(place):
    take(place, "M1", State.COMPLETED)
    place.config.write_text(place.config.read_text().replace(MAILBOX, "X26OTHER"))
    (row,) = owed(place)
    assert row["to_do"].startswith(f"Nothing is done for {MAILBOX}: it is not configured here.")
    said = f"mailbox {MAILBOX} is not configured, and the ledger has 1 response of it that now waits for ever"
    assert place.run("run", "--once").stderr.count(said) == 1
    checked = place.run("check", "--offline")
    assert checked.stdout.count(said) == 1
    (one,) = [each for each in place.json("check", "--offline")["checks"] if each["check"] == "unserved mailbox"]
    assert (one["outcome"], one["text"]) == ("warning", said)


def test_a_mailbox_that_is_not_configured_any_more_and_waits_for_nothing_is_not_spoken_of(place):
    take(place, "M1", State.COMPLETED)
    send(place, "answer-to-M1", "MESH-1")
    place.config.write_text(place.config.read_text().replace(MAILBOX, "X26OTHER"))
    assert "unserved mailbox" not in place.run("check", "--offline").stdout


def test_check_counts_what_a_mailbox_without_configuration_has(place):
    for name, state in (("M1", State.ACCEPTED), ("M2", State.ACCEPTED)):
        take(place, name, state)
    defer(place, "M3", hours_ago=1)
    place.config.write_text(place.config.read_text().replace(MAILBOX, "X26OTHER"))
    said = f"mailbox {MAILBOX} is not configured, and the ledger has 3 messages and 3 responses of it that now wait for ever"
    assert said in place.run("check", "--offline").stdout


def test_the_deadline_is_the_configured_one_and_what_is_then_decided_is_said(place):
    place.configure(decisions={"deadline_hours": 100, "at_deadline": "30003"})
    defer(place, "M1", hours_ago=90)
    deliver(place, "M1")
    (row,) = owed(place)
    assert row["hours_left"] == pytest.approx(10, abs=0.2)
    assert row["to_do"].endswith("; at the deadline 30003 is decided")


def test_no_decision_is_announced_for_the_deadline_where_no_register_could_answer(place):
    place.configure(decisions={"at_deadline": "30002"})
    defer(place, "M1", hours_ago=1, reason="no_register")
    deliver(place, "M1")
    assert owed(place)[0]["to_do"] == "Read the letter, then mesh-itk3 respond M1 CODE --by WHO"


def test_whether_the_sender_asked_is_said_and_a_decision_waits_either_way(place):
    defer(place, "M1", hours_ago=1, bus_ack_requested=False)
    defer(place, "M2", hours_ago=1, bus_ack_requested=True)
    for name in ("M1", "M2"):
        deliver(place, name)
    assert {row["mesh_message_id"]: row["is_asked"] for row in owed(place)} == {"M1": False, "M2": True}


def test_responses_that_have_not_arrived_are_listed_each_with_what_to_do(place):
    for name in ("M1", "M2", "M3", "M4", "M5"):
        take(place, name, State.COMPLETED)
    for name in ("M2", "M3", "M4"):
        send(place, f"answer-to-{name}", f"MESH-{name}")
    move(place, "answer-to-M3", SENT, ResponseState.UNDELIVERED, reason=Reason.REPORTED_UNDELIVERED, status_code="14")
    move(place, "answer-to-M4", SENT, SENT, reason=Reason.NEVER_ACKNOWLEDGED, raised_at=NOW)
    deliver(place, "M5")
    rows = {row["mesh_message_id"]: row for row in owed(place)}
    assert {name: row["state"] for name, row in rows.items()} == {
        "M1": "owed",
        "M2": "sent",
        "M3": "undelivered",
        "M4": "sent",
    }
    assert rows["M3"]["status_code"] == "14"
    assert rows["M2"]["deadline_at"] == (NOW + timedelta(days=5)).isoformat()
    assert rows["M4"]["hours_left"] is None
    assert [rows[name]["to_do"].split()[0] for name in ("M1", "M2", "M3", "M4")] == ["Nothing:", "Nothing:", "Tell", "Ask"]
    assert "mesh-itk3 seen M3 --by WHO" in place.run("owed").stdout


def test_a_message_that_is_parked_still_owes_an_answer(place):
    key = take(place, "M1", State.ACCEPTED)
    deliver(place, "M1")
    take(place, "M2", State.COMPLETED)
    deliver(place, "M2")
    with place.ledger() as ledger:
        marks = Changes(reason=Reason.HANDLER_FAILED, parked_from=State.ACCEPTED)
        ledger.apply([Step(key, State.ACCEPTED, State.PARKED, an_entry("dispatch", "parked"), marks)])
    (row,) = owed(place)
    assert (row["kind"], row["mesh_message_id"], row["level"], row["reason"]) == ("parked", "M1", "business", "handler_failed")


def stand(place, mesh_message_id, state, *, minutes_ago, reason=None, kind=Kind.MESSAGE, **changes):
    """A message that is here, acknowledged, and has not got on for so long."""
    at = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    received = replace(a_received(mesh_message_id), received_at=at, kind=kind)
    with place.ledger() as ledger:
        ledger.record_received(received, an_entry("collect", "received"))
        ledger.record_acknowledged([received.key], at)
        if state is State.ACCEPTED:
            accepted = replace(an_entry("interpret", "accepted"), at=at)
            ledger.apply([Step(received.key, State.RECEIVED, state, accepted, Changes(handler="gone", **changes))])
        ledger.apply([Step(received.key, state, state, an_entry("interpret", "waits"), Changes(reason=reason))])


def test_what_is_here_and_not_judged_after_a_quarter_of_an_hour_is_listed_and_needs_somebody(place):
    stand(place, "M1", State.RECEIVED, minutes_ago=3 * 24 * 60, reason=Reason.HANDLER_GONE)
    stand(place, "M2", State.RECEIVED, minutes_ago=20)
    stand(place, "M3", State.RECEIVED, minutes_ago=5)
    stand(place, "R1", State.RECEIVED, minutes_ago=16, kind=Kind.RESPONSE)
    rows = owed(place)
    assert [(row["mesh_message_id"], row["kind"], row["level"]) for row in rows] == [
        ("M1", "unjudged", "infrastructure"),
        ("M2", "unjudged", "infrastructure"),
        ("R1", "unjudged", "infrastructure"),
    ]
    assert [row["is_asked"] for row in rows] == [True, True, False]
    assert rows[0]["to_do"].startswith("Install, enable or repair its handler")
    assert rows[1]["to_do"].startswith("See that the daemon runs")
    status = place.json("status")["unfinished"]
    assert (status["count"], status["oldest_at"]) == (3, rows[0]["since"])
    assert "stands still: 3 messages, the oldest since 3 days" in place.run("status").stdout


def test_what_is_accepted_and_stands_still_is_listed_even_where_no_answer_is_owed(place):
    stand(place, "M1", State.ACCEPTED, minutes_ago=60, reason=Reason.HANDLER_GONE, bus_ack_requested=False)
    stand(place, "M2", State.ACCEPTED, minutes_ago=5, bus_ack_requested=False)
    (row,) = owed(place)
    assert (row["mesh_message_id"], row["kind"], row["is_asked"]) == ("M1", "waiting", False)
    assert place.json("status")["unfinished"]["count"] == 1


def test_a_decision_that_is_just_made_does_not_stand_still(place):
    key = defer(place, "M1", hours_ago=50)
    deliver(place, "M1")
    made = Changes(decision_code="30003", decided_by="Jo", decided_at=datetime.now(UTC), reason=None)
    with place.ledger() as ledger:
        ledger.apply([Step(key, State.AWAITING_DECISION, State.ACCEPTED, an_entry("respond", "decided"), made)])
    assert owed(place) == []
    assert place.json("status")["unfinished"] == {"count": 0, "oldest_at": None, "oldest_age_s": None}


def test_owed_is_filtered_by_mailbox(place):
    defer(place, "M1", hours_ago=1)
    assert owed(place, "--mailbox", "X26OTHER") == []
    assert {row["mesh_message_id"] for row in owed(place, "--mailbox", MAILBOX)} == {"M1"}


# ------------------------------------------------------------------------------------------------ status, messages, trace


def test_status_names_what_somebody_has_to_see_until_they_have(place):
    refuse(place, "M1", sender_not_told=True)
    refuse(place, "M2", duplicate_of="M0", differs_from_first=True)
    take(place, "M3", State.COMPLETED)
    move(place, "answer-to-M3", OWED, ResponseState.PARKED, reason=Reason.SEND_REFUSED, status_code="12")
    status = place.json("status")
    assert status["sender_not_told"] == [{"mailbox_id": MAILBOX, "mesh_message_id": "M1"}]
    assert status["differing_duplicates"] == [{"mailbox_id": MAILBOX, "mesh_message_id": "M2"}]
    (failed,) = status["failed_responses"]
    assert (failed["mesh_message_id"], failed["state"], failed["status_code"]) == ("M3", "parked", "12")
    text = place.run("status").stdout
    assert all(name in text for name in ("M1", "M2", "M3", "mesh-itk3 seen ID --by WHO"))
    for name in ("M1", "M2", "M3"):
        assert place.run("seen", name, "--by", "Jo").returncode == 0
    status = place.json("status")
    assert (status["sender_not_told"], status["differing_duplicates"], status["failed_responses"]) == ([], [], [])
    assert "nothing needs a person" in place.run("status").stdout


def test_status_names_the_answers_that_match_nothing_until_somebody_has_seen_them(place):
    for name, code, reason in (("A1", None, Reason.NOT_A_RESPONSE), ("A2", "20006", Reason.ANSWERS_NOTHING)):
        with place.ledger() as ledger:
            received = a_received(name)
            ledger.record_received(received, an_entry("collect", "received"))
            marks = Changes(kind=Kind.RESPONSE, response_code=code, reason=reason, sender_not_told=True)
            ledger.apply([Step(received.key, State.RECEIVED, State.UNCORRELATED, an_entry("correlate", "uncorrelated"), marks)])
    status = place.json("status")
    assert [(one["mesh_message_id"], one["response_code"]) for one in status["unmatched_answers"]] == [
        ("A1", None),
        ("A2", "20006"),
    ]
    assert status["sender_not_told"] == []
    text = place.run("status").stdout
    assert f"no response that can be read, on a response workflow: A1 in {MAILBOX}" in text
    assert f"negative response 20006 to nothing that we sent: A2 in {MAILBOX}" in text
    assert [(row["is_unmatched"], row["sender_not_told"]) for row in place.json("messages")["messages"]] == [(True, False)] * 2
    for name in ("A1", "A2"):
        assert place.run("seen", name, "--by", "Jo").returncode == 0
    assert place.json("status")["unmatched_answers"] == []


def test_status_says_that_mesh_does_not_answer_and_since_when(place):
    with place.ledger() as ledger:
        state = replace(ledger.mailbox_state(MAILBOX), last_success_at=NOW, failures=7, reason="http_503")
        ledger.record_mailbox_state(state)
    (mailbox,) = place.json("status")["mailboxes"]
    assert (mailbox["is_unavailable"], mailbox["unavailable_since"][:19]) == (True, "2025-01-02T10:00:00")
    shown = place.run("status").stdout
    assert f"mailbox {MAILBOX}: MESH does not answer, or refuses (http_503); last well 2025-01-02 10:00:00Z" in shown
    with place.ledger() as ledger:
        ledger.record_mailbox_state(replace(state, failures=0, reason=None))
    (mailbox,) = place.json("status")["mailboxes"]
    assert (mailbox["is_unavailable"], mailbox["unavailable_since"]) == (False, None)


def test_status_shows_the_disk_beside_mesh(place):
    with place.ledger() as ledger:
        both = MailboxState(MAILBOX, failures=7, reason="http_503", disk_failures=3, disk_since=NOW)
        ledger.record_mailbox_state(both)
    (mailbox,) = place.json("status")["mailboxes"]
    assert (mailbox["failures"], mailbox["reason"], mailbox["is_unavailable"]) == (7, "http_503", True)
    assert (mailbox["disk_failures"], mailbox["disk_since"][:19]) == (3, "2025-01-02T10:00:00")
    shown = place.run("status").stdout
    assert "7 (http_503), 3 (disk)" in " ".join(shown.split())
    assert f"mailbox {MAILBOX}: MESH does not answer, or refuses (http_503)" in shown
    assert f"mailbox {MAILBOX} is not collected: the disk has refused since 2025-01-02 10:00:00Z" in shown


def test_status_lists_so_many_that_a_screen_holds_them_and_counts_the_rest(place):
    for number in range(25):
        refuse(place, f"M{number}", sender_not_told=True)
    text = place.run("status").stdout
    assert text.count("not told") == 20
    assert "and 5 more" in text


def test_status_counts_the_decisions_past_their_deadline(place):
    defer(place, "M1", hours_ago=71)
    defer(place, "M2", hours_ago=73)
    assert place.json("status")["overdue_decisions"] == 1
    assert "1 past the deadline" in place.run("status").stdout


def test_messages_and_trace_show_that_the_sender_was_not_told(place):
    refuse(place, "M1", sender_not_told=True)
    (row,) = place.json("messages")["messages"]
    assert (row["sender_not_told"], row["seen_at"], row["seen_by"]) == (True, None, None)
    assert "has not been told" in place.run("messages").stdout
    assert "not told that it was refused" in place.run("trace", "M1").stdout
    place.run("seen", "M1", "--by", "Jo Smith")
    story = place.json("trace", "M1")
    assert (story["sender_not_told"], story["seen_by"]) == (True, "Jo Smith")
    assert (story["timeline"][-1]["stage"], story["timeline"][-1]["who"]) == ("seen", "Jo Smith")
    assert "by Jo Smith" in place.run("trace", "M1").stdout


def test_trace_shows_what_was_answered_to_our_responses_and_what_an_answer_answers(place):
    take(place, "M1", State.COMPLETED)
    send(place, "answer-to-M1", "MESH-1")
    with place.ledger() as ledger:
        received = a_received("A1")
        ledger.record_received(received, an_entry("collect", "received"))
        marks = Changes(kind=Kind.RESPONSE, response_code="20013", answers_local_id="answer-to-M1")
        ledger.apply([Step(received.key, State.RECEIVED, State.CORRELATED, an_entry("correlate", "correlated"), marks)])
    (answer,) = place.json("trace", "M1")["answered_by"]
    assert (answer["mesh_message_id"], answer["kind"], answer["response_code"]) == ("A1", "response", "20013")
    assert "response A1" in place.run("trace", "M1").stdout
    assert "answers      our response answer-to-M1" in place.run("trace", "A1").stdout
    assert place.json("trace", "A1")["answered_by"] == []
    assert "20013 to our response answer-to-M1" in place.run("messages").stdout


def test_meshs_own_code_is_shown_with_the_response_that_was_lost(place):
    take(place, "M1", State.COMPLETED)
    send(place, "answer-to-M1", "MESH-1")
    move(place, "answer-to-M1", SENT, ResponseState.UNDELIVERED, reason=Reason.REPORTED_UNDELIVERED, status_code="14")
    assert "undelivered (reported_undelivered, MESH code 14)" in place.run("trace", "M1").stdout
    (row,) = place.json("messages")["messages"]
    assert row["responses"][0]["status_code"] == "14"


# ------------------------------------------------------------------------------------------------ seen


def test_seen_says_what_was_seen_and_records_by_whom(place):
    refuse(place, "M1", sender_not_told=True, differs_from_first=True, duplicate_of="M0")
    done = place.run("seen", "M1", "--by", " Jo Smith ", "--json")
    document = json.loads(done.stdout)
    assert (document["mesh_message_id"], document["seen_by"]) == ("M1", "Jo Smith")
    assert document["seen"] == ["its sender has not been told", "it differs from its first, M0"]
    (event,) = [line for line in map(json.loads, done.stderr.splitlines()) if line["event"] == "message.seen"]
    assert (event["actor"], event["mesh_message_id"]) == ("Jo Smith", "M1")


def test_seeing_it_again_is_refused_with_who_has_seen_it(place):
    refuse(place, "M1", sender_not_told=True)
    place.run("seen", "M1", "--by", "Jo")
    done = place.run("seen", "M1", "--by", "another")
    assert done.returncode == 2
    assert is_one_line(done.stderr)
    assert "Jo has seen it" in done.stderr


def test_nothing_to_see_is_refused(place):
    take(place, "M1", State.COMPLETED)
    done = place.run("seen", "M1", "--by", "Jo")
    assert (done.returncode, is_one_line(done.stderr)) == (2, True)
    assert len(place.json("trace", "M1")["timeline"]) == 3


def test_of_two_messages_with_one_id_the_one_that_stands_is_meant(place):
    take(place, "M1", State.COMPLETED, header_id="shared")
    refuse(place, "M2", header_id="shared", differs_from_first=True, duplicate_of="M1")
    assert place.json("seen", "shared", "--by", "Jo")["mesh_message_id"] == "M2"


@pytest.mark.parametrize("by", ["", "  ", "x" * 101, "Jo\nSmith"])
def test_whoever_has_seen_it_has_a_name(place, by):
    refuse(place, "M1", sender_not_told=True)
    done = place.run("seen", "M1", "--by", by)
    assert (done.returncode, is_one_line(done.stderr)) == (2, True)
    assert place.json("status")["sender_not_told"] != []
