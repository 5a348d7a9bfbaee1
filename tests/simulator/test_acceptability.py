"""What the hospital sends by default is beyond reproach: the strictest reading accepts it without a warning."""

import pytest

from mesh_itk3.itk3.envelope import Caps, read_message
from mesh_itk3.itk3.response_codes import InfrastructureCode
from mesh_itk3.itk3.verdict import Facts, Strictness, judge
from mesh_itk3.simulator.choices import PRACTICE_ODS
from mesh_itk3.simulator.messages import KINDS, a_20_kb_letter, a_message


def verdict_on(message, kind):
    facts = Facts(
        strictness=Strictness.STRICT,
        our_ods_codes=frozenset({PRACTICE_ODS}),
        event_codes=frozenset({kind}),
        needs_document=True,
    )
    return judge(read_message(message, Caps()), facts)


@pytest.mark.parametrize("form", ["xml", "json"])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_is_accepted_by_the_strictest_reading(kind, form):
    verdict = verdict_on(a_message(kind, form=form), kind)
    assert (verdict.code, verdict.warnings) == (InfrastructureCode.SUCCESS, ())


def test_long_letters_are_accepted_too():
    for letter in (a_20_kb_letter("1"), a_message("ITK003D", size=1_000_000, bulk="resources")):
        assert verdict_on(letter, "ITK003D").code == InfrastructureCode.SUCCESS
