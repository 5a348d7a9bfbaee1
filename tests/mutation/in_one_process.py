"""The first pass of `make mutation`: every mutant in one process, against the quick tests until one of them fails.

mutmut gives each mutant a process and a pytest of its own, which takes many times as long as the test that finds it.
Here a mutant counts as killed only if the test that fails passes right afterwards without it, so that nothing that an earlier
one has left behind can kill it. Whatever is not killed here is tried by mutmut, with all tests and in its own process.

Run in mutmut's `mutants`, after it has planted them; writes what was killed into mutmut's own records.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

PLANTED: Final = "MUTANT_UNDER_TEST"
LONGEST_S: Final = 0.05
"""Of processor time: a test that takes longer is left to mutmut."""
ENDLESS_S: Final = 5.0
KILLED, SKIPPED = 1, 34
"""As mutmut writes them."""
AT_IMPORT: Final = re.compile(
    r"(rules|message_definitions|response_codes)\.x__(row|negative|positive|closed)__|profile_checks\.x__(any_of|each)__"
)
"""They build tables while the module is imported, that is before a mutant is planted: nothing could notice them. That the
tables are the standard's is tested by tests/itk3/test_tables.py."""


class Endless(BaseException):
    """A mutant that does not come to an end is left to mutmut, which has a limit for that."""


class InOneProcess:
    """Takes the place of pytest's own loop."""

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        signal.signal(signal.SIGVTALRM, _too_long)
        tests = [test for _, test in sorted(_quick(session.items), key=lambda timed: timed[0])]
        for records in sorted(Path("src").rglob("*.meta")):
            _try_all(records, tests)
        return True


def _quick(tests: list[pytest.Item]) -> Iterator[tuple[float, pytest.Item]]:
    for test in tests:
        if set(test._fixtureinfo.argnames) <= set(_arguments(test)):  # type: ignore[attr-defined]
            began = time.process_time()
            if _passes(test, "") and (took := time.process_time() - began) < LONGEST_S:
                yield took, test


def _try_all(records: Path, tests: list[pytest.Item]) -> None:
    """What has killed a mutant before is likely to kill its neighbours, and goes first."""
    record = json.loads(records.read_text())
    became = record["exit_code_by_key"]
    latest: dict[pytest.Item, None] = {}
    became |= {mutant: SKIPPED for mutant in became if AT_IMPORT.search(mutant)}
    for mutant in [name for name, code in became.items() if code is None]:
        killer = next((test for test in dict.fromkeys([*reversed(latest), *tests]) if not _passes(test, mutant)), None)
        if killer is not None and _passes(killer, ""):
            became[mutant] = KILLED
            latest.pop(killer, None)
            latest[killer] = None
    records.write_text(json.dumps(record))


def _passes(test: Any, mutant: str) -> bool:
    """Calls the test's function as it is."""
    os.environ[PLANTED] = mutant
    for remembered in _caches():
        remembered.cache_clear()
    signal.setitimer(signal.ITIMER_VIRTUAL, ENDLESS_S)
    try:
        test.obj(**_arguments(test))
    except (pytest.skip.Exception, Endless):
        return True
    except (Exception, pytest.fail.Exception):  # noqa: BLE001 - whatever it is, the test has noticed
        return False
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        os.environ[PLANTED] = ""
    return True


@functools.cache
def _caches() -> list[Any]:
    """What our modules remember between calls, and a mutant must not find."""
    remembering = (found for found in gc.get_objects() if isinstance(found, functools._lru_cache_wrapper))
    return [found for found in remembering if str(getattr(found, "__module__", "")).startswith("mesh_itk3")]


def _arguments(test: Any) -> dict[str, Any]:
    return test.callspec.params if hasattr(test, "callspec") else {}


def _too_long(*_: object) -> None:
    raise Endless


if __name__ == "__main__":
    os.environ[PLANTED] = ""
    sys.exit(pytest.main(sys.argv[1:], plugins=[InOneProcess()]))
