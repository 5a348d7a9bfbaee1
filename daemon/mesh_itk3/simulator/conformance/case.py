"""What a conformance case is: a row of data that says what is sent and what has to come back. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from mesh_itk3.simulator.choices import KINDS
from mesh_itk3.simulator.fhir import Ids
from mesh_itk3.simulator.messages import a_message, choose

Edit = Callable[[bytes], bytes]
Becomes = Literal[
    "completed", "rejected", "awaiting_decision", "parked", "left in MESH", "correlated", "uncorrelated"
]  # fmt: skip
"""The daemon's own word for the message at the end; `left in MESH`: it has no word for it, and the message is still there."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One response that has to come back."""

    code: str
    names_message: bool = True
    """False: the original's MessageHeader.id could not be read, and the fixed string stands in its place."""
    sender_reference: str = "None"
    """What has to be echoed."""
    asks: bool = False
    """InfAckRequested of the response itself: true in the pattern full acknowledgement only."""
    about: int | None = None
    """The step whose message it answers; None: the step after which it comes."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message of the simulator's: its kind, what is changed about it, and what is then done to its bytes."""

    kind: str = "ITK003D"
    changes: Mapping[str, Any] = field(default_factory=dict)
    edits: tuple[Edit, ...] = ()
    seed: str | None = None
    """Two letters of one seed share their identifiers; None: the case's own name."""

    def body(self, case_name: str, mailbox_id: str) -> bytes:
        """The same bytes for the same arguments, always. Raises ValueError where an edit finds nothing to change."""
        body = a_message(self.kind, **(self._usual(case_name, mailbox_id) | dict(self.changes)))
        for edit in self.edits:
            body = edit(body)
        return body

    def message_header_id(self, case_name: str, mailbox_id: str) -> str:
        return choose(self.kind, **(self._usual(case_name, mailbox_id) | dict(self.changes))).message_header_id

    def ids(self, case_name: str) -> Ids:
        """Draws the identifiers of this letter's resources."""
        return choose(self.kind, **self._usual(case_name, "")).ids

    def _usual(self, case_name: str, mailbox_id: str) -> dict[str, Any]:
        usual = {"seed": f"conformance/{self.seed or case_name}", "source_endpoint": mailbox_id}
        return usual if self.kind.startswith("ITK007") else usual | {"optional_sections": False}


@dataclass(frozen=True, slots=True)
class Sample:
    """An official sample, sent as it is: its file under the folder of samples."""

    file: str
    message_header_id: str | None = None

    def read(self, samples: Path) -> bytes:
        return (samples / self.file).read_bytes()


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes that no builder makes."""

    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Message:
    """The hospital sends something through MESH."""

    content: Letter | Sample | Raw
    workflow_id: str = "TOC_FHIR_IP_DISCH"
    chunk_bytes: int | None = None
    line_gzip: bool = False
    """Compressed for the line: Content-Encoding."""
    is_gzip: bool = False
    """Compressed by its sender: Mex-Content-Compressed."""
    claims_gzip: bool = False
    """Sent as it is, and said to be compressed by its sender."""
    content_type: str = "application/fhir+xml"
    times: int = 1
    """So many different messages of this kind, each answered in the same way."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A person at the practice decides, with the command that people use."""

    code: str


@dataclass(frozen=True, slots=True)
class Redelivery:
    """MESH lists the case's first message again, as it does where an acknowledgement was lost."""


@dataclass(frozen=True, slots=True)
class NonDelivery:
    """MESH reports that it could not deliver the last response of the practice."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The hospital answers the practice's last response with a response of its own."""

    code: str
    asks: bool
    """InfAckRequested of this response."""
    is_known: bool = True
    """False: it answers something that the practice never sent."""
    workflow_id: str = "TOC_FHIR_IP_DISCH_ACK"
    edits: tuple[Edit, ...] = ()
    again: bool = False
    """The same bytes as the reply before."""


Action = Message | Decision | Redelivery | NonDelivery | Reply


@dataclass(frozen=True, slots=True)
class Step:
    """Something is done; the next step waits until these responses have come."""

    action: Action
    answers: tuple[Answer, ...] = ()
    becomes: Becomes | None = None
    """What the practice's daemon says of this message at the end; None: it says nothing of its own about this step."""
    is_filed: bool = False
    attachments: int | None = None
    """How many attachments stand beside the filed letter."""
    repeats: int | None = None
    """The step whose message this one repeats, as the practice has to have it in its record."""
    is_response_refused: bool = False
    """The hospital refuses a response to it: the practice has to raise that."""
    is_untold: bool = False
    """The practice has to mark that the sender was not told, and has to raise it."""
    has_differing_bytes: bool = False
    """The practice has to mark that the repetition's bytes differ."""
    response_states: tuple[str, ...] = ()
    """What the daemon says has become of the responses; empty: that MESH has taken them."""
    warnings: tuple[str, ...] = ()
    """Rules that the message breaks and the strictness waives: each has to stand in the record."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    name: str
    shows: str
    setup: str
    steps: tuple[Step, ...]
    requirements: tuple[str, ...] = ()
    group: str = ""

    @property
    def sample_files(self) -> tuple[str, ...]:
        """The official samples that it needs."""
        contents = (step.action.content for step in self.steps if isinstance(step.action, Message))
        return tuple(content.file for content in contents if isinstance(content, Sample))


# ------------------------------------------------------------------------------------------------ the words of the tables


def letter(kind: str = "ITK003D", *edits: Edit, seed: str | None = None, **changes: Any) -> Letter:
    """`letter("ITK004D", handling=False)`; see `choices.Choices` for what can be changed."""
    return Letter(kind, changes, edits, seed)


def message(content: Letter | Sample | Raw, workflow_id: str | None = None, **how: Any) -> Message:
    """On its kind's usual workflow, unless another is named."""
    usual = KINDS[content.kind].workflow_id if isinstance(content, Letter) else "TOC_FHIR_IP_DISCH"
    if isinstance(content, Letter) and content.changes.get("form") == "json":
        how = {"content_type": "application/fhir+json"} | how
    return Message(content, workflow_id or usual, **how)


def accepted(sent: Letter | Message, *codes: str, reference: str = "None", is_filed: bool = True, **more: Any) -> Step:
    """It is taken; these responses come, in this order, and no other."""
    answers = tuple(Answer(code, sender_reference=reference) for code in codes)
    return Step(as_message(sent), answers, more.pop("becomes", "completed"), is_filed, **more)


def refused(
    sent: Letter | Message, code: str | None, *, reference: str = "None", names_message: bool = True, **more: Any
) -> Step:
    """It is not taken: one negative infrastructure response, or none where the sender does not want one; nothing is filed."""
    answers = (Answer(code, names_message, reference),) if code else ()
    return Step(as_message(sent), answers, "rejected", is_untold=code is None, **more)


def as_message(sent: Letter | Message) -> Message:
    return message(sent) if isinstance(sent, Letter) else sent


BOTH: Final = ("20013", "30001")
"""Taken, and the patient is registered here."""
