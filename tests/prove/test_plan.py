"""Plans: everything from the seed, every point and kind within reach, and the same again from what was stored."""

from __future__ import annotations

import json
import threading
from collections import Counter

import pytest

from mesh_itk3.simulator.faults import Fault
from mesh_itk3.simulator.faulty_mesh import VERBS
from mesh_itk3.simulator.prove.plan import NAMED_POINTS, UNFINISHED, draw_plan, from_json, to_json
from mesh_itk3.simulator.prove.planned_faults import FAULTS, FAULTS_OF, REFUSALS
from mesh_itk3.simulator.prove.stories import STORIES

PLANS = [draw_plan(seed) for seed in range(3_000)]


def rounds():
    return [each for plan in PLANS for step in plan.steps for each in (*step.rounds, *step.then)]


def holds():
    return [(plan, step, hold) for plan in PLANS for step in plan.steps for hold in step.holds]


def kills():
    return [each.kill for each in rounds() if each.kill]


def test_a_seed_gives_the_same_plan_again():
    assert draw_plan(17) == draw_plan(17) != draw_plan(18)


@pytest.mark.parametrize("seed", range(50))
def test_a_stored_plan_is_the_same_plan(seed):
    assert from_json(json.loads(json.dumps(to_json(PLANS[seed])))) == PLANS[seed]


def test_every_story_comes_up():
    assert {item.story for plan in PLANS for step in plan.steps for item in step.items} == set(STORIES)


def test_every_named_point_and_late_ones_come_up():
    assert {kill.named for kill in kills()} == {*NAMED_POINTS, *UNFINISHED, None}
    counted = [kill.at_point for kill in kills() if kill.at_point and not kill.named]
    assert min(counted) == 1
    assert sum(point > 100 for point in counted) > len(counted) / 4


def test_every_fault_comes_up_at_every_verb_where_it_may():
    drawn = {(fault.verb, fault.kind) for each in rounds() for fault in each.faults}
    assert drawn == {(verb, kind) for verb, kinds in FAULTS_OF.items() for kind in kinds}


def test_faults_and_verbs_are_known():
    assert set(FAULTS_OF) <= set(VERBS)
    assert {kind for kinds in FAULTS_OF.values() for kind in kinds} == set(FAULTS)
    assert all(isinstance(make(), Fault) for make in FAULTS.values())


def test_most_trials_kill_and_a_small_share_runs_the_service():
    killing = sum(any(each.kill for step in plan.steps for each in step.rounds) for plan in PLANS)
    assert killing > 0.85 * len(PLANS)
    assert 0.01 < sum(plan.service is not None for plan in PLANS) / len(PLANS) < 0.03


def test_kills_are_counted_named_and_timed():
    kinds = Counter("timed" if kill.after_us is not None else "named" if kill.named else "counted" for kill in kills())
    assert min(kinds.values()) > 0.1 * kinds.total()


def test_an_operator_holds_in_some_trials_and_ends_it_either_way_killed_or_not():
    assert 0.1 < len(holds()) / len(PLANS) < 0.3
    assert {hold.end for *_, hold in holds()} == {"release", "abandon"}
    assert {(hold.killed_after_us is None, hold.end_killed_after_us is None) for *_, hold in holds()} == {
        (True, True), (True, False), (False, True), (False, False),
    }  # fmt: skip
    assert any(hold.after < len(step.rounds) for _, step, hold in holds()), "some runs go wrong while it is held"


def test_nothing_is_abandoned_that_the_rest_of_the_trial_needs():
    for plan, step, hold in holds():
        items = [item for each in plan.steps for item in each.items]
        sent = [item for each in plan.steps[: plan.steps.index(step) + 1] for item in each.items]
        assert hold.item < len(sent)
        assert hold.after <= len(step.rounds)
        if hold.end == "abandon":
            assert STORIES[items[hold.item].story].decision is None
            assert all(item.of != hold.item for item in items)


def test_what_mesh_refuses_for_good_comes_up_often_enough_and_is_retried_in_every_way():
    refusing = [
        step for plan in PLANS for step in plan.steps for each in step.rounds for fault in each.faults if fault.kind in REFUSALS
    ]
    assert len(refusing) > 0.05 * len(PLANS)
    assert {(step.retry.is_all, step.retry.killed_after_us is None) for step in refusing} == {
        (True, True), (True, False), (False, True), (False, False),
    }  # fmt: skip


def test_a_trial_that_was_stored_before_operators_acted_is_the_plan_that_it_was():
    document = json.loads(json.dumps(to_json(draw_plan(17))))
    for step in document["steps"]:
        for newer in ("holds", "retry", "then"):
            del step[newer]
    old = from_json(document)
    assert [step.items for step in old.steps] == [step.items for step in draw_plan(17).steps]
    assert all((step.holds, step.then) == ((), ()) for step in old.steps)


@pytest.mark.parametrize("spoiled", [{"end": "forget"}, {"item": 99}])
def test_a_stored_hold_that_is_none_is_refused(spoiled):
    plan = next(plan for plan, *_ in holds())
    document = json.loads(json.dumps(to_json(plan)))
    next(step for step in document["steps"] if step["holds"])["holds"][0] |= spoiled
    with pytest.raises(ValueError, match="no such hold"):
        from_json(document)


@pytest.mark.parametrize("spoiled", [{"story": "no such"}, {"kind": "ITK999"}])
def test_a_stored_plan_that_is_none_is_refused(spoiled):
    document = json.loads(json.dumps(to_json(PLANS[0])))
    document["steps"][0]["items"][0] |= spoiled
    with pytest.raises(ValueError, match="no such message"):
        from_json(document)


def test_threads_make_no_warm_parent():
    """The parent refuses to fork when it is not alone: what a child inherited then would be broken."""
    from mesh_itk3.simulator.prove.warm import fork

    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        with pytest.raises(RuntimeError):
            fork(lambda: 0, "/dev/null")
    finally:
        stop.set()
        thread.join()
