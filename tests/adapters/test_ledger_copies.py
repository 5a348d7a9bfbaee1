"""A ledger's copies: made beside a writer, put in its place, cut off at any step. And damage: said, and left alone."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from mesh_itk3.adapters.ledger import migrate, open_ledger
from mesh_itk3.adapters.ledger.copies import back_up, is_in_the_way, prepare, switch
from mesh_itk3.adapters.ledger.health import broken_rules, damage
from mesh_itk3.ports import LedgerDamaged, LedgerUnavailable
from support.ledger_rows import HERE, NOW, key, owe_both, record


@pytest.fixture
def file(tmp_path):
    migrate(f"sqlite:///{tmp_path}/ledger.db", NOW)
    return tmp_path / "ledger.db"


def opened(file):
    return closing(open_ledger(f"sqlite:///{file}", owner="this"))


def ids(file):
    with closing(sqlite3.connect(file)) as connection:
        return [row[0] for row in connection.execute("SELECT mesh_message_id FROM message ORDER BY sequence")]


def overwrite(file, *, offset=0, length=0):
    """Damage in the middle of the file's pages, not in its header."""
    size = file.stat().st_size
    with file.open("r+b") as raw:
        raw.seek(offset or 4096)
        raw.write(b"\xa5" * (length or size - 4096))


def test_a_backup_beside_a_writer_is_whole_and_has_what_was_committed(file, tmp_path):
    with opened(file) as ledger:
        record(ledger, 1)
        back_up(file, tmp_path / "backup.db")
        record(ledger, 2)

    assert ids(tmp_path / "backup.db") == [key(1).mesh_message_id]
    assert stat.S_IMODE((tmp_path / "backup.db").stat().st_mode) == 0o600
    assert not list(tmp_path.glob("*.partial"))


def test_a_damaged_ledger_gives_no_backup(file, tmp_path):
    with opened(file) as ledger:
        for number in range(1, 60):
            record(ledger, number)
    overwrite(file)

    with pytest.raises(LedgerDamaged, match="ledger restore"):
        back_up(file, tmp_path / "backup.db")
    assert not (tmp_path / "backup.db").exists()


def test_the_old_ledger_is_kept_with_its_log_and_the_new_one_does_not_read_that_log(file, tmp_path):
    back_up(file, tmp_path / "backup.db")
    with opened(file) as ledger:
        record(ledger, 1)
        aside = prepare(tmp_path / "backup.db", file)
        # As after a crash: the log has not been emptied.
        kept = switch(file, aside, NOW)

    assert ids(file) == []
    assert ids(kept) == [key(1).mesh_message_id]
    assert not list(tmp_path.glob("*.restored"))


def test_two_restores_within_a_second_keep_both_ledgers(file, tmp_path):
    back_up(file, tmp_path / "backup.db")
    first = switch(file, prepare(tmp_path / "backup.db", file), NOW)
    second = switch(file, prepare(tmp_path / "backup.db", file), NOW)

    assert first != second
    assert first.exists()
    assert second.exists()


def test_a_copy_that_somebody_has_open_does_not_take_the_ledgers_place(file, tmp_path):
    with opened(file) as ledger:
        record(ledger, 1)
    back_up(file, tmp_path / "backup.db")
    aside = prepare(tmp_path / "backup.db", file)
    with opened(aside) as copy:
        record(copy, 2)
        with pytest.raises(LedgerUnavailable, match="another process"):
            switch(file, aside, NOW)

    assert ids(file) == [key(1).mesh_message_id]
    assert not list(tmp_path.glob("*.replaced")) + list(tmp_path.glob("*.restoring"))


def test_a_restore_that_is_cut_off_leaves_the_old_ledger_the_new_one_or_a_refusal_and_never_a_mixture(file, tmp_path):
    """Killed before every file operation of the switch."""
    old, scratch = tmp_path / "old", tmp_path / "scratch"
    scratch.mkdir()
    with opened(file) as ledger:
        record(ledger, 1)
        back_up(file, tmp_path / "backup.db")
        record(ledger, 2)
        # Open: the second message stands in the log alone, which must neither be lost nor be played into the new file.
        shutil.copytree(tmp_path, old, ignore=lambda *_: ["old", "scratch"])

    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("switching.py")), str(old), str(scratch)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    left = done.stdout.split()
    assert left == sorted(left, key=["old", "refused", "new"].index)
    assert {"old", "refused", "new"} == set(left)
    assert ids(scratch / "1" / "ledger.db") == [key(1).mesh_message_id, key(2).mesh_message_id]


# ------------------------------------------------------------------------------------------------ damage


def fill(file):
    with opened(file) as ledger:
        for number in range(1, 200):
            record(ledger, number)


def place_of_an_index(file):
    with closing(sqlite3.connect(file)) as connection:
        return (
            connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'message_by_state'").fetchone()[0] - 1
        ) * 4096


def damage_an_index(file):
    overwrite(file, offset=place_of_an_index(file), length=4096)


@pytest.mark.parametrize("stop", ["clean", "unclean"])
def test_a_damaged_ledger_is_refused_before_anything_is_written_and_stays_refused(file, stop):
    fill(file)
    damage_an_index(file)
    if stop == "unclean":
        file.with_name("ledger.db.lock").write_text("pid 1 on here\n")
    bytes_before = file.read_bytes()

    for _ in range(2):
        with opened(file) as ledger, pytest.raises(LedgerDamaged, match=r"ledger check.*ledger restore"):
            ledger.hold([HERE], NOW)

    assert file.read_bytes() == bytes_before
    with pytest.raises(LedgerDamaged):
        list(damage(file))


def test_damage_that_is_met_while_running_ends_all_use_of_the_file_and_leaves_word_for_the_next_start(file):
    fill(file)
    with opened(file) as ledger:
        ledger.hold([HERE], NOW)
        damage_an_index(file)

        with pytest.raises(LedgerDamaged, match="ledger restore"):
            ledger.overview()
        with pytest.raises(LedgerDamaged, match="ledger restore"):
            ledger.mailbox_state(HERE)

    assert file.with_name("ledger.db.lock").read_text()


def test_a_wrong_entry_in_a_page_that_can_be_read_is_damage_said_without_what_is_in_it(file):
    with opened(file) as ledger:
        record(ledger, 1)
    place = place_of_an_index(file)
    content = file.read_bytes()
    page = content[place : place + 4096].replace(b"received", b"believed")
    file.write_bytes(content[:place] + page + content[place + 4096 :])

    assert list(damage(file)) == ["row 1 missing from index message_by_state"]


def test_a_row_that_names_a_row_which_is_not_there_is_damage(file):
    with opened(file) as ledger:
        record(ledger, 1)
    assert list(damage(file)) == []

    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("DELETE FROM message")

    assert ["message_event" in line for line in damage(file)] == [True]


def test_what_the_ledger_relies_on_is_looked_for(file):
    with opened(file) as ledger:
        owe_both(ledger, 1)
        record(ledger, 2)
    assert list(broken_rules(file)) == []

    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("DELETE FROM response_body WHERE local_id = 'business-1'")
        connection.execute("UPDATE message SET payload_name = NULL WHERE state = 'received'")
        connection.execute("UPDATE response SET response_code = '20009' WHERE level = 'infrastructure'")

    assert {words for words, _ in broken_rules(file)} == {
        "responses that are owed and have no bytes",
        "unfinished messages that name no payload",
        "business responses beside a negative infrastructure response",
    }


def test_a_ledger_between_the_old_one_and_the_new_one_is_not_opened(file):
    file.with_name(f"{file.name}.restoring").touch()

    with pytest.raises(LedgerUnavailable, match="ledger restore"):
        migrate(f"sqlite:///{file}", NOW)


@pytest.mark.parametrize(("name", "is_ours"), [("ledger.db.restored", True), ("ledger.db.restored-2025", False)])
def test_only_names_that_a_restore_takes_for_itself_are_in_its_way(file, name, is_ours):
    assert is_in_the_way(file.with_name(name), file) is is_ours
