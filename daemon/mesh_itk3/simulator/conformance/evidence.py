"""The evidence of a run: one document for JSON and page, and the exchanged bytes as files beside them."""

from __future__ import annotations

import hashlib
import platform
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson

from mesh_itk3 import __version__
from mesh_itk3.simulator.conformance.case import Answer, Case, Decision, Message, NonDelivery, Redelivery, Reply
from mesh_itk3.simulator.conformance.close_reading import CHECKS
from mesh_itk3.simulator.conformance.codes import CODES
from mesh_itk3.simulator.conformance.described import table_sha256
from mesh_itk3.simulator.conformance.judge import Observed, Sent, expected_answers
from mesh_itk3.simulator.conformance.reading import form_of, read_flags
from mesh_itk3.simulator.conformance.run import Result
from mesh_itk3.simulator.conformance.setups import SETUPS
from mesh_itk3.simulator.conformance.table import CASES
from mesh_itk3.simulator.correspondence import Received

T = TypeVar("T")

MOST_FILES: Final = 6
"""Of one case and direction; of a crowd only the first and the last are kept."""
EXCHANGE: Final = "exchange"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a run is known by."""

    began_at: datetime
    seconds: float
    daemon: str
    """What ran as the daemon."""
    samples: bool


def document_of(results: Sequence[Result], facts: Facts) -> dict[str, Any]:
    """The whole report. Its keys are a contract; new ones may be added."""
    counts = Counter(result.verdict for result in results)
    return {
        "program": "mesh-itk3",
        "version": __version__,
        "sandbox_version": version("mesh-sandbox"),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "daemon": facts.daemon,
        "began_at": facts.began_at.isoformat(timespec="seconds"),
        "ended_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(facts.seconds, 1),
        "has_samples": facts.samples,
        "case_table": {"cases": len(CASES), "sha256": table_sha256()},
        "counts": {"run": counts["pass"] + counts["fail"], **{name: counts[name] for name in ("pass", "fail", "not run")}},
        "passed": counts["fail"] == 0 and counts["pass"] > 0,
        "checks": [{"name": check.name, "says": check.says, "source": check.source} for check in CHECKS],
        "practices": [_practice(setup.name, results) | {"shows": setup.shows} for setup in SETUPS],
        "requirements": _requirements(results),
        "partly": {
            name: missing for name, missing in partly().items() if any(name in each.case.requirements for each in results)
        },
        "cases": [_case(result) for result in results],
    }


def _practice(name: str, results: Sequence[Result]) -> dict[str, Any]:
    ran = any(result.case.setup == name and result.observed for result in results)
    return {
        "name": name,
        "configuration": f"practices/{name}/mesh-itk3.toml" if ran else None,
        "log": f"practices/{name}/daemon.log" if ran else None,
    }


@cache
def partly() -> Mapping[str, str]:
    """Requirements of which the program does only some, with what is missing; docs/conformance.md is made of the same."""
    missing: dict[str, str] = orjson.loads(resources.files(__package__).joinpath("partly.json").read_bytes())
    return missing


def _requirements(results: Sequence[Result]) -> dict[str, list[dict[str, str]]]:
    """Each requirement with the cases that show it, and how they came out."""
    found: dict[str, list[dict[str, str]]] = {}
    for result in results:
        for requirement in result.case.requirements:
            found.setdefault(requirement, []).append({"case": result.case.name, "verdict": result.verdict})
    return dict(sorted(found.items()))


def _case(result: Result) -> dict[str, Any]:
    observed = result.observed
    return {
        "name": result.case.name,
        "group": result.case.group,
        "shows": result.case.shows,
        "practice": result.case.setup,
        "requirements": list(result.case.requirements),
        "verdict": result.verdict,
        "reason": result.reason or None,
        "differences": list(result.differences),
        "seconds": round(result.duration_s, 2),
        "hospital_mailbox": result.mailbox_id,
        "steps": _steps(result.case),
        "sent": list(_all_sent(result, observed)) if observed else [],
        "expected": [_expected(answer) for _, (_, answer) in _shown(expected_answers(result.case))],
        "expected_count": len(expected_answers(result.case)),
        "received": list(_all_received(result, observed)) if observed else [],
        "received_count": len(observed.received) if observed else 0,
        "records": list(_records(observed)) if observed else [],
    }


def _steps(case: Case) -> list[str]:
    """What is done, in words."""
    return [_step_in_words(step.action) for step in case.steps]


def _step_in_words(action: Message | Decision | Redelivery | NonDelivery | Reply) -> str:
    match action:
        case Message(workflow_id=workflow_id, times=times):
            many = f" {times} messages" if times > 1 else ""
            return f"the hospital sends{many} on {workflow_id}{_how(action)}"
        case Decision(code):
            return f"a person at the practice decides: {code}"
        case Redelivery():
            return "MESH lists the message again"
        case NonDelivery():
            return "MESH reports that the last response was not collected"
        case Reply(code=code, workflow_id=workflow_id):
            return f"the hospital sends a response {code} on {workflow_id}"


def _how(message: Message) -> str:
    chunks = f", in chunks of {message.chunk_bytes:,} bytes" if message.chunk_bytes else ""
    line = ", compressed for the line" if message.line_gzip else ""
    return chunks + line + (", compressed by its sender" if message.is_gzip or message.claims_gzip else "")


def _expected(answer: Answer) -> dict[str, Any]:
    return {"code": answer.code, "level": _level(answer.code), "display": CODES[answer.code].display}


def _level(code: str | None) -> str | None:
    return None if code is None else "business" if code.startswith("3") else "infrastructure"


def _shown(items: Sequence[T]) -> Sequence[tuple[int, T]]:
    """Those that are shown, with their numbers: all, or of very many the first and the last."""
    numbered = list(enumerate(items, start=1))
    return numbered if len(numbered) <= MOST_FILES else [numbered[0], numbered[-1]]


def _all_sent(result: Result, observed: Observed) -> Iterator[dict[str, Any]]:
    for number, sent in _shown(observed.sent):
        yield {
            "file": f"{EXCHANGE}/{result.case.name}/sent-{number}.{form_of(sent.body)}",
            "bytes": len(sent.body),
            "sha256": hashlib.sha256(sent.body).hexdigest(),
            "workflow_id": sent.workflow_id,
            "mesh_message_id": sent.mesh_message_id,
            "message_header_id": sent.message_header_id,
            "flags": read_flags(sent.body),
        }


def _all_received(result: Result, observed: Observed) -> Iterator[dict[str, Any]]:
    for number, item in _shown(observed.received):
        response = item.response
        yield {
            "file": f"{EXCHANGE}/{result.case.name}/received-{number}.{form_of(item.body)}",
            "bytes": len(item.body),
            "sha256": hashlib.sha256(item.body).hexdigest(),
            "code": response.code if response else None,
            "level": _level(response.code if response else None),
            "display": response.display if response else None,
            "diagnostics": response.diagnostics if response else None,
            "answers": response.answers if response else None,
            "workflow_id": item.workflow_id,
            "mesh_message_id": item.mesh_message_id,
            "is_report": item.report_of is not None,
            "received_at": item.received_at,
        }


def _records(observed: Observed) -> Iterator[dict[str, Any]]:
    for _, sent in _shown(observed.sent):
        record: Mapping[str, Any] = observed.records.get(sent.mesh_message_id, {})
        yield {
            "state": "left in MESH" if sent.mesh_message_id in observed.left else record.get("state"),
            "is_filed": sent.mesh_message_id in observed.filed,
            "warnings": list(record.get("warnings", ())),
            "duplicate_of": record.get("duplicate_of"),
            "responses": [response["state"] for response in record.get("responses", ())],
        }


# ------------------------------------------------------------------------------------------------ files


def write_exchange(directory: Path, results: Sequence[Result]) -> None:
    """Every message and response as a file of its own; of a crowd the first and the last."""
    for result in results:
        if result.observed is None:
            continue
        folder = directory / EXCHANGE / result.case.name
        folder.mkdir(parents=True)
        for number, sent in _shown(result.observed.sent):
            _write(folder, "sent", number, sent)
        for number, item in _shown(result.observed.received):
            _write(folder, "received", number, item)


def _write(folder: Path, what: str, number: int, item: Sent | Received) -> None:
    (folder / f"{what}-{number}.{form_of(item.body)}").write_bytes(item.body)


def write_practices(directory: Path, root: Path) -> None:
    """The configuration and the log of every daemon that ran."""
    for practice in sorted((root / "practices").glob("*")):
        folder = directory / "practices" / practice.name
        folder.mkdir(parents=True)
        for name in ("mesh-itk3.toml", "daemon.log"):
            if (practice / name).exists():
                shutil.copyfile(practice / name, folder / name)


def write_json(directory: Path, document: Mapping[str, Any]) -> None:
    (directory / "conformance.json").write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
