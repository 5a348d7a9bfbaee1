"""Python runs this at the start of every process that has this directory on its path: the processes of a broken daemon."""

from __future__ import annotations

from dataclasses import replace

from mesh_itk3.itk3 import verdict

# A document without a patient is no longer refused.
verdict.RULES = tuple(
    replace(rule, check=lambda _reading, _facts: None) if rule.name == "patient_unreachable" else rule for rule in verdict.RULES
)
