"""One message's life on a disk that refuses, again and again: `LD_PRELOAD=refusing.so python trials.py URL DIRECTORY SWEEP`.

Each trial is a practice of its own. A hospital sends it a letter, and somebody else's message comes with it; a round of the
daemon runs on a disk whose n-th call fails; the disk is mended and another round runs; then is looked at what the hospital has
in hand, what is filed, what is spooled. Prints one JSON line for each trial. Every round is a forked child.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from mesh_itk3.adapters.clock import SystemClock
from mesh_itk3.adapters.ledger import open_ledger
from mesh_itk3.adapters.logging import configure_logging
from mesh_itk3.composition import compose
from mesh_itk3.once import run_once
from mesh_itk3.ports import LedgerUnavailable, StorageFailed
from mesh_itk3.registry import registry_of
from mesh_itk3.service import holding
from mesh_itk3.settings import load_settings
from mesh_itk3.simulator.messages import a_message
from mesh_itk3.simulator.prove.warm import fork, wait
from support.practice import Practice, a_hospital
from support.sandbox import PRACTICE

WRITES, SYNCS, NAMES = 1, 2, 4
SWEEPS: dict[str, tuple[int, int, bool]] = {
    "fsync fails": (SYNCS, errno.EIO, False),
    "write fails": (WRITES, errno.EIO, False),
    "disk full": (WRITES | NAMES, errno.ENOSPC, True),
    "read-only": (WRITES | NAMES, errno.EROFS, True),
    "no new name": (NAMES, errno.EIO, False),
}
"""Which calls, with which error, and whether it stays so until the disk is mended."""
WORKFLOW, FOREIGN = "TOC_FHIR_IP_DISCH", "SOMEBODY_ELSES"
FOREIGN_BODY = b"<letter/>" * 100
MOST = 1_000
REFUSED = 3


@dataclass(frozen=True)
class Trial:
    """`practice` is its own; `notes` a file beside its state."""

    practice: Practice
    sweep: str
    nth: int

    @property
    def state(self) -> Path:
        return self.practice.directory / "state"

    def note(self, **what: Any) -> None:
        with (self.practice.directory / "notes").open("a") as file:
            file.write(json.dumps(what) + "\n")

    def noted(self) -> dict[str, Any]:
        lines = (self.practice.directory / "notes").read_text().splitlines()
        return {name: value for line in lines for name, value in json.loads(line).items()}

    def on_a_refusing_disk(self) -> int:
        with a_hospital(self.practice.url) as hospital:
            sent = hospital.send(a_message("ITK003D", seed=f"{self.sweep}{self.nth}"), to=PRACTICE, workflow_id=WORKFLOW)
            foreign = hospital.send(FOREIGN_BODY, to=PRACTICE, workflow_id=FOREIGN)
        self.note(sent=sent.mesh_message_id, foreign=foreign.mesh_message_id)
        disk, (kinds, error, stays) = ctypes.CDLL(None), SWEEPS[self.sweep]
        disk.arm(str(self.state).encode(), kinds, ctypes.c_long(self.nth), error, int(stays))
        try:
            code = a_round(self.practice)
        except (LedgerUnavailable, StorageFailed) as refused:
            code = REFUSED
            self.note(refused=str(refused))
        passed = disk.passed()
        self.note(refusing=code, passed=passed)
        return code

    def on_a_mended_disk(self) -> int:
        self.note(mended=a_round(self.practice))
        self.look()
        return 0

    def look(self) -> None:
        """As the hospital, the practice and another client of MESH see it."""
        with a_hospital(self.practice.url) as hospital:
            received = [each.response for each in hospital.read_inbox()]
        answers = sorted(f"{each.level} {each.code}" for each in received if each)
        letters = [json.loads(path.read_text())["mesh_message_id"] for path in self.state.glob("letters/*/*/metadata.json")]
        left = [path.name for path in self.state.glob("letters/.*.partial")]
        spooled = [path.read_bytes() for path in self.state.glob("spool/*/*.dat")]
        self.note(answers=answers, letters=letters, left=left, spooled=[each == FOREIGN_BODY for each in spooled])
        self.note(controls=len(list(self.state.glob("spool/*/*.ctl"))))
        with closing(open_ledger(f"sqlite:///{self.state}/ledger.db", owner="look")) as ledger:
            states = [(record.state.value, record.attempts) for record, _ in ledger.messages() if record.payload]
        self.note(states=states)

    def wrong(self) -> list[str]:
        """Nothing is lost, nothing doubled, and no attempt counted but the one that went well."""
        noted = self.noted()
        expected = {
            "mended": 0,
            "answers": ["business 30001", "infrastructure 20013"],
            "letters": [noted["sent"]],
            "left": [],
            "spooled": [True],
            "controls": 1,
            "states": [["completed", 1]],
        }
        return [f"{name}: {noted.get(name)}" for name, right in expected.items() if noted.get(name) != right]


def a_round(practice: Practice) -> int:
    """`mesh-itk3 run --once`, without the waits between its tries."""
    settings = load_settings(practice.config, None, os.environ)
    configure_logging(settings.log_level, log_format=settings.log_format)
    daemon = holding(compose(settings, registry_of(settings), clock=SystemClock(), stopping=threading.Event()))
    with closing(daemon):
        return run_once(daemon, wait=lambda _: None)


def a_practice(directory: Path, url: str) -> Practice:
    return Practice(directory, url, mailbox_extra='foreign = "spool"', extra="[limits]\nfree_bytes_min = 0")


def run(trial: Trial) -> dict[str, Any]:
    log = trial.practice.directory / "log"
    ended = [wait(fork(work, log)) for work in (trial.on_a_refusing_disk, trial.on_a_mended_disk)]
    crashed = [f"{each}" for each in ended if each.code not in (0, 1, REFUSED)]
    said = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    critical = sum(line["event"] in ("storage.failed", "ledger.failed") for line in said)
    return {
        **{name: trial.noted().get(name) for name in ("passed", "refusing", "refused")},
        "sweep": trial.sweep,
        "nth": trial.nth,
        "said": critical,
        "wrong": [*crashed, *trial.wrong()],
    }


def sweep(name: str, base: Path, url: str, step: int) -> Iterator[dict[str, Any]]:
    """From the first call to the first that does not come, every `step`-th."""
    for nth in range(1, MOST, step):
        directory = base / f"{name.replace(' ', '-')}-{nth}"
        shutil.copytree(base / "fresh" / "state", directory / "state")
        found = run(Trial(a_practice(directory, url), name, nth))
        if not found["wrong"]:
            shutil.rmtree(directory)
        yield found
        if (found["passed"] or 0) < nth:
            return


def main(url: str, directory: str, steps: str) -> None:
    base = Path(directory)
    fresh = a_practice(base / "fresh", url)
    wait(fork(lambda: a_round(fresh), base / "fresh" / "log"))
    for name, step in json.loads(steps).items():
        for found in sweep(name, base, url, step):
            sys.stdout.write(json.dumps(found) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
