"""Nothing short is ever taken for whole, whatever the connection does, and a download of any size needs little memory."""

import errno
import gzip
import io
import os
import subprocess
import sys
from contextlib import closing

import pytest

from mesh_itk3.adapters.mesh_download import read_headers
from mesh_itk3.adapters.mesh_mailbox import MeshMailbox
from mesh_itk3.ports import MailboxUnavailable, MessageGone, Outgoing, TruncatedDownload
from mesh_itk3.simulator.faults import (
    Body,
    Cut,
    DropAfter,
    Header,
    NoLength,
    OtherStatus,
    ShortGzip,
    Stall,
    Status,
    Trickle,
    TwoMembers,
    html,
)
from support.sandbox import HOSPITAL, PRACTICE, connection

pytestmark = pytest.mark.sandbox

CHUNK_BYTES = 200_000
SHORT = (TruncatedDownload, MailboxUnavailable)


@pytest.fixture(params=["gzip", "identity"])
def practice(request, faulty_mesh):
    mailbox = MeshMailbox(connection(faulty_mesh.url, PRACTICE, gzip=request.param == "gzip", timeout_s=30.0))
    yield mailbox
    mailbox.close()


@pytest.fixture
def hospital(sandbox):
    mailbox = sandbox.mailbox(HOSPITAL, chunk_bytes=CHUNK_BYTES)
    yield mailbox
    mailbox.close()


def sent(hospital, body):
    return hospital.send(Outgoing(PRACTICE, "W", "L-1", body))


def downloaded(mailbox, mesh_message_id):
    with closing(mailbox.open(mesh_message_id)) as download:
        file = io.BytesIO()
        download.write_to(file)
        return file.getvalue()


def raises_short(mailbox, mesh_message_id, error, reason):
    with pytest.raises(error, match=reason):
        downloaded(mailbox, mesh_message_id)


def listed(mailbox):
    return [mesh_message_id for page in mailbox.pages() for mesh_message_id in page]


@pytest.mark.parametrize("after_bytes", [0, 1, 60_000, 149_999])
def test_a_cut_body_is_an_error_and_the_message_is_still_listed(faulty_mesh, hospital, practice, after_bytes):
    body = os.urandom(150_000)
    mesh_message_id = sent(hospital, body)
    faulty_mesh.fail("open", Cut(after_bytes))

    with pytest.raises(SHORT):
        downloaded(practice, mesh_message_id)

    assert listed(practice) == [mesh_message_id]
    assert faulty_mesh.counts["acknowledge"] == 0
    assert downloaded(practice, mesh_message_id) == body


@pytest.mark.parametrize("after_bytes", [0, 1, 100_000, 199_999])
def test_a_later_chunk_cut_is_an_error(faulty_mesh, hospital, practice, after_bytes):
    body = os.urandom(500_000)
    mesh_message_id = sent(hospital, body)
    faulty_mesh.fail("chunk", Cut(after_bytes))

    with pytest.raises(SHORT):
        downloaded(practice, mesh_message_id)

    assert listed(practice) == [mesh_message_id]
    assert downloaded(practice, mesh_message_id) == body


@pytest.mark.parametrize("verb", ["open", "chunk"])
def test_a_gzip_stream_that_ends_early_is_an_error_although_its_length_agrees(faulty_mesh, hospital, practice, verb):
    mesh_message_id = sent(hospital, os.urandom(500_000))
    faulty_mesh.fail(verb, ShortGzip())

    with pytest.raises(TruncatedDownload):
        downloaded(practice, mesh_message_id)


@pytest.mark.parametrize("missing_bytes", [1, 8])
def test_a_gzip_stream_without_its_checksum_is_an_error(faulty_mesh, hospital, practice, missing_bytes):
    mesh_message_id = sent(hospital, b"all bytes of the body are there, its trailer is not")
    faulty_mesh.fail("open", ShortGzip(missing_bytes))

    with pytest.raises(TruncatedDownload):
        downloaded(practice, mesh_message_id)


@pytest.mark.parametrize("verb", ["open", "chunk"])
def test_a_gzip_body_of_two_members_is_read_to_its_end(faulty_mesh, hospital, practice, verb):
    body = os.urandom(500_000)
    mesh_message_id = sent(hospital, body)
    faulty_mesh.fail(verb, TwoMembers())

    assert downloaded(practice, mesh_message_id) == body


@pytest.mark.parametrize(
    ("spoiled", "expected"),
    [
        (gzip.compress(b"x")[:-8] + b"\0" * 8, MailboxUnavailable),
        (gzip.compress(b"x") + b"no gzip", MailboxUnavailable),
        (b"no gzip at all", MailboxUnavailable),
        (gzip.compress(b"x") + gzip.compress(b"y")[:6], TruncatedDownload),
    ],
    ids=["wrong checksum", "junk after a member", "no gzip", "second member cut"],
)
def test_bad_gzip_is_an_error(faulty_mesh, hospital, practice, spoiled, expected):
    mesh_message_id = sent(hospital, b"x")
    faulty_mesh.fail("open", Body(spoiled, "gzip"))

    with pytest.raises(expected):
        downloaded(practice, mesh_message_id)


def test_a_decompression_bomb_comes_in_small_blocks_and_whole(faulty_mesh, hospital, practice):
    class Noted(io.BytesIO):
        largest = 0

        def write(self, block):
            self.largest = max(self.largest, len(block))
            return super().write(block)

    size = 32 * 1024 * 1024 + 77
    mesh_message_id = sent(hospital, b"x")
    faulty_mesh.fail("open", Body(gzip.compress(bytes(size)), "gzip"))

    with closing(practice.open(mesh_message_id)) as download:
        download.write_to(file := Noted())

    assert file.getvalue() == bytes(size)
    assert file.largest <= 256 * 1024


@pytest.mark.parametrize("encoding", ["x-gzip", "GZIP"])
@pytest.mark.parametrize("padding", [b"", b"\0" * 700], ids=["", "padded"])
def test_gzip_under_its_other_names_is_read(faulty_mesh, hospital, practice, encoding, padding):
    mesh_message_id = sent(hospital, b"x")
    faulty_mesh.fail("open", Body(gzip.compress(b"a letter") + padding, encoding))

    assert downloaded(practice, mesh_message_id) == b"a letter"


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd"])
def test_an_unknown_encoding_is_refused(faulty_mesh, hospital, practice, encoding):
    mesh_message_id = sent(hospital, b"x")
    faulty_mesh.fail("open", Header("Content-Encoding", encoding))

    with pytest.raises(MailboxUnavailable, match="bad_encoding"):
        downloaded(practice, mesh_message_id)


def test_a_body_whose_end_nothing_proves_is_refused(faulty_mesh, hospital):
    mesh_message_id = sent(hospital, b"a letter of which the end is missing")
    faulty_mesh.fail("open", NoLength(10), times=2)

    with closing(MeshMailbox(connection(faulty_mesh.url, PRACTICE, gzip=False))) as identity:
        raises_short(identity, mesh_message_id, MailboxUnavailable, "no_length")
    with closing(MeshMailbox(connection(faulty_mesh.url, PRACTICE))) as compressed:
        raises_short(compressed, mesh_message_id, TruncatedDownload, "gzip")


@pytest.mark.parametrize(
    ("verb", "fault"),
    [
        ("open", OtherStatus(200)),
        ("chunk", OtherStatus(200)),
        ("chunk", Header("Mex-Chunk-Range", "2:9")),
        ("chunk", Header("Mex-Chunk-Range", "3:3")),
        ("open", Header("Mex-Chunk-Range", "1:1")),
        ("open", Header("Mex-Chunk-Range", "1:4")),
        ("open", Header("Mex-Chunk-Range", "1:2")),
    ],
    ids=["first says last", "second says last", "total changes", "chunk skipped", "says one", "says four", "says two"],
)
def test_a_wrong_chunk_count_is_an_error(faulty_mesh, hospital, practice, verb, fault):
    mesh_message_id = sent(hospital, os.urandom(500_000))
    faulty_mesh.fail(verb, fault)

    with pytest.raises(SHORT):
        downloaded(practice, mesh_message_id)


@pytest.mark.parametrize("junk", ["", "x", "1", "1:x", "2:3", "0:0", "1:-1", "1:2:3", "1:99999999999"])
def test_a_junk_chunk_range_is_no_message(faulty_mesh, hospital, practice, junk):
    mesh_message_id = sent(hospital, b"x")
    faulty_mesh.fail("open", Header("Mex-Chunk-Range", junk))

    with pytest.raises(MailboxUnavailable, match="junk_range"):
        practice.open(mesh_message_id)


def test_a_later_chunk_that_is_gone_or_away_is_an_error(faulty_mesh, hospital, practice):
    mesh_message_id = sent(hospital, os.urandom(500_000))
    faulty_mesh.fail("chunk", Status(410), on=2)
    with pytest.raises(MessageGone):
        downloaded(practice, mesh_message_id)

    faulty_mesh.fail("chunk", Status(503), times=3)
    with pytest.raises(MailboxUnavailable, match="http_503"):
        downloaded(practice, mesh_message_id)


def test_a_later_chunk_is_asked_for_again_with_a_fresh_token(faulty_mesh, hospital, practice):
    body = os.urandom(500_000)
    mesh_message_id = sent(hospital, body)
    faulty_mesh.fail("chunk", DropAfter())

    assert downloaded(practice, mesh_message_id) == body
    assert faulty_mesh.counts["chunk"] == 3
    assert len(set(faulty_mesh.tokens["chunk"])) == 3


def test_a_stalled_body_ends_after_the_timeout(faulty_mesh, hospital):
    mesh_message_id = sent(hospital, os.urandom(10_000))
    faulty_mesh.fail("open", Stall(4_000))

    with closing(MeshMailbox(connection(faulty_mesh.url, PRACTICE, timeout_s=0.3))) as practice:
        raises_short(practice, mesh_message_id, MailboxUnavailable, "timeout")


def test_a_trickling_body_does_not_hold_a_poll_for_hours(faulty_mesh, hospital):
    mesh_message_id = sent(hospital, os.urandom(10_000))
    faulty_mesh.fail("open", Trickle(every_s=0.02))

    with closing(MeshMailbox(connection(faulty_mesh.url, PRACTICE, timeout_s=1.5))) as practice:
        raises_short(practice, mesh_message_id, MailboxUnavailable, "too_slow")


def test_closing_unread_does_not_wait_for_the_rest(faulty_mesh, hospital):
    mesh_message_id = sent(hospital, os.urandom(10_000))
    faulty_mesh.fail("open", Stall(4_000))

    with closing(MeshMailbox(connection(faulty_mesh.url, PRACTICE, timeout_s=60))) as practice:
        practice.open(mesh_message_id).close()  # waiting would run into the test's own timeout
        assert listed(practice) == [mesh_message_id]


def test_a_page_of_html_is_no_message(faulty_mesh, hospital, practice):
    mesh_message_id = sent(hospital, b"x")
    faulty_mesh.fail("open", html(200), times=3)

    with pytest.raises(MailboxUnavailable, match="not_mesh"):
        practice.open(mesh_message_id)


def test_another_message_than_the_one_asked_for_is_refused(faulty_mesh, hospital, practice):
    mesh_message_id = sent(hospital, b"x")
    faulty_mesh.fail("open", Header("Mex-MessageID", "SOMETHING_ELSE"))

    with pytest.raises(MailboxUnavailable, match="not_mesh"):
        practice.open(mesh_message_id)


def test_a_disk_that_refuses_is_not_blamed_on_mesh(hospital, practice):
    class FullDisk(io.BytesIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    with closing(practice.open(sent(hospital, b"x"))) as download, pytest.raises(OSError, match="No space left"):
        download.write_to(FullDisk())


def test_a_second_write_is_an_error_and_never_an_empty_file(hospital, practice):
    with closing(practice.open(sent(hospital, b"x"))) as download:
        download.write_to(io.BytesIO())
        with pytest.raises(SHORT):
            download.write_to(io.BytesIO())


def test_downloads_and_reports_keep_one_connection(faulty_mesh, hospital, practice, sandbox):
    message_ids = [sent(hospital, os.urandom(300_000)), sandbox.put_report(PRACTICE)]
    for mesh_message_id in message_ids * 3:
        downloaded(practice, mesh_message_id)
    practice.open(message_ids[1]).close()
    practice.handshake()

    assert faulty_mesh.connections == 1


def test_mesh_headers_are_kept_by_lower_case_name():
    headers = read_headers("ID1", {"Mex-From": "A", "MEX-SUBJECT": "s", "Content-Type": "x", "mex-messagetype": "Report"})

    assert headers.all == {"from": "A", "subject": "s", "messagetype": "Report"}
    assert (headers.sender_mailbox_id, headers.message_type, headers.workflow_id) == ("A", "REPORT", "")


MEASURED = """
import sys
from pydantic import SecretStr
from mesh_itk3.adapters.mesh_mailbox import MeshConnection, MeshMailbox

def kilobytes(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))

class Counted:
    bytes = 0
    def write(self, block):
        self.bytes += len(block)

url, mailbox_id, mesh_message_id, gzip = sys.argv[1:]
mailbox = MeshMailbox(MeshConnection(environment="sandbox", url=url, mailbox_id=mailbox_id,
    password=SecretStr("password"), shared_key=SecretStr("TestKey"), gzip=gzip == "gzip"))
mailbox.handshake()
before, file = kilobytes("VmRSS"), Counted()
download = mailbox.open(mesh_message_id)
download.write_to(file)
download.close()
mailbox.close()
print(file.bytes, kilobytes("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measures through /proc")
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_100_mb_in_chunks_need_less_than_64_mb_of_memory(sandbox, encoding):
    body = bytes(range(256)) * 8 * 50_000  # 102 MB; gzip makes it small, so it is a decompression bomb too
    with closing(sandbox.mailbox(HOSPITAL, timeout_s=60)) as hospital:
        mesh_message_id = sent(hospital, body)

    command = [sys.executable, "-c", MEASURED, sandbox.url, PRACTICE, mesh_message_id, encoding]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=True)

    received, rise_kib = map(int, done.stdout.split())
    assert received == len(body)
    assert rise_kib < 64 * 1024
