"""Which message a person means by an id."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mesh_itk3.commands.console import CommandRefused, say_moment
from mesh_itk3.ports import MessageRecord, Records

ActsOn = Callable[[MessageRecord], bool]
"""Whether a command has something to do with this message."""

MOST_LISTED = 20
"""Messages that a refusal lists; a guess: more do not fit a screen."""


def find_one(ledger: Records, identifier: str, *, mailbox_id: str | None, acts_on: ActsOn) -> MessageRecord:
    """The one message with this MESH message id, MessageHeader id or local id, or the only one of several that the
    command acts on. Raises CommandRefused, with the list where several fit.
    """
    found = [each for each in ledger.find(identifier) if mailbox_id in (None, each.key.mailbox_id)]
    if not found:
        raise CommandRefused(f"there is no message {identifier!a}" + (f" in mailbox {mailbox_id}" if mailbox_id else ""))
    if len(found) == 1:
        return found[0]
    fitting = [each for each in found if acts_on(each)]
    if len(fitting) == 1:
        return fitting[0]
    raise CommandRefused(_list_of(identifier, fitting or found))


def _list_of(identifier: str, found: Sequence[MessageRecord]) -> str:
    lines = [f"{identifier!a} fits {len(found)} messages; give the MESH message id (and --mailbox) of one of them:"]
    lines += [_line(record) for record in found[:MOST_LISTED]]
    if len(found) > MOST_LISTED:
        lines.append(f"  and {len(found) - MOST_LISTED} more")
    return "\n".join(lines)


def _line(record: MessageRecord) -> str:
    return f"  {record.key.mesh_message_id}  {record.key.mailbox_id}  {record.state}  {say_moment(record.received_at)}"
