"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_CONFIG = Path("/etc/mesh-itk3/mesh-itk3.toml")

Config = Annotated[
    Path,
    typer.Option(
        "--config", metavar="FILE", envvar="MESH_ITK3_CONFIG", show_default=True, help="The configuration file (TOML)."
    ),
]
Credentials = Annotated[
    Path | None,
    typer.Option(
        "--credentials",
        metavar="DIR",
        envvar="MESH_ITK3_CREDENTIALS",
        help="A directory with one file for each secret, e.g. mesh__shared_key. systemd gives its own without being asked.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Identifier = Annotated[
    str, typer.Argument(metavar="ID", help="The MESH message id, the MessageHeader id or the local id of a message.")
]
OneMailbox = Annotated[
    str | None, typer.Option("--mailbox", metavar="MAILBOX", help="Only messages that this mailbox received.")
]
