from datetime import UTC, datetime
from pathlib import Path

import pytest

from mesh_itk3.adapters.ledger import SqlLedger, migrate, open_ledger


def sqlite_url(directory: Path) -> str:
    return f"sqlite:///{directory}/ledger.db"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def empty_url(request, tmp_path) -> str:
    """Where a ledger may be made: each test runs once on each engine."""
    return sqlite_url(tmp_path) if request.param == "sqlite" else request.getfixturevalue("new_postgresql")


@pytest.fixture
def url(empty_url) -> str:
    migrate(empty_url, datetime(2024, 5, 1, tzinfo=UTC))
    return empty_url


@pytest.fixture
def open_another(url):
    """Opens the same ledger as another process would; all are closed at the end."""
    opened: list[SqlLedger] = []

    def open_one(owner: str = "other:2") -> SqlLedger:
        opened.append(open_ledger(url, owner=owner))
        return opened[-1]

    yield open_one
    for ledger in opened:
        ledger.close()


@pytest.fixture
def ledger(open_another) -> SqlLedger:
    return open_another("this:1")
