"""The MESH workflows of ITK3 payloads and where their responses go: a table, never a suffix put on a string. PURE.

The rows that come with the daemon are data: `config/workflows.toml`, each with its source.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

BY_DECLARATION = ""
"""As `ack_workflow_id`: the table does not say, the handler's declaration does."""


@dataclass(frozen=True, slots=True)
class Workflow:
    """One row."""

    workflow_id: str
    ack_workflow_id: str | None
    """Where responses to it go; None: it is never answered; BY_DECLARATION: see there."""
    event_code: str | None = None
    """What its messages carry as MessageHeader.event.code, where a source says so."""
    payload: str = ""
    source: str = ""
    routed_by_look_up: bool = False
    """MESH finds the practice by the patient's demographics. Then any provider of care may be the sender, and 20003 and
    20012 are not used (ITK-ResponseCodes-1)."""
    required_flags: frozenset[str] = frozenset()
    """`InfAckRequested`, `BusAckRequested`: those that the payload's guide wants true."""
    local_extensions: frozenset[str] = frozenset()
    """The values of LocalExtension that the payload's guide allows; empty: it says nothing."""
    approved_attachments: frozenset[str] | None = None
    """Kinds (`pdf`) or media types (`image/gif`) that the payload's guide lists; None: no list is known."""


@dataclass(frozen=True)
class WorkflowTable:
    """Rows by workflow id."""

    rows: tuple[Workflow, ...]

    @cached_property
    def _by_id(self) -> dict[str, Workflow]:
        return {row.workflow_id: row for row in self.rows}

    @cached_property
    def _response_workflows(self) -> frozenset[str]:
        return frozenset(row.ack_workflow_id for row in self.rows if row.ack_workflow_id)

    def get(self, workflow_id: str) -> Workflow | None:
        return self._by_id.get(workflow_id)

    def is_response_workflow(self, workflow_id: str) -> bool:
        """Whether responses come on it: every value of the column ack_workflow_id."""
        return workflow_id in self._response_workflows
