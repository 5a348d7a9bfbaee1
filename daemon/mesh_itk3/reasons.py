"""Why a message or response stands where it stands: the fixed vocabulary of the ledger's `reason` columns. PURE."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Final


class Reason(StrEnum):
    """Each value has a sentence that a person reads: `TEXTS`."""

    VERDICT = "verdict"
    HANDLER_REFUSED = "handler_refused"
    HANDLER_FAILED = "handler_failed"
    HANDLER_ASKED = "handler_asked"
    HANDLER_DEFERRED = "handler_deferred"
    HANDLER_IGNORED_DECISION = "handler_ignored_decision"
    HANDLER_GONE = "handler_gone"
    STAGE_FAILED = "stage_failed"
    PROCESS_DIED = "process_died"
    STORAGE_FAILED = "storage_failed"
    PAYLOAD_MISSING = "payload_missing"
    PERSON_DECIDED = "person_decided"
    DEADLINE_DECIDED = "deadline_decided"
    NO_SENDER = "no_sender"
    ANSWERS_OURS = "answers_ours"
    ANSWERS_NOTHING = "answers_nothing"
    NOT_A_RESPONSE = "not_a_response"
    FOREIGN_LEFT = "foreign_left"
    FOREIGN_SPOOLED = "foreign_spooled"
    SEND_REFUSED = "send_refused"
    INFRASTRUCTURE_REFUSED = "infrastructure_refused"
    SEND_UNRESOLVED = "send_unresolved"
    MAILBOX_UNAVAILABLE = "mailbox_unavailable"
    ANSWERED_BEFORE_RESTORE = "answered_before_restore"
    REPORTED_UNDELIVERED = "reported_undelivered"
    NEVER_ACKNOWLEDGED = "never_acknowledged"
    REFUSED_BY_RECEIVER = "refused_by_receiver"
    HELD_BY_PERSON = "held_by_person"
    HANDLED_BY_HAND = "handled_by_hand"
    SENDER_TOLD = "sender_told"
    SENT_AGAIN_BY_SENDER = "sent_again_by_sender"
    NOT_FOR_US = "not_for_us"
    CANNOT_BE_READ = "cannot_be_read"
    TEST_MESSAGE = "test_message"

    @property
    def text(self) -> str:
        return TEXTS[self]


TEXTS: Final[dict[Reason, str]] = {
    Reason.VERDICT: "ITK3's rules gave a negative infrastructure response.",
    Reason.HANDLER_REFUSED: "The handler's examination refused it.",
    Reason.HANDLER_FAILED: "The handler raised an error on every attempt.",
    Reason.HANDLER_ASKED: "The handler asked to be called again later.",
    Reason.HANDLER_DEFERRED: "The handler left the business response to a person.",
    Reason.HANDLER_IGNORED_DECISION: "The handler did not return the code that a person decided.",
    Reason.HANDLER_GONE: "Its handler is not installed, not enabled or broken; it waits here for it.",
    Reason.STAGE_FAILED: "This program failed on it at every attempt.",
    Reason.PROCESS_DIED: "The process died while it worked on this message alone, too many times.",
    Reason.STORAGE_FAILED: "The disk refused a durable write; it is tried again.",
    Reason.PAYLOAD_MISSING: "Its bytes are not in the payload store.",
    Reason.PERSON_DECIDED: "A person decided the business response.",
    Reason.DEADLINE_DECIDED: "Nobody decided in time; the configuration decided the business response.",
    Reason.NO_SENDER: "It names no mailbox to answer to, so its response cannot be sent.",
    Reason.ANSWERS_OURS: "It answers a response of ours.",
    Reason.ANSWERS_NOTHING: "It answers nothing that we sent.",
    Reason.NOT_A_RESPONSE: "It came on a response workflow but is no readable ITK3 response.",
    Reason.FOREIGN_LEFT: "Its workflow is not ours; it was left in MESH.",
    Reason.FOREIGN_SPOOLED: "Its workflow is not ours; it was spooled for another client.",
    Reason.SEND_REFUSED: "MESH refused it for good.",
    Reason.INFRASTRUCTURE_REFUSED: "MESH refused the infrastructure response of the same message for good.",
    Reason.SEND_UNRESOLVED: "Whether MESH took it is not known yet.",
    Reason.MAILBOX_UNAVAILABLE: "MESH could not be reached.",
    Reason.ANSWERED_BEFORE_RESTORE: "MESH has an answer to it from before the ledger was restored. That one stands, and"
    " nothing was sent; its code is not known here, and may be another.",
    Reason.REPORTED_UNDELIVERED: "MESH reported that it could not deliver it.",
    Reason.NEVER_ACKNOWLEDGED: "The other mailbox has not acknowledged it in MESH's five days, and MESH has not said why.",
    Reason.REFUSED_BY_RECEIVER: "The other side answered it with a negative infrastructure response.",
    Reason.HELD_BY_PERSON: "A person holds it; it goes on when it is released.",
    Reason.HANDLED_BY_HAND: "A person has dealt with it by hand.",
    Reason.SENDER_TOLD: "A person has told the sender another way what became of it.",
    Reason.SENT_AGAIN_BY_SENDER: "The sender has sent it again under new ids, and that one was dealt with.",
    Reason.NOT_FOR_US: "It is not for this practice.",
    Reason.CANNOT_BE_READ: "Its bytes are lost, damaged or cannot be made sense of.",
    Reason.TEST_MESSAGE: "It was a test; nobody waits for it.",
}


class MustBeTold(Enum):
    """Who has yet to hear of it when a message is abandoned."""

    NOBODY = "nobody"
    WHO_ASKED = "who_asked"
    """A sender who asked for a response that will now never come."""
    SENDER = "sender"
    """The sender, whatever they asked for: they believe that the letter is in good hands, and it is not."""


ABANDON_REASONS: Final[dict[Reason, MustBeTold]] = {
    Reason.HANDLED_BY_HAND: MustBeTold.WHO_ASKED,
    Reason.SENDER_TOLD: MustBeTold.NOBODY,
    Reason.SENT_AGAIN_BY_SENDER: MustBeTold.NOBODY,
    Reason.NOT_FOR_US: MustBeTold.SENDER,
    Reason.CANNOT_BE_READ: MustBeTold.SENDER,
    Reason.TEST_MESSAGE: MustBeTold.NOBODY,
}
"""Why a message may be abandoned: a fixed vocabulary, for the ledger holds no free text (design rule 18)."""
