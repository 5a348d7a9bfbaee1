"""The 49 ITK3 response codes and what a response with each carries: the tests' own table, not the daemon's.

Sources: CodeSystem ITK-ResponseCodes-1 v1.5.0 (code, display: verbatim) and the page explore_response_structure of ITK3
Distribution 2.10.0 (response.code, severity, issue.code). That page has no 20015: its elements are those of the NHS test
harness and of the published sample response.
"""

from __future__ import annotations

from dataclasses import dataclass

TABLE = """
10001 | fatal-error | fatal | processing | Handling Specification Error
10002 | fatal-error | fatal | processing | Infrastructure Level Response Value - Processing Error
10003 | fatal-error | fatal | processing | Business Level Response Value - Processing Error
10004 | fatal-error | fatal | processing | Message Definition Value - Processing Error
10005 | fatal-error | fatal | processing | Message Definition Version Value - Processing Error
10007 | fatal-error | fatal | processing | Sender Reference Value - Processing Error
10008 | fatal-error | fatal | processing | Handling Specification Business Rule Error
10009 | fatal-error | fatal | processing | Unreadable message received
10010 | fatal-error | fatal | processing | Recipient Type - Processing Error
20001 | fatal-error | fatal | not-found | Unrecognised Recipient Person
20002 | fatal-error | fatal | not-found | Unrecognised Recipient Organisation
20003 | fatal-error | fatal | not-found | Unrecognised Sender
20004 | fatal-error | fatal | security | Non-Approved file type received as an attachment
20005 | fatal-error | fatal | security | Unsupported file type received as an attachment
20006 | fatal-error | fatal | invalid structure required value processing code-invalid extension | ITK header validation failure
20007 | fatal-error | fatal | duplicate | Duplicate Message received
20008 | fatal-error | fatal | duplicate | Duplicate Document received
20009 | fatal-error | fatal | invalid structure required value invariant processing not-supported code-invalid extension business-rule | Payload validation failure
20010 | fatal-error | fatal | not-found | Unrecognised Payload Recipient Organisation
20011 | fatal-error | fatal | not-found | Unrecognised Payload Recipient Person
20012 | fatal-error | fatal | security | Unauthorised Sender
20013 | ok | information | informational | Success
20014 | fatal-error | fatal | processing | Unable to Process Replacement Document
20015 | fatal-error | fatal | processing | Message too large
30001 | ok | information | informational | Patient known here. (e.g. Patient is registered here)
30002 | fatal-error | fatal | not-found | Patient not known here. (aka 'patient record not present in system')
30003 | fatal-error | fatal | business-rule | Patient no longer at this clinical setting
30004 | ok | information | informational | Patient known here and recently deceased (i.e. patient record current in GP practice system at time of patient’s death and deduction subsequently occurred for this reason)
30005 | ok | information | informational | Referral open
30006 | ok | information | informational | Referral completed
30007 | fatal-error | warning | informational | Referral escalated back to GP
30008 | ok | information | informational | Signposting to GP (non-urgent)
30009 | ok | information | informational | Clinical escalation to UTC/111/GPOOH
30010 | ok | information | informational | Clinical escalation to A&E or 999
30011 | ok | information | informational | Advised to go elsewhere/self-referral
30012 | fatal-error | warning | informational | Unable to contact the patient
30013 | ok | information | informational | Closure (service not needed)
30014 | fatal-error | information | informational | Closure (service not accepted)
30015 | fatal-error | information | duplicate | Closure (duplicate referral)
30016 | ok | information | informational | Referral accepted
30017 | fatal-error | warning | informational | Referral rejected
30018 | fatal-error | warning | informational | Did Not Attend
30019 | ok | information | informational | GP Registration - Application accepted
30020 | fatal-error | warning | informational | GP Registration - Application pending (contact practice)
30021 | fatal-error | warning | informational | GP Registration - Application rejected (patient already registered)
30022 | fatal-error | warning | informational | GP Registration - Application rejected (at capacity)
30023 | fatal-error | warning | informational | GP Registration - Application rejected (out of boundary)
30024 | fatal-error | warning | informational | GP Registration - Application rejected (Previously removed from this practice)
30025 | fatal-error | warning | informational | GP Registration - Application rejected (Previously removed from another practice)
"""

RECIPIENT_TYPES = {"FA": "For Action", "FI": "For Information"}
"""CodeSystem ITK-RecipientType-1."""


@dataclass(frozen=True)
class Row:
    response_code: str
    severity: str
    issue_codes: tuple[str, ...]
    display: str

    @property
    def is_negative(self) -> bool:
        return self.response_code != "ok"


def _row(line: str) -> tuple[str, Row]:
    code, response_code, severity, issue_codes, display = line.split(" | ", 4)
    return code, Row(response_code, severity, tuple(issue_codes.split()), display)


RESPONSE_CODES = dict(_row(line) for line in TABLE.strip().splitlines())
