"""Configuration from a file, the environment and credential files, and how its mistakes are told."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from mesh_itk3.deadlines import Deadlines
from mesh_itk3.itk3.response_codes import BusinessCode
from mesh_itk3.settings import Settings, load_settings
from mesh_itk3.settings_advice import advice
from mesh_itk3.settings_errors import ConfigInvalid
from mesh_itk3.settings_sources import NAMED_TABLES, TABLES
from support.unprivileged import let_others_enter, unprivileged

PASSWORD = "Sw0rdfish-never-shown"

MESH = f"""
[mesh]
environment = "sandbox"
url = "http://127.0.0.1:8700"
shared_key = "{PASSWORD}"
"""
MAILBOX = f"""
[mailboxes.X26ABC2]
ods_code = "A81001"
password = "{PASSWORD}"
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str = MESH + MAILBOX, name: str = "mesh-itk3.toml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o640)
        return path

    return write


def credentials(tmp_path: Path, **files: str) -> Path:
    directory = tmp_path / "credentials"
    directory.mkdir()
    for name, content in files.items():
        (directory / name).write_text(content)
        (directory / name).chmod(0o600)
    return directory


def problems(config: Path | None, environ: dict[str, str] | None = None, credentials: Path | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigInvalid) as caught:
        load_settings(config, credentials, environ or {})
    assert PASSWORD not in str(caught.value)
    assert PASSWORD not in repr(caught.value)
    assert caught.value.__context__ is None or PASSWORD not in str(caught.value.__context__)
    return caught.value.problems


# --------------------------------------------------------------------------------------------------- what is read


def test_ten_lines_are_enough(write):
    settings = load_settings(write(), None, {})

    assert settings.mailboxes["X26ABC2"].poll_interval_s == 300
    assert settings.ledger.url.get_secret_value() == "sqlite:////var/lib/mesh-itk3/ledger.db"
    assert settings.ledger.sqlite_file == Path("/var/lib/mesh-itk3/ledger.db")
    assert settings.payloads.directory == Path("/var/lib/mesh-itk3/payloads")
    assert settings.limits.max_message_bytes == 20_971_520
    assert settings.patients is None
    assert (settings.log_level, settings.log_format) == ("info", "auto")


def test_ledger_and_payloads_follow_the_state_directory_unless_told_otherwise(write):
    config = write('state_directory = "/srv/mesh"\n' + MESH + MAILBOX + '[payloads]\ndirectory = "/data/payloads"\n')

    settings = load_settings(config, None, {})

    assert settings.ledger.sqlite_file == Path("/srv/mesh/ledger.db")
    assert settings.payloads.directory == Path("/data/payloads")


def test_every_table_of_the_contract_is_read(write):
    settings = load_settings(
        write(
            'log_level = "debug"\n'
            + MESH
            + MAILBOX
            + """poll_interval_s = 1
also_serves = ["a81002"]
foreign = "spool"
spool = "/var/spool/mesh"
uncorrelated = "leave"
[ledger]
url = "postgresql://mesh:secret@db.example/mesh"
[payloads]
directory = "/srv/payloads"
shared = true
[patients]
source = "csv"
file = "/etc/mesh-itk3/patients.csv"
max_age_days = 3
[limits]
max_message_bytes = 1000
[workflows.TOC_FHIR_IP_DISCH]
strictness = "strict"
[handlers.transfer_of_care]
output = "/var/lib/mesh-itk3/letters"
"""
        ),
        None,
        {},
    )

    mailbox = settings.mailboxes["X26ABC2"]
    assert mailbox.our_ods_codes == {"A81001", "A81002"}
    assert (mailbox.foreign, mailbox.spool, mailbox.uncorrelated) == ("spool", Path("/var/spool/mesh"), "leave")
    assert settings.ledger.sqlite_file is None
    assert settings.patients is not None
    assert settings.patients.max_age_days == 3
    assert settings.workflows["TOC_FHIR_IP_DISCH"].strictness == "strict"
    assert settings.handlers["transfer_of_care"] == {"output": "/var/lib/mesh-itk3/letters"}


def test_everything_can_come_from_the_environment():
    settings = load_settings(
        None,
        None,
        {
            "MESH_ITK3_LOG_LEVEL": "DEBUG",
            "MESH_ITK3_MESH__ENVIRONMENT": "sandbox",
            "MESH_ITK3_MESH__URL": "http://127.0.0.1:8700",
            "MESH_ITK3_MESH__SHARED_KEY": PASSWORD,
            "MESH_ITK3_MAILBOXES__X26ABC2__ODS_CODE": "A81001",
            "MESH_ITK3_MAILBOXES__X26ABC2__PASSWORD": PASSWORD,
            "MESH_ITK3_MAILBOXES__X26ABC2__ALSO_SERVES": "A81002, A81003",
            "MESH_ITK3_WORKFLOWS__TOC_FHIR_IP_DISCH__STRICTNESS": "lenient",
            "MESH_ITK3_HANDLERS__TRANSFER_OF_CARE__OUTPUT": "/srv/letters",
            "MESH_ITK3_LIMITS__MAX_MESSAGE_BYTES": "",
            "MESH_ITK3_CONFIG": "is an option of the command line",
            "OTHER": "is not ours",
        },
    )

    assert settings.log_level == "debug"
    assert settings.mailboxes["X26ABC2"].also_serves == ("A81002", "A81003")
    assert settings.workflows["TOC_FHIR_IP_DISCH"].strictness == "lenient"
    assert settings.handlers["transfer_of_care"]["output"] == "/srv/letters"


def test_decisions_have_a_clock_and_nothing_is_decided_by_itself_unless_it_is_chosen(write):
    usual = load_settings(write(), None, {}).decisions.rules
    chosen = load_settings(
        write(MESH + MAILBOX + '[decisions]\ndeadline_hours = 10\nescalate_every_hours = 2\nat_deadline = "30002"\n'),
        None,
        {"MESH_ITK3_DECISIONS__REMINDER_HOURS": "8, 1"},
    ).decisions.rules

    assert usual == Deadlines()
    assert (usual.deadline, usual.at_deadline) == (timedelta(days=3), None)
    assert chosen == Deadlines(
        deadline=timedelta(hours=10),
        reminders=(timedelta(hours=8), timedelta(hours=1)),
        escalate_every=timedelta(hours=2),
        at_deadline=BusinessCode.PATIENT_NOT_KNOWN,
    )


def test_a_deadline_shorter_than_the_usual_reminders_needs_no_further_key(write):
    assert load_settings(write(MESH + MAILBOX + "[decisions]\ndeadline_hours = 3\n"), None, {}).decisions.deadline_hours == 3


def test_a_list_in_the_environment_may_be_json(write):
    settings = load_settings(write(), None, {"MESH_ITK3_MAILBOXES__X26ABC2__ALSO_SERVES": '["A81002"]'})

    assert settings.mailboxes["X26ABC2"].also_serves == ("A81002",)


def test_credential_file_goes_before_environment_and_environment_before_the_file(write, tmp_path):
    directory = credentials(tmp_path, mesh__shared_key="from-credential\n")
    environ = {"MESH_ITK3_MESH__SHARED_KEY": "from-environment", "MESH_ITK3_MAILBOXES__X26ABC2__PASSWORD": "from-environment"}

    settings = load_settings(write(), directory, environ)

    assert settings.mesh.shared_key.get_secret_value() == "from-credential"
    assert settings.mailboxes["X26ABC2"].password.get_secret_value() == "from-environment"


def test_systemds_credentials_are_found_and_the_option_goes_before_them(write, tmp_path):
    mine = credentials(tmp_path, mailboxes__x26abc2__password="mine")
    systemds = credentials(tmp_path / "credentials", mailboxes__X26ABC2__password="systemds")
    environ = {"CREDENTIALS_DIRECTORY": str(systemds)}

    def password(option: Path | None) -> str:
        return load_settings(write(), option, environ).mailboxes["X26ABC2"].password.get_secret_value()

    assert password(None) == "systemds"
    assert password(mine) == "mine"


def test_credential_of_a_mailbox_that_is_not_configured_does_not_bring_it_to_life(write, tmp_path):
    directory = credentials(tmp_path, mailboxes__X26OLD1__password=PASSWORD, unrelated="of another service")

    assert list(load_settings(write(), directory, {}).mailboxes) == ["X26ABC2"]


def test_mailbox_ids_are_one_in_every_spelling(write):
    config = write(MESH + MAILBOX.replace("X26ABC2", "x26abc2"))

    settings = load_settings(config, None, {"MESH_ITK3_MAILBOXES__x26ABC2__FOREIGN": "leave"})

    assert list(settings.mailboxes) == ["X26ABC2"]


def test_same_configuration_is_equal_and_cannot_be_changed(write):
    settings = load_settings(write(), None, {})

    assert settings == load_settings(write(), None, {})
    with pytest.raises(ValueError, match="frozen"):
        settings.mesh.environment = "live"  # type: ignore[misc]


def test_secrets_are_never_shown(write):
    text = MESH + MAILBOX + f'[ledger]\nurl = "postgresql://mesh:{PASSWORD}@db/mesh?password={PASSWORD}"\n'
    text += f'[payloads]\nshared = true\n[handlers.theirs]\ntoken = "{PASSWORD}"\n'

    settings = load_settings(write(text), None, {})

    assert PASSWORD not in repr(settings) + str(settings)
    assert settings.ledger.shown == "postgresql://db/mesh"


# --------------------------------------------------------------------------------------------------- what is refused


def test_missing_file_is_an_error_not_an_empty_configuration(tmp_path):
    missing = tmp_path / "mesh-itk3.toml"

    assert problems(missing) == (f"{missing}: cannot be read: No such file or directory",)


def test_problem_names_file_table_and_key(write):
    config = write(MESH + MAILBOX + "poll_interval_s = 90000\n")

    assert problems(config) == ("mesh-itk3.toml: [mailboxes.X26ABC2] poll_interval_s: must be at most 86400",)


def test_problem_names_the_environment_where_the_value_came_from_there(write):
    assert problems(write(), {"MESH_ITK3_LOG_LEVEL": "loud"}) == (
        "environment: MESH_ITK3_LOG_LEVEL: must be one of 'debug', 'info', 'warning' or 'error'",
    )


def test_problem_names_the_credential_file_where_the_value_came_from_there(write, tmp_path):
    directory = credentials(tmp_path, ledger__url=f"mysql://u:{PASSWORD}@h/d")

    assert problems(write(), credentials=directory) == ("credentials: ledger__url: must begin with sqlite:// or postgresql://",)


def test_all_problems_are_told_at_once_one_sorted_line_each(write):
    config = write('log_level = "loud"\n' + MESH.replace("shared_key", "shaerd_key") + "[mailboxes.X26ABC2]\n")

    assert problems(config) == (
        "mesh-itk3.toml: [mailboxes.X26ABC2] ods_code: is required",
        "mesh-itk3.toml: [mailboxes.X26ABC2] password: is required (or a credential file mailboxes__X26ABC2__password)",
        "mesh-itk3.toml: [mesh] shaerd_key: no such key; did you mean shared_key?",
        "mesh-itk3.toml: [mesh] shared_key: is required (or a credential file mesh__shared_key)",
        "mesh-itk3.toml: log_level: must be one of 'debug', 'info', 'warning' or 'error'",
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("mesh = [\n", "at its end: is not valid TOML"),
        (f'[mesh]\nshared_key = "{PASSWORD}\n', "line 2: is not valid TOML"),
        ("[mesh]\n[mesh]\n", "line 2: is not valid TOML"),
        ("a = 1\nb = " + "[" * 5000, "is nested too deeply"),
        ("a = " + "9" * 5000, "somewhere: is not valid TOML"),
    ],
)
def test_broken_toml_is_told_by_its_line_without_its_content(write, text, line):
    assert problems(write(text)) == (f"mesh-itk3.toml: {line}",)


def test_file_that_is_not_text_is_told_by_its_line(tmp_path):
    config = tmp_path / "mesh-itk3.toml"
    config.write_bytes(b"[mesh]\nurl = '\xff'\n")

    assert problems(config) == ("mesh-itk3.toml: line 2: is not UTF-8 text",)


@pytest.mark.parametrize(
    ("extra", "line"),
    [
        ("[mailboxes.X26ABC2.more]\n", "[mailboxes.X26ABC2] more: no such key"),
        ("also_serves = [1]\n", "[mailboxes.X26ABC2] also_serves: must be text"),
        ('also_serves = ["A 1"]\n', "[mailboxes.X26ABC2] also_serves: must be an ODS code such as A81001"),
        ("also_serves = 7\n", "[mailboxes.X26ABC2] also_serves: must be a list"),
        ("poll_interval_s = true\n", "[mailboxes.X26ABC2] poll_interval_s: must be a whole number"),
        ("poll_interval_s = 0\n", "[mailboxes.X26ABC2] poll_interval_s: must be at least 1"),
        ('spool = "/s"\n', '[mailboxes.X26ABC2] spool: is used only with foreign = "spool"'),
        ('[mailboxes."x/y"]\nods_code = "A81001"\npassword = "p"\n', "[mailboxes.X/Y]: must be a mailbox id such as X26ABC2"),
        ('[ledger]\nurl = "sqlite:///relative.db"\n', "[ledger] url: must name a file by its absolute path"),
        ('[ledger]\nurl = "mysql://h/d"\n', "[ledger] url: must begin with sqlite:// or postgresql://"),
        ('[ledger]\nurl = "postgresql://h/d"\n', "[payloads] shared: must be true with a PostgreSQL ledger"),
        ('[payloads]\nstore = "ledger"\n', '[payloads] store: only "directory" is possible in this version'),
        ('[payloads]\ndirectory = "here"\n', "[payloads] directory: must be an absolute path"),
        ('[patients]\nsource = "csv"\n', "[patients] file: is required"),
        ('[patients]\nsource = "csv"\nfile = "/p"\nmax_age_days = 0\n', "[patients] max_age_days: must be at least 1"),
        ("[limits]\nmax_message_bytes = 0\n", "[limits] max_message_bytes: must be at least 1"),
        ("[decisions]\ndeadline_hours = 0\n", "[decisions] deadline_hours: must be at least 1"),
        ("[decisions]\nreminder_hours = [72]\n", "[decisions] reminder_hours: must each be less than deadline_hours"),
        ("[decisions]\nreminder_hours = [0]\n", "[decisions] reminder_hours: must be at least 1"),
        ("[decisions]\nreminder_hours = 4\n", "[decisions] reminder_hours: must be a list"),
        ("[decisions]\nescalate_every_hours = 0\n", "[decisions] escalate_every_hours: must be at least 1"),
        ('[decisions]\nat_deadline = "30005"\n', "[decisions] at_deadline: must be one of 'remind', '30001', '30002', '30003'"),
        ('[decisions]\nat_deadline = "20013"\n', "[decisions] at_deadline: must be one of"),
        ('[workflows.W]\nfull_acknowledgement = "perhaps"\n', "[workflows.W] full_acknowledgement: must be true or false"),
        ('[workflows.W]\nstrictness = "lax"\n', "[workflows.W] strictness: must be one of 'strict', 'standard' or 'lenient'"),
        ("persons = []\n", "[mailboxes.X26ABC2] persons: must not be empty"),
        ('persons = ["Dr Who"]\n', "[mailboxes.X26ABC2] persons: must hold ODS codes or national identifiers"),
        ("known_senders = 7\n", "[mailboxes.X26ABC2] known_senders: must be a list"),
        ("authorised_senders = []\n", "[mailboxes.X26ABC2] authorised_senders: must not be empty"),
        ('authorised_senders = ["a b"]\n', "[mailboxes.X26ABC2] authorised_senders: must be a mailbox id such as X26ABC2"),
        ("[attachments]\nsupported = []\n", "[attachments] supported: must not be empty"),
        ('[attachments]\nsupported = ["exe"]\n', "[attachments] supported: must hold pdf, doc, docx, rtf"),
        ('[workflows.W]\nack_workflow_id = "A B"\n', "[workflows.W] ack_workflow_id: must be a workflow id"),
        ('[workflows.W]\nevent_code = "ITK 3"\n', "[workflows.W] event_code: is not written as it must be"),
        ('[workflows.W]\nrouted_by_look_up = "perhaps"\n', "[workflows.W] routed_by_look_up: must be true or false"),
        ('[workflows.W]\nrequired_flags = ["Priority"]\n', "[workflows.W] required_flags: must be one of 'InfAckRequested'"),
        ('[workflows.W]\nlocal_extensions = [""]\n', "[workflows.W] local_extensions: must not be empty"),
        ('[workflows.W]\napproved_attachments = ["/"]\n', "[workflows.W] approved_attachments: must hold pdf, doc"),
        ("[mailbox.X]\n", "[mailbox]: no such key; did you mean mailboxes?"),
        ("[handlers]\ntransfer_of_care = 1\n", "[handlers.transfer_of_care]: must be a table"),
        ("[mesh.more]\n", "[mesh] more: no such key"),
    ],
)
def test_wrong_value_is_refused(write, extra, line):
    told = problems(write(MESH + MAILBOX + extra))

    assert any(problem.startswith(f"mesh-itk3.toml: {line}") for problem in told), told


def test_nothing_is_checked_against_a_list_unless_there_is_one(write):
    mailbox = load_settings(write(), None, {}).mailboxes["X26ABC2"]

    assert (mailbox.persons, mailbox.known_senders, mailbox.authorised_senders) == (None, None, None)


def test_lists_of_persons_and_senders_are_read_in_either_case_and_from_the_environment(write):
    config = write(MESH + MAILBOX + 'persons = ["555253716105"]\nauthorised_senders = ["x26abc1"]\n')

    mailbox = load_settings(config, None, {"MESH_ITK3_MAILBOXES__X26ABC2__KNOWN_SENDERS": "rx001, RA901"}).mailboxes["X26ABC2"]

    assert mailbox.persons == ("555253716105",)
    assert mailbox.authorised_senders == ("X26ABC1",)
    assert mailbox.known_senders == ("RX001", "RA901")


def test_every_type_of_the_standard_is_supported_unless_said_otherwise(write):
    assert load_settings(write(), None, {}).attachments.supported == (
        "pdf", "doc", "docx", "rtf", "html", "txt", "xml", "jpg", "png", "tiff",
    )  # fmt: skip


@pytest.mark.parametrize(
    "url", ["ftp://h/", "http://", "http://u:p@h/", "http://h:99999/", "http://h/?q", "127.0.0.1:8700", "http://h\n/"]
)
def test_address_of_the_sandbox_must_be_one(write, url):
    assert problems(write(), {"MESH_ITK3_MESH__URL": url}) == (
        "environment: MESH_ITK3_MESH__URL: must be an address such as http://127.0.0.1:8700",
    )


def test_line_ends_and_control_characters_in_names_do_not_break_the_line(write):
    config = write(MESH + MAILBOX + '[mailboxes.X26ABC2."a\\nb\\u001b[2J"]\n')

    assert problems(config) == ("mesh-itk3.toml: [mailboxes.X26ABC2] a?b?[2J: no such key",)


def test_no_mailbox_at_all_is_refused(write):
    line = "mesh-itk3.toml: [mailboxes]: at least one mailbox is required: [mailboxes.X26ABC2]"

    assert problems(write(MESH)) == (line,)
    assert problems(write(MESH + "[mailboxes]\n")) == (line,)


def test_mailbox_given_in_two_spellings_is_refused(write):
    (problem,) = problems(write(MESH + MAILBOX + MAILBOX.replace("X26ABC2", "x26abc2")))

    assert "given twice" in problem


def test_name_in_the_environment_that_is_no_key_is_refused(write):
    assert problems(write(), {"MESH_ITK3_MESH__SHAERD_KEY": PASSWORD, "MESH_ITK3_LOGLEVEL": "debug"}) == (
        "environment: MESH_ITK3_LOGLEVEL: no such key; did you mean log_level?",
        "environment: MESH_ITK3_MESH__SHAERD_KEY: no such key; did you mean shared_key?",
    )


def test_value_where_the_environment_needs_a_table_is_refused(write):
    assert problems(write(), {"MESH_ITK3_MESH": PASSWORD}) == ("environment: MESH_ITK3_MESH: must be a table",)
    assert len(problems(write(), {"MESH_ITK3_MESH": PASSWORD, "MESH_ITK3_MESH__URL": "http://h"})) == 1


@pytest.mark.parametrize("content", ["", "\n"])
def test_empty_credential_file_is_refused(write, tmp_path, content):
    directory = credentials(tmp_path, mesh__shared_key=content)

    assert problems(write(), credentials=directory) == ("credentials: mesh__shared_key: is empty",)


def test_credential_directory_that_is_not_there_is_refused(write, tmp_path):
    (problem,) = problems(write(), credentials=tmp_path / "nowhere")

    assert problem.startswith("credentials: ")


# --------------------------------------------------------------------------------------------------- outside the sandbox


def live(tmp_path: Path, environment: str = "live") -> str:
    for name in ("client.pem", "client.key"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o640)
    return f"""
[mesh]
environment = "{environment}"
shared_key = "{PASSWORD}"
client_certificate = "{tmp_path}/client.pem"
client_key = "{tmp_path}/client.key"
"""


@pytest.mark.parametrize("environment", ["integration", "deployment", "live"])
def test_real_mesh_takes_certificates_and_no_address(write, tmp_path, environment):
    settings = load_settings(write(live(tmp_path, environment) + MAILBOX), None, {})

    assert not settings.mesh.is_sandbox


@pytest.mark.parametrize("interval", [1, 299])
def test_polling_real_mesh_more_often_than_every_five_minutes_is_refused(write, tmp_path, interval):
    config = write(live(tmp_path) + MAILBOX + f"poll_interval_s = {interval}\n")

    line = "mesh-itk3.toml: [mailboxes.X26ABC2] poll_interval_s: must be at least 300 outside the sandbox"
    assert problems(config) == (line,)


def test_real_mesh_needs_certificate_and_key_and_refuses_an_address(write):
    told = problems(write(MESH.replace("sandbox", "live") + MAILBOX))

    assert [problem.split(": ")[1] for problem in told] == ["[mesh] client_certificate", "[mesh] client_key", "[mesh] url"]


def test_sandbox_needs_an_address(write):
    config = write(MESH.replace("url =", "# url =") + MAILBOX)

    assert problems(config) == ("mesh-itk3.toml: [mesh] url: is required for the sandbox",)


def test_certificate_file_that_is_not_there_is_refused(write, tmp_path):
    text = live(tmp_path) + f'ca_file = "{tmp_path}/nowhere.pem"\n' + MAILBOX

    assert problems(write(text)) == ("mesh-itk3.toml: [mesh] ca_file: no such file",)


def test_certificate_that_is_a_directory_is_refused(write, tmp_path):
    text = live(tmp_path).replace("client.pem", "")

    assert problems(write(text + MAILBOX)) == ("mesh-itk3.toml: [mesh] client_certificate: is no file",)


@pytest.mark.open_to_others
def test_key_that_this_user_may_not_read_is_said_to_be_so_and_not_to_be_missing(write, tmp_path):
    config = write(live(tmp_path) + MAILBOX)
    for file in (config, tmp_path / "client.pem"):
        file.chmod(0o644)
    (tmp_path / "client.key").chmod(0)
    let_others_enter(tmp_path)

    with unprivileged():
        assert problems(config) == ("mesh-itk3.toml: [mesh] client_key: is not readable by this user",)


@pytest.mark.open_to_others
def test_key_in_a_directory_that_this_user_may_not_enter_is_said_to_be_so(write, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "client.key").touch()
    config = write(live(tmp_path).replace(f"{tmp_path}/client.key", f"{closed}/client.key") + MAILBOX)
    for file in (config, tmp_path / "client.pem"):
        file.chmod(0o644)
    let_others_enter(tmp_path)
    closed.chmod(0)

    with unprivileged():
        told = problems(config)
    closed.chmod(0o700)

    assert told == ("mesh-itk3.toml: [mesh] client_key: stands in a directory that this user may not enter",)


# --------------------------------------------------------------------------------------------------- without secrets

LIVE_WITHOUT_SECRETS = """
[mesh]
environment = "live"
client_certificate = "/nowhere/client.pem"
client_key = "/nowhere/client.key"
[mailboxes.x26abc2]
ods_code = "A81001"
[mailboxes.X26ABC3]
ods_code = "A81002"
"""


def test_secrets_and_certificates_may_be_missing_for_whoever_only_looks(write):
    config = write(LIVE_WITHOUT_SECRETS)
    assert any("shared_key" in problem for problem in problems(config))

    settings = load_settings(config, None, {}, needs_secrets=False)

    assert not settings.has_secrets
    assert list(settings.mailboxes) == ["X26ABC2", "X26ABC3"]
    assert settings.ledger.shown == "sqlite:////var/lib/mesh-itk3/ledger.db"


def test_what_is_given_is_used_also_where_secrets_are_not_needed(write):
    settings = load_settings(write(), None, {}, needs_secrets=False)

    assert settings.mesh.shared_key.get_secret_value() == PASSWORD
    assert load_settings(write(), None, {}).has_secrets


@pytest.mark.parametrize("text", ["mesh = 3\n" + MAILBOX, MESH + "[mailboxes]\nX26ABC2 = 3\n", MESH, MESH + "[mailboxes]\n"])
def test_other_mistakes_are_told_whether_or_not_secrets_are_needed(write, text):
    told = problems(write(text))

    with pytest.raises(ConfigInvalid) as caught:
        load_settings(write(text), None, {}, needs_secrets=False)
    assert caught.value.problems == told


@pytest.mark.open_to_others
def test_credentials_that_this_user_may_not_read_are_left_out_where_they_are_not_needed(write, tmp_path):
    directory = credentials(tmp_path, mesh__shared_key="k", mailboxes__X26ABC2__password="p", log_level="error")
    (directory / "log_level").chmod(0o644)
    config = write(LIVE_WITHOUT_SECRETS)
    config.chmod(0o644)
    let_others_enter(tmp_path)
    for mode, expected in ((0o755, "error"), (0, "info")):
        directory.chmod(mode)
        for secret in ("mesh__shared_key", "mailboxes__X26ABC2__password"):
            if mode:
                (directory / secret).chmod(0)
        with unprivileged():
            settings = load_settings(config, directory, {}, needs_secrets=False)
            assert "cannot be read" in problems(config, credentials=directory)[0]
        assert (settings.log_level, settings.has_secrets) == (expected, False)
    directory.chmod(0o700)


@pytest.mark.open_to_others
def test_a_ledgers_address_that_this_user_may_not_read_is_never_left_out(write, tmp_path):
    """Another ledger would be looked at instead, an empty one perhaps."""
    directory = credentials(tmp_path, ledger__url="postgresql://u:p@db/mesh")
    directory.chmod(0o755)
    (directory / "ledger__url").chmod(0)
    config = write(LIVE_WITHOUT_SECRETS)
    config.chmod(0o644)
    let_others_enter(tmp_path)

    with unprivileged(), pytest.raises(ConfigInvalid, match="ledger__url: cannot be read"):
        load_settings(config, directory, {}, needs_secrets=False)


def test_a_directory_of_credentials_that_is_not_there_is_a_mistake_all_the_same(write, tmp_path):
    with pytest.raises(ConfigInvalid, match="cannot be read: No such file"):
        load_settings(write(LIVE_WITHOUT_SECRETS), tmp_path / "nowhere", {}, needs_secrets=False)


# --------------------------------------------------------------------------------------------------- advice


def test_secrets_in_a_file_that_everybody_may_read_are_worth_a_word(write):
    config = write()
    assert advice(config, None, {}) == ()

    config.chmod(0o644)

    (line,) = advice(config, None, {})
    assert line.startswith("mesh-itk3.toml: holds secrets")
    load_settings(config, None, {})


def test_readable_file_without_secrets_is_no_matter(write, tmp_path):
    directory = credentials(tmp_path, mesh__shared_key="k", mailboxes__X26ABC2__password="p")
    config = write('[mesh]\nenvironment = "sandbox"\nurl = "http://h"\n[mailboxes.X26ABC2]\nods_code = "A81001"\n')
    config.chmod(0o644)

    assert advice(config, directory, {}) == ()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mesh_shared_key", "did you mean mesh__shared_key?"),
        ("mailboxes__X26ABC2__pasword", "did you mean mailboxes__X26ABC2__password?"),
        ("mailboxes__X26OLD1__password", "no such mailbox is configured"),
    ],
)
def test_credential_file_whose_name_misses_its_key_is_worth_a_word(write, tmp_path, name, said):
    (line,) = advice(write(), credentials(tmp_path, **{name: PASSWORD}), {})

    assert line.startswith(f"credentials: {name}: is not read")
    assert said in line


def test_credential_files_of_others_are_left_alone(write, tmp_path):
    assert advice(write(), credentials(tmp_path, tls_certificate="x", database="y"), {}) == ()


# --------------------------------------------------------------------------------------------------- the model itself


def test_tables_known_to_the_reader_of_sources_are_those_of_the_model():
    scalars = {"log_level", "log_format", "state_directory"}

    assert set(Settings.model_fields) - scalars == TABLES
    assert NAMED_TABLES < TABLES


def test_process_environment_is_not_read_behind_the_back(write, monkeypatch):
    monkeypatch.setitem(os.environ, "LOG_LEVEL", "error")
    monkeypatch.setitem(os.environ, "MESH_ITK3_LOG_LEVEL", "error")

    assert load_settings(write(), None, {}).log_level == "info"
