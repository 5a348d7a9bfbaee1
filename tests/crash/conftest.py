"""The warm process, once; a world for each sweep."""

from __future__ import annotations

import pytest

from crash.warm import WarmProcess
from crash.world import a_world


@pytest.fixture(scope="session")
def warm():
    process = WarmProcess()
    yield process
    process.close()


@pytest.fixture
def world(tmp_path, sandbox, warm):
    with a_world(tmp_path, sandbox, warm) as made:
        yield made
