import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from mesh_itk3.adapters.ledger import SqlLedger, migrate, open_ledger
from support.postgresql_server import CannotServe, postgresql_server

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
