"""Letters on disk: whole or absent, in one place, found again."""

import json
import os
import resource
import signal
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from mesh_itk3.adapters.letters import LetterFiles, directory_names
from mesh_itk3.ports import StorageFailed
from support.letters_builder import a_message
from support.unprivileged import STRANGER, let_others_enter, unprivileged

HEADER_ID = "11111111-2222-3333-4444-555555555555"
MESH_ID = "20260115233000000001_A1B2C3"


def fill(folder):
    folder.write("letter.html", b"<p>letter</p>")
    folder.write("attachments/01.pdf", b"%PDF-")
    return {"title": "a title"}


def must_not_fill(folder):
    raise AssertionError("it was filled again")


def names_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_a_letter_is_filed_under_the_day_it_was_received_and_its_header_id(tmp_path):
    place = LetterFiles().file(tmp_path, a_message(), fill)
    assert place == tmp_path / "2026-01-15" / HEADER_ID
    assert (place / "letter.html").read_bytes() == b"<p>letter</p>"
    assert (place / "attachments" / "01.pdf").read_bytes() == b"%PDF-"
    assert json.loads((place / "metadata.json").read_bytes()) == {"title": "a title", "mesh_message_id": MESH_ID}
    assert names_in(place.parent) == {HEADER_ID}


def test_the_day_is_the_utc_day_whatever_the_zone_of_the_time(tmp_path):
    early_in_summer_time = datetime(2026, 7, 2, 0, 30, tzinfo=timezone(timedelta(hours=1)))
    place = LetterFiles().file(tmp_path, a_message(received_at=early_in_summer_time), fill)
    assert place.parent.name == "2026-07-01"


def test_a_repeated_call_finds_the_letter_and_fills_nothing(tmp_path):
    first = LetterFiles().file(tmp_path, a_message(), fill)
    assert LetterFiles().file(tmp_path, a_message(), must_not_fill) == first


def test_another_message_with_the_same_header_id_gets_a_place_of_its_own(tmp_path):
    LetterFiles().file(tmp_path, a_message(), fill)
    second = LetterFiles().file(tmp_path, a_message(mesh_message_id="other"), fill)
    assert second.name == f"{HEADER_ID}--other"
    assert LetterFiles().file(tmp_path, a_message(mesh_message_id="other"), must_not_fill) == second


@pytest.mark.parametrize("content", [None, b"", b"{torn", b"[]", b'{"mesh_message_id": 7}', b"\xff\xfe"])
def test_a_directory_without_readable_metadata_is_somebody_elses(tmp_path, content):
    taken = tmp_path / "2026-01-15" / HEADER_ID
    taken.mkdir(parents=True)
    if content is not None:
        (taken / "metadata.json").write_bytes(content)
    place = LetterFiles().file(tmp_path, a_message(), fill)
    assert place.name == f"{HEADER_ID}--{MESH_ID}"
    assert names_in(taken) == (set() if content is None else {"metadata.json"})


def test_where_both_places_are_taken_nothing_is_overwritten(tmp_path):
    for name in directory_names(HEADER_ID, MESH_ID):
        (tmp_path / "2026-01-15" / name).mkdir(parents=True)
    with pytest.raises(StorageFailed):
        LetterFiles().file(tmp_path, a_message(), must_not_fill)


@pytest.mark.parametrize(
    "header_id",
    [None, "", ".", "..", "../../etc", "a/b", "a\\b", "a b", "a\x00b", "ä", "a" * 65, "-" * 64 + "x", ".hidden", ".x.partial"],
)
def test_an_id_that_is_no_safe_name_never_becomes_a_path(header_id):
    assert directory_names(header_id, MESH_ID) == (MESH_ID, f"{MESH_ID}--{MESH_ID}")


@pytest.mark.parametrize("header_id", ["a", "A.b-9", "a" * 64, "a..b", HEADER_ID])
def test_a_safe_id_is_used_as_it_is(header_id):
    assert directory_names(header_id, MESH_ID)[0] == header_id


@pytest.mark.parametrize("mesh_message_id", ["..", "../x", "", "a/b", "x" * 65, "\ud800"])
def test_an_unsafe_mesh_id_becomes_its_digest(mesh_message_id):
    name, second = directory_names("..", mesh_message_id)
    assert name.startswith("mesh-")
    assert len(name) == 37
    assert second == f"{name}--{name}"


def test_an_error_in_filling_passes_through_and_leaves_nothing(tmp_path):
    def breaks(folder):
        fill(folder)
        raise LookupError

    with pytest.raises(LookupError):
        LetterFiles().file(tmp_path, a_message(), breaks)
    assert (names_in(tmp_path), names_in(tmp_path / "2026-01-15")) == ({"2026-01-15"}, set())


def test_nothing_is_visible_until_the_letter_is_whole(tmp_path):
    def looks(folder):
        fill(folder)
        assert names_in(tmp_path / "2026-01-15") == set()
        assert [name for name in names_in(tmp_path) if not name.startswith(".")] == ["2026-01-15"]
        return {}

    LetterFiles().file(tmp_path, a_message(), looks)


def test_a_file_exists_error_of_the_handlers_own_is_not_taken_for_a_race(tmp_path):
    calls = []

    def breaks(folder):
        calls.append(folder)
        raise FileExistsError

    with pytest.raises(FileExistsError):
        LetterFiles().file(tmp_path, a_message(), breaks)
    assert len(calls) == 1


def test_two_at_once_do_not_mix_their_files(tmp_path):
    def meets_another(folder):
        fill(folder)
        with pytest.raises(StorageFailed):
            LetterFiles().file(tmp_path, a_message(), must_not_fill)
        return {}

    place = LetterFiles().file(tmp_path, a_message(), meets_another)
    assert names_in(place) == {"letter.html", "attachments", "metadata.json"}


def test_a_place_taken_while_the_letter_was_written_is_not_overwritten(tmp_path):
    def is_overtaken(folder):
        (tmp_path / "2026-01-15" / HEADER_ID).mkdir(exist_ok=True)
        return {}

    place = LetterFiles().file(tmp_path, a_message(), is_overtaken)
    assert place.name == f"{HEADER_ID}--{MESH_ID}"


def test_a_process_killed_while_filing_leaves_nothing_that_counts_and_the_next_call_files_it_whole(tmp_path):
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from mesh_itk3.adapters.letters import LetterFiles\n"
        "from support.letters_builder import a_message\n"
        "def fill(folder):\n"
        "    folder.write('stale.txt', b'x'); folder.write('attachments/07.pdf', b'x')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "LetterFiles().file(Path(sys.argv[1]), a_message(), fill)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    died = subprocess.run([sys.executable, "-c", program, str(tmp_path)], env=environment, timeout=180, check=False)
    assert died.returncode == -signal.SIGKILL
    assert names_in(tmp_path / "2026-01-15") == set()
    assert len(names_in(tmp_path)) == 2
    place = LetterFiles().file(tmp_path, a_message(), fill)
    assert names_in(tmp_path) == {"2026-01-15"}
    assert names_in(place.parent) == {HEADER_ID}
    assert names_in(place) == {"letter.html", "attachments", "metadata.json"}
    assert names_in(place / "attachments") == {"01.pdf"}


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes_of(place: Path) -> tuple[set[int], set[int]]:
    """Of a letter's files, and of its directories and that of its day."""
    paths = [place.parent, place, *place.rglob("*")]
    files = {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_file()}
    return files, {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_dir()}


@pytest.mark.parametrize("mode", [None, 0o700, 0o740, 0o710, 0o707])
def test_files_and_directories_are_for_their_owner_only(tmp_path, umask, mode):
    output = tmp_path / "letters"
    if mode is not None:
        output.mkdir()
        output.chmod(mode)
    assert modes_of(LetterFiles().file(output, a_message(), fill)) == ({0o600}, {0o700})


@pytest.mark.parametrize("mode", [0o750, 0o770, 0o755])
def test_a_group_that_may_read_the_output_directory_may_read_the_letters_in_it(tmp_path, umask, mode):
    tmp_path.chmod(mode)
    place = LetterFiles().file(tmp_path, a_message(), fill)
    assert modes_of(place) == ({0o640}, {0o750})
    assert stat.S_IMODE(tmp_path.stat().st_mode) == mode


def test_a_letter_is_opened_to_the_group_only_when_it_is_whole(tmp_path, umask):
    tmp_path.chmod(0o750)

    def looks(folder):
        written = folder.write("attachments/01.pdf", b"%PDF-")
        assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (written.parent, written.parent.parent)} == {0}
        return {}

    LetterFiles().file(tmp_path, a_message(), looks)


def test_a_day_that_a_dead_process_left_closed_is_opened_with_the_next_letter(tmp_path):
    tmp_path.chmod(0o750)
    day = tmp_path / "2026-01-15"
    day.mkdir(mode=0o700)
    LetterFiles().file(tmp_path, a_message(), fill)
    assert stat.S_IMODE(day.stat().st_mode) == 0o750


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to a group")
@pytest.mark.open_to_others
def test_letters_are_of_the_output_directorys_group_although_the_service_is_not_in_it(tmp_path, umask):
    output, group = tmp_path / "letters", 777
    output.mkdir()
    os.chown(output, STRANGER, group)
    output.chmod(0o2750)
    let_others_enter(tmp_path)
    with unprivileged():
        first = LetterFiles().file(output, a_message(), fill)
        second = LetterFiles().file(output, a_message(mesh_message_id="other"), fill)
    for place in (first, second):
        assert modes_of(place) == ({0o640}, {0o750})
        assert {path.stat().st_gid for path in (place.parent, place, *place.rglob("*"))} == {group}


@pytest.mark.parametrize(
    "name", ["../x", "/x", "a/b/c", "", ".x", "a/.b", "a\x00", "a b", "metadata.json", "ä", "a/", "x" * 101, "a/.."]
)
def test_a_file_name_that_is_not_plain_is_a_fault_of_the_handler(tmp_path, name):
    with pytest.raises(ValueError):
        LetterFiles().file(tmp_path, a_message(), lambda folder: folder.write(name, b""))


def test_a_name_is_used_once(tmp_path):
    def twice(folder):
        folder.write("a", b"1")
        folder.write("a", b"2")

    with pytest.raises(ValueError):
        LetterFiles().file(tmp_path, a_message(), twice)


def test_a_file_that_the_handler_leaves_open_is_written_out(tmp_path):
    def forgets(folder):
        folder.open("a.txt").write(b"kept")
        return {}

    assert (LetterFiles().file(tmp_path, a_message(), forgets) / "a.txt").read_bytes() == b"kept"


def test_metadata_cannot_claim_to_be_another_message(tmp_path):
    place = LetterFiles().file(tmp_path, a_message(), lambda _: {"mesh_message_id": "another"})
    assert json.loads((place / "metadata.json").read_bytes())["mesh_message_id"] == MESH_ID


@pytest.fixture
def small_disk():
    """Every file of this process may have 64 KiB, no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("way", ["write", "open", "left open"])
def test_a_disk_that_refuses_is_storage_failed_and_leaves_nothing(tmp_path, small_disk, way):
    def too_much(folder):
        content = b"x" * 200_000
        if way == "write":
            folder.write("a", content)
        elif way == "open":
            with folder.open("a") as file:
                file.write(content)
        else:
            folder.open("a").write(content)
        return {}

    with pytest.raises(StorageFailed) as refused:
        LetterFiles().file(tmp_path, a_message(), too_much)
    assert str(tmp_path) not in str(refused.value)
    assert (names_in(tmp_path), names_in(tmp_path / "2026-01-15")) == ({"2026-01-15"}, set())


def test_an_output_that_cannot_be_a_directory_is_storage_failed(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageFailed):
        LetterFiles().file(tmp_path / "file", a_message(), must_not_fill)


def test_an_instant_before_midnight_utc_is_filed_under_that_day(tmp_path):
    place = LetterFiles().file(tmp_path, a_message(received_at=datetime(2026, 1, 15, 23, 59, 59, tzinfo=UTC)), fill)
    assert place.parent.name == "2026-01-15"
