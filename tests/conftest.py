"""Fixtures that several folders use."""

from __future__ import annotations

import pytest

from support.faulty_mesh import FaultyMesh
from support.sandbox import HOSPITAL, PRACTICE, Sandbox


@pytest.fixture(scope="session")
def running_sandbox(tmp_path_factory):
    """One MESH sandbox for the whole run; use `sandbox`, which is empty."""
    sandbox = Sandbox(tmp_path_factory.mktemp("mesh-sandbox") / "sandbox.log")
    sandbox.start()
    yield sandbox
    sandbox.stop()


@pytest.fixture
def sandbox(running_sandbox):
    """The MESH sandbox without any message."""
    running_sandbox.reset()
    return running_sandbox


@pytest.fixture
def hospital_mailbox(sandbox):
    mailbox = sandbox.mailbox(HOSPITAL)
    yield mailbox
    mailbox.close()


@pytest.fixture
def practice_mailbox(sandbox):
    mailbox = sandbox.mailbox(PRACTICE)
    yield mailbox
    mailbox.close()


@pytest.fixture
def faulty_mesh(sandbox):
    """A proxy before the sandbox that fails as it is told."""
    proxy = FaultyMesh(sandbox.url)
    proxy.start()
    yield proxy
    proxy.stop()
