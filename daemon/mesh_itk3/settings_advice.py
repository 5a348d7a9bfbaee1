"""What works but should be changed: secrets that others can read, credential files whose names miss their key."""

from __future__ import annotations

import difflib
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mesh_itk3.settings import is_key, is_mailbox_configured, is_secret, names_of_secrets, read_sources
from mesh_itk3.settings_errors import one_line, short_name
from mesh_itk3.settings_sources import TABLES, KeyPath, Source, credential_files, credentials_directory, key_path


def advice(config: Path | None, credentials: Path | None, environ: Mapping[str, str]) -> tuple[str, ...]:
    """One line each, naming files and keys, never values. For `check`, and for the log when the daemon starts: a running
    practice is not stopped over a file mode. Raises ConfigInvalid where the sources cannot be read.
    """
    sources = read_sources(config, credentials, environ)
    lines = [*_about_config(config, sources), *_about_client_key(sources)]
    directory = credentials_directory(credentials, environ)
    if directory is not None:
        lines += _about_credentials(directory, sources)
    return tuple(one_line(line) for line in lines)


def _about_config(config: Path | None, sources: Sequence[Source]) -> Iterator[str]:
    if config is None or not _is_readable_by_others(config):
        return
    held = [path for path in _paths(sources[-1].data) if is_secret(path) or path == ("ledger", "url")]
    if any(is_secret(path) or "@" in str(_value(sources[-1], path)) for path in held):
        yield f"{config.name}: holds secrets and every user of this machine may read it: chmod 0640, or use credential files"


def _about_client_key(sources: Sequence[Source]) -> Iterator[str]:
    given = next((_value(source, ("mesh", "client_key")) for source in sources if source.holds(("mesh", "client_key"))), None)
    if isinstance(given, str) and _is_readable_by_others(Path(given)):
        yield "[mesh] client_key: every user of this machine may read the file: chmod 0640"


def _about_credentials(directory: Path, sources: Sequence[Source]) -> Iterator[str]:
    mailboxes: object = next((source.data["mailboxes"] for source in reversed(sources) if "mailboxes" in source.data), {})
    names = names_of_secrets(mailboxes if isinstance(mailboxes, Mapping) else ())
    for path in credential_files(directory):
        key = key_path(path.name)
        shown = f"credentials: {short_name(path.name)}"
        if not is_key(key):
            yield from _near_miss(shown, path.name, key, names)
        elif not is_mailbox_configured(key, sources[1:]):
            yield f"{shown}: is not read: no such mailbox is configured"
        elif _is_readable_by_others(path):
            yield f"{shown}: every user of this machine may read it: chmod 0600"


def _near_miss(shown: str, name: str, key: KeyPath, names: Sequence[str]) -> Iterator[str]:
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.8)
    if close or (len(key) > 1 and key[0] in TABLES):
        meant = f"; did you mean {close[0]}?" if close else ""
        yield f"{shown}: is not read: it names no key{meant}"


def _is_readable_by_others(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False  # whoever cannot look cannot tell; that it cannot be read is said by load_settings


def _paths(data: Mapping[str, object], above: KeyPath = ()) -> Iterator[KeyPath]:
    for name, value in data.items():
        if isinstance(value, Mapping):
            yield from _paths(value, (*above, name))
        else:
            yield (*above, name)


def _value(source: Source, path: KeyPath) -> object:
    here: object = source.data
    for part in path:
        here = here.get(part) if isinstance(here, Mapping) else None
    return here
