"""The example package: it is what the page quotes, it installs, it is found, and its own tests pass."""

import os
import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

from mesh_itk3.handler import Declaration
from mesh_itk3_handlers.discharge_letters import DischargeLetters
from mesh_itk3_handlers.transfer_of_care import TransferOfCare

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "handler"
PAGE = (ROOT / "docs" / "handlers.md").read_text("utf-8")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The example, built and installed by pip into a folder of its own."""
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(target), str(EXAMPLE)], check=True, timeout=110, capture_output=True)
    return target


def test_the_page_quotes_the_example_as_it_is():
    assert f"```python\n{(EXAMPLE / 'pharmacy_first.py').read_text('utf-8')}```" in PAGE
    (quoted,) = re.findall(r"```toml\n(# The name.*?)```", PAGE, re.DOTALL)
    assert quoted in (EXAMPLE / "pyproject.toml").read_text("utf-8")


def test_the_page_names_every_workflow_and_event_of_the_shipped_handlers():
    for handler in (TransferOfCare, DischargeLetters):
        for word in (*handler.declaration.workflows, *handler.declaration.event_codes):
            assert word in PAGE


def test_the_page_explains_every_field_of_a_declaration():
    for name in Declaration.__dataclass_fields__:
        assert f"`{name}`" in PAGE


def test_the_installed_example_is_found_through_its_entry_point(installed):
    points = [point for found in distributions(path=[str(installed)]) for point in found.entry_points]
    (point,) = [point for point in points if point.group == "mesh_itk3.handlers"]
    sys.path.insert(0, str(installed))
    try:
        handler = point.load()
    finally:
        sys.path.remove(str(installed))
        sys.modules.pop("pharmacy_first", None)
    assert handler.declaration.name == point.name == "pharmacy_first"


def test_the_examples_own_tests_pass_against_the_installed_package(installed, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "-c", os.devnull]
    ran = subprocess.run(
        [*command, str(EXAMPLE / "tests")],
        env=environment,
        cwd=tmp_path,
        timeout=110,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    assert "3 passed" in ran.stdout
