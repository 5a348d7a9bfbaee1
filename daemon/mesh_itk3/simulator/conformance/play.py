"""The hospital's side of one case: does each step in its turn, and keeps all that comes back."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from mesh_itk3.simulator import sandbox
from mesh_itk3.simulator.conformance import edits, replies
from mesh_itk3.simulator.conformance.case import Case, Decision, Letter, Message, NonDelivery, Raw, Redelivery, Reply, Sample
from mesh_itk3.simulator.conformance.judge import Observed, Sent
from mesh_itk3.simulator.conformance.mesh import Mesh
from mesh_itk3.simulator.conformance.practice import Practice
from mesh_itk3.simulator.conformance.private import private_words
from mesh_itk3.simulator.correspondence import Received
from mesh_itk3.simulator.hospital import Hospital
from mesh_itk3.simulator.response_reader import header_id_of

GIVE_UP_AFTER_S: Final = 60.0
"""When nothing has come for so long. Far above the usual second or two: a busy machine must not make a case fail."""
DECIDE_AGAIN_AFTER_S: Final = 1.0
CLOCK_TOLERANCE: Final = timedelta(seconds=5)


class CasePlay:
    """One case, from its first message to its last response. Its hospital has a mailbox of its own: whatever comes into
    it belongs to this case.
    """

    def __init__(self, case: Case, mailbox_id: str, practice: Practice, mesh: Mesh, samples: Path | None) -> None:
        self.case = case
        self.mailbox_id = mailbox_id
        self.practice = practice
        self.sent: list[Sent] = []
        self.received: list[Received] = []
        self.problems: list[str] = []
        self.is_over = False
        self._mesh = mesh
        self._samples = samples
        self._hospital = Hospital(mesh.url, mailbox_id, sandbox.PASSWORD, sandbox.SHARED_KEY)
        self._done = 0
        """Steps that have been done."""
        self._began = self._step_began = self._last_news = time.monotonic()
        self._began_at = datetime.now(UTC)
        self._decide_at = 0.0

    def close(self) -> None:
        self._hospital.close()

    # ------------------------------------------------------------------------------------ playing

    def advance(self) -> None:
        """Reads what has come, and does the next step where everything before it has come."""
        self.listen()
        if self.is_over or len(self.received) < self._expected():
            self._give_up_if_too_long()
        elif self._done == len(self.case.steps):
            self.is_over = True
        else:
            self._do(self._done)

    def listen(self) -> None:
        new = self._hospital.read_inbox()
        self.received += new
        if new:
            self._last_news = time.monotonic()

    @property
    def waits_since_s(self) -> float:
        """How long nothing has happened here."""
        return time.monotonic() - max(self._last_news, self._step_began)

    def give_up(self) -> None:
        """Nothing more will come: what is missing is said by the judge."""
        self.is_over = True

    def _expected(self) -> int:
        steps = self.case.steps[: self._done]
        return sum(len(step.answers) * (step.action.times if isinstance(step.action, Message) else 1) for step in steps)

    def _give_up_if_too_long(self) -> None:
        if self.waits_since_s > GIVE_UP_AFTER_S:
            self.is_over = True

    def _do(self, number: int) -> None:
        match self.case.steps[number].action:
            case Message() as message:
                self._send(number, message)
            case Reply() as reply:
                self._reply(number, reply)
            case Decision(code):
                if not self._decide(code):
                    return
            case Redelivery():
                self._mesh.list_again(self.sent[0].mesh_message_id)
            case NonDelivery():
                self._lose_last_response()
        self._done += 1
        self._step_began = time.monotonic()

    def _send(self, number: int, message: Message) -> None:
        if not self.sent:
            self._began, self._began_at = time.monotonic(), datetime.now(UTC)
        for copy in range(message.times):
            name = self.case.name if message.times == 1 else f"{self.case.name}/{copy}"
            body = self.body_of(message, name)
            header_id = (
                message.content.message_header_id(name, self.mailbox_id)
                if isinstance(message.content, Letter)
                else _id_in(message, body)
            )
            self._post(number, message, body, header_id)

    def body_of(self, message: Message, name: str) -> bytes:
        """What is sent, before any compression."""
        match message.content:
            case Letter() as letter:
                return letter.body(name, self.mailbox_id)
            case Sample() as sample if self._samples is not None:
                return sample.read(self._samples)
            case Raw(content):
                return content
        raise ValueError("a sample without its folder")

    def _post(self, number: int, message: Message, body: bytes, header_id: str | None) -> None:
        sent = self._hospital.send(
            edits.gzipped(body) if message.is_gzip else body,
            to=self.practice.setup.mailbox_id,
            workflow_id=message.workflow_id,
            chunk_bytes=message.chunk_bytes,
            compress=message.line_gzip,
            is_gzip=message.is_gzip or message.claims_gzip,
            content_type=message.content_type,
        )
        self.sent.append(Sent(number, sent.mesh_message_id, message.workflow_id, header_id, body))

    def _reply(self, number: int, reply: Reply) -> None:
        seed = self.case.name if reply.again else f"{self.case.name}/{number}"
        known = self.received[-1].response if self.received else None
        answers = known.message_header_id if known and reply.is_known else None
        if reply.again:
            previous = self.sent[-1]
            body, header_id = previous.body, previous.message_header_id
        else:
            body = replies.a_response(
                seed=seed,
                code=reply.code,
                answers=answers or "5ca1ab1e-0000-4000-8000-000000000000",
                asks=reply.asks,
                mailbox_id=self.mailbox_id,
            )
            header_id = replies.message_header_id(seed)
            for edit in reply.edits:
                body = edit(body)
        self._post(number, Message(Raw(body), reply.workflow_id), body, header_id)

    def _decide(self, code: str) -> bool:
        """Tried again until the message waits for it."""
        if time.monotonic() < self._decide_at:
            return False
        self._decide_at = time.monotonic() + DECIDE_AGAIN_AFTER_S
        if self.practice.decide(self.sent[0].mesh_message_id, code):
            return True
        if time.monotonic() - self._step_began > GIVE_UP_AFTER_S:
            self.problems.append("the decision was never taken")
            self.is_over = True
        return False

    def _lose_last_response(self) -> None:
        last = self.received[-1]
        self._mesh.report_undelivered(
            to=self.practice.setup.mailbox_id,
            mesh_message_id=last.mesh_message_id,
            local_id=last.local_id,
            workflow_id=last.workflow_id,
        )

    # ------------------------------------------------------------------------------------ afterwards

    @property
    def duration_s(self) -> float:
        """From the first message to the last thing that came."""
        return max(0.0, max(self._last_news, self._step_began) - self._began)

    def sent_ids(self, *, is_left: bool) -> frozenset[str]:
        """MESH ids of what the practice has to leave in MESH, or else of what it has to take."""
        return frozenset(
            sent.mesh_message_id for sent in self.sent if (self.case.steps[sent.step].becomes == "left in MESH") == is_left
        )

    def observed(
        self,
        records: Mapping[str, Mapping[str, Any]],
        *,
        left: frozenset[str],
        refused: frozenset[str],
        owed: frozenset[str],
    ) -> Observed:
        """All that came of it, with what its practice says."""
        bodies = {sent.mesh_message_id: sent.body for sent in self.sent}
        filed = self.practice.filed(bodies)
        return Observed(
            sent=tuple(self.sent),
            received=tuple(self.received),
            records={key: row for key, row in records.items() if key in bodies},
            filed={key: letter for key, letter in filed.items() if key in bodies},
            left=left,
            refused=refused,
            owed=owed,
            earliest=self._began_at - CLOCK_TOLERANCE,
            latest=datetime.now(UTC) + CLOCK_TOLERANCE,
            practice_mailbox_id=self.practice.setup.mailbox_id,
            practice_ods=self.practice.setup.ods_code,
            private=private_words(self.case, bodies.values()),
            problems=tuple(self.problems),
        )


def _id_in(message: Message, body: bytes) -> str | None:
    return header_id_of(body) if isinstance(message.content, Sample) else None
