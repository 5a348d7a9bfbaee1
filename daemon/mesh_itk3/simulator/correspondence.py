"""What a hospital sent, what it received, and which belongs to which. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from mesh_itk3.itk3.workflows import WorkflowTable
from mesh_itk3.simulator.response_reader import UNREADABLE, Level, Response

_DUPLICATE_MESSAGE: Final = "20007"


@dataclass(frozen=True, slots=True)
class Sent:
    """One message that MESH took from us."""

    mesh_message_id: str
    local_id: str
    workflow_id: str
    to_mailbox_id: str
    message_header_id: str | None
    """None: not to be read in what was sent."""
    bytes: int
    chunks: int
    sent_at: str


@dataclass(frozen=True, slots=True)
class Received:
    """One item of our inbox: an ITK3 response, a MESH report, or something that is neither."""

    mesh_message_id: str
    workflow_id: str
    local_id: str | None
    from_mailbox_id: str | None
    received_at: str
    response: Response | None = None
    report_of: str | None = None
    """Of a MESH report: the MESH id of the message that it is about."""
    report_code: str | None = None
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Answers:
    """All that came back for one message."""

    infrastructure: Received | None = None
    business: Received | None = None
    reports: tuple[Received, ...] = ()
    surplus: tuple[Received, ...] = ()
    """Responses of a level that had already been answered: there should never be any."""

    def to(self, level: Level) -> Response | None:
        """The response of this level, if it has come."""
        found = self.business if level == "business" else self.infrastructure
        return found.response if found else None

    def and_also(self, item: Received) -> Answers:
        """With one more item."""
        if item.response is None:
            return replace(self, reports=(*self.reports, item))
        level = item.response.level or "infrastructure"
        if self.to(level) is not None:
            return replace(self, surplus=(*self.surplus, item))
        return replace(self, business=item) if level == "business" else replace(self, infrastructure=item)


class Correspondence:
    """Files every received item under the message that it answers."""

    def __init__(self, workflows: WorkflowTable) -> None:
        self._workflows = workflows
        self._by_header: dict[str | None, list[Sent]] = defaultdict(list)
        self._by_response_workflow: dict[str, list[Sent]] = defaultdict(list)
        self._by_mesh_id: dict[str, Sent] = {}
        self._answers: dict[str, Answers] = {}
        self._unexplained: list[Received] = []

    def sent(self, message: Sent) -> None:
        self._by_header[message.message_header_id].append(message)
        row = self._workflows.get(message.workflow_id)
        if row is not None and row.ack_workflow_id:
            self._by_response_workflow[row.ack_workflow_id].append(message)
        self._by_mesh_id[message.mesh_message_id] = message

    def received(self, item: Received) -> None:
        message = self._message_of(item)
        if message is None:
            self._unexplained.append(item)
        else:
            self._answers[message.mesh_message_id] = self.answers_to(message).and_also(item)

    def answers_to(self, message: Sent) -> Answers:
        return self._answers.get(message.mesh_message_id, Answers())

    @property
    def unexplained(self) -> tuple[Received, ...]:
        return tuple(self._unexplained)

    def _message_of(self, item: Received) -> Sent | None:
        if item.response is None:
            return self._by_mesh_id.get(item.report_of or "")
        return self._first_lacking(item.response, self._candidates(item.response, item.workflow_id))

    def _candidates(self, response: Response, workflow_id: str) -> Sequence[Sent]:
        """A response that names nothing is for something sent on its workflow, before all for what had no legible id."""
        if response.answers != UNREADABLE:
            return self._by_header[response.answers]
        return sorted(self._by_response_workflow[workflow_id], key=lambda each: each.message_header_id is not None)

    def _first_lacking(self, response: Response, candidates: Sequence[Sent]) -> Sent | None:
        """A message sent twice has one MessageHeader.id: 20007 is for the last that lacks an answer, all else for the first."""
        level = response.level or "infrastructure"
        ordered = candidates[::-1] if response.code == _DUPLICATE_MESSAGE else candidates
        lacking = (each for each in ordered if self.answers_to(each).to(level) is None)
        return next(lacking, ordered[0] if ordered else None)
