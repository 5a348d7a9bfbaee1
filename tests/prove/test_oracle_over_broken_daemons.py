"""The oracle sees each fault that a daemon can have: planted one at a time, it violates the invariant that forbids it."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from mesh_itk3.simulator.prove.oracle import INVARIANTS
from mesh_itk3.simulator.prove.plan import Hold, Item, Kill, Plan, Retry, Round, Step, from_json
from mesh_itk3.simulator.prove.planned_faults import PlannedFault
from mesh_itk3.simulator.prove.worker import Worker
from mesh_itk3.simulator.prove.world import a_world

pytestmark = pytest.mark.sandbox

LETTER, REFUSED, FOREIGN = "accepted", "rejected", "foreign"

# the daemon, what it is sent, where it is killed, what it violates
BROKEN = [
    ("acknowledges_before_it_keeps", LETTER, "before payloads.keep", {"lost"}),
    ("loses_payloads", LETTER, "after mailbox.acknowledge", {"acknowledged, not durable"}),
    ("never_acknowledges", LETTER, None, {"no next step"}),
    ("takes_what_is_foreign", FOREIGN, None, {"foreign touched"}),
    ("walks_without_end", LETTER, None, {"polled too soon"}),
    ("answers_twice", LETTER, "after mailbox.send", {"second response"}),
    ("repeats_with_other_bytes", LETTER, "after mailbox.send", {"repeated differently"}),
    ("goes_on_after_a_refusal", REFUSED, "after mailbox.send", {"business after a negative"}),
    ("gives_another_code", LETTER, "after mailbox.send", {"wrong code"}),
    ("answers_somebody_else", LETTER, "after mailbox.send", {"answers nothing"}),
    ("never_answers", LETTER, None, {"missing response", "ledger disagrees"}),
    ("answers_in_the_wrong_order", LETTER, None, {"business before infrastructure"}),
    ("files_twice", LETTER, None, {"second letter"}),
    ("files_half", LETTER, "after handler.handle", {"wrong letter"}),
    ("files_nothing", LETTER, None, {"missing letter"}),
    ("does_not_run", LETTER, None, {"run failed"}),
]

ITEM = Item(LETTER, "ITK003D", "broken/operated")
REFUSAL = Round(faults=(PlannedFault("send", "417"),))
BEFORE_IT_IS_HANDLED = Round(Kill(at_point=1, named="before handler.handle"))


def refused(*, is_all):
    return Step((ITEM,), (REFUSAL,), retry=Retry(is_all, killed_after_us=9_000))


def held(end):
    return Step((ITEM,), (BEFORE_IT_IS_HANDLED,), holds=(Hold(0, 1, end, 9_000, 9_000),), then=(Round(),))


# the daemon, its trial, what it violates
OPERATED = [
    ("retries_under_a_new_id", refused(is_all=False), {"repeated differently"}),
    ("retries_with_other_bytes", refused(is_all=True), {"repeated differently"}),
    ("answers_twice_when_it_retries", refused(is_all=True), {"second response"}),
    ("parks_what_nobody_refused", refused(is_all=False), {"parked without cause"}),
    ("goes_on_with_what_is_held", held("release"), {"held goes on"}),
    ("goes_on_with_what_is_abandoned", held("abandon"), {"held goes on", "wrong code", "wrong letter"}),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        with a_world(tmp_path_factory.mktemp("prove")) as world:
            yield world


def run(world, out, change, plan):
    world.change = change and f"broken_daemons:{change}"
    (outcome,) = Worker(world, out, threading.Event()).work([plan])
    return outcome


def a_plan(story, killed_at, seed=1):
    kill = Kill(at_point=1, named=killed_at) if killed_at else None
    return Plan(seed, (Step((Item(story, "ITK003D", f"broken/{story}"),), (Round(kill),)),))


@pytest.mark.parametrize(("change", "story", "killed_at", "violated"), BROKEN, ids=[row[0] for row in BROKEN])
def test_planted_fault_violates_the_invariant_that_forbids_it_and_its_trial_is_stored(
    world, tmp_path, change, story, killed_at, violated
):
    plan = a_plan(story, killed_at)
    outcome = run(world, tmp_path, change, plan)
    assert {each.invariant for each in outcome.violations} == violated
    stored = json.loads((tmp_path / "seed-1" / "trial.json").read_text())
    assert from_json(stored["plan"]) == plan
    assert (tmp_path / "seed-1" / "mesh.jsonl").exists()


@pytest.mark.parametrize(("change", "step", "violated"), OPERATED, ids=[row[0] for row in OPERATED])
def test_planted_fault_in_what_an_operator_does_violates_what_forbids_it(world, tmp_path, change, step, violated):
    outcome = run(world, tmp_path, change, Plan(1, (step,)))
    assert {each.invariant for each in outcome.violations} == violated


@pytest.mark.parametrize("step", [refused(is_all=False), refused(is_all=True), held("release"), held("abandon")])
def test_the_same_acts_with_the_real_daemon_violate_nothing_and_are_done(world, tmp_path, step):
    outcome = run(world, tmp_path, None, Plan(1, (step,)))
    assert outcome.violations == []
    verbs = {f"retry{' --all' if step.retry.is_all else ''}"} if not step.holds else {"hold", step.holds[0].end}
    assert set(outcome.acts) == verbs
    assert outcome.responses == (1 if "abandon" in verbs else 2)


@pytest.mark.parametrize("story", [LETTER, REFUSED, FOREIGN])
def test_the_same_trials_of_the_real_daemon_violate_nothing(world, tmp_path, story):
    outcome = run(world, tmp_path, None, a_plan(story, "before payloads.keep" if story == LETTER else None))
    assert outcome.violations == []
    assert not (tmp_path / "seed-1").exists()


def test_every_invariant_is_one_that_some_fault_violates():
    never_seen = set(INVARIANTS) - set().union(*(violated for *_, violated in [*BROKEN, *OPERATED]))
    assert never_seen == {"hot loop", "operator not obeyed"}, "test_oracle.py violates these over evidence made by hand"
