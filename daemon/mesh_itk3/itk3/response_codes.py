"""The 49 ITK3 response codes as one table. PURE.

Sources: CodeSystem ITK-ResponseCodes-1 v1.5.0 (codes and displays, verbatim) and the response-code mapping page of
ITK3 FHIR Messaging Distribution 2.10.0 (response.code, severity, issue.code). 20015 is not on the mapping page: its
elements are those of the NHS test harness and of the published sample responses, which agree.

The two levels are two types, so a code of the wrong level does not type-check: an infrastructure response says
whether the message could be taken, a business response what became of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

RESPONSE_CODES_SYSTEM: Final = "https://fhir.nhs.uk/STU3/CodeSystem/ITK-ResponseCodes-1"

Level = Literal["infrastructure", "business"]


class InfrastructureCode(StrEnum):
    """Codes 1xxxx and 2xxxx: could the message be taken? Every one but SUCCESS is fatal: nothing follows it."""

    HANDLING_SPECIFICATION_ERROR = "10001"
    INFRASTRUCTURE_FLAG_ERROR = "10002"
    BUSINESS_FLAG_ERROR = "10003"
    MESSAGE_DEFINITION_ERROR = "10004"
    MESSAGE_DEFINITION_VERSION_ERROR = "10005"
    SENDER_REFERENCE_ERROR = "10007"
    HANDLING_BUSINESS_RULE_ERROR = "10008"
    UNREADABLE_MESSAGE = "10009"
    RECIPIENT_TYPE_ERROR = "10010"
    UNRECOGNISED_RECIPIENT_PERSON = "20001"
    UNRECOGNISED_RECIPIENT_ORGANISATION = "20002"
    UNRECOGNISED_SENDER = "20003"
    NON_APPROVED_ATTACHMENT = "20004"
    UNSUPPORTED_ATTACHMENT = "20005"
    HEADER_VALIDATION_FAILURE = "20006"
    DUPLICATE_MESSAGE = "20007"
    DUPLICATE_DOCUMENT = "20008"
    PAYLOAD_VALIDATION_FAILURE = "20009"
    UNRECOGNISED_PAYLOAD_ORGANISATION = "20010"
    UNRECOGNISED_PAYLOAD_PERSON = "20011"
    UNAUTHORISED_SENDER = "20012"
    SUCCESS = "20013"
    REPLACEMENT_NOT_PROCESSED = "20014"
    MESSAGE_TOO_LARGE = "20015"


class BusinessCode(StrEnum):
    """Codes 3xxxx: what became of the message at this practice. A document needs 30001 to 30004; 30005 to 30018 belong
    to a referral pilot and 30019 to 30025 to GP registration.
    """

    PATIENT_KNOWN = "30001"
    PATIENT_NOT_KNOWN = "30002"
    PATIENT_LEFT = "30003"
    PATIENT_DECEASED = "30004"
    REFERRAL_OPEN = "30005"
    REFERRAL_COMPLETED = "30006"
    REFERRAL_ESCALATED_TO_GP = "30007"
    SIGNPOSTED_TO_GP = "30008"
    ESCALATED_TO_UTC_111_GPOOH = "30009"
    ESCALATED_TO_AE_999 = "30010"
    ADVISED_ELSEWHERE = "30011"
    UNABLE_TO_CONTACT = "30012"
    CLOSED_NOT_NEEDED = "30013"
    CLOSED_NOT_ACCEPTED = "30014"
    CLOSED_DUPLICATE_REFERRAL = "30015"
    REFERRAL_ACCEPTED = "30016"
    REFERRAL_REJECTED = "30017"
    DID_NOT_ATTEND = "30018"
    REGISTRATION_ACCEPTED = "30019"
    REGISTRATION_PENDING = "30020"
    REGISTRATION_REJECTED_ALREADY_REGISTERED = "30021"
    REGISTRATION_REJECTED_AT_CAPACITY = "30022"
    REGISTRATION_REJECTED_OUT_OF_BOUNDARY = "30023"
    REGISTRATION_REJECTED_REMOVED_HERE = "30024"
    REGISTRATION_REJECTED_REMOVED_ELSEWHERE = "30025"


ResponseCode = InfrastructureCode | BusinessCode


def response_code_of(text: str) -> ResponseCode | None:
    """The code that these five digits name, or None where no such code exists."""
    for codes in (InfrastructureCode, BusinessCode):
        if text in codes._value2member_map_:
            return codes(text)
    return None


def level_of(code: ResponseCode) -> Level:
    """Only the first digit tells an infrastructure response from a business one: they are the same message type."""
    return "infrastructure" if isinstance(code, InfrastructureCode) else "business"


@dataclass(frozen=True, slots=True)
class Elements:
    """What a response with this code carries in its MessageHeader.response and OperationOutcome.issue."""

    display: str
    is_positive: bool
    response_code: Literal["ok", "fatal-error"]
    severity: Literal["information", "warning", "fatal"]
    issue_codes: tuple[str, ...]
    """The allowed issue.code values; more than one means: choose the most specific."""
    issue_code: str
    """The value when nothing more specific is known (the one that the published samples use)."""


def _negative(display: str, *issue_codes: str, default: str | None = None) -> Elements:
    return Elements(display, False, "fatal-error", "fatal", issue_codes, default or issue_codes[0])


def _positive(display: str) -> Elements:
    return Elements(display, True, "ok", "information", ("informational",), "informational")


def _closed(display: str, severity: Literal["information", "warning"], issue_code: str = "informational") -> Elements:
    # The mapping page pairs fatal-error with a severity that is not fatal for these: it is not a slip of ours.
    return Elements(display, False, "fatal-error", severity, (issue_code,), issue_code)


ELEMENTS: Final[dict[ResponseCode, Elements]] = {
    InfrastructureCode.HANDLING_SPECIFICATION_ERROR: _negative("Handling Specification Error", "processing"),
    InfrastructureCode.INFRASTRUCTURE_FLAG_ERROR: _negative(
        "Infrastructure Level Response Value - Processing Error", "processing"
    ),
    InfrastructureCode.BUSINESS_FLAG_ERROR: _negative("Business Level Response Value - Processing Error", "processing"),
    InfrastructureCode.MESSAGE_DEFINITION_ERROR: _negative("Message Definition Value - Processing Error", "processing"),
    InfrastructureCode.MESSAGE_DEFINITION_VERSION_ERROR: _negative(
        "Message Definition Version Value - Processing Error", "processing"
    ),
    InfrastructureCode.SENDER_REFERENCE_ERROR: _negative("Sender Reference Value - Processing Error", "processing"),
    InfrastructureCode.HANDLING_BUSINESS_RULE_ERROR: _negative("Handling Specification Business Rule Error", "processing"),
    InfrastructureCode.UNREADABLE_MESSAGE: _negative("Unreadable message received", "processing"),
    InfrastructureCode.RECIPIENT_TYPE_ERROR: _negative("Recipient Type - Processing Error", "processing"),
    InfrastructureCode.UNRECOGNISED_RECIPIENT_PERSON: _negative("Unrecognised Recipient Person", "not-found"),
    InfrastructureCode.UNRECOGNISED_RECIPIENT_ORGANISATION: _negative("Unrecognised Recipient Organisation", "not-found"),
    InfrastructureCode.UNRECOGNISED_SENDER: _negative("Unrecognised Sender", "not-found"),
    InfrastructureCode.NON_APPROVED_ATTACHMENT: _negative("Non-Approved file type received as an attachment", "security"),
    InfrastructureCode.UNSUPPORTED_ATTACHMENT: _negative("Unsupported file type received as an attachment", "security"),
    InfrastructureCode.HEADER_VALIDATION_FAILURE: _negative(
        "ITK header validation failure", "invalid", "structure", "required", "value", "processing", "code-invalid", "extension"
    ),
    InfrastructureCode.DUPLICATE_MESSAGE: _negative("Duplicate Message received", "duplicate"),
    InfrastructureCode.DUPLICATE_DOCUMENT: _negative("Duplicate Document received", "duplicate"),
    InfrastructureCode.PAYLOAD_VALIDATION_FAILURE: _negative(
        "Payload validation failure",
        "invalid",
        "structure",
        "required",
        "value",
        "invariant",
        "processing",
        "not-supported",
        "code-invalid",
        "extension",
        "business-rule",
        default="structure",
    ),
    InfrastructureCode.UNRECOGNISED_PAYLOAD_ORGANISATION: _negative("Unrecognised Payload Recipient Organisation", "not-found"),
    InfrastructureCode.UNRECOGNISED_PAYLOAD_PERSON: _negative("Unrecognised Payload Recipient Person", "not-found"),
    InfrastructureCode.UNAUTHORISED_SENDER: _negative("Unauthorised Sender", "security"),
    InfrastructureCode.SUCCESS: _positive("Success"),
    InfrastructureCode.REPLACEMENT_NOT_PROCESSED: _negative("Unable to Process Replacement Document", "processing"),
    InfrastructureCode.MESSAGE_TOO_LARGE: _negative("Message too large", "processing"),
    BusinessCode.PATIENT_KNOWN: _positive("Patient known here. (e.g. Patient is registered here)"),
    BusinessCode.PATIENT_NOT_KNOWN: _negative(
        "Patient not known here. (aka 'patient record not present in system')", "not-found"
    ),
    BusinessCode.PATIENT_LEFT: _negative("Patient no longer at this clinical setting", "business-rule"),
    BusinessCode.PATIENT_DECEASED: _positive(
        "Patient known here and recently deceased (i.e. patient record current in GP practice system at time of patient’s death and deduction subsequently occurred for this reason)"
    ),
    BusinessCode.REFERRAL_OPEN: _positive("Referral open"),
    BusinessCode.REFERRAL_COMPLETED: _positive("Referral completed"),
    BusinessCode.REFERRAL_ESCALATED_TO_GP: _closed("Referral escalated back to GP", "warning"),
    BusinessCode.SIGNPOSTED_TO_GP: _positive("Signposting to GP (non-urgent)"),
    BusinessCode.ESCALATED_TO_UTC_111_GPOOH: _positive("Clinical escalation to UTC/111/GPOOH"),
    BusinessCode.ESCALATED_TO_AE_999: _positive("Clinical escalation to A&E or 999"),
    BusinessCode.ADVISED_ELSEWHERE: _positive("Advised to go elsewhere/self-referral"),
    BusinessCode.UNABLE_TO_CONTACT: _closed("Unable to contact the patient", "warning"),
    BusinessCode.CLOSED_NOT_NEEDED: _positive("Closure (service not needed)"),
    BusinessCode.CLOSED_NOT_ACCEPTED: _closed("Closure (service not accepted)", "information"),
    BusinessCode.CLOSED_DUPLICATE_REFERRAL: _closed("Closure (duplicate referral)", "information", "duplicate"),
    BusinessCode.REFERRAL_ACCEPTED: _positive("Referral accepted"),
    BusinessCode.REFERRAL_REJECTED: _closed("Referral rejected", "warning"),
    BusinessCode.DID_NOT_ATTEND: _closed("Did Not Attend", "warning"),
    BusinessCode.REGISTRATION_ACCEPTED: _positive("GP Registration - Application accepted"),
    BusinessCode.REGISTRATION_PENDING: _closed("GP Registration - Application pending (contact practice)", "warning"),
    BusinessCode.REGISTRATION_REJECTED_ALREADY_REGISTERED: _closed(
        "GP Registration - Application rejected (patient already registered)", "warning"
    ),
    BusinessCode.REGISTRATION_REJECTED_AT_CAPACITY: _closed("GP Registration - Application rejected (at capacity)", "warning"),
    BusinessCode.REGISTRATION_REJECTED_OUT_OF_BOUNDARY: _closed(
        "GP Registration - Application rejected (out of boundary)", "warning"
    ),
    BusinessCode.REGISTRATION_REJECTED_REMOVED_HERE: _closed(
        "GP Registration - Application rejected (Previously removed from this practice)", "warning"
    ),
    BusinessCode.REGISTRATION_REJECTED_REMOVED_ELSEWHERE: _closed(
        "GP Registration - Application rejected (Previously removed from another practice)", "warning"
    ),
}


def is_positive(code: ResponseCode) -> bool:
    """Positive codes let processing go on; every other one ends it."""
    return ELEMENTS[code].is_positive
