"""The workflow table: what is shipped, what a configuration puts over it, and that nothing is ever made from a name."""

from __future__ import annotations

import ast
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from mesh_itk3.commands import checks_here
from mesh_itk3.itk3.attachment_types import KINDS
from mesh_itk3.registry import registry_of
from mesh_itk3.settings import WorkflowSettings, load_settings
from mesh_itk3.settings_errors import ConfigInvalid, HandlerConflict
from mesh_itk3.workflow_table import NEVER_ANSWERED, shipped, with_overrides

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "config" / "workflows.toml"
SETTINGS = """
[mesh]
environment = "sandbox"
url = "http://127.0.0.1:8700"
shared_key = "x"
[mailboxes.X26ABC2]
ods_code = "A81001"
password = "x"
"""


OFF = {"MESH_ITK3_WORKFLOWS__TOC_FHIR_OP_ATTEN__ROUTED_BY_LOOK_UP": "false"}


def settings(tmp_path: Path, more: str = "", environ: dict[str, str] | None = None):
    path = tmp_path / "mesh-itk3.toml"
    path.write_text(SETTINGS + more)
    return load_settings(path, None, environ or {})


# --------------------------------------------------------------------------------------------------- what is shipped


def test_every_row_of_the_shipped_file_is_whole():
    rows = tomllib.loads(FILE.read_text("utf-8"))
    assert list(rows) == [row.workflow_id for row in shipped().rows]
    for workflow_id, row in rows.items():
        assert row["source"], workflow_id
        assert row["payload"], workflow_id
        assert row["ack_workflow_id"] == NEVER_ANSWERED or row["ack_workflow_id"] in rows, workflow_id
        assert set(row.get("approved_attachments", ())) <= KINDS, workflow_id


def test_practices_are_looked_up_for_transfer_of_care_and_gp_connect():
    assert {row.workflow_id for row in shipped().rows if row.routed_by_look_up} == {
        "TOC_FHIR_IP_DISCH", "TOC_FHIR_MH_DISCH", "TOC_FHIR_EC_DISCH", "TOC_FHIR_OP_ATTEN", "TOC_OUTP_ATT_DMS",
        "GPFED_CONSULT_REPORT", "GPFED_CONSULT_REPORT_ACK", "GPCONNECT_UPDATE_RECORD", "GPCONNECT_UPDATE_RECORD_ACK",
        "GPCONNECT_SEND_DOCUMENT",
    }  # fmt: skip


def test_a_consultation_report_has_to_ask_for_both_responses():
    assert shipped().get("GPFED_CONSULT_REPORT").required_flags == {"InfAckRequested", "BusAckRequested"}
    assert {row.workflow_id for row in shipped().rows if row.required_flags} == {"GPFED_CONSULT_REPORT"}


def strings(path: Path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("root", ["daemon", "handlers", "examples"])
def test_no_code_makes_a_response_workflow_out_of_a_name(root):
    """A suffix would have to stand in a string of its own, or begin one part of a formatted one."""
    files = sorted((ROOT / root).rglob("*.py"))
    assert files
    assert [path.name for path in files for text in strings(path) if text.upper().startswith("_ACK")] == []


# --------------------------------------------------------------------------------------------------- overrides


def test_an_override_changes_what_it_names_and_nothing_else():
    table = with_overrides(shipped(), {"TOC_FHIR_IP_DISCH": WorkflowSettings(routed_by_look_up=False)})
    before, after = shipped().get("TOC_FHIR_IP_DISCH"), table.get("TOC_FHIR_IP_DISCH")
    assert (before.routed_by_look_up, after.routed_by_look_up) == (True, False)
    assert (after.ack_workflow_id, after.event_code, after.approved_attachments) == (
        before.ack_workflow_id, before.event_code, before.approved_attachments,
    )  # fmt: skip
    assert table.get("TOC_FHIR_MH_DISCH") == shipped().get("TOC_FHIR_MH_DISCH")


def test_strictness_alone_makes_no_row():
    assert with_overrides(shipped(), {"OURS": WorkflowSettings(strictness="strict")}).get("OURS") is None


def test_a_workflow_of_ones_own_is_known_with_its_response_workflow(tmp_path):
    more = '[workflows.LOCAL_LETTER]\nack_workflow_id = "LOCAL_LETTER_REPLY"\nevent_code = "ITK006D"\n'
    registry = registry_of(settings(tmp_path, more))
    assert registry.response_workflow("LOCAL_LETTER") == "LOCAL_LETTER_REPLY"
    assert registry.is_response_workflow("LOCAL_LETTER_REPLY")
    assert not registry.is_ours("LOCAL_LETTER")


def test_a_workflow_can_be_set_to_be_never_answered(tmp_path):
    registry = registry_of(settings(tmp_path, '[workflows.TOC_AE_DMS]\nack_workflow_id = "NONE"\n'))
    assert registry.response_workflow("TOC_AE_DMS") is None
    assert not registry.is_response_workflow("NONE")


def test_lists_can_be_given_in_the_environment(tmp_path):
    environ = {
        "MESH_ITK3_WORKFLOWS__TOC_FHIR_IP_DISCH__APPROVED_ATTACHMENTS": "pdf, image/gif",
        "MESH_ITK3_WORKFLOWS__TOC_FHIR_IP_DISCH__ROUTED_BY_LOOK_UP": "false",
    }
    row = registry_of(settings(tmp_path, environ=environ)).workflow("TOC_FHIR_IP_DISCH")
    assert (row.approved_attachments, row.routed_by_look_up) == ({"pdf", "image/gif"}, False)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ('ack_workflow_id = "ELSEWHERE"', "names TOC_FHIR_IP_DISCH_ACK as the response workflow of TOC_FHIR_IP_DISCH"),
        ('ack_workflow_id = "NONE"', "the workflow table has none"),
        ('ack_workflow_id = "TOC_FHIR_IP_DISCH"', "takes TOC_FHIR_IP_DISCH, which carries responses"),
    ],
)
def test_an_override_that_contradicts_a_handlers_declaration_is_refused(tmp_path, override, said):
    with pytest.raises(HandlerConflict) as caught:
        registry_of(settings(tmp_path, f"[workflows.TOC_FHIR_IP_DISCH]\n{override}\n"))
    (line,) = caught.value.problems
    assert said in line
    assert "transfer_of_care of mesh-itk3" in line


def test_a_workflow_that_nothing_knows_is_refused_even_with_columns_of_its_own(tmp_path):
    with pytest.raises(ConfigInvalid) as caught:
        registry_of(settings(tmp_path, '[workflows.TOC_FHIR_IP_DISH]\napproved_attachments = ["pdf"]\n'))
    assert caught.value.problems == (
        "mesh-itk3.toml: [workflows.TOC_FHIR_IP_DISH]: no such workflow; did you mean TOC_FHIR_IP_DISCH?",
    )


def test_a_declared_workflow_outside_the_table_can_have_columns_and_is_answered_as_declared(tmp_path):
    """Its handler says where answers go: a row without a response workflow contradicts nothing."""
    table = with_overrides(shipped(), {"OURS": WorkflowSettings(approved_attachments=("pdf",))})
    assert table.get("OURS").approved_attachments == {"pdf"}
    assert not table.is_response_workflow("")


def test_check_says_on_which_workflows_a_list_of_senders_does_not_hold(tmp_path):
    configured = settings(tmp_path)
    assert list(checks_here.senders(configured, registry_of(configured))) == []

    listed = settings(tmp_path, environ={"MESH_ITK3_MAILBOXES__X26ABC2__AUTHORISED_SENDERS": "X26ABC1", **OFF})
    (finding,) = checks_here.senders(listed, registry_of(listed))
    assert (finding.outcome, finding.check) == ("warning", "senders of X26ABC2")
    assert "TOC_FHIR_IP_DISCH" in finding.text
    assert "TOC_FHIR_OP_ATTEN" not in finding.text
    assert "DIGMED" not in finding.text


def test_every_shipped_handler_is_there_for_these_tests():
    assert {"transfer_of_care", "discharge_letters"} <= {point.name for point in entry_points(group="mesh_itk3.handlers")}
