import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mesh_itk3.adapters.payload_store import DirectoryPayloadStore
from mesh_itk3.ports import MeshHeaders, PayloadMissing, StorageFailed, TruncatedDownload

HEADERS = MeshHeaders(
    mesh_message_id="20240501120000000001_A1B2C3",
    workflow_id="TOC_FHIR_IP_DISCH",
    message_type="DATA",
    sender_mailbox_id="X26HC001",
    local_id="abc",
    all={"subject": "Brønsted \ud800", "filename": "../../etc/passwd"},
)


@pytest.fixture
def store(tmp_path) -> DirectoryPayloadStore:
    return DirectoryPayloadStore(tmp_path / "payloads")


def write(store, *, mailbox_id="X26ABC1", data=b"<Bundle/>") -> str:
    return store.write(store.new_name(mailbox_id), lambda file: file.write(data) and None, HEADERS).name


def files(store) -> list[Path]:
    return [path for path in store._directory.rglob("*") if path.is_file()]


def make_old(store, hours: float = 48) -> None:
    at = (datetime.now(UTC) - timedelta(hours=hours)).timestamp()
    for path in files(store):
        os.utime(path, (at, at))


def a_day_ago() -> datetime:
    return datetime.now(UTC) - timedelta(hours=24)


def test_bytes_size_digest_and_headers_come_back(store):
    def fill(file):
        file.write(b"<Bundle")
        file.write(b"/>")

    stored = store.write(store.new_name("X26ABC1"), fill, HEADERS)

    assert (stored.bytes, stored.sha256) == (9, hashlib.sha256(b"<Bundle/>").hexdigest())
    assert store.read(stored.name) == b"<Bundle/>"
    with store.open(stored.name) as file:
        assert file.read() == b"<Bundle/>"
    assert store.headers(stored.name) == HEADERS


def test_an_empty_body_is_whole(store):
    name = write(store, data=b"")

    assert store.is_whole(name, 0)


def test_only_the_owner_may_read(store):
    write(store)

    assert {path.stat().st_mode & 0o777 for path in files(store)} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in store._directory.rglob("*") if path.is_dir()} == {0o700}


def test_no_file_name_holds_anything_of_the_message(store):
    write(store)

    for path in files(store):
        name = path.relative_to(store._directory).as_posix()
        assert HEADERS.mesh_message_id not in name
        assert "passwd" not in name


def test_names_are_never_shared_and_stay_inside_whatever_the_mailbox_is_called(store):
    names = [store.new_name("../../etc") for _ in range(50)]

    assert len(set(names)) == 50
    assert all(name.startswith("______etc/") for name in names)


def test_a_truncated_download_leaves_nothing(store):
    def fill(file):
        file.write(b"half")
        raise TruncatedDownload

    with pytest.raises(TruncatedDownload):
        store.write(store.new_name("X26ABC1"), fill, HEADERS)

    assert files(store) == []


def test_a_short_file_is_not_whole(store):
    name = write(store, data=b"12345")
    (store._directory / name).write_bytes(b"1234")

    assert store.is_whole(name, 4)
    assert not store.is_whole(name, 5)


@pytest.mark.parametrize(
    "name", ["../outside.bin", "/etc/passwd", "X26ABC1/2024-05/../../../outside.bin", "", "X26ABC1/2024-05"]
)
def test_a_name_of_the_ledger_that_leads_outside_is_missing(store, tmp_path, name):
    (tmp_path / "outside.bin").write_bytes(b"not ours")
    for use in (store.read, store.open, store.headers, store.discard):
        with pytest.raises(PayloadMissing):
            use(name)
    assert not store.is_whole(name, 8)
    assert (tmp_path / "outside.bin").exists()


def test_what_is_not_there_is_missing_and_not_whole(store):
    write(store)
    name = store.new_name("X26ABC1")

    assert not store.is_whole(name, 0)
    for use in (store.read, store.open, store.headers):
        with pytest.raises(PayloadMissing):
            use(name)


def test_a_damaged_sidecar_is_missing_and_says_nothing_of_its_content(store):
    name = write(store)
    (store._directory / name).with_suffix(".headers.json").write_text('{"subject": "SMITH')

    with pytest.raises(PayloadMissing) as missing:
        store.headers(name)

    assert missing.value.__cause__ is None
    assert missing.value.__suppress_context__


def test_discard_removes_file_and_sidecar_and_may_be_repeated(store):
    name = write(store)

    store.discard(name)
    store.discard(name)

    assert files(store) == []


def test_a_store_that_cannot_be_written_is_storage_failed(tmp_path):
    (tmp_path / "payloads").write_bytes(b"a file stands where the directory should be")
    store = DirectoryPayloadStore(tmp_path / "payloads")

    with pytest.raises(StorageFailed):
        write(store)


def test_only_old_files_are_offered_to_the_sweep(store):
    old = write(store)
    make_old(store)
    write(store)

    assert list(store.orphans(a_day_ago(), "X26ABC1")) == [old]


def test_a_half_written_file_and_a_lone_sidecar_are_offered_and_can_be_discarded(store):
    name = write(store)
    (store._directory / name).unlink()
    partial = (store._directory / name).with_name(".0123456789abcdef01234567.partial")
    partial.write_bytes(b"half")
    make_old(store)

    orphans = set(store.orphans(a_day_ago(), "X26ABC1"))
    for orphan in orphans:
        store.discard(orphan)

    assert len(orphans) == 2
    assert files(store) == []


def test_a_file_written_since_is_kept_although_its_sidecar_is_old(store):
    name = write(store)
    make_old(store)
    os.utime(store._directory / name)

    assert list(store.orphans(a_day_ago(), "X26ABC1")) == []


def test_a_store_that_is_away_is_storage_failed_and_not_missing_files(store, tmp_path):
    name = write(store)
    (tmp_path / "payloads").rename(tmp_path / "unmounted")
    for is_mount_point_there in (False, True):
        if is_mount_point_there:
            (tmp_path / "payloads").mkdir()
        for use in (store.read, store.open, store.headers):
            with pytest.raises(StorageFailed):
                use(name)
        assert not store.is_whole(name, 9)


def test_nothing_is_written_where_a_share_that_is_away_would_hide_it(store, tmp_path):
    name = write(store)
    (tmp_path / "payloads").rename(tmp_path / "unmounted")
    (tmp_path / "payloads").mkdir()
    with pytest.raises(StorageFailed):
        write(store)
    assert list((tmp_path / "payloads").iterdir()) == []
    (tmp_path / "payloads").rmdir()
    (tmp_path / "unmounted").rename(tmp_path / "payloads")
    write(store)
    assert store.read(name) == b"<Bundle/>"


def test_a_store_that_should_hold_payloads_is_not_begun_anew(store):
    store.expect("X26ABC1")
    with pytest.raises(StorageFailed):
        write(store)
    assert write(store, mailbox_id="X26ABC2")


def test_only_the_mailbox_that_is_asked_for_is_offered(store):
    mine, _ = write(store), write(store, mailbox_id="X26ABC2")
    make_old(store)

    assert list(store.orphans(a_day_ago(), "X26ABC1")) == [mine]


def test_an_empty_store_has_no_orphans(store):
    assert list(store.orphans(a_day_ago(), "X26ABC1")) == []


def test_files_of_others_in_the_directory_are_never_offered(store):
    write(store)
    (files(store)[0].parent / "notes.txt").write_text("by an operator")
    make_old(store)

    assert all(name.endswith(".bin") for name in store.orphans(a_day_ago(), "X26ABC1"))
