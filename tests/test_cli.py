"""The command line as people and scripts meet it: real processes over a real ledger."""

import json
import os
import subprocess
import sys
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mesh_itk3 import __version__
from mesh_itk3.commands.check import handshake
from mesh_itk3.commands.checks_here import certificate_finding
from mesh_itk3.commands.console import CommandRefused, shown
from mesh_itk3.commands.one_message import find_one
from mesh_itk3.itk3.response_codes import BusinessCode
from mesh_itk3.lifecycle import State
from mesh_itk3.ports import (
    CertificateUnusable,
    Changes,
    CredentialsRejected,
    Entry,
    Kind,
    MailboxUnavailable,
    MessageKey,
    MessageRecord,
    Step,
)
from mesh_itk3.reasons import Reason
from mesh_itk3.stages.decide import decision
from support.place import MAILBOX, NOW, Place, a_received, an_entry, is_one_line, send, state_of, take
from support.unprivileged import let_others_enter

CERTIFICATE_FILES = {"client_certificate": "client.pem", "client_key": "client.key"}


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    made.configure()
    return made


@pytest.fixture
def with_ledger(place):
    place.make_ledger()
    return place


# ------------------------------------------------------------------------------------------------ the program itself


def test_version_is_printed(place):
    assert place.run("--version").stdout == f"mesh-itk3 {__version__}\n"


@pytest.mark.parametrize(
    "command", ["", "run", "check", "status", "messages", "trace", "respond", "owed", "seen", "parked", "demo"]
)
def test_help_needs_no_library_that_takes_long(place, command):
    """`mesh-itk3 --help` answers at once on a practice's oldest machine."""
    slow = "sqlalchemy pydantic_settings lxml fhir mesh_client cryptography alembic apscheduler requests rich"
    code = (
        "import sys; from mesh_itk3.cli import call; code = call(sys.argv[1:]);"
        f"sys.exit(code or str([name for name in {slow!r}.split() if name in sys.modules] or ''))"
    )
    arguments = [*command.split(), "--help"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=180, check=False)
    assert done.stderr.strip() == ""
    assert done.stdout.startswith("Usage: mesh-itk3")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["run", "--nonsense"],
        ["messages", "--state", "lost"],
        ["messages", "--limit", "0"],
        ["respond", "X", "30001"],
    ],
    ids=" ".join,
)
def test_wrong_use_is_one_line_and_exit_2(place, arguments):
    done = place.run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert is_one_line(done.stderr)


def test_nothing_asked_gives_the_list_of_commands_and_exit_2(place):
    done = place.run()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: mesh-itk3")
    for command in ("run", "check", "status", "messages", "trace", "respond", "demo"):
        assert f"\n  {command} " in done.stderr


def test_state_that_does_not_exist_is_answered_with_those_that_do(place):
    done = place.run("messages", "--state", "lost")
    assert done.stderr == f"mesh-itk3: there is no state 'lost'; the states are {', '.join(State)}\n"


def test_configuration_that_is_not_there_is_named_with_its_path(place):
    done = place.run("status", "--config", "no/such.toml")
    assert (done.returncode, done.stderr) == (78, "mesh-itk3: no/such.toml: cannot be read: No such file or directory\n")


@pytest.mark.parametrize(
    "command", ["run", "check", "status", "messages", "owed", "trace X", "respond X 30001 --by me", "seen X --by me"]
)
def test_wrong_configuration_is_one_line_for_each_mistake_and_exit_78(place, command):
    place.config.write_text(place.config.read_text().replace("ods_code", "odd_code"), encoding="utf-8")
    done = place.run(*command.split())
    assert done.returncode == 78
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("mesh-itk3: ") and f"[mailboxes.{MAILBOX}]" in line for line in lines)


@pytest.mark.parametrize("command", ["status", "messages", "owed", "trace X", "respond X 30001 --by me", "seen X --by me"])
def test_missing_ledger_is_said_and_not_made(place, command):
    done = place.run(*command.split())
    assert done.returncode == 1
    assert is_one_line(done.stderr)
    assert str(place.ledger_file) in done.stderr
    assert not place.state.exists()


def test_damaged_ledger_is_one_line(with_ledger):
    with_ledger.ledger_file.write_bytes(b"no ledger at all" * 500)
    done = with_ledger.run("status")
    assert (done.returncode, done.stdout) == (1, "")
    assert is_one_line(done.stderr)


def test_unforeseen_error_is_one_line_for_the_person_and_an_event_without_its_text(place):
    code = (
        "import sys, mesh_itk3.cli as cli\n"
        "@cli.app.command()\n"
        "def fall() -> int:\n    raise RuntimeError('NHS number 9990000018')\n"
        "sys.exit(cli.call(['fall']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180, check=False)
    event, line = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (1, "")
    assert json.loads(event)["event"] == "service.failed"
    assert "RuntimeError" in line
    assert "9990000018" not in done.stderr


def test_output_that_nobody_reads_ends_quietly(with_ledger):
    for number in range(3):
        take(with_ledger, f"M{number}")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "mesh_itk3", "messages", "--config", with_ledger.config],
        stdout=writing, stderr=subprocess.PIPE, text=True, timeout=180, check=False,
    )  # fmt: skip
    os.close(writing)
    assert done.stderr == ""


def test_ticks_on_a_terminal_that_knows_none_are_no_error(place):
    done = place.run("check", "--offline", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("hostile", ["\x1b[2J", "a\nb", "\u202e", "\x9b1m"])
def test_what_a_sender_wrote_cannot_steer_the_terminal(hostile):
    assert shown(hostile).isprintable()


# ------------------------------------------------------------------------------------------------ messages, trace


def test_messages_lists_what_scripts_rely_on(with_ledger):
    take(with_ledger, "M1", State.COMPLETED)
    send(with_ledger, "answer-to-M1", "SENT1")
    (message,) = with_ledger.json("messages")["messages"]
    assert (
        message.items()
        >= {
            "mesh_message_id": "M1",
            "mailbox_id": MAILBOX,
            "workflow_id": "TOC_FHIR_IP_DISCH",
            "message_header_id": "header-of-M1",
            "state": "completed",
            "handler": "transfer_of_care",
            "received_at": "2025-01-02T10:00:00+00:00",
        }.items()
    )
    (response,) = message["responses"]
    assert (
        response.items()
        >= {
            "level": "infrastructure",
            "response_code": "20013",
            "state": "sent",
            "mesh_message_id": "SENT1",
        }.items()
    )


def test_no_messages_is_an_empty_list(with_ledger):
    assert with_ledger.json("messages") == {"messages": []}


def test_messages_are_newest_first_and_can_be_limited(with_ledger):
    for number in range(3):
        take(with_ledger, f"M{number}")
    found = with_ledger.json("messages", "--limit", "2")["messages"]
    assert [message["mesh_message_id"] for message in found] == ["M2", "M1"]


def test_messages_are_filtered_by_state_and_mailbox(with_ledger):
    take(with_ledger, "M1", State.PARKED)
    take(with_ledger, "M2", State.COMPLETED)
    take(with_ledger, "M3")
    found = with_ledger.json("messages", "--state", "parked", "--state", "received", "--mailbox", MAILBOX)["messages"]
    assert {message["mesh_message_id"] for message in found} == {"M1", "M3"}
    assert with_ledger.json("messages", "--mailbox", "OTHER") == {"messages": []}


def test_messages_for_a_person_show_id_state_and_answer(with_ledger):
    take(with_ledger, "M1", State.COMPLETED)
    text = with_ledger.run("messages").stdout
    assert "M1" in text
    assert "completed" in text
    assert "infrastructure response 20013 to X26HC005: owed" in text


@pytest.mark.parametrize("identifier", ["M1", "header-of-M1", "their-local-id", "answer-to-M1"])
def test_trace_takes_any_id_of_the_message_and_tells_every_step(with_ledger, identifier):
    take(with_ledger, "M1", State.COMPLETED, local_id="their-local-id")
    story = with_ledger.json("trace", identifier)
    assert story["mesh_message_id"] == "M1"
    assert [(entry["stage"], entry["outcome"]) for entry in story["timeline"]] == [
        ("collect", "received"),
        ("interpret", "accepted"),
        ("dispatch", "completed"),
    ]
    assert [response["response_code"] for response in story["responses"]] == ["20013"]
    assert story["payload_file"] == str(with_ledger.state / "payloads" / MAILBOX / "2025-01" / "M1.bin")


def test_trace_of_an_unknown_id_is_one_line_and_exit_2(with_ledger):
    done = with_ledger.run("trace", "nowhere\x1b[2J", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert is_one_line(done.stderr)
    assert "\x1b" not in done.stderr


def test_id_that_fits_several_messages_is_refused_with_the_list(with_ledger):
    take(with_ledger, "M1", State.COMPLETED, header_id="shared")
    take(with_ledger, "M2", State.COMPLETED, header_id="shared")
    done = with_ledger.run("trace", "shared")
    assert (done.returncode, done.stdout) == (2, "")
    assert "M1" in done.stderr
    assert "M2" in done.stderr


class FoundMessages:
    """A ledger that finds these messages."""

    def __init__(self, *states):
        self.found = [
            MessageRecord(MessageKey(f"MAILBOX{n}", f"M{n}"), "W", Kind.MESSAGE, state, NOW) for n, state in enumerate(states)
        ]

    def find(self, identifier):
        return self.found


def waits(record):
    return record.state is State.AWAITING_DECISION


def test_only_one_of_several_that_the_command_acts_on_is_taken():
    ledger = FoundMessages(State.COMPLETED, State.AWAITING_DECISION, State.REJECTED)
    assert find_one(ledger, "shared", mailbox_id=None, acts_on=waits).key.mesh_message_id == "M1"


def test_two_that_the_command_acts_on_are_refused():
    ledger = FoundMessages(State.COMPLETED, State.AWAITING_DECISION, State.AWAITING_DECISION)
    with pytest.raises(CommandRefused, match="fits 2 messages"):
        find_one(ledger, "shared", mailbox_id=None, acts_on=waits)


def test_mailbox_narrows_what_an_id_fits():
    ledger = FoundMessages(State.AWAITING_DECISION, State.AWAITING_DECISION)
    assert find_one(ledger, "shared", mailbox_id="MAILBOX1", acts_on=waits).key.mesh_message_id == "M1"


# ------------------------------------------------------------------------------------------------ respond


def test_decision_is_recorded_with_who_made_it_and_the_message_goes_on(with_ledger):
    key = take(with_ledger, "M1", State.AWAITING_DECISION)
    done = with_ledger.run("respond", "M1", "30001", "--by", "Jo Smith")
    assert done.returncode == 0, done.stderr
    assert "run --once" in done.stdout
    with with_ledger.ledger() as ledger:
        record, timeline = ledger.get(key), ledger.timeline(key)
    assert (record.state, record.decision_code, record.decided_by) == (State.ACCEPTED, "30001", "Jo Smith")
    assert record.reason == Reason.PERSON_DECIDED
    assert (timeline[-1].stage, timeline[-1].who, timeline[-1].response_code) == ("decide", "Jo Smith", "30001")


def test_decision_is_logged_on_standard_error_and_the_document_stands_alone(with_ledger):
    take(with_ledger, "M1", State.AWAITING_DECISION)
    done = with_ledger.run("respond", "M1", "30002", "--by", "Jo", "--json")
    assert json.loads(done.stdout)["decision_code"] == "30002"
    (event,) = [line for line in map(json.loads, done.stderr.splitlines()) if line["event"] == "decision.made"]
    assert (event["mesh_message_id"], event["response_code"], event["actor"]) == ("M1", "30002", "Jo")


@pytest.mark.parametrize("code", ["30005", "20013", "99999", "yes"])
def test_code_that_the_handler_does_not_allow_is_refused_with_those_it_does(with_ledger, code):
    key = take(with_ledger, "M1", State.AWAITING_DECISION)
    done = with_ledger.run("respond", "M1", code, "--by", "Jo")
    assert done.returncode == 2
    assert is_one_line(done.stderr)
    assert all(allowed in done.stderr for allowed in ("30001", "30002", "30003", "30004"))
    assert state_of(with_ledger, key) is State.AWAITING_DECISION


@pytest.mark.parametrize("state", [State.RECEIVED, State.ACCEPTED, State.COMPLETED, State.PARKED])
def test_message_that_does_not_wait_is_refused_with_its_state(with_ledger, state):
    key = take(with_ledger, "M1", state)
    done = with_ledger.run("respond", "M1", "30001", "--by", "Jo")
    assert done.returncode == 2
    assert state in done.stderr
    assert state_of(with_ledger, key) is state


def test_second_decision_is_refused_with_the_first(with_ledger):
    take(with_ledger, "M1", State.AWAITING_DECISION)
    with_ledger.run("respond", "M1", "30001", "--by", "Jo")
    done = with_ledger.run("respond", "M1", "30002", "--by", "Sam")
    assert done.returncode == 2
    assert "Jo has decided 30001" in done.stderr


@pytest.mark.parametrize("by", ["", "  ", "x" * 101, "Jo\nSmith", "[decisions] at_deadline"])
def test_decision_needs_a_person(with_ledger, by):
    key = take(with_ledger, "M1", State.AWAITING_DECISION)
    assert with_ledger.run("respond", "M1", "30001", "--by", by).returncode == 2
    assert state_of(with_ledger, key) is State.AWAITING_DECISION


def test_decision_about_a_message_whose_handler_does_not_work_waits(with_ledger):
    key = take(with_ledger, "M1", State.AWAITING_DECISION, handler="uninstalled")
    done = with_ledger.run("respond", "M1", "30001", "--by", "Jo")
    assert done.returncode == 1
    assert is_one_line(done.stderr)
    assert state_of(with_ledger, key) is State.AWAITING_DECISION


def test_decision_makes_the_message_due_at_once_with_fresh_attempts():
    later = NOW + timedelta(days=1)
    record = MessageRecord(MessageKey(MAILBOX, "M1"), "W", Kind.MESSAGE, State.AWAITING_DECISION, NOW, attempts=2, due_at=later)
    step = decision(record, BusinessCode.PATIENT_KNOWN, "Jo", NOW)
    assert (step.old, step.new) == (State.AWAITING_DECISION, State.ACCEPTED)
    assert (step.changes["attempts"], step.changes["due_at"]) == (0, None)


# ------------------------------------------------------------------------------------------------ reasons


def defer(place, mesh_message_id, reason, *, handler="transfer_of_care"):
    """A message whose handler left it to a person, with this reason."""
    key = take(place, mesh_message_id, State.ACCEPTED, handler=handler)
    entry = Entry(at=NOW, stage="dispatch", outcome="awaiting_decision", reason=reason)
    with place.ledger() as ledger:
        ledger.apply([Step(key, State.ACCEPTED, State.AWAITING_DECISION, entry, Changes(reason=reason))])


WHY = {
    ("family_name_differs", "transfer_of_care"): "The family names differ.",
    ("handler_deferred", "transfer_of_care"): Reason.HANDLER_DEFERRED.text,
    ("family_name_differs", "uninstalled"): None,
}


@pytest.mark.parametrize(("reason", "handler"), WHY)
def test_why_a_message_waits_is_shown_as_word_and_sentence(with_ledger, reason, handler):
    text = WHY[reason, handler]
    defer(with_ledger, "M1", reason, handler=handler)
    (message,) = with_ledger.json("messages")["messages"]
    story = with_ledger.json("trace", "M1")
    assert (message["reason"], message["reason_text"]) == (reason, text)
    assert (story["reason"], story["reason_text"]) == (reason, text)
    assert (story["timeline"][-1]["reason"], story["timeline"][-1]["reason_text"]) == (reason, text)
    assert story["timeline"][0]["reason_text"] is None
    shown_as = f"{reason}: {text}" if text else reason
    assert f"    {shown_as}\n" in with_ledger.run("messages").stdout
    assert with_ledger.run("trace", "M1").stdout.count(f": {shown_as}\n") == 2


def test_rule_of_the_verdict_is_not_explained_in_the_handlers_words(with_ledger):
    key = take(with_ledger, "M1")
    entry = Entry(at=NOW, stage="interpret", outcome="rejected", response_code="20009", reason="document_missing")
    changes = Changes(reason=Reason.VERDICT, handler="transfer_of_care")
    with with_ledger.ledger() as ledger:
        ledger.apply([Step(key, State.RECEIVED, State.REJECTED, entry, changes)])
    assert with_ledger.json("trace", "M1")["timeline"][-1]["reason_text"] is None


# ------------------------------------------------------------------------------------------------ without the secrets


@pytest.fixture
def without_secrets(with_ledger):
    """As somebody has it who may read the configuration and the ledger, and nothing that is secret."""
    take(with_ledger, "M1", State.AWAITING_DECISION)
    lines = with_ledger.config.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith(("shared_key", "password"))]
    with_ledger.config.write_text("\n".join(kept), encoding="utf-8")
    return with_ledger


@pytest.mark.parametrize("command", ["status", "messages", "trace M1", "respond M1 30001 --by Jo"])
def test_whoever_looks_or_decides_needs_no_secrets(without_secrets, command):
    done = without_secrets.run(*command.split())
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", ["run --once", "check --offline"])
def test_whoever_speaks_with_mesh_needs_them(without_secrets, command):
    done = without_secrets.run(*command.split())
    assert done.returncode == 78
    assert "shared_key: is required" in done.stderr


# ------------------------------------------------------------------------------------------------ status


def test_status_counts_what_needs_a_person(with_ledger):
    take(with_ledger, "M1", State.AWAITING_DECISION)
    take(with_ledger, "M2", State.PARKED)
    document = with_ledger.json("status")
    assert document["awaiting_decision"]["count"] == 1
    assert document["awaiting_decision"]["oldest_at"] == "2025-01-02T10:00:00+00:00"
    assert document["awaiting_decision"]["oldest_age_s"] > 0
    assert document["parked"]["count"] == 1
    assert document["messages"] == {"awaiting_decision": 1, "parked": 1}
    assert document["responses"] == {"owed": 2}
    assert document["schema_revision"]
    assert {handler["name"]: handler["is_available"] for handler in document["handlers"]}["transfer_of_care"]
    assert [mailbox["mailbox_id"] for mailbox in document["mailboxes"]] == [MAILBOX]


def test_status_names_a_duplicate_that_differs(with_ledger):
    key = take(with_ledger, "M1", State.ACCEPTED)
    changes = Changes(duplicate_of="M0", differs_from_first=True)
    with with_ledger.ledger() as ledger:
        ledger.record_received(a_received("M2"), an_entry("collect", "received"))
        second = MessageKey(MAILBOX, "M2")
        ledger.apply([Step(second, State.RECEIVED, State.REJECTED, an_entry("interpret", "rejected"), changes)])
    assert with_ledger.json("status")["differing_duplicates"] == [{"mailbox_id": MAILBOX, "mesh_message_id": "M2"}]
    assert "M2" in with_ledger.run("status").stdout
    assert state_of(with_ledger, key) is State.ACCEPTED


def test_status_says_how_a_disabled_handler_stands(with_ledger):
    with_ledger.configure(handlers__transfer_of_care={"enabled": False})
    found = {handler["name"]: handler for handler in with_ledger.json("status")["handlers"]}
    assert (found["transfer_of_care"]["is_enabled"], found["transfer_of_care"]["is_available"]) == (False, False)
    assert "disabled" in with_ledger.run("status").stdout


def test_status_for_a_person_says_what_to_do_next(with_ledger):
    assert "nothing needs a person" in with_ledger.run("status").stdout
    take(with_ledger, "M1", State.AWAITING_DECISION)
    assert "mesh-itk3 respond ID CODE --by WHO" in with_ledger.run("status").stdout


# ------------------------------------------------------------------------------------------------ check


def outcomes(document):
    return {finding["check"]: finding["outcome"] for finding in document["checks"]}


def test_check_before_the_first_run_is_good_and_makes_nothing(place):
    document = place.json("check", "--offline")
    assert document["ok"]
    assert outcomes(document).items() >= {"configuration": "ok", "ledger": "ok", "payloads": "ok"}.items()
    assert outcomes(document)["patient register"] == "warning"
    assert not place.state.exists()


def test_check_with_a_wrong_configuration_is_one_document_and_exit_78(place):
    place.configure(nonsense={"key": 1})
    done = place.run("check", "--json")
    assert done.returncode == 78
    assert json.loads(done.stdout)["ok"] is False
    assert is_one_line(done.stderr)


def test_check_with_a_table_that_its_handler_does_not_know_is_exit_78(place):
    place.configure(handlers__transfer_of_care={"outputt": "/srv"})
    done = place.run("check", "--offline")
    assert done.returncode == 78
    assert "[handlers.transfer_of_care] outputt" in done.stderr


def test_check_of_an_unusable_register_fails_and_says_what_to_do(place):
    place.configure(patients={"source": "csv", "file": str(place.directory / "patients.csv")})
    done = place.run("check", "--offline")
    assert done.returncode == 1
    assert "✗ patient register" in done.stdout
    assert "Write a fresh, complete file" in done.stdout


def test_check_of_a_register_counts_its_patients(place):
    file = place.directory / "patients.csv"
    file.write_text(
        "nhs_number,date_of_birth,family_name,status,status_date\n9990000018,1960-01-01,Example,registered,\n", encoding="utf-8"
    )
    place.configure(patients={"source": "csv", "file": str(file)})
    assert "1 patient" in place.run("check", "--offline").stdout


def test_check_of_a_damaged_ledger_fails(with_ledger):
    with_ledger.ledger_file.write_bytes(b"no ledger at all" * 500)
    done = with_ledger.run("check", "--offline")
    assert done.returncode == 1
    assert "✗ ledger" in done.stdout


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_check_of_a_directory_that_cannot_be_written_fails(with_ledger):
    with_ledger.state.chmod(0o500)
    done = with_ledger.run("check", "--offline")
    with_ledger.state.chmod(0o700)
    assert done.returncode == 1
    assert "✗ payloads" in done.stdout


class Refusing(BaseHTTPRequestHandler):
    """A MESH that knows nobody."""

    def do_POST(self):
        self.send_response(403)
        self.end_headers()

    def log_message(self, *arguments):
        pass


def test_check_shakes_hands_with_mesh_and_says_that_it_refuses_us(place):
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place.configure(mesh_url=f"http://127.0.0.1:{server.server_port}")
        done = place.run("check")
        server.shutdown()
    assert done.returncode == 1
    assert f"✗ mailbox {MAILBOX}: MESH refuses" in done.stdout


class Shaking:
    """A mailbox whose handshake ends like this."""

    def __init__(self, error=None):
        self.error, self.is_closed = error, False

    def handshake(self):
        if self.error:
            raise self.error

    def close(self):
        self.is_closed = True


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "ok"),
        (CredentialsRejected(), "failed"),
        (CertificateUnusable(), "failed"),
        (MailboxUnavailable("timeout"), "failed"),
    ],
    ids=["answered", "refused", "certificate", "away"],
)
def test_handshake_is_judged_and_the_connection_closed(error, outcome):
    mailbox = Shaking(error)
    assert handshake(None, MAILBOX, lambda _settings, _mailbox_id: mailbox).outcome == outcome
    assert mailbox.is_closed


# ------------------------------------------------------------------------------------------------ certificates


def a_certificate(directory, *, days, begins=NOW - timedelta(days=1), key=None, passphrase=None):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    own = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1).public_key(own.public_key())
    certificate = builder.not_valid_before(begins).not_valid_after(NOW + timedelta(days=days)).sign(own, hashes.SHA256())
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    files = directory / "client.pem", directory / "client.key"
    files[0].write_bytes(certificate.public_bytes(encoding))
    files[1].write_bytes((key or own).private_bytes(encoding, form, encryption))
    return files


@pytest.mark.parametrize(
    ("days", "outcome"), [(400, "ok"), (30, "ok"), (29, "warning"), (0, "failed"), (-5, "failed")], ids=str
)
def test_certificate_is_judged_by_the_days_left(tmp_path, days, outcome):
    begins = NOW - timedelta(days=100)
    assert certificate_finding(*a_certificate(tmp_path, days=days, begins=begins), NOW).outcome == outcome


def test_certificate_from_the_future_fails(tmp_path):
    files = a_certificate(tmp_path, days=400, begins=NOW + timedelta(days=1))
    assert "not valid before" in certificate_finding(*files, NOW).text


def test_key_of_another_certificate_fails(tmp_path):
    from cryptography.hazmat.primitives.asymmetric import ec

    files = a_certificate(tmp_path, days=400, key=ec.generate_private_key(ec.SECP256R1()))
    assert certificate_finding(*files, NOW).is_wrong


def test_key_with_a_passphrase_fails_and_says_so(tmp_path):
    assert "passphrase" in certificate_finding(*a_certificate(tmp_path, days=400, passphrase=b"x"), NOW).text


def test_certificate_that_is_none_fails(tmp_path):
    certificate, key = a_certificate(tmp_path, days=400)
    certificate.write_text("rubbish", encoding="utf-8")
    assert certificate_finding(certificate, key, NOW).is_wrong


# ------------------------------------------------------------------------------------------------ root


def give_away(place):
    """The ledger is somebody else's, as under systemd."""
    nobody = 65534
    let_others_enter(place.directory)
    for path in (place.state, *place.state.iterdir()):
        os.chown(path, nobody, nobody)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as somebody else")
@pytest.mark.parametrize("closed", ["client.pem", "client.key", "mesh-itk3.toml"])
@pytest.mark.open_to_others
def test_check_by_root_finds_what_the_service_may_not_read(with_ledger, closed):
    a_certificate(with_ledger.directory, days=400)
    text = with_ledger.config.read_text(encoding="utf-8")
    files = [f'{key} = "{with_ledger.directory}/{name}"' for key, name in CERTIFICATE_FILES.items()]
    with_ledger.config.write_text(text.replace("[mesh]", "\n".join(["[mesh]", *files])), encoding="utf-8")
    for name in ("mesh-itk3.toml", *CERTIFICATE_FILES.values()):
        (with_ledger.directory / name).chmod(0o600 if name == closed else 0o644)
    give_away(with_ledger)
    done = with_ledger.run("check", "--offline")
    assert done.returncode == 1
    crosses = [line for line in done.stdout.splitlines() if line.startswith("✗") and "expired" not in line]
    assert len(crosses) == 1, done.stdout
    assert crosses[0].startswith("✗ configuration:" if closed.endswith("toml") else "✗ certificate: cannot be read")
    assert "Let nobody read" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as somebody else")
@pytest.mark.open_to_others
def test_root_leaves_no_file_of_its_own_beside_somebody_elses_ledger(with_ledger):
    take(with_ledger, "M1", State.AWAITING_DECISION)
    give_away(with_ledger)
    done = with_ledger.run("respond", "M1", "30001", "--by", "Jo")
    assert done.returncode == 0, done.stderr
    assert {path.stat().st_uid for path in with_ledger.state.iterdir()} == {65534}
