"""What the many exceptions and status codes of a MESH call mean, in the errors of `ports`. PURE but for the libraries' types.

Reasons come from a fixed vocabulary and never hold a body, a header or a URL: `timeout`, `connection`, `tls`, `redirect`,
`not_mesh` (an answer that is not MESH's), `too_large`, `bad_encoding`, `no_length`, `junk_range`, `too_slow`, `closed`,
`http_<status>`.
"""

from __future__ import annotations

import http.client
import re
import ssl
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

import orjson
import requests
import urllib3.exceptions
from mesh_client import MeshError

from mesh_itk3.ports import CredentialsRejected, MailboxUnavailable, MessageGone, SendRefused, SendUnresolved

MAX_RETRY_AFTER_S: Final = 3600.0
"""A longer Retry-After is cut to this: a guess, so that one odd answer cannot silence a mailbox for a day."""

REASONS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (requests.exceptions.InvalidJSONError, "not_mesh"),
    (requests.exceptions.SSLError, "tls"),
    (requests.exceptions.Timeout, "timeout"),
    (requests.exceptions.ContentDecodingError, "bad_encoding"),
    (requests.exceptions.RequestException, "connection"),
    (urllib3.exceptions.SSLError, "tls"),
    (urllib3.exceptions.TimeoutError, "timeout"),
    (urllib3.exceptions.DecodeError, "bad_encoding"),
    (urllib3.exceptions.HTTPError, "connection"),
    (zlib.error, "bad_encoding"),
    (ssl.SSLError, "tls"),
    (TimeoutError, "timeout"),
    (http.client.HTTPException, "connection"),
    (EOFError, "connection"),
    (OSError, "connection"),
    (MeshError, "not_mesh"),
    (ValueError, "not_mesh"),
    (LookupError, "not_mesh"),
)
"""The first row that fits: requests' errors are OSErrors, and some of them ValueErrors, too."""

FAMILIES: Final = tuple(kind for kind, _ in REASONS)
TEMPORARY: Final = frozenset({"timeout", "connection", "not_mesh", "http_408", "http_425", "http_429"})

_REJECTED: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_GONE: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_REFUSED: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.EXPECTATION_FAILED})
_TAKEN: Final = frozenset({HTTPStatus.OK, HTTPStatus.ACCEPTED})
_CODE: Final = re.compile(r"[A-Za-z0-9 _.-]{1,40}")


def reason_of(error: BaseException) -> str:
    """The word for an exception of one of the FAMILIES."""
    return next((reason for kind, reason in REASONS if isinstance(error, kind)), "connection")


@contextmanager
def translated() -> Iterator[None]:
    """Turns what mesh-client and the libraries below it raise into the errors of `ports`."""
    try:
        yield
    except requests.HTTPError as error:
        # An error of a response that is there; without one it is a fault like any other.
        raise (MailboxUnavailable("connection") if error.response is None else fault_of(error.response)) from error
    except FAMILIES as error:
        raise MailboxUnavailable(reason_of(error)) from error


def fault_of(response: requests.Response) -> CredentialsRejected | MessageGone | MailboxUnavailable:
    """The error for an answer that is not a success. A 404 in HTML is some gateway's, so it says nothing of a message."""
    status = response.status_code
    if status in _REJECTED:
        return CredentialsRejected(f"http_{status}")
    if status in _GONE and not is_html(response):
        return MessageGone(f"http_{status}")
    return MailboxUnavailable(f"http_{status}", retry_after_s=retry_after_s(response.headers))


def is_temporary(fault: MailboxUnavailable) -> bool:
    """Whether the same call may succeed a moment later."""
    return fault.reason in TEMPORARY or fault.reason.startswith("http_5")


def sent_id(response: requests.Response) -> str:
    """The MESH message id of a send that was taken. Raises SendRefused, CredentialsRejected, SendUnresolved."""
    _refuse_unless_taken(response)
    answer = json_object(response)
    mesh_message_id = answer.get("message_id") or answer.get("messageID")
    if not isinstance(mesh_message_id, str):
        raise SendUnresolved("not_mesh")
    return mesh_message_id


def check_chunk_taken(response: requests.Response) -> None:
    """For the second and later chunks, whose answer has no body. Raises as `sent_id`."""
    _refuse_unless_taken(response)


def _refuse_unless_taken(response: requests.Response) -> None:
    status = response.status_code
    if status in _TAKEN:
        return
    if status in _REJECTED:
        raise CredentialsRejected(f"http_{status}")
    # A gateway's own 400, in HTML (no client certificate, say), is not MESH's judgement of the message.
    if status in _REFUSED and not is_html(response):
        raise SendRefused(mesh_code(response))
    raise SendUnresolved(f"http_{status}", retry_after_s=retry_after_s(response.headers))


def mesh_code(response: requests.Response) -> str:
    """MESH's own error code (`12`), of either version of the API; the status where there is none. Never free text."""
    answer = json_object(response)
    details = answer.get("detail")
    first = details[0] if isinstance(details, list) and details and isinstance(details[0], dict) else {}
    code = first.get("code") or answer.get("errorCode")
    return code if isinstance(code, str) and _CODE.fullmatch(code) else f"http_{response.status_code}"


def json_object(response: requests.Response) -> dict[str, Any]:
    """The answer's JSON object; empty where it is anything else."""
    try:
        # orjson: it bounds the depth, where the standard library's parser ends in a RecursionError.
        answer = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def is_html(response: requests.Response) -> bool:
    """Whether a gateway, portal or proxy has answered in MESH's place. Only for answers whose body is in memory."""
    media_type = response.headers.get("Content-Type", "").lower()
    return "html" in media_type or response.content.lstrip()[:1] == b"<"


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks us to wait, from either form of Retry-After; None where it does not, or unreadably."""
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return min(float(text), MAX_RETRY_AFTER_S)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    wait = (at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)
    return min(max(wait.total_seconds(), 0.0), MAX_RETRY_AFTER_S)
