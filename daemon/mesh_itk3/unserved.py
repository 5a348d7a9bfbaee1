"""Mailboxes that are not configured any more, while messages and responses of theirs wait in the ledger: nobody serves them."""

from __future__ import annotations

from collections import Counter

from mesh_itk3.lifecycle import ResponseState
from mesh_itk3.ports import Records
from mesh_itk3.settings import Settings


def unserved_mailboxes(settings: Settings, ledger: Records) -> list[str]:
    """A sentence for each that has something in the ledger that waits. On PostgreSQL none, for another daemon may serve it.
    Raises LedgerUnavailable.
    """
    if settings.ledger.sqlite_file is None:
        return []
    overview = ledger.overview_of_what_waits()
    messages: Counter[str] = Counter()
    responses: Counter[str] = Counter()
    for (mailbox_id, _), count in overview.messages.items():
        messages[mailbox_id] += count
    for (mailbox_id, state), count in overview.responses.items():
        responses[mailbox_id] += count if state is ResponseState.OWED else 0
    standing = (messages + responses).keys() - settings.mailboxes.keys()
    return [_sentence(mailbox_id, messages[mailbox_id], responses[mailbox_id]) for mailbox_id in sorted(standing)]


def _sentence(mailbox_id: str, messages: int, responses: int) -> str:
    counts = ((messages, "message"), (responses, "response"))
    what = " and ".join(f"{count} {one}{'s' if count > 1 else ''}" for count, one in counts if count)
    waits = "waits" if messages + responses == 1 else "wait"
    return f"mailbox {mailbox_id} is not configured, and the ledger has {what} of it that now {waits} for ever"
