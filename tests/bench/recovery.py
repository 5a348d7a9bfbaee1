"""A daemon was killed with 10,000 messages unfinished: how long until the next one has worked on the first of them, and how
much memory both its processes take, against a start with an empty ledger.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.bench.bench_world import RunningDaemon, a_sandbox, configure
from tests.support.sandbox import HOSPITAL, PRACTICE

from mesh_itk3.adapters.ledger import SqlLedger, migrate, open_ledger
from mesh_itk3.adapters.payload_store import DirectoryPayloadStore
from mesh_itk3.lifecycle import State
from mesh_itk3.ports import Changes, Entry, Kind, MeshHeaders, MessageKey, NewResponse, Received, Step
from mesh_itk3.simulator.messages import a_20_kb_letter

RECEIVED, ACCEPTED, OWED = 4_000, 3_000, 3_000
IN_PROGRESS = 100
"""Of the accepted ones: claimed when the daemon died. It claims at most 50 for each stage."""
ROUNDS = 3
NOW = datetime.now(UTC) - timedelta(hours=1)
WORKFLOW = "TOC_FHIR_IP_DISCH"


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        for number in range(1, ROUNDS + 1):
            empty = _started(Path(directory) / f"empty-{number}", is_full=False)
            full = _started(Path(directory) / f"full-{number}", is_full=True)
            print(
                f"round {number}: first message worked on {full[1]:.2f} s after the process began (ready after {full[0]:.2f} s,"
                f" empty ledger {empty[0]:.2f} s); peak memory {full[2] / 1024:.0f} MB, empty ledger {empty[2] / 1024:.0f} MB",
                flush=True,
            )


def _started(directory: Path, *, is_full: bool) -> tuple[float, float, int]:
    """Seconds until ready, seconds until the first message was worked on, peak memory (kB) ten seconds after the start."""
    with a_sandbox(directory_of(directory)) as sandbox:
        config = configure(directory, sandbox.url)
        if is_full:
            _fill(directory / "state")
        began = time.monotonic()
        daemon = RunningDaemon(config)
        names = ("interpret.done", "dispatch.done", "respond.done") if is_full else ()
        for name in ("service.started", *names):
            daemon.expect(name)
        try:
            ready = daemon.moment("service.started").time_s - began
            firsts = [daemon.moment(name).time_s - began for name in names]
            time.sleep(max(0.0, 10.0 - (time.monotonic() - began)))
            peak_kb = daemon.memory_kb("VmHWM")
        finally:
            daemon.stop()
        return ready, min(firsts, default=ready), peak_kb


def directory_of(directory: Path) -> Path:
    directory.mkdir(parents=True)
    return directory


# ------------------------------------------------------------------------------------------------ what was left behind


def _fill(state: Path) -> None:
    url = f"sqlite:///{state}/ledger.db"
    migrate(url, NOW)
    payloads = DirectoryPayloadStore(state / "payloads")
    received = [_received(payloads, number) for number in range(RECEIVED + ACCEPTED + OWED)]
    with closing(open_ledger(url, owner="bench")) as ledger:
        for some in _batches(received):
            ledger.record_all_received([(each, _entry("collect", "received")) for each in some])
            ledger.record_acknowledged([each.key for each in some], NOW)
        accepted = [each.key for each in received[RECEIVED:]]
        _apply(ledger, [_accepted(key, owes=number >= ACCEPTED) for number, key in enumerate(accepted)])
        _apply(ledger, [_completed(key) for key in accepted[ACCEPTED:]])
        ledger.claim(State.ACCEPTED, (Kind.MESSAGE,), (PRACTICE,), NOW, IN_PROGRESS)
    # As a killed daemon leaves it: what its lock file says is still there.
    (state / "ledger.db.lock").write_text("pid 1 on here\n")


def _batches(received: list[Received]) -> list[list[Received]]:
    return [received[start : start + 500] for start in range(0, len(received), 500)]


def _received(payloads: DirectoryPayloadStore, number: int) -> Received:
    body = a_20_kb_letter(f"recovery-{number}")
    mesh_message_id = f"20260101000000{number:06}_A1B2C3"
    headers = MeshHeaders(mesh_message_id, WORKFLOW, "DATA", HOSPITAL, PRACTICE)
    draft = payloads.draft(payloads.new_name(PRACTICE), lambda file: file.write(body) and None, headers)
    for file in draft.files:
        file.take_place()  # not durable: ten thousand fsyncs are no part of what is measured
    key = MessageKey(PRACTICE, mesh_message_id)
    return Received(key, WORKFLOW, Kind.MESSAGE, NOW, HOSPITAL, None, None, draft.stored)


def _entry(stage: str, outcome: str) -> Entry:
    return Entry(at=NOW, stage=stage, outcome=outcome)


def _accepted(key: MessageKey, *, owes: bool) -> Step:
    owed = (_response("infrastructure", "20013"),) if owes else ()
    changes = Changes(message_header_id=str(uuid.uuid4()), event_code="ITK003D", handler="transfer_of_care")
    return Step(key, State.RECEIVED, State.ACCEPTED, _entry("interpret", "accepted"), changes, owed)


def _completed(key: MessageKey) -> Step:
    owed = (_response("business", "30001"),)
    return Step(key, State.ACCEPTED, State.COMPLETED, _entry("dispatch", "completed"), Changes(finished_at=NOW), owed)


def _response(level: str, code: str) -> NewResponse:
    body = b"x" * 3_000
    return NewResponse(level, code, str(uuid.uuid4()), uuid.uuid4().hex, HOSPITAL, f"{WORKFLOW}_ACK", body)  # type: ignore[arg-type]


def _apply(ledger: SqlLedger, steps: list[Step]) -> None:
    for start in range(0, len(steps), 500):
        ledger.apply(steps[start : start + 500])
