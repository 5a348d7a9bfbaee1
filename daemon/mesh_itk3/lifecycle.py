"""The states of a message and of a response, and what may move them. PURE.

A message's ledger row *is* its progress: a stage takes what is in state X, decides, and in one transaction moves it to
Y and writes what is now owed. A pair that is absent from a table is an illegal move.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a message stands."""

    RECEIVED = "received"
    """Durable here; nothing of it has been read yet."""
    ACCEPTED = "accepted"
    """Positive infrastructure verdict; its handler has not finished with it."""
    REJECTED = "rejected"
    """Negative infrastructure verdict. Nothing more follows, whatever the flags asked."""
    COMPLETED = "completed"
    """Its handler has finished; what was asked for is owed, sent or delivered."""
    AWAITING_DECISION = "awaiting_decision"
    """A person has to decide the business response. Nothing is filed until then."""
    PARKED = "parked"
    """We could not go on, or an operator holds it; the bytes are kept and an operator has to act."""
    ABANDONED = "abandoned"
    """An operator has ended it for good: nothing more happens to it. The bytes are kept."""
    FOREIGN = "foreign"
    """On a workflow that is not ours: left in MESH unread, or spooled for another client."""
    CORRELATED = "correlated"
    """A response or report that answers something we sent."""
    UNCORRELATED = "uncorrelated"
    """A response or report that answers nothing we sent."""


class Move(StrEnum):
    """What can happen to a message."""

    ACCEPT = "accept"
    REJECT = "reject"
    CORRELATE = "correlate"
    FAIL_TO_CORRELATE = "fail_to_correlate"
    COMPLETE = "complete"
    DEFER = "defer"
    DECIDE = "decide"
    REMIND = "remind"
    TRY_LATER = "try_later"
    PARK = "park"
    HOLD = "hold"
    """An operator stops it."""
    RELEASE = "release"
    """An operator lets it go on where it was held."""
    RETRY = "retry"
    """An operator lets it be tried again from where it was parked."""
    ABANDON = "abandon"
    """An operator ends it."""
    FIND_BYTES = "find_bytes"
    """Its bytes, for want of which it was parked, are here again: MESH had not let go of them, or a restore has found them."""


TRANSITIONS: Final[dict[tuple[State, Move], State]] = {
    (State.RECEIVED, Move.ACCEPT): State.ACCEPTED,
    (State.RECEIVED, Move.REJECT): State.REJECTED,
    (State.RECEIVED, Move.CORRELATE): State.CORRELATED,
    (State.RECEIVED, Move.FAIL_TO_CORRELATE): State.UNCORRELATED,
    (State.RECEIVED, Move.TRY_LATER): State.RECEIVED,
    (State.RECEIVED, Move.PARK): State.PARKED,
    (State.ACCEPTED, Move.COMPLETE): State.COMPLETED,
    (State.ACCEPTED, Move.DEFER): State.AWAITING_DECISION,
    (State.ACCEPTED, Move.TRY_LATER): State.ACCEPTED,
    (State.ACCEPTED, Move.PARK): State.PARKED,
    (State.AWAITING_DECISION, Move.DECIDE): State.ACCEPTED,
    (State.AWAITING_DECISION, Move.REMIND): State.AWAITING_DECISION,
    (State.RECEIVED, Move.HOLD): State.PARKED,
    (State.ACCEPTED, Move.HOLD): State.PARKED,
    (State.AWAITING_DECISION, Move.HOLD): State.PARKED,
    (State.PARKED, Move.ABANDON): State.ABANDONED,
}

WAYS_BACK: Final[dict[tuple[State, Move], State]] = {
    (State.RECEIVED, Move.RETRY): State.RECEIVED,
    (State.ACCEPTED, Move.RETRY): State.ACCEPTED,
    (State.RECEIVED, Move.RELEASE): State.RECEIVED,
    (State.ACCEPTED, Move.RELEASE): State.ACCEPTED,
    (State.AWAITING_DECISION, Move.RELEASE): State.AWAITING_DECISION,
    (State.RECEIVED, Move.FIND_BYTES): State.RECEIVED,
    (State.ACCEPTED, Move.FIND_BYTES): State.ACCEPTED,
}
"""What leads out of `parked`, by the state that a message was parked from: always back there. A decision that waits is only
ever held, so that it is released and never retried. Whatever waits for more than its bytes waits for a person.
"""


class ResponseState(StrEnum):
    """Where a response of ours stands."""

    OWED = "owed"
    """Its bytes are written; MESH has not taken it yet, or we do not know whether it has."""
    SENT = "sent"
    """MESH has taken it."""
    DELIVERED = "delivered"
    """The other mailbox has acknowledged it."""
    UNDELIVERED = "undelivered"
    """MESH reported that it could not deliver it."""
    PARKED = "parked"
    """MESH refused it for good (400 or 417); an operator has to act."""


RESPONSE_TRANSITIONS: Final[frozenset[tuple[ResponseState, ResponseState]]] = frozenset(
    {
        (ResponseState.OWED, ResponseState.OWED),
        (ResponseState.OWED, ResponseState.SENT),
        (ResponseState.OWED, ResponseState.PARKED),
        # A send whose answer was lost may be reported undelivered before it has been looked up.
        (ResponseState.OWED, ResponseState.UNDELIVERED),
        (ResponseState.SENT, ResponseState.SENT),
        (ResponseState.SENT, ResponseState.DELIVERED),
        (ResponseState.SENT, ResponseState.UNDELIVERED),
        # What the other side answers to it may be noted at any time.
        (ResponseState.DELIVERED, ResponseState.DELIVERED),
        # A report may overtake tracking, and tracking a report: the later word of MESH stands.
        (ResponseState.DELIVERED, ResponseState.UNDELIVERED),
        # An operator lets it be sent again, or gives it up. MESH has not taken it.
        (ResponseState.PARKED, ResponseState.OWED),
        (ResponseState.PARKED, ResponseState.PARKED),
    }
)


class IllegalTransition(Exception):
    """A message was asked to make a move that its state does not allow: a fault of this program."""


def state_after(state: State, move: Move) -> State:
    """The state that `move` leads to. Raises IllegalTransition where the table has no such move."""
    try:
        return TRANSITIONS[(state, move)]
    except KeyError:
        raise IllegalTransition(f"{move} is not a move of a message that is {state}") from None


def state_back(parked_from: State, move: Move) -> State:
    """The state that `move` leads a parked message back to. Raises IllegalTransition where the table has no such move."""
    try:
        return WAYS_BACK[(parked_from, move)]
    except KeyError:
        raise IllegalTransition(f"{move} is not a move of a message that was parked from {parked_from}") from None


_PAIRS: Final = frozenset((old, new) for (old, _), new in TRANSITIONS.items()) | frozenset(
    (State.PARKED, new) for new in WAYS_BACK.values()
)


def check_transition(old: State, new: State) -> None:
    """Raises IllegalTransition unless some move leads from `old` to `new`."""
    if (old, new) not in _PAIRS:
        raise IllegalTransition(f"a message that is {old} cannot become {new}")


def check_response_transition(old: ResponseState, new: ResponseState) -> None:
    """Raises IllegalTransition unless a response may go from `old` to `new`."""
    if (old, new) not in RESPONSE_TRANSITIONS:
        raise IllegalTransition(f"a response that is {old} cannot become {new}")
