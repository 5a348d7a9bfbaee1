"""Log lines: JSON on standard error, or readable ones on a terminal; the same for our events and for other people's.

Nothing of a message can get out here, whoever logs it: only fields of `events.FIELDS` pass; of a library's record only
its logger, its level and the constant part of its text; of an exception its type and the line that raised it.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import PurePath
from types import FrameType, TracebackType
from typing import IO, Any, Final, Literal, TextIO

import orjson
import structlog

from mesh_itk3 import events

LogFormat = Literal["auto", "json", "console"]

MAX_LINE_BYTES: Final = 32 * 1024
"""journald splits lines at 48 KiB, and half a JSON object is no JSON object."""
MAX_VALUE_CHARS: Final = 150
"""Of one value in a line that is too long as a whole: some fifty fields of four-byte characters still fit."""
MAX_LIST_ITEMS: Final = 20
DEEPEST_CALLER: Final = 15
"""Frames above the logging call where a library's constant text is looked for; a guess above any wrapper seen."""

CHATTY: Final = ("alembic", "apscheduler", "asyncio", "httpx", "mesh_client", "sqlalchemy", "urllib3")
"""Libraries that tell of every step at info: below warning they are heard only at debug."""
NAGGING: Final = ("apscheduler.scheduler", "apscheduler.executors")
"""They warn at every tick while a stage is busy, which is what one run at a time means: below error heard only at debug."""

_EVENTS: Final = {event.name: event for event in events.ALL}
# man sd-daemon(3): journald reads <N> at the start of a line as its priority and strips it.
_PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_COLOURS: Final = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "1;31"}

# One list for ever: loggers keep it after their first line, and structlog.testing changes it in place.
_PROCESSORS: Final[list[structlog.types.Processor]] = [
    structlog.stdlib.filter_by_level,
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
]

Entry = dict[str, Any]


def configure_logging(
    level: str = "info",
    *,
    log_format: LogFormat = "auto",
    stream: TextIO | None = None,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Sends every logger of this process to `stream` (None: standard error). Call again to change the level. `auto` is
    the readable form on a terminal and JSON elsewhere; priorities are marked where JOURNAL_STREAM is in `environ` (None:
    this process's).
    """
    out = sys.stderr if stream is None else stream
    is_readable = log_format == "console" or (log_format == "auto" and out.isatty())
    is_journal = bool((os.environ if environ is None else environ).get("JOURNAL_STREAM"))
    _to_stdlib()
    _replace_handler(_Handler(out, _renderer(is_readable=is_readable, is_journal=is_journal)))
    _set_levels(level)
    _catch_the_rest()


def _to_stdlib() -> None:
    structlog.configure(
        processors=_PROCESSORS,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _replace_handler(handler: logging.Handler) -> None:
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)


def _set_levels(level: str) -> None:
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger().setLevel(number)
    for names, least in ((CHATTY, logging.WARNING), (NAGGING, logging.ERROR)):
        for name in names:
            logging.getLogger(name).setLevel(number if number <= logging.DEBUG else max(number, least))


class _Handler(logging.StreamHandler[IO[str]]):
    def __init__(self, stream: TextIO, render: Callable[[Entry], str]) -> None:
        super().__init__(stream)
        # use_get_message: a library's arguments may be patient data, so its text is never put together with them.
        self.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                processors=[lambda _logger, _method, line: render(entry_of(line))], use_get_message=False
            )
        )

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Says nothing: the original would print the record with its arguments."""


# --------------------------------------------------------------------------------------------------- what is said


def entry_of(line: Mapping[str, Any]) -> Entry:
    """What one log line says, by the allow-list. `line` is what structlog's ProcessorFormatter hands on."""
    record: logging.LogRecord = line["_record"]
    moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    entry: Entry = {"timestamp": f"{moment[:-6]}Z", "severity": _severity(record.levelno)}
    event = _EVENTS.get(line["event"]) if line["_from_structlog"] and isinstance(line["event"], str) else None
    if event is None:
        entry |= {"event": events.LIBRARY_SAID.name, "logger": record.name, **_constant_text(line)}
    else:
        entry |= {"event": event.name, "text": event.text}
    for name, value in line.items():
        if name in events.FIELDS:
            entry[name] = value
    if isinstance(error := _error_of(line.get("exc_info")), BaseException):
        entry |= events.where(error)
    return entry


def _severity(number: int) -> str:
    name = logging.getLevelName(max(logging.DEBUG, min(logging.CRITICAL, number // 10 * 10)))
    return str(name).lower()


def _error_of(exc_info: object) -> object:
    if isinstance(exc_info, tuple):
        return exc_info[1]
    return sys.exc_info()[1] if exc_info is True else exc_info


def _constant_text(line: Mapping[str, Any]) -> Mapping[str, str]:
    """The text if it stands in the source of a caller as it is: `"took %s"` does, an f-string with a name in it does not."""
    text = line["event"] if line["_from_structlog"] else line["_record"].msg
    if type(text) is not str:
        return {}
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - the documented way to the callers
    outside = 0
    while frame is not None and outside < DEEPEST_CALLER:
        module = frame.f_globals.get("__name__")
        if module not in (__name__, "logging") and not str(module).startswith("structlog."):
            outside += 1
            if any(constant == text for constant in frame.f_code.co_consts if type(constant) is str):
                return {"text": text}
        frame = frame.f_back
    return {}


# --------------------------------------------------------------------------------------------------- how it is written


def _renderer(*, is_readable: bool, is_journal: bool) -> Callable[[Entry], str]:
    write = as_readable if is_readable else as_json
    if not is_journal:
        return write
    return lambda entry: f"<{_PRIORITIES[entry['severity']]}>{write(entry)}"


def as_json(entry: Entry) -> str:
    """One JSON object without line ends, under MAX_LINE_BYTES whatever the values are."""
    try:
        line = orjson.dumps(entry, default=_plain)
    except (TypeError, ValueError):  # a lone surrogate or a number beyond 64 bits: rare, so only now looked at
        line = b""
    if not line or len(line) > MAX_LINE_BYTES - len("<7>\n"):
        line = orjson.dumps({name: _short(value) for name, value in entry.items()})
    return line.decode()


def _plain(value: object) -> object:
    """For a value of a kind that JSON does not know."""
    if isinstance(value, (frozenset, set)):
        return sorted(map(_printable, value))
    return str(value) if isinstance(value, PurePath) else type(value).__name__


def _short(value: object) -> object:
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_printable(item, MAX_VALUE_CHARS // MAX_LIST_ITEMS) for item in list(value)[:MAX_LIST_ITEMS]]
    return _printable(value, MAX_VALUE_CHARS)


def _printable(value: object, max_chars: int | None = None) -> str:
    """The value on one line, with nothing that could steer a terminal."""
    text = str(value) if isinstance(value, (str, int, float, PurePath)) else type(value).__name__
    return "".join(character if character.isprintable() else "?" for character in text[:max_chars])


def as_readable(entry: Entry) -> str:
    """One coloured line for a person: time, severity, event, text, fields. Nothing in it can steer the terminal."""
    said = {name: value for name, value in entry.items() if name not in {"timestamp", "severity", "event", "text"}}
    fields = " ".join(f"{name}={_shown(value)}" for name, value in said.items())
    severity, event = entry["severity"], entry["event"]
    line = f"{entry['timestamp'][11:19]} \x1b[{_COLOURS[severity]}m{severity:<8}\x1b[0m \x1b[1m{event}\x1b[0m"
    return f"{line} {_shown(entry.get('text', ''))} \x1b[2m{fields}\x1b[0m"


def _shown(value: object) -> str:
    if isinstance(value, (list, tuple, set, frozenset)):
        return ",".join(map(_printable, value))
    return _printable(value)


# --------------------------------------------------------------------------------------------------- what nobody caught


def _catch_the_rest() -> None:
    """Errors that nothing caught and Python's warnings: as events, because the originals would print values."""
    sys.excepthook = _say_uncaught
    threading.excepthook = lambda failed: _say_uncaught(failed.exc_type, failed.exc_value, failed.exc_traceback)
    sys.unraisablehook = lambda failed: _say_uncaught(failed.exc_type, failed.exc_value, failed.exc_traceback)
    warnings.showwarning = _say_warning


def _say_uncaught(kind: type[BaseException], error: BaseException | None, _traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    events.emit(events.SERVICE_FAILED, **(events.where(error) if error is not None else {"error_type": kind.__name__}))


def _say_warning(
    message: Warning | str,  # noqa: ARG001 - may quote a value
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> None:
    events.emit(events.LIBRARY_WARNED, error_type=category.__name__, error_at=f"{filename.rsplit('/', 1)[-1]}:{lineno}")
