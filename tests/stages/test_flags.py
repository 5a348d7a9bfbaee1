"""What each form of a flag asks for at each strictness: true, false, not there, unreadable.

Sources: explore_response_patterns_4 ("false or absent": nothing is sent), explore_response_examples under 10009 (what
cannot be determined counts as asked).
"""

from __future__ import annotations

from itertools import product

import pytest

from mesh_itk3.itk3.envelope import Caps, read_message
from mesh_itk3.itk3.verdict import Strictness
from mesh_itk3.simulator.conformance.edits import key_twice, swap
from mesh_itk3.simulator.messages import a_message
from mesh_itk3.stages.dispatch import dispatch
from mesh_itk3.stages.interpret import interpret
from mesh_itk3.stages.respond import respond
from support.fake_mailbox import FakeMailbox, a_mesh_message
from support.stage_world import WORKFLOW, a_small_daemon

FORMS = {"true": True, "false": False, "absent": None, "unreadable": "junk"}
LEVELS = ("strict", "standard", "lenient")


def answered(tmp_path, body, level):
    """The codes that go out, the record, and whether the handler was called."""
    message = a_mesh_message(body, workflow_id=WORKFLOW)
    daemon = a_small_daemon(tmp_path, FakeMailbox([message]))
    object.__setattr__(daemon.world, "strictness", {WORKFLOW: Strictness(level)})
    daemon.collect()
    interpret(daemon.world)
    dispatch(daemon.world)
    respond(daemon.world, daemon.mailbox)
    codes = list(daemon.codes(message.mesh_message_id).values())
    return sorted(codes), daemon.record(message.mesh_message_id), bool(daemon.handler.calls)


def expected(level, infrastructure, business):
    """Written out from the specification's sentences, and not as the program has it."""
    if level == "lenient":
        wants = {"true", "unreadable"}
        return [code for code, form in (("20013", infrastructure), ("30001", business)) if form in wants], True
    refusal = (
        "10001" if "absent" in (infrastructure, business)
        else "10002" if infrastructure == "unreadable"
        else "10003" if business == "unreadable"
        else None
    )  # fmt: skip
    if refusal:
        return [refusal] if infrastructure != "false" else [], False
    return [code for code, form in (("20013", infrastructure), ("30001", business)) if form == "true"], True


@pytest.mark.parametrize(("level", "infrastructure", "business"), list(product(LEVELS, FORMS, FORMS)))
def test_each_form_of_the_flags_asks_for_what_the_standard_says(tmp_path, level, infrastructure, business):
    body = a_message("ITK003D", infrastructure_requested=FORMS[infrastructure], business_requested=FORMS[business])
    codes, record, is_taken = answered(tmp_path, body, level)
    assert (codes, is_taken) == expected(level, infrastructure, business)
    assert record.sender_not_told is (not is_taken and not codes)


@pytest.mark.parametrize(("level", "codes"), [("strict", ["10001"]), ("standard", ["10001"]), ("lenient", [])])
def test_without_any_handling_specification_lenient_takes_it_for_fire_and_forget(tmp_path, level, codes):
    found, _, is_taken = answered(tmp_path, a_message("ITK003D", handling=False), level)
    assert (found, is_taken) == (codes, level == "lenient")


def test_a_refusal_goes_out_where_the_flag_is_absent_for_nobody_knows_what_the_sender_wants(tmp_path):
    body = a_message("ITK003D", handling=False, receiver_ods="B99999")
    found, record, _ = answered(tmp_path, body, "lenient")
    assert (found, record.sender_not_told) == (["20002"], False)


def test_a_flag_that_says_both_is_unreadable_and_counts_as_asked(tmp_path):
    both = key_twice("BusAckRequested", '<valueBoolean value="false"/>')(a_message("ITK003D"))
    assert answered(tmp_path, both, "lenient")[0] == ["20013", "30001"]


def test_a_flag_that_may_stand_in_a_second_specification_is_not_absent(tmp_path):
    url = b'<extension url="https://fhir.nhs.uk/STU3/StructureDefinition/Extension-ITK-MessageHandling-2">'
    inner = b'<extension url="LocalExtension"><valueString value="None"/></extension></extension>'
    twice = a_message("ITK003D").replace(url, url + inner + url, 1)
    assert read_message(twice, Caps()).header.handling.repeated
    assert answered(tmp_path, twice, "lenient")[0] == ["20013", "30001"]


@pytest.mark.parametrize("level", LEVELS)
def test_a_flag_under_another_name_is_absent(tmp_path, level):
    body = swap('url="BusAckRequested"', 'url="busAckRequested"')(a_message("ITK003D"))
    assert answered(tmp_path, body, level)[0] == (["20013"] if level == "lenient" else ["10001"])
