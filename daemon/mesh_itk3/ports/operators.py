"""What a person does to messages and responses, or has done to all of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from mesh_itk3.ports.messages import Entry, MessageKey
from mesh_itk3.ports.outbox import ResponseStep
from mesh_itk3.ports.path import Step


class MessageInProgress(Exception):
    """A living daemon works on this message at this moment: nobody can stop it in the middle. Try again in a moment."""


class OperatorActs(Protocol):
    """What the commands that change something ask of the ledger."""

    def act(self, steps: Sequence[Step], responses: Sequence[ResponseStep], now: datetime) -> None:
        """What an operator does to messages and to responses of ours, in one transaction or not at all: as `apply` and
        `apply_responses`. With an infrastructure response that is owed again comes the business response that was parked
        with it. Raises MessageInProgress where a living daemon has claimed one of the messages; what a dead one has left
        claimed is moved, and `is_alone` from then on. Raises LedgerConflict, StepRefused.
        """

    def mark_seen(self, key: MessageKey, entry: Entry) -> int:
        """A person (`entry.who`) knows of everything that stands in `status` about this message and our responses to it;
        how many things those were. Nothing is written where there is none. Safe to repeat.
        """

    def make_all_due(self, mailbox_ids: Sequence[str]) -> None:
        """Forgets the waiting times of messages and responses: what `--once` begins with (design rule 9)."""

    def move_back(self, mailbox_ids: Sequence[str], by: timedelta) -> None:
        """Every message and response that waits is due so much earlier: the clock has been set back by that. What was put off
        before the clock went ahead comes early by as much, for nobody knows it from the rest.
        """

    def mark_restored(self, mailbox_ids: Sequence[str], now: datetime) -> int:
        """After a restore, before letters are taken up: what is owed may have been sent since the backup, and what comes next
        may have been answered. From now on each response owed, and each one that is written, counts as a send whose outcome
        is not known, and is looked up before it is sent (design rule 15); how many are owed. Of these mailboxes; of a ledger
        in a file, of every other that it holds, too. Only while nobody collects. Safe to repeat.
        """

    def end_restoring(self, mailbox_ids: Sequence[str]) -> None:
        """The letters are taken up: what comes from now on has never been answered. Of the same mailboxes. Without a
        `mark_restored` before it, nothing.
        """
