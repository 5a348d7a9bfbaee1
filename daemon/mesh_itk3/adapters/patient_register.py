"""The practice's patient register as a CSV file, and what handlers see of it.

`30002` ("patient not known here") comes only from a register that was read whole (design rule 5), so one faulty row makes
all of it unusable. Errors name a line number, never what stands in it.
"""

from __future__ import annotations

import csv
import io
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final, Literal, cast

from mesh_itk3 import events
from mesh_itk3.patient_match import PatientIdentity, PatientMatch, full_date_of_birth, match_patient
from mesh_itk3.ports import Clock, PatientRegister, RegisteredPatient, RegisterUnusable

COLUMNS: Final = ("nhs_number", "date_of_birth", "family_name", "status", "status_date")
_STATUSES: Final = frozenset({"registered", "left", "deceased"})
_NHS_NUMBER_DIGITS: Final = 10
_ISO_DATE_LENGTH: Final = 10
_FUTURE_TOLERANCE: Final = timedelta(days=1)
"""A guess: clocks differ, but a file dated later than this would count as fresh for ever."""

_SETTLED_AFTER: Final = timedelta(seconds=5)
"""A guess: a file that is written in place, row by row, is written to more often than this. Cut at the end of a row it
looks whole, and everybody after that row would be "not known here"."""
_FIRST_LOOK: Final = timedelta(seconds=1)
"""The same at start, where waiting is short because nobody has been answered yet."""

_Row = tuple[str, str, str, str, str]


class _Malformed(Exception):
    """A row that cannot be read; the text is the rule that it breaks, without its values."""


@dataclass(frozen=True, slots=True)
class _Fingerprint:
    """What changes when somebody writes or replaces the file."""

    modified_ns: int
    bytes: int
    inode: int
    device: int

    @classmethod
    def of(cls, status: os.stat_result) -> _Fingerprint:
        return cls(status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev)


@dataclass(frozen=True, slots=True)
class _Rows:
    """A register's content."""

    by_number: dict[str, _Row] = field(default_factory=dict)
    unnumbered: dict[str, set[_Row]] = field(default_factory=dict)
    """Patients without an NHS number, by their date of birth: visitors, newborns, people new to the country."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What one reading of the file gave: rows, or why there are none."""

    fingerprint: _Fingerprint
    rows: _Rows
    problem: str | None


class CsvPatientRegister:
    """Implements `ports.PatientRegister` over one file, kept in memory and read again when it changes. Thread-safe."""

    def __init__(self, file: Path, *, max_age_days: int, clock: Clock, pause: Callable[[float], object] = time.sleep) -> None:
        self._file = file
        self._pause = pause
        self._max_age = timedelta(days=max_age_days)
        self._clock = clock
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None

    def look_up(self, nhs_number: str) -> RegisteredPatient | None:
        """Raises RegisterUnusable, whose text is the reason: `missing`, `unreadable`, `empty`, `without_numbers`,
        `changing`, `too_old`, `dated_in_future`, or `malformed` or `contradictory` with a line number.
        """
        row = self._rows().by_number.get(nhs_number)
        return _patient(row) if row else None

    def unnumbered(self, date_of_birth: str | None) -> tuple[RegisteredPatient, ...]:
        """Raises RegisterUnusable, like `look_up`."""
        by_birth = self._rows().unnumbered
        born = by_birth if date_of_birth is None else (date_of_birth,)
        return tuple(_patient(row) for day in born for row in sorted(by_birth.get(day, ())))

    def count(self) -> int:
        """How many patients it holds. Raises RegisterUnusable, like `look_up`."""
        rows = self._rows()
        return len(rows.by_number) + sum(map(len, rows.unnumbered.values()))

    def _rows(self) -> _Rows:
        with self._lock:
            fingerprint = self._fingerprint()
            if self._loaded is None or self._loaded.fingerprint != fingerprint:
                self._wait_until_settled(fingerprint)
                self._loaded = _load(self._file)
            if self._loaded.problem:
                raise RegisterUnusable(self._loaded.problem)
            self._check_age(self._loaded.fingerprint)
            return self._loaded.rows

    def _wait_until_settled(self, fingerprint: _Fingerprint) -> None:
        """A register that has just been written to may still be being written. Raises RegisterUnusable: `changing`."""
        age = self._clock.now() - datetime.fromtimestamp(fingerprint.modified_ns / 1e9, UTC)
        if self._loaded is not None and timedelta(0) <= age < _SETTLED_AFTER:
            raise RegisterUnusable("changing")
        if timedelta(0) <= age < _FIRST_LOOK:
            self._pause((_FIRST_LOOK - age).total_seconds())
            if self._fingerprint() != fingerprint:
                raise RegisterUnusable("changing")

    def _fingerprint(self) -> _Fingerprint:
        try:
            return _Fingerprint.of(self._file.stat())
        except OSError as error:
            self._loaded = None
            raise RegisterUnusable(_reason_of(error)) from None

    def _check_age(self, fingerprint: _Fingerprint) -> None:
        modified = datetime.fromtimestamp(fingerprint.modified_ns / 1e9, UTC)
        now = self._clock.now()
        if now - modified > self._max_age:
            raise RegisterUnusable("too_old")
        if modified - now > _FUTURE_TOLERANCE:
            raise RegisterUnusable("dated_in_future")


class RegisterPatients:
    """Implements `handler.Patients`: the register, when there is one, joined with the rules of the match."""

    def __init__(self, register: PatientRegister | None) -> None:
        self._register = register
        self._reported: str | None = None

    def match(self, patient: PatientIdentity, today: date) -> PatientMatch:
        """As `handler.Patients.match` says; `register_unusable` and `no_register` are uncertain matches."""
        if self._register is None:
            return PatientMatch(code=None, reason="no_register", warnings=())
        try:
            found = self._register.look_up(patient.nhs_number or "")
            unnumbered = () if found else self._register.unnumbered(full_date_of_birth(patient))
        except RegisterUnusable as error:
            self._report(str(error))
            return PatientMatch(code=None, reason="register_unusable", warnings=())
        self._reported = None
        return match_patient(patient, found, today, unnumbered)

    def _report(self, reason: str) -> None:
        # Once per change, not per message: a stale file on a Monday morning is one fault.
        if reason != self._reported:
            self._reported = reason
            events.emit(events.REGISTER_UNUSABLE, reason=reason)


def _load(file: Path) -> _Loaded:
    """Reads the file whole. Raises RegisterUnusable where it cannot be read or changes meanwhile; what is wrong with its
    content is remembered with it.
    """
    try:
        with file.open("rb") as opened:
            before = _Fingerprint.of(os.fstat(opened.fileno()))
            content = opened.read()
        after = _Fingerprint.of(file.stat())
    except OSError as error:
        raise RegisterUnusable(_reason_of(error)) from None
    if before != after or len(content) != after.bytes:
        raise RegisterUnusable("changing")
    try:
        rows = _rows_of(content)
    except _Malformed as problem:
        return _Loaded(after, _Rows(), str(problem))
    return _Loaded(after, rows, _lack(rows))


def _reason_of(error: OSError) -> str:
    return "missing" if isinstance(error, FileNotFoundError) else "unreadable"


def _lack(rows: _Rows) -> str | None:
    """Without a single number it is an export that went wrong: everybody would be "not known here"."""
    if rows.by_number:
        return None
    return "without_numbers" if rows.unnumbered else "empty"


def _rows_of(content: bytes) -> _Rows:
    """Raises _Malformed."""
    rows = _Rows()
    for line, row in _checked(content):
        number, born = row[:2]
        if not number:
            rows.unnumbered.setdefault(born, set()).add(row)
        elif rows.by_number.setdefault(number, row) != row:
            raise _Malformed(f"contradictory (line {line})")
    return rows


def _checked(content: bytes) -> Iterator[tuple[int, _Row]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _Malformed("malformed (not UTF-8)") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, None)
        if header is None:
            return
        order = _column_order(header)
        for cells in reader:
            if cells:
                yield reader.line_num, _row_of(cells, order, len(header))
    except (csv.Error, ValueError):
        raise _Malformed(f"malformed (line {reader.line_num})") from None


def _column_order(header: Sequence[str]) -> tuple[int, ...]:
    names = [name.strip().lower() for name in header]
    if any(names.count(column) != 1 for column in COLUMNS):
        raise _Malformed("malformed (header row)")
    return tuple(names.index(column) for column in COLUMNS)


def _row_of(cells: Sequence[str], order: tuple[int, ...], width: int) -> _Row:
    """Raises ValueError for a row that is not a patient."""
    if len(cells) != width:
        raise ValueError
    number, born, family_name, status, status_date = (cells[place].strip() for place in order)
    number, status = "".join(number.split()), status.lower()
    if number and (len(number) != _NHS_NUMBER_DIGITS or not (number.isascii() and number.isdigit())):
        raise ValueError
    if not family_name or not family_name.isprintable() or status not in _STATUSES:
        raise ValueError
    _date_of(born)
    if status_date:
        _date_of(status_date)
    return number, born, family_name, status, status_date


def _date_of(text: str) -> date:
    """YYYY-MM-DD and nothing else: 03/04/1957 is two days, depending on who wrote it. Raises ValueError."""
    if len(text) != _ISO_DATE_LENGTH or text[4] != "-" or text[7] != "-":
        raise ValueError
    return date.fromisoformat(text)


def _patient(row: _Row) -> RegisteredPatient:
    number, born, family_name, status, status_date = row
    return RegisteredPatient(
        nhs_number=number,
        date_of_birth=_date_of(born),
        family_name=family_name,
        status=cast(Literal["registered", "left", "deceased"], status),
        status_date=_date_of(status_date) if status_date else None,
    )
