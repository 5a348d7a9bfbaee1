"""A PostgreSQL server of the tests' own, in a temporary directory, stopped at the end."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_S = 60


class CannotServe(Exception):
    """There is no server to be had here, and why."""


@contextmanager
def postgresql_server() -> Iterator[str]:
    """Gives the URL of the database `postgres`. PostgreSQL refuses root, so as root it runs as another user."""
    programs = _programs()
    user = _user()
    directory = Path(tempfile.mkdtemp(prefix="mesh-itk3-pg-", dir="/tmp"))
    try:
        if user:
            os.chown(directory, user.pw_uid, user.pw_gid)
        _run(user, programs / "initdb", "-D", directory / "data", "-U", "tests", "-A", "trust", "-E", "UTF8", "--no-locale")
        port = _start(user, programs, directory)
        try:
            yield f"postgresql://tests@127.0.0.1:{port}/postgres"
        finally:
            _run(user, programs / "pg_ctl", "-D", directory / "data", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _start(user: pwd.struct_passwd | None, programs: Path, directory: Path) -> int:
    """Its port: another where somebody else was faster."""
    for is_last in (False, False, True):
        port = _free_port()
        # `fsync=off`: these tests look at what transactions do, not at what a power cut does to PostgreSQL.
        options = f"-p {port} -k {directory} -c listen_addresses=127.0.0.1 -c fsync=off"
        try:
            _run(user, programs / "pg_ctl", "-D", directory / "data", "-w", "-t", START_S, "-o", options, "start")
        except CannotServe:
            if is_last:
                raise
        else:
            return port
    raise AssertionError


def _programs() -> Path:
    found = [Path(path).resolve().parent for path in [shutil.which("initdb")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in found:
        if (place / "initdb").exists() and (place / "pg_ctl").exists():
            return place
    raise CannotServe("no PostgreSQL server programs (initdb, pg_ctl) on this machine")


def _user() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    if not shutil.which("setpriv"):
        raise CannotServe("running as root, and there is no setpriv to start PostgreSQL as somebody else")
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise CannotServe("running as root, and there is neither a user postgres nor nobody")


def _run(user, program: Path, *arguments) -> None:
    as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"] if user else []
    command = [*as_user, str(program), *map(str, arguments)]
    # No pipes: the server would keep them open and we would wait for it.
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", timeout=2 * START_S, check=False
        )
        output.seek(0)
        if done.returncode:
            raise CannotServe(f"{program.name} failed: {output.read()[-500:].decode(errors='replace')}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
