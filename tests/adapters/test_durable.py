import resource
import signal
from pathlib import Path

import pytest

from mesh_itk3.adapters.durable import DurableDirectories, write_file
from mesh_itk3.ports import MailboxUnavailable, StorageFailed
from support.unprivileged import let_others_enter, unprivileged


def names(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def test_a_file_is_there_whole_with_the_mode_asked_for(tmp_path):
    write_file(tmp_path / "a.bin", lambda file: file.write(b"bytes"))

    assert (tmp_path / "a.bin").read_bytes() == b"bytes"
    assert (tmp_path / "a.bin").stat().st_mode & 0o777 == 0o600
    assert names(tmp_path) == ["a.bin"]


def test_what_fill_raises_passes_through_and_leaves_the_file_before_it(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"before")

    def fill(file):
        file.write(b"half")
        raise MailboxUnavailable("connection")

    with pytest.raises(MailboxUnavailable):
        write_file(tmp_path / "a.bin", fill)

    assert (tmp_path / "a.bin").read_bytes() == b"before"
    assert names(tmp_path) == ["a.bin"]


def test_an_os_error_of_the_source_is_not_blamed_on_the_disk(tmp_path):
    def fill(file):
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        write_file(tmp_path / "a.bin", fill)


def test_a_disk_that_refuses_is_storage_failed_even_inside_fill(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(StorageFailed, match="EFBIG"):
            write_file(tmp_path / "a.bin", lambda file: [file.write(b"x" * 100_000) for _ in range(20)] and None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)

    assert names(tmp_path) == []


def test_a_missing_directory_is_storage_failed_without_a_path_in_the_text(tmp_path):
    with pytest.raises(StorageFailed) as failed:
        write_file(tmp_path / "nowhere" / "a.bin", lambda file: None)

    assert "nowhere" not in str(failed.value)


def test_directories_are_made_for_their_owner_only(tmp_path):
    DurableDirectories().make(tmp_path / "a" / "b", tmp_path / "a")

    assert [(tmp_path / part).stat().st_mode & 0o777 for part in ("a", "a/b")] == [0o700, 0o700]


def test_a_directory_that_has_been_removed_meanwhile_is_made_again(tmp_path):
    directories = DurableDirectories()
    directories.make(tmp_path / "a" / "b", tmp_path / "a")
    (tmp_path / "a" / "b").rmdir()

    directories.make(tmp_path / "a" / "b", tmp_path / "a")

    assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.open_to_others
def test_a_directory_above_that_we_may_pass_and_not_read_stops_nothing(tmp_path):
    (tmp_path / "above" / "root").mkdir(parents=True)
    (tmp_path / "above" / "root").chmod(0o777)
    (tmp_path / "above").chmod(0o711)
    let_others_enter(tmp_path / "above" / "root")

    with unprivileged():
        DurableDirectories().make(tmp_path / "above" / "root" / "a", tmp_path / "above" / "root")

    assert (tmp_path / "above" / "root" / "a").is_dir()
