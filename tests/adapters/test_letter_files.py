"""Letters of many files: all there, and nothing left open."""

import resource
import stat
from pathlib import Path

import pytest

from mesh_itk3.adapters.letters import LetterFiles
from support.letters_builder import a_message

MANY = 150


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture
def few_descriptors():
    """This process may open sixty files more, fewer than the letter has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_descriptors() + 60, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def fill_many(folder):
    for number in range(MANY):
        folder.write(f"attachments/{number:03}.txt", b"%d" % number)
    with folder.open("streamed.txt") as file:
        file.write(b"streamed")
    return {}


def test_a_letter_may_have_more_files_than_may_be_open_at_once(tmp_path, few_descriptors):
    place = LetterFiles().file(tmp_path, a_message(), fill_many)
    assert sorted(file.read_bytes() for file in (place / "attachments").iterdir()) == sorted(b"%d" % n for n in range(MANY))
    assert (place / "streamed.txt").read_bytes() == b"streamed"


def test_nothing_stays_open_after_a_letter_or_an_error_in_filling(tmp_path):
    def breaks(folder):
        folder.write("a.txt", b"a")
        folder.open("b.txt").write(b"b")
        raise LookupError

    before = open_descriptors()
    with pytest.raises(LookupError):
        LetterFiles().file(tmp_path, a_message(), breaks)
    LetterFiles().file(tmp_path, a_message(), fill_many)
    assert open_descriptors() == before


def test_files_and_directories_below_are_open_to_the_group_where_the_output_is(tmp_path):
    tmp_path.chmod(0o750)
    place = LetterFiles().file(tmp_path, a_message(), fill_many)
    assert {stat.S_IMODE(path.stat().st_mode) for path in place.rglob("*") if path.is_file()} == {0o640}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (place, place / "attachments")} == {0o750}


def test_a_remainder_of_a_killed_process_does_not_reach_the_letter(tmp_path):
    aside = tmp_path / ".2026-01-15.11111111-2222-3333-4444-555555555555.partial"
    (aside / "attachments").mkdir(parents=True)
    (aside / "stale.txt").write_bytes(b"stale")
    place = LetterFiles().file(tmp_path, a_message(), lambda folder: {})
    assert [path.name for path in place.iterdir()] == ["metadata.json"]
