"""The practices of a conformance run: each is one daemon with a configuration of its own. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import orjson

from mesh_itk3.simulator import sandbox
from mesh_itk3.simulator.choices import PRACTICE_ODS
from mesh_itk3.simulator.conformance.codes import RESPONSE_WORKFLOWS

MAX_MESSAGE_BYTES: Final = 1_500_000
AUTHORISED: Final = "X26HCAUTH"
"""The mailbox of the one hospital that may send to the practice `closed`."""
SAMPLES_ADDRESSED_TO: Final = ("RY6", "P86609", "B86057", "X26")
"""ODS codes that the official samples name as their receiver: answered for, so that the samples can be sent unchanged."""


@dataclass(frozen=True, slots=True)
class Setup:
    """One practice."""

    name: str
    shows: str
    mailbox_id: str
    ods_code: str = PRACTICE_ODS
    mailbox: str = ""
    """Further keys of the mailbox's table."""
    tables: str = ""
    """Further tables."""
    has_register: bool = True
    poll_interval_s: int = 1
    starts_after_sending: bool = False
    """The hospital has sent everything before the daemon starts."""
    closes_senders: bool = False
    """The hospital's mailboxes are closed after it has sent, before the daemon starts."""
    act: int = 0
    """Setups of one act run at the same time."""


def _strictness(level: str) -> str:
    return "".join(f'[workflows.{workflow_id}]\nstrictness = "{level}"\n' for workflow_id in RESPONSE_WORKFLOWS)


_LIMIT: Final = f"[limits]\nmax_message_bytes = {MAX_MESSAGE_BYTES}\n"

SETUPS: Final = (
    Setup("standard", "the shipped defaults; messages may have 1.5 MB", "X26GP01", mailbox='also_serves = ["A81002"]',
          tables=_LIMIT),
    Setup("strict", "every workflow at strictness strict", "X26GP02", tables=_strictness("strict")),
    Setup("lenient", "every workflow at strictness lenient", "X26GP03", tables=_strictness("lenient")),
    Setup("shared", "another system uses this mailbox too: what answers nothing of ours is left; no handler for documents",
          "X26GP04", mailbox='uncorrelated = "leave"', tables="[handlers.discharge_letters]\nenabled = false\n"),
    Setup("samples", "answers for the organisations that the official samples are addressed to; no patient register", "X26GP05",
          mailbox=f"also_serves = {orjson.dumps(SAMPLES_ADDRESSED_TO).decode()}", has_register=False),
    Setup("lists", "keeps lists of its persons and of known senders, and can open PDF only", "X26GP08",
          mailbox='persons = ["999900000001"]\nknown_senders = ["X26"]', tables='[attachments]\nsupported = ["pdf"]\n'),
    Setup("closed", "only one hospital's mailbox is authorised to send", "X26GP09",
          mailbox=f'authorised_senders = ["{AUTHORISED}"]'),
    Setup("full", "full acknowledgement: its business responses ask for an infrastructure response", "X26GP10",
          tables="".join(f"[workflows.{name}]\nfull_acknowledgement = true\n" for name in RESPONSE_WORKFLOWS)),
    Setup("crowd", "polls every five minutes, as MESH wants it; the inbox is full before the daemon starts", "X26GP06",
          poll_interval_s=300, starts_after_sending=True, act=1),
    Setup("refusing", "the hospital's mailbox is gone before it can be answered", "X26GP07", starts_after_sending=True,
          closes_senders=True, act=2),
)  # fmt: skip
BY_NAME: Final = {setup.name: setup for setup in SETUPS}


def configuration(setup: Setup, url: str, root: str) -> str:
    """The practice's mesh-itk3.toml; `root` is the absolute path of its directory."""
    text = (
        "# Written by `mesh-itk3 conformance`. All patients are invented.\n"
        f"state_directory = {_toml(root + '/state')}\n\n"
        f'[mesh]\nenvironment = "sandbox"\nurl = {_toml(url)}\nshared_key = {_toml(sandbox.SHARED_KEY)}\n\n'
        f"[mailboxes.{setup.mailbox_id}]\nods_code = {_toml(setup.ods_code)}\npassword = {_toml(sandbox.PASSWORD)}\n"
        f"poll_interval_s = {setup.poll_interval_s}\n{setup.mailbox}\n\n"
    )
    if setup.has_register:
        text += f'[patients]\nsource = "csv"\nfile = {_toml(root + "/patients.csv")}\n\n'
    return text + setup.tables


def _toml(text: str) -> str:
    return orjson.dumps(text).decode()  # a JSON string is a TOML basic string
