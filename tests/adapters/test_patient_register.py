"""The patient register as a CSV file: read whole, or it cannot say."""

import os
import threading
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mesh_itk3.adapters.patient_register import CsvPatientRegister, RegisterPatients
from mesh_itk3.handler import BusinessCode
from mesh_itk3.patient_match import PatientIdentity
from mesh_itk3.ports import RegisteredPatient, RegisterUnusable

HEADER = "nhs_number,date_of_birth,family_name,status,status_date\n"
ROW = "9990000018,1957-01-09,Testcase,registered,\n"
NOW = datetime(2026, 1, 16, 8, 0, tzinfo=UTC)
TODAY = date(2026, 1, 16)


class Clock:
    def now(self):
        return NOW

    def monotonic(self):
        return 0.0


def a_register(tmp_path: Path, text: str | bytes = HEADER + ROW, *, age: timedelta = timedelta(hours=1), max_age_days=7):
    file = tmp_path / "patients.csv"
    write(file, text, age=age)
    return CsvPatientRegister(file, max_age_days=max_age_days, clock=Clock())


def write(file: Path, text: str | bytes, *, age: timedelta = timedelta(hours=1)) -> None:
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    at = (NOW - age).timestamp()
    os.utime(file, (at, at))


def identity(nhs_number: str | None = "9990000018", *, valid: bool = True) -> PatientIdentity:
    return PatientIdentity(nhs_number, valid, "01", ("Testcase",), ("Robin",), "1957-01-09")


def reason_of(register: CsvPatientRegister) -> str:
    with pytest.raises(RegisterUnusable) as unusable:
        register.look_up("9990000018")
    return str(unusable.value)


def test_a_patient_is_found_by_number(tmp_path):
    found = a_register(tmp_path).look_up("9990000018")
    assert found == RegisteredPatient("9990000018", date(1957, 1, 9), "Testcase", "registered", None)


def test_a_number_that_a_whole_register_does_not_hold_is_none(tmp_path):
    assert a_register(tmp_path).look_up("9990000026") is None


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf" + (HEADER + ROW).encode(),
        (HEADER + ROW).replace("\n", "\r\n"),
        HEADER + ROW.rstrip("\n"),
        HEADER + "\n" + ROW + "\n\n",
        HEADER + ROW + ROW,
        HEADER + ' 999 000 0018 , 1957-01-09 ,"Testcase", Registered ,\n',
        "family_name,status_date,status,nhs_number,date_of_birth,note\nTestcase,,registered,9990000018,1957-01-09,x\n",
        HEADER.upper() + ROW,
    ],
    ids=["bom", "crlf", "no last newline", "blank lines", "a row twice", "padded", "other order", "capitals"],
)
def test_harmless_forms_of_a_register_are_read(tmp_path, text):
    found = a_register(tmp_path, text).look_up("9990000018")
    assert found is not None
    assert found.family_name == "Testcase"


def test_names_may_hold_commas_and_any_letters(tmp_path):
    found = a_register(tmp_path, HEADER + '9990000018,1957-01-09,"Ó Súilleabháin, née Test",left,2025-12-01\n').look_up(
        "9990000018"
    )
    assert found == RegisteredPatient("9990000018", date(1957, 1, 9), "Ó Súilleabháin, née Test", "left", date(2025, 12, 1))


MALFORMED = {
    "empty file": ("", "empty"),
    "header only": (HEADER, "empty"),
    "no header": (ROW, "malformed (header row)"),
    "column missing": (HEADER.replace(",status_date", "") + ROW, "malformed (header row)"),
    "column twice": (HEADER.replace("status_date", "status") + ROW, "malformed (header row)"),
    "short number": (HEADER + ROW + "999000001,1957-01-09,X,registered,\n", "malformed (line 3)"),
    "letters in number": (HEADER + "999000001X,1957-01-09,X,registered,\n", "malformed (line 2)"),
    "other digits": (HEADER + "٩٩٩٠٠٠٠٠١٨,1957-01-09,X,registered,\n", "malformed (line 2)"),
    "no number at all": (HEADER + ",1957-01-09,X,registered,\n", "without_numbers"),
    "no number, and no date": (HEADER + ROW + ",,X,registered,\n", "malformed (line 3)"),
    "british date": (HEADER + "9990000018,09/01/1957,X,registered,\n", "malformed (line 2)"),
    "compact date": (HEADER + "9990000018,19570109,X,registered,\n", "malformed (line 2)"),
    "impossible date": (HEADER + "9990000018,1957-02-30,X,registered,\n", "malformed (line 2)"),
    "no family name": (HEADER + "9990000018,1957-01-09, ,registered,\n", "malformed (line 2)"),
    "unknown status": (HEADER + "9990000018,1957-01-09,X,moved,\n", "malformed (line 2)"),
    "bad status date": (HEADER + "9990000018,1957-01-09,X,left,soon\n", "malformed (line 2)"),
    "cell too few": (HEADER + ROW + "9990000026,1957-01-09,X\n", "malformed (line 3)"),
    "cell too many": (HEADER + "9990000018,1957-01-09,X,registered,,\n", "malformed (line 2)"),
    "torn quote": (HEADER + '9990000018,1957-01-09,"X,registered,\n', "malformed (line 2)"),
    "nul": (HEADER + "9990000018,1957-01-09,X\x00,registered,\n", "malformed (line 2)"),
    "latin-1": ((HEADER + "9990000018,1957-01-09,Ó,registered,\n").encode("latin-1"), "malformed (not UTF-8)"),
    "utf-16": ((HEADER + ROW).encode("utf-16"), "malformed (not UTF-8)"),
    "one number, two people": (HEADER + ROW + ROW.replace("Testcase", "Other"), "contradictory (line 3)"),
}


@pytest.mark.parametrize(("text", "reason"), MALFORMED.values(), ids=MALFORMED)
def test_one_faulty_row_makes_the_whole_register_unusable_and_its_values_are_not_told(tmp_path, text, reason):
    register = a_register(tmp_path, text)
    assert reason_of(register) == reason


UNNUMBERED = ",1957-01-09,Testcase,registered,\n"


def test_patients_without_a_number_make_no_register_unusable_and_are_counted(tmp_path):
    others = " ,1957-01-09,Other,left,2020-01-01\n,1960-02-03,Testcase,registered,\n"
    register = a_register(tmp_path, HEADER + ROW + UNNUMBERED + UNNUMBERED + others)
    assert register.count() == 4
    assert register.look_up("9990000018") is not None
    assert register.look_up("") is None


def test_patients_without_a_number_are_found_by_their_date_of_birth(tmp_path):
    register = a_register(tmp_path, HEADER + ROW + UNNUMBERED + ",1960-02-03,Other,left,2020-01-01\n")
    first = RegisteredPatient("", date(1957, 1, 9), "Testcase", "registered", None)
    second = RegisteredPatient("", date(1960, 2, 3), "Other", "left", date(2020, 1, 1))
    assert register.unnumbered("1957-01-09") == (first,)
    assert register.unnumbered("1957-01-10") == ()
    assert register.unnumbered(None) == (first, second)


def test_an_unusable_register_says_nothing_of_patients_without_a_number(tmp_path):
    with pytest.raises(RegisterUnusable):
        a_register(tmp_path, HEADER).unnumbered("1957-01-09")


def test_a_missing_register_cannot_say(tmp_path):
    assert reason_of(CsvPatientRegister(tmp_path / "none.csv", max_age_days=7, clock=Clock())) == "missing"


def test_a_register_that_is_a_directory_cannot_say(tmp_path):
    register = CsvPatientRegister(tmp_path, max_age_days=36_500, clock=Clock())
    assert reason_of(register) == "unreadable"


@pytest.mark.parametrize(
    ("age", "reason"), [(timedelta(days=7, minutes=1), "too_old"), (timedelta(days=-2), "dated_in_future")]
)
def test_a_register_of_the_wrong_age_cannot_say(tmp_path, age, reason):
    assert reason_of(a_register(tmp_path, age=age)) == reason


def test_a_register_just_young_enough_can_say(tmp_path):
    assert a_register(tmp_path, age=timedelta(days=6, hours=23)).look_up("9990000018")


def test_a_changed_file_is_read_again_and_a_repaired_one_can_be_used(tmp_path):
    register = a_register(tmp_path)
    assert register.count() == 1
    write(tmp_path / "patients.csv", HEADER + "torn")
    assert reason_of(register).startswith("malformed")
    write(tmp_path / "patients.csv", HEADER + ROW.replace("registered,", "left,2025-01-01"), age=timedelta(minutes=5))
    found = register.look_up("9990000018")
    assert found is not None
    assert found.status == "left"


def test_a_file_replaced_by_one_of_the_same_size_and_time_is_read_again(tmp_path):
    register = a_register(tmp_path)
    assert register.look_up("9990000018")
    write(tmp_path / "new.csv", HEADER + ROW.replace("9990000018", "9990000026"))
    (tmp_path / "new.csv").replace(tmp_path / "patients.csv")
    assert register.look_up("9990000018") is None


def test_a_register_that_has_vanished_is_not_answered_from_memory(tmp_path):
    register = a_register(tmp_path)
    assert register.count() == 1
    (tmp_path / "patients.csv").unlink()
    assert reason_of(register) == "missing"


def test_a_file_that_is_another_size_than_what_was_read_of_it_cannot_say(tmp_path):
    # A pipe has size 0 whatever comes out of it, like a file that somebody is writing.
    pipe = tmp_path / "patients.csv"
    os.mkfifo(pipe)
    feeder = threading.Thread(target=pipe.write_bytes, args=((HEADER + ROW).encode(),), daemon=True)
    feeder.start()
    assert reason_of(CsvPatientRegister(pipe, max_age_days=36_500, clock=Clock())) == "changing"
    feeder.join(timeout=10)


def test_twenty_thousand_patients_are_read_in_well_under_a_second_of_the_processor(tmp_path):
    rows = "".join(f"999{n:07},1957-01-09,Testcase{n},registered,\n" for n in range(20_000))
    register = a_register(tmp_path, HEADER + rows)
    started = time.thread_time()
    assert register.count() == 20_000
    assert time.thread_time() - started < 2.0


# ------------------------------------------------------------------------------------------------ what handlers see


def test_an_agreeing_patient_is_known_here(tmp_path):
    match = RegisterPatients(a_register(tmp_path)).match(identity(), TODAY)
    assert (match.code, match.reason) == (BusinessCode.PATIENT_KNOWN, "registered")


def test_a_valid_number_that_is_not_there_is_not_known_here(tmp_path):
    match = RegisterPatients(a_register(tmp_path)).match(identity("9990000026"), TODAY)
    assert match.code == BusinessCode.PATIENT_NOT_KNOWN


def test_a_number_that_is_not_there_waits_for_a_person_if_it_may_be_that_of_a_patient_without_one(tmp_path):
    patients = RegisterPatients(a_register(tmp_path, HEADER + ROW + UNNUMBERED))
    match = patients.match(identity("9990000026"), TODAY)
    assert (match.code, match.reason) == (None, "unnumbered_patient_matches")
    assert patients.match(identity(), TODAY).code == BusinessCode.PATIENT_KNOWN


def test_an_invalid_number_is_never_answered_not_known(tmp_path):
    match = RegisterPatients(a_register(tmp_path)).match(identity("9990000019", valid=False), TODAY)
    assert match.code is None


def test_without_a_register_every_match_is_uncertain():
    match = RegisterPatients(None).match(identity(), TODAY)
    assert (match.code, match.reason) == (None, "no_register")


def test_an_unusable_register_is_uncertain_and_told_once_for_each_change(tmp_path):
    patients = RegisterPatients(a_register(tmp_path, HEADER))
    with capture_logs() as lines:
        matches = [patients.match(identity("9990000026"), TODAY) for _ in range(3)]
        (tmp_path / "patients.csv").unlink()
        patients.match(identity(), TODAY)
        write(tmp_path / "patients.csv", HEADER + ROW)
        assert patients.match(identity(), TODAY).code == BusinessCode.PATIENT_KNOWN
        (tmp_path / "patients.csv").unlink()
        patients.match(identity(), TODAY)
    assert {(match.code, match.reason) for match in matches} == {(None, "register_unusable")}
    assert [line["reason"] for line in lines if line["event"] == "register.unusable"] == ["empty", "missing", "missing"]


# ---------------------------------------------------------------------------------------------- being written


def test_a_register_that_was_written_to_a_moment_ago_cannot_say_until_it_is_at_rest(tmp_path):
    register = a_register(tmp_path, HEADER + ROW)
    register.look_up("9990000018")
    file = tmp_path / "patients.csv"
    write(file, HEADER, age=timedelta(seconds=1))  # cut at a row's end, as a flush in the middle leaves it
    assert reason_of(register) == "changing"
    write(file, HEADER + ROW, age=timedelta(seconds=6))
    assert register.look_up("9990000018") is not None


def test_a_register_that_was_written_just_before_the_start_is_given_a_moment(tmp_path):
    file = tmp_path / "patients.csv"
    write(file, HEADER + ROW, age=timedelta(seconds=0.25))
    paused = []
    register = CsvPatientRegister(file, max_age_days=7, clock=Clock(), pause=paused.append)
    assert register.look_up("9990000018") is not None
    assert paused == [0.75]


def test_a_register_that_grows_during_that_moment_cannot_say(tmp_path):
    file = tmp_path / "patients.csv"
    write(file, HEADER + ROW, age=timedelta(seconds=0))
    grow = lambda _: write(file, HEADER + ROW + ROW.replace("0018", "0026"), age=timedelta(seconds=0))  # noqa: E731
    assert reason_of(CsvPatientRegister(file, max_age_days=7, clock=Clock(), pause=grow)) == "changing"
