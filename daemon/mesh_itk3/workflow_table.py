"""The workflow table: the shipped data file, with what the configuration says of single workflows put over it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

from mesh_itk3.itk3.workflows import BY_DECLARATION, Workflow, WorkflowTable
from mesh_itk3.settings_tables import WorkflowSettings

FILE: Final = "workflows.toml"
NEVER_ANSWERED: Final = "NONE"
"""As the cross-reference of the NHS test harness writes it."""


@lru_cache(maxsize=1)
def shipped() -> WorkflowTable:
    """The table that comes with the daemon."""
    return WorkflowTable(tuple(_row(name, given) for name, given in tomllib.loads(_shipped_file().read_text("utf-8")).items()))


def _shipped_file() -> Traversable:
    """In an installed package the file stands beside the code; in the source tree, in `config/`."""
    packaged = resources.files("mesh_itk3").joinpath(FILE)
    return packaged if packaged.is_file() else Path(__file__).parents[2] / "config" / FILE


def with_overrides(table: WorkflowTable, overrides: Mapping[str, WorkflowSettings]) -> WorkflowTable:
    """What an override does not name stays as it was. A workflow without a row gets one."""
    rows = {row.workflow_id: row for row in table.rows}
    for workflow_id, override in overrides.items():
        given = override.model_dump(include=set(_COLUMNS), exclude_none=True)
        if given:
            row = rows.get(workflow_id) or Workflow(workflow_id, BY_DECLARATION, source="configuration")
            rows[workflow_id] = replace(row, **_values(given))
    return WorkflowTable(tuple(rows.values()))


def _row(workflow_id: str, given: Mapping[str, Any]) -> Workflow:
    return Workflow(workflow_id, **_values(given))


_COLUMNS: Final = (
    "ack_workflow_id",
    "event_code",
    "routed_by_look_up",
    "required_flags",
    "local_extensions",
    "approved_attachments",
)


def _values(given: Mapping[str, Any]) -> dict[str, Any]:
    values = {key: frozenset(value) if isinstance(value, list | tuple) else value for key, value in given.items()}
    if values.get("ack_workflow_id") == NEVER_ANSWERED:
        values["ack_workflow_id"] = None
    return values
