"""The durable record of everything, put together of what each part of the program needs of it."""

from __future__ import annotations

from typing import Protocol

from mesh_itk3.ports.arrivals import Arrivals
from mesh_itk3.ports.collectors import Collecting
from mesh_itk3.ports.mailbox_state import MailboxStates
from mesh_itk3.ports.operators import OperatorActs
from mesh_itk3.ports.outbox import Outbox
from mesh_itk3.ports.path import MessagePath
from mesh_itk3.ports.pruning import Pruning
from mesh_itk3.ports.records import Records


class LedgerConflict(Exception):
    """A row was not in the state that a step expected: somebody else has moved it. Read it again."""


class StepRefused(Exception):
    """The ledger cannot hold a value of this step (too long, or no text), or the step contradicts what is there: a fault
    of the step. Its whole batch was undone; the others pass without it, and it fails however often it is tried.
    """


class LedgerUnavailable(Exception):
    """The ledger cannot be used (missing server, damaged file, newer schema); the text says which, for an operator."""


class LedgerDamaged(LedgerUnavailable):
    """The ledger's file is damaged: nothing may be written into it any more. The text names the way out."""


class StageLedger(MessagePath, Outbox, Records, Protocol):
    """What the stages after collect need."""


class Ledger(Collecting, MailboxStates, Arrivals, StageLedger, OperatorActs, Pruning, Protocol):
    """The durable record of everything. Each method, of every part, is one transaction, durable on return; all may raise
    LedgerUnavailable. Safe to use from several threads.
    """

    def close(self) -> None: ...
