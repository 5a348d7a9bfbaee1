"""What installed handlers may not declare: the same messages twice, against the workflow table, words that no ledger takes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from itertools import combinations
from typing import TYPE_CHECKING, Final

from mesh_itk3.itk3.workflows import BY_DECLARATION, WorkflowTable
from mesh_itk3.reasons import Reason
from mesh_itk3.settings_errors import HandlerConflict, short_name

if TYPE_CHECKING:
    from mesh_itk3.handler import Declaration
    from mesh_itk3.registry import Found

_REASON: Final = re.compile(r"[a-z0-9_]{1,64}")


def refuse_conflicts(found: Collection[Found], workflows: WorkflowTable) -> None:
    """Raises HandlerConflict with everything that is wrong."""
    problems = [problem for one in found for problem in (*_contradictions(one, workflows), *_unusable_reasons(one))]
    for one, other in combinations(found, 2):
        problems += _disagreements(one, other)
    if problems:
        raise HandlerConflict(problems)


def _contradictions(one: Found, workflows: WorkflowTable) -> Iterator[str]:
    """Between a declaration and the workflow table (design rule 17)."""
    if one.declaration is None:
        return
    for workflow_id, response_workflow_id in one.declaration.workflows.items():
        row = workflows.get(workflow_id)
        if workflows.is_response_workflow(workflow_id) or response_workflow_id == workflow_id:
            yield f"handler {_of(one)} takes {short_name(workflow_id)}, which carries responses"
        elif row is not None and row.ack_workflow_id not in (response_workflow_id, BY_DECLARATION):
            said, right = response_workflow_id or "none", row.ack_workflow_id or "none"
            yield (
                f"handler {_of(one)} names {short_name(said)} as the response workflow of {workflow_id}; "
                f"the workflow table has {right}"
            )


def _unusable_reasons(one: Found) -> Iterator[str]:
    """They stand in the ledger beside our own reasons, and in logs."""
    if one.declaration is None or not one.is_enabled:
        return
    for word, text in one.declaration.reasons.items():
        shown = short_name(word)
        if not (isinstance(word, str) and _REASON.fullmatch(word)):
            yield f"handler {_of(one)} declares the reason {shown!a}, which is not written [a-z0-9_]{{1,64}}"
        elif word in Reason._value2member_map_:
            yield f"handler {_of(one)} declares the reason {shown}, which is a reason of this program itself"
        elif not (isinstance(text, str) and text.strip()):
            yield f"handler {_of(one)} declares the reason {shown} without a sentence"


def _disagreements(one: Found, other: Found) -> Iterator[str]:
    both = f"handlers {_of(one)} and {_of(other)}"
    if one.name == other.name:
        yield f"{both} have the same name: uninstall one"
        return
    if one.declaration is None or other.declaration is None:
        return
    here, there = one.declaration.workflows, other.declaration.workflows
    for workflow_id in sorted(here.keys() & there.keys()):
        if here[workflow_id] != there[workflow_id]:
            yield f"{both} name different response workflows of {workflow_id}"
    for workflow_id in sorted((here.keys() & set(there.values())) | (there.keys() & set(here.values()))):
        yield f"{both} disagree: {workflow_id} carries messages for one and responses for the other"
    shared = sorted(here.keys() & there.keys())
    if shared and one.is_enabled and other.is_enabled and _overlap(one.declaration, other.declaration):
        yield f"{both} both take {', '.join(shared)}: disable one, [handlers.{other.name}] enabled = false"


def _overlap(one: Declaration, other: Declaration) -> bool:
    """Whether a message on a workflow that both take could fit both. Empty means any."""
    pairs = ((one.event_codes, other.event_codes), (one.composition_types, other.composition_types))
    return all(not here or not there or here & there for here, there in pairs)


def _of(one: Found) -> str:
    return f"{short_name(one.name)} of {one.provenance}"
