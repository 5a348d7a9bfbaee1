"""Design of the match: number, date of birth and family name must agree, or a person decides."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from itk3.a_message import a_message, composition, document, patient
from mesh_itk3.itk3.envelope import Caps, read_message
from mesh_itk3.patient_match import REASONS, PatientIdentity, fold_family_name, identity_of, is_valid_nhs_number, match_patient
from mesh_itk3.ports import RegisteredPatient

NUMBER = "9990548609"
TODAY = date(2024, 8, 31)


def a_patient(**changes) -> PatientIdentity:
    parts = {
        "nhs_number": NUMBER,
        "nhs_number_valid": True,
        "verification_status": "01",
        "family_names": ("Smith",),
        "given_names": ("Ann",),
        "date_of_birth": "1970-02-03",
    }
    return PatientIdentity(**{**parts, **changes})


def registered(**changes) -> RegisteredPatient:
    parts = {
        "nhs_number": NUMBER,
        "date_of_birth": date(1970, 2, 3),
        "family_name": "Smith",
        "status": "registered",
        "status_date": None,
    }
    return RegisteredPatient(**{**parts, **changes})


def decide(patient_changes=None, register=None, today=TODAY):
    found = match_patient(a_patient(**(patient_changes or {})), register, today)
    return (found.code.value if found.code else None), found.reason


STATUSES = {
    "30001": ({}, "registered"),
    "30003": ({"status": "left"}, "left"),
    "30003 (left in the future)": ({"status": "left", "status_date": date(2025, 1, 1)}, "left"),
    "30004": ({"status": "deceased", "status_date": date(2024, 8, 1)}, "recently_deceased"),
    "30004 (today)": ({"status": "deceased", "status_date": TODAY}, "recently_deceased"),
    "30004 (one day short)": ({"status": "deceased", "status_date": date(2024, 3, 1)}, "recently_deceased"),
    "30003 (six months to the day)": ({"status": "deceased", "status_date": date(2024, 2, 29)}, "deceased"),
    "30003 (years)": ({"status": "deceased", "status_date": date(2001, 1, 1)}, "deceased"),
    "None (no date of death)": ({"status": "deceased"}, "date_of_death_absent"),
    "None (dies tomorrow)": ({"status": "deceased", "status_date": date(2024, 9, 1)}, "date_of_death_in_future"),
}


@pytest.mark.parametrize("row", STATUSES)
def test_a_patient_that_agrees_gets_the_code_of_the_registers_status(row):
    changes, reason = STATUSES[row]
    code = row.partition(" ")[0]
    assert decide(register=registered(**changes)) == (None if code == "None" else code, reason)


SIX_MONTHS = {
    # died: the first day that is no longer recent
    date(2024, 1, 15): date(2024, 7, 15),
    date(2023, 8, 31): date(2024, 2, 29),
    date(2022, 8, 30): date(2023, 2, 28),
    date(2023, 12, 31): date(2024, 6, 30),
    date(2024, 10, 1): date(2025, 4, 1),
}


@pytest.mark.parametrize("died", SIX_MONTHS, ids=str)
def test_six_months_are_calendar_months(died):
    end = SIX_MONTHS[died]
    register = registered(status="deceased", status_date=died)
    assert decide(register=register, today=end)[0] == "30003"
    assert decide(register=register, today=date.fromordinal(end.toordinal() - 1))[0] == "30004"


UNCERTAIN = {
    "nhs_number_absent": ({"nhs_number": None, "nhs_number_valid": False}, registered()),
    "nhs_number_invalid": ({"nhs_number": "9990548608", "nhs_number_valid": False}, registered()),
    "nhs_number_invalid (not found)": ({"nhs_number_valid": False}, None),
    "nhs_number_absent (not found)": ({"nhs_number": None, "nhs_number_valid": False}, None),
    "nhs_number_differs": ({}, registered(nhs_number="9990548617")),
    "date_of_birth_absent": ({"date_of_birth": None}, registered()),
    "date_of_birth_absent (year)": ({"date_of_birth": "1970"}, registered()),
    "date_of_birth_absent (month)": ({"date_of_birth": "1970-02"}, registered()),
    "date_of_birth_absent (time)": ({"date_of_birth": "1970-02-03T00:00:00Z"}, registered()),
    "date_of_birth_differs": ({"date_of_birth": "1970-03-02"}, registered()),
    "family_name_absent": ({"family_names": ()}, registered()),
    "family_name_absent (marks only)": ({"family_names": ("-'",)}, registered(family_name="--")),
    "family_name_differs": ({"family_names": ("Jones",)}, registered()),
    "family_name_differs (half of a double-barrelled one)": (
        {"family_names": ("Smith",)},
        registered(family_name="Smith-Jones"),
    ),
    "family_name_differs (half in the register)": ({"family_names": ("Smith-Jones",)}, registered()),
    "family_name_differs (left)": ({"family_names": ("Jones",)}, registered(status="left")),
}


@pytest.mark.parametrize("row", UNCERTAIN)
def test_whatever_disagrees_or_cannot_be_compared_is_left_to_a_person(row):
    changes, register = UNCERTAIN[row]
    assert decide(changes, register) == (None, row.partition(" ")[0])


def test_a_valid_number_that_the_register_does_not_hold_is_not_known_here():
    assert decide(register=None) == ("30002", "not_found")


def born_here(**changes) -> RegisteredPatient:
    return registered(nhs_number="", **changes)


MAY_BE = {
    "all agrees": ({}, [born_here()]),
    "one of several": ({}, [born_here(family_name="Jones"), born_here()]),
    "written otherwise": ({"family_names": ("SMITH",)}, [born_here()]),
    "left long ago": ({}, [born_here(status="left")]),
    "no date of birth": ({"date_of_birth": None}, [born_here()]),
    "only a year": ({"date_of_birth": "1970"}, [born_here()]),
    "no family name": ({"family_names": ()}, [born_here()]),
    "nothing but a number": ({"family_names": (), "date_of_birth": None}, [born_here(family_name="Jones")]),
}


@pytest.mark.parametrize("row", MAY_BE)
def test_a_number_that_is_not_there_waits_for_a_person_if_a_patient_without_one_may_be_the_same(row):
    changes, unnumbered = MAY_BE[row]
    found = match_patient(a_patient(**changes), None, TODAY, unnumbered)
    assert (found.code, found.reason) == (None, "unnumbered_patient_matches")


SOMEBODY_ELSE = {
    "none": ({}, []),
    "another name": ({}, [born_here(family_name="Jones")]),
    "another day": ({}, [born_here(date_of_birth=date(1970, 2, 4))]),
    "another name, no date of birth": ({"date_of_birth": None}, [born_here(family_name="Jones")]),
    "another day, no family name": ({"family_names": ()}, [born_here(date_of_birth=date(1970, 2, 4))]),
}


@pytest.mark.parametrize("row", SOMEBODY_ELSE)
def test_a_number_that_is_not_there_is_not_known_here_if_every_patient_without_one_is_somebody_else(row):
    changes, unnumbered = SOMEBODY_ELSE[row]
    found = match_patient(a_patient(**changes), None, TODAY, unnumbered)
    assert (found.code.value, found.reason) == ("30002", "not_found")


def test_patients_without_a_number_do_not_matter_where_the_number_is_found_or_none_is_given():
    assert match_patient(a_patient(), registered(), TODAY, [born_here()]).reason == "registered"
    assert match_patient(a_patient(nhs_number=None), None, TODAY, [born_here()]).reason == "nhs_number_absent"


ALIKE = [
    ("O'Brien", "OBRIEN"),
    ("O\u2019Brien", "o brien"),
    ("Smith-Jones", "SMITH JONES"),
    ("Müller", "muller"),
    ("García", "Garcia"),
    ("Mu\u0308ller", "Müller"),
    ("Strauß", "STRAUSS"),
    ("Łukasz", "lukasz"),
    ("Bjørn", "Bjorn"),
    ("van der Berg", "Vanderberg"),
    (" Smith ", "Smith"),
    ("St. John", "St John"),
    ("李", "李"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_case_accents_hyphens_apostrophes_and_spaces_do_not_count(one, other):
    assert decide({"family_names": (one,)}, registered(family_name=other))[0] == "30001"


def test_what_is_compared_of_a_name_is_its_letters():
    assert fold_family_name("O'Brien-van der Ü") == "obrienvanderu"


def test_any_of_the_names_in_use_may_agree():
    assert decide({"family_names": ("Jones", "Smith")}, registered())[0] == "30001"


@settings(max_examples=500)
@given(st.text(max_size=30))
@example("\u1d400\U0001d400\u03d3\ufb01\u0345")
def test_folding_a_folded_name_changes_nothing(name):
    assert fold_family_name(fold_family_name(name)) == fold_family_name(name)


@pytest.mark.parametrize("status", ["02", "03", "07", None])
def test_a_number_that_is_not_verified_is_a_warning(status):
    found = match_patient(a_patient(verification_status=status), registered(), TODAY)
    assert (found.code.value, found.warnings) == ("30001", ("nhs_number_not_verified",))
    assert match_patient(a_patient(), registered(), TODAY).warnings == ()


NUMBERS = {
    NUMBER: True,
    "9990548608": False,
    "0000000000": False,
    "999054860": False,
    "99905486090": False,
    "999054860X": False,
    "999 054 8609": False,
    "٩٩٩٠٥٤٨٦٠٩": False,
    "": False,
    None: False,
}


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_is_valid_with_ten_digits_and_its_check_digit(number):
    assert is_valid_nhs_number(number) is NUMBERS[number]


def test_every_reason_has_its_sentence():
    used = {reason.partition(" ")[0] for reason in UNCERTAIN} | {reason for _, reason in STATUSES.values()} | {"not_found"}
    assert used <= set(REASONS)


# --------------------------------------------------------------------------------------------- reading the Patient

STATUS_URL = "https://fhir.hl7.org.uk/STU3/StructureDefinition/Extension-CareConnect-NHSNumberVerificationStatus-1"
GP_CONNECT_URL = "https://fhir.nhs.uk/STU3/StructureDefinition/Extension-CareConnect-GPC-NHSNumberVerificationStatus-1"


def identifier(value: str, status: str = "01", url: str = STATUS_URL, system: str = "https://fhir.nhs.uk/Id/nhs-number") -> str:
    coding = f'<valueCodeableConcept><coding><code value="{status}"/></coding></valueCodeableConcept>'
    extension = f'<extension url="{url}">{coding}</extension>'
    return f'<identifier>{extension}<system value="{system}"/><value value="{value}"/></identifier>'


def read(content: str) -> PatientIdentity:
    raw = a_message(documents=document(composition() + patient(content=content)))
    return identity_of(read_message(raw, Caps()).envelope.document.patient)


def test_white_space_is_removed_from_the_number():
    for written in ("999 054 8609", " 9990548609 ", "999\u00a0054\u20098609"):
        found = read(identifier(written))
        assert (found.nhs_number, found.nhs_number_valid) == (NUMBER, True)


@pytest.mark.parametrize("url", [STATUS_URL, GP_CONNECT_URL])
def test_the_verification_status_is_read_from_either_extension(url):
    assert read(identifier(NUMBER, "02", url)).verification_status == "02"


def test_a_number_without_a_verification_status_is_read_without_one():
    plain = f'<identifier><system value="https://fhir.nhs.uk/Id/nhs-number"/><value value="{NUMBER}"/></identifier>'
    found = read(plain)
    assert (found.nhs_number, found.nhs_number_valid, found.verification_status) == (NUMBER, True, None)
    assert read(plain + identifier(NUMBER, "02")).verification_status == "02"


def test_an_identifier_that_gives_no_number_is_none():
    for empty in (identifier(""), identifier("  "), identifier("").replace('<value value=""/>', "")):
        assert (read(empty).nhs_number, read(empty).nhs_number_valid) == (None, False)
        assert read(empty + identifier(NUMBER)).nhs_number == NUMBER
    assert match_patient(a_patient(), registered(nhs_number=None), TODAY).reason == "nhs_number_differs"


def test_only_the_number_of_the_nhs_is_taken():
    found = read(identifier("123", system="https://fhir.nhs.uk/Id/local-patient-identifier") + identifier(NUMBER))
    assert found.nhs_number == NUMBER
    assert read(identifier("123", system="urn:local")).nhs_number is None


def test_two_different_numbers_are_no_valid_one():
    assert read(identifier(NUMBER) + identifier(NUMBER)).nhs_number_valid
    assert not read(identifier(NUMBER) + identifier("9990548617")).nhs_number_valid


def test_names_in_use_are_taken_and_old_ones_are_not():
    def name(use: str, family: str) -> str:
        stated = f'<use value="{use}"/>' if use else ""
        return f'<name>{stated}<family value="{family}"/><given value="G{family}"/></name>'

    found = read(name("old", "A") + name("official", "B") + name("usual", "C") + name("", "D") + name("maiden", "E"))
    assert found.family_names == ("B", "C", "D")
    assert found.given_names == ("GB",)


def test_an_empty_patient_reads_as_nothing():
    assert read("") == PatientIdentity(None, False, None, (), (), None)


def test_the_date_of_birth_is_read_as_it_was_written():
    assert read(identifier(NUMBER) + '<birthDate value="1957-01-09"/>').date_of_birth == "1957-01-09"
    assert read(identifier(NUMBER)).date_of_birth is None


def test_a_name_of_the_number_system_with_a_slash_or_capitals_is_the_same_system():
    for system in ("https://fhir.nhs.uk/Id/nhs-number/", "HTTPS://FHIR.NHS.UK/Id/nhs-number"):
        assert read(identifier(NUMBER, system=system)).nhs_number == NUMBER
