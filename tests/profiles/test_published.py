"""The rules written by hand against the published profiles, and the published sample responses against the checker."""

from __future__ import annotations

from pathlib import Path

import pytest

from profiles import by_hand, definitions, responses
from profiles.elements import Node
from profiles.response_table import RECIPIENT_TYPES, RESPONSE_CODES

pytestmark = pytest.mark.examples


@pytest.fixture(scope="module")
def folder() -> Path:
    found = definitions.folder()
    if found is None:
        pytest.skip("the published profiles are not here: set ITK3_EXAMPLES to the folder of the public samples")
    return found


# What is left to the data type by hand (no response of ours can hold it), or to the resource.
LEFT_TO_THE_TYPE = {
    "Bundle.entry.resource",
    "Bundle.identifier.type",
    "Bundle.identifier.period",
    "Bundle.identifier.assigner",
}


def differences(ours: Node, theirs: Node, path: str) -> list[str]:
    if ours.most == theirs.most == 0:
        return []
    found = [] if told(ours) == told(theirs) else [f"{path}: {told(ours)} is {told(theirs)}"]
    if ours.children or path not in LEFT_TO_THE_TYPE:
        found += among(ours.children, theirs.children, path)
    return found + among(ours.slices, theirs.slices, path)


def told(node: Node) -> tuple:
    value_set = (node.value_set or "").rpartition("/")[2]
    most = 0 if node.most == 0 else node.most
    types = () if node.name.startswith("@") else node.types
    targets = () if node.name in ("type", "assigner", "partOf") else node.targets
    return (node.least, most, types, node.profiles, targets, node.fixed, node.max_length, value_set)


def among(ours: list[Node], theirs: list[Node], path: str) -> list[str]:
    if not theirs:
        return []
    mine, other = ({(node.slice_name or node.name): node for node in nodes if node.most != 0} for nodes in (ours, theirs))
    if [*mine] != [*other]:
        return [f"{path}: has {[*mine]} where there is {[*other]}"]
    return [line for name, node in mine.items() for line in differences(node, other[name], f"{path}.{name}")]


@pytest.mark.parametrize("kind", [*by_hand.RULES.resources])
def test_every_rule_by_hand_is_that_of_the_published_profile(folder, kind):
    ours, theirs = by_hand.RULES.resources[kind], definitions.published(folder).resources[kind]
    assert among(ours.children, theirs.children, kind) == []


def test_the_handling_extension_by_hand_is_the_published_one(folder):
    ours, theirs = by_hand.RULES.extensions[by_hand.HANDLING], definitions.published(folder).extensions[by_hand.HANDLING]
    assert among(ours.children, theirs.children, "Extension") == []


@pytest.mark.parametrize("system", ["ITK-ResponseCodes-1", "ITK-RecipientType-1"])
def test_codes_and_displays_by_hand_are_those_of_the_published_code_system(folder, system):
    ours = RECIPIENT_TYPES if "Recipient" in system else {code: row.display for code, row in RESPONSE_CODES.items()}
    assert definitions.displays(folder, system) == ours


def test_the_response_event_is_in_the_published_code_system(folder):
    assert definitions.displays(folder, "ITK-MessageEvent-2")["ITK008M"] == "ITK Response"


def test_the_reader_of_definitions_leaves_nothing_unread(folder):
    """As many elements in the trees as in the snapshots: none fell beside its parent."""

    def size(node: Node) -> int:
        return 1 + sum(size(each) for each in [*node.children, *node.slices])

    rules = definitions.published(folder)
    for name, node in {**rules.resources, by_hand.HANDLING: rules.extensions[by_hand.HANDLING]}.items():
        profile = responses.CLAIMED.get(name, "Extension-ITK-MessageHandling-2")
        text = (folder / f"{profile}.xml").read_text(encoding="utf-8-sig")
        assert size(node) == text.split("<differential>")[0].count("<element id="), name


# ------------------------------------------------------------------------------------- sample responses

NO_RECEIVER = "unresolved_reference: Bundle.entry.resource.MessageHeader.receiver"
SAMPLES = {
    "10001": [NO_RECEIVER],
    "10002": [NO_RECEIVER],
    "10003": [NO_RECEIVER],
    "20014": [NO_RECEIVER],
    "20015": ["not_the_id: Bundle.entry.fullUrl", "value: MessageDefinition"],
    "30004": ["not_of_this_code: OperationOutcome.issue.details.coding.display"],
}
"""What breaks ITK3 in the 28 published sample responses: a receiver that is not in the bundle; a fullUrl that is not the
resource's id and the `-Instance-` form of the definition; a run of blanks in a display. The others keep it.
"""
WITH_AN_ORGANISATION = {"10009", "10010"}


def test_the_sample_responses_break_itk3_only_where_it_is_known(folder):
    found = {file.stem: judged(file, responses.by_itk3) for file in (folder.parent / "responses").glob("*.xml")}
    assert len(found) == 28
    assert {code: broken for code, broken in found.items() if broken} == SAMPLES


def test_the_sample_responses_keep_less_than_gp_connect_asks(folder):
    """Negatives do not say why, and their sender is a person: what this daemon sends is stricter than the samples."""
    for file in (folder.parent / "responses").glob("*.xml"):
        expected = [] if file.stem in WITH_AN_ORGANISATION else ["no_organisation: MessageHeader.sender"]
        if RESPONSE_CODES[file.stem].is_negative:
            expected.append("missing_on_a_negative: OperationOutcome.issue.diagnostics")
        assert judged(file, responses.by_gp_connect) == expected, file.stem


def test_the_response_of_the_test_harness_names_no_mailbox_and_asks_of_a_positive_business_response(folder):
    file = folder.parent / "test-harness" / "ITK008M_ITK_Response.xml"
    assert judged(file, responses.by_itk3) == ["not_a_mailbox_id: MessageHeader.source.endpoint"]


@pytest.mark.parametrize(
    "template", ["mesh_ITK_Infrastructure", "mesh_ITK_Business", "itk3_ITK_Infrastructure", "itk3_ITK_Business"]
)
def test_a_template_that_nobody_filled_in_is_no_response(folder, template):
    file = folder.parent / "test-harness" / f"{template}_Acknowledgement_Bundle_Success.xml"
    found = judged(file, responses.by_itk3)
    assert "not_a_instant: Bundle.entry.resource.MessageHeader.timestamp" in found
    assert "binding: Bundle.entry.resource.OperationOutcome.issue.details" in found
    # The newer templates leave out four of the six keys.
    missing = [line for line in found if line.startswith("missing: Bundle.entry.resource.MessageHeader.extension")]
    assert len(missing) == (4 if template.startswith("mesh") else 0)


def judged(file: Path, judge) -> list[str]:
    root, _ = responses._tree(file.read_bytes())
    return [str(found) for found in judge(root)]
