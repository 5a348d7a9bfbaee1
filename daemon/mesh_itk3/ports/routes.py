"""Which workflows are ours, and which handler takes a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mesh_itk3.handler import Declaration, Handler
    from mesh_itk3.itk3.workflows import Workflow


class Routed(Protocol):
    """The one handler that takes a message."""

    @property
    def name(self) -> str: ...

    @property
    def handler(self) -> Handler: ...

    @property
    def declaration(self) -> Declaration: ...


class Routes(Protocol):
    """Which workflows are ours, and who takes them (design rule 7). Implemented by the registry of handlers."""

    def is_ours(self, workflow_id: str) -> bool:
        """An installed handler names it, or it is the response workflow of one that does."""

    def is_response_workflow(self, workflow_id: str) -> bool:
        """Any response workflow of the table or of a declaration (design rule 17)."""

    def unavailable(self, workflow_id: str) -> str | None:
        """Why none of the handlers of this workflow can work now; None where one can, and for response workflows."""

    def response_workflow(self, workflow_id: str) -> str | None:
        """Where answers to this workflow go; None where it is never answered."""

    def workflow(self, workflow_id: str) -> Workflow | None:
        """Its row of the workflow table; None where it has none."""

    def event_codes(self, workflow_id: str) -> frozenset[str]:
        """The events that the handlers of this workflow take; empty: any."""

    def needs_document(self, workflow_id: str) -> bool:
        """Whether the payload has to be one ITK3 document."""

    def message_definitions(self, workflow_id: str) -> frozenset[str]:
        """The MessageDefinition URLs that the handlers of this workflow declare beside the known ones."""

    def route(self, workflow_id: str, event_code: str | None, composition_type: str | None) -> Routed | None:
        """The one handler of this message: by workflow, then event, then Composition.type. None: nobody takes it."""

    def by_name(self, name: str) -> Routed | None:
        """The working handler of this name."""
