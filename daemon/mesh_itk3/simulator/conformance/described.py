"""The table of cases as a document that can be hashed and cited: what is sent, byte for byte, and what has to come. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import orjson

from mesh_itk3.simulator.conformance.case import Case, Letter, Message, Raw, Reply, Sample, Step
from mesh_itk3.simulator.conformance.setups import BY_NAME, configuration
from mesh_itk3.simulator.conformance.table import CASES, MAILBOX_IDS


def table_sha256(cases: Iterable[Case] = CASES) -> str:
    """Of the whole table. It changes when a case, a message or a practice's configuration does, and with nothing else."""
    document = [described(case) for case in cases]
    return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()


def described(case: Case) -> dict[str, Any]:
    """One row: names, configuration, each step with the digest of what it sends, each response."""
    return {
        "name": case.name,
        "group": case.group,
        "shows": case.shows,
        "configuration": configuration(BY_NAME[case.setup], "URL", "ROOT"),
        "requirements": case.requirements,
        "steps": [_step(case, step) for step in case.steps],
    }


def _step(case: Case, step: Step) -> dict[str, Any]:
    fields = {name: value for name, value in asdict(step).items() if name not in ("action", "answers")}
    return {**fields, "action": _action(case, step), "answers": [asdict(answer) for answer in step.answers]}


def _action(case: Case, step: Step) -> dict[str, Any]:
    kind = type(step.action).__name__
    if isinstance(step.action, Message):
        how = {name: value for name, value in asdict(step.action).items() if name != "content"}
        return {"kind": kind, **how, **_content(case, step.action.content)}
    fields = asdict(step.action)
    if isinstance(step.action, Reply):
        fields["edits"] = len(step.action.edits)
    return {"kind": kind, **fields}


def _content(case: Case, content: Letter | Sample | Raw) -> dict[str, Any]:
    match content:
        case Sample(file):
            return {"sample": file}
        case Raw(raw):
            return {"sha256": hashlib.sha256(raw).hexdigest()}
    return {"sha256": hashlib.sha256(content.body(case.name, MAILBOX_IDS[case.name])).hexdigest()}
