"""Options and help texts of the verbs for what is parked. What they do is imported when they are called."""

# ruff: noqa: D301 - a backspace (\b) in a help text marks a paragraph that is not to be filled

from __future__ import annotations

from typing import Annotated

import typer

from mesh_itk3.commands.console import CommandRefused
from mesh_itk3.commands.options import DEFAULT_CONFIG, Config, Credentials, Identifier, Json, OneMailbox
from mesh_itk3.reasons import ABANDON_REASONS

By = Annotated[str, typer.Option("--by", metavar="WHO", help="Who acts: a name or smartcard id, kept in the record.")]


def parked(
    *, mailbox: OneMailbox = None, config: Config = DEFAULT_CONFIG, credentials: Credentials = None, json: Json = False
) -> int:
    """List what is parked, since when, why, and what to do.

    Messages that could not go on or that a person holds, and responses that MESH refused for good. Grouped by reason, the
    oldest first.

    \b
    Examples:
      mesh-itk3 parked
      mesh-itk3 parked --mailbox X26ABC2 --json
    """
    from mesh_itk3.commands.parked import list_parked

    return list_parked(config, credentials, mailbox_id=mailbox, as_json=json)


def retry(
    identifier: Annotated[str | None, typer.Argument(metavar="[ID]", show_default=False, help="One message.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Everything that is parked and not held.")] = False,
    by: By,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="REASON", help="With --all: only what is parked for this reason.")
    ] = None,
    mailbox: OneMailbox = None,
    config: Config = DEFAULT_CONFIG,
    credentials: Credentials = None,
    json: Json = False,
) -> int:
    """Have a parked message, or all of them, tried again.

    A message goes back to where it was parked and its attempts count from the beginning. A response that MESH refused is
    sent again with the bytes and ids that it has. Mend the cause first.

    \b
    Examples:
      mesh-itk3 retry 20250102101500123456_A1B2C3 --by "Jo Smith"
      mesh-itk3 retry --all --by "Jo Smith"
      mesh-itk3 retry --all --reason handler_failed --by "Jo Smith"

    Exits 2, changing nothing, if there is no such message, nothing of it is parked, or it is held.
    """
    from mesh_itk3.commands.retry import retry_all, retry_one

    if identifier is not None and (everything or reason is not None):
        raise CommandRefused("give an ID, or --all with or without --reason; not both")
    if identifier is not None:
        return retry_one(config, credentials, identifier, by=by, mailbox_id=mailbox, as_json=json)
    if not everything:
        raise CommandRefused("give the ID of a message, or --all")
    return retry_all(config, credentials, by=by, mailbox_id=mailbox, reason=reason, as_json=json)


def hold(
    identifier: Identifier,
    *,
    by: By,
    mailbox: OneMailbox = None,
    config: Config = DEFAULT_CONFIG,
    credentials: Credentials = None,
    json: Json = False,
) -> int:
    """Stop a message that is not finished, until it is released.

    It must be received, accepted or waiting for a decision. Responses that are written already are sent all the same.

    \b
    Example:
      mesh-itk3 hold 20250102101500123456_A1B2C3 --by "Jo Smith"

    Exits 2, changing nothing, if there is no such message or it is finished or parked; 75 if the daemon works on it at
    this moment.
    """
    from mesh_itk3.commands.hold import hold_message

    return hold_message(config, credentials, identifier, by=by, mailbox_id=mailbox, as_json=json)


def release(
    identifier: Identifier,
    *,
    by: By,
    mailbox: OneMailbox = None,
    config: Config = DEFAULT_CONFIG,
    credentials: Credentials = None,
    json: Json = False,
) -> int:
    """Let a message that is held go on where it was.

    One that waited for a decision waits for it again, with the deadline that it had.

    \b
    Example:
      mesh-itk3 release 20250102101500123456_A1B2C3 --by "Jo Smith"

    Exits 2, changing nothing, if there is no such message or it is not held.
    """
    from mesh_itk3.commands.hold import release_message

    return release_message(config, credentials, identifier, by=by, mailbox_id=mailbox, as_json=json)


def abandon(
    identifier: Identifier,
    *,
    by: By,
    reason: Annotated[
        str, typer.Option("--reason", metavar="WHY", help=f"One of {', '.join(ABANDON_REASONS)}; kept in the record.")
    ],
    mailbox: OneMailbox = None,
    config: Config = DEFAULT_CONFIG,
    credentials: Credentials = None,
    json: Json = False,
) -> int:
    """End a parked message for good; its bytes are kept.

    Nothing more happens to it and no further response is written. Where its sender has yet to hear of that, this says
    so, and it stands in `status` and `owed` until somebody says with `seen` that they have told them.

    \b
    Example:
      mesh-itk3 abandon 20250102101500123456_A1B2C3 --by "Jo Smith" --reason handled_by_hand

    Exits 2, changing nothing, if there is no such message, it is not parked, or WHY is none of the words.
    """
    from mesh_itk3.commands.abandon import abandon_message

    return abandon_message(config, credentials, identifier, by=by, reason=reason, mailbox_id=mailbox, as_json=json)
