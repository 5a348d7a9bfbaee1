"""Log lines: one shape for everybody's loggers, and nothing of a message in any of them."""

from __future__ import annotations

import gc
import io
import json
import logging
import subprocess
import sys
import textwrap
import threading
import warnings
from pathlib import Path

import pytest
import structlog

from mesh_itk3 import events
from mesh_itk3.adapters.logging import MAX_LINE_BYTES, configure_logging
from mesh_itk3.reasons import Reason

NAME = f"{'smith'.upper()}"
"""Made up at run time: a literal of this file would be a constant text."""


class Out(io.StringIO):
    is_terminal = False

    def isatty(self):
        return self.is_terminal

    def entries(self) -> list[dict]:
        return [json.loads(line.partition(">")[2] if line.startswith("<") else line) for line in self.getvalue().splitlines()]

    def only(self) -> dict:
        (entry,) = self.entries()
        return entry


@pytest.fixture
def out():
    """What has been logged, as JSON lines at info."""
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning
    handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
    out = Out()
    configure_logging("info", stream=out, environ={})
    yield out
    sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning = hooks
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)
    structlog.contextvars.clear_contextvars()


# --------------------------------------------------------------------------------------------------- our own events


def test_event_is_one_json_line_with_its_name_severity_and_sentence(out):
    events.emit(events.COLLECT_DONE, mailbox_id="X26ABC2", duration_ms=1.5, reason=Reason.FOREIGN_LEFT, warnings=["a", "b"])

    entry = out.only()
    assert out.getvalue().endswith("}\n")
    assert entry.pop("timestamp").endswith("Z")
    assert entry == {
        "severity": "info",
        "event": "collect.done",
        "text": events.COLLECT_DONE.text,
        "mailbox_id": "X26ABC2",
        "duration_ms": 1.5,
        "reason": "foreign_left",
        "warnings": ["a", "b"],
    }


def test_fields_outside_the_allow_list_are_left_out_however_they_come(out):
    structlog.contextvars.bind_contextvars(nhs_number=NAME, workflow_id="W")
    events.emit(events.COLLECT_DONE, family_name=NAME)
    structlog.get_logger("mesh_itk3").info("collect.done", family_name=NAME, text=NAME)

    assert NAME not in out.getvalue()
    assert [entry["workflow_id"] for entry in out.entries()] == ["W", "W"]


def test_level_can_be_changed_while_running(out):
    events.emit(events.FOREIGN_LEFT)
    assert out.entries() == []

    configure_logging("debug", stream=out, environ={})
    events.emit(events.FOREIGN_LEFT)
    assert out.only()["severity"] == "debug"

    configure_logging("error", stream=out, environ={})
    events.emit(events.COLLECT_DONE)
    assert len(out.entries()) == 1


@pytest.mark.parametrize(
    "value",
    ["\ud800", 2**70, object(), {"x"}, Path("/x"), b"bytes", float("nan"), {1: 2}],
    ids=lambda value: type(value).__name__,
)
def test_no_value_can_break_a_line(out, value):
    events.emit(events.COLLECT_DONE, mailbox_id=value, workflow_id="W")

    assert out.only()["workflow_id"] == "W"


def test_lines_stay_below_what_journald_splits(out):
    events.emit(events.COLLECT_DONE, **dict.fromkeys(events.FIELDS, "\U0001f600" * 1000))
    events.emit(events.COLLECT_DONE, **dict.fromkeys(events.FIELDS, ["\x00é" * 100] * 50))

    for line in out.getvalue().splitlines(keepends=True):
        assert len(line.encode()) <= MAX_LINE_BYTES
    assert len(out.entries()) == 2


def test_line_just_at_the_limit_counts_its_priority_and_its_end(out):
    configure_logging("info", stream=out, environ={"JOURNAL_STREAM": "8:1"})

    for length in range(MAX_LINE_BYTES - 300, MAX_LINE_BYTES):
        events.emit(events.COLLECT_DONE, reason="x" * length)

    lengths = {len(line) for line in out.getvalue().splitlines(keepends=True)}
    assert max(lengths) == MAX_LINE_BYTES


def test_field_of_the_sender_with_line_ends_stays_on_its_line(out):
    events.emit(events.COLLECT_DONE, workflow_id="a\nb\r\x1b[2J")

    assert len(out.getvalue().splitlines()) == 1
    assert "\x1b" not in out.getvalue()


# --------------------------------------------------------------------------------------------------- the journal, a terminal


@pytest.mark.parametrize(
    ("event", "priority"),
    [
        (events.FOREIGN_LEFT, 7),
        (events.COLLECT_DONE, 6),
        (events.MESSAGE_REJECTED, 4),
        (events.MESSAGE_PARKED, 3),
        (events.STORAGE_FAILED, 2),
    ],
)
def test_journal_gets_the_priority_before_the_line(out, event, priority):
    configure_logging("debug", stream=out, environ={"JOURNAL_STREAM": "8:1"})

    events.emit(event)

    assert out.getvalue().startswith(f"<{priority}>{{")


def test_terminal_gets_readable_lines_that_cannot_steer_it(out):
    out.is_terminal = True
    configure_logging("info", stream=out, environ={})

    events.emit(events.MESSAGE_PARKED, workflow_id="W\x1b[2J\n", warnings=["a", "b"])

    line = out.getvalue()
    assert line.count("\n") == 1
    assert "message.parked" in line
    assert "workflow_id=W?[2J?" in line
    assert "warnings=a,b" in line


@pytest.mark.parametrize(("log_format", "is_json"), [("json", True), ("console", False)])
def test_form_can_be_chosen(out, log_format, is_json):
    out.is_terminal = log_format == "json"
    configure_logging("info", log_format=log_format, stream=out, environ={})

    events.emit(events.COLLECT_DONE)

    assert out.getvalue().startswith("{") is is_json


# --------------------------------------------------------------------------------------------------- other people's loggers


def test_library_is_heard_with_its_constant_text_and_without_its_arguments(out):
    logging.getLogger("their.module").warning("patient %s is new", NAME)

    entry = out.only()
    assert (entry["event"], entry["severity"]) == ("library.said", "warning")
    assert (entry["logger"], entry["text"]) == ("their.module", "patient %s is new")
    assert NAME not in out.getvalue()


@pytest.mark.parametrize(
    "text", [f"patient {NAME}", "patient " + NAME, ValueError(NAME), {"name": NAME}], ids=["f-string", "sum", "error", "dict"]
)
def test_text_put_together_by_a_library_is_left_out(out, text):
    logging.getLogger("their.module").error(text)

    assert out.only()["logger"] == "their.module"
    assert NAME not in out.getvalue()


def test_arguments_that_do_not_fit_are_not_printed_anywhere(out, capsys):
    root = logging.getLogger()
    root.handlers[:] = [one for one in root.handlers if getattr(one, "stream", None) is out]  # pytest's own raise

    logging.getLogger("their.module").error("only %d", NAME)

    assert NAME not in out.getvalue() + capsys.readouterr().err
    assert len(out.entries()) == 1


def test_exception_is_its_type_and_place_without_text_or_local_variables(out):
    local = NAME
    try:
        int(f"cannot read {local}")
    except ValueError:
        logging.getLogger("their.module").exception("failed on %s", NAME, stack_info=True)

    entry = out.only()
    assert (entry["error_type"], entry["text"]) == ("ValueError", "failed on %s")
    assert entry["error_at"].startswith("test_logging.py:")
    assert NAME not in out.getvalue()
    assert "Traceback" not in out.getvalue()


def test_library_that_uses_structlog_gets_the_same_treatment(out):
    structlog.get_logger("theirs").info(f"patient {NAME}", patient=NAME, handler="theirs")

    entry = out.only()
    assert (entry["event"], entry["logger"], entry["handler"]) == ("library.said", "theirs", "theirs")
    assert NAME not in out.getvalue()


def test_chatty_libraries_are_heard_from_warning_on_and_at_debug_from_info_on(out):
    for name in ("apscheduler.scheduler", "sqlalchemy.engine", "urllib3.connectionpool"):
        logging.getLogger(name).info("step")
    assert out.entries() == []

    logging.getLogger("sqlalchemy.engine").warning("late")
    configure_logging("debug", stream=out, environ={})
    logging.getLogger("apscheduler.scheduler").info("step")
    assert [entry["text"] for entry in out.entries()] == ["late", "step"]


def test_a_stage_that_is_busy_at_the_next_tick_is_no_warning(out):
    for name in ("apscheduler.scheduler", "apscheduler.executors.default"):
        logging.getLogger(name).warning("skipped: maximum number of running instances reached")
    assert out.entries() == []

    logging.getLogger("apscheduler.scheduler").error("broken")
    assert [entry["text"] for entry in out.entries()] == ["broken"]


def test_python_warning_is_an_event_without_its_text(out):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = vars(sys.modules["mesh_itk3.adapters.logging"])["_say_warning"]
        warnings.warn(f"odd value {NAME}", UserWarning, stacklevel=1)

    entry = out.only()
    assert (entry["event"], entry["error_type"]) == ("library.warned", "UserWarning")
    assert NAME not in out.getvalue()


# --------------------------------------------------------------------------------------------------- what nobody caught


def fail() -> None:
    raise RuntimeError(NAME)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_error_that_ends_a_thread_is_an_event(out):
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()

    entry = out.only()
    assert (entry["event"], entry["error_type"]) == ("service.failed", "RuntimeError")
    assert NAME not in out.getvalue()


def test_error_in_a_destructor_is_an_event(out):
    class Dying:
        def __del__(self):
            fail()

    Dying()
    gc.collect()

    assert out.only()["event"] == "service.failed"


def test_error_that_ends_the_program_is_one_line_on_standard_error():
    program = textwrap.dedent("""
        import sys, warnings
        from mesh_itk3.adapters.logging import configure_logging
        configure_logging("info")
        warnings.warn("name is " + sys.argv[1])
        raise RuntimeError(sys.argv[1])
    """)

    ended = subprocess.run([sys.executable, "-c", program, NAME], capture_output=True, text=True, timeout=180, check=False)

    assert ended.returncode == 1
    assert ended.stdout == ""
    assert [json.loads(line)["event"] for line in ended.stderr.splitlines()] == ["library.warned", "service.failed"]
    assert NAME not in ended.stderr


# --------------------------------------------------------------------------------------------------- the vocabulary


def test_every_event_of_the_vocabulary_is_known_to_the_lines(out):
    configure_logging("debug", stream=out, environ={})

    for event in events.ALL:
        events.emit(event)

    assert [entry["event"] for entry in out.entries()] == [event.name for event in events.ALL]


def test_severity_between_two_names_takes_the_lower(out):
    logging.getLogger("theirs").log(35, "odd")

    assert out.only()["severity"] == "warning"
