"""`parked`, `retry`, `hold`, `release` and `abandon` as people and scripts meet them: real processes over a real ledger.

Several commands share a process where it is not the process that matters: starting one takes longer than all that it does.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections import Counter
from dataclasses import dataclass

import pytest

from mesh_itk3.adapters.ledger import migrate
from mesh_itk3.commands.acting import carry_out_for
from mesh_itk3.commands.console import CommandRefused
from mesh_itk3.commands.retry import Retried, carry_out_together
from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import Changes, Entry, ResponseChanges, ResponseStep, Step
from mesh_itk3.reasons import ABANDON_REASONS, Reason
from mesh_itk3.stages.intervene import hold, retry_message
from support.place import MAILBOX, NOW, Place, a_received, is_one_line, take
from support.unprivileged import let_others_enter

SEVERAL = """
import contextlib, io, json, sys
from mesh_itk3.cli import call
ended = []
for arguments in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = call(arguments)
    ended.append([code, out.getvalue(), err.getvalue()])
json.dump(ended, sys.stdout)
"""


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def place(tmp_path):
    """As somebody has it who may read the configuration and the ledger, and nothing that is secret."""
    made = Place(tmp_path)
    made.configure(decisions={"deadline_hours": 72})
    lines = made.config.read_text(encoding="utf-8").splitlines()
    made.config.write_text("\n".join(line for line in lines if not line.startswith(("shared_key", "password"))))
    made.make_ledger()
    return made


def run(place, *commands) -> list[Ended]:
    """One after the other, each as `mesh-itk3` would do it."""
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL],
        input=json.dumps([command.split() if isinstance(command, str) else command for command in commands]),
        env={"PATH": os.environ["PATH"], "MESH_ITK3_CONFIG": str(place.config)},
        cwd=place.directory, capture_output=True, text=True, timeout=180, check=True,
    )  # fmt: skip
    return [Ended(*each) for each in json.loads(done.stdout)]


def park(place, mesh_message_id, reason=Reason.HANDLER_FAILED, *, old=State.ACCEPTED, header_id=None, **changes):
    key = take(place, mesh_message_id, old, header_id=header_id)
    marks = Changes(reason=reason, parked_from=old, attempts=3, **changes)
    entry = Entry(at=NOW.replace(hour=12), stage="dispatch", outcome="parked", reason=reason)
    with place.ledger() as ledger:
        ledger.apply([Step(key, old, State.PARKED, entry, marks)])
    return key


def park_many(place, count):
    """More than share a transaction."""
    entry = Entry(at=NOW, stage="interpret", outcome="accepted")
    marks = Changes(reason=Reason.HANDLER_FAILED, parked_from=State.ACCEPTED)
    received = [a_received(f"M{number}") for number in range(count)]
    with place.ledger() as ledger:
        ledger.record_all_received([(each, entry) for each in received])
        ledger.apply([Step(each.key, State.RECEIVED, State.ACCEPTED, entry) for each in received])
        ledger.apply([Step(each.key, State.ACCEPTED, State.PARKED, entry, marks) for each in received])


def refuse(place, mesh_message_id):
    """MESH has refused the response to this message for good."""
    entry = Entry(at=NOW, stage="respond", outcome="refused", response_code="20013", reason=Reason.SEND_REFUSED)
    changes = ResponseChanges(reason=Reason.SEND_REFUSED, status_code="12", attempts=1)
    step = ResponseStep(f"answer-to-{mesh_message_id}", ResponseState.OWED, ResponseState.PARKED, entry, changes)
    with place.ledger() as ledger:
        ledger.apply_responses([step])


def everything(place):
    """All that a ledger holds of every message."""
    with place.ledger() as ledger:
        return [(record, responses, ledger.timeline(record.key)) for record, responses in ledger.messages()]


def logged(ended, name):
    (event,) = [line for line in map(json.loads, ended.err.splitlines()) if line["event"] == name]
    return event


# ------------------------------------------------------------------------------------------------ parked


def test_what_is_parked_is_listed_with_since_when_why_and_what_to_do(place):
    (empty,) = run(place, "parked")
    assert empty.out == "nothing is parked\n"
    for number in (1, 2):
        park(place, f"M{number}")
    park(place, "M3", Reason.PROCESS_DIED, old=State.RECEIVED)
    take(place, "M4", State.COMPLETED)
    refuse(place, "M4")
    _, listed, elsewhere, text = run(place, "hold M3 --by Jo", "parked --json", "parked --mailbox X26OTHER --json", "parked")
    rows = {row["mesh_message_id"]: row for row in listed.json["parked"]}
    assert [row["mesh_message_id"] for row in listed.json["parked"]] == ["M4", "M1", "M2", "M3"]
    assert {name: rows["M1"][name] for name in ("kind", "since", "parked_from", "attempts", "reason", "is_held")} == {
        "kind": "message",
        "since": "2025-01-02T12:00:00+00:00",
        "parked_from": "accepted",
        "attempts": 3,
        "reason": "handler_failed",
        "is_held": False,
    }
    assert rows["M1"]["reason_text"] == Reason.HANDLER_FAILED.text
    assert rows["M1"]["to_do"].endswith("Then mesh-itk3 retry M1 --by WHO")
    assert (rows["M4"]["kind"], rows["M4"]["level"], rows["M4"]["status_code"]) == ("response", "infrastructure", "12")
    assert elsewhere.json == {"parked": []}
    assert text.out.count(Reason.HANDLER_FAILED.text) == 1, "said once for all that it is said of"
    assert "2 messages: handler_failed" in text.out
    assert text.out.endswith("mesh-itk3 retry --all --by WHO\n")


def test_a_refused_response_to_what_is_abandoned_is_not_said_to_be_retried(place):
    park(place, "M1")
    done, _ = run(place, "abandon M1 --by Jo --reason not_for_us", "parked")
    assert done.code == 0
    refuse(place, "M1")
    parked, owed = run(place, "parked --json", "owed --json")
    (said,) = (row["to_do"] for row in parked.json["parked"])
    assert said.startswith("Its message is abandoned, so it is not sent again.")
    assert said in [row["to_do"] for row in owed.json["owed"]]


def shown_on_a_terminal(place, columns):
    """What a person sees on a terminal of this width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environ = {"PATH": os.environ["PATH"], "MESH_ITK3_CONFIG": str(place.config), "TERM": "dumb"}
    process = subprocess.Popen([sys.executable, "-m", "mesh_itk3", "parked"], stdout=theirs, stdin=theirs, env=environ)
    os.close(theirs)
    text = b""
    try:
        while piece := os.read(ours, 65536):
            text += piece
    except OSError:  # how a terminal ends whose other side has gone
        pass
    finally:
        os.close(ours)
    assert process.wait(180) == 0
    return text.decode().replace("\r\n", "\n").splitlines()


def test_the_list_fits_a_terminal_of_80_columns_with_whole_ids(place):
    park(place, "20250102101500123456_A1B2C3")
    take(place, "20250102101500123457_A1B2C3", State.COMPLETED)
    refuse(place, "20250102101500123457_A1B2C3")
    lines = shown_on_a_terminal(place, 80)
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines if line.startswith("2025")] == [
        "20250102101500123457_A1B2C3",
        "20250102101500123456_A1B2C3",
    ]
    assert not [line for line in lines if "\x1b" in line]


# ------------------------------------------------------------------------------------------------ retry


def test_one_is_retried_by_somebody_with_a_name(place):
    key = park(place, "M1")
    (done,) = run(place, ["retry", "M1", "--by", " Jo Smith "])
    assert (done.code, done.out.splitlines()[0]) == (0, "M1: tried again, as accepted, by Jo Smith")
    assert logged(done, "message.retried").items() >= {"actor": "Jo Smith", "state": "accepted"}.items()
    with place.ledger() as ledger:
        assert (ledger.get(key).state, ledger.get(key).attempts) == (State.ACCEPTED, 0)
        assert ledger.timeline(key)[-1].who == "Jo Smith"


def test_a_refused_response_is_sent_again_even_after_somebody_had_seen_it(place):
    take(place, "M1", State.COMPLETED)
    refuse(place, "M1")
    _, left, done = run(place, "seen M1 --by Jo", "retry --all --by Jo --json", "retry M1 --by Jo --json")
    assert left.json == {"messages": 0, "responses": 0, "held": 0, "moved": 0}
    assert (done.json["state"], done.json["responses"][0]["state"], done.json["responses"][0]["seen_at"]) == (
        "completed", "owed", None,
    )  # fmt: skip


def test_all_are_retried_but_what_is_held_or_parked_for_another_reason(place):
    park_many(place, 105)
    park(place, "S1", Reason.STAGE_FAILED)
    take(place, "H1", State.ACCEPTED)
    take(place, "R1", State.COMPLETED)
    refuse(place, "R1")
    _, some, rest, text = run(
        place,
        "hold H1 --by Jo",
        "retry --all --by Jo --reason handler_failed --json",
        "retry --all --by Jo --json",
        "retry --all --by Jo",
    )
    assert some.json == {"messages": 105, "responses": 0, "held": 1, "moved": 0}
    assert rest.json == {"messages": 1, "responses": 1, "held": 1, "moved": 0}
    assert text.out.startswith("nothing is parked that can be tried again\nheld, and left: 1 message")
    assert Counter(record.state for record, _, _ in everything(place)) == {
        State.ACCEPTED: 106, State.PARKED: 1, State.COMPLETED: 1,
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------ hold, release


def test_a_held_decision_cannot_be_made_and_waits_again_with_its_deadline_when_it_is_released(place):
    key = take(place, "M1", State.ACCEPTED)
    marks = Changes(reason="date_of_birth_differs", deferred_at=NOW)
    entry = Entry(at=NOW, stage="dispatch", outcome="awaiting_decision", reason="date_of_birth_differs")
    with place.ledger() as ledger:
        ledger.apply([Step(key, State.ACCEPTED, State.AWAITING_DECISION, entry, marks)])
    held, owed, status, refused, again, released, decided = run(
        place, "hold M1 --by Jo", "owed --json", "status", "respond M1 30001 --by Jo", "hold M1 --by Sam",
        "release M1 --by Sam", "respond M1 30001 --by Jo --json",
    )  # fmt: skip
    assert "2025-01-05 10:00:00Z" in held.out, "its deadline is said"
    row = next(row for row in owed.json["owed"] if row["kind"] == "parked")
    assert (row["deadline_at"], row["to_do"].split(" lets")[0]) == (
        "2025-01-05T10:00:00+00:00",
        "mesh-itk3 release M1 --by WHO",
    )
    assert "parked: 1 message (1 held)" in status.out
    assert (refused.code, "mesh-itk3 release M1" in refused.err) == (2, True)
    assert (again.code, "by Jo since" in again.err) == (2, True)
    assert released.out.splitlines()[1:] == [
        "date_of_birth_differs: The dates of birth differ.",
        "The deadline of its decision stays 2025-01-05 10:00:00Z",
    ]
    assert (decided.json["state"], decided.json["decided_by"]) == ("accepted", "Jo")


# ------------------------------------------------------------------------------------------------ abandon


def test_whoever_abandons_what_a_sender_waits_for_is_told_and_it_stands_until_somebody_has_told_them(place):
    park(place, "M1", bus_ack_requested=True)
    park(place, "M2", bus_ack_requested=False)
    done, settled, owed, status, listed, story, seen, after = run(
        place, "abandon M1 --by Jo --reason handled_by_hand", "abandon M2 --by Jo --reason handled_by_hand --json",
        "owed --json", "status --json", "messages --state abandoned --json", "trace M1", "seen M1 --by Jo", "owed --json",
    )  # fmt: skip
    assert (settled.json["state"], settled.json["sender_not_told"], settled.json["parked_from"]) == (
        "abandoned", False, "accepted",
    )  # fmt: skip
    assert done.out.splitlines() == [
        "M1: abandoned by Jo: handled_by_hand: A person has dealt with it by hand.",
        "Its sender does not know. Tell them another way, then: mesh-itk3 seen M1 --by WHO",
        "It had been accepted: under the same ids it would be answered as a duplicate (20007, 20008). Ask for new ones",
    ]
    assert logged(done, "message.abandoned").items() >= {"actor": "Jo", "reason": "handled_by_hand"}.items()
    assert logged(done, "sender.not_told")["mesh_message_id"] == "M1"
    (row,) = [row for row in owed.json["owed"] if row["kind"] == "abandoned"]
    assert row["to_do"] == "Tell the sender another way, then mesh-itk3 seen M1 --by WHO"
    assert status.json["abandoned_not_told"] == [{"mailbox_id": MAILBOX, "mesh_message_id": "M1", "reason": "handled_by_hand"}]
    assert (status.json["sender_not_told"], status.json["parked"]["count"]) == ([], 0)
    assert [row["state"] for row in listed.json["messages"]] == ["abandoned", "abandoned"]
    assert "not told that it was abandoned" in story.out
    assert seen.code == 0
    assert {row["kind"] for row in after.json["owed"]} == {"response"}, "its 20013 is sent all the same"


# ------------------------------------------------------------------------------------------------ somebody else was faster


def complete(ledger, key):
    ledger.apply([Step(key, State.ACCEPTED, State.COMPLETED, Entry(at=NOW, stage="dispatch", outcome="completed"))])


def test_what_has_moved_since_it_was_looked_at_is_left_and_said_in_one_line(place):
    key = take(place, "M1", State.ACCEPTED)
    with place.ledger() as ledger:
        seen = ledger.get(key)
        complete(ledger, key)
        with pytest.raises(CommandRefused, match="nothing was changed: it is completed now") as refused:
            carry_out_for(ledger, seen, hold(seen, "Jo", NOW), NOW)
        assert (refused.value.exit_code, "\n" in str(refused.value)) == (2, False)
        assert ledger.get(key).state is State.COMPLETED


def test_one_that_has_moved_keeps_none_of_the_others_from_being_retried(place):
    keys = [park(place, f"M{number}") for number in range(3)]
    done = Retried()
    with place.ledger() as ledger:
        acts = [retry_message(ledger.get(key), "Jo", NOW) for key in keys]
        ledger.act(acts[1].steps, (), NOW)
        complete(ledger, keys[1])
        carry_out_together(ledger, acts, NOW, done)
        assert [ledger.get(key).state for key in keys] == [State.ACCEPTED, State.COMPLETED, State.ACCEPTED]
    assert done == Retried(messages=2, moved=1)


# ------------------------------------------------------------------------------------------------ what does not fit


def test_what_does_not_fit_changes_nothing_and_is_one_line_and_exit_2(place):
    park(place, "P1")
    take(place, "C1", State.COMPLETED)
    take(place, "R1", State.COMPLETED)
    refuse(place, "R1")
    take(place, "A1", State.ACCEPTED)
    before = everything(place)
    refused = {
        "retry C1 --by Jo": "nothing of it is parked",
        "retry X --by Jo": "there is no message",
        "retry --by Jo": "--all",
        "retry P1 --all --by Jo": "not both",
        "retry P1 --reason handler_failed --by Jo": "not both",
        "retry P1": "--by",
        "hold P1 --by Jo": "is parked",
        "hold C1 --by Jo": "is completed",
        "release P1 --by Jo": "mesh-itk3 retry P1",
        "release A1 --by Jo": "is not held",
        "abandon A1 --by Jo --reason test_message": "mesh-itk3 hold A1",
        "abandon C1 --by Jo --reason test_message": "nothing to abandon",
        "abandon R1 --by Jo --reason test_message": "mesh-itk3 seen R1",
        "abandon P1 --by Jo": "--reason",
        "hold A1 --by Jo --mailbox X26OTHER": "in mailbox X26OTHER",
    }
    for command, ended in zip(refused, run(place, *refused), strict=True):
        assert (ended.code, ended.out, is_one_line(ended.err)) == (2, "", True), command
        assert refused[command] in ended.err
    assert everything(place) == before


def test_whoever_acts_has_a_name_and_abandons_for_a_reason_of_the_list(place):
    park(place, "P1")
    take(place, "A1", State.ACCEPTED)
    before = everything(place)
    verbs = ("retry --all", "retry P1", "hold A1", "release P1", "abandon P1 --reason test_message")
    nobody = [[*verb.split(), "--by", by] for verb in verbs for by in ("", " ", "x" * 101, "Jo\nSmith")]
    *unnamed, unreasoned = run(place, *nobody, ["abandon", "P1", "--by", "Jo", "--reason", "Mrs Example rang"])
    assert {ended.code for ended in unnamed} == {2}
    assert all("--by must name" in ended.err for ended in unnamed)
    assert unreasoned.code == 2
    assert [line.split()[1] for line in unreasoned.err.splitlines()[1:]] == list(ABANDON_REASONS)
    assert everything(place) == before


def test_of_several_messages_with_one_id_the_one_that_the_verb_fits_is_meant(place):
    take(place, "M1", State.COMPLETED, header_id="shared")
    park(place, "M2", header_id="shared")
    take(place, "M3", State.ACCEPTED, header_id="shared")
    held, released, ambiguous, retried = run(
        place, "hold shared --by Jo --json", "release shared --by Jo --json", "trace shared", "retry shared --by Jo --json"
    )
    assert [held.json["mesh_message_id"], released.json["mesh_message_id"], retried.json["mesh_message_id"]] == [
        "M3",
        "M3",
        "M2",
    ]
    assert (ambiguous.code, ambiguous.err.count("\n")) == (2, 4)


def test_without_a_ledger_none_is_made(place):
    place.ledger_file.unlink()
    commands = ("parked", "retry --all --by Jo", "hold X --by Jo", "release X --by Jo", "abandon X --by Jo --reason not_for_us")
    for ended in run(place, *commands):
        assert (ended.code, is_one_line(ended.err)) == (1, True)
    assert not place.ledger_file.exists()


@pytest.mark.postgres
def test_the_verbs_act_on_a_postgresql_ledger_too(place, new_postgresql):
    payloads = {"directory": str(place.directory / "payloads"), "shared": True}
    place.configure(ledger={"url": new_postgresql}, payloads=payloads)
    place.url = new_postgresql
    migrate(new_postgresql, NOW)
    park(place, "M1")
    park(place, "M2")
    take(place, "M3", State.ACCEPTED)
    ended = run(
        place, "hold M3 --by Jo", "abandon M2 --by Jo --reason not_for_us", "retry --all --by Jo --json", "release M3 --by Jo",
        "parked",
    )  # fmt: skip
    assert [each.code for each in ended] == [0] * 5, ended
    assert ended[2].json == {"messages": 1, "responses": 0, "held": 1, "moved": 0}
    assert ended[4].out == "nothing is parked\n"
    assert {record.key.mesh_message_id: record.state for record, _, _ in everything(place)} == {
        "M1": State.ACCEPTED, "M2": State.ABANDONED, "M3": State.ACCEPTED,
    }  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as somebody else")
@pytest.mark.open_to_others
def test_root_leaves_no_file_of_its_own_beside_somebody_elses_ledger(place):
    park(place, "M1")
    let_others_enter(place.directory)
    for path in (place.state, *place.state.iterdir()):
        os.chown(path, 65534, 65534)
    done = place.run("retry", "--all", "--by", "Jo")
    assert done.returncode == 0, done.stderr
    assert {path.stat().st_uid for path in place.state.iterdir()} == {65534}
