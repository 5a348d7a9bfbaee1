"""A power cut at any moment: what was promised is there, whole, under its name; what was not is whole or absent."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mesh_itk3.adapters.durable import DurableDirectories
from mesh_itk3.adapters.ledger import migrate
from mesh_itk3.adapters.ledger.engine import create_sqlite_file
from mesh_itk3.adapters.letters import LetterFiles
from mesh_itk3.adapters.output_marks import MARK, REMEMBERED, OutputMarks
from mesh_itk3.adapters.payload_store import DirectoryPayloadStore
from mesh_itk3.adapters.spool import DirectorySpool
from mesh_itk3.ports import LedgerUnavailable, StorageFailed
from mesh_itk3.simulator.prove.points import Watched
from power_loss.power_cut import PowerCuts
from support.fake_mailbox import FakeMailbox, a_mesh_message
from support.letters_builder import a_message
from support.stage_world import PRACTICE, WORKFLOW, a_small_daemon

BODY = b"<Bundle xmlns='http://hl7.org/fhir'/>" * 50
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def fill_letter(folder):
    folder.write("letter.html", b"<p>letter</p>" * 40)
    folder.write("message.xml", BODY)
    with folder.open("attachments/01.pdf") as file:
        file.write(b"%PDF-" * 400)
    return {"title": "a title"}


def one_letter(path: str) -> str:
    """`<root>/<day>/<letter>`: a letter appears at once."""
    return "/".join(path.split("/")[:4]) if path.startswith("state/letters/") else path


# ------------------------------------------------------------------------------------------------ what is promised when


def keep_payloads(root, *, deaf_to=None, prepare=lambda store: None):
    """Three messages in one batch, in a store that is not there yet; promised when `keep` has returned."""
    cuts = PowerCuts(root, deaf_to=deaf_to)
    store = DirectoryPayloadStore(root / "state" / "payloads")
    prepare(store)
    with cuts.recording():
        drafts = []
        for _ in range(3):
            message = a_mesh_message(BODY)
            drafts.append(store.draft(store.new_name(PRACTICE), lambda file: file.write(BODY) and None, message.headers))
        store.keep(drafts)
        cuts.promise()
    return cuts


def file_letter(root, *, deaf_to=None, prepare=lambda: None):
    cuts = PowerCuts(root, deaf_to=deaf_to, unit_of=one_letter)
    prepare()
    with cuts.recording():
        LetterFiles().file(root / "state" / "letters", a_message(), fill_letter)
        cuts.promise()
    return cuts


def file_first_letter(root, *, deaf_to=None):
    """The one with which its directory gets its mark."""
    cuts = PowerCuts(root, deaf_to=deaf_to, unit_of=one_letter)
    attempt = file_first(root)
    with cuts.recording():
        attempt()
        cuts.promise()
    return cuts


def spool_message(root, *, deaf_to=None):
    cuts = PowerCuts(root, deaf_to=deaf_to)
    with cuts.recording():
        DirectorySpool(root / "state" / "spool").spool(a_mesh_message(BODY).headers, lambda file: file.write(BODY) and None)
        cuts.promise()
    return cuts


def make_ledger(root, *, deaf_to=None):
    """SQLite's own calls are not seen here; the names that it needs are ours."""
    cuts = PowerCuts(root, deaf_to=deaf_to)
    with cuts.recording():
        create_sqlite_file(root / "state" / "of" / "ledger.db")
        cuts.promise()
    return cuts


WRITERS = {
    "payloads": keep_payloads,
    "letter": file_letter,
    "first letter": file_first_letter,
    "spool": spool_message,
    "ledger file": make_ledger,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_what_was_promised_survives_every_power_cut_and_nothing_is_ever_half_there(tmp_path, writer):
    cuts = WRITERS[writer](tmp_path / "disk")

    assert cuts.wrong == []
    assert cuts.looked_at > 20


def test_a_letter_is_never_there_without_its_directorys_mark_nor_the_memory_of_a_mark_without_it(tmp_path):
    """A letter without its mark would stand in a directory that is then refused; a memory without its mark refuses them all."""
    trees = file_first_letter(tmp_path / "disk")._seen_cuts.values()
    marks = [any(Path(path).name == MARK for path in tree) for tree in trees]
    memories = [any(f"/{REMEMBERED}/" in path for path in tree) for tree in trees]
    letters = [any(path.endswith("metadata.json") for path in tree) for tree in trees]
    assert all(mark or not memory for mark, memory in zip(marks, memories, strict=True))
    assert all(memory or not letter for memory, letter in zip(memories, letters, strict=True))
    assert any(mark and not memory for mark, memory in zip(marks, memories, strict=True))
    assert any(memory and not letter for memory, letter in zip(memories, letters, strict=True))


def test_when_the_row_is_committed_the_payload_is_durable_and_when_mesh_forgets_it_so_is_the_spool(tmp_path):
    """The daemon's own collect, over a real ledger: promised is what is there when it turns to ledger or MESH."""
    messages = [a_mesh_message(BODY, workflow_id=WORKFLOW) for _ in range(3)]
    foreign = a_mesh_message(BODY, workflow_id="SOMEBODY_ELSES")
    mailbox = FakeMailbox([*messages, foreign])
    (tmp_path / "payloads").mkdir()
    daemon = a_small_daemon(tmp_path, mailbox, spool=DirectorySpool(tmp_path / "disk" / "spool"))
    cuts = PowerCuts(tmp_path / "disk")
    daemon.collector.payloads = DirectoryPayloadStore(tmp_path / "disk" / "payloads")
    passed = []

    def passing(point: str) -> None:
        passed.append(point)
        if point in ("before ledger.record_all_received", "before mailbox.acknowledge"):
            cuts.promise()

    daemon.collector.ledger = Watched(daemon.ledger, "ledger", passing)
    daemon.collector.mailbox = Watched(mailbox, "mailbox", passing)
    with cuts.recording():
        daemon.collect()

    assert cuts.wrong == []
    assert passed.count("before mailbox.acknowledge") == 4
    assert len(list((tmp_path / "disk").rglob("*.bin"))) == 3
    assert len(list((tmp_path / "disk").rglob("*.headers.json"))) == 3
    assert len(list((tmp_path / "disk").rglob("*.ctl"))) == 1


def killed_between_mkdir_and_fsync(root, *parts):
    """What a process leaves that dies after its `mkdir`: the next one finds the directories, and they are not durable."""

    def prepare(*_):
        root.joinpath(*parts).mkdir(parents=True)

    return prepare


def test_a_directory_that_a_killed_process_has_made_is_made_durable_by_the_next(tmp_path):
    root = tmp_path / "disk"
    (root / "state").mkdir(parents=True)
    month = f"{datetime.now(UTC):%Y-%m}"
    cuts = keep_payloads(root, prepare=killed_between_mkdir_and_fsync(root, "state", "payloads", PRACTICE, month))
    assert cuts.wrong == []

    root = tmp_path / "other"
    (root / "state").mkdir(parents=True)
    cuts = file_letter(root, prepare=killed_between_mkdir_and_fsync(root, "state", "letters", "2026-01-15"))
    assert cuts.wrong == []


def test_a_spooled_pair_whose_name_a_killed_process_left_is_made_durable_before_mesh_may_forget_it(tmp_path):
    root, headers = tmp_path / "disk", a_mesh_message(BODY).headers
    (root / "spool").mkdir(parents=True)
    cuts = PowerCuts(root)
    DirectorySpool(root / "spool").spool(headers, lambda file: file.write(BODY) and None)  # unseen: nothing of it is durable
    for left in (root / "spool").iterdir():
        cuts.make_durable(left)  # … but for the contents
    with cuts.recording():
        DirectorySpool(root / "spool").spool(headers, lambda file: pytest.fail("written again"))
        cuts.promise()
    assert cuts.wrong == []


def test_a_letter_whose_name_a_killed_process_left_is_made_durable_by_the_repeated_handle(tmp_path):
    root = tmp_path / "disk"
    day = root / "letters" / "2026-01-15"
    day.mkdir(parents=True)
    cuts = PowerCuts(root, unit_of=lambda path: "/".join(path.split("/")[:3]))
    LetterFiles().file(root / "letters", a_message(), fill_letter)
    for place in (root, *root.rglob("*")):
        if place != day:
            cuts.make_durable(place)
    with cuts.recording():
        LetterFiles().file(root / "letters", a_message(), fill_letter)
        cuts.promise()
    assert cuts.wrong == []


def test_the_copy_before_an_upgrade_survives_a_power_cut(tmp_path):
    from mesh_itk3.adapters.ledger.migrate import SHIPPED, Migrations

    disk = tmp_path / "disk"
    disk.mkdir()
    migrate(f"sqlite:///{disk}/ledger.db", NOW, Migrations(SHIPPED.directory, "0001"))
    cuts = PowerCuts(disk)
    with cuts.recording():
        migrate(f"sqlite:///{disk}/ledger.db", NOW)
        copy = next(disk.glob("*.backup")).name
        cuts.promise(copy)
    assert [each for each in cuts.wrong if copy in each or "backup" in each] == []
    assert copy in cuts._promised


# ------------------------------------------------------------------------------------------------ an fsync that fails


def keep_one(root):
    store = DirectoryPayloadStore(root / "state" / "payloads")
    message = a_mesh_message(BODY)

    def attempt():
        store.write(store.new_name(PRACTICE), lambda file: file.write(BODY) and None, message.headers)

    return attempt


def file_one(root):
    files, message = LetterFiles(), a_message()
    return lambda: files.file(root / "state" / "letters", message, fill_letter)


def file_first(root):
    """Its payload has been kept: the memory of marks stands beside it."""
    directory, letter = root / "state" / "payloads", a_message()
    store, files, headers = DirectoryPayloadStore(directory), LetterFiles(OutputMarks(directory)), a_mesh_message(BODY).headers

    def attempt():
        store.write(store.new_name(letter.mailbox_id), lambda file: file.write(BODY) and None, headers)
        files.file(root / "state" / "letters", letter, fill_letter)

    return attempt


def spool_one(root):
    spool, headers = DirectorySpool(root / "state" / "spool"), a_mesh_message(BODY).headers
    return lambda: spool.spool(headers, lambda file: file.write(BODY) and None)


def make_one_ledger(root):
    return lambda: create_sqlite_file(root / "state" / "of" / "ledger.db")


@pytest.mark.parametrize(
    "writer", [keep_one, file_one, file_first, spool_one, make_one_ledger], ids=lambda writer: writer.__name__
)
def test_whichever_fsync_fails_the_next_attempt_writes_anew_and_does_not_ask_the_disk_twice(tmp_path, writer):
    """Until a run has no such fsync: then all have had their turn."""
    for nth in range(1, 100):
        root = tmp_path / f"disk{nth}"
        cuts = PowerCuts(root, fails_at=nth)
        attempt = writer(root)
        with cuts.recording():
            if cuts_short := _is_refused(attempt):
                attempt()
            cuts.promise()
        assert cuts.wrong == [], f"fsync {nth}"
        if not cuts_short:
            assert nth > 3
            return
    pytest.fail("it never ended")


def _is_refused(attempt) -> bool:
    try:
        attempt()
    except (StorageFailed, LedgerUnavailable):
        return True
    return False


def test_a_repeated_fsync_of_the_same_file_is_found_out(tmp_path):
    """The mistake that this is about."""
    root = tmp_path / "disk"
    cuts = PowerCuts(root, fails_at=1)
    with cuts.recording():
        _write(root / "a.bin", BODY, fsync=False)
        with pytest.raises(OSError, match="Input/output"):
            _fsync(root / "a.bin")
        _fsync(root / "a.bin")
        _fsync(root)
        cuts.promise()
    assert cuts.wrong == ["a.bin is not whole"]


# ------------------------------------------------------------------------------------------------ the checker can fail


@pytest.mark.parametrize(
    ("writer", "left_out"),
    # An empty ledger file has no content to lose.
    [(writer, kind) for writer in WRITERS for kind in ("files", "directories") if (writer, kind) != ("ledger file", "files")],
)
def test_without_one_kind_of_fsync_every_writer_is_found_out(tmp_path, writer, left_out):
    assert WRITERS[writer](tmp_path / "disk", deaf_to=left_out).wrong


def _write(path: Path, data: bytes, *, fsync: bool = True) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, data)
    if fsync:
        os.fsync(descriptor)
    os.close(descriptor)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _name_it(root: Path) -> None:
    (root / "new" / ".a.partial").rename(root / "new" / "a.bin")


def right(root: Path) -> None:
    (root / "new").mkdir()
    _fsync(root)
    _write(root / "new" / ".a.partial", BODY)
    _name_it(root)
    _fsync(root / "new")


def no_file_fsync(root: Path) -> None:
    (root / "new").mkdir()
    _fsync(root)
    _write(root / "new" / ".a.partial", BODY, fsync=False)
    _name_it(root)
    _fsync(root / "new")


def no_directory_fsync(root: Path) -> None:
    (root / "new").mkdir()
    _fsync(root)
    _write(root / "new" / ".a.partial", BODY)
    _name_it(root)


def rename_before_fsync(root: Path) -> None:
    (root / "new").mkdir()
    _fsync(root)
    _write(root / "new" / ".a.partial", BODY, fsync=False)
    _name_it(root)
    _fsync(root / "new" / "a.bin")
    _fsync(root / "new")


def parent_not_fsynced(root: Path) -> None:
    (root / "new").mkdir()
    _write(root / "new" / ".a.partial", BODY)
    _name_it(root)
    _fsync(root / "new")


def directory_fsynced_before_the_rename(root: Path) -> None:
    (root / "new").mkdir()
    _fsync(root)
    _write(root / "new" / ".a.partial", BODY)
    _fsync(root / "new")
    _name_it(root)


def written_in_place(root: Path) -> None:
    (root / "new").mkdir()
    _fsync(root)
    _write(root / "new" / "a.bin", BODY)
    _fsync(root / "new")


BROKEN = {
    no_file_fsync: "a.bin is not whole",
    no_directory_fsync: "a.bin is gone",
    rename_before_fsync: "a.bin was there and not whole",
    parent_not_fsynced: "directory new is gone",
    directory_fsynced_before_the_rename: "a.bin is gone",
    written_in_place: "a.bin was there and not whole",
}


def cuts_of(write, root):
    cuts = PowerCuts(root)
    with cuts.recording():
        write(root)
        cuts.promise()
    return cuts


def test_the_right_order_is_found_right(tmp_path):
    assert cuts_of(right, tmp_path / "disk").wrong == []


@pytest.mark.parametrize(("write", "found"), BROKEN.items(), ids=[write.__name__ for write in BROKEN])
def test_the_wrong_order_is_found_out(tmp_path, write, found):
    assert found in cuts_of(write, tmp_path / "disk").wrong


def test_a_directory_that_two_threads_make_is_durable_for_the_one_that_finds_it(tmp_path):
    """One has made it and not fsynced it; the other finds it there."""
    root = tmp_path / "disk"
    cuts = PowerCuts(root)
    with cuts.recording():
        (root / "payloads" / "month").mkdir(parents=True)
        DurableDirectories().make(root / "payloads" / "month", root / "payloads")
        cuts.promise()
    assert cuts.wrong == []
