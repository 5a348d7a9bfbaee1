"""A directory for letters is known again by its mark; the empty mount point of a share that is away has none."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import stat
import sys
import threading

import pytest

from mesh_itk3.adapters.letters import LetterFiles
from mesh_itk3.adapters.output_marks import MARK, REMEMBERED, OutputMarks, Place
from mesh_itk3.ports import StorageFailed
from support.letters_builder import a_message
from support.stage_world import captured

MAILBOX = a_message().mailbox_id


@pytest.fixture
def payloads(tmp_path):
    """A payload store that has had a message of the mailbox."""
    directory = tmp_path / "payloads"
    (directory / MAILBOX).mkdir(parents=True)
    return directory


@pytest.fixture
def files(payloads):
    return LetterFiles(OutputMarks(payloads))


def file(files, output, mesh_message_id="one"):
    return files.file(output, a_message(mesh_message_id=mesh_message_id), lambda folder: {})


def put_away(output):
    """The share is away, and its mount point is empty. Gives what puts it back."""
    away = output.with_name("away")
    output.rename(away)
    output.mkdir()

    def put_back():
        shutil.rmtree(output)
        away.rename(output)

    return put_back


def test_the_first_letter_marks_its_directory_and_that_is_said(tmp_path, files):
    said = captured()
    file(files, tmp_path / "letters")
    file(files, tmp_path / "letters", "two")
    assert (tmp_path / "letters" / MARK).read_text().startswith("mesh-itk3 letters ")
    assert [line["directory"] for line in said if line["event"] == "output.marked"] == [str(tmp_path / "letters")]


@pytest.mark.parametrize("is_restarted", [False, True], ids=["running", "restarted"])
def test_nothing_is_filed_where_the_mark_is_missing_and_all_goes_on_when_the_share_is_back(
    tmp_path, payloads, files, is_restarted
):
    output = tmp_path / "letters"
    file(files, output)
    put_back = put_away(output)
    files = LetterFiles(OutputMarks(payloads)) if is_restarted else files
    for _ in range(2):
        with pytest.raises(StorageFailed, match=f"mark-output {output}"):
            file(files, output, "two")
    assert list(output.iterdir()) == []
    put_back()
    assert file(files, output, "two").exists()


def test_a_mount_point_that_is_gone_is_not_made_again(tmp_path, files):
    output = tmp_path / "letters"
    file(files, output)
    output.rename(tmp_path / "away")
    with pytest.raises(StorageFailed, match="is not there"):
        file(files, output, "two")
    assert not output.exists()


def test_the_share_of_another_is_refused_although_it_has_a_mark(tmp_path, payloads, files):
    output, other = tmp_path / "letters", tmp_path / "others"
    file(files, output)
    file(files, other)
    output.rename(tmp_path / "away")
    other.rename(output)
    with pytest.raises(StorageFailed, match="of another directory"):
        file(files, output, "two")
    assert OutputMarks(payloads).look(output) is Place.OTHER


def test_another_output_in_the_configuration_is_a_new_directory(tmp_path, files):
    file(files, tmp_path / "letters")
    assert file(files, tmp_path / "elsewhere", "two").exists()
    assert file(files, tmp_path / "letters", "three").exists()


def test_a_directory_behind_a_symbolic_link_takes_letters(tmp_path, files):
    (tmp_path / "share").mkdir()
    output = tmp_path / "letters"
    output.symlink_to(tmp_path / "share")
    for mesh_message_id in ("one", "two"):
        assert file(files, output, mesh_message_id).exists()
    assert len(list((tmp_path / "share").glob("*/*/metadata.json"))) == 2
    output.unlink()
    output.symlink_to(tmp_path / "nowhere")
    with pytest.raises(StorageFailed, match="is not there"):
        file(files, output, "three")


def test_several_practices_may_share_a_directory_and_its_mark(tmp_path, files):
    output, theirs = tmp_path / "letters", tmp_path / "theirs"
    (theirs / MAILBOX).mkdir(parents=True)
    file(files, output)
    mark = (output / MARK).read_bytes()
    file(LetterFiles(OutputMarks(theirs)), output, "two")
    file(files, output, "three")
    assert (output / MARK).read_bytes() == mark


def test_nothing_counts_as_new_while_the_memory_is_away_with_the_payload_store(tmp_path, payloads, files):
    output = tmp_path / "letters"
    file(files, output)
    put_away(output)
    payloads.rename(tmp_path / "payloads elsewhere")
    payloads.mkdir()
    with pytest.raises(StorageFailed, match="payload store"):
        file(files, output, "two")
    assert list(output.iterdir()) == []


class GoesAwayAfterTheLook(OutputMarks):
    """The share is unmounted as soon as its mark has been seen."""

    def require(self, output, mailbox_id):
        directory = super().require(output, mailbox_id)
        put_away(output)
        return directory


def test_a_share_that_goes_away_after_its_mark_was_seen_gets_no_letter_and_neither_does_its_mount_point(tmp_path, payloads):
    output = tmp_path / "letters"
    with pytest.raises(StorageFailed, match="changed while"):
        file(LetterFiles(GoesAwayAfterTheLook(payloads)), output)
    assert [path for path in output.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("damaged", [b"", b"something else", b"mesh-itk3 letters 12\n"], ids=["empty", "other text", "short"])
def test_a_mark_that_cannot_be_read_is_nobodys(tmp_path, files, damaged):
    output = tmp_path / "letters"
    file(files, output)
    (output / MARK).write_bytes(damaged)
    with pytest.raises(StorageFailed, match="of another directory"):
        file(files, output, "two")


def test_a_mark_that_a_windows_editor_has_saved_is_still_the_same(tmp_path, files):
    output = tmp_path / "letters"
    file(files, output)
    (output / MARK).write_bytes((output / MARK).read_bytes().replace(b"\n", b"\r\n"))
    assert file(files, output, "two").exists()


@pytest.mark.parametrize(("of_directory", "of_mark"), [(0o700, 0o600), (0o750, 0o640)], ids=["ours alone", "a group's too"])
def test_who_may_read_the_letters_may_read_the_mark(tmp_path, files, of_directory, of_mark):
    output = tmp_path / "letters"
    output.mkdir()
    output.chmod(of_directory)
    file(files, output)
    assert stat.S_IMODE((output / MARK).stat().st_mode) == of_mark


# ------------------------------------------------------------------------- emptied by whoever takes letters on


def empty(output):
    for path in output.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("is_restarted", [False, True], ids=["running", "restarted"])
def test_a_program_that_empties_the_directory_mark_and_all_keeps_no_letter_from_it(tmp_path, payloads, files, is_restarted):
    output = tmp_path / "letters"
    file(files, output)
    mark = (output / MARK).read_bytes()
    remembered = sorted(path.name for path in (payloads / REMEMBERED).iterdir())
    said = captured()
    for turn in ("two", "three"):
        files = LetterFiles(OutputMarks(payloads)) if is_restarted else files
        empty(output)
        assert OutputMarks(payloads).look(output) is Place.EMPTIED
        assert file(files, output, turn).exists()
        assert (output / MARK).read_bytes() == mark
    assert [line["event"] for line in said] == ["output.marked"] * 2
    assert sorted(path.name for path in (payloads / REMEMBERED).iterdir()) == remembered


def test_the_empty_mount_point_of_a_share_that_was_emptied_before_is_still_refused(tmp_path, files):
    output = tmp_path / "letters"
    file(files, output)
    empty(output)
    file(files, output, "two")
    empty(output)
    put_back = put_away(output)
    with pytest.raises(StorageFailed, match="has no mark"):
        file(files, output, "three")
    put_back()
    assert file(files, output, "three").exists()


class GoesAwayBeforeTheMark(OutputMarks):
    """The share is unmounted as soon as it was seen to be the one that was emptied."""

    def _write_mark(self, output, mark):
        put_away(output)
        super()._write_mark(output, mark)


def test_a_share_that_goes_away_before_it_gets_its_mark_again_leaves_none_in_its_mount_point(tmp_path, payloads, files):
    output = tmp_path / "letters"
    file(files, output)
    empty(output)
    with pytest.raises(StorageFailed, match="changed while"):
        file(LetterFiles(GoesAwayBeforeTheMark(payloads)), output, "two")
    assert list(output.iterdir()) == []
    with pytest.raises(StorageFailed, match="has no mark"):
        file(files, output, "two")


def test_a_share_that_was_mounted_anew_is_known_without_its_mark_from_its_next_letter_on(tmp_path, payloads, files):
    """A file system of another number, and a copy of the directory, are the same to us."""
    output = tmp_path / "letters"
    file(files, output)
    shutil.copytree(output, tmp_path / "copy")
    output.rename(tmp_path / "away")
    (tmp_path / "copy").rename(output)
    assert file(files, output, "two").exists()
    empty(output)
    assert file(LetterFiles(OutputMarks(payloads)), output, "three").exists()


# ---------------------------------------------------------------------------------------------- a person says so


def test_a_directory_that_a_person_has_said_is_right_takes_letters_again(tmp_path, payloads, files):
    output = tmp_path / "letters"
    file(files, output)
    put_away(output)
    OutputMarks(payloads).mark(output, who="Jo Smith")
    assert file(files, output, "two").exists()
    (remembered,) = (payloads / REMEMBERED).iterdir()
    assert {str(output), "marked by Jo Smith"} <= set(remembered.read_text().splitlines())
    file(files, output, "three")
    assert "marked by Jo Smith" in remembered.read_text().splitlines(), "it stays"


def test_what_the_path_meant_before_a_person_said_so_is_refused_from_then_on(tmp_path, payloads, files):
    """A mount point that was taken for the share by mistake, and is mended, must not be taken for it again."""
    output = tmp_path / "letters"
    file(files, output)
    put_back = put_away(output)
    OutputMarks(payloads).mark(output, who="Jo Smith")
    put_back()
    assert OutputMarks(payloads).look(output) is Place.OTHER
    OutputMarks(payloads).mark(output, who="Jo Smith")
    put_away(output)
    assert OutputMarks(payloads).look(output) is Place.UNMARKED


# ---------------------------------------------------------------------------------------------- a crash, two at once


def test_a_mark_without_its_memory_is_that_of_a_process_that_died_between_and_is_taken_over(tmp_path, payloads, files):
    output = tmp_path / "letters"
    file(files, output)
    shutil.rmtree(payloads / REMEMBERED)
    mark = (output / MARK).read_bytes()
    assert file(files, output, "two").exists()
    assert (output / MARK).read_bytes() == mark


def dies_before(nth, work):
    """Whether a process that does this work and is killed before its n-th call that opens, makes, renames or removes something
    has come to that.
    """
    if (child := os.fork()) == 0:
        calls = itertools.count(1)

        def kill_at(event, _):
            if event in {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod"} and next(calls) == nth:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(kill_at)
        work()
        os._exit(0)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


def test_a_process_that_is_killed_anywhere_in_its_first_letter_leaves_a_directory_that_the_next_one_knows(tmp_path):
    for nth in range(1, 200):
        payloads, output = tmp_path / f"payloads{nth}", tmp_path / f"letters{nth}"
        (payloads / MAILBOX).mkdir(parents=True)
        was_killed = dies_before(nth, lambda p=payloads, o=output: file(LetterFiles(OutputMarks(p)), o))
        file(LetterFiles(OutputMarks(payloads)), output)
        assert OutputMarks(payloads).look(output) is Place.KNOWN
        assert len(list(output.glob("*/*/metadata.json"))) == 1
        if not was_killed:
            assert nth > 20
            return
    pytest.fail("it never ended")


def test_two_that_mark_a_directory_at_once_both_know_it_afterwards(tmp_path, payloads):
    for turn in range(20):
        output, begin = tmp_path / f"letters{turn}", threading.Barrier(2)
        output.mkdir()

        def one(output=output, begin=begin):
            begin.wait()
            OutputMarks(payloads)._begin(output)

        threads = [threading.Thread(target=one) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert OutputMarks(payloads).look(output) is Place.KNOWN
