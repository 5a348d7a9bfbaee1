"""Stage 2: received -> accepted or rejected, with the infrastructure response that is owed."""

from __future__ import annotations

from uuid import UUID

import pytest

from mesh_itk3.handler import InfrastructureCode, Refuse
from mesh_itk3.itk3.envelope import Caps, read_message
from mesh_itk3.itk3.response_reading import read_response
from mesh_itk3.itk3.verdict import Strictness
from mesh_itk3.lifecycle import State
from mesh_itk3.ports import Kind
from mesh_itk3.simulator.messages import a_message, not_well_formed
from mesh_itk3.stages.interpret import interpret
from support.fake_mailbox import FakeMailbox, a_mesh_message
from support.stage_world import HOSPITAL, a_registry, a_small_daemon


def received(tmp_path, *bodies, **changes):
    """A daemon that has collected these bodies, and their MESH ids."""
    messages = [a_mesh_message(body, **changes) for body in bodies]
    daemon = a_small_daemon(tmp_path, FakeMailbox(messages))
    daemon.collect()
    return daemon, *(message.mesh_message_id for message in messages)


def judged(tmp_path, body, **changes):
    daemon, mesh_message_id = received(tmp_path, body, **changes)
    interpret(daemon.world)
    return daemon, mesh_message_id


def test_a_good_message_is_accepted_and_20013_is_owed(tmp_path):
    daemon, message = judged(tmp_path, a_message("ITK003D"))
    record = daemon.record(message)
    assert (record.state, record.handler, record.response_code) == (State.ACCEPTED, "scripted", "20013")
    assert daemon.codes(message) == {"infrastructure": "20013"}


def test_the_response_goes_to_mex_from_on_the_response_workflow_with_a_local_id_of_its_own(tmp_path):
    daemon, message = judged(tmp_path, a_message("ITK003D", source_endpoint="X26ABC3"))
    response = daemon.responses(message)["infrastructure"]
    assert (response.to_mailbox_id, response.workflow_id) == (HOSPITAL, "TOC_FHIR_IP_DISCH_ACK")
    assert UUID(response.local_id) != UUID(response.message_header_id)


def test_the_owed_response_says_what_it_answers_and_echoes_the_sender_reference(tmp_path):
    body = a_message("ITK003D", sender_reference="  Odd reference / 7 ", header_id="0F1E2D3C-0000-4000-8000-000000000001")
    daemon, _ = judged(tmp_path, body)
    owed = next(r for r in daemon.ledger.claim_responses("X26ABC2", daemon.clock.now(), 10))
    reading = read_response(read_message(owed.body, Caps()))
    assert reading.answers == "0F1E2D3C-0000-4000-8000-000000000001"
    assert reading.sender_reference == "  Odd reference / 7 "
    assert (reading.bus_ack, reading.inf_ack) == (False, False)


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("10001", {"handling": False}),
        ("10001", {"definition": None}),
        ("10002", {"infrastructure_requested": "junk"}),
        ("10003", {"business_requested": "junk"}),
        ("10004", {"definition": "https://fhir.nhs.uk/STU3/MessageDefinition/Unheard-Of-1"}),
        ("10005", {"definition": "https://fhir.nhs.uk/STU3/MessageDefinition/ITK-eDischarge-MessageDefinition-9"}),
        ("10007", {"sender_reference": ""}),
        ("10010", {"recipient_type": "XX"}),
        ("20002", {"receiver_ods": "B99999"}),
        ("20006", {"event": None}),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_a_message_that_breaks_a_rule_is_rejected_with_its_code_and_nothing_more_is_owed(tmp_path, code, changes):
    daemon, message = judged(tmp_path, a_message("ITK003D", **changes))
    record = daemon.record(message)
    assert (record.state, record.response_code, record.reason) == (State.REJECTED, code, "verdict")
    assert daemon.codes(message) == {"infrastructure": code}
    assert daemon.handler.calls == []


def test_a_message_that_is_not_well_formed_is_10009_and_its_header_is_used_as_far_as_it_can_be_read(tmp_path):
    body = not_well_formed(a_message("ITK003D", header_id="11111111-0000-4000-8000-000000000001"))
    daemon, message = judged(tmp_path, body)
    owed = daemon.ledger.claim_responses("X26ABC2", daemon.clock.now(), 10)
    reading = read_response(read_message(owed[0].body, Caps()))
    assert (daemon.codes(message), reading.answers) == (
        {"infrastructure": "10009"}, "11111111-0000-4000-8000-000000000001",
    )  # fmt: skip


def test_bytes_that_are_no_message_are_answered_to_the_mailbox_they_came_from(tmp_path):
    daemon, message = judged(tmp_path, b"\x00\x01 not a letter")
    owed = daemon.ledger.claim_responses("X26ABC2", daemon.clock.now(), 10)
    assert (owed[0].response_code, owed[0].to_mailbox_id) == ("10009", HOSPITAL)
    assert b'<response><identifier value="UNREADABLE-IN-ORIGINAL-MESSAGE"/>' in owed[0].body
    assert daemon.record(message).state is State.REJECTED


def test_a_message_over_the_limit_is_20015_and_kept(tmp_path):
    body = a_message("ITK003D", size=60_000)
    daemon, message = received(tmp_path, body)
    object.__setattr__(daemon.world, "caps", Caps(max_bytes=50_000))
    interpret(daemon.world)
    assert daemon.codes(message) == {"infrastructure": "20015"}
    assert daemon.world.payloads.read(daemon.record(message).payload.name) == body


@pytest.mark.parametrize(("flag", "owed"), [(True, True), (False, False), (None, True), ("junk", True)])
def test_unreadable_flags_count_as_requested(tmp_path, flag, owed):
    daemon, message = judged(tmp_path, a_message("ITK003D", infrastructure_requested=flag))
    assert bool(daemon.responses(message)) is owed


def test_a_refusal_that_was_not_asked_for_is_recorded_and_not_sent(tmp_path):
    daemon, message = judged(tmp_path, a_message("ITK003D", infrastructure_requested=False, definition=None))
    assert daemon.record(message).state is State.REJECTED
    assert daemon.responses(message) == {}


def test_a_message_without_a_sender_mailbox_is_judged_but_cannot_be_answered(tmp_path):
    daemon, message = judged(tmp_path, a_message("ITK003D"), sender_mailbox_id=None)
    assert (daemon.record(message).state, daemon.record(message).reason) == (State.ACCEPTED, "no_sender")
    assert daemon.responses(message) == {}
    assert len(daemon.said("message.unanswerable")) == 1


# ---------------------------------------------------------------------------------------------- duplicates


def test_the_same_message_again_is_20007(tmp_path):
    daemon, first, second = received(tmp_path, a_message("ITK003D"), a_message("ITK003D"))
    interpret(daemon.world)
    assert daemon.record(first).state is State.ACCEPTED
    assert (daemon.record(second).state, daemon.codes(second)) == (State.REJECTED, {"infrastructure": "20007"})
    assert daemon.record(second).duplicate_of == first


def test_the_same_message_in_a_later_batch_is_20007_too(tmp_path):
    daemon, first, second = received(tmp_path, a_message("ITK003D"), a_message("ITK003D"))
    interpret(daemon.world, limit=1)
    interpret(daemon.world, limit=1)
    assert {daemon.record(m).response_code for m in (first, second)} == {"20013", "20007"}


@pytest.mark.parametrize("limit", [1, 2], ids=["in a later batch", "in one batch"])
@pytest.mark.parametrize("first_form", ["urn:uuid:", " URN:UUID:", ""], ids=["urn", "upper case", "plain"])
def test_the_same_id_with_and_without_urn_uuid_is_the_same_message(tmp_path, first_form, limit):
    header_id = "2222222A-0000-4000-8000-000000000002"
    second_form = "" if first_form else "urn:uuid:"
    bodies = [a_message("ITK003D", seed=form or "plain", header_id=form + header_id) for form in (first_form, second_form)]
    daemon, first, second = received(tmp_path, *bodies)
    interpret(daemon.world, limit=limit)
    interpret(daemon.world, limit=limit)
    assert daemon.record(first).message_header_id == header_id
    assert daemon.codes(second) == {"infrastructure": "20007"}
    assert daemon.record(second).duplicate_of == first


def test_a_duplicate_whose_bytes_differ_is_marked_for_a_person(tmp_path):
    header_id = "22222222-0000-4000-8000-000000000001"
    bodies = [a_message("ITK003D", seed=seed, header_id=header_id) for seed in ("one", "two")]
    daemon, _, second = received(tmp_path, *bodies)
    interpret(daemon.world)
    assert daemon.record(second).differs_from_first
    assert len(daemon.said("duplicate.differs")) == 1


def test_the_same_document_in_a_new_message_is_20008(tmp_path):
    one = a_message("ITK003D", document_identifier="33333333-0000-4000-8000-000000000001")
    other = a_message("ITK003D", seed="other", document_identifier="33333333-0000-4000-8000-000000000001")
    daemon, _, second = received(tmp_path, one, other)
    interpret(daemon.world)
    assert daemon.codes(second) == {"infrastructure": "20008"}


def test_a_resend_of_a_rejected_message_is_judged_afresh(tmp_path):
    header_id = "44444444-0000-4000-8000-000000000001"
    bad = a_message("ITK003D", header_id=header_id, definition=None)
    good = a_message("ITK003D", header_id=header_id)
    daemon, _, second = received(tmp_path, bad, good)
    interpret(daemon.world)
    assert daemon.record(second).state is State.ACCEPTED


def test_the_same_id_from_another_sender_is_no_duplicate(tmp_path):
    body = a_message("ITK003D")
    messages = [a_mesh_message(body), a_mesh_message(body, sender_mailbox_id="X26ABC3")]
    daemon = a_small_daemon(tmp_path, FakeMailbox(messages))
    daemon.collect()
    interpret(daemon.world)
    assert {daemon.record(m.mesh_message_id).state for m in messages} == {State.ACCEPTED}


def test_a_replacement_of_a_document_is_no_duplicate(tmp_path):
    first = a_message("ITK003D", composition_identifier="c1", document_identifier="55555555-0000-4000-8000-000000000001")
    second = a_message("ITK003D", seed="two", replaces="c1", document_identifier="55555555-0000-4000-8000-000000000001")
    daemon, _, replacement = received(tmp_path, first, second)
    interpret(daemon.world)
    assert daemon.record(replacement).state is State.ACCEPTED
    assert daemon.record(replacement).is_replacement


# ---------------------------------------------------------------------------------------------- the handler's say


def test_a_handler_that_marks_both_documents_void_can_refuse_a_replacement_with_20014(tmp_path):
    daemon, message = received(tmp_path, a_message("ITK003D", replaces="55555555-0000-4000-8000-000000000001"))
    daemon.handler.examined = Refuse(InfrastructureCode.REPLACEMENT_NOT_PROCESSED, "Bundle.entry[2].resource")
    interpret(daemon.world)
    assert daemon.codes(message) == {"infrastructure": "20014"}
    assert daemon.record(message).reason == "handler_refused"


def test_a_handler_that_refuses_gives_its_infrastructure_code(tmp_path):
    daemon, message = received(tmp_path, a_message("ITK003D"))
    daemon.handler.examined = Refuse(InfrastructureCode.UNSUPPORTED_ATTACHMENT, "Bundle.entry[2]")
    interpret(daemon.world)
    assert daemon.codes(message) == {"infrastructure": "20005"}
    assert daemon.record(message).reason == "handler_refused"
    assert daemon.handler.calls == []


def test_an_examination_that_raises_is_tried_again_and_parked_the_third_time(tmp_path):
    daemon, message = received(tmp_path, a_message("ITK003D"))
    daemon.handler.examined = RuntimeError("EDITH ARTHUR 999")
    states = []
    for _ in range(3):
        interpret(daemon.world)
        states.append(daemon.record(message).state)
        daemon.clock.advance(hours=1)
    assert states == [State.RECEIVED, State.RECEIVED, State.PARKED]
    assert daemon.responses(message) == {}
    assert "EDITH" not in repr(daemon.events)


def test_one_message_that_breaks_the_stage_does_not_hold_up_its_batch(tmp_path):
    daemon, first, second = received(tmp_path, a_message("ITK003D"), a_message("ITK003D", seed="two"))
    daemon.world.payloads.discard(daemon.record(first).payload.name)
    interpret(daemon.world)
    assert daemon.record(first).reason == "payload_missing"
    assert daemon.record(second).state is State.ACCEPTED


def test_a_message_whose_file_is_missing_is_parked_after_three_attempts(tmp_path):
    daemon, message = received(tmp_path, a_message("ITK003D"))
    daemon.world.payloads.discard(daemon.record(message).payload.name)
    for attempts, state in ((1, State.RECEIVED), (2, State.RECEIVED), (3, State.PARKED)):
        interpret(daemon.world)
        record = daemon.record(message)
        assert (record.attempts, record.state, record.reason) == (attempts, state, "payload_missing")
        daemon.clock.advance(hours=1)


def test_a_payload_directory_that_is_away_for_a_day_parks_nothing(tmp_path):
    daemon, message = received(tmp_path, a_message("ITK003D"))
    (tmp_path / "payloads").rename(tmp_path / "unmounted")
    (tmp_path / "payloads").mkdir()
    for _ in range(24):
        interpret(daemon.world)
        daemon.clock.advance(hours=1)
    record = daemon.record(message)
    assert (record.state, record.attempts, record.reason) == (State.RECEIVED, 0, "storage_failed")
    assert daemon.said("storage.failed")
    (tmp_path / "payloads").rmdir()
    (tmp_path / "unmounted").rename(tmp_path / "payloads")
    interpret(daemon.world)
    assert daemon.record(message).state is State.ACCEPTED


def test_a_message_whose_handler_was_switched_off_waits_uncounted(tmp_path):
    daemon, message = received(tmp_path, a_message("ITK003D"))
    object.__setattr__(daemon.world, "routes", a_registry(disabled=[type(daemon.handler)]))
    interpret(daemon.world)
    record = daemon.record(message)
    assert (record.state, record.attempts, record.reason) == (State.RECEIVED, 0, "handler_gone")
    (said,) = daemon.said("handler.unavailable")
    assert (said["state"], said["outcome"], said["stage"]) == ("received", "waits", "interpret")


def test_a_message_whose_handler_was_uninstalled_waits_and_its_sender_is_not_blamed(tmp_path):
    daemon, message = received(tmp_path, a_message("ITK003D"))
    object.__setattr__(daemon.world, "routes", a_registry())
    interpret(daemon.world)
    assert (daemon.record(message).state, daemon.record(message).reason) == (State.RECEIVED, "handler_gone")
    assert daemon.responses(message) == {}


def test_what_a_sender_writes_instead_of_an_id_does_not_reach_the_ledger(tmp_path):
    body = a_message("ITK003D", header_id="Edith, born 1946", event="for Edith", document_identifier="Edith Fothergill 1946")
    daemon, message = judged(tmp_path, body)
    assert "Edith" not in repr(daemon.record(message))
    daemon.ledger.close()
    assert b"Edith" not in b"".join(path.read_bytes() for path in tmp_path.glob("ledger.db*"))


# ---------------------------------------------------------------------------------------------- never a loop


def test_a_response_on_a_payload_workflow_is_handed_to_correlate_and_never_refused(tmp_path):
    body = a_message("ITK003D", event="ITK008M", infrastructure_requested="junk", definition=None)
    daemon, message = judged(tmp_path, body)
    record = daemon.record(message)
    assert (record.state, record.kind) == (State.RECEIVED, Kind.RESPONSE)
    assert daemon.responses(message) == {}


# ---------------------------------------------------------------------------------------------- strictness, log


@pytest.mark.parametrize(("strictness", "code"), [("strict", "10001"), ("standard", "20013"), ("lenient", "20013")])
def test_strictness_is_the_workflows(tmp_path, strictness, code):
    daemon, message = received(tmp_path, a_message("ITK003D", sender_reference=None))
    object.__setattr__(daemon.world, "strictness", {"TOC_FHIR_IP_DISCH": Strictness(strictness)})
    interpret(daemon.world)
    assert daemon.record(message).response_code == code


def test_a_waived_deviation_is_recorded_with_the_message(tmp_path):
    daemon, message = judged(tmp_path, a_message("ITK003D", sender_reference=None))
    assert "sender_reference_missing" in daemon.record(message).warnings


def test_one_canonical_event_says_what_became_of_the_message(tmp_path):
    daemon, message = judged(tmp_path, a_message("ITK003D"))
    (event,) = daemon.said("interpret.done")
    names = "mailbox_id workflow_id mesh_message_id message_header_id stage outcome response_code attempt duration_ms"
    assert set(names.split()) <= set(event)
    assert (event["outcome"], event["mesh_message_id"]) == ("accepted", message)


def test_an_id_that_is_no_fhir_id_is_not_repeated_in_the_log(tmp_path):
    daemon, _ = judged(tmp_path, a_message("ITK003D", header_id="EDITH ARTHUR, born 1950"))
    assert "EDITH" not in repr(daemon.events)


def test_a_stage_that_is_told_to_stop_gives_back_what_it_has_not_begun(tmp_path):
    daemon, first, second = received(tmp_path, a_message("ITK003D"), a_message("ITK003D", seed="two"))
    asked = []
    object.__setattr__(daemon.world, "is_stopping", lambda: bool(asked) or asked.append(1))
    interpret(daemon.world)
    assert [daemon.record(m).state for m in (first, second)] == [State.ACCEPTED, State.RECEIVED]
    object.__setattr__(daemon.world, "is_stopping", lambda: False)
    interpret(daemon.world)
    assert daemon.record(second).state is State.ACCEPTED
