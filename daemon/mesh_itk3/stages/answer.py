"""Writes a response that is now owed: its bytes and ids are drawn once, here, so that every resend is byte-identical."""

from __future__ import annotations

from typing import Final
from uuid import UUID, uuid4, uuid5

from mesh_itk3.itk3.message_header import MessageHeader
from mesh_itk3.itk3.response_bundle import ResponseIds, write_response
from mesh_itk3.itk3.response_codes import Level, ResponseCode, level_of
from mesh_itk3.ports import MessageKey, MessageRecord, NewResponse
from mesh_itk3.stages.world import World

LOCAL_IDS: Final = UUID("d67d78a0-64de-446b-8466-3680c7d017f2")
"""The namespace of our local ids; drawn once. Never to be changed: a ledger that is restored finds by them what was sent."""


def local_id_of(answers: MessageKey, level: Level) -> str:
    """Mex-LocalID of our response of this level to this message: always the same (version 5 of RFC 9562), so that MESH can
    be asked for it even by a ledger that has forgotten it. 36 characters, of which MESH takes 300; no personal data.
    """
    # Neither id of MESH's has a space: no two messages share a name.
    return str(uuid5(LOCAL_IDS, f"{answers.mailbox_id} {answers.mesh_message_id} {level}"))


def is_unanswerable(world: World, record: MessageRecord) -> bool:
    """Whether it should be answered and cannot be: it names no mailbox to answer to. A workflow that is never answered
    is another matter.
    """
    return record.sender_mailbox_id is None and world.routes.response_workflow(record.workflow_id) is not None


def write(
    world: World,
    record: MessageRecord,
    header: MessageHeader,
    code: ResponseCode,
    *,
    issue_code: str | None = None,
    diagnostics: str | None = None,
) -> tuple[NewResponse, ...]:
    """The one response with this code, to the mailbox that the message came from; none where it cannot be answered."""
    workflow_id = world.routes.response_workflow(record.workflow_id)
    if workflow_id is None or record.sender_mailbox_id is None:
        return ()
    ids = ResponseIds(*(str(uuid4()) for _ in range(5)))
    body = write_response(
        code=code,
        issue_code=issue_code,
        diagnostics=diagnostics,
        ids=ids,
        now=world.clock.now(),
        mailbox_id=record.key.mailbox_id,
        ods_code=world.practices[record.key.mailbox_id].ods_code,
        answers=header.message_header_id,
        sender_reference=header.handling.sender_reference.value,
        asks_infrastructure_response=level_of(code) == "business" and record.workflow_id in world.full_acknowledgement,
    )
    response = NewResponse(
        level=level_of(code),
        response_code=code,
        message_header_id=ids.message_header_id,
        local_id=local_id_of(record.key, level_of(code)),  # by which a send of unknown outcome is looked up
        to_mailbox_id=record.sender_mailbox_id,
        workflow_id=workflow_id,
        body=body,
    )
    return (response,)
