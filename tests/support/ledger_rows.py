"""Builders for what a ledger takes: small, and only as much as a test says."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from mesh_itk3.lifecycle import ResponseState, State
from mesh_itk3.ports import Entry, Kind, MessageKey, NewResponse, Received, ResponseStep, Step, StoredPayload

NOW = datetime(2024, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
HERE = "X26ABC1"
THERE = "X26ABC2"
HOSPITAL = "X26HC001"
MESSAGE = (Kind.MESSAGE,)


def later(**by: float) -> datetime:
    return NOW + timedelta(**by)


def key(number: int = 1, mailbox_id: str = HERE) -> MessageKey:
    return MessageKey(mailbox_id, f"2024050112000000{number:04}_A1B2C3")


def an_entry(outcome: str = "received", at: datetime = NOW) -> Entry:
    return Entry(at=at, stage="collect", outcome=outcome)


def a_payload(number: int = 1, mailbox_id: str = HERE) -> StoredPayload:
    return StoredPayload(f"{mailbox_id}/2024-05/{number:032x}.bin", 20_000 + number, f"{number:064x}")


def a_message(number: int = 1, mailbox_id: str = HERE, **changed) -> Received:
    received = Received(
        key=key(number, mailbox_id),
        workflow_id="TOC_FHIR_IP_DISCH",
        kind=Kind.MESSAGE,
        received_at=later(seconds=number),
        sender_mailbox_id=HOSPITAL,
        local_id=f"local-{number}",
        linked_message_id=None,
        payload=a_payload(number, mailbox_id),
    )
    return replace(received, **changed)


def a_response(number: int = 1, level: str = "infrastructure", **changed) -> NewResponse:
    response = NewResponse(
        level=level,
        response_code="20013" if level == "infrastructure" else "30001",
        message_header_id=f"AAAAAAAA-0000-4000-8000-{number:012}-{level}",
        local_id=f"{level}-{number}",
        to_mailbox_id=HOSPITAL,
        workflow_id="TOC_FHIR_IP_DISCH_ACK",
        body=b"<Bundle>\x00\xff</Bundle>",
    )
    return replace(response, **changed)


def a_step(number: int = 1, old=State.RECEIVED, new=State.ACCEPTED, *, responses=(), mailbox_id=HERE, **changes) -> Step:
    return Step(key(number, mailbox_id), old, new, an_entry(new.value), changes, tuple(responses))


def record(ledger, *numbers: int, mailbox_id: str = HERE) -> None:
    for number in numbers:
        ledger.record_received(a_message(number, mailbox_id), an_entry())


def claimed(ledger, *, state=State.RECEIVED, kinds=MESSAGE, mailbox_ids=(HERE,), now=NOW, limit=50) -> list[MessageKey]:
    return [found.key for found in ledger.claim(state, kinds, mailbox_ids, now, limit)]


def owe_both(ledger, number: int = 1) -> None:
    """A completed message whose infrastructure and business responses are both owed."""
    record(ledger, number)
    ledger.apply([a_step(number, responses=[a_response(number)])])
    ledger.apply([a_step(number, State.ACCEPTED, State.COMPLETED, responses=[a_response(number, "business")])])


def send(ledger, local_id: str, **changes) -> None:
    values = {"mesh_message_id": f"MESH-{local_id}", "sent_at": NOW, "unresolved_since": None, **changes}
    ledger.apply_responses([ResponseStep(local_id, ResponseState.OWED, ResponseState.SENT, an_entry("sent"), values)])
