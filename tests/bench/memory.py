"""Peak memory while collecting one 100 MB message in chunks, above the idle daemon."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.bench.bench_world import RunningDaemon, a_client, a_sandbox, configure
from tests.support.sandbox import HOSPITAL, PRACTICE

from mesh_itk3.simulator.messages import a_message

SIZE = 100 * 1024 * 1024
CHUNK = 19 * 1024 * 1024


def main() -> None:
    with tempfile.TemporaryDirectory() as directory, a_sandbox(Path(directory)) as sandbox:
        daemon = RunningDaemon(configure(Path(directory), sandbox.url))
        daemon.expect("mailbox.polled")
        daemon.expect("respond.done", 2)
        daemon.expect("respond.done", 3)
        try:
            daemon.moment("mailbox.polled")
            _one_small(sandbox.url, daemon)
            idle_kb = daemon.memory_kb("VmRSS")
            daemon.forget_peak()
            _send_large(sandbox.url)
            daemon.moment("respond.done", 3)
            peak_kb = daemon.memory_kb("VmHWM")
        finally:
            daemon.stop()
        rise = (peak_kb - idle_kb) / 1024
        print(f"idle {idle_kb / 1024:.0f} MB, peak {peak_kb / 1024:.0f} MB: {rise:.0f} MB above idle (limit 64)")


def _one_small(url: str, daemon: RunningDaemon) -> None:
    """So that everything is imported and warm before the idle figure is taken."""
    with a_client(url, HOSPITAL) as client:
        client.send_message(PRACTICE, a_message("ITK003D", seed="warm"), workflow_id="TOC_FHIR_IP_DISCH")
    daemon.moment("respond.done", 2)


def _send_large(url: str) -> None:
    """A discharge letter with 100 MB of text, larger than the daemon takes: it is kept, and answered 20015."""
    letter = a_message("ITK003D", seed="large")
    at = letter.rindex(b"</Bundle>")
    body = letter[:at] + b" " * (SIZE - len(letter)) + letter[at:]
    with tempfile.TemporaryFile() as file, a_client(url, HOSPITAL) as client:
        file.write(body)
        file.seek(0)  # mesh-client sends from where the file stands, and waits for ever for what it has passed
        client.send_message(PRACTICE, file, workflow_id="TOC_FHIR_IP_DISCH", max_chunk_size=CHUNK)
