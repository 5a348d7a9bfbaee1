"""The share for letters is away: its empty mount point gets none, no sender is told 30001; all goes on when it is back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from mesh_itk3.simulator.messages import a_message
from support.eventually import eventually
from support.practice import Practice, a_hospital, codes
from support.sandbox import PRACTICE

pytestmark = pytest.mark.sandbox


def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    done = subprocess.run(["unshare", "-Urm", "mount", "--bind", "/usr", "/mnt"], capture_output=True, check=False)
    return done.returncode == 0


def send(hospital, seed):
    return hospital.send(a_message("ITK003D", seed=seed), to=PRACTICE, workflow_id="TOC_FHIR_IP_DISCH")


def codes_now(hospital, sent):
    hospital.read_inbox()
    return codes(hospital.responses_to(sent))


def test_a_letter_waits_while_the_share_is_away_and_is_filed_and_answered_once_when_it_is_back(sandbox, tmp_path):
    practice = Practice(tmp_path / "practice", sandbox.url)
    letters, away = practice.directory / "state" / "letters", tmp_path / "away"
    with a_hospital(practice.url) as hospital:
        with practice.running():
            first = send(hospital, "before")
            eventually(lambda: codes_now(hospital, first) == ("20013", "30001"))
            assert [line["directory"] for line in practice.logged("output.marked")] == [str(letters)]
            letters.rename(away)
            letters.mkdir()
            second, third = send(hospital, "while away"), send(hospital, "while away too")
            eventually(lambda: [codes_now(hospital, each)[0] for each in (second, third)] == ["20013", "20013"])
            (said,) = eventually(lambda: practice.logged("storage.failed"))
            eventually(lambda: json.loads(practice.command("status", "--json").stdout)["waiting_for_disk"] == 2)
            status = practice.command("status").stdout
            check = practice.command("check", "--offline", expect=1).stdout
        assert said["stage"] == "dispatch"
        assert "repair the disk" not in status, "there is nothing to repair, and it does not go on by itself"
        for text in (said["reason"], status, check):
            assert f"mesh-itk3 mark-output {letters} --by WHO" in text
        practice.once(expect=1)
        assert [codes_now(hospital, each) for each in (second, third)] == [("20013", None)] * 2
        assert list(letters.iterdir()) == []

        letters.rmdir()
        away.rename(letters)
        practice.once()
        assert [codes_now(hospital, each) for each in (first, second, third)] == [("20013", "30001")] * 3
        assert [hospital.responses_to(each).surplus for each in (first, second, third)] == [()] * 3
    assert len(practice.letters()) == 3
    assert "mark-output" not in practice.command("status").stdout


def test_a_person_says_that_the_directory_is_right_as_it_is(sandbox, tmp_path):
    practice = Practice(tmp_path / "practice", sandbox.url)
    letters = practice.directory / "state" / "letters"
    with a_hospital(practice.url) as hospital:
        first = send(hospital, "before")
        practice.once()
        shutil.rmtree(letters)
        second = send(hospital, "after")
        practice.once(expect=1)
        assert codes_now(hospital, second) == ("20013", None)
        missing = practice.command("mark-output", str(letters), "--by", "Jo Smith", expect=2)
        assert "mount its share, or make it" in missing.stderr
        letters.mkdir()
        elsewhere = practice.command("mark-output", str(tmp_path), "--by", "Jo Smith", expect=2)
        assert str(letters) in elsewhere.stderr
        marked = practice.command("mark-output", str(letters), "--by", "Jo Smith")
        assert "marked by Jo Smith" in marked.stdout
        assert json.loads(marked.stderr.splitlines()[-1])["actor"] == "Jo Smith"
        again = practice.command("mark-output", str(letters), "--by", "Jo Smith", "--json")
        assert json.loads(again.stdout) == {"directory": str(letters), "was": "known", "is_changed": False}
        practice.once()
        assert [codes_now(hospital, each) for each in (first, second)] == [("20013", "30001")] * 2
    assert len(practice.letters()) == 1


@pytest.mark.skipif(not can_mount(), reason="no user and mount namespaces here: nothing can be mounted")
def test_a_share_that_is_really_unmounted_and_mounted_again(sandbox, tmp_path):
    practice = Practice(tmp_path / "practice", sandbox.url)
    letters, share = practice.directory / "state" / "letters", tmp_path / "share"
    letters.mkdir(parents=True)
    share.mkdir()
    once = f"{sys.executable} -m mesh_itk3 run --once --config {practice.config}"
    mount = f"mount --bind {share} {letters}"

    def inside(script):
        subprocess.run(["unshare", "-Urm", "sh", "-ec", script], check=True, capture_output=True, timeout=280)

    with a_hospital(practice.url) as hospital:
        first = send(hospital, "before")
        inside(f"{mount}; {once}")
        second = send(hospital, "away")
        inside(f"{mount}; umount {letters}; ! {once}")
        assert [codes_now(hospital, each) for each in (first, second)] == [("20013", "30001"), ("20013", None)]
        inside(f"{mount}; {once}")
        assert codes_now(hospital, second) == ("20013", "30001")
    assert len(list(share.glob("*/*/metadata.json"))) == 2
    assert list(letters.iterdir()) == []
