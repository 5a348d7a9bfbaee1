"""600 messages in one inbox: two pages, one poll."""

from __future__ import annotations

from collections import Counter

from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.simulator.messages import a_message
from mesh_itk3.stages.dispatch import dispatch
from mesh_itk3.stages.interpret import interpret
from mesh_itk3.stages.poll import poll
from mesh_itk3.stages.respond import respond
from support.fake_mailbox import FakeMailbox, a_mesh_message
from support.stage_world import a_small_daemon

COUNT = 600


def test_six_hundred_messages_are_collected_judged_and_answered_in_one_poll(tmp_path):
    bodies = [a_message("ITK003D", seed=str(n), optional_sections=False) for n in range(COUNT)]
    hospital = FakeMailbox(mailbox_id="X26ABC1")
    mailbox = FakeMailbox([a_mesh_message(body) for body in bodies], delivers_to={"X26ABC1": hospital})
    daemon = a_small_daemon(tmp_path, mailbox)

    poll(daemon.collector, daemon.guard)
    while interpret(daemon.world) + dispatch(daemon.world) + respond(daemon.world, mailbox):
        pass

    # Two pages; and, because one of them was full, one look more, all within the one poll.
    assert (len(mailbox.verbs("pages")), len(mailbox.acknowledged)) == (3, COUNT)
    found = list(daemon.ledger.messages())
    assert Counter(record.state for record, _ in found) == {State.COMPLETED: COUNT}
    answers = Counter((each.level, each.response_code, each.state) for _, responses in found for each in responses)
    assert answers == {
        ("infrastructure", "20013", ResponseState.SENT): COUNT,
        ("business", "30001", ResponseState.SENT): COUNT,
    }
    assert len(hospital._inbox) == 2 * COUNT
