"""MESH is away for a day while ten thousand responses are owed: one line, few calls, and everything goes out afterwards."""

from __future__ import annotations

from collections import Counter

import pytest

from mesh_itk3.lifecycle import State
from mesh_itk3.ports import Changes, Entry, Kind, MessageKey, NewResponse, Received, Step
from support.composed import a_composed_daemon
from support.fake_mailbox import FakeMailbox
from support.sandbox import PRACTICE
from support.stage_world import captured

OWED = 10_000
EVERYTHING = ("handshake", "pages", "send", "find_sent", "track")


def owe(ledger, at, count):
    """So many messages that have been accepted, each with its 20013 owed."""
    keys = [MessageKey(PRACTICE, f"M{n:08}") for n in range(count)]
    entry = Entry(at=at, stage="test", outcome="received")
    blank = ("TOC_FHIR_IP_DISCH", Kind.MESSAGE, at, "X26ABC1", None, None, None)
    ledger.record_all_received([(Received(key, *blank), entry) for key in keys])
    ledger.apply([Step(key, State.RECEIVED, State.ACCEPTED, entry, Changes(handler="gone"), (_response(key),)) for key in keys])


def _response(key):
    local_id = f"local-{key.mesh_message_id}"
    return NewResponse("infrastructure", "20013", local_id, local_id, "X26ABC1", "TOC_FHIR_IP_DISCH_ACK", b"<Bundle/>")


def a_day_of(daemon, seconds=86_400):
    """As the scheduler runs them: sending every five seconds, polling every five minutes …"""
    for second in range(0, seconds, 5):
        daemon.respond(PRACTICE)
        for every, run in ((60, daemon.handshake), (300, daemon.collect), (600, daemon.track)):
            if second % every == 0:
                run(PRACTICE)
        daemon.clock.advance(seconds=5)


def test_a_dead_mesh_is_one_alert_with_ten_thousand_responses_owed(tmp_path):
    mailbox = FakeMailbox(fails_on=EVERYTHING)
    daemon = a_composed_daemon(tmp_path, mailbox)
    said = captured()
    owe(daemon.ledger, daemon.clock.now(), OWED)
    a_day_of(daemon)
    alerts = [(line["event"], line["reason"]) for line in said if line["event"].startswith("mailbox.")]
    assert alerts == [("mailbox.unavailable", "connection")]
    # Once the waits have grown there is a quarter of an hour between two probes, of one look-up and one send at most.
    assert 80 <= len(mailbox.done) <= 220
    assert len(said) <= 120
    daemon.close()


@pytest.mark.plays_the_practice
def test_when_mesh_is_back_everything_goes_out_once_and_that_is_said_once(tmp_path):
    mailbox = FakeMailbox(fails_on=EVERYTHING)
    daemon = a_composed_daemon(tmp_path, mailbox)
    said = captured()
    owe(daemon.ledger, daemon.clock.now(), 300)
    a_day_of(daemon, 7200)
    mailbox.heal()
    a_day_of(daemon, 3600)
    assert Counter(outgoing.local_id for outgoing in mailbox.sent) == {f"local-M{n:08}": 1 for n in range(300)}
    events = Counter(line["event"] for line in said)
    assert (events["mailbox.unavailable"], events["mailbox.recovered"]) == (1, 1)
    assert daemon.ledger.mailbox_state(PRACTICE).failures == 0
    daemon.close()
