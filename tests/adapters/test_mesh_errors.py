"""Every way in which a MESH call fails leaves the adapter as an error of `ports`, with a reason that is safe to log."""

import http.client
import json
import re
import socket
import ssl
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import requests
import urllib3.exceptions
from mesh_client import MeshError
from pydantic import SecretStr

from mesh_itk3.adapters.mesh_errors import reason_of, retry_after_s, translated
from mesh_itk3.adapters.mesh_mailbox import MeshConnection, MeshMailbox
from mesh_itk3.adapters.mesh_session import MAX_ANSWER_BYTES, TRIES, pause_s
from mesh_itk3.ports import (
    CredentialsRejected,
    LookUpUnsupported,
    MailboxUnavailable,
    MessageGone,
    Outgoing,
    SendRefused,
    SendUnresolved,
    Tracking,
)
from mesh_itk3.simulator.faults import Body, Cut, DropAfter, DropBefore, Stall, Status, Trickle, html
from mesh_itk3.simulator.faulty_mesh import FaultyMesh
from support.sandbox import HOSPITAL, PRACTICE, connection

ALWAYS = float("inf")
REASON = re.compile(
    r"timeout|connection|tls|redirect|not_mesh|too_large|bad_encoding|no_length|junk_range|too_slow|closed|http_\d{3}"
)
GONE_BODY = b'{"detail":[{"event":"RECEIVE","code":"20","msg":"Message does not exist"}]}'


@pytest.fixture
def practice(faulty_mesh):
    mailbox = MeshMailbox(connection(faulty_mesh.url, PRACTICE, timeout_s=30.0))
    yield mailbox
    mailbox.close()


@pytest.fixture
def a_message(hospital_mailbox):
    return hospital_mailbox.send(outgoing("L-other"))


def outgoing(local_id="L-1", body=b"<Bundle/>", **changes):
    return replace(Outgoing(PRACTICE, "W", local_id, body), **changes)


VERBS: dict[str, Callable[[Any, str], Any]] = {
    "handshake": lambda mailbox, _: mailbox.handshake(),
    "list": lambda mailbox, _: list(mailbox.pages()),
    "open": lambda mailbox, mesh_message_id: mailbox.open(mesh_message_id).close(),
    "acknowledge": lambda mailbox, mesh_message_id: mailbox.acknowledge(mesh_message_id),
    "find_sent": lambda mailbox, _: mailbox.find_sent("L-1"),
    "track": lambda mailbox, mesh_message_id: mailbox.track(mesh_message_id),
}
JSON_VERBS = ("list", "find_sent", "track")

pytestmark = pytest.mark.sandbox


# ------------------------------------------------------------------------------- calls that may be repeated


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "fault",
    [DropBefore(), DropAfter(), Status(500), Status(502), Status(503), Status(425), Status(408), html(503), Status(429)],
    ids=["dropped before", "dropped after", "500", "502", "503", "425", "408", "503 in HTML", "429"],
)
def test_a_passing_fault_is_repeated_with_a_fresh_token(faulty_mesh, practice, a_message, verb, fault):
    faulty_mesh.fail(verb, fault, times=TRIES - 1)

    VERBS[verb](practice, a_message)

    assert faulty_mesh.counts[verb] == TRIES
    assert len(set(faulty_mesh.tokens[verb])) == TRIES


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (DropBefore(), "connection"),
        (DropAfter(), "connection"),
        (Status(500), "http_500"),
        (Status(502), "http_502"),
        (html(503), "http_503"),
        (Status(429), "http_429"),
        (Status(418), "http_418"),
        (Status(400), "http_400"),
        (html(200), "not_mesh"),
        (Status(302, location="http://127.0.0.1:9/elsewhere"), "redirect"),
        (Status(307, location="/messageexchange/X26ABC2/inbox"), "redirect"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_lasting_fault_is_unavailable_for_a_reason(faulty_mesh, practice, a_message, verb, fault, reason):
    faulty_mesh.fail(verb, fault, times=ALWAYS)
    expected = LookUpUnsupported if (verb, reason) == ("find_sent", "http_400") else MailboxUnavailable

    with pytest.raises(expected) as raised:
        VERBS[verb](practice, a_message)

    assert str(raised.value) == reason
    assert faulty_mesh.counts[verb] <= TRIES


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("fault", [Status(403, b""), html(403), Status(401)], ids=["403 empty", "403 in HTML", "401"])
def test_rejected_credentials_are_not_tried_again(faulty_mesh, practice, a_message, verb, fault):
    faulty_mesh.fail(verb, fault, times=ALWAYS)

    with pytest.raises(CredentialsRejected):
        VERBS[verb](practice, a_message)

    assert faulty_mesh.counts[verb] == 1


@pytest.mark.parametrize("verb", JSON_VERBS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"messages":',
        b'{"messages":{}}',
        b'{"messages":[1]}',
        b"\xff",
        b"[" * 100_000,
        b'{"status":3}',
    ],
    ids=["empty", "null", "array", "no keys", "cut", "no list", "no ids", "no text", "very deep", "wrong type"],
)
def test_an_answer_that_is_not_meshs_json_is_unavailable(faulty_mesh, practice, a_message, verb, body):
    faulty_mesh.fail(verb, Status(200, body), times=ALWAYS)

    with pytest.raises(MailboxUnavailable, match="not_mesh"):
        VERBS[verb](practice, a_message)


@pytest.mark.parametrize("verb", JSON_VERBS)
def test_an_answer_without_end_is_not_read_into_memory(faulty_mesh, practice, a_message, verb):
    faulty_mesh.fail(verb, Status(200, b'{"messages":["' + b"x" * MAX_ANSWER_BYTES + b'"]}'), times=ALWAYS)

    with pytest.raises(MailboxUnavailable, match="too_large"):
        VERBS[verb](practice, a_message)


@pytest.mark.parametrize("verb", ["list", "track"])
def test_an_answer_cut_in_the_body_is_asked_for_again(faulty_mesh, practice, a_message, verb):
    faulty_mesh.fail(verb, Cut(5))

    VERBS[verb](practice, a_message)

    assert faulty_mesh.counts[verb] == 2


def test_bad_gzip_in_an_answer_is_unavailable(faulty_mesh, practice):
    faulty_mesh.fail("list", Body(b"no gzip", "gzip"), times=ALWAYS)

    with pytest.raises(MailboxUnavailable, match="bad_encoding"):
        list(practice.pages())


def test_a_silent_server_is_a_timeout(faulty_mesh):
    faulty_mesh.fail("list", Stall(0), times=ALWAYS)

    with (
        closing(MeshMailbox(connection(faulty_mesh.url, PRACTICE, timeout_s=0.2))) as practice,
        pytest.raises(MailboxUnavailable) as raised,
    ):
        list(practice.pages())

    assert raised.value.reason == "timeout"


@pytest.mark.parametrize("verb", JSON_VERBS)
def test_an_answer_in_a_trickle_is_given_up(faulty_mesh, a_message, verb):
    faulty_mesh.fail(verb, Trickle(0.05), times=ALWAYS)

    with (
        closing(MeshMailbox(connection(faulty_mesh.url, PRACTICE, timeout_s=1.5))) as practice,
        pytest.raises(MailboxUnavailable, match="too_slow"),
    ):
        VERBS[verb](practice, a_message)

    assert faulty_mesh.counts[verb] == 1


def test_a_look_up_that_mesh_says_is_gone_says_neither_yes_nor_no(faulty_mesh, practice):
    faulty_mesh.fail("find_sent", Status(410, GONE_BODY))

    with pytest.raises(LookUpUnsupported, match="http_410"):
        practice.find_sent("L-1")


def test_several_of_which_each_may_have_been_cut_off_between_its_chunks_say_neither_yes_nor_no(faulty_mesh, practice):
    faulty_mesh.fail("find_sent", Status(300), times=2)

    assert practice.find_sent("L-1", size=100) == ""
    with pytest.raises(LookUpUnsupported, match="http_300"):
        practice.find_sent("L-1", size=20 * 1024 * 1024)


def a_port_of(silent) -> str:
    """The address of a socket that does not listen: nobody else can, while it is there."""
    silent.bind(("127.0.0.1", 0))
    return f"http://127.0.0.1:{silent.getsockname()[1]}"


def test_nobody_listening_is_unavailable():
    with socket.socket() as silent, closing(MeshMailbox(connection(a_port_of(silent), PRACTICE))) as practice:
        with pytest.raises(MailboxUnavailable, match="connection"):
            practice.handshake()
        with pytest.raises(SendUnresolved, match="connection"):
            practice.send(outgoing())


@pytest.mark.parametrize(
    "changes", [{"password": SecretStr("wrong")}, {"shared_key": SecretStr("wrong")}], ids=lambda c: next(iter(c))
)
def test_wrong_credentials_are_rejected_by_every_verb(sandbox, a_message, changes):
    with closing(sandbox.mailbox(PRACTICE, **changes)) as practice:
        for call in (*VERBS.values(), lambda mailbox, _: mailbox.send(outgoing())):
            with pytest.raises(CredentialsRejected):
                call(practice, a_message)


def test_a_retry_after_is_handed_on_and_not_slept_through(faulty_mesh, practice, a_message):
    faulty_mesh.fail("open", Status(429, retry_after="120"), times=ALWAYS)

    with pytest.raises(MailboxUnavailable) as raised:
        practice.open(a_message)

    assert raised.value.retry_after_s == 120
    assert faulty_mesh.counts["open"] == 1


# ------------------------------------------------------------------------------- gone


@pytest.mark.parametrize("status", [404, 410])
def test_a_message_that_is_gone(faulty_mesh, practice, a_message, status):
    for verb in ("open", "acknowledge", "track"):
        faulty_mesh.fail(verb, Status(status, GONE_BODY))

    with pytest.raises(MessageGone):
        practice.open(a_message)
    practice.acknowledge(a_message)
    assert practice.track(a_message) is None


def test_an_acknowledge_whose_answer_was_lost_is_done_at_the_second_try(faulty_mesh, practice, a_message):
    faulty_mesh.fail("acknowledge", DropAfter())
    faulty_mesh.fail("acknowledge", Status(410, GONE_BODY), on=2)

    practice.acknowledge(a_message)

    assert list(practice.pages()) == [()]


@pytest.mark.parametrize("verb", ["open", "acknowledge", "track"])
def test_a_404_page_of_some_gateway_says_nothing_of_a_message(faulty_mesh, practice, a_message, verb):
    faulty_mesh.fail(verb, html(404))

    with pytest.raises(MailboxUnavailable, match="http_404"):
        VERBS[verb](practice, a_message)


@pytest.mark.parametrize("verb", ["handshake", "list"])
def test_a_mailbox_that_is_not_found_is_unavailable(faulty_mesh, practice, verb):
    faulty_mesh.fail(verb, Status(404))

    with pytest.raises(MailboxUnavailable, match="http_404"):
        VERBS[verb](practice, "")


# ------------------------------------------------------------------------------- walking the inbox


def page(*ids, following=None):
    links = {"self": "/"} | ({} if following is None else {"next": following})
    return Status(200, json.dumps({"messages": list(ids), "links": links}).encode())


@pytest.mark.parametrize(
    "link",
    [
        "http://127.0.0.1:1/inbox",
        "https://evil.example/x",
        "//evil.example/x",
        "http://127.0.0.1@evil.example/",
        "file:///etc/passwd",
    ],
)
def test_a_next_page_on_another_host_is_not_followed(faulty_mesh, practice, link):
    faulty_mesh.fail("list", page("A", following=link), times=ALWAYS)

    with pytest.raises(MailboxUnavailable, match="redirect"):
        list(practice.pages())

    assert faulty_mesh.counts["list"] == 1


def test_a_server_that_repeats_one_page_does_not_make_the_walk_endless(faulty_mesh, practice):
    faulty_mesh.fail("list", page("A", "B", following="/messageexchange/X26ABC2/inbox?continue_from=x"), times=ALWAYS)

    assert set(practice.pages()) == {("A", "B")}
    assert faulty_mesh.counts["list"] <= 4


def test_empty_pages_with_a_link_do_not_make_the_walk_endless(faulty_mesh, practice):
    faulty_mesh.fail("list", page(following="/messageexchange/X26ABC2/inbox?continue_from=x"), times=ALWAYS)

    assert set(practice.pages()) == {()}
    assert faulty_mesh.counts["list"] <= 4


def test_a_walk_that_a_server_starts_over_still_comes_to_its_end(sandbox, hospital_mailbox):
    """The sandbox does so when the message at which a page ended has been acknowledged meanwhile."""
    sent = [hospital_mailbox.send(outgoing(f"L-{number}")) for number in range(30)]
    seen = set()

    with closing(sandbox.mailbox(PRACTICE, page_size=10)) as practice:
        for ids in practice.pages():
            seen.update(ids)
            for mesh_message_id in seen.intersection(sent[15:]):
                practice.acknowledge(mesh_message_id)

    assert seen == set(sent)


def test_a_page_is_asked_for_only_when_it_is_wanted(faulty_mesh, practice):
    faulty_mesh.fail("list", page("A", following="/messageexchange/X26ABC2/inbox?continue_from=x"))

    walk = practice.pages()
    assert faulty_mesh.counts["list"] == 0
    assert next(walk) == ("A",)
    assert faulty_mesh.counts["list"] == 1


def test_a_fault_at_a_later_page_does_not_take_back_the_first(faulty_mesh, practice):
    faulty_mesh.fail("list", page("A", following="/messageexchange/X26ABC2/inbox?continue_from=x"))
    faulty_mesh.fail("list", Status(403), on=2)

    walk = practice.pages()

    assert next(walk) == ("A",)
    with pytest.raises(CredentialsRejected):
        next(walk)


# ------------------------------------------------------------------------------- sending


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (DropBefore(), "connection"),
        (DropAfter(), "connection"),
        (Stall(0), "timeout"),
        (Cut(5), "connection"),
        (Status(408), "http_408"),
        (Status(425), "http_425"),
        (Status(429, retry_after="7"), "http_429"),
        (Status(500), "http_500"),
        (html(503), "http_503"),
        (Status(404), "http_404"),
        (Status(422), "http_422"),
        (html(400), "http_400"),
        (html(200), "not_mesh"),
        (html(202), "not_mesh"),
        (Status(202, b"{}"), "not_mesh"),
        (Status(202, b""), "not_mesh"),
        (Status(202, b'{"message_id":7}'), "not_mesh"),
        (Status(302, location="/x"), "redirect"),
        (Status(307, location="http://127.0.0.1:9/x"), "redirect"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_send_of_unknown_outcome_is_not_repeated(faulty_mesh, fault, reason):
    faulty_mesh.fail("send", fault, times=ALWAYS)

    with (
        closing(MeshMailbox(connection(faulty_mesh.url, HOSPITAL, timeout_s=1.0 if reason == "timeout" else 30.0))) as hospital,
        pytest.raises(SendUnresolved) as raised,
    ):
        hospital.send(outgoing())

    assert raised.value.reason == reason
    assert raised.value.retry_after_s == (7 if reason == "http_429" else None)
    assert faulty_mesh.counts["send"] == 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Status(417, b'{"message_id":"X","detail":[{"event":"SEND","code":"12","msg":"Unregistered"}]}'), "12"),
        (Status(417, b'{"messageID":"X","errorEvent":"SEND","errorCode":"17","errorDescription":"no"}'), "17"),
        (Status(400, b'{"detail":[{"type":"missing","loc":["header"],"msg":"Field required"}]}'), "http_400"),
        (Status(417, b'{"detail":[{"code":"<script>a patient</script>"}]}'), "http_417"),
        (Status(417, b'{"detail":["x"]}'), "http_417"),
        (Status(417, b'{"detail":[]}'), "http_417"),
        (Status(417, b""), "http_417"),
    ],
)
def test_a_refused_send_carries_meshs_code_and_nothing_else(faulty_mesh, fault, code):
    faulty_mesh.fail("send", fault)

    with closing(MeshMailbox(connection(faulty_mesh.url, HOSPITAL))) as hospital, pytest.raises(SendRefused) as raised:
        hospital.send(outgoing())

    assert raised.value.code == code


@pytest.mark.parametrize("status", [401, 403])
def test_a_send_with_rejected_credentials_is_not_sent(faulty_mesh, status):
    faulty_mesh.fail("send", Status(status, b""))

    with closing(MeshMailbox(connection(faulty_mesh.url, HOSPITAL))) as hospital, pytest.raises(CredentialsRejected):
        hospital.send(outgoing())


@pytest.mark.parametrize("value", ["a\nb", " leads", "1933 \u2013 Smith"], ids=["newline", "space", "not latin-1"])
def test_a_header_that_cannot_be_sent_is_refused_before_anything_goes_out(faulty_mesh, value):
    with closing(MeshMailbox(connection(faulty_mesh.url, HOSPITAL))) as hospital, pytest.raises(SendRefused) as raised:
        hospital.send(outgoing(workflow_id=value))

    assert (raised.value.code, raised.value.was_asked) == ("unusable_header", False)
    assert raised.value.__cause__ is None  # the library's error would carry the value
    assert faulty_mesh.counts["send"] == 0


@pytest.mark.parametrize(
    ("fault", "expected"), [(DropAfter(), SendUnresolved), (Status(417), SendRefused), (Status(423), SendUnresolved)]
)
def test_a_send_that_fails_at_a_later_chunk_was_not_sent(faulty_mesh, fault, expected):
    faulty_mesh.fail("send_chunk", fault)

    with closing(MeshMailbox(connection(faulty_mesh.url, HOSPITAL, chunk_bytes=10))) as hospital:
        with pytest.raises(expected):
            hospital.send(outgoing(body=b"x" * 25))

        assert hospital.find_sent("L-1") is None


def test_a_send_whose_answer_was_lost_is_found_by_its_local_id(faulty_mesh, practice_mailbox):
    faulty_mesh.fail("send", DropAfter())

    with closing(MeshMailbox(connection(faulty_mesh.url, HOSPITAL))) as hospital:
        with pytest.raises(SendUnresolved):
            hospital.send(outgoing())
        found = hospital.find_sent("L-1")

    assert list(practice_mailbox.pages()) == [(found,)]


@pytest.mark.parametrize(
    "fault", [html(404), Status(405), Status(501), Status(406), Status(400)], ids=["404 page", "405", "501", "406", "400"]
)
def test_a_look_up_that_is_not_served_is_said_so(faulty_mesh, practice, fault):
    faulty_mesh.fail("find_sent", fault)

    with pytest.raises(LookUpUnsupported):
        practice.find_sent("L-1")


@pytest.mark.parametrize("local_id", ["a/b", "", ".", ".."])
def test_a_local_id_that_is_no_path_segment_cannot_be_looked_up(practice, local_id):
    with pytest.raises(LookUpUnsupported):
        practice.find_sent(local_id)


@pytest.mark.parametrize(
    ("status", "state"),
    [("Accepted", "accepted"), ("uploading", "accepted"), ("error", "undeliverable"), ("acknowledged", "acknowledged")],
)
def test_tracking_states_are_those_of_the_port(faulty_mesh, practice, a_message, status, state):
    faulty_mesh.fail("track", Status(200, json.dumps({"status": status, "status_code": "14"}).encode()))
    assert practice.track(a_message) == Tracking(state, "14")


# ------------------------------------------------------------------------------- pure parts


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (requests.ConnectionError(), "connection"),
        (requests.exceptions.ReadTimeout(), "timeout"),
        (requests.exceptions.ConnectTimeout(), "timeout"),
        (requests.exceptions.SSLError(), "tls"),
        (requests.exceptions.RetryError(), "connection"),
        (requests.exceptions.JSONDecodeError("a body", "a body", 0), "not_mesh"),
        (requests.exceptions.ChunkedEncodingError(), "connection"),
        (urllib3.exceptions.ProtocolError(), "connection"),
        (urllib3.exceptions.IncompleteRead(1, 2), "connection"),
        (urllib3.exceptions.ResponseError(), "connection"),
        (urllib3.exceptions.ReadTimeoutError(None, "/a/url", "a text"), "timeout"),
        (urllib3.exceptions.DecodeError(), "bad_encoding"),
        (zlib.error(), "bad_encoding"),
        (ssl.SSLError(), "tls"),
        (TimeoutError(), "timeout"),
        (ConnectionResetError(), "connection"),
        (http.client.RemoteDisconnected(), "connection"),
        (http.client.BadStatusLine("a line"), "connection"),
        (MeshError("a body", {}), "not_mesh"),
        (json.JSONDecodeError("a body", "a body", 0), "not_mesh"),
        (ValueError("a body"), "not_mesh"),
        (IndexError(), "not_mesh"),
        (KeyError("a key"), "not_mesh"),
        (EOFError(), "connection"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else value,
)
def test_every_family_of_exceptions_becomes_a_reason_that_is_safe_to_log(error, reason):
    with pytest.raises(MailboxUnavailable) as raised, translated():
        raise error

    assert str(raised.value) == reason_of(error) == reason
    assert REASON.fullmatch(reason)


def test_our_own_faults_are_not_blamed_on_mesh():
    with pytest.raises(AttributeError), translated():
        raise AttributeError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("30", 30),
        (" 30 ", 30),
        ("99999", 3600),
        ("-3", None),
        ("soon", None),
        ("1e9", None),
        ("", None),
        ("9" * 400, None),
    ],
)
def test_retry_after_in_seconds(text, seconds):
    assert retry_after_s({"Retry-After": text}) == seconds


def test_retry_after_as_a_date():
    now = datetime.now(UTC)
    assert retry_after_s({"Retry-After": format_datetime(now + timedelta(hours=0.5), usegmt=True)}) == pytest.approx(
        1800, abs=300
    )
    assert retry_after_s({"Retry-After": format_datetime(now - timedelta(days=1), usegmt=True)}) == 0
    assert retry_after_s({"Retry-After": "Fri, 99 Xxx 2026 99:99:99 GMT"}) is None


def test_repetitions_stay_within_their_budget():
    fault = MailboxUnavailable("http_503")

    def pause(attempt, fault, left_s=15.0, jitter=0.0):
        return pause_s(attempt, fault, first_s=0.25, left_s=left_s, jitter=jitter)

    assert pause(1, fault) == 0.25
    assert pause(2, fault, jitter=0.5) == pytest.approx(1.125)
    assert pause(1, fault, left_s=0.1) is None
    assert pause(1, MailboxUnavailable("http_429", retry_after_s=2)) == 2
    assert pause(1, MailboxUnavailable("http_429", retry_after_s=20)) is None
    assert pause(1, MailboxUnavailable("tls")) is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"mailbox_id": ""}, "mailbox_id"),
        ({"mailbox_id": "X26/../ABC"}, "mailbox_id"),
        ({"password": SecretStr("pass£word")}, "password"),
        ({"shared_key": SecretStr("")}, "shared_key"),
        ({"url": None}, "url"),
        ({"url": "ftp://127.0.0.1"}, "url"),
        ({"environment": "live"}, "url"),
        ({"url": "https://127.0.0.1"}, "ca_file"),
        ({"page_size": 9}, "page_size"),
        ({"page_size": 5001}, "page_size"),
        ({"chunk_bytes": 0}, "chunk_bytes"),
        ({"client_key": "key.pem"}, "client_key"),
    ],
)
def test_a_connection_that_cannot_work_is_refused_by_field_without_its_value(changes, field):
    with pytest.raises(ValueError, match=f"^{field}: ") as raised:
        connection(**{"url": "http://127.0.0.1:1", "mailbox_id": PRACTICE} | changes)

    assert "pass£word" not in str(raised.value)


@pytest.mark.parametrize(
    ("environment", "host"),
    [("live", "mesh-sync.spine"), ("integration", "msg.intspine"), ("deployment", "msg.depspine")],
)
def test_the_real_environments_are_those_of_mesh_client(environment, host):
    real = MeshConnection(environment=environment, mailbox_id="x26abc1", password=SecretStr("p"), shared_key=SecretStr("k"))

    assert real.mailbox_id == "X26ABC1"
    assert real.endpoint.url.startswith(f"https://{host}")
    assert real.endpoint.verify.endswith(".pem")
    assert "SecretStr('**********')" in repr(real)


def test_a_closed_mailbox_is_unavailable(sandbox):
    mailbox = sandbox.mailbox(PRACTICE)
    mailbox.handshake()
    mailbox.close()

    with pytest.raises(MailboxUnavailable, match="closed"):
        mailbox.handshake()


def test_a_stopped_proxy_frees_its_port(sandbox):
    proxy = FaultyMesh(sandbox.url)
    proxy.start()
    proxy.stop()

    with closing(MeshMailbox(connection(proxy.url, PRACTICE))) as practice, pytest.raises(MailboxUnavailable):
        practice.handshake()
