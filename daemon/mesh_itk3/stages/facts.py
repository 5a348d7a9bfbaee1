"""What a verdict needs to know beside the message, gathered for one message."""

from __future__ import annotations

from mesh_itk3.itk3.facts import UNLISTED
from mesh_itk3.itk3.verdict import Facts, Strictness
from mesh_itk3.ports import MessageRecord
from mesh_itk3.stages.world import World


def facts(world: World, record: MessageRecord, message: MessageRecord | None, document: MessageRecord | None) -> Facts:
    """`message` and `document`: the accepted messages that this one may be a duplicate of."""
    practice, first = world.practices[record.key.mailbox_id], message or document
    return Facts(
        strictness=world.strictness.get(record.workflow_id, Strictness.STANDARD),
        our_ods_codes=practice.ods_codes,
        is_known_message=message is not None,
        is_known_document=document is not None,
        is_same_bytes=first is not None and have_same_bytes(first, record),
        needs_document=world.routes.needs_document(record.workflow_id),
        event_codes=world.routes.event_codes(record.workflow_id),
        message_definitions=world.routes.message_definitions(record.workflow_id),
        workflow=world.routes.workflow(record.workflow_id) or UNLISTED,
        our_persons=practice.persons,
        known_senders=practice.known_senders,
        sender_mailbox_id=record.sender_mailbox_id,
        authorised_senders=practice.authorised_senders,
        supported_attachments=world.supported_attachments,
    )


def have_same_bytes(one: MessageRecord, other: MessageRecord) -> bool:
    """Also where retention has removed the first one's: its digest is still known."""
    return one.sha256 is not None and one.sha256 == other.sha256
