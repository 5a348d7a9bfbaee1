"""`mesh-itk3 conformance` as a person runs it, over a few cases, with the real sandbox and the real daemon."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mesh_itk3.simulator.conformance.described import table_sha256

CONFORMANCE = [sys.executable, "-m", "mesh_itk3", "conformance"]
BROKEN_DAEMON = f"{sys.executable} {Path(__file__).with_name('broken_daemon.py')}"
WITHIN_S = 280


def conformance(*arguments, command=CONFORMANCE):
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, timeout=WITHIN_S, check=False)


def case_of(document, name):
    return next(case for case in document["cases"] if case["name"] == name)


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    """A run over the duplicates, and where its report is."""
    out = tmp_path_factory.mktemp("evidence") / "report"
    done = conformance("--out", out, "--only", "duplicate-*", "--json")
    assert done.returncode == 0, done.stderr
    return out, done


@pytest.mark.sandbox
class TestAGoodDaemon:
    def test_passes_and_standard_output_is_one_json_document(self, evidence):
        _, done = evidence
        document = json.loads(done.stdout)
        assert document["passed"] is True
        assert document["counts"] == {"run": 6, "pass": 6, "fail": 0, "not run": 0}
        assert done.stderr == ""

    def test_report_says_what_it_was_made_with(self, evidence):
        out, done = evidence
        document = json.loads((out / "conformance.json").read_text())
        assert document == json.loads(done.stdout)
        assert document["case_table"]["sha256"] == table_sha256()
        assert document["sandbox_version"] == "1.0.137"
        assert document["began_at"].endswith("+00:00")

    def test_every_message_and_response_is_a_file_with_the_digest_that_the_report_names(self, evidence):
        out, _ = evidence
        document = json.loads((out / "conformance.json").read_text())
        case = case_of(document, "duplicate-message")
        assert [item["code"] for item in case["received"]] == ["20013", "30001", "20007"]
        assert len(case["sent"]) == 2
        for item in (*case["sent"], *case["received"]):
            assert (out / item["file"]).stat().st_size == item["bytes"]
        assert (out / case["sent"][0]["file"]).read_bytes() == (out / case["sent"][1]["file"]).read_bytes()

    def test_page_stands_alone_and_names_every_case(self, evidence):
        out, _ = evidence
        text = (out / "conformance.html").read_text()
        page = Page()
        page.feed(text)
        assert page.remote == []
        assert {"duplicate-message", "duplicate-document"} <= page.ids
        assert page.missing(out) == []
        assert page.language == "en-GB"

    def test_configuration_and_log_of_the_practice_are_kept(self, evidence):
        out, _ = evidence
        assert 'environment = "sandbox"' in (out / "practices" / "standard" / "mesh-itk3.toml").read_text()
        assert '"event":"service.started"' in (out / "practices" / "standard" / "daemon.log").read_text()


class Page(HTMLParser):
    """Ids, links, what is fetched from elsewhere."""

    def __init__(self):
        super().__init__()
        self.ids, self.links, self.remote, self.language = set(), [], [], None

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids |= {found["id"]} if "id" in found else set()
        self.language = found.get("lang", self.language)
        if tag in {"script", "link", "img", "iframe"}:
            self.remote.append(tag)
        if tag == "a":
            self.links.append(found["href"])
            self.remote += re.findall(r"^[a-z]+:", found["href"])

    def missing(self, out):
        files = [link for link in self.links if not link.startswith("#") and not (out / link).is_file()]
        return files + [link for link in self.links if link.startswith("#") and link[1:] not in self.ids]


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A run against `broken_daemon.py`, and its report."""
    out = tmp_path_factory.mktemp("broken") / "report"
    done = conformance("--out", out, "--only", "patient-*", "--daemon", BROKEN_DAEMON)
    return done, json.loads((out / "conformance.json").read_text())


@pytest.mark.sandbox
class TestABrokenDaemon:
    """One rule taken away, one response lost, one doubled, one too many: each makes its case fail, and no other."""

    def test_run_ends_with_exit_code_1_and_says_what_failed(self, broken):
        done, document = broken
        assert done.returncode == 1
        assert document["passed"] is False
        assert "✗ patient-left" in done.stdout
        assert document["daemon"] == BROKEN_DAEMON

    @pytest.mark.parametrize(
        ("name", "difference"),
        [
            ("patient-missing", "response 1: 20013 came, expected 20009"),
            ("patient-unknown", "response 2: nothing came, expected 30002"),
            ("patient-left", "response 3: 30003 came, and nothing was expected"),
            ("patient-died", "response 3: 30001 came, and nothing was expected"),
        ],
    )
    def test_each_fault_is_found(self, broken, name, difference):
        case = case_of(broken[1], name)
        assert case["verdict"] == "fail"
        assert difference in case["differences"]

    @pytest.mark.parametrize("name", ["patient-known", "patient-unknown-not-asked"])
    def test_what_is_not_broken_passes(self, broken, name):
        assert case_of(broken[1], name)["verdict"] == "pass"


class TestUsedWrongly:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ([], "where is the report to go? Name a new directory: --out DIR"),
            (
                ["--out", "{tmp}/new", "--only", "nonsense"],
                "no case, group or practice is called 'nonsense'; --list shows them all",
            ),
            (["--out", "{tmp}/new", "--samples", "{tmp}/nowhere"], "--samples: {tmp}/nowhere is no directory"),
            (["--out", "{tmp}"], "--out: {tmp} is not empty; name a new directory"),
        ],
        ids=["no directory", "no such case", "no samples", "directory in use"],
    )
    def test_it_exits_2_with_one_line(self, tmp_path, arguments, said):
        (tmp_path / "mine.txt").write_text("precious")
        done = conformance(*(each.format(tmp=tmp_path) for each in arguments))
        assert done.returncode == 2
        assert done.stderr == f"mesh-itk3 conformance: {said.format(tmp=tmp_path)}\n"

    def test_cases_that_all_need_the_samples_are_not_passed_without_them(self, tmp_path):
        done = conformance("--out", tmp_path / "new", "--only", "sample-*")
        assert done.returncode == 2
        assert "needs the official samples: --samples DIR" in done.stderr

    def test_a_daemon_that_is_none_is_said_in_one_line(self, tmp_path):
        done = conformance("--out", tmp_path / "new", "--daemon", "no-such-program")
        assert done.returncode == 2
        assert done.stderr == "mesh-itk3 conformance: --daemon names no command that can be run: no-such-program\n"

    def test_a_missing_extra_is_said_in_one_line(self, tmp_path):
        without = "import sys; sys.modules['mesh_sandbox'] = None; from mesh_itk3.cli import main; main()"
        done = conformance("--out", tmp_path / "new", command=[sys.executable, "-c", without, "conformance"])
        assert done.returncode == 1
        assert done.stderr == "mesh-itk3 conformance: the MESH sandbox is not installed: pip install 'mesh-itk3[demo]'\n"


class TestTheList:
    def test_shows_every_case_and_runs_nothing(self):
        done = conformance("--list")
        assert done.returncode == 0
        assert "duplicate-message" in done.stdout
        assert re.search(r"^\d+ cases$", done.stdout, re.MULTILINE)

    def test_is_one_json_document_where_asked(self):
        done = conformance("--list", "--json", "--only", "Duplicates")
        names = [case["name"] for case in json.loads(done.stdout)["cases"]]
        assert "redelivery" in names
        assert {case["group"] for case in json.loads(done.stdout)["cases"]} == {"Duplicates"}
