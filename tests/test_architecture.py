"""Who may import whom, and how large things may grow. import-linter (pyproject.toml) holds the graph; this file holds
what a graph cannot say. A rule that has to give way gives way here, with its reason.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "daemon" / "mesh_itk3"
HANDLERS = ROOT / "handlers" / "mesh_itk3_handlers"
PORTS = CORE / "ports"

PURE = [
    CORE / name
    for name in (
        "itk3",
        "breaker.py",
        "deadlines.py",
        "lifecycle.py",
        "patient_match.py",
        "reasons.py",
        "retention.py",
        "retry.py",
    )
]
PURE_MAY_IMPORT_OF_OURS = (
    "mesh_itk3.itk3",
    "mesh_itk3.lifecycle",
    "mesh_itk3.patient_match",
    "mesh_itk3.reasons",
    "mesh_itk3.retry",
)
NOT_PURE = {
    "asyncio", "fileinput", "glob", "http", "logging", "multiprocessing", "os", "pathlib", "random", "requests", "secrets",
    "select", "shutil", "signal", "socket", "sqlalchemy", "sqlite3", "ssl", "structlog", "subprocess", "tempfile",
    "threading", "time", "urllib", "urllib3", "uuid", "mesh_client",
}  # fmt: skip
CLOCK_CALLS = {"now", "utcnow", "today"}
FILE_CALLS = {"open", "print", "input"}

HANDLERS_MAY_IMPORT = ("mesh_itk3.handler", "mesh_itk3.itk3", "mesh_itk3.patient_match", "mesh_itk3_handlers")

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 45

PER_MESSAGE = "the per-message loop: one message's fault holds up no other; it moves a state and logs an event"
BROAD_EXCEPTS: dict[str, tuple[int, str]] = {
    "daemon/mesh_itk3/cli.py": (1, "the last resort: one line for the person, type and place for the log, no traceback"),
    "daemon/mesh_itk3/daemon.py": (1, "closing connections of several libraries: one that fails keeps no other open"),
    "daemon/mesh_itk3/registry.py": (2, "foreign code: importing or making a handler may raise anything; the others go on"),
    "daemon/mesh_itk3/inner.py": (1, "as for a job of the scheduler: the next turn tries again"),
    "daemon/mesh_itk3/scheduler.py": (1, "a job must never take the scheduler down; the next run tries again"),
    "daemon/mesh_itk3/simulator/prove/warm.py": (
        1,
        "a forked child ends there; its parent sees the code",
    ),
    "daemon/mesh_itk3/stages/collect.py": (1, PER_MESSAGE),
    "daemon/mesh_itk3/stages/attempt.py": (1, f"{PER_MESSAGE}: interpret, dispatch and correlate share it"),
    "daemon/mesh_itk3/stages/dispatch.py": (1, "the call of a handler, which is foreign code"),
    "daemon/mesh_itk3/stages/respond.py": (1, f"{PER_MESSAGE}; MESH may have taken it, so it is looked up"),
}
"""How many, and why."""

FORBIDDEN_NAMES = ("utils", "helpers", "manager", "misc", "common")


def source_files(*roots: Path) -> list[Path]:
    found = [path for root in roots for path in ([root] if root.is_file() else sorted(root.rglob("*.py")))]
    assert found, f"no source under {roots}"
    return found


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def walk_what_runs(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those for the type checker only."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and last_name(child.test) == "TYPE_CHECKING"):
            yield from walk_what_runs(child)


def imports_of(path: Path) -> Iterator[str]:
    """Absolute names of what a file imports when it runs, wherever in the file; relative imports are resolved."""
    package = path.relative_to(ROOT).with_suffix("").parts[1:-1]
    for node in walk_what_runs(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def is_under(name: str, allowed: tuple[str, ...]) -> bool:
    return any(name == root or name.startswith(f"{root}.") for root in allowed)


def last_name(node: ast.expr) -> str:
    """`open` of both `open` and `io.open`; empty where there is none."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def calls_of(path: Path) -> Iterator[tuple[str, int]]:
    """The last name of everything that is called, with its line."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and (name := last_name(node.func)):
            yield name, node.lineno


ALL_SOURCE = source_files(CORE, HANDLERS)
each_file = pytest.mark.parametrize("path", ALL_SOURCE, ids=relative)
each_pure_file = pytest.mark.parametrize("path", source_files(*PURE), ids=relative)


# ------------------------------------------------------------------------------------------------ who imports whom


@each_pure_file
def test_pure_module_imports_nothing_that_touches_the_world(path):
    tops = {name.split(".")[0] for name in imports_of(path)}
    assert not tops & NOT_PURE


@each_pure_file
def test_pure_module_knows_only_pure_modules_of_ours(path):
    ours = [name for name in imports_of(path) if name.startswith(("mesh_itk3.", "mesh_itk3_handlers"))]
    assert [name for name in ours if not is_under(name, PURE_MAY_IMPORT_OF_OURS)] == []


@each_pure_file
def test_pure_module_neither_asks_the_time_nor_opens_a_file(path):
    """`open` as a method of something it was given would be fine; a bare `open(...)` is not."""
    asked = [f"{name}, line {line}" for name, line in calls_of(path) if name in CLOCK_CALLS]
    opened = [
        f"{node.func.id}, line {node.lineno}"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FILE_CALLS
    ]
    assert asked + opened == []


@pytest.mark.parametrize("path", source_files(CORE / "stages"), ids=relative)
def test_stage_never_imports_an_adapter(path):
    reached = ("mesh_itk3.adapters", "mesh_itk3.service", "mesh_itk3.settings", "mesh_itk3.scheduler", "mesh_itk3.simulator")
    assert [name for name in imports_of(path) if is_under(name, reached)] == []


@pytest.mark.parametrize("path", source_files(CORE / "adapters"), ids=relative)
def test_adapter_never_imports_a_stage(path):
    reached = ("mesh_itk3.stages", "mesh_itk3.service", "mesh_itk3.scheduler", "mesh_itk3.cli", "mesh_itk3.simulator")
    assert [name for name in imports_of(path) if is_under(name, reached)] == []


@pytest.mark.parametrize("path", [path for path in ALL_SOURCE if PORTS not in path.parents], ids=relative)
def test_port_is_imported_from_the_package_and_not_from_its_file(path):
    """Which file it stands in is nobody's business: it may move."""
    assert [name for name in imports_of(path) if name.startswith("mesh_itk3.ports.") and name.count(".") > 2] == []


@pytest.mark.parametrize("path", source_files(HANDLERS), ids=relative)
def test_shipped_handler_uses_only_what_a_third_party_may(path):
    ours = [name for name in imports_of(path) if name.startswith("mesh_itk3")]
    assert [name for name in ours if not is_under(name, HANDLERS_MAY_IMPORT)] == []


def test_import_graph_keeps_its_contracts():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


# ------------------------------------------------------------------------------------------------ source roots


@pytest.mark.parametrize("name", ["daemon", "handlers"])
def test_source_root_is_not_a_package(name, tmp_path):
    """Another distribution installs a top-level package `daemon`: ours must not be one."""
    assert not (ROOT / name / "__init__.py").exists()
    found = subprocess.run(
        [sys.executable, "-I", "-c", f"import importlib.util as u; print(u.find_spec({name!r}))"],
        cwd=tmp_path, capture_output=True, text=True, timeout=180, check=True,
    )  # fmt: skip
    assert found.stdout.strip() == "None"


# ------------------------------------------------------------------------------------------------ size and manners


@each_file
def test_file_is_short_enough_to_read_at_once(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES


@each_file
def test_function_is_short_enough_to_read_at_once(path):
    functions = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = [(node.name, (node.end_lineno or 0) - node.lineno + 1) for node in functions]
    assert [(name, lines) for name, lines in lengths if lines > MAX_FUNCTION_LINES] == []


def is_broad(kind: ast.expr | None) -> bool:
    """Whether an except clause takes everything."""
    match kind:
        case None:
            return True
        case ast.Tuple(elts=kinds):
            return any(map(is_broad, kinds))
    return last_name(kind) in {"Exception", "BaseException"}


def only_tidies_up(node: ast.ExceptHandler) -> bool:
    """It ends by raising what it caught: nothing is swallowed."""
    return isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None


def broad_excepts(path: Path) -> int:
    """How many places take every exception and do not raise it again; `suppress(Exception)` is one too."""
    nodes = list(ast.walk(tree_of(path)))
    handlers = [node for node in nodes if isinstance(node, ast.ExceptHandler) and is_broad(node.type)]
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    hidden = [call for call in calls if last_name(call.func) == "suppress" and any(map(is_broad, call.args))]
    return sum(not only_tidies_up(node) for node in handlers) + len(hidden)


@each_file
def test_broad_except_stands_only_where_a_reason_stands(path):
    allowed, _reason = BROAD_EXCEPTS.get(relative(path), (0, ""))
    assert broad_excepts(path) == allowed


@each_file
def test_name_says_what_a_module_is(path):
    assert path.stem not in FORBIDDEN_NAMES
    assert path.parent.name not in FORBIDDEN_NAMES


@pytest.mark.parametrize("listed", BROAD_EXCEPTS)
def test_exception_to_a_rule_is_still_needed(listed):
    """A file that has gone leaves the list."""
    assert (ROOT / listed).exists()
