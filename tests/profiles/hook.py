"""For `conftest.py`: each test's responses are judged when it ends, and the run says how many they were."""

from __future__ import annotations

import pytest

from profiles.witness import WITNESS

SEEN = "responses_seen"
PLAYS_THE_PRACTICE = "plays_the_practice: sends responses of its own making in place of the daemon; they are not judged"


def pytest_configure(config):
    config.addinivalue_line("markers", PLAYS_THE_PRACTICE)


@pytest.fixture(autouse=True)
def every_response_keeps_the_profiles(request):
    """Whatever a test is about: each response that it made has to be one. See `profiles/witness.py`."""
    yield
    taken = WITNESS.take(request.node.funcargs.get("tmp_path"))
    if request.node.get_closest_marker("plays_the_practice"):
        return
    wrong = [f"{where}: {found}" for where, raw in taken for found in WITNESS.judge(raw)]
    assert not wrong, "a response breaks the ITK3 profiles:\n" + "\n".join(sorted(set(wrong)))


def pytest_sessionfinish(session):
    """A worker of several hands on what it has seen."""
    if (handed_on := getattr(session.config, "workeroutput", None)) is not None:
        handed_on[SEEN] = WITNESS.counts()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    WITNESS.add(*getattr(node, "workeroutput", {}).get(SEEN, (0, [])))


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(WITNESS.summary)
