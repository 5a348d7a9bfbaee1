"""A proxy before the MESH sandbox that fails at the n-th call of a verb, as it is told, and counts what it sees.

proxy = FaultyMesh(sandbox.url); proxy.start()
proxy.fail("acknowledge", DropAfter())          # the first acknowledge: MESH does it, the answer is lost
proxy.fail("open", Cut(1000), on=3, times=2)    # the third and fourth download: 1,000 bytes, then the line drops
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import struct
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mesh_itk3.simulator.faults import FORBIDDEN, Answer, Fault, Held, Late

VERBS = ("handshake", "list", "open", "chunk", "acknowledge", "send", "send_chunk", "track", "find_sent")
_ROUTES = (
    ("handshake", "POST", re.compile(r"/messageexchange/[^/?]+")),
    ("list", "GET", re.compile(r"/messageexchange/[^/?]+/inbox(\?.*)?")),
    ("open", "GET", re.compile(r"/messageexchange/[^/?]+/inbox/[^/?]+")),
    ("chunk", "GET", re.compile(r"/messageexchange/[^/?]+/inbox/[^/?]+/[0-9]+")),
    ("acknowledge", "PUT", re.compile(r"/messageexchange/[^/?]+/inbox/[^/?]+/status/acknowledged")),
    ("send", "POST", re.compile(r"/messageexchange/[^/?]+/outbox")),
    ("send_chunk", "POST", re.compile(r"/messageexchange/[^/?]+/outbox/[^/?]+/[0-9]+")),
    ("track", "GET", re.compile(r"/messageexchange/[^/?]+/outbox/tracking\?.*")),
    ("find_sent", "GET", re.compile(r"/messageexchange/[^/?]+/outbox/tracking/[^/?]+")),
)
_OURS = ("content-length", "connection", "server", "date")


def verb_of(method: str, path: str) -> str:
    return next((verb for verb, m, route in _ROUTES if m == method and route.fullmatch(path)), "other")


@dataclass(frozen=True)
class Tls:
    """Files of certificate and key with which the proxy shows itself, and the authority by which it knows its callers."""

    server: Path
    expired_server: Path
    callers: Path


@dataclass
class _Planned:
    fault: Fault
    first: int
    last: float
    about: str


@dataclass
class FaultyMesh:
    """Forwards to `target` (http://127.0.0.1:…). Start, use `url`, stop."""

    target: str
    counts: Counter[str] = field(default_factory=Counter)
    """Calls seen by verb, those that failed too."""
    paths: Counter[str] = field(default_factory=Counter)
    """The same by verb and path."""
    tokens: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """The Authorization headers seen, by verb."""
    connections: int = 0
    refuses_replays: bool = False
    """As MESH does, and the sandbox does not: a token that it has seen is refused with 403."""
    replays: int = 0
    """So many calls carried a token that MESH had seen."""
    tls: Tls | None = None
    """None: plain HTTP."""
    before: Callable[[str, str], None] = lambda *_: None
    """Called with each call's verb and path before MESH sees it."""
    befallen: Callable[[str, Fault, Mapping[str, str], bytes], None] = lambda *_: None
    """Called with verb, fault, headers and body of each call that a fault befalls, before anything is answered."""

    def __post_init__(self) -> None:
        self._planned: dict[str, list[_Planned]] = defaultdict(list)
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._released = threading.Event()
        self._seen: set[str] = set()
        self._late: list[Callable[[], Answer]] = []
        self._kept = socket.socket()
        self.line: str | None = None
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if self.tls else None
        proxy = self

        class Handler(_Handler):
            mesh = proxy

        self._handler = Handler
        self._listen(0)
        self._port = self._server.server_port

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._released.set()
        self._stop_listening()
        self._kept.close()

    def _listen(self, port: int) -> None:
        self._server = _Server(("127.0.0.1", port), self._handler)
        if self._context is not None and self.tls is not None:
            self._context.load_cert_chain(self.tls.server)
            self._context.load_verify_locations(self.tls.callers)
            # Each connection's own thread shakes hands: a caller that refuses must not stop the others.
            self._server.socket = self._context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def _stop_listening(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def _keep_port(self) -> None:
        """Nobody listens, and nobody else can: until it is healed the port would be anybody's."""
        self._kept = socket.socket()
        self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._kept.bind(("127.0.0.1", self._port))

    def _break_line(self, how: str) -> None:
        with self._lock:
            if self.line is not None:
                return
            self.line = how
        if how == "refusing":
            self._stop_listening()
            self._keep_port()
        elif self._context is not None and self.tls is not None:
            if how == "server expired":
                self._context.load_cert_chain(self.tls.expired_server)
            else:
                self._context.verify_mode = ssl.CERT_REQUIRED

    def release(self) -> list[Answer]:
        """What was held goes on to MESH, and what was late arrives there: MESH's answers to the late ones."""
        self._released.set()
        with self._lock:
            late, self._late = self._late, []
        return [forward() for forward in late]

    def fail(self, verb: str, fault: Fault, *, on: int = 1, times: float = 1, about: str = "") -> None:
        """The `on`-th call of this verb from now on fails, and the `times - 1` after it (`float("inf")`: all),
        of those whose path has `about` in it.
        """
        if verb not in VERBS:
            raise ValueError(verb)
        with self._lock:
            first = self.counts[verb] + on
            self._planned[verb].append(_Planned(fault, first, first + times - 1, about))

    def heal(self) -> None:
        """Nothing fails any more."""
        with self._lock:
            self._planned.clear()
            line, self.line = self.line, None
        if line == "refusing":
            self._listen(self._port)
            self._thread.start()
            self._kept.close()
        elif self._context is not None and self.tls is not None:
            self._context.verify_mode = ssl.CERT_NONE
            self._context.load_cert_chain(self.tls.server)

    def fault_for(self, verb: str, path: str, token: str) -> Fault | None:
        with self._lock:
            self.counts[verb] += 1
            self.paths[f"{verb} {path}"] += 1
            self.tokens[verb].append(token)
            count = self.counts[verb]
            return next(
                (
                    plan.fault
                    for plan in self._planned[verb]
                    if plan.first <= count <= plan.last and plan.about in path and plan.fault.concerns(token)
                ),
                None,
            )

    def is_replay(self, token: str) -> bool:
        """Whether MESH has seen this token; it has now."""
        nonce = ":".join(token.split(":")[1:3])
        with self._lock:
            is_known = nonce in self._seen
            self._seen.add(nonce)
            self.replays += is_known
            return is_known and self.refuses_replays

    def hold(self, fault: Fault, forward: Callable[[], Answer]) -> None:
        """Waits with it, or remembers it, as the fault says."""
        if isinstance(fault, Held):
            self._released.wait(60)
        if isinstance(fault, Late):
            with self._lock:
                self._late.append(forward)

    def wait_stopped(self, at_most_s: float = 60.0) -> bool:
        return self._stopped.wait(at_most_s)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args: Any) -> None:
        """A client that went away in the middle is what this proxy is for."""


class _Handler(BaseHTTPRequestHandler):
    mesh: FaultyMesh
    protocol_version = "HTTP/1.1"
    timeout = 60
    disable_nagle_algorithm = True
    wbufsize = -1

    def setup(self) -> None:
        super().setup()
        self.mesh.connections += 1

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if self.mesh.line is not None or len(body) < length:  # a connection from before, or a caller that died in the middle
            self._reset()
            return
        verb = verb_of(self.command, self.path)
        fault = self.mesh.fault_for(verb, self.path, self.headers.get("Authorization", ""))
        if fault is not None:
            self.mesh.befallen(verb, fault, dict(self.headers.items()), body)
            self.mesh.hold(fault, partial(self._forward, verb, body))
            if fault.line is not None:
                self.mesh._break_line(fault.line)  # noqa: SLF001  two halves of one thing
        answer = self._forward(verb, body) if fault is None or fault.reaches_mesh else Answer(200, (), b"")
        spoiled = answer if fault is None else fault.spoil(answer)
        if spoiled is None:
            self._reset()
        else:
            self._answer(spoiled)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _handle  # noqa: N815

    def _forward(self, verb: str, body: bytes) -> Answer:
        if self.mesh.is_replay(self.headers.get("Authorization", "")):
            return FORBIDDEN
        self.mesh.before(verb, self.path)
        connection = http.client.HTTPConnection(urlsplit(self.mesh.target).netloc, timeout=60)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
            connection.request(self.command, self.path, body or None, headers)
            response = connection.getresponse()
            kept = [(n, v) for n, v in response.getheaders() if n.lower() not in _OURS]
            return Answer(response.status, tuple(kept), response.read())
        finally:
            connection.close()

    def _answer(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.has_length:
            self.send_header("Content-Length", str(len(answer.body)))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if answer.every_s is not None:
            self._trickle(answer.body, answer.every_s)
        elif answer.cut_at is None:
            self.wfile.write(answer.body)
        else:
            self._write_part(answer.body, answer.cut_at)

    def _trickle(self, body: bytes, every_s: float) -> None:
        for byte in body:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            if self.mesh.wait_stopped(every_s):
                return

    def _write_part(self, body: bytes, cut_at: int) -> None:
        is_stall = cut_at < 0
        self.wfile.write(body[: -cut_at - 1 if is_stall else cut_at])
        self.wfile.flush()
        if is_stall:
            self.mesh.wait_stopped()
        self.connection.shutdown(socket.SHUT_WR)
        self.close_connection = True

    def _reset(self) -> None:
        """An RST, not a FIN: what a dying peer or a firewall sends."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        for end in (self.rfile, self.wfile, self.connection):
            end.close()

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):
            return

    def log_message(self, *args: Any) -> None:
        """Says nothing: the proxy counts."""
        del args
