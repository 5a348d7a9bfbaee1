"""What each sweep has killed stands at the end of a run, also where several processes share it."""

from __future__ import annotations

import pytest

SAID: list[str] = []
_KEY = "crash_sweeps"


def pytest_sessionfinish(session):
    """A worker of several hands on what its sweeps have said."""
    if (handed_on := getattr(session.config, "workeroutput", None)) is not None:
        handed_on[_KEY] = SAID


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    SAID.extend(getattr(node, "workeroutput", {}).get(_KEY, []))


def pytest_terminal_summary(terminalreporter):
    for line in SAID:
        terminalreporter.write_line(line)
