"""In which order the operating system is told to make what durable: what is named before it is synced may be empty after the
power has failed, and a name whose directory is not synced may be forgotten.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mesh_itk3.adapters.letters import LetterFiles
from mesh_itk3.adapters.payload_store import DirectoryPayloadStore
from support.fake_mailbox import a_mesh_message
from support.letters_builder import a_message


@pytest.fixture
def syncs(monkeypatch):
    """The path of each file and directory at the moment of its fsync, in order; the system's own call is still made."""
    seen: list[Path] = []
    fsync = os.fsync

    def recording(descriptor: int) -> None:
        seen.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recording)
    return seen


def write_a_payload(directory: Path) -> Path:
    store = DirectoryPayloadStore(directory)
    name = store.new_name("X26ABC2")
    store.write(name, lambda file: file.write(b"bytes") and None, a_mesh_message().headers)
    return directory / name


def test_a_payload_is_synced_before_it_takes_its_name(tmp_path, syncs):
    path = write_a_payload(tmp_path)
    unfinished = [each for each in syncs if each.parent == path.parent and each.name.startswith(".")]
    assert len(unfinished) == 2, "the body and its sidecar"


def test_the_directory_is_synced_after_a_payload_has_its_name(tmp_path, syncs):
    path = write_a_payload(tmp_path)
    assert syncs[-1] == path.parent
    assert {path.parent.parent, tmp_path} <= set(syncs), "the directories above, where they are new"


def test_a_letters_files_and_directory_are_synced_before_it_takes_its_place_and_its_parent_after(tmp_path, syncs):
    def fill(folder):
        folder.write("letter.html", b"<p>")
        return {}

    place = LetterFiles().file(tmp_path, a_message(received_at=datetime(2026, 1, 15, tzinfo=UTC)), fill)
    partial = [each for each in syncs if each.name.endswith(".partial") or ".partial" in str(each.parent)]
    assert {each.name for each in partial} >= {"letter.html", "metadata.json"}
    assert any(each.name.endswith(".partial") for each in partial), "the letter's own directory"
    assert syncs[-1] == place.parent
