"""Why a message or response stands where it stands: the fixed vocabulary of the ledger's `reason` columns. PURE."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """Each value with the sentence that a person reads (`docs/operations.md` lists them)."""

    VERDICT = "verdict", "ITK3's rules gave a negative infrastructure response."
    HANDLER_REFUSED = "handler_refused", "The handler's examination refused it."
    HANDLER_FAILED = "handler_failed", "The handler raised an error on every attempt."
    HANDLER_ASKED = "handler_asked", "The handler asked to be called again later."
    HANDLER_DEFERRED = "handler_deferred", "The handler left the business response to a person."
    HANDLER_IGNORED_DECISION = "handler_ignored_decision", "The handler did not return the code that a person decided."
    HANDLER_GONE = "handler_gone", "The handler that accepted it is not installed or not enabled."
    STAGE_FAILED = "stage_failed", "This program failed on it at every attempt."
    PROCESS_DIED = "process_died", "The process died while it worked on this message alone, too many times."
    STORAGE_FAILED = "storage_failed", "The disk refused a durable write; it is tried again."
    PAYLOAD_MISSING = "payload_missing", "Its bytes are not in the payload store."
    PERSON_DECIDED = "person_decided", "A person decided the business response."
    NO_SENDER = "no_sender", "It names no mailbox to answer to, so its response cannot be sent."
    NO_RESPONSE_WORKFLOW = "no_response_workflow", "Its workflow has no response workflow."
    ANSWERS_OURS = "answers_ours", "It answers a response of ours."
    ANSWERS_NOTHING = "answers_nothing", "It answers nothing that we sent."
    NOT_A_RESPONSE = "not_a_response", "It came on a response workflow but is no readable ITK3 response."
    FOREIGN_LEFT = "foreign_left", "Its workflow is not ours; it was left in MESH."
    FOREIGN_SPOOLED = "foreign_spooled", "Its workflow is not ours; it was spooled for another client."
    SEND_REFUSED = "send_refused", "MESH refused it for good."
    SEND_UNRESOLVED = "send_unresolved", "Whether MESH took it is not known yet."
    MAILBOX_UNAVAILABLE = "mailbox_unavailable", "MESH could not be reached."
    REPORTED_UNDELIVERED = "reported_undelivered", "MESH reported that it could not deliver it."

    text: str

    def __new__(cls, value: str, text: str) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.text = text
        return member
