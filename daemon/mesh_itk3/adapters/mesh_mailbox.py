"""One MESH mailbox over mesh-client: `ports.Mailbox`. Every exception below it leaves as an error of `ports`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any, Final, Literal
from urllib.parse import quote, urljoin, urlsplit

import requests
from mesh_client import MeshClient

from mesh_itk3.adapters.mesh_download import MeshDownload
from mesh_itk3.adapters.mesh_errors import (
    FAMILIES,
    check_chunk_taken,
    is_html,
    json_object,
    reason_of,
    sent_id,
)
from mesh_itk3.adapters.mesh_session import Answer, MeshConnection, MeshSession
from mesh_itk3.ports import LookUpUnsupported, MailboxUnavailable, MessageGone, Outgoing, SendRefused, SendUnresolved, Tracking

__all__ = ["MeshConnection", "MeshMailbox"]

_ID: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._:-]{1,200}")
"""Ids are opaque, but one with a slash or of dots only would make another path of ours."""
_V1: Final = {"Accept": "application/vnd.mesh.v1+json"}
_NOT_SERVED: Final = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.NOT_FOUND,  # in HTML
        HTTPStatus.METHOD_NOT_ALLOWED,
        HTTPStatus.NOT_ACCEPTABLE,
        HTTPStatus.NOT_IMPLEMENTED,
    }
)
_STATES: Final[dict[str, Literal["acknowledged", "undeliverable"]]] = {
    "acknowledged": "acknowledged",
    "undeliverable": "undeliverable",
    "error": "undeliverable",
}


class MeshMailbox:
    """`ports.Mailbox`; what each method promises and raises stands there. Safe to use from several threads."""

    def __init__(self, connection: MeshConnection) -> None:
        """Opens nothing yet."""
        self._connection = connection
        self._session = MeshSession(connection)

    @property
    def mailbox_id(self) -> str:
        return self._connection.mailbox_id

    @property
    def page_size(self) -> int:
        return self._connection.page_size

    def handshake(self) -> None:
        self._ask_mailbox(lambda client: client.handshake())  # type: ignore[no-untyped-call]

    def pages(self) -> Iterator[tuple[str, ...]]:
        """A page is requested only when it is asked for. A server that repeats itself does not make the walk endless."""
        link: str | None = None
        seen: set[str] = set()
        stale = 0
        # When the message at which a page ended is acknowledged meanwhile, some servers go on from the front: as many
        # old pages may then come as were seen already, and new ones behind them. No more than that are asked for.
        while stale <= 1 + len(seen) // self.page_size:
            page, link = self._page(link)
            yield page
            if link is None:
                return
            stale = stale + 1 if seen.issuperset(page) else 0
            seen.update(page)

    def _page(self, link: str | None) -> tuple[tuple[str, ...], str | None]:
        answer = self._ask_mailbox(lambda client: json_object(_get_page(client, link, self.page_size)))
        ids, links = answer.get("messages"), answer.get("links")
        if not isinstance(ids, list) or not all(isinstance(mesh_message_id, str) for mesh_message_id in ids):
            raise MailboxUnavailable("not_mesh")
        return tuple(ids), self._own_link(links.get("next") if isinstance(links, dict) else None)

    def _own_link(self, link: object) -> str | None:
        """The next page's address. Raises MailboxUnavailable where it is not on the host that we talk to."""
        if not link:
            return None
        url = self._connection.endpoint.url
        target = urljoin(f"{url}/", str(link))
        if urlsplit(target)[:2] != urlsplit(url)[:2]:
            raise MailboxUnavailable("redirect")
        return target

    def open(self, mesh_message_id: str) -> MeshDownload:
        _check_id(mesh_message_id)
        response = self._session.ask(lambda client: client.retrieve_message_chunk(mesh_message_id, 1))
        try:
            return MeshDownload(self._session, mesh_message_id, response)
        except MailboxUnavailable:
            response.close()
            raise

    def acknowledge(self, mesh_message_id: str) -> None:
        try:
            _check_id(mesh_message_id)
            self._session.ask(lambda client: client.acknowledge_message(mesh_message_id))
        except MessageGone:
            # Acknowledged already: perhaps by the try before this one, whose answer was lost.
            return

    def send(self, outgoing: Outgoing) -> str:
        size = self._connection.chunk_bytes
        chunks = [outgoing.body[start : start + size] for start in range(0, len(outgoing.body), size)] or [b""]
        with self._session.client() as client:
            mesh_message_id = sent_id(_post(client, outgoing, chunks[0], 1, len(chunks), None))
            for number, chunk in enumerate(chunks[1:], start=2):
                check_chunk_taken(_post(client, outgoing, chunk, number, len(chunks), mesh_message_id))
        return mesh_message_id

    def find_sent(self, local_id: str, *, size: int = 0) -> str | None:
        """Asks the tracking by local id of the first API version: the second has none."""
        if "/" in local_id or local_id in ("", ".", ".."):
            # Servers decode %2F before they choose the route: "not found" would say nothing.
            raise LookUpUnsupported("local_id")
        try:
            response = self._session.ask(lambda client: _get_by_local_id(client, local_id))
        except MessageGone as error:  # 410: neither "I have it" nor "I never had it"
            raise LookUpUnsupported(str(error)) from error
        if response.status_code == HTTPStatus.MULTIPLE_CHOICES:
            if size > self._connection.chunk_bytes:  # each of them may have been cut off between its chunks
                raise LookUpUnsupported(f"http_{response.status_code}")
            return ""
        if response.status_code in _NOT_SERVED:
            if response.status_code == HTTPStatus.NOT_FOUND and not is_html(response):
                return None
            raise LookUpUnsupported(f"http_{response.status_code}")
        answer = json_object(response)
        mesh_message_id = answer.get("messageId") or answer.get("dtsId")
        if not isinstance(mesh_message_id, str):
            raise MailboxUnavailable("not_mesh")
        # A chunked send that was cut off halfway is known to MESH, but will never be delivered.
        return None if str(answer.get("status", "")).lower() == "uploading" else mesh_message_id

    def track(self, mesh_message_id: str) -> Tracking | None:
        try:
            _check_id(mesh_message_id)
            answer = self._session.ask(lambda client: _get_tracking(client, mesh_message_id))
        except MessageGone:
            return None
        status = answer.get("status")
        if not isinstance(status, str):
            raise MailboxUnavailable("not_mesh")
        code = answer.get("status_code")
        return Tracking(_STATES.get(status.lower(), "accepted"), code if isinstance(code, str) else None)

    def close(self) -> None:
        self._session.close()

    def _ask_mailbox(self, call: Callable[[MeshClient], Answer]) -> Answer:
        """A call about the mailbox itself: a 404 there says that MESH is not what answered, not that a message is gone."""
        try:
            return self._session.ask(call)
        except MessageGone as error:
            raise MailboxUnavailable(str(error)) from error


def _get_page(client: MeshClient, link: str | None, page_size: int) -> requests.Response:
    """mesh-client's own list is one page, without its links."""
    if link is not None:
        return _get(client, link)
    return _get(client, f"{client.mailbox_url}/inbox", params={"max_results": page_size})


def _get_by_local_id(client: MeshClient, local_id: str) -> requests.Response:
    """Not in mesh-client. Answers what the look-up itself can say, also in error statuses; the others are raised."""
    session, url = client._session, f"{client.mailbox_url}/outbox/tracking/{quote(local_id, safe='')}"  # noqa: SLF001
    response = session.get(url, headers=_V1, timeout=client._timeout)  # noqa: SLF001
    if response.status_code not in _NOT_SERVED:
        response.raise_for_status()
    return response


def _get_tracking(client: MeshClient, mesh_message_id: str) -> dict[str, Any]:
    """As mesh-client's own, but its parser ends in a RecursionError where an answer is nested too deeply."""
    return json_object(_get(client, f"{client.mailbox_url}/outbox/tracking", params={"messageID": mesh_message_id}))


def _get(client: MeshClient, url: str, params: dict[str, Any] | None = None) -> requests.Response:
    response = client._session.get(url, params=params, timeout=client._timeout)  # noqa: SLF001
    response.raise_for_status()
    return response


def _post(
    client: MeshClient, outgoing: Outgoing, chunk: bytes, number: int, total: int, mesh_message_id: str | None
) -> requests.Response:
    """Posts one chunk, once; an answer of any status. Raises SendRefused where the headers cannot be sent at all, else
    SendUnresolved.
    """
    headers: dict[str, Any] = {
        "workflow_id": outgoing.workflow_id,
        "local_id": outgoing.local_id,
        "content_type": outgoing.content_type,
    }
    try:
        return client.send_chunk(outgoing.to_mailbox_id, chunk, number, total, message_id=mesh_message_id, **headers)
    except requests.HTTPError as error:
        if error.response is None:
            raise SendUnresolved("connection") from error
        return error.response
    except (requests.exceptions.InvalidHeader, UnicodeEncodeError):
        # Nothing has been sent. `from None`: both errors carry the value.
        raise SendRefused("unusable_header", was_asked=False) from None
    except MailboxUnavailable as fault:
        raise SendUnresolved(fault.reason, retry_after_s=fault.retry_after_s) from fault
    except FAMILIES as error:
        raise SendUnresolved(reason_of(error)) from error


def _check_id(mesh_message_id: str) -> None:
    """Raises MessageGone for what cannot be an id of MESH's: nothing is there under it."""
    if not _ID.fullmatch(mesh_message_id):
        raise MessageGone("unusable_id")
