"""The documentation is complete: every key, event, field, reason, state, response code, rule and exit code stands in docs/,
and its tables are those of the code. `python tests/support/doc_tables.py` prints the rows.
"""

from __future__ import annotations

import ast
import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mesh_itk3 import events
from mesh_itk3.adapters.patient_register import CsvPatientRegister
from mesh_itk3.itk3.attachment_types import MEDIA_TYPES
from mesh_itk3.itk3.response_codes import ELEMENTS
from mesh_itk3.settings import TABLES_BY_NAME, Settings, load_settings
from mesh_itk3.settings_errors import ConfigInvalid
from support.doc_tables import event_rows, letter_reason_rows, reason_rows, response_rows, rule_rows, state_names

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
EXAMPLE_ID = {"mailboxes": "X26ABC2", "workflows": "TOC_FHIR_IP_DISCH"}
EXIT_CODES = (0, 1, 2, 75, ConfigInvalid.exit_code)


def text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def keys() -> list[tuple[str, str]]:
    """Heading and key of everything that can be configured."""
    top = [("Top level", key) for key in Settings.model_fields if key not in {*TABLES_BY_NAME, "handlers"}]
    tables = [
        (f"[{name}.{EXAMPLE_ID[name]}]" if name in EXAMPLE_ID else f"[{name}]", key)
        for name, table in TABLES_BY_NAME.items()
        for key in table.model_fields
    ]
    return [*top, *tables, ("[handlers.transfer_of_care]", "enabled"), ("[handlers.transfer_of_care]", "output")]


def section(document: str, heading: str) -> str:
    _, found, rest = document.partition(f"\n## {heading}\n")
    assert found, f"no section {heading}"
    return rest.partition("\n## ")[0]


# --------------------------------------------------------------------------------------------------- configuration


@pytest.mark.parametrize(("heading", "key"), keys(), ids=lambda part: part)
def test_every_key_is_explained_in_its_section_with_its_environment_name(heading, key):
    name = "" if heading == "Top level" else heading.strip("[]").replace(".", "__").upper() + "__"
    row = rf"^\| `{key}` \| `MESH_ITK3_{name}{key.upper()}` \| [^|]* \| [^|]+ \|$"

    assert re.search(row, section(text("configuration.md"), heading), re.MULTILINE)


def test_no_key_is_explained_that_does_not_exist():
    explained = re.findall(r"^\| `([a-z_]+)` \| `MESH_ITK3_", text("configuration.md"), re.MULTILINE)

    assert sorted(explained) == sorted(key for _, key in keys())


@pytest.mark.parametrize(("heading", "key"), keys(), ids=lambda part: part)
def test_every_key_stands_in_the_example(heading, key):
    assert re.search(rf"^#?{key} = ", (ROOT / "config" / "mesh-itk3.toml").read_text(), re.MULTILINE), heading


def example(tmp_path: Path, *, uncommented: bool) -> Path:
    """The shipped example with certificates that exist, and the commented keys switched on where asked."""
    lines = (ROOT / "config" / "mesh-itk3.toml").read_text().splitlines()
    if uncommented:
        lines = [re.sub(r"^#(?=[a-z_]+ = |\[)", "", line) for line in lines if not line.startswith("#url = ")]
    for name in ("client.pem", "client.key", "ca.pem"):
        (tmp_path / name).touch()
    path = tmp_path / "mesh-itk3.toml"
    path.write_text("\n".join(lines).replace("/etc/mesh-itk3/c", f"{tmp_path}/c").replace('"leave"    ', '"spool"    ', 1))
    return path


def test_shipped_example_works_with_credential_files_alone(tmp_path):
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    for name in ("mesh__shared_key", "mailboxes__X26ABC2__password"):
        (credentials / name).write_text("secret\n")

    settings = load_settings(example(tmp_path, uncommented=False), credentials, {})

    assert settings.mesh.environment == "live"
    assert settings.patients is not None


def test_shipped_example_shows_the_defaults(tmp_path):
    text = example(tmp_path, uncommented=True).read_text()
    shown = tomllib.loads(text)

    assert shown["log_level"] == Settings.model_fields["log_level"].default
    assert shown["limits"]["max_message_bytes"] == TABLES_BY_NAME["limits"].model_fields["max_message_bytes"].default
    assert tuple(shown["attachments"]["supported"]) == Settings.model_fields["attachments"].default.supported
    for key in ("poll_interval_s", "uncorrelated"):
        assert shown["mailboxes"]["X26ABC2"][key] == TABLES_BY_NAME["mailboxes"].model_fields[key].default
    load_settings(example(tmp_path, uncommented=True), None, {})


def test_ten_lines_of_the_documentation_work(tmp_path):
    (ten_lines,) = re.findall(r"```toml\n(.*?)```", text("configuration.md"), re.DOTALL)
    path = tmp_path / "mesh-itk3.toml"
    path.write_text(ten_lines)

    assert len(ten_lines.splitlines()) <= 10
    assert load_settings(path, None, {}).mesh.is_sandbox


def test_shipped_patient_register_can_be_read_and_holds_only_test_numbers():
    file = ROOT / "config" / "patients.csv"
    rows = file.read_text().splitlines()[1:]

    class Now:
        def now(self):
            return datetime.fromtimestamp(file.stat().st_mtime, UTC)

        def monotonic(self):
            return 0.0

    register = CsvPatientRegister(file, max_age_days=7, clock=Now())

    assert all(row.startswith("999") for row in rows)
    assert {register.look_up(row[:10]).status for row in rows} == {"registered", "left", "deceased"}


# --------------------------------------------------------------------------------------------------- the tables


@pytest.mark.parametrize("row", list(response_rows()), ids=lambda row: row[3:8])
def test_every_response_code_is_listed_as_in_the_table(row):
    assert row in text("responses.md").splitlines()


@pytest.mark.parametrize("kind", MEDIA_TYPES)
def test_every_attachment_type_is_listed_in_all_its_spellings(kind):
    assert f"| `{kind}` | {', '.join(MEDIA_TYPES[kind])} |" in text("responses.md").splitlines()


def test_all_49_response_codes_are_there_and_no_other():
    listed = re.findall(r"^\| `(\d{5})` \|", text("responses.md"), re.MULTILINE)

    assert len(listed) == 49
    assert sorted(listed) == sorted(ELEMENTS)


def test_every_rule_is_listed_in_the_order_of_evaluation():
    listed = [line for line in text("responses.md").splitlines() if re.match(r"\| `[a-z_]+` \| `\d{5}` \|", line)]

    assert listed == list(rule_rows())


@pytest.mark.parametrize("start", list(event_rows()), ids=lambda row: row.split("`")[1])
def test_every_event_is_listed_with_severity_meaning_and_what_to_do(start):
    assert any(line.startswith(f"{start} |") for line in text("events.md").splitlines()), f"add to docs/events.md: {start} | |"


def test_no_event_or_field_is_listed_that_does_not_exist():
    named = re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|", text("events.md"), re.MULTILINE)
    fields = re.findall(r"^\| `([a-z_]+)` \|", section(text("events.md"), "Fields"), re.MULTILINE)

    assert sorted(named) == sorted(event.name for event in events.ALL)
    assert sorted(fields) == sorted(events.FIELDS)


def direct_fields() -> set[tuple[str, str]]:
    """Event and field of every `events.emit(events.X, field=…)` in the code."""
    names = {id_: value.name for id_, value in vars(events).items() if isinstance(value, events.Event)}
    calls = [
        node
        for path in (ROOT / "daemon").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "emit" and node.args
    ]
    return {
        (names[call.args[0].attr], keyword.arg)
        for call in calls
        if isinstance(call.args[0], ast.Attribute) and call.args[0].attr in names
        for keyword in call.keywords
        if keyword.arg
    }


@pytest.mark.parametrize(("event", "field"), sorted(direct_fields()))
def test_every_field_that_is_given_is_allowed_and_listed_with_its_event(event, field):
    (row,) = [line for line in text("events.md").splitlines() if line.startswith(f"| `{event}` |")]

    assert field in events.FIELDS
    assert f"`{field}`" in row.split("|")[-2]


@pytest.mark.parametrize("row", [*reason_rows(), *letter_reason_rows()], ids=lambda row: row.split("`")[1])
def test_every_reason_is_listed(row):
    assert row in text("operations.md").splitlines()


@pytest.mark.parametrize("start", list(state_names()))
def test_every_state_is_listed(start):
    assert start in text("operations.md")


@pytest.mark.parametrize("code", EXIT_CODES)
def test_every_exit_code_is_listed(code):
    assert f"| `{code}` |" in section(text("operations.md"), "Exit codes")


# --------------------------------------------------------------------------------------------------- the pages


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_links_between_the_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text(page)):
        assert (DOCS / target).exists(), target


# --------------------------------------------------------------------------------------------------- architecture


def modules() -> list[str]:
    source = ROOT / "daemon" / "mesh_itk3"
    found = [path for folder in ("stages", "adapters", "adapters/ledger") for path in (source / folder).glob("*.py")]
    return sorted(path.name for path in found if path.stem != "__init__")


@pytest.mark.parametrize("module", modules())
def test_every_module_with_a_step_or_with_input_and_output_has_its_place_in_the_architecture(module):
    places, _, _ = section(text("architecture.md"), "Where to change what").partition("\n`simulator/`")

    assert re.search(rf"[`/]{module.removesuffix('.py')}(\.py)?`", places)
