"""What the ledger costs for one message, and what its questions cost, by how many messages it already holds. All sizes are
built first and then measured in turn, so that ratios hold when the machine's speed drifts.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.bench.many_rows import HOSPITAL, MAILBOX, a_ledger_of

from mesh_itk3.adapters.ledger import SqlLedger, open_ledger
from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import (
    Changes,
    Entry,
    Kind,
    MessageKey,
    NewResponse,
    Received,
    ResponseChanges,
    ResponseRecord,
    ResponseStep,
    Step,
    StoredPayload,
)

SIZES = tuple(int(size) for size in os.environ.get("MESH_ITK3_BENCH_ROWS", "1000,10000,100000,1000000").split(","))
ROUNDS = 9
BATCH = 50
"""As the daemon takes them."""
NOW = datetime(2026, 1, 1, tzinfo=UTC)
HERE = (MAILBOX,)

Timing = dict[str, list[float]]


def main() -> None:
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        ledgers = {size: _opened(Path(directory) / str(size), size, stack) for size in SIZES}
        os.sync()  # what was written in bulk must not be on its way to the disk while commits are measured
        timings: dict[int, Timing] = {size: defaultdict(list) for size in SIZES}
        for _ in range(ROUNDS):
            for size, ledger in ledgers.items():
                for name, seconds in _one_round(ledger):
                    timings[size][name].append(seconds)
    _print(timings)


def _opened(directory: Path, size: int, stack: ExitStack) -> SqlLedger:
    began = time.monotonic()
    url = a_ledger_of(directory, size)
    megabytes = sum(file.stat().st_size for file in directory.iterdir()) / 2**20
    print(f"{size:>9} messages: {megabytes:6.0f} MB, written in {time.monotonic() - began:.0f} s", flush=True)
    ledger = stack.enter_context(closing(open_ledger(url, owner="bench")))
    ledger.hold(HERE, NOW)
    return ledger


def _one_round(ledger: SqlLedger) -> Iterator[tuple[str, float]]:
    """Name and seconds: of a message's steps for one message, of a question for one asking."""
    whole = 0.0
    for name, step in _path(ledger):
        seconds = _timed(step) / BATCH
        whole += seconds
        yield f"{name}, per message", seconds
    yield "the whole path, per message", whole
    for name, ask in _questions(ledger):
        yield name, _timed(ask)


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


# ------------------------------------------------------------------------------------------------ the path of fifty messages


def _path(ledger: SqlLedger) -> Iterator[tuple[str, Callable[[], object]]]:
    received = [_received() for _ in range(BATCH)]
    keys = [each.key for each in received]
    yield "known", lambda: ledger.known(MAILBOX, [key.mesh_message_id for key in keys])
    yield "record", lambda: ledger.record_all_received([(each, _entry("collect", "received")) for each in received])
    yield "acknowledged", lambda: ledger.record_acknowledged(keys, NOW)
    yield "claim", lambda: ledger.claim(State.RECEIVED, (Kind.MESSAGE,), HERE, NOW, BATCH)
    yield "duplicate look-up", lambda: [ledger.accepted_before(MAILBOX, HOSPITAL, _id(), f"urn:system|{_id()}") for _ in keys]
    yield "accept and owe", lambda: ledger.apply([_accepted(key) for key in keys])
    yield "claim again", lambda: ledger.claim(State.ACCEPTED, (Kind.MESSAGE,), HERE, NOW, BATCH)
    yield "complete and owe", lambda: ledger.apply([_completed(key) for key in keys])
    claimed: list[ResponseRecord] = []
    yield "claim responses", lambda: claimed.extend(ledger.claim_responses(MAILBOX, NOW, 2 * BATCH))
    yield "sent", lambda: ledger.apply_responses([_moved(each, ResponseState.OWED, ResponseState.SENT) for each in claimed])
    yield "to be tracked", lambda: ledger.sent_responses(MAILBOX, NOW + timedelta(hours=1), 2 * BATCH)
    yield (
        "delivered",
        lambda: ledger.apply_responses([_moved(each, ResponseState.SENT, ResponseState.DELIVERED) for each in claimed]),
    )


def _questions(ledger: SqlLedger) -> Iterator[tuple[str, Callable[[], object]]]:
    some = next(ledger.messages(limit=1))[0]
    yield "overview of what waits", ledger.overview_of_what_waits
    yield "overview of all (status)", ledger.overview
    yield "unseen", ledger.unseen
    yield "outstanding responses", ledger.outstanding_responses
    yield "waiting", lambda: ledger.waiting([State.AWAITING_DECISION, State.PARKED])
    yield "overdue responses", lambda: ledger.overdue_responses(HERE, NOW, 50)
    yield "has work", lambda: ledger.has_work(HERE)
    yield "find by header id", lambda: ledger.find(some.message_header_id or "")
    yield "timeline", lambda: ledger.timeline(some.key)
    yield "the last 20 messages", lambda: list(ledger.messages(limit=20))
    yield "the last 20 parked", lambda: list(ledger.messages(states=[State.PARKED], limit=20))
    yield "recover", lambda: ledger.recover(HERE, NOW)
    yield "a step of prune: 100 payloads", lambda: _pruned(ledger)


def _pruned(ledger: SqlLedger) -> None:
    ledger.let_go_of_payloads(State.COMPLETED, datetime(2025, 6, 1, tzinfo=UTC), HERE, 100, _entry("prune", "payload_pruned"))


def _id() -> str:
    return str(uuid.uuid4())


def _received() -> Received:
    mesh_message_id = f"20260101000000{uuid.uuid4().hex[:12]}_A1B2C3"
    payload = StoredPayload(f"{MAILBOX}/2026-01/{uuid.uuid4().hex}.bin", 20_000, "0" * 64)
    key = MessageKey(MAILBOX, mesh_message_id)
    return Received(key, "TOC_FHIR_IP_DISCH", Kind.MESSAGE, NOW, HOSPITAL, f"local-{mesh_message_id}", None, payload)


def _entry(stage: str, outcome: str) -> Entry:
    return Entry(at=NOW, stage=stage, outcome=outcome)


def _accepted(key: MessageKey) -> Step:
    changes = Changes(message_header_id=_id(), document_id=f"urn:system|{_id()}", event_code="ITK003D", accepted_at=NOW)
    owed = (_response("infrastructure", "20013"),)
    return Step(key, State.RECEIVED, State.ACCEPTED, _entry("interpret", "accepted"), changes, owed)


def _completed(key: MessageKey) -> Step:
    changes = Changes(response_code="30001", finished_at=NOW)
    owed = (_response("business", "30001"),)
    return Step(key, State.ACCEPTED, State.COMPLETED, _entry("dispatch", "completed"), changes, owed)


def _response(level: str, code: str) -> NewResponse:
    return NewResponse(level, code, _id(), uuid.uuid4().hex, HOSPITAL, "TOC_FHIR_IP_DISCH_ACK", b"x" * 3_000)  # type: ignore[arg-type]


def _moved(each: ResponseRecord, old: ResponseState, new: ResponseState) -> ResponseStep:
    changes = ResponseChanges(mesh_message_id=uuid.uuid4().hex, sent_at=NOW, tracked_at=NOW)
    return ResponseStep(each.local_id, old, new, _entry("respond", new.value), changes)


# ------------------------------------------------------------------------------------------------ the table


def _print(timings: dict[int, Timing]) -> None:
    smallest, largest = min(SIZES), max(SIZES)
    print(
        f"\n{'median of ' + str(ROUNDS) + ', ms':>34} " + " ".join(f"{size:>9}" for size in SIZES) + f"  {largest}:{smallest}"
    )
    for name in timings[smallest]:
        medians = [statistics.median(timings[size][name]) * 1000 for size in SIZES]
        print(f"{name:>34} " + " ".join(f"{ms:9.3f}" for ms in medians) + f"  {medians[-1] / medians[0]:.2f}")
