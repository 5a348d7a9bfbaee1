"""`python -m mesh_itk3.simulator.leash COMMAND…` becomes COMMAND, and dies with the process that started it. Linux only."""

import ctypes
import os
import signal
import sys
from typing import Final, NoReturn

PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def main() -> NoReturn:
    """Replaces itself by the command. The order to die is kept across exec; its pid and its streams are the command's."""
    parent = int(sys.argv[1])
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before we asked to be told
        raise SystemExit(1)
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606  # our own command line, no shell


def leashed(command: list[str]) -> list[str]:
    """The command line that runs `command` (an absolute path first) on this process's leash.

    The leash is held by the thread that starts it: start from a thread that lives on, the main one.
    """
    return [sys.executable, "-m", "mesh_itk3.simulator.leash", str(os.getpid()), *command]


if __name__ == "__main__":
    main()
