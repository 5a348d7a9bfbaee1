"""SIGKILL at the k-th system call of `mesh-itk3 ledger restore`, taking up letters and all: given again with the same backup it
ends, no letter that came after the backup is lost, and none is answered twice. (That its file operations leave the old ledger,
the new one or a refusal: tests/adapters/test_ledger_copies.py.)
"""

from __future__ import annotations

import pytest

from crash.sweep import IS_OVERNIGHT, MOST, first, say, step
from crash.system_calls import is_possible
from crash.world import Expected, World
from mesh_itk3.adapters.ledger.copies import back_up
from support.practice import codes

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.timeout(7200 if IS_OVERNIGHT else 600),
    pytest.mark.skipif(is_possible() is not None, reason=str(is_possible())),
]
STRIDE = 13
ANSWERED = ("20013", "30001")


def test_a_restore_that_is_killed_at_any_system_call_and_given_again_loses_no_letter_and_answers_none_twice(world, tmp_path):
    kills = 0
    for k in range(first(STRIDE), MOST, step(STRIDE)):
        backup = tmp_path / f"backup-{k}.db"
        before = world.send(ANSWERED, "completed")
        world.recover()
        back_up(world.practice.directory / "state" / "ledger.db", backup)
        after = world.send(ANSWERED, "completed")
        world.recover()

        died = world.run("restore", backup=str(backup), counts_calls=True, kill_at=k)
        assert died.was_killed or died.code == 0, world.log_tail()
        if died.was_killed:
            assert world.run("restore", backup=str(backup)).code == 0, world.log_tail()
        world.recover()

        check(world, before, after)
        if not died.was_killed:
            break
        kills += 1
    say("mesh-itk3 ledger restore, system calls", kills, len(died.passed), STRIDE)
    assert kills > 1


def check(world: World, before: Expected, after: Expected) -> None:
    """What the backup knew of is as it was. What came since is here whole, filed once, and answered once."""
    world.hospital.read_inbox()
    for each in (before, after):
        answers = world.hospital.responses_to(each.sent)
        assert (codes(answers), answers.surplus) == (ANSWERED, ())
    with world.ledger() as ledger:
        for each in (before, after):
            row = world.row(ledger, each)
            assert (row["state"], world.payload(row["payload_name"]).read_bytes()) == ("completed", each.body)
            assert len(world.letters_of(each)) == 1
