"""`make bench`: every figure, or one of them by name: `make bench ARGS=drain`."""

from __future__ import annotations

import sys

from tests.bench import drain, interpret, ledger, memory, recovery

FIGURES = {
    "drain": drain.main,
    "memory": memory.main,
    "interpret": interpret.main,
    "recovery": recovery.main,
    "ledger": ledger.main,
}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in FIGURES]
    if unknown:
        print(f"no such figure: {', '.join(unknown)}; there are {', '.join(FIGURES)}", file=sys.stderr)
        return 2
    for name in names or list(FIGURES):
        print(f"\n== {name}", flush=True)
        FIGURES[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
