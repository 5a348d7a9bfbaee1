"""What `ports.Mailbox` promises, on the fake and on the real adapter over the official sandbox."""

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest

from mesh_itk3.ports import Mailbox, MessageGone, Outgoing, SendRefused
from support.fake_mailbox import FakeMailbox, a_report
from support.sandbox import HOSPITAL, PRACTICE


@dataclass
class Mesh:
    hospital: Mailbox
    practice: Mailbox
    put_report: Callable[..., str]
    expire: Callable[[str], Any]


@pytest.fixture(params=["fake", pytest.param("sandbox", marks=pytest.mark.sandbox)])
def mesh(request):
    if request.param == "fake":
        yield _fake_mesh()
        return
    sandbox = request.getfixturevalue("sandbox")
    with closing(sandbox.mailbox(HOSPITAL, chunk_bytes=100_000)) as hospital, closing(sandbox.mailbox(PRACTICE)) as practice:
        yield Mesh(
            hospital,
            practice,
            put_report=lambda **said: sandbox.put_report(PRACTICE, **said),
            expire=lambda mesh_message_id: sandbox.add_event(mesh_message_id, "undeliverable"),
        )


def _fake_mesh():
    practice = FakeMailbox(mailbox_id=PRACTICE)
    hospital = FakeMailbox(mailbox_id=HOSPITAL, delivers_to={PRACTICE: practice})
    return Mesh(hospital, practice, put_report=lambda **said: practice.deliver(a_report(**said)), expire=practice.expire)


def outgoing(local_id="L-1", body=b"<Bundle/>", **changes):
    return Outgoing(**{"to_mailbox_id": PRACTICE, "workflow_id": "W", "local_id": local_id, "body": body} | changes)


def listed(mailbox):
    return [mesh_message_id for page in mailbox.pages() for mesh_message_id in page]


def body_of(mailbox, mesh_message_id):
    with closing(mailbox.open(mesh_message_id)) as download:
        file = io.BytesIO()
        download.write_to(file)
        return file.getvalue()


def test_a_handshake_succeeds_with_the_right_credentials(mesh):
    mesh.practice.handshake()


def test_an_empty_mailbox_is_one_empty_page(mesh):
    assert list(mesh.practice.pages()) == [()]


def test_a_sent_message_is_listed_and_read_with_its_headers_and_bytes(mesh):
    mesh_message_id = mesh.hospital.send(outgoing("L-7", b"<Bundle>\xc3\xa9</Bundle>"))

    assert listed(mesh.practice) == [mesh_message_id]
    with closing(mesh.practice.open(mesh_message_id)) as download:
        headers = download.headers
    assert headers.mesh_message_id == mesh_message_id
    assert (headers.workflow_id, headers.message_type, headers.local_id) == ("W", "DATA", "L-7")
    assert (headers.sender_mailbox_id, headers.recipient_mailbox_id) == (HOSPITAL, PRACTICE)
    assert headers.all["messagetype"] == "DATA"
    assert body_of(mesh.practice, mesh_message_id) == b"<Bundle>\xc3\xa9</Bundle>"


def test_a_message_in_several_chunks_arrives_whole(mesh):
    body = bytes(range(256)) * 1500  # 384,000 bytes: four chunks of the real adapter
    mesh_message_id = mesh.hospital.send(outgoing(body=body))

    assert body_of(mesh.practice, mesh_message_id) == body


def test_reading_or_closing_unread_acknowledges_nothing(mesh):
    mesh_message_id = mesh.hospital.send(outgoing())
    body_of(mesh.practice, mesh_message_id)
    mesh.practice.open(mesh_message_id).close()

    assert listed(mesh.practice) == [mesh_message_id]


def test_an_acknowledged_message_is_not_listed_again(mesh):
    first = mesh.hospital.send(outgoing("L-1"))
    second = mesh.hospital.send(outgoing("L-2"))

    mesh.practice.acknowledge(first)

    assert listed(mesh.practice) == [second]


def test_acknowledging_twice_or_what_is_not_there_is_done(mesh):
    mesh_message_id = mesh.hospital.send(outgoing())

    for about in (mesh_message_id, mesh_message_id, "20260101000000000_ABCDEF", "../../other"):
        mesh.practice.acknowledge(about)

    assert listed(mesh.practice) == []


@pytest.mark.parametrize("mesh_message_id", ["20260101000000000_ABCDEF", "..", "a/b", "a?b=c", ""])
def test_opening_what_is_not_there_says_that_it_is_gone(mesh, mesh_message_id):
    with pytest.raises(MessageGone):
        mesh.practice.open(mesh_message_id)


def test_an_expired_message_is_gone_and_undeliverable_for_its_sender(mesh):
    mesh_message_id = mesh.hospital.send(outgoing())

    mesh.expire(mesh_message_id)

    assert listed(mesh.practice) == []
    with pytest.raises(MessageGone):
        mesh.practice.open(mesh_message_id)
    assert mesh.hospital.track(mesh_message_id).state == "undeliverable"


def test_a_report_has_no_sender_and_no_body_and_names_what_it_reports_on(mesh):
    mesh_message_id = mesh.put_report(linked_message_id="2026_ABC", local_id="L-9", workflow_id="W_ACK")

    with closing(mesh.practice.open(mesh_message_id)) as download:
        headers = download.headers
        file = io.BytesIO()
        download.write_to(file)

    assert (headers.message_type, headers.sender_mailbox_id, headers.status_code) == ("REPORT", None, "14")
    assert (headers.linked_message_id, headers.local_id, headers.workflow_id) == ("2026_ABC", "L-9", "W_ACK")
    assert headers.status_event == "SEND"
    assert file.getvalue() == b""
    mesh.practice.acknowledge(mesh_message_id)
    assert listed(mesh.practice) == []


def test_600_messages_come_in_two_pages_oldest_first(mesh):
    sent = [mesh.hospital.send(outgoing(f"L-{number}")) for number in range(600)]

    pages = list(mesh.practice.pages())

    assert [len(page) for page in pages] == [500, 100]
    assert [mesh_message_id for page in pages for mesh_message_id in page] == sent
    assert mesh.practice.page_size == 500


def test_acknowledging_while_walking_hides_no_message(mesh):
    sent = [mesh.hospital.send(outgoing(f"L-{number}")) for number in range(530)]
    seen = set()

    for page in mesh.practice.pages():
        seen.update(page)
        for mesh_message_id in page[-20:]:
            mesh.practice.acknowledge(mesh_message_id)

    assert seen == set(sent)


def test_a_send_is_found_by_its_local_id(mesh):
    mesh_message_id = mesh.hospital.send(outgoing("L 1?&%=#"))

    assert mesh.hospital.find_sent("L 1?&%=#") == mesh_message_id
    assert mesh.hospital.find_sent("L-never") is None


def test_a_doubled_send_is_found_without_an_id(mesh):
    mesh.hospital.send(outgoing("L-1"))
    mesh.hospital.send(outgoing("L-1"))

    assert mesh.hospital.find_sent("L-1") == ""


def test_tracking_follows_a_send_to_its_acknowledgement(mesh):
    mesh_message_id = mesh.hospital.send(outgoing())
    assert mesh.hospital.track(mesh_message_id).state == "accepted"

    mesh.practice.acknowledge(mesh_message_id)

    assert mesh.hospital.track(mesh_message_id).state == "acknowledged"
    assert mesh.hospital.track("20260101000000000_ABCDEF") is None


@pytest.mark.parametrize(("changes", "code"), [({"to_mailbox_id": "NOBODY"}, "12"), ({"body": b""}, "02")])
def test_a_send_that_mesh_refuses_carries_its_code(mesh, changes, code):
    with pytest.raises(SendRefused) as refused:
        mesh.hospital.send(outgoing(**changes))

    assert refused.value.code == code


def test_several_threads_may_use_one_mailbox(mesh):
    with ThreadPoolExecutor(8) as pool:
        sent = list(pool.map(lambda number: mesh.hospital.send(outgoing(f"L-{number}")), range(40)))
        bodies = list(pool.map(lambda mesh_message_id: body_of(mesh.practice, mesh_message_id), sent))
        list(pool.map(mesh.practice.acknowledge, sent))

    assert set(bodies) == {b"<Bundle/>"}
    assert listed(mesh.practice) == []
