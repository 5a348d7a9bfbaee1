"""Bodies that their sender had compressed (Mex-Content-Compressed), told from those that only begin like one."""

from __future__ import annotations

import dataclasses
import gzip
import tracemalloc
import zlib

import pytest

from mesh_itk3.itk3.envelope import Caps
from mesh_itk3.lifecycle import State
from mesh_itk3.simulator.messages import a_message
from mesh_itk3.stages.dispatch import dispatch
from mesh_itk3.stages.interpret import interpret
from support.fake_mailbox import FakeMailbox, a_mesh_message
from support.stage_world import a_small_daemon

LETTER = a_message("ITK003D")
MIB = 1024 * 1024


def judged(tmp_path, body, *, flag="Y", max_bytes=20 * MIB):
    """What interpret made of a message with these bytes."""
    message = a_mesh_message(body, **({"content-compressed": flag} if flag else {}))
    daemon = a_small_daemon(tmp_path, FakeMailbox([message]))
    daemon.world = dataclasses.replace(daemon.world, caps=Caps(max_bytes=max_bytes))
    daemon.collect()
    interpret(daemon.world)
    return daemon, daemon.record(message.mesh_message_id)


@pytest.mark.parametrize("flag", ["Y", "y"])
def test_a_compressed_letter_is_read_and_its_received_bytes_stay_as_they_are(tmp_path, flag):
    body = gzip.compress(LETTER)
    daemon, record = judged(tmp_path, body, flag=flag)
    assert (record.state, record.event_code) == (State.ACCEPTED, "ITK003D")
    assert daemon.world.payloads.read(record.payload.name) == body
    dispatch(daemon.world)
    ((message, _),) = daemon.handler.calls
    assert (message.raw, message.form) == (LETTER, "xml")


def test_a_letter_in_several_gzip_members_with_padding_is_read_whole(tmp_path):
    half = len(LETTER) // 2
    body = gzip.compress(LETTER[:half]) + gzip.compress(LETTER[half:]) + bytes(200_000)
    _, record = judged(tmp_path, body)
    assert record.state is State.ACCEPTED


def test_a_letter_that_is_flagged_but_not_compressed_is_read_as_it_is(tmp_path):
    _, record = judged(tmp_path, LETTER)
    assert record.state is State.ACCEPTED


@pytest.mark.parametrize("flag", [None, "N", ""])
def test_compressed_bytes_that_are_not_flagged_are_unreadable(tmp_path, flag):
    _, record = judged(tmp_path, gzip.compress(LETTER), flag=flag)
    assert (record.state, record.response_code) == (State.REJECTED, "10009")


CUT = {"in the header": 20, "in the middle": -2000, "before the checksum": -8, "before the last byte": -1}


@pytest.mark.parametrize("end", CUT.values(), ids=CUT)
def test_compressed_bytes_that_are_cut_off_are_unreadable_however_much_could_be_unpacked(tmp_path, end):
    _, record = judged(tmp_path, gzip.compress(LETTER)[:end])
    assert (record.state, record.response_code) == (State.REJECTED, "10009")


def test_what_is_cut_off_is_answered_by_its_own_header(tmp_path):
    _, record = judged(tmp_path, gzip.compress(LETTER)[:-8])
    assert (record.event_code, record.bus_ack_requested) == ("ITK003D", True)


def test_a_wrong_checksum_is_unreadable(tmp_path):
    body = bytearray(gzip.compress(LETTER))
    body[-8] ^= 1
    _, record = judged(tmp_path, bytes(body))
    assert record.response_code == "10009"


def test_what_unpacks_to_more_than_the_cap_is_too_large_and_unpacked_no_further(tmp_path):
    bomb = gzip.compress(LETTER + b" " * (200 * MIB), compresslevel=1)
    tracemalloc.start()
    try:
        _, record = judged(tmp_path, bomb, max_bytes=2 * MIB)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert record.response_code == "20015"
    assert peak < 30 * MIB


def test_a_compressed_body_that_is_itself_over_the_cap_is_too_large_and_named_by_its_header(tmp_path):
    stored = zlib.compressobj(0, wbits=31)
    body = stored.compress(LETTER + b" " * MIB) + stored.flush()
    _, record = judged(tmp_path, body, max_bytes=MIB)
    assert (record.response_code, record.event_code) == ("20015", "ITK003D")


def test_a_compressed_body_over_the_cap_that_is_damaged_is_too_large(tmp_path):
    _, record = judged(tmp_path, b"\x1f\x8b" + b"x" * MIB, max_bytes=MIB)
    assert record.response_code == "20015"
