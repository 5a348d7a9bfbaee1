"""Every fault on every MESH verb. Letters arrive, the daemon meets the fault for twenty minutes, the fault heals; then the
other side judges. The proxy refuses a token that MESH has seen, as real MESH does, in every one of them.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from mesh_itk3.adapters.mesh_session import TRIES
from mesh_itk3.simulator.faults import (
    HTML,
    ClientExpired,
    ClockSkew,
    Cut,
    CutGzip,
    DropAfter,
    DropBefore,
    Fault,
    Header,
    ListedAgain,
    Refused,
    ReplayRefused,
    ServerExpired,
    Status,
    Trickle,
    html,
)
from mesh_itk3.simulator.faulty_mesh import VERBS, FaultyMesh, Tls
from support.authority import an_authority
from support.fault_play import ALERTS, Play, an_empty_ledger

ALWAYS = float("inf")
GONE = b'{"detail":[{"event":"RECEIVE","code":"20","msg":"Message does not exist"}]}'

FAULTS: dict[str, Fault] = {
    "refused": Refused(),
    "dropped before": DropBefore(),
    "dropped after": DropAfter(),
    "cut": Cut(2),
    "cut, gzip": CutGzip(),
    "slow drip": Trickle(0.05),
    "403": Status(403),
    "404": Status(404, GONE),
    "410": Status(410, GONE),
    "417": Status(417),
    "429": Status(429, retry_after="600"),
    "500": Status(500),
    "502": Status(502, HTML, media_type="text/html"),
    "503": Status(503, HTML, media_type="text/html"),
    "HTML": html(),
    "duplicate listing": ListedAgain(),
    "wrong chunk count": Header("Mex-Chunk-Range", "1:9"),
    "replay refused": ReplayRefused(),
    "clock skew": ClockSkew(timedelta(hours=3)),
    "server certificate past": ServerExpired(),
    "client certificate past": ClientExpired(),
}
LISTS = "only a listing lists"
NO_CHUNKS = "its answer says nothing of chunks"
EMPTY = "its answer has no body"
MAKES_NO_SENSE = {
    **{(verb, "duplicate listing"): LISTS for verb in VERBS if verb != "list"},
    **{(verb, "wrong chunk count"): NO_CHUNKS for verb in VERBS if verb not in ("open", "chunk")},
    **{(verb, fault): EMPTY for verb in ("handshake", "acknowledge") for fault in ("cut", "cut, gzip", "slow drip")},
}
MATRIX = [(verb, fault) for verb in VERBS for fault in FAULTS if (verb, fault) not in MAKES_NO_SENSE]

SENDS = frozenset({"send", "send_chunk", "track", "find_sent"})
RECEIVING = [(verb, fault) for verb, fault in MATRIX if verb not in SENDS]
SENDING = [(verb, fault) for verb, fault in MATRIX if verb in SENDS]

FINAL = {("send", "417"), ("send_chunk", "417")}
"""MESH's judgement of the message itself: it is parked and said, and never sent again (design rule 15)."""
NEVER_SENT = {"missing response": 4, "no next step": 4, "ledger disagrees": 4, "parked without cause": 2}
"""What the oracle says then, which is not told of the proxy's refusal: four responses to two letters wait for a person."""
MAY_DOUBLE = {("find_sent", "404")}
"""MESH took it and says that it does not have it: nobody can know better than MESH."""
WHOLE_LINE = ("refused", "server certificate past", "client certificate past", "429")
"""What concerns every verb, whichever meets it first."""
MOST_PROBES = 8
"""In twenty minutes: at once, then after 15, 30, 60 … seconds; and the other errands once each."""
LETTERS = 2
SLOW_S = 1.0
"""What is too slow where MESH drips: far longer than a call takes that does not, on a busy machine too."""


@pytest.fixture(scope="module")
def empty_ledger(tmp_path_factory):
    return an_empty_ledger(tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """How the proxy shows itself, whom the practice trusts, and the practice's own certificate, which is past."""
    authority = an_authority(tmp_path_factory.mktemp("authority"), "right")
    tls = Tls(authority.issue("mesh"), authority.issue("old-mesh", is_past=True), authority.file)
    ours = authority.issue("practice", is_past=True)
    return tls, {"ca_file": authority.file, "client_certificate": ours}


@pytest.fixture
def play(tmp_path, sandbox, empty_ledger, certificates):
    plays = []

    def begin(fault):
        tls, files = certificates if fault.endswith("certificate past") else (None, {})
        proxy = FaultyMesh(sandbox.url, refuses_replays=True, tls=tls)
        proxy.start()
        changes = files | ({"timeout_s": SLOW_S} if fault == "slow drip" else {}) | ({"gzip": False} if fault == "cut" else {})
        plays.append(Play(tmp_path / "practice", sandbox, proxy, empty_ledger, changes))
        return plays[-1]

    yield begin
    for one in plays:
        one.close()


def meet(play, verb, fault):
    """So that this verb is called while the fault is there: a look-up needs a send without an answer, tracking a delivery."""
    if verb == "track":
        play.run(minutes=5, step_s=60)
        play.clock.advance(minutes=61)
    if verb == "find_sent":
        play.proxy.fail("send", DropAfter(), times=1)
    calls = play.proxy.counts[verb]
    play.proxy.fail(verb, FAULTS[fault], times=ALWAYS)
    play.run(minutes=20, step_s=60)
    return play.proxy.counts[verb] - calls


def judge(play, verb, fault):
    """Nothing is lost, nothing is answered twice, and the fault is said once."""
    play.letters_arrive()
    calls = meet(play, verb, fault)
    if verb == "handshake" and fault not in WHOLE_LINE:  # it holds up nothing else
        assert play.answers() == [("20013", "30001")] * LETTERS
    play.proxy.heal()
    play.run(minutes=90, step_s=600)  # an hour after the last send that was begun, and a turn
    play.hospital_reads()
    play.run(minutes=150, step_s=1800)

    assert play.repeated() == 0 or (verb, fault) in MAY_DOUBLE
    wrong = play.wrong_in_the_end()
    assert Counter(each.invariant for each in wrong) == (NEVER_SENT if (verb, fault) in FINAL else {}), wrong
    assert play.too_early == []
    assert play.status() == ({"parked": 4} if (verb, fault) in FINAL else {"delivered": 4})
    assert 1 <= calls <= MOST_PROBES * TRIES * LETTERS
    assert play.proxy.replays == 0
    said = play.events()
    # What a gateway repeats is found at the look-up: that is a recovery, until it repeats the next one.
    assert sum(said[alert] for alert in ALERTS) <= (LETTERS if fault == "replay refused" else 1)
    assert said["mailbox.recovered"] == sum(said[alert] for alert in ALERTS)
    assert said["response.parked"] == (LETTERS if (verb, fault) in FINAL else 0)
    assert said["stage.broken"] == said["stage.failed"] == said["message.parked"] == 0


# Two classes: with xdist a class is what one core takes, and the matrix is the longest thing that there is.


@pytest.mark.sandbox
class TestReceiving:
    @pytest.mark.parametrize(("verb", "fault"), RECEIVING, ids=[f"{verb}-{fault}" for verb, fault in RECEIVING])
    def test_nothing_is_lost_nothing_is_answered_twice_and_it_is_said_once(self, play, verb, fault):
        judge(play(fault), verb, fault)


@pytest.mark.sandbox
class TestSending:
    @pytest.mark.parametrize(("verb", "fault"), SENDING, ids=[f"{verb}-{fault}" for verb, fault in SENDING])
    def test_nothing_is_lost_nothing_is_answered_twice_and_it_is_said_once(self, play, verb, fault):
        judge(play(fault), verb, fault)


def test_each_pair_is_in_the_matrix_or_has_a_reason_why_it_makes_no_sense():
    assert len(MATRIX) + len(MAKES_NO_SENSE) == len(VERBS) * len(FAULTS)
    assert not set(MATRIX) & set(MAKES_NO_SENSE)
