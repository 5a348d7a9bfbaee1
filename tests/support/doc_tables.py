"""The rows that the documentation must have, made from the tables of the code. `python tests/support/doc_tables.py`
prints them, for pasting after a change.
"""

from __future__ import annotations

from collections.abc import Iterator

from mesh_itk3 import events
from mesh_itk3.itk3.facts import Strictness
from mesh_itk3.itk3.response_codes import ELEMENTS
from mesh_itk3.itk3.rules import RULES
from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.reasons import Reason
from mesh_itk3_handlers.filing import REASONS as LETTER_REASONS


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def response_rows() -> Iterator[str]:
    """docs/responses.md"""
    for code, elements in ELEMENTS.items():
        issue_codes = ", ".join(f"`{issue}`" for issue in elements.issue_codes)
        yield row(f"`{code}`", elements.display, f"`{elements.response_code}`", f"`{elements.severity}`", issue_codes)


def rule_rows() -> Iterator[str]:
    """docs/responses.md"""
    for rule in RULES:
        waived = ", ".join(f"`{strictness}`" for strictness in Strictness if strictness in rule.waived_in) or "never"
        yield row(f"`{rule.name}`", f"`{rule.code}`", rule.source, waived)


def event_rows() -> Iterator[str]:
    """docs/events.md; a last cell with the event's fields follows."""
    for event in events.ALL:
        yield row(f"`{event.name}`", event.severity, event.text, event.operator).removesuffix(" |")


def reason_rows() -> Iterator[str]:
    """docs/operations.md"""
    for reason in Reason:
        yield row(f"`{reason}`", reason.text)


def letter_reason_rows() -> Iterator[str]:
    """docs/operations.md: the words of the shipped handlers."""
    yield from (row(f"`{word}`", text) for word, text in LETTER_REASONS.items())


def state_names() -> Iterator[str]:
    """docs/operations.md"""
    yield from (f"| `{state}` |" for state in (*State, *ResponseState))


if __name__ == "__main__":
    print(*response_rows(), "", *rule_rows(), "", *event_rows(), "", *reason_rows(), "", *letter_reason_rows(), sep="\n")  # noqa: T201
