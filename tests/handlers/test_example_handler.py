"""The example package: it is what the page quotes, it installs, it is found, and its own tests pass."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import distributions
from pathlib import Path

import pytest

from mesh_itk3.handler import Declaration
from mesh_itk3.itk3.envelope import Caps, read_message
from mesh_itk3.itk3.verdict import Facts, judge
from mesh_itk3.registry import load_handlers
from mesh_itk3.workflow_table import shipped
from mesh_itk3_handlers.discharge_letters import DischargeLetters
from mesh_itk3_handlers.transfer_of_care import TransferOfCare

WORKFLOW = "GPCONNECT_UPDATE_RECORD"
ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "handler"
PAGE = (ROOT / "docs" / "handlers.md").read_text("utf-8")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The example, built and installed by pip into a folder of its own."""
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(target), str(EXAMPLE)], check=True, timeout=280, capture_output=True)
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


@pytest.fixture
def registry(installed, tmp_path):
    """The example as the daemon finds it: through its entry point."""
    points = [point for found in distributions(path=[str(installed)]) for point in found.entry_points]
    sys.path.insert(0, str(installed))
    try:
        yield load_handlers({}, shipped(), tmp_path, [point for point in points if point.group == "mesh_itk3.handlers"])
    finally:
        sys.path.remove(str(installed))
        sys.modules.pop("pharmacy_first", None)


def test_the_installed_example_is_found_through_its_entry_point(registry):
    (found,) = registry.all
    assert (found.name, found.problem) == ("pharmacy_first", None)


def test_the_word_with_which_the_example_defers_is_declared(registry):
    (word,) = registry.all[0].declaration.reasons
    assert f'Defer("{word}")' in (EXAMPLE / "pharmacy_first.py").read_text("utf-8")


@pytest.mark.examples
@pytest.mark.skipif("ITK3_EXAMPLES" not in os.environ, reason="ITK3_EXAMPLES does not name the folder of public samples")
def test_the_public_sample_is_accepted_because_the_example_declares_its_definition(registry):
    sample = Path(os.environ["ITK3_EXAMPLES"], "update-record", "pharmacy-first-service--example-1.xml")
    reading = read_message(sample.read_bytes(), Caps())
    facts = Facts(event_codes=registry.event_codes(WORKFLOW), message_definitions=registry.message_definitions(WORKFLOW))
    assert judge(reading, replace(facts, message_definitions=frozenset())).code.value == "10004"
    assert judge(reading, facts).code.value == "20013"
    document = reading.envelope.document
    assert registry.route(WORKFLOW, reading.header.event_code, document.type_code).name == "pharmacy_first"


def test_the_examples_own_tests_pass_against_the_installed_package(installed, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "-c", os.devnull]
    ran = subprocess.run(
        [*command, str(EXAMPLE / "tests")],
        env=environment,
        cwd=tmp_path,
        timeout=280,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    assert "3 passed" in ran.stdout
