"""Fixtures that several folders use."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings

from mesh_itk3.simulator.faulty_mesh import FaultyMesh
from profiles.hook import (
    every_response_keeps_the_profiles,
    pytest_configure,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
)
from profiles.witness import WITNESS
from support.postgresql_server import CannotServe, postgresql_server
from support.sandbox import HOSPITAL, PRACTICE, Sandbox


@pytest.fixture
def tmp_path(request, tmp_path):
    """pytest's own; for a test that becomes somebody else (`open_to_others`) one that no other run of pytest closes again: each
    one that begins, those of our own tests too, lets nobody into the folder above all of them.
    """
    if not request.node.get_closest_marker("open_to_others"):
        yield tmp_path
        return
    directory = Path(tempfile.mkdtemp(prefix="mesh-itk3-open-"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def running_sandbox(tmp_path_factory):
    """One MESH sandbox for the whole run; use `sandbox`, which is empty."""
    sandbox = Sandbox(tmp_path_factory.mktemp("mesh-sandbox") / "sandbox.log")
    sandbox.start()
    yield sandbox
    WITNESS.watches(None)
    sandbox.stop()


@pytest.fixture
def sandbox(running_sandbox):
    """The MESH sandbox without any message."""
    running_sandbox.reset()
    WITNESS.watches(running_sandbox.calls)
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


LONGEST = ("machine", "crash", "faults", "disk", "service", "conformance", "prove")
"""Folders that begin first where several processes share a run: begun last, one long test would keep one core busy alone."""
TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items):
    def turn(item):
        folder = item.path.relative_to(TESTS).parts[0]
        return LONGEST.index(folder) if folder in LONGEST else len(LONGEST)

    items.sort(key=turn)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """One more than there are cores: a good part of its time a test waits for what other processes do."""
    return len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)) + 1


pytest_plugins = ["crash.said"]
_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    server = postgresql_server()
    try:
        url = server.__enter__()
    except CannotServe as reason:
        pytest.skip(str(reason))
    try:
        yield url
    finally:
        server.__exit__(None, None, None)


@pytest.fixture
def new_postgresql(postgresql) -> str:
    """The URL of an empty database."""
    name = f"ledger_{next(_numbers)}"
    engine = sa.create_engine(postgresql.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE template0"))
    engine.dispose()
    return postgresql.removesuffix("postgres") + name


__all__ = [
    "every_response_keeps_the_profiles",
    "pytest_configure",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "pytest_testnodedown",
]

# The same examples in every run: a change is judged by what it changes, not by what was drawn for it.
# HYPOTHESIS_PROFILE=thorough looks sixty times as long for what no example shows, at others each time.
settings.register_profile("usual", max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
settings.register_profile("thorough", max_examples=6_000, deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "usual"))
