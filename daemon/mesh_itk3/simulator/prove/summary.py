"""What a run of trials has come to: figures, as a document and as a page of Markdown."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from mesh_itk3 import __version__
from mesh_itk3.simulator.prove.oracle import INVARIANTS

LOST: Final = ("lost", "acknowledged, not durable")
DUPLICATED: Final = ("second response", "repeated differently", "second letter", "business after a negative")


@dataclass(slots=True)
class Summary:
    """Adds up outcomes."""

    seed: int
    asked: int
    """Trials that were to be run."""
    trials: int = 0
    messages: int = 0
    responses: int = 0
    repeated: int = 0
    rounds: int = 0
    timed_kills: int = 0
    killed_trials: int = 0
    service_trials: Counter[str] = field(default_factory=Counter)
    killed_at: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    acts: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)
    """By invariant; a trial counts once for each."""
    not_run: list[int] = field(default_factory=list)
    """Seeds whose trials could not be run."""
    failed: list[dict[str, Any]] = field(default_factory=list)
    """Outcomes with a violation."""
    seconds: float = 0.0
    is_cut_short: bool = False
    """Ended by a person, or by what could not go on."""

    def add(self, outcome: Mapping[str, Any]) -> None:
        """One more trial."""
        self.trials += 1
        for name in ("messages", "responses", "repeated", "rounds", "timed_kills"):
            setattr(self, name, getattr(self, name) + outcome[name])
        self.killed_trials += outcome["kills"] > 0
        self.killed_at.update(outcome["killed_at"])
        self.faults.update(outcome["faults"])
        self.acts.update(outcome["acts"])
        if outcome["service"]:
            self.service_trials[outcome["service"]] += 1
        if outcome["violations"]:
            self.violations.update({each["invariant"] for each in outcome["violations"]})
            self.failed.append(dict(outcome))

    @property
    def kills(self) -> int:
        return self.killed_at.total()

    @property
    def passed(self) -> bool:
        """At least one trial, all that were begun were judged, and nothing was violated."""
        return self.trials > 0 and not self.failed and not self.not_run

    def count_of(self, invariants: Sequence[str]) -> int:
        return sum(self.violations[name] for name in invariants)

    def document(self, out: Path) -> dict[str, Any]:
        """Everything. Its keys are a contract; new ones may be added."""
        return {
            "program": "mesh-itk3",
            "version": __version__,
            "seed": self.seed,
            "last_seed": self.seed + self.asked - 1,
            "trials_asked": self.asked,
            "trials": self.trials,
            "trials_with_a_kill": self.killed_trials,
            "service_trials": dict(self.service_trials),
            "runs": self.rounds,
            "kills": self.kills,
            "kills_at_a_time": self.timed_kills,
            "faults": self.faults.total(),
            "operator_commands": self.acts.total(),
            "messages": self.messages,
            "responses": self.responses,
            "repeated_byte_identically": self.repeated,
            "lost": self.count_of(LOST),
            "duplicated": self.count_of(DUPLICATED),
            "not_run": self.not_run,
            "violations": dict(self.violations),
            "failed": [self._failure(outcome, out) for outcome in self.failed],
            "seconds": round(self.seconds, 1),
            "is_cut_short": self.is_cut_short,
            "passed": self.passed,
            "machine": machine(),
            "killed_at": dict(self.killed_at.most_common()),
            "faults_by_kind": dict(self.faults.most_common()),
            "operator_commands_by_verb": dict(self.acts.most_common()),
        }

    def _failure(self, outcome: Mapping[str, Any], out: Path) -> dict[str, Any]:
        file = out / f"seed-{outcome['seed']}" / "trial.json"
        return {"seed": outcome["seed"], "violations": outcome["violations"], "file": str(file),
                "replay": f"mesh-itk3 prove --replay {file}"}  # fmt: skip


def machine() -> dict[str, Any]:
    """Where it ran, and with what."""
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "mesh_client": version("mesh-client"),
        "mesh_sandbox": version("mesh-sandbox"),
    }


# ------------------------------------------------------------------------------------------------ Markdown


def page(document: Mapping[str, Any], command: str, day: str) -> str:
    """The report: what ran where, the figures, where the kills were, what MESH did wrong."""
    return "\n".join([*_head(document, command, day), *_figures(document), *_held(document), *_counted(document)]) + "\n"


def _head(document: Mapping[str, Any], command: str, day: str) -> Iterator[str]:
    machine_ = document["machine"]
    yield "# Crash trials"
    yield ""
    yield "Trials of random kills and faults of the daemon against the MESH sandbox, judged by an oracle that shares no code"
    yield "with it. What is proven by them and what is not: [prove.md](../prove.md)."
    yield ""
    yield f"- Command: `{command}`, on {day} (UTC)"
    yield f"- Seeds: {document['seed']} to {document['last_seed']}, one for each trial{_shortened(document)}"
    yield f"- Machine: {machine_['system']}, {machine_['cores']} cores"
    yield (
        f"- mesh-itk3 {document['version']}, Python {machine_['python']}, SQLite {machine_['sqlite']}, "
        f"mesh-client {machine_['mesh_client']}, mesh-sandbox {machine_['mesh_sandbox']}"
    )
    yield ""


def _shortened(document: Mapping[str, Any]) -> str:
    asked, trials = document["trials_asked"], document["trials"]
    return f"; ended after {trials:,} of {asked:,}" if trials < asked else ""


def _figures(document: Mapping[str, Any]) -> Iterator[str]:
    service = document["service_trials"]
    rows = [
        ("trials", document["trials"]),
        ("of them with at least one kill", document["trials_with_a_kill"]),
        ("of them with the two processes of `mesh-itk3 run`", sum(service.values())),
        ("runs of the daemon", document["runs"]),
        ("kills (SIGKILL)", document["kills"]),
        ("of them at a random microsecond instead of a named point", document["kills_at_a_time"]),
        ("faults of MESH or of the disk that happened", document["faults"]),
        ("commands of an operator", document["operator_commands"]),
        ("messages", document["messages"]),
        ("responses on the wire", document["responses"]),
        ("repeated, byte for byte the same", document["repeated_byte_identically"]),
        ("**lost**", document["lost"]),
        ("**duplicated**", document["duplicated"]),
        ("**trials with a violation**", len(document["failed"])),
    ]
    yield "| | |"
    yield "|---|---|"
    for name, count in rows:
        yield f"| {name} | {count:,} |"
    rate = document["trials"] / document["seconds"] if document["seconds"] else 0.0
    yield f"| duration | {document['seconds']:,.0f} s, {rate:.1f} trials a second |"
    yield ""


def _held(document: Mapping[str, Any]) -> Iterator[str]:
    yield "## Invariants"
    yield ""
    yield "| invariant | | trials that violate it |"
    yield "|---|---|---|"
    for name, says in INVARIANTS.items():
        yield f"| {name} | {says} | {document['violations'].get(name, 0)} |"
    yield ""
    for failure in document["failed"]:
        yield f"- seed {failure['seed']}: {'; '.join(sorted({each['invariant'] for each in failure['violations']}))}"


def _counted(document: Mapping[str, Any]) -> Iterator[str]:
    for title, says, counts in (
        ("Where the kills were", "point, or the last point passed before a kill at a random time", document["killed_at"]),
        ("Faults", "call and fault", document["faults_by_kind"]),
        ("Commands of an operator", "command", document["operator_commands_by_verb"]),
    ):
        yield f"## {title}"
        yield ""
        yield f"| {says} | times |"
        yield "|---|---|"
        for name, count in counts.items():
            yield f"| {name} | {count:,} |"
        yield ""
