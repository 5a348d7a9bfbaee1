"""A payload's name is ours and nobody else's: neither what a sender calls a file nor what is in it makes two messages one."""

from __future__ import annotations

from support.fake_mailbox import FakeMailbox, a_mesh_message
from support.stage_world import a_small_daemon


def test_two_messages_with_one_file_name_are_both_kept(tmp_path):
    bodies = [b"<Bundle>the first</Bundle>", b"<Bundle>the second</Bundle>"]
    messages = [a_mesh_message(body, filename="letter.xml") for body in bodies]
    daemon = a_small_daemon(tmp_path, FakeMailbox(messages))
    daemon.collect()
    stored = [daemon.record(message.mesh_message_id).payload for message in messages]
    assert [daemon.world.payloads.read(payload.name) for payload in stored] == bodies
    assert daemon.mailbox.acknowledged == [message.mesh_message_id for message in messages]


def test_removing_the_payload_of_one_of_two_equal_messages_leaves_the_other_whole(tmp_path):
    messages = [a_mesh_message(b"<Bundle/>") for _ in range(2)]
    daemon = a_small_daemon(tmp_path, FakeMailbox(messages))
    daemon.collect()
    first, second = (daemon.record(message.mesh_message_id).payload for message in messages)
    daemon.world.payloads.discard(first.name)
    assert daemon.world.payloads.read(second.name) == b"<Bundle/>"
