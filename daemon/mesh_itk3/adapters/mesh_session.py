"""The HTTP side of a MESH mailbox: mesh-clients, their sessions pinned to one CA, and whole calls repeated.

Private parts of mesh-client are used here and nowhere else (its session and its token generator); its version is exact.
"""

from __future__ import annotations

import random
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import requests
from mesh_client import DEP_ENDPOINT, INT_ENDPOINT, LIVE_ENDPOINT, Endpoint, MeshClient
from pydantic import SecretStr

from mesh_itk3.adapters.mesh_errors import is_html, is_temporary, translated
from mesh_itk3.ports import CertificateUnusable, MailboxUnavailable

Answer = TypeVar("Answer")

ENDPOINTS: Final = {"integration": INT_ENDPOINT, "deployment": DEP_ENDPOINT, "live": LIVE_ENDPOINT}
MIN_PAGE_SIZE: Final = 10
MAX_PAGE_SIZE: Final = 5000
"""What MESH accepts as max_results."""
MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
"""Of any answer but a download. A page of 5,000 ids has about 250 KB; the rest is a guess."""
ANSWER_BLOCK_BYTES: Final = 64 * 1024
MIN_BYTES_PER_S: Final = 2048
"""A connection slower than this, after its first timeout, is a stalled one (a guess: 20 KB in ten seconds)."""
CONNECT_TIMEOUT_S: Final = 10.0
TRIES: Final = 3
RETRY_BUDGET_S: Final = 15.0
"""No repetition begins later than this after the first try, so that one call holds up its stage for a bounded time."""


@dataclass(frozen=True, slots=True)
class MeshConnection:
    """How to reach one mailbox. Raises ValueError, naming the field, where it cannot work."""

    environment: Literal["sandbox", "integration", "deployment", "live"]
    mailbox_id: str
    """MESH compares it in upper case, and so does the token's signature: it is kept in upper case."""
    password: SecretStr
    shared_key: SecretStr
    url: str | None = None
    """For the sandbox only; the others have mesh-client's."""
    client_certificate: Path | None = None
    client_key: Path | None = None
    """None: the key is in the certificate's file."""
    ca_file: Path | None = None
    """The only certificate authorities that are trusted; None: the file that mesh-client ships for the environment."""
    timeout_s: float = 60.0
    """For each wait on the connection, not for a call."""
    page_size: int = 500
    chunk_bytes: int = 19 * 1024 * 1024
    """MESH's advice is below 20 MB over the internet."""
    first_pause_s: float = 0.25
    """Before the first repetition of a call; three times as long before the second, and up to twice by chance."""
    gzip: bool = True
    """Ask for compressed downloads. Measured at 20 KB: 0.07 ms more of our CPU, a quarter of the bytes on a practice's
    line, and gzip's own checksum over what arrives. Either is understood, whatever was asked for."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "mailbox_id", self.mailbox_id.upper())
        for field, problem in _problems(self):
            raise ValueError(f"{field}: {problem}")

    @property
    def endpoint(self) -> Endpoint:
        """Address, CA file and client certificate as mesh-client wants them."""
        known = ENDPOINTS.get(self.environment)
        url = known.url if known else str(self.url).rstrip("/")
        verify = str(self.ca_file) if self.ca_file else known and known.verify
        files = [str(file) for file in (self.client_certificate, self.client_key) if file]
        # mesh-client ignores a certificate that is no tuple, and says nothing.
        return Endpoint(url, verify, tuple(files) or None, True, False)


def _problems(connection: MeshConnection) -> list[tuple[str, str]]:
    """What is wrong, as field and sentence; never a value."""
    url = connection.url or ""
    is_sandbox = connection.environment == "sandbox"
    found = [
        ("mailbox_id", "is empty or has characters that no mailbox id has", not _is_token(connection.mailbox_id)),
        ("password", "has characters outside ASCII", not connection.password.get_secret_value().isascii()),
        # mesh-client would take an empty one from its own environment variable.
        ("shared_key", "is empty", not connection.shared_key.get_secret_value()),
        ("url", "is needed for the sandbox, http:// or https://", is_sandbox and not url.startswith(("http://", "https://"))),
        ("url", "is for the sandbox only", not is_sandbox and bool(url)),
        ("ca_file", "is needed with https://", url.startswith("https://") and not connection.ca_file),
        ("page_size", f"is not {MIN_PAGE_SIZE} to {MAX_PAGE_SIZE}", not MIN_PAGE_SIZE <= connection.page_size <= MAX_PAGE_SIZE),
        ("chunk_bytes", "is not positive", connection.chunk_bytes < 1),
        (
            "client_key",
            "is given without client_certificate",
            bool(connection.client_key and not connection.client_certificate),
        ),
    ]
    return [(field, problem) for field, problem, is_wrong in found if is_wrong]


def _is_token(text: str) -> bool:
    return text.isascii() and text.isalnum()


class PinnedSession(requests.Session):
    """requests' session with what MESH must not have taken out: other CAs, proxies and .netrc of the environment,
    redirects, cookies, unbounded answers. Leaving that out also halves the CPU of a call.
    """

    def request(  # type: ignore[override]  # mesh-client passes only these
        self,
        method: str,
        url: str,
        *,
        params: dict[str, Any] | None = None,
        data: bytes | None = None,
        json: None = None,  # noqa: ARG002  Session.post hands it on
        headers: dict[str, str] | None = None,
        timeout: Any = None,
        stream: bool = False,
        allow_redirects: bool = False,  # noqa: ARG002  never
    ) -> requests.Response:
        """Signs with a fresh token and sends once. Raises MailboxUnavailable for a redirect, an HTML page in place of an
        answer, an answer too large; and whatever requests raises. Only a `stream`ed success has its body unread.
        """
        prepared = requests.PreparedRequest()
        prepared.prepare_method(method)
        prepared.prepare_url(url, params)
        prepared.prepare_headers({**self.headers, **(headers or {})})
        prepared.prepare_body(data, None)
        prepared.prepare_auth(self.auth, url)
        adapter = self.get_adapter(url)
        return _checked(
            adapter.send(prepared, stream=True, timeout=timeout, verify=self.verify or True, proxies={}),
            stream=stream,
            timeout_s=timeout[-1] if timeout else 0.0,
        )


def _checked(response: requests.Response, *, stream: bool, timeout_s: float) -> requests.Response:
    if response.is_redirect:
        response.close()
        raise MailboxUnavailable("redirect")
    if stream and response.status_code < HTTPStatus.BAD_REQUEST:
        return response
    response._content = _bounded_body(response, timeout_s)  # noqa: SLF001  what Response.content would do, without a bound
    response._content_consumed = True  # type: ignore[attr-defined]  # noqa: SLF001
    if response.status_code < HTTPStatus.MULTIPLE_CHOICES and is_html(response):
        raise MailboxUnavailable("not_mesh")
    return response


def _bounded_body(response: requests.Response, timeout_s: float) -> bytes:
    """Whole, or MailboxUnavailable: neither without end nor in a trickle that would hold a stage for hours."""
    body, begun = bytearray(), time.monotonic()
    try:
        while block := response.raw.read1(ANSWER_BLOCK_BYTES, decode_content=True):
            body += block
            _check_bounds(len(body), time.monotonic() - begun, timeout_s)
    except BaseException:
        response.close()
        raise
    return bytes(body)


def _check_bounds(received: int, took_s: float, timeout_s: float) -> None:
    if received > MAX_ANSWER_BYTES:
        raise MailboxUnavailable("too_large")
    if took_s > timeout_s + received / MIN_BYTES_PER_S:
        raise MailboxUnavailable("too_slow")


def pinned_client(connection: MeshConnection) -> MeshClient:
    """A mesh-client that trusts the one CA file, never repeats a request itself, and does not look at the environment.

    Raises OSError or ssl.SSLError where certificate, key or CA file cannot be used.
    """
    endpoint = connection.endpoint
    _check_files(endpoint)
    client = MeshClient(
        endpoint,
        connection.mailbox_id,
        connection.password.get_secret_value(),
        shared_key=connection.shared_key.get_secret_value().encode(),
        max_chunk_size=connection.chunk_bytes,
        max_retries=0,  # urllib3's repetitions carry the same token, which MESH takes only once
        timeout=(min(CONNECT_TIMEOUT_S, connection.timeout_s), connection.timeout_s),  # type: ignore[arg-type]
        application_name="mesh-itk3",
    )
    client._session = _pinned(client._session, endpoint, gzip=connection.gzip)  # noqa: SLF001
    return client


def _check_files(endpoint: Endpoint) -> None:
    """Reads them as mesh-client will: its constructor would ask a terminal for the password of an encrypted key, and
    warns on standard error when it fails.
    """
    if endpoint.url.startswith("https://"):
        context = ssl.create_default_context(cafile=endpoint.verify)
        if endpoint.cert:
            certificate, key = endpoint.cert[0], endpoint.cert[-1]
            context.load_cert_chain(certificate, key, password="")  # none: an encrypted key is an error


def _pinned(plain: requests.Session, endpoint: Endpoint, *, gzip: bool) -> PinnedSession:
    session = PinnedSession()
    session.headers, session.auth = plain.headers, plain.auth
    session.headers["Accept-Encoding"] = "gzip" if gzip else "identity"
    # `verify=` in mesh-client's constructor only *adds* a CA to those that requests brings; the session's own pins.
    session.verify = endpoint.verify or True
    session.trust_env = False
    session.adapters.clear()
    session.mount(f"{endpoint.url}/", plain.get_adapter(endpoint.url))  # no other host can be asked at all
    return session


class MeshSession:
    """mesh-clients for one mailbox, lent to one caller at a time: they are not safe to share. A client keeps its connections,
    so that short-lived threads do not each begin with a TLS handshake.
    """

    def __init__(self, connection: MeshConnection) -> None:
        self.connection = connection
        self._free: list[MeshClient] = []
        self._all: list[MeshClient] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()

    @contextmanager
    def client(self) -> Iterator[MeshClient]:
        """One that is nobody else's inside the block (the body of a download, which is read later, has its own connection).
        Raises CertificateUnusable where certificate, key or CA file cannot
        be loaded; MailboxUnavailable after close.
        """
        if self._closing.is_set():
            raise MailboxUnavailable("closed")
        with self._lock:
            client = self._free.pop() if self._free else None  # the last one used: its connection is the freshest
        client = client or self._new_client()
        try:
            yield client
        finally:
            with self._lock:
                self._free.append(client)

    def _new_client(self) -> MeshClient:
        try:
            client = pinned_client(self.connection)
        except OSError as error:  # ssl.SSLError too
            raise CertificateUnusable from error
        with self._lock:
            self._all.append(client)
        return client

    def once(self, call: Callable[[MeshClient], Answer]) -> Answer:
        """One call, its errors translated."""
        with self.client() as client, translated():
            return call(client)

    def ask(self, call: Callable[[MeshClient], Answer]) -> Answer:
        """A call that may be repeated, each time whole: with a fresh token. Only for what is safe to say twice."""
        begun = time.monotonic()
        for attempt in range(1, TRIES):
            try:
                return self.once(call)
            except MailboxUnavailable as fault:
                left_s = RETRY_BUDGET_S - (time.monotonic() - begun)
                first_s = self.connection.first_pause_s
                pause = pause_s(attempt, fault, first_s=first_s, left_s=left_s, jitter=random.random())
                if pause is None or self._closing.wait(pause):
                    raise
        return self.once(call)

    def close(self) -> None:
        """Closes every connection; calls under way fail or end."""
        self._closing.set()
        with self._lock:
            for client in self._all:
                client.close()  # type: ignore[no-untyped-call]
            self._all.clear()


def pause_s(attempt: int, fault: MailboxUnavailable, *, first_s: float, left_s: float, jitter: float) -> float | None:
    """How long to wait before repeating a call after its `attempt`-th failure; None: do not. `jitter` is in [0, 1)."""
    pause = max(first_s * 3 ** (attempt - 1) * (1 + jitter), fault.retry_after_s or 0.0)
    return pause if is_temporary(fault) and pause <= left_s else None
