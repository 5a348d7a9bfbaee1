"""What the first page promises is so: its code runs, its configuration is read, its links lead somewhere."""

import re
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from mesh_itk3.registry import load_handlers
from mesh_itk3.settings import is_key
from mesh_itk3.workflow_table import shipped

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
README = PAGES[0].read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_handler_of_ten_lines_is_taken(tmp_path, monkeypatch):
    (code,) = blocks("python")
    entry_point = tomllib.loads(blocks("toml")[1])["project"]["entry-points"]["mesh_itk3.handlers"]
    (tmp_path / "my_package.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    installed = [EntryPoint(name, value, "mesh_itk3.handlers") for name, value in entry_point.items()]
    (found,) = load_handlers({}, shipped(), tmp_path, installed).all
    assert found.problem is None
    assert found.loaded is not None
    assert len([line for line in code.splitlines() if line]) <= 10


def test_configuration_of_ten_lines_has_only_keys_that_exist():
    text = blocks("toml")[0]
    assert len([line for line in text.splitlines() if line]) <= 10
    assert [path for path in paths_of(tomllib.loads(text)) if not is_key(path)] == []


def paths_of(table, above=()):
    for name, value in table.items():
        if isinstance(value, dict):
            yield from paths_of(value, (*above, name))
        else:
            yield (*above, name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_of_ours_leads_somewhere(page):
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("target", ["demo", "test", "check", "format", "bench", "lock", "clean", "help"])
def test_make_has_what_is_promised(target):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:.* ## ", makefile, re.MULTILINE), "every target explains itself in `make help`"


def test_every_page_of_the_documentation_is_reached_from_the_first():
    assert [page.name for page in PAGES[1:] if page.name not in README] == []
