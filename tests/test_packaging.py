"""The wheel that users install, built as they would build it: whole, and nothing of ours where it does not belong."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

from mesh_itk3 import __version__

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SOURCE_ROOTS = {"mesh_itk3": ROOT / "daemon", "mesh_itk3_handlers": ROOT / "handlers"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    directory = tmp_path_factory.mktemp("wheel")
    build = "from hatchling.build import build_wheel; import sys; print(build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, directory], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(directory / done.stdout.split()[-1]) as opened:
        yield opened


def source_files():
    for package, root in SOURCE_ROOTS.items():
        found = [path for path in (root / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        yield from (path.relative_to(root).as_posix() for path in found)


def test_wheel_holds_every_file_of_both_packages(wheel):
    assert set(source_files()) - set(wheel.namelist()) == set()


@pytest.mark.parametrize(
    "part", ["mesh_itk3/py.typed", "mesh_itk3_handlers/py.typed", "mesh_itk3/adapters/ledger/migrations/", "/templates/"]
)
def test_wheel_holds_what_is_no_python(wheel, part):
    assert any(part in name for name in wheel.namelist())


def test_wheel_brings_only_its_own_names(wheel):
    """`daemon` is another distribution's package: ours would overwrite it."""
    data = f"mesh_itk3-{__version__}"
    assert {name.split("/")[0] for name in wheel.namelist()} == {
        "mesh_itk3", "mesh_itk3_handlers", f"{data}.dist-info", f"{data}.data",
    }  # fmt: skip


def test_wheel_holds_nothing_that_a_build_or_an_editor_left(wheel):
    assert [name for name in wheel.namelist() if "__pycache__" in name or name.endswith((".pyc", "~", ".orig", ".swp"))] == []


def test_wheel_brings_the_man_page(wheel):
    assert f"mesh_itk3-{__version__}.data/data/share/man/man1/mesh-itk3.1" in wheel.namelist()


def test_wheel_names_command_handlers_and_licence(wheel):
    information = f"mesh_itk3-{__version__}.dist-info"
    points = ConfigParser()
    points.read_string(wheel.read(f"{information}/entry_points.txt").decode())
    assert dict(points["console_scripts"]) == {"mesh-itk3": "mesh_itk3.cli:main"}
    assert set(points["mesh_itk3.handlers"]) == {"transfer_of_care", "discharge_letters"}
    assert f"{information}/licenses/LICENSE" in wheel.namelist()


def test_wheel_works_without_the_source_tree(wheel, tmp_path):
    """From the wheel alone: the command answers, handlers load with their templates, a ledger is made."""
    wheel.extractall(tmp_path / "site")
    code = """
import sys, datetime, pathlib, importlib.metadata as metadata
from mesh_itk3.adapters.ledger import migrate, schema_revision
from mesh_itk3.registry import load_handlers
from mesh_itk3.workflow_table import shipped
import mesh_itk3, mesh_itk3.cli
here = pathlib.Path(sys.argv[1])
assert pathlib.Path(mesh_itk3.__file__).is_relative_to(here / "site"), mesh_itk3.__file__
found = [point for one in metadata.distributions(path=[str(here / "site")]) for point in one.entry_points]
points = [point for point in found if point.group == "mesh_itk3.handlers"]
registry = load_handlers({}, shipped(), here, points)
assert shipped().get("DIGIMED_FLU_VAC").ack_workflow_id == "DIGIMED_FLU_VAC_ACK"
assert [(f.name, f.problem) for f in registry.all] == [("discharge_letters", None), ("transfer_of_care", None)], registry.all
migrate(f"sqlite:///{here}/ledger.db", datetime.datetime.now(datetime.UTC))
print(schema_revision(f"sqlite:///{here}/ledger.db"))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path],
        cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_practices_time_zone_is_known_on_a_system_without_any():
    code = "from mesh_itk3_handlers.filing import LONDON; print(LONDON)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, timeout=180, check=False, env={**os.environ, "PYTHONTZPATH": ""},
    )  # fmt: skip
    assert done.stdout == "Europe/London\n", done.stderr


# ------------------------------------------------------------------------------------------------ what is declared


def test_version_stands_in_both_places():
    assert PROJECT["project"]["version"] == __version__


def test_lock_names_every_dependency_with_hashes():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    groups = [PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"].values()]
    groups.append(PROJECT["dependency-groups"]["dev"])
    names = {requirement_name(one) for group in groups for one in group}
    missing = [name for name in sorted(names) if not any(f"\n{name}{mark}" in lock for mark in ("==", "["))]
    assert missing == []
    assert lock.count("--hash=sha256:") > len(names)


def requirement_name(requirement):
    """As a lock writes it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[=<>!~; ]", requirement)[0]).lower()


def test_lock_names_no_place_to_download_from():
    """Whoever installs decides from where."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in lock
    assert "--index-url" not in lock
