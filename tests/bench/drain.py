"""300 messages of 20 KB, both responses sent, against a bare single-thread mesh-client loop that makes the same HTTP
calls without durability or parsing. Alternated in one run, so that the ratio holds when the machine's speed drifts."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from tests.bench.bench_world import RunningDaemon, a_client, a_sandbox, configure, load, spread
from tests.support.sandbox import HOSPITAL, PRACTICE

from mesh_itk3.simulator.messages import a_20_kb_letter

MESSAGES = 300
PAIRS = 5
RESPONSE_BYTES = 3_000


def main() -> None:
    # Kept until the end: removing one pair's files would slow down the next pair's.
    with tempfile.TemporaryDirectory() as directory:
        spread(Path(directory))
        _main(Path(directory))


def _main(directory: Path) -> None:
    bodies = [a_20_kb_letter(f"bench-{n}") for n in range(MESSAGES)]
    ratios, cpus = [], []
    for pair in range(1, PAIRS + 1):
        bare_s = _bare(directory / f"bare-{pair}", bodies)
        daemon_s, cpu_ms = _daemon(directory / f"daemon-{pair}", bodies)
        ratios.append(bare_s / daemon_s)
        cpus.append(cpu_ms)
        rates = f"bare {MESSAGES / bare_s:5.0f}/s  daemon {MESSAGES / daemon_s:5.0f}/s"
        print(f"pair {pair}: {rates}  ratio {ratios[-1]:.2f}  daemon CPU {cpu_ms:.1f} ms a message", flush=True)
    print(f"ratio (daemon's rate over the bare loop's): median {statistics.median(ratios):.2f}, lowest {min(ratios):.2f}")
    print(f"daemon CPU: median {statistics.median(cpus):.1f} ms a message")


def _bare(directory: Path, bodies: list[bytes]) -> float:
    """List, download, acknowledge, two sends: seconds from the first call to the last answer."""
    directory.mkdir()
    with a_sandbox(directory) as sandbox:
        load(sandbox.url, bodies)
        response = b"x" * RESPONSE_BYTES
        with a_client(sandbox.url, PRACTICE) as client:
            began = time.monotonic()
            for mesh_message_id in client.list_messages():
                message = client.retrieve_message(mesh_message_id)
                message.read()
                message.acknowledge()
                for level in ("infrastructure", "business"):
                    local_id = f"{mesh_message_id}-{level}"
                    client.send_message(HOSPITAL, response, workflow_id="TOC_FHIR_IP_DISCH_ACK", local_id=local_id)
            return time.monotonic() - began


def _daemon(directory: Path, bodies: list[bytes]) -> tuple[float, float]:
    """Seconds from its first poll to the last response sent, and its CPU per message in between."""
    directory.mkdir()
    with a_sandbox(directory) as sandbox:
        load(sandbox.url, bodies)
        daemon = RunningDaemon(configure(directory, sandbox.url))
        try:
            daemon.expect("service.started")
            daemon.expect("respond.done", 2 * MESSAGES)
            began, ended = daemon.moment("service.started"), daemon.moment("respond.done", 2 * MESSAGES)
            if daemon.unexpected:
                raise RuntimeError(daemon.unexpected[0])
        finally:
            daemon.stop()
        return ended.time_s - began.time_s, (ended.cpu_s - began.cpu_s) / MESSAGES * 1000
