"""Stands in the path of a real process: notes every SQLite connection that it opens, and how it was set when it was closed."""

import json
import os
import sqlite3
import sys

NOTES = os.environ.get("CONNECTION_NOTES", "")
PRAGMAS = ("journal_mode", "synchronous")
_connect = sqlite3.connect


def _note(**what: object) -> None:
    with open(NOTES, "a", encoding="utf-8") as file:  # noqa: PTH123 - nothing is imported here that need not be
        file.write(json.dumps({"pid": os.getpid(), **what}) + "\n")


class Witnessed(sqlite3.Connection):
    """Asked for its settings when it is closed: they cannot be asked for before they are made."""

    def close(self) -> None:
        try:
            set_to = {name: self.execute(f"PRAGMA {name}").fetchone()[0] for name in PRAGMAS}
            file = self.execute("PRAGMA database_list").fetchone()[2]
            can_write = not self.execute("PRAGMA query_only").fetchone()[0]
            _note(closed=id(self), file=file, can_write=can_write, changes=self.total_changes, **set_to)
        except sqlite3.Error as error:
            _note(closed=id(self), file="", problem=type(error).__name__)
        super().close()


def _connect_witnessed(*arguments: object, **keywords: object) -> sqlite3.Connection:
    keywords.setdefault("factory", Witnessed)
    connection = _connect(*arguments, **keywords)
    _note(opened=id(connection))
    return connection


def _audited(event: str, arguments: tuple[object, ...]) -> None:
    if event == "sqlite3.connect":
        _note(audited=str(arguments[0]))


if NOTES:
    sqlite3.connect = sqlite3.dbapi2.connect = _connect_witnessed  # type: ignore[assignment]
    sys.addaudithook(_audited)
