"""The one infrastructure verdict on a message: a table of rules, evaluated in order. PURE."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mesh_itk3.itk3.envelope import Fault, Reading
from mesh_itk3.itk3.facts import UNKNOWN_PRACTICE, Facts, Strictness
from mesh_itk3.itk3.response_codes import ELEMENTS, InfrastructureCode
from mesh_itk3.itk3.rules import RULES, Rule

__all__ = ["RULES", "UNKNOWN_PRACTICE", "Facts", "Rule", "Strictness", "Verdict", "judge", "refuse"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The code that an infrastructure response carries, should one be owed."""

    code: InfrastructureCode
    rule: str
    where: str
    issue_code: str
    warnings: tuple[str, ...] = ()
    """Names of the rules that the message breaks and its workflow's strictness waives."""

    @property
    def is_positive(self) -> bool:
        return ELEMENTS[self.code].is_positive

    @property
    def diagnostics(self) -> str:
        """For the sender (GPCM-SD-042) and the log: rule and element path, never a value (FHIR-BA-02)."""
        return f"{self.rule}: {self.where}"


def judge(reading: Reading, facts: Facts) -> Verdict:
    """Exactly one verdict on any reading. The first broken rule that is not waived decides; 20013 where there is none."""
    if reading.faults:
        return _verdict_on(reading.faults[0])
    warnings: list[str] = []
    for rule in RULES:
        found = rule.check(reading, facts)
        if found is None:
            continue
        if facts.strictness not in rule.waived_in:
            return _negative(rule, found, warnings)
        warnings.append(rule.name)
    return Verdict(InfrastructureCode.SUCCESS, "accepted", "Bundle", "informational", _unique(warnings))


def _verdict_on(fault: Fault) -> Verdict:
    return refuse(fault.code, fault.where, fault.issue_code, fault.rule)


def _negative(rule: Rule, found: tuple[str, str], warnings: Iterable[str]) -> Verdict:
    where, issue_code = found
    return Verdict(rule.code, rule.name, where, fitting_issue_code(rule.code, issue_code), _unique(warnings))


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def refuse(code: InfrastructureCode, where: str, issue_code: str | None, rule: str) -> Verdict:
    """The verdict of somebody else: a reading fault, or a handler's `examine`."""
    return Verdict(code, rule, where, fitting_issue_code(code, issue_code))


def fitting_issue_code(code: InfrastructureCode, issue_code: str | None) -> str:
    """The wanted issue code where the response code allows it (mapping page), else its usual one."""
    elements = ELEMENTS[code]
    return issue_code if issue_code in elements.issue_codes else elements.issue_code
