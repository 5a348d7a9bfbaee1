"""`mesh-itk3 prove` as a person runs it: real kills, real sandbox, real signals; nothing is left running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mesh_itk3.simulator.prove.plan import draw_plan
from mesh_itk3.simulator.prove.stories import STORIES
from support.eventually import eventually

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(900)]  # sixty trials take long where much else runs

COMMAND = [sys.executable, "-m", "mesh_itk3", "prove"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
TRIALS = 60
SEED = 1


def prove(*arguments, expect=0):
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=800, check=False, env=ENVIRONMENT
    )
    assert done.returncode == expect, done.stdout[-2000:] + done.stderr[-2000:]
    return done


def processes_of(place):
    """Command lines of this machine's processes that name this place."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes()
        except OSError:  # it has just ended
            continue
        if os.fsencode(place) in line:
            found.append(line)
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Sixty trials, seeds 1 to 60."""
    place = tmp_path_factory.mktemp("run")
    done = prove("--trials", TRIALS, "--seed", SEED, "--json", "--out", place / "out", "--report", place / "report.md")
    return json.loads(done.stdout), place


def test_sixty_trials_lose_nothing_and_answer_nothing_twice(run):
    document, _ = run
    assert document["passed"]
    assert document["trials"] == TRIALS
    assert (document["lost"], document["duplicated"], document["failed"]) == (0, 0, [])


def test_they_kill_and_spoil_and_send_what_their_seeds_say(run):
    document, _ = run
    plans = [draw_plan(seed) for seed in range(SEED, SEED + TRIALS)]
    assert document["messages"] == sum(len(step.items) for plan in plans for step in plan.steps)
    assert document["kills"] > TRIALS / 2
    assert len(document["killed_at"]) > 15
    assert document["faults"] > 0
    assert sum(document["service_trials"].values()) == sum(plan.service is not None for plan in plans) > 0
    # Every response that is deserved went out, and no other; of what was abandoned some deserve less.
    items = [[item for step in plan.steps for item in step.items] for plan in plans]
    deserved = sum(len(STORIES[item.story].deserves.codes) for of_plan in items for item in of_plan)
    abandoned = [
        of_plan[hold.item]
        for plan, of_plan in zip(plans, items, strict=True)
        for step in plan.steps
        for hold in step.holds
        if hold.end == "abandon"
    ]
    given_up = sum(len(STORIES[item.story].deserves.codes) for item in abandoned)
    assert deserved - given_up <= document["responses"] <= deserved


def test_an_operator_acts_and_is_killed(run):
    document, _ = run
    assert document["operator_commands"] == sum(document["operator_commands_by_verb"].values())
    assert {"hold", "release", "respond"} <= set(document["operator_commands_by_verb"])
    assert any(point.startswith("the command") for point in document["killed_at"])


def test_the_report_has_the_command_the_figures_and_the_points(run):
    document, place = run
    report = (place / "report.md").read_text()
    assert f"`mesh-itk3 prove --trials {TRIALS} --seed {SEED}`" in report
    assert f"| kills (SIGKILL) | {document['kills']:,} |" in report
    assert all(f"| {point} | {count:,} |" in report for point, count in document["killed_at"].items())
    assert all(f"| {kind} | {count:,} |" in report for kind, count in document["faults_by_kind"].items())
    assert all(f"| {verb} | {count:,} |" in report for verb, count in document["operator_commands_by_verb"].items())


def test_nothing_is_stored_where_nothing_was_violated(run):
    assert not (run[1] / "out").exists()


def test_a_broken_daemon_ends_it_with_1_and_a_stored_trial_that_replays(tmp_path):
    broken = ("--daemon", "broken_daemons:answers_twice", "--out", tmp_path, "--jobs", 1)
    document = json.loads(prove("--trials", 1, "--seed", 4, "--json", *broken, expect=1).stdout)
    failure = document["failed"][0]
    assert {each["invariant"] for each in failure["violations"]} == {"second response"}
    assert failure["replay"] == f"mesh-itk3 prove --replay {failure['file']}"
    again = prove("--replay", failure["file"], *broken, expect=1)
    assert "second response" in again.stdout
    assert f"seed {failure['seed']}" in again.stdout


def test_an_interrupt_ends_it_with_what_it_has_and_leaves_no_process(tmp_path):
    place = tmp_path / "prove-is-here"
    place.mkdir()
    environment = ENVIRONMENT | {"TMPDIR": str(place)}
    command = [*COMMAND, "--trials", "100000", "--seed", "1", "--json", "--jobs", "1", "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    eventually(lambda: list(place.glob("*/worker-*/batch-2/state/letters/*/*")), within_s=300)
    process.send_signal(signal.SIGINT)
    said, complained = process.communicate(timeout=300)
    document = json.loads(said)
    assert (process.returncode, complained, document["is_cut_short"]) == (130, b"", True)
    assert document["failed"] == []
    eventually(lambda: processes_of(place) == [])
    assert list(place.iterdir()) == []


def test_a_killed_command_leaves_no_process(tmp_path):
    place = tmp_path / "prove-dies-here"
    place.mkdir()
    command = [*COMMAND, "--trials", "100000", "--jobs", "1", "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=ENVIRONMENT | {"TMPDIR": str(place)})
    eventually(lambda: list(place.glob("*/worker-*/batch-1/state")), within_s=300)
    process.kill()
    process.wait(60)
    eventually(lambda: processes_of(place) == [])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--replay", "/nowhere/trial.json"), "No such file"),
        (("--replay", __file__), "is no stored trial"),
        (("--replay", __file__, "--seed", 1), "exclude each other"),
        (("--trials", 0), "--trials"),
    ],
)
def test_wrong_use_is_one_line_and_exit_2(arguments, says):
    done = prove(*arguments, expect=2)
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
