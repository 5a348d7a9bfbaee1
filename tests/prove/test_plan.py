"""Plans: everything from the seed, every point and kind within reach, and the same again from what was stored."""

from __future__ import annotations

import json
import threading
from collections import Counter

import pytest

from mesh_itk3.simulator.faults import Fault
from mesh_itk3.simulator.faulty_mesh import VERBS
from mesh_itk3.simulator.prove.plan import FAULTS, FAULTS_OF, NAMED_POINTS, draw_plan, from_json, to_json
from mesh_itk3.simulator.prove.stories import STORIES

PLANS = [draw_plan(seed) for seed in range(3_000)]


def rounds():
    return [each for plan in PLANS for step in plan.steps for each in step.rounds]


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
    assert {kill.named for kill in kills()} == {*NAMED_POINTS, None}
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
