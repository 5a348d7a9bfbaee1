"""Which responses a message is owed, by its flags alone. `tests/stages/test_flags.py` has the same on the whole path."""

from __future__ import annotations

import pytest

from mesh_itk3.itk3.handling_specification import HandlingSpecification, Key
from mesh_itk3.itk3.owed import (
    business_flag,
    infrastructure_flag,
    is_business_response_owed,
    is_infrastructure_response_owed,
)
from mesh_itk3.itk3.response_codes import BusinessCode, InfrastructureCode, level_of
from mesh_itk3.itk3.verdict import refuse

POSITIVE = refuse(InfrastructureCode.SUCCESS, "Bundle", None, "accepted")
NEGATIVE = refuse(InfrastructureCode.UNREADABLE_MESSAGE, "Bundle", None, "cut_off")
TRUE, FALSE = Key(present=True, value="true"), Key(present=True, value="false")
UNREADABLE, ABSENT = Key(present=True, problem="not_a_boolean"), Key()

FORMS = [
    pytest.param(TRUE, POSITIVE, False, True, id="true"),
    pytest.param(FALSE, POSITIVE, False, False, id="false"),
    pytest.param(UNREADABLE, POSITIVE, False, None, id="unreadable"),
    pytest.param(ABSENT, POSITIVE, False, False, id="absent and accepted: nobody asked"),
    pytest.param(ABSENT, NEGATIVE, False, None, id="absent and refused: nobody can say what was wanted"),
    pytest.param(ABSENT, POSITIVE, True, None, id="absent in the first of two extensions"),
    pytest.param(TRUE, NEGATIVE, False, True, id="true and refused"),
    pytest.param(FALSE, NEGATIVE, False, False, id="false and refused"),
]


@pytest.mark.parametrize(("key", "verdict", "repeated", "counts_as"), FORMS)
def test_a_flag_counts_as_its_form_and_the_verdict_say(key, verdict, repeated, counts_as):
    of_infrastructure = HandlingSpecification(present=True, repeated=repeated, inf_ack_requested=key, bus_ack_requested=FALSE)
    of_business = HandlingSpecification(present=True, repeated=repeated, bus_ack_requested=key, inf_ack_requested=FALSE)
    assert infrastructure_flag(verdict, of_infrastructure) is counts_as
    assert business_flag(verdict, of_business) is counts_as


@pytest.mark.parametrize("flag", [True, None])
def test_what_is_asked_for_or_cannot_be_determined_is_owed(flag):
    assert is_business_response_owed(flag)
    assert is_infrastructure_response_owed(POSITIVE, flag)
    assert is_infrastructure_response_owed(NEGATIVE, flag)


def test_what_is_readably_not_asked_for_is_not_owed_not_even_a_negative():
    assert not is_business_response_owed(False)
    assert not is_infrastructure_response_owed(POSITIVE, False)
    assert not is_infrastructure_response_owed(NEGATIVE, False)


def test_each_code_belongs_to_the_level_of_its_kind():
    assert {level_of(code) for code in InfrastructureCode} == {"infrastructure"}
    assert {level_of(code) for code in BusinessCode} == {"business"}
