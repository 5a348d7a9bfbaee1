"""No step of a message's path, and nothing that is asked again and again, costs more in a ledger that holds more. Counted in
the engine's own instructions, not in time.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from datetime import timedelta

import pytest

from bench.many_rows import MAILBOX, a_ledger_of
from mesh_itk3.adapters.ledger import open_ledger
from mesh_itk3.lifecycle import State
from mesh_itk3.ports import Kind, MessageKey
from support.ledger_rows import NOW, a_message, a_payload, a_response, a_step, an_entry, send

FEW, MANY = 300, 6_000
PLACEHOLDER = 50
"""Bytes of a response: fewer than a real one has."""
HERE = (MAILBOX,)
AFTER = NOW + timedelta(days=3650)
PATH = {
    "known": lambda ledger, n: ledger.known(MAILBOX, [f"unknown-{n}"]),
    "record": lambda ledger, n: ledger.record_received(a_message(n, MAILBOX, payload=a_payload(n)), an_entry()),
    "claim": lambda ledger, n: ledger.claim(State.RECEIVED, (Kind.MESSAGE,), HERE, NOW, 50),
    "accept": lambda ledger, n: ledger.apply([a_step(n, responses=[a_response(n)], mailbox_id=MAILBOX)]),
    "duplicate look-up": lambda ledger, n: ledger.accepted_before(MAILBOX, "X26HC001", f"header-{n}", f"urn:s|{n}"),
    "complete": lambda ledger, n: ledger.apply(
        [a_step(n, State.ACCEPTED, State.COMPLETED, mailbox_id=MAILBOX, finished_at=NOW)]
    ),
    "claim responses": lambda ledger, n: ledger.claim_responses(MAILBOX, NOW, 50),
    "sent": lambda ledger, n: send(ledger, f"infrastructure-{n}"),
    "to be tracked": lambda ledger, n: ledger.sent_responses(MAILBOX, NOW, 50),
}
QUESTIONS = {
    "overview of what waits": lambda ledger: ledger.overview_of_what_waits(),
    "unseen": lambda ledger: ledger.unseen(),
    "outstanding responses": lambda ledger: ledger.outstanding_responses(),
    "waiting": lambda ledger: ledger.waiting([State.AWAITING_DECISION, State.PARKED]),
    "overdue responses": lambda ledger: ledger.overdue_responses(HERE, NOW, 50, noted_after=AFTER),
    "has work": lambda ledger: ledger.has_work(HERE),
    "find": lambda ledger: ledger.find("nobody's"),
    "timeline": lambda ledger: ledger.timeline(MessageKey(MAILBOX, "nobody's")),
    "the last 20": lambda ledger: list(ledger.messages(limit=20)),
    "parked": lambda ledger: list(ledger.messages(states=[State.PARKED], limit=20)),
    "recover": lambda ledger: ledger.recover(HERE, NOW),
    "make all due": lambda ledger: ledger.make_all_due(HERE),
    "move back": lambda ledger: ledger.move_back(HERE, timedelta(hours=1)),
    "prune payloads": lambda ledger: ledger.let_go_of_payloads(State.COMPLETED, NOW, HERE, 20, an_entry()),
    "prune response bytes": lambda ledger: ledger.prune_response_bytes(NOW, HERE, 20, NOW),
    "prune events": lambda ledger: ledger.prune_events(NOW, HERE, 0, 20, NOW),
}


@pytest.fixture(scope="module")
def cost(tmp_path_factory):
    """Name -> instructions, by size."""
    return {
        size: costs(a_ledger_of(tmp_path_factory.mktemp("flat") / str(size), size, body_bytes=PLACEHOLDER))
        for size in (FEW, MANY)
    }


def costs(url):
    counted: Counter[str] = Counter()
    with closing(open_ledger(url, owner="flat")) as ledger:
        driver = driver_of(ledger)
        for name, step in PATH.items():
            for number in (1, 2, 3):
                counted[name] += instructions(driver, lambda step=step, number=number: step(ledger, number))
        for name, ask in QUESTIONS.items():
            counted[name] = instructions(driver, lambda ask=ask: ask(ledger))
    return counted


def driver_of(ledger):
    """One thread asks, one question after the other: the pool gives it this connection each time."""
    with ledger._database._engine.connect() as connection:
        return connection.connection.driver_connection


def instructions(driver, call):
    steps = 0

    def count():
        nonlocal steps
        steps += 1
        return 0

    driver.set_progress_handler(count, 1)
    call()
    driver.set_progress_handler(None, 0)
    return steps


@pytest.mark.parametrize("name", [*PATH, *QUESTIONS])
def test_it_costs_the_same_in_a_ledger_with_twenty_times_as_many_messages(cost, name):
    few, many = cost[FEW][name], cost[MANY][name]

    assert few > 0, "nothing was counted"
    assert many <= 1.5 * few + 200, f"{few} instructions became {many}"


def test_what_is_counted_here_tells_a_scan_from_a_look_up(tmp_path):
    """The whole overview, which `status` alone asks for, does grow: the counting can see it."""
    few, many = (
        instructions_of_overview(a_ledger_of(tmp_path / str(size), size, body_bytes=PLACEHOLDER)) for size in (FEW, MANY)
    )
    assert many > 10 * few


def instructions_of_overview(url):
    with closing(open_ledger(url, owner="flat")) as ledger:
        return instructions(driver_of(ledger), ledger.overview)
