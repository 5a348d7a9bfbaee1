"""The small share of trials with the two processes of `mesh-itk3 run`: killed as a group, or the inner one alone."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mesh_itk3.simulator.demo_practice import PROGRAM, child_environment
from mesh_itk3.simulator.leash import leashed
from mesh_itk3.simulator.prove.evidence import Violation
from mesh_itk3.simulator.prove.gather import calls_of
from mesh_itk3.simulator.prove.oracle import at_any_time, of_a_service
from mesh_itk3.simulator.prove.world import POLL_INTERVAL_S
from mesh_itk3.simulator.sandbox import PRACTICE_MAILBOX, end

if TYPE_CHECKING:
    from mesh_itk3.simulator.prove.trial import Trial

BEGINS_WITHIN_S: Final = 120.0
"""As all of these: reached by a fault alone, and not by a machine that is busy with many trials at a time."""
FINISHES_WITHIN_S: Final = 120.0
STOPS_WITHIN_S: Final = 60.0
TICK_S: Final = 0.05


def run_service(trial: Trial) -> bool:
    """Starts the daemon, kills, and leaves nothing of it running; whether nothing was violated."""
    run = _Run(trial)
    try:
        run.play()
    finally:
        run.end()
    trial.outcome.violations += of_a_service(calls_of(run.lines), interval_s=POLL_INTERVAL_S, started_at=run.started_at)
    trial.outcome.violations += at_any_time(trial.evidence())
    return not trial.outcome.violations


class _Run:
    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.lines: list[dict[str, Any]] = []
        self.started_at = time.monotonic()
        batch = trial.batch
        with batch.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603  # a command line of ours
                leashed([*PROGRAM, "run", "--config", str(batch.configuration)]),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=child_environment(os.environ), start_new_session=True,
            )  # fmt: skip

    def play(self) -> None:
        planned = self.trial.plan.service
        if planned is None or not self._until(lambda: bool(self.lines), BEGINS_WITHIN_S):
            self.trial.outcome.violations.append(Violation("run failed", "the service never called MESH"))
            return
        time.sleep(planned.after_us / 1e6)
        if planned.kills == "group":
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self._kill_inner()
            if not self._until(self._is_answered, FINISHES_WITHIN_S):
                self.trial.outcome.violations.append(
                    Violation("no next step", "the service did not finish after its inner process died")
                )
        self.trial.outcome.killed_at[f"the service: {planned.kills}"] += 1
        self.trial.outcome.timed_kills += 1
        self.trial.outcome.story.append(f"killed the service's {planned.kills}, {planned.after_us} us after its first call")

    def _kill_inner(self) -> None:
        """Its only child."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii").split()
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def _is_answered(self) -> bool:
        trial = self.trial
        inbox = trial.batch.world.window.inbox(PRACTICE_MAILBOX)
        deserved = [code for each in trial.messages for code in each.codes if not (each.waits and code.startswith("3"))]
        taken = all(each.is_foreign or inbox.get(each.mesh_message_id) == "acknowledged" for each in trial.messages)
        return taken and len({each.local_id for each in trial.sendings}) >= len(deserved)

    def _until(self, what: Any, within_s: float) -> bool:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline and self.process.poll() is None:
            self.lines += self.trial.take_news()
            if what():
                return True
            time.sleep(TICK_S)
        return False

    def end(self) -> None:
        """Stops what is left, and waits until the last process of the group has gone: it would hold the ledger's lock."""
        end(self.process, within_s=STOPS_WITHIN_S)
        deadline = time.monotonic() + STOPS_WITHIN_S
        while time.monotonic() < deadline:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                break
            time.sleep(TICK_S)
        self.lines += self.trial.take_news()
