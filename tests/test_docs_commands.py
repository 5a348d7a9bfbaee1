"""The documentation of the command line is complete: every command and option, in both places, and nothing invented."""

import re
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from mesh_itk3 import __version__
from mesh_itk3.cli import app
from mesh_itk3.commands.console import Exit
from mesh_itk3.lifecycle import ResponseState, State

ROOT = Path(__file__).resolve().parents[1]
MARKDOWN = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
MAN_PAGE = (ROOT / "man" / "mesh-itk3.1").read_text(encoding="utf-8").replace("\\-", "-")


def leaves(group, above=""):
    """Every command by its full name, those of groups among them."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, f"{above}{name} ")
        else:
            yield f"{above}{name}", command


COMMANDS = dict(leaves(typer.main.get_command(app)))
OPTIONS = sorted(
    {
        (name, option)
        for name, command in COMMANDS.items()
        for p in command.params
        if not getattr(p, "hidden", False)
        for option in p.opts
        if option[0] == "-"
    }
)
WITHOUT_CONFIGURATION = {"demo", "conformance", "prove"}
USED_ELSEWHERE = {"--version", "--help"}  # of the program itself

each_command = pytest.mark.parametrize("name", COMMANDS)
each_option = pytest.mark.parametrize(("command", "option"), OPTIONS)


def section_of(command):
    return re.split(r"^## ", MARKDOWN.split(f"\n## {command}\n")[1], flags=re.MULTILINE)[0]


@each_command
def test_command_has_its_section_and_its_synopsis(name):
    assert f"`mesh-itk3 {name}" in section_of(name)
    assert f".B {name}\n" in MAN_PAGE
    assert f"mesh-itk3 {name}\n" in MAN_PAGE


def test_the_list_of_commands_says_of_each_what_it_does_in_one_line_of_a_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    listed = CliRunner().invoke(app, ["--help"]).output.split("Commands:\n")[1].split("\n\n")[0].splitlines()
    assert len(listed) == len(typer.main.get_command(app).commands)
    assert [line for line in listed if len(line) > 80 or not line.endswith(".") or line.endswith("...")] == []


@each_option
def test_option_is_documented_where_its_command_is(command, option):
    assert option in section_of(command)
    assert re.search(rf"{re.escape(option)}\b", MAN_PAGE)


@each_command
def test_synopses_name_the_same_options_but_for_those_that_all_have(name):
    of_all = set() if name in WITHOUT_CONFIGURATION else {"--config", "--credentials", "--json"}
    synopsis = MAN_PAGE.split(f".B mesh-itk3 {name}\n")[1].split(".br\n")[0]
    assert (
        set(re.findall(r"--[a-z]+(?:-[a-z]+)*", synopsis))
        == {option for command, option in OPTIONS if command == name} - of_all
    )


@pytest.mark.parametrize(("where", "text"), [("docs/commands.md", MARKDOWN), ("man page", MAN_PAGE)])
def test_no_documented_option_is_invented(where, text):
    known = {option for _, option in OPTIONS} | USED_ELSEWHERE
    assert set(re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", text)) - known == set()


@pytest.mark.parametrize("code", Exit)
def test_exit_code_is_documented(code):
    assert f"| {code.value} |" in MARKDOWN
    assert f".B {code.value}\n" in MAN_PAGE


@pytest.mark.parametrize("state", State)
def test_message_state_is_documented(state):
    assert f"`{state}`" in section_of("messages")
    assert state in MAN_PAGE


@pytest.mark.parametrize("state", ResponseState)
def test_response_state_is_documented(state):
    assert f"`{state}`" in section_of("messages")


@each_command
def test_help_says_what_it_does_and_gives_an_example(name):
    text = COMMANDS[name].help
    assert f"mesh-itk3 {name}" in text
    assert len(text.splitlines()[0]) <= 72, "the list of commands would cut it"


def test_man_page_names_this_version():
    assert f"mesh-itk3 {__version__}" in MAN_PAGE
