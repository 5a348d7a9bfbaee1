"""Where a worker's trials take place: a sandbox behind a window, a warm parent, and a practice for a batch of trials."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from mesh_itk3.simulator.choices import PRACTICE_ODS
from mesh_itk3.simulator.demo_practice import child_environment
from mesh_itk3.simulator.failure import SimulationFailed
from mesh_itk3.simulator.faulty_mesh import FaultyMesh
from mesh_itk3.simulator.hospital import Hospital
from mesh_itk3.simulator.messages import a_message, not_well_formed
from mesh_itk3.simulator.patients import write_register
from mesh_itk3.simulator.prove.gather import Disk, Window
from mesh_itk3.simulator.prove.parent import WarmParent
from mesh_itk3.simulator.sandbox import HOSPITAL_MAILBOX, PASSWORD, PRACTICE_MAILBOX, SHARED_KEY, Sandbox

POLL_INTERVAL_S: Final = 1
WITHIN_S: Final = 60.0
"""A run that takes longer hangs: the longest take a few seconds."""

CONFIGURATION: Final = """\
state_directory = {state}
[mesh]
environment = "sandbox"
url = {url}
shared_key = "{shared_key}"
[mailboxes.{mailbox}]
ods_code = "{ods_code}"
password = "{password}"
poll_interval_s = {interval}
[patients]
source = "csv"
file = {patients}
"""


@dataclass(slots=True)
class World:
    """What outlives a batch. Made by `a_world`."""

    root: Path
    window: Window
    parent: WarmParent
    hospital: Hospital
    change: str | None = None
    """See `parent.change_of`."""
    _number: int = 0

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        """An empty sandbox and a practice without a ledger."""
        self._number += 1
        root = self.root / f"batch-{self._number}"
        root.mkdir()
        self.window.forget()
        proxy = FaultyMesh(self.window.url)
        proxy.start()
        try:
            yield _furnished(Batch(self, root, proxy))
        finally:
            proxy.stop()
            # Not waited for: deleting thousands of small files takes a while, and the next batch has its own.
            threading.Thread(target=shutil.rmtree, args=(root,), kwargs={"ignore_errors": True}, daemon=True).start()

    def warm_up(self) -> None:
        """Lets the warm parent do one run itself, over letters of each form: its children need not import anything anew."""
        with self.batch() as batch:
            letters = [a_message("ITK003D", seed="warm"), a_message("ITK007C", seed="warm", form="json")]
            for letter in (*letters, not_well_formed(a_message("ITK004D", seed="warm"))):
                self.hospital.send(letter, to=PRACTICE_MAILBOX, workflow_id="TOC_FHIR_IP_DISCH")
            answer = batch.order("warm")
            if answer["code"] != 0 or answer["left"]:
                raise SimulationFailed(f"the daemon does not run here; its log is {batch.kept_log()}")


@dataclass(slots=True)
class Batch:
    """One practice: its ledger holds the history of the trials before."""

    world: World
    root: Path
    proxy: FaultyMesh
    disk: Disk = field(init=False)

    def __post_init__(self) -> None:
        self.disk = Disk(self.root)

    @property
    def log(self) -> Path:
        return self.root / "daemon.log"

    @property
    def configuration(self) -> Path:
        """Reaches the sandbox at once."""
        return self.root / "mesh-itk3.toml"

    @property
    def faulty_configuration(self) -> Path:
        """Reaches it through the proxy that fails as it is told."""
        return self.root / "faulty.toml"

    def order(self, what: str, **order: Any) -> dict[str, Any]:
        """An order to the warm parent. Raises SimulationFailed where that has ended."""
        world = self.world
        given = {"config": str(self.configuration), "log": str(self.log), "within_s": WITHIN_S, "change": world.change} | order
        try:
            return world.parent.ask(do=what, **given)
        except EOFError as error:
            raise SimulationFailed("the process that forks the daemon has ended") from error

    def kept_log(self) -> Path:
        """The log, where the end of the batch does not delete it."""
        kept = self.world.root / "failed-daemon.log"
        shutil.copyfile(self.log, kept)
        return kept


def _furnished(batch: Batch) -> Batch:
    write_register(batch.root / "patients.csv", datetime.now(UTC).date())
    for file, url in ((batch.configuration, batch.world.window.url), (batch.faulty_configuration, batch.proxy.url)):
        text = CONFIGURATION.format(
            state=_toml(batch.root / "state"),
            url=_toml(url),
            shared_key=SHARED_KEY,
            mailbox=PRACTICE_MAILBOX,
            ods_code=PRACTICE_ODS,
            password=PASSWORD,
            interval=POLL_INTERVAL_S,
            patients=_toml(batch.root / "patients.csv"),
        )
        file.write_text(text, encoding="utf-8")
        file.chmod(0o600)
    return batch


def _toml(value: Path | str) -> str:
    return orjson.dumps(str(value)).decode()  # a JSON string is a TOML basic string


@contextmanager
def a_world(root: Path) -> Iterator[World]:
    """A running sandbox and a warm parent in this empty directory. Raises SimulationFailed."""
    with ExitStack() as stack:
        # First: the parent of all runs must hold no thread, and inherits no descriptor of ours.
        parent = WarmParent(root / "parent.log", child_environment(os.environ))
        stack.callback(parent.stop)
        log = root / "window.jsonl"
        sandbox = Sandbox(
            root / "sandbox.log", app="mesh_itk3.simulator.prove.window:app", environment={"WINDOW_LOG": str(log)}
        )
        stack.enter_context(sandbox)
        hospital = stack.enter_context(Hospital(sandbox.url, HOSPITAL_MAILBOX, PASSWORD, SHARED_KEY))
        world = World(root, Window(sandbox.url, log), parent, hospital)
        world.warm_up()
        yield world
