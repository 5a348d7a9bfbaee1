"""`make mutants`: plants each fault of `mutants.toml` in a copy of the tree and shows which test goes red; 1 if one survives.

`make mutants ARGS='no_file_fsync synchronous_off'` for some.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mutants.planting import Mutant, all_mutants

ROOT = Path(__file__).resolve().parents[2]
TREE = ("daemon", "handlers", "config", "docs", "examples", "tests", "pyproject.toml")
GREEN, RED = 0, 1
"""Exit codes of pytest; any other means that the tests could not be run, which kills nothing."""


def main(names: Sequence[str]) -> int:
    chosen = [mutant for mutant in all_mutants() if not names or mutant.name in names]
    if unknown := set(names) - {mutant.name for mutant in chosen}:
        print("no such mutant:", ", ".join(sorted(unknown)), file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="mutants-") as directory:
        tree = a_copy(Path(directory))
        code, said = run(tree, sorted({test for mutant in chosen for test in mutant.tests}))
        if code != GREEN:
            print(f"without any mutant the tests are not green:\n{said}", file=sys.stderr)
            return 1
        survivors = [mutant.name for mutant in chosen if not is_killed(tree, mutant)]
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} killed")
    return 1 if survivors else 0


def a_copy(directory: Path) -> Path:
    """Of what the tests need; caches stay behind."""
    leave = shutil.ignore_patterns("__pycache__", ".*")
    for name in filter(lambda name: (ROOT / name).exists(), TREE):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, directory / name, ignore=leave)
        else:
            shutil.copy(ROOT / name, directory / name)
    return directory


def is_killed(tree: Path, mutant: Mutant) -> bool:
    """Says which test has gone red, and puts the source back."""
    file = tree / mutant.file
    source = file.read_text("utf-8")
    file.write_text(mutant.planted(source), "utf-8")
    try:
        code, said = run(tree, mutant.tests)
    finally:
        file.write_text(source, "utf-8")
    red = re.findall(r"^FAILED \S*?([^/\s]+::\w+)", said, re.MULTILINE)
    is_red = code == RED and bool(red)
    became = red[0] if is_red else "SURVIVED" if code == GREEN else f"COULD NOT BE RUN (exit code {code})"
    print(f"{mutant.name:42} {became}", flush=True)
    return is_red


def run(tree: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Exit code and output of these tests over the copy; what is installed otherwise stands behind it."""
    environment = {**os.environ, "PYTHONPATH": f"{tree}/daemon:{tree}/handlers", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=no", *tests]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
