"""The hospital's side of the demo, from the first message to the last answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from mesh_itk3.simulator.demo_cast import Part, Progress, parts
from mesh_itk3.simulator.demo_practice import Daemon, Filed, Folder, filed_letters, respond
from mesh_itk3.simulator.demo_view import View
from mesh_itk3.simulator.hospital import Hospital
from mesh_itk3.simulator.response_reader import Level
from mesh_itk3.simulator.sandbox import PRACTICE_MAILBOX

TICK_S: Final = 0.2
GIVE_UP_AFTER_S: Final = 60.0
"""Far above the usual ten seconds: a busy machine must not make the demo fail."""
LISTEN_ON_S: Final = 2.0
"""After the last expected answer: two more polls, in which nothing may come."""
DECIDE_AGAIN_AFTER_S: Final = 1.0
WHO: Final = "Dr Demo"

LEVELS: Final[tuple[Level, ...]] = ("infrastructure", "business")


class Play:
    """The hospital's side of the show: sends each part in its turn, and notes all that comes of it."""

    def __init__(self, folder: Folder, daemon: Daemon, hospital: Hospital, view: View) -> None:
        self.progress = [Progress(part) for part in parts(datetime.now(UTC), uuid4().hex)]
        self._folder, self._daemon, self._hospital, self._view = folder, daemon, hospital, view
        self._began = time.monotonic()
        self._decide_at = 0.0

    def run(self) -> None:
        """Returns when everything has come that should, and nothing more does; or when it is time to give up."""
        self._until(lambda: all(each.is_settled for each in self.progress), GIVE_UP_AFTER_S)
        self._until(lambda: False, LISTEN_ON_S)

    def _until(self, is_done: Callable[[], bool], within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while not is_done() and time.monotonic() < deadline:
            self._daemon.ensure_running()
            self._step()
            self._view.show(self.progress)
            time.sleep(TICK_S)

    def _step(self) -> None:
        for each in self.progress:
            if each.sent is None and self._is_due(each.part):
                self._send(each)
        self._hospital.read_inbox()
        filed = filed_letters(self._folder)
        for each in self.progress:
            if each.sent is not None:
                self._look_for_answers(each, each.sent.mesh_message_id, filed)
                self._decide(each, each.sent.mesh_message_id)

    def _is_due(self, part: Part) -> bool:
        return part.after is None or self.progress[part.after].answers.to("infrastructure") is not None

    def _send(self, each: Progress) -> None:
        part = each.part
        each.sent = self._hospital.send(
            part.body,
            to=PRACTICE_MAILBOX,
            workflow_id=part.workflow_id,
            chunk_bytes=part.chunk_bytes,
            filename="letter.xml",
        )
        chunks = f" in {each.sent.chunks} chunks" if each.sent.chunks > 1 else ""
        self._say(f"sent      {part.title}, {part.kind}, {len(part.body) / 1000:,.0f} kB{chunks}")
        self._view.show(self.progress)

    def _look_for_answers(self, each: Progress, mesh_message_id: str, filed: dict[str, Filed]) -> None:
        before, each.answers = each.answers, self._hospital.responses_to(each.sent) if each.sent else each.answers
        for level in LEVELS:
            response = each.answers.to(level)
            if response is not None and before.to(level) is None:
                self._say(f"answered  {each.part.title}: {response.code} {response.display}")
        letter = filed.get(mesh_message_id)
        if letter is not None and each.letter is None:
            each.letter, each.letter_problem = letter.path, _problem_of(letter, each.part)
            self._say(f"filed     {each.part.title}: letters/{letter.path}")

    def _decide(self, each: Progress, mesh_message_id: str) -> None:
        """The person of the demo: gives the decision once the message waits for it, with the command that a person uses."""
        waits = each.part.decision and not each.decided and each.answers.to("infrastructure") is not None
        if not waits or time.monotonic() < self._decide_at:
            return
        refusal = respond(self._folder, mesh_message_id, str(each.part.decision), WHO)
        self._decide_at = time.monotonic() + DECIDE_AGAIN_AFTER_S
        each.decided = refusal is None
        said = "" if refusal is None else f" was refused: {refusal}"
        self._say(f'decided   {each.part.title}: mesh-itk3 respond … {each.part.decision} --by "{WHO}"{said}')

    def _say(self, what: str) -> None:
        self._view.happened(time.monotonic() - self._began, what)


def _problem_of(letter: Filed, part: Part) -> str | None:
    if letter.missing:
        return f"filed without {', '.join(letter.missing)}"
    return None if letter.message == part.body else "the filed message is not the bytes that were sent"
