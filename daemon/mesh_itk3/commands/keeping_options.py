"""Options and help texts of `prune`, `mark-output` and the verbs of `ledger`. What they do is imported when called."""

# ruff: noqa: D301 - a backspace (\b) in a help text marks a paragraph that is not to be filled

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mesh_itk3.commands.console import Exit
from mesh_itk3.commands.options import DEFAULT_CONFIG, Config, Credentials, Json

ledger = typer.Typer(
    name="ledger",
    help="Check the ledger, back it up, and put a backup in its place.",
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=False,
    invoke_without_command=True,
)


@ledger.callback()
def _ledger(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(Exit.USAGE)


def prune(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, by state; remove nothing.")] = False,
    by_clock: Annotated[
        bool, typer.Option("--by-clock", help="This machine's clock is right, although MESH has not answered for days.")
    ] = False,
    config: Config = DEFAULT_CONFIG,
    credentials: Credentials = None,
    json: Json = False,
) -> int:
    """Remove what the configured retention no longer keeps.

    Payloads, bytes of delivered responses and lines of timelines, older than [retention] says. The running daemon does the
    same every hour, a little at a time; without [retention] nothing ever goes. Never anything that is unanswered, on its way,
    parked, or that somebody has yet to see. The rows stay: a message that comes again is recognised for ever.

    A clock that is years ahead would make everything old. MESH refuses a wrong clock: if it has not answered for two days,
    nothing is removed unless you say with --by-clock that the clock is right.

    \b
    Examples:
      mesh-itk3 prune --dry-run
      mesh-itk3 prune

    Exits 2, removing nothing, while the clock is in doubt.
    """
    from mesh_itk3.commands.prune import prune_now

    return prune_now(config, credentials, dry_run=dry_run, by_clock=by_clock, as_json=json)


def mark_output(
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="A handler's `output`, as the configuration has it.")],
    *,
    by: Annotated[str, typer.Option("--by", metavar="WHO", help="Who says so: a name, kept with the mark.")],
    config: Config = DEFAULT_CONFIG,
    credentials: Credentials = None,
    json: Json = False,
) -> int:
    """Say that a directory for letters is right as it is.

    Letters are filed only in a directory with its mark, a small file in it: an empty mount point has none. Where `status` says
    that the mark is missing, mount the share; only if the directory was made anew on purpose, say so with this. It
    gets a mark, or keeps the one that it has; whatever else its path has meant is refused from then on. Letters that wait
    are filed within a minute.

    \b
    Example:
      mesh-itk3 mark-output /srv/letters --by "Jo Smith"

    Exits 2, changing nothing, if it is no directory, or no handler files letters there.
    """
    from mesh_itk3.commands import mark_output as command

    return command.mark_output(config, credentials, directory, by=by, as_json=json)


@ledger.command()
def check(
    *,
    deep: Annotated[bool, typer.Option("--deep", help="Read every payload and compare its SHA-256.")] = False,
    config: Config = DEFAULT_CONFIG,
    credentials: Credentials = None,
    json: Json = False,
) -> int:
    """Check the ledger's file, what it says, and its payloads.

    SQLite's own whole check, rows that name rows which are not there, rules that must hold (what is owed has its bytes), and
    for every message its payload file with its size. Changes nothing; works beside the running daemon. Reads the whole file:
    some 20 seconds for a million messages.

    \b
    Examples:
      mesh-itk3 ledger check
      mesh-itk3 ledger check --deep --json

    Exits 0 if all is well, 1 if not. PostgreSQL has its own tools.
    """
    from mesh_itk3.commands.ledger_check import check_ledger

    return check_ledger(config, credentials, deep=deep, as_json=json)


@ledger.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to: a name that is free.")],
    *,
    config: Config = DEFAULT_CONFIG,
    credentials: Credentials = None,
    json: Json = False,
) -> int:
    """Write a consistent copy of the ledger, beside the running daemon.

    Written aside, looked over, durable, and only then given its name. Copy the payload directory after it. On PostgreSQL use
    pg_dump.

    \b
    Example:
      mesh-itk3 ledger backup /backup/ledger-monday.db

    Exits 2, writing nothing, if there is such a file already.
    """
    from mesh_itk3.commands.ledger_backup import back_up_ledger

    return back_up_ledger(config, credentials, file, as_json=json)


@ledger.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The backup; it stays as it is.")],
    *,
    by: Annotated[str, typer.Option("--by", metavar="WHO", help="Who restores it: a name, kept in the record.")],
    config: Config = DEFAULT_CONFIG,
    credentials: Credentials = None,
    json: Json = False,
) -> int:
    """Put a backup in the place of the ledger; lose no letter.

    Stop the service first. The backup is looked over and brought up to date beside the ledger; letters that came after it
    are taken up from the payload store; then it takes the ledger's place. The old ledger is kept beside it. Responses owed
    are looked up in MESH before they are sent, and so is each answer that is written anew: nothing goes out twice. What
    people have decided since is to be decided again.

    \b
    Example:
      systemctl stop mesh-itk3
      mesh-itk3 ledger restore /backup/ledger-monday.db --by "Jo Smith"
      systemctl start mesh-itk3

    Exits 75, changing nothing, while a daemon collects into the ledger. On PostgreSQL use pg_restore, then ledger adopt.
    """
    from mesh_itk3.commands.ledger_restore import restore_ledger

    return restore_ledger(config, credentials, file, by=by, as_json=json)


@ledger.command()
def adopt(
    *,
    by: Annotated[str, typer.Option("--by", metavar="WHO", help="Who has them taken up: a name, kept in the record.")],
    older: Annotated[
        bool, typer.Option("--older", help="Also what came more than 30 days ago, and may be answered again.")
    ] = False,
    config: Config = DEFAULT_CONFIG,
    credentials: Credentials = None,
    json: Json = False,
) -> int:
    """Take up the letters of the payload store that no row names.

    After pg_restore, or beside a new ledger, and before the service is started: letters that came after the backup are in
    the payload store alone. Each becomes a message again. They, and what the backup holds, may have been answered already:
    MESH is asked before any answer is sent. `ledger restore` does the same by itself.

    MESH remembers for 30 days what was sent. What came longer ago stays in the payload store, and is counted.

    \b
    Example:
      systemctl stop mesh-itk3
      pg_restore ...
      mesh-itk3 ledger adopt --by "Jo Smith"
      systemctl start mesh-itk3

    Exits 75, changing nothing, while a daemon collects into the ledger. May be given again.
    """
    from mesh_itk3.commands.ledger_adopt import adopt_letters

    return adopt_letters(config, credentials, by=by, takes_older=older, as_json=json)
