"""The command line: options and help texts. What a command does stands in `commands/`, imported when it is called."""

# ruff: noqa: D301 - a backspace (\b) in a help text marks a paragraph that is not to be filled

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from mesh_itk3 import __version__
from mesh_itk3.commands import keeping_options
from mesh_itk3.commands.console import CommandRefused, Exit, say_error, shown
from mesh_itk3.commands.operator_verbs import abandon, hold, parked, release, retry
from mesh_itk3.commands.options import DEFAULT_CONFIG, Config, Credentials, Identifier, Json, OneMailbox
from mesh_itk3.lifecycle import State
from mesh_itk3.simulator.options import conformance, demo, prove

app = typer.Typer(
    name="mesh-itk3",
    help="Receives ITK3 messages from NHS MESH for GP practices: keeps them, files the letters, answers the senders.",
    epilog="Each command explains itself: mesh-itk3 COMMAND --help. To see everything work on this machine: mesh-itk3 demo.",
    add_completion=False,
    no_args_is_help=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(asked: bool) -> None:  # noqa: FBT001 - typer calls it with the option's value
    if asked:
        typer.echo(f"mesh-itk3 {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    *,
    version: Annotated[  # noqa: ARG001 - its callback prints it
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        # Nothing was asked: a person gets the list of commands; a script that lost its arguments, an error.
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(Exit.USAGE)


@app.command()
def run(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Collect until the inbox brings nothing new, process, send all that is owed, stop.")
    ] = False,
    config: Config = DEFAULT_CONFIG,
    credentials: Credentials = None,
) -> int:
    """Run the daemon: poll, keep, read, file and answer messages.

    It runs until it is told to stop (Ctrl-C or systemctl stop); it then finishes what is in hand. Logs go to standard
    error, one JSON object a line. It may be killed at any moment: nothing is lost.

    \b
    Examples:
      mesh-itk3 run                       with /etc/mesh-itk3/mesh-itk3.toml
      mesh-itk3 run --config my.toml      with another configuration
      mesh-itk3 run --once                one round, e.g. from cron or to try things out

    Exits 1 if --once parked something or could not send it, 75 if another daemon collects the same mailbox, 78 if the
    configuration is wrong.
    """
    from mesh_itk3 import service

    return service.run(config, credentials, once=once)


@app.command()
def check(
    *,
    offline: Annotated[bool, typer.Option("--offline", help="Do not contact MESH: leave out the handshake.")] = False,
    config: Config = DEFAULT_CONFIG,
    credentials: Credentials = None,
    json: Json = False,
) -> int:
    """Check everything the daemon needs, changing nothing.

    Looks at configuration, credentials, certificate, handlers, ledger, payload directory, directories for letters, room on
    the disks and patient register, and shakes hands with MESH for each mailbox. Each line is a tick or a cross with what
    to do about it. Run it before starting the service, and after every change.

    \b
    Examples:
      mesh-itk3 check
      mesh-itk3 check --offline           without contacting MESH
      mesh-itk3 check --config my.toml --credentials /etc/mesh-itk3/credentials

    Exits 0 if all is well, 1 if a check fails, 78 if the configuration is wrong.
    """
    from mesh_itk3.commands.check import check_everything

    return check_everything(config, credentials, offline=offline, as_json=json)


@app.command()
def status(*, config: Config = DEFAULT_CONFIG, credentials: Credentials = None, json: Json = False) -> int:
    """Show how the mailboxes are doing and what needs a person.

    For each mailbox the last poll and its outcome; how many messages and responses are in each state; what waits for a
    decision and since when; what is parked; what somebody has yet to see. Works beside the running daemon and without it.

    \b
    Examples:
      mesh-itk3 status
      mesh-itk3 status --json | jq .awaiting_decision
    """
    from mesh_itk3.commands.status import show_status

    return show_status(config, credentials, as_json=json)


@app.command()
def messages(
    *,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", metavar="STATE", help=f"Only this state; may be repeated. States: {', '.join(State)}."),
    ] = None,
    mailbox: OneMailbox = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="At most this many, newest first.")] = None,
    config: Config = DEFAULT_CONFIG,
    credentials: Credentials = None,
    json: Json = False,
) -> int:
    """List messages, newest first, with the responses they got.

    \b
    Examples:
      mesh-itk3 messages --limit 20
      mesh-itk3 messages --state awaiting_decision        what waits for a person
      mesh-itk3 messages --state parked --json
    """
    from mesh_itk3.commands.messages import list_messages

    states = tuple(_state(text) for text in state or ())
    return list_messages(config, credentials, states=states, mailbox_id=mailbox, limit=limit, as_json=json)


def _state(text: str) -> State:
    """Raises CommandRefused: typer's own sentence would be one for programmers."""
    try:
        return State(text)
    except ValueError:
        raise CommandRefused(f"there is no state {text!a}; the states are {', '.join(State)}") from None


@app.command()
def trace(
    identifier: Identifier,
    *,
    mailbox: OneMailbox = None,
    config: Config = DEFAULT_CONFIG,
    credentials: Credentials = None,
    json: Json = False,
) -> int:
    """Tell the story of one message, step by step.

    Every step since it came, with time, outcome and reason, and the responses that answer it.

    An id that several messages share (a sender may repeat one) is refused with the list of them: take a MESH message
    id from it.

    \b
    Example:
      mesh-itk3 trace 20250102101500123456_A1B2C3
    """
    from mesh_itk3.commands.trace import show_trace

    return show_trace(config, credentials, identifier, mailbox_id=mailbox, as_json=json)


@app.command()
def respond(
    identifier: Identifier,
    code: Annotated[str, typer.Argument(metavar="CODE", help="The business response code, e.g. 30001.")],
    *,
    by: Annotated[str, typer.Option("--by", metavar="WHO", help="Who decided: a name or smartcard id, kept in the record.")],
    mailbox: OneMailbox = None,
    config: Config = DEFAULT_CONFIG,
    credentials: Credentials = None,
    json: Json = False,
) -> int:
    """Record a person's decision on a message that waits for it.

    Read the letter first. The daemon then files it (30001, 30004) or does not (30002, 30003) and answers the sender.

    \b
    Codes for letters:
      30001  the patient is registered here
      30002  the patient is not known here
      30003  the patient has left
      30004  the patient was registered here and has recently died

    \b
    Example:
      mesh-itk3 messages --state awaiting_decision
      mesh-itk3 respond 20250102101500123456_A1B2C3 30001 --by "Jo Smith"

    Exits 2, changing nothing, if there is no such message, it does not wait for a decision, or its handler does not
    allow the code.
    """
    from mesh_itk3.commands.respond import record_decision

    return record_decision(config, credentials, identifier, code, by=by, mailbox_id=mailbox, as_json=json)


@app.command()
def owed(
    *, mailbox: OneMailbox = None, config: Config = DEFAULT_CONFIG, credentials: Credentials = None, json: Json = False
) -> int:
    """List every answer that senders still wait for, oldest first.

    Decisions that wait for a person, with the hours left until their deadline; messages that are parked; responses that
    MESH has not taken, not delivered, or of which it has said nothing. With each, why, and what to do.

    \b
    Examples:
      mesh-itk3 owed
      mesh-itk3 owed --mailbox X26ABC2 --json
    """
    from mesh_itk3.commands.owed import list_owed

    return list_owed(config, credentials, mailbox_id=mailbox, as_json=json)


@app.command()
def seen(
    identifier: Identifier,
    *,
    by: Annotated[str, typer.Option("--by", metavar="WHO", help="Who has seen it: a name or smartcard id.")],
    mailbox: OneMailbox = None,
    config: Config = DEFAULT_CONFIG,
    credentials: Credentials = None,
    json: Json = False,
) -> int:
    """Record that somebody knows what `status` says of a message.

    Its sender was not told, it differs from its first, or a response to it was lost. It then leaves `status` and `owed`.

    \b
    Example:
      mesh-itk3 seen 20250102101500123456_A1B2C3 --by "Jo Smith"

    Exits 2, changing nothing, if there is no such message or nothing stands about it.
    """
    from mesh_itk3.commands.seen import mark_as_seen

    return mark_as_seen(config, credentials, identifier, by=by, mailbox_id=mailbox, as_json=json)


for verb in (
    parked,
    retry,
    hold,
    release,
    abandon,
    keeping_options.prune,
    keeping_options.mark_output,
    demo,
    conformance,
    prove,
):
    app.command()(verb)
app.add_typer(keeping_options.ledger)


def _failure(error: Exception) -> int:
    """Says in one line what went wrong, and gives its exit code."""
    from mesh_itk3.ports import HeldByAnother, LedgerUnavailable, StorageFailed
    from mesh_itk3.settings_errors import ConfigInvalid

    outcomes: dict[type[Exception], tuple[str, Exit]] = {
        ConfigInvalid: ("", Exit.CONFIG),
        HeldByAnother: ("", Exit.HELD),
        LedgerUnavailable: ("the ledger cannot be used: ", Exit.FAILED),
        StorageFailed: ("the disk refused to write: ", Exit.FAILED),
    }
    for kind, (beginning, code) in outcomes.items():
        if isinstance(error, kind):
            say_error(f"{beginning}{error}")
            return code
    return _last_resort(error)


def _last_resort(error: Exception) -> int:
    """Type and place only: the text of an unforeseen error may quote a message."""
    import structlog

    from mesh_itk3 import events
    from mesh_itk3.adapters.logging import configure_logging

    if not structlog.is_configured():
        configure_logging("info")
    events.emit(events.SERVICE_FAILED, **events.where(error))
    say_error(f"something unexpected went wrong ({type(error).__name__}); the log line above says where")
    return Exit.FAILED


def _stop_quietly() -> int:
    """The reader of our output has gone (`| head`): nothing more can be said, and Python must not try at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def call(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit code; whatever happens, a person reads one line and no traceback."""
    try:
        exit_code = int(app(list(arguments), prog_name="mesh-itk3", standalone_mode=False) or 0)
        sys.stdout.flush()  # here, where a reader that has gone is expected, not when the interpreter ends
    except CommandRefused as refused:
        say_error(str(refused))
        return refused.exit_code
    except typer.TyperException as wrong:
        say_error(f"{shown(wrong.format_message())} (mesh-itk3 --help explains)")
        return int(wrong.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return 1
    except BrokenPipeError:
        return _stop_quietly()
    except Exception as error:  # noqa: BLE001 - the last resort: a person gets one line, the log the type and the place
        return _failure(error)
    return exit_code


def main() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that knows no tick must not end in a UnicodeEncodeError
            stream.reconfigure(errors="backslashreplace")
    sys.exit(call(sys.argv[1:]))
