"""Where configuration comes from: a TOML file, the environment, a directory of credential files.

Each source is read into the same nested shape, and knows how to name one of its keys to an operator. All three share
one grammar of names: `[mailboxes.X26ABC2] password` is `MESH_ITK3_MAILBOXES__X26ABC2__PASSWORD` in the environment and
a credential file `mailboxes__X26ABC2__password`.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from mesh_itk3.settings_errors import ConfigInvalid, short_name

PREFIX: Final = "MESH_ITK3_"
NOT_KEYS: Final = frozenset({"MESH_ITK3_CONFIG", "MESH_ITK3_CREDENTIALS"})
"""Environment names of the command line's own options."""
TABLES: Final = frozenset(
    {
        "mesh",
        "mailboxes",
        "ledger",
        "payloads",
        "patients",
        "limits",
        "attachments",
        "decisions",
        "retention",
        "workflows",
        "handlers",
    }
)
NAMED_TABLES: Final = frozenset({"mailboxes", "workflows", "handlers"})
"""Tables of tables: `[mailboxes.X26ABC2]`."""
MAX_FILE_BYTES: Final = 1_048_576
"""Of a configuration or credential file; a guess: both are a few kilobytes."""

KeyPath = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """One place that configuration was read from."""

    kind: Literal["file", "environment", "credentials", "defaults"]
    name: str
    """As an operator knows it: the file's name, `environment`, `credentials`."""
    data: Mapping[str, Any] = field(repr=False)

    def holds(self, path: KeyPath) -> bool:
        """Whether the key, or the table, stands in this source."""
        here: Any = self.data
        for part in path:
            if not isinstance(here, Mapping) or part not in here:
                return False
            here = here[part]
        return True

    def line(self, path: KeyPath, text: str) -> str:
        """One problem of this source, named as the operator wrote it."""
        parts = [short_name(part) for part in path]
        if self.kind == "environment":
            return f"{self.name}: {PREFIX}{'__'.join(parts).upper()}: {text}"
        if self.kind == "credentials":
            return f"{self.name}: {'__'.join(parts)}: {text}"
        is_table = parts[0] in TABLES or isinstance(self.data.get(path[0]), Mapping)
        return f"{self.name}: {_in_toml(parts) if is_table else parts[0]}: {text}"


def _in_toml(parts: list[str]) -> str:
    depth = 2 if parts[0] in NAMED_TABLES else 1
    return " ".join([f"[{'.'.join(parts[:depth])}]", *parts[depth : depth + 1]])


# --------------------------------------------------------------------------------------------------- TOML


def read_toml(path: Path) -> Source:
    """The configuration file. Raises ConfigInvalid: a file that is not there is an error, never an empty one."""
    content = _bytes_of(path, str(path))  # whole: somebody who may have named the wrong one has to see which
    return Source("file", path.name, _with_upper_case_mailboxes(path.name, _parse(path.name, content)))


def _bytes_of(path: Path, shown: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigInvalid([f"{shown}: cannot be read: {error.strerror}"]) from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigInvalid([f"{shown}: is larger than {MAX_FILE_BYTES} bytes"])
    return content


def _parse(shown: str, content: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigInvalid([f"{shown}: line {line}: is not UTF-8 text"]) from None
    except ValueError as error:
        # Only the line: the parser's own sentence may quote what stands there, and that may be a password.
        found = re.search(r"at line (\d+)", str(error))
        at = f"line {found[1]}" if found else "at its end" if "end of document" in str(error) else "somewhere"
        raise ConfigInvalid([f"{shown}: {at}: is not valid TOML"]) from None
    except RecursionError:
        raise ConfigInvalid([f"{shown}: is nested too deeply"]) from None


def _with_upper_case_mailboxes(shown: str, data: dict[str, Any]) -> dict[str, Any]:
    # Mailbox ids in upper case, as MESH writes them, so that the three sources agree on them.
    mailboxes = data.get("mailboxes")
    if not isinstance(mailboxes, dict):
        return data
    upper = {mailbox_id.upper(): table for mailbox_id, table in mailboxes.items()}
    if len(upper) < len(mailboxes):
        raise ConfigInvalid([f"{shown}: [mailboxes]: a mailbox is given twice, in upper and lower case"])
    return {**data, "mailboxes": upper}


# --------------------------------------------------------------------------------------------------- environment


def read_environment(environ: Mapping[str, str]) -> Source:
    """Every `MESH_ITK3_…` name. An empty value counts as not given. Raises ConfigInvalid where a name is both a table
    and a key.
    """
    wanted = {name: value for name, value in environ.items() if name.startswith(PREFIX) and name not in NOT_KEYS and value}
    values = [(key_path(name.removeprefix(PREFIX)), wanted[name]) for name in sorted(wanted)]
    return Source("environment", "environment", _nested("environment", values))


def key_path(name: str) -> KeyPath:
    """`MAILBOXES__X26ABC2__PASSWORD` as a path of keys. Ids keep their case (mailboxes: upper), keys are lower case."""
    table, *rest = name.split("__")
    table = table.lower()
    if not rest:
        return (table,)
    if table == "mailboxes":
        return (table, rest[0].upper(), *(part.lower() for part in rest[1:]))
    if table == "workflows":
        return (table, rest[0], *(part.lower() for part in rest[1:]))
    return (table, *(part.lower() for part in rest))


def _nested(kind: Literal["environment", "credentials"], values: Iterable[tuple[KeyPath, str]]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for path, value in values:
        here = data
        for part in path[:-1]:
            table = here.setdefault(part, {})
            if not isinstance(table, dict):
                raise ConfigInvalid([Source(kind, kind, {}).line(path, "stands below a name that is given a value itself")])
            here = table
        here[path[-1]] = value
    return data


# --------------------------------------------------------------------------------------------------- credentials


def credentials_directory(credentials: Path | None, environ: Mapping[str, str]) -> Path | None:
    """What `--credentials` names, else what systemd's LoadCredential= made, else None."""
    if credentials is not None:
        return credentials
    given = environ.get("CREDENTIALS_DIRECTORY")
    return Path(given) if given else None


def credential_files(directory: Path) -> list[Path]:
    """Its files by name. Raises ConfigInvalid where the directory cannot be read."""
    try:
        return sorted(path for path in directory.iterdir() if path.is_file())
    except OSError as error:
        raise ConfigInvalid([f"credentials: {short_name(directory)}: cannot be read: {error.strerror}"]) from error


def read_credentials(directory: Path, is_key: Callable[[KeyPath], bool], *, may_be_closed: bool = False) -> Source:
    """The files whose names are keys; others are left alone, because systemd may have put them there for something else.
    A trailing line end is not part of the value. `may_be_closed`: what this user may not read is left out, but for the
    ledger's address, without which another ledger would be looked at. Raises ConfigInvalid.
    """
    try:
        found = credential_files(directory)
    except ConfigInvalid as unreadable:
        if not (may_be_closed and isinstance(unreadable.__cause__, PermissionError)):
            raise
        found = []
    files = [(key_path(path.name), path) for path in found]
    values = [
        (key, _secret(path))
        for key, path in files
        if is_key(key) and (os.access(path, os.R_OK) or not may_be_closed or key[0] == "ledger")
    ]
    return Source("credentials", "credentials", _nested("credentials", values))


def _secret(path: Path) -> str:
    shown = f"credentials: {short_name(path.name)}"
    try:
        text = _bytes_of(path, shown).decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigInvalid([f"{shown}: is not UTF-8 text"]) from None
    if not text:
        raise ConfigInvalid([f"{shown}: is empty"])
    return text
