"""`python broken_daemon.py run --config FILE`: the daemon, made wrong in four ways that a conformance run has to find.

A program of its own, started as one: nothing of the runner that judges it is touched.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from mesh_itk3 import cli
from mesh_itk3.adapters.mesh_mailbox import MeshMailbox
from mesh_itk3.ports import Outgoing


def break_a_rule() -> None:
    """In the process that judges, which this one starts."""
    os.environ["PYTHONPATH"] = str(Path(__file__).with_name("broken"))


def break_sending() -> None:
    """30002 is never sent, 30003 twice, and after 30004 comes an answer that nobody asked for."""
    send = MeshMailbox.send

    def wrong(self: MeshMailbox, outgoing: Outgoing) -> str:
        if b'"30002"' in outgoing.body:
            return "NEVERSENT"
        sent = send(self, outgoing)
        if b'"30003"' in outgoing.body:
            send(self, replace(outgoing, local_id=outgoing.local_id + "-again"))
        if b'"30004"' in outgoing.body:
            body = outgoing.body.replace(b'"30004"', b'"30001"')
            send(self, replace(outgoing, local_id=outgoing.local_id + "-more", body=body))
        return sent

    MeshMailbox.send = wrong


if __name__ == "__main__":
    break_a_rule()
    break_sending()
    sys.exit(cli.call(sys.argv[1:]))
