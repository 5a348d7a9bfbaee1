"""How `demo`, `conformance` and `prove` end: what may go wrong, their exit codes, the one line that a person reads."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Final

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130


class SimulationFailed(Exception):
    """The simulation cannot go on; the text is one line that a person can act on."""


class UsedWrongly(Exception):
    """The command cannot do what was asked; the text is the one line that a person reads."""


def ended(command: str, work: Callable[[], int]) -> int:
    """The exit code of `work`, or that of what has ended it, which is said."""
    # A terminal that cannot show a tick mark must not end the run.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop as tidily as for Ctrl-C
    try:
        return work()
    except UsedWrongly as error:
        return complain(command, str(error), USAGE)
    except SimulationFailed as error:
        return complain(command, str(error), FAILED)
    except OSError as error:
        return complain(command, f"{error.filename or 'the system'}: {error.strerror}", FAILED)
    except KeyboardInterrupt:
        return complain(command, "stopped", INTERRUPTED)


def complain(command: str, what: str, exit_code: int) -> int:
    """Says it in one line on standard error; the exit code."""
    sys.stderr.write(f"mesh-itk3 {command}: {what}\n")
    return exit_code
