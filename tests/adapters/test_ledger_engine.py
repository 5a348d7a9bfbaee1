"""How connections are set up, what a query costs in a large ledger, and what becomes of a driver's errors."""

import sqlite3
from contextlib import closing, contextmanager
from datetime import timedelta

import pytest
import sqlalchemy as sa

from mesh_itk3.adapters.ledger import migrate, open_ledger
from mesh_itk3.adapters.ledger.engine import connect
from mesh_itk3.adapters.ledger.failures import ledger_failures
from mesh_itk3.adapters.ledger.schema import metadata
from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import Kind, LedgerUnavailable, ResponseStep, StepRefused
from support.ledger_rows import HERE, HOSPITAL, NOW, THERE, a_message, a_response, a_step, an_entry, key, owe_both, record, send


@pytest.fixture
def sqlite_ledger(tmp_path):
    url = f"sqlite:///{tmp_path}/ledger.db"
    migrate(url, NOW)
    with closing(open_ledger(url, owner="this:1")) as ledger:
        yield ledger


def test_every_sqlite_connection_is_durable_and_checks_references(sqlite_ledger):
    engine = sqlite_ledger._database._engine
    pragmas = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")

    connections = [engine.connect() for _ in range(12)]
    found = [tuple(each.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas) for each in connections]
    for each in connections:
        each.close()

    # synchronous 2 is FULL: https://www.sqlite.org/pragma.html#pragma_synchronous
    assert set(found) == {("wal", 2, 1, 15000)}


@pytest.mark.postgres
def test_postgresql_commits_are_synchronous_and_bounded_in_time(new_postgresql):
    database = connect(new_postgresql)
    with database.reading() as connection:
        settings = ("synchronous_commit", "TimeZone", "lock_timeout", "statement_timeout")
        found = [connection.execute(sa.text(f"SHOW {name}")).scalar() for name in settings]
    database.close()

    assert found == ["on", "UTC", "15s", "1min"]


def test_a_writer_takes_the_lock_before_it_reads(sqlite_ledger):
    other = sqlite3.connect(sqlite_ledger._database.sqlite_file, timeout=0)

    with sqlite_ledger._database.writing(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")

    other.close()


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_ledger_that_is_moved_away_while_it_is_open_takes_nothing_more_until_it_is_back(sqlite_ledger, is_replaced):
    file = sqlite_ledger._database.sqlite_file
    record(sqlite_ledger, 1)
    kept = file.rename(file.with_name("moved.db"))
    if is_replaced:
        file.write_bytes(kept.read_bytes())

    with pytest.raises(LedgerUnavailable, match="moved, deleted or replaced"):
        record(sqlite_ledger, 2)
    with pytest.raises(LedgerUnavailable, match="moved, deleted or replaced"):
        sqlite_ledger.known(HERE, ["M2"])

    kept.rename(file)
    record(sqlite_ledger, 2)


def test_a_reader_is_not_held_up_by_a_writer(sqlite_ledger):
    record(sqlite_ledger, 1)
    with sqlite_ledger._database.writing():
        assert sqlite_ledger.get(key(1)).state is State.RECEIVED


# ------------------------------------------------------------------------------------------------ cost in a large ledger


@contextmanager
def statements_of(ledger):
    """Every statement that the ledger executes meanwhile, with its parameters."""
    seen: list[tuple[str, object]] = []

    def note(_connection, _cursor, statement, parameters, _context, is_many):
        seen.append((statement, parameters[0] if is_many else parameters))

    engine = ledger._database._engine
    sa.event.listen(engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(engine, "before_cursor_execute", note)


PATH = {
    "known": lambda ledger: ledger.known(HERE, [key(1).mesh_message_id, key(2).mesh_message_id]),
    "record_received": lambda ledger: ledger.record_received(a_message(7), an_entry()),
    "record_acknowledged": lambda ledger: ledger.record_acknowledged([key(1)], NOW),
    "claim": lambda ledger: ledger.claim(State.RECEIVED, (Kind.MESSAGE,), [HERE], NOW, 5),
    "claim in two mailboxes": lambda ledger: ledger.claim(State.RECEIVED, (Kind.MESSAGE,), [HERE, THERE], NOW, 5),
    "recover": lambda ledger: ledger.recover([HERE], NOW),
    "is_accepted": lambda ledger: ledger.is_accepted(HERE, HOSPITAL, "A"),
    "accepted_before": lambda ledger: ledger.accepted_before(HERE, None, "A", "s|A"),
    "apply": lambda ledger: ledger.apply([a_step(3, responses=[a_response(3)])]),
    "apply a completion": lambda ledger: ledger.apply(
        [a_step(5, State.ACCEPTED, State.COMPLETED, responses=[a_response(5, "business")])]
    ),
    "claim_responses": lambda ledger: ledger.claim_responses(HERE, NOW, 5),
    "sent_responses": lambda ledger: ledger.sent_responses(HERE, NOW, 5),
    "apply_responses": lambda ledger: ledger.apply_responses(
        [ResponseStep("business-1", ResponseState.OWED, ResponseState.SENT, an_entry(), {"sent_at": NOW})]
    ),
    "apply_responses of a refusal": lambda ledger: ledger.apply_responses(
        [ResponseStep("infrastructure-1", ResponseState.OWED, ResponseState.PARKED, an_entry())]
    ),
    "response_by mesh_message_id": lambda ledger: ledger.response_by(mesh_message_id="A"),
    "response_by local_id": lambda ledger: ledger.response_by(local_id="A"),
    "response_by message_header_id": lambda ledger: ledger.response_by(message_header_id="A"),
    "unnamed": lambda ledger: ledger.unnamed(["M/2024-05/a.bin"]),
    "sweep": lambda ledger: ledger.sweep(["M/2024-05/a.bin"], lambda name: None),
    "find": lambda ledger: ledger.find("A"),
    "get": lambda ledger: ledger.get(key(1)),
    "timeline": lambda ledger: ledger.timeline(key(1)),
    "responses_to": lambda ledger: ledger.responses_to(key(1)),
    "waiting": lambda ledger: ledger.waiting([State.AWAITING_DECISION, State.PARKED], [HERE]),
    "outstanding_responses": lambda ledger: ledger.outstanding_responses([HERE]),
    "overdue_responses": lambda ledger: ledger.overdue_responses([HERE], NOW, 5),
    "unseen": lambda ledger: ledger.unseen([HERE]),
    "mark_seen": lambda ledger: ledger.mark_seen(key(1), an_entry()),
    "answers_to": lambda ledger: ledger.answers_to(["business-1"]),
    "has_work": lambda ledger: ledger.has_work([HERE]),
    "make_all_due": lambda ledger: ledger.make_all_due([HERE]),
    "move_back": lambda ledger: ledger.move_back([HERE], timedelta(hours=1)),
}


def tables_scanned(ledger, act) -> set[str]:
    """Which tables any statement of `act` reads from end to end."""
    with statements_of(ledger) as seen:
        act(ledger)
    planned = [(sql, parameters) for sql, parameters in seen if sql.split()[0] in ("SELECT", "UPDATE", "INSERT")]
    assert planned
    with closing(sqlite3.connect(ledger._database.sqlite_file)) as reader:
        plans = [reader.execute(f"EXPLAIN QUERY PLAN {sql}", parameters).fetchall() for sql, parameters in planned]
    lines = [row[3].split() for plan in plans for row in plan]
    return {line[1] for line in lines if line[0] == "SCAN"} & {*metadata.tables, "infrastructure"}


@pytest.fixture
def used_ledger(sqlite_ledger):
    """Messages and responses in every state that the path asks for."""
    owe_both(sqlite_ledger, 1)
    owe_both(sqlite_ledger, 2)
    send(sqlite_ledger, "infrastructure-2")
    record(sqlite_ledger, 3, 4, 5)
    sqlite_ledger.apply([a_step(5, responses=[a_response(5)])])
    return sqlite_ledger


@pytest.mark.parametrize("name", PATH)
def test_the_cost_of_a_step_does_not_grow_with_the_ledger(used_ledger, name):
    assert tables_scanned(used_ledger, PATH[name]) == set()


def test_a_message_that_is_not_known_costs_one_question_without_a_transaction(sqlite_ledger):
    with statements_of(sqlite_ledger) as seen:
        assert sqlite_ledger.accepted_before(HERE, HOSPITAL, "A", "s|A") == (None, None)

    assert len(seen) == 1


def test_a_page_of_messages_reads_only_its_own_responses(used_ledger):
    assert tables_scanned(used_ledger, lambda ledger: list(ledger.messages(limit=3))) == {"message"}


# ------------------------------------------------------------------------------------------------ errors


def _an_error(text: str, code: int, name: str) -> sqlite3.Error:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode, error.sqlite_errorname = code, name
    return error


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (sqlite3.SQLITE_FULL, "full"),
        (sqlite3.SQLITE_IOERR_FSYNC, "failed to read or write"),
        (sqlite3.SQLITE_CORRUPT, "damaged"),
        (sqlite3.SQLITE_BUSY, "another process"),
        (sqlite3.SQLITE_READONLY, "cannot be written"),
    ],
)
def test_what_the_driver_raises_is_said_in_words_without_values(code, says):
    with pytest.raises(LedgerUnavailable, match=says) as unavailable, ledger_failures():
        raise sa.exc.OperationalError("UPDATE message", {"secret": 1}, _an_error("near SMITH", code, "NAME"))

    assert "SMITH" not in str(unavailable.value)
    assert "secret" not in str(unavailable.value)


def test_a_disk_that_is_full_makes_the_ledger_unavailable_and_loses_nothing_written(tmp_path):
    url = f"sqlite:///{tmp_path}/ledger.db"
    migrate(url, NOW)
    with closing(open_ledger(url, owner="this:1")) as ledger:
        record(ledger, 1)
        # The size of a database is bounded per connection: fill the one connection there is.
        with ledger._database.writing() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 1}")

        def fill() -> None:
            for number in range(2, 500):
                record(ledger, number)

        with pytest.raises(LedgerUnavailable, match="full"):
            fill()
        assert ledger.get(key(1)) is not None


def test_bytes_and_ids_never_stand_in_the_text_of_an_error(sqlite_ledger):
    record(sqlite_ledger, 1)
    sqlite_ledger.apply([a_step(1, responses=[a_response(1, body=b"SMITH")])])

    with pytest.raises(StepRefused) as refused:
        sqlite_ledger.apply([a_step(1, State.ACCEPTED, State.COMPLETED, responses=[a_response(1, body=b"SMITH")])])

    chain, error = "", refused.value
    while error is not None:
        chain, error = chain + str(error), error.__cause__
    assert "SMITH" not in chain
    assert "infrastructure-1" not in chain


def test_a_ledger_that_another_process_holds_for_too_long_is_unavailable_not_wrong(sqlite_ledger):
    with closing(sqlite3.connect(sqlite_ledger._database.sqlite_file)) as other:
        other.execute("BEGIN IMMEDIATE")
        # The one connection of the pool waits no longer than the test wants to.
        with sqlite_ledger._database.reading() as connection:
            connection.exec_driver_sql("PRAGMA busy_timeout = 50")

        with pytest.raises(LedgerUnavailable, match="another process"):
            record(sqlite_ledger, 1)
        other.execute("ROLLBACK")

    record(sqlite_ledger, 1)
