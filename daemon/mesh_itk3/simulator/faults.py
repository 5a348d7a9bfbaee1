"""What a MESH, or the line to it, can do wrong: each fault spoils one answer. `faulty_mesh` is the proxy that is told when."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Literal

HTML = b"<!DOCTYPE html><html><body>Service temporarily unavailable</body></html>"


@dataclass(frozen=True)
class Answer:
    """What goes back. `cut_at`: only so many bytes of the body, then the connection drops; negative, see Stall."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    cut_at: int | None = None
    has_length: bool = True
    every_s: float | None = None

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def with_header(self, name: str, value: str | None) -> Answer:
        kept = tuple((key, old) for key, old in self.headers if key.lower() != name.lower())
        return replace(self, headers=kept if value is None else (*kept, (name, value)))


FORBIDDEN = Answer(
    403,
    (("Content-Type", "application/json"),),
    b'{"detail":[{"event":"","code":"","msg":"Invalid Authentication Token"}]}',
)


class Fault:
    """What goes wrong: before MESH has seen the call (`reaches_mesh` is False), or with its answer."""

    reaches_mesh: ClassVar[bool] = True
    line: ClassVar[Literal["refusing", "server expired", "client expired"] | None] = None
    """What becomes of the whole line to MESH with this call, until it is healed."""

    def concerns(self, token: str) -> bool:
        """Whether it befalls a call with this Authorization header."""
        del token
        return True

    def spoil(self, answer: Answer) -> Answer | None:
        """The answer that goes back; None drops the connection. Without MESH's answer it gets an empty 200."""
        raise NotImplementedError


@dataclass(frozen=True)
class DropBefore(Fault):
    """The connection is reset; MESH never sees the call."""

    reaches_mesh: ClassVar[bool] = False

    def spoil(self, answer: Answer) -> None:
        del answer


@dataclass(frozen=True)
class Refused(DropBefore):
    """Nobody listens any more: this connection is reset, the next ones are refused."""

    line = "refusing"


@dataclass(frozen=True)
class ServerExpired(DropBefore):
    """MESH's certificate is past: this connection is reset, the next ones show it. Only over TLS."""

    line = "server expired"


@dataclass(frozen=True)
class ClientExpired(DropBefore):
    """MESH notices that our certificate is past: this connection is reset, the next ones are refused. Only over TLS."""

    line = "client expired"


@dataclass(frozen=True)
class DropAfter(Fault):
    """MESH does it; the answer is lost."""

    def spoil(self, answer: Answer) -> None:
        del answer


@dataclass(frozen=True)
class Status(Fault):
    """Another answer in place of MESH's, which never sees the call."""

    status: int
    body: bytes = b'{"detail":[{"event":"","code":"99","msg":"injected"}]}'
    retry_after: str | None = None
    media_type: str = "application/json"
    location: str | None = None
    reaches_mesh: ClassVar[bool] = False

    def spoil(self, answer: Answer) -> Answer:
        del answer
        extra = {"Content-Type": self.media_type, "Retry-After": self.retry_after, "Location": self.location}
        return Answer(self.status, tuple((name, value) for name, value in extra.items() if value), self.body)


@dataclass(frozen=True)
class Late(DropBefore):
    """The connection is reset, and the call is still on its way: MESH does it when the proxy is told to `release`."""


@dataclass(frozen=True)
class Held(Fault):
    """MESH gets the call only when the proxy is told to `release`; the caller waits meanwhile."""

    def spoil(self, answer: Answer) -> Answer:
        return answer


@dataclass(frozen=True)
class ReplayRefused(Fault):
    """Something on the way repeats the call. MESH has done it once; what comes back is its refusal of the same token."""

    def spoil(self, answer: Answer) -> Answer:
        del answer
        return FORBIDDEN


@dataclass(frozen=True)
class ClockSkew(Fault):
    """MESH's clock and ours differ by so much: it refuses tokens whose time is more than two hours away from its own."""

    by: timedelta
    reaches_mesh: ClassVar[bool] = False

    def concerns(self, token: str) -> bool:
        at = datetime.strptime(token.split(":")[3], "%Y%m%d%H%M").replace(tzinfo=UTC)
        return abs(datetime.now(UTC) + self.by - at) > timedelta(hours=2)

    def spoil(self, answer: Answer) -> Answer:
        del answer
        return FORBIDDEN


def html(status: int = 200) -> Status:
    """A page of some gateway in place of MESH's answer."""
    return Status(status, HTML, media_type="text/html; charset=utf-8")


@dataclass(frozen=True)
class Cut(Fault):
    """The connection drops after so many bytes of the body."""

    after_bytes: int

    def spoil(self, answer: Answer) -> Answer:
        return replace(answer, cut_at=self.after_bytes)


@dataclass(frozen=True)
class CutGzip(Fault):
    """The body compressed; the connection drops before so many of its last bytes."""

    missing_bytes: int = 9

    def spoil(self, answer: Answer) -> Answer:
        body = _gzipped(answer)
        return replace(answer, body=body, cut_at=len(body) - self.missing_bytes).with_header("Content-Encoding", "gzip")


@dataclass(frozen=True)
class Stall(Fault):
    """So many bytes of the body, then nothing more while the connection stays open."""

    after_bytes: int

    def spoil(self, answer: Answer) -> Answer:
        return replace(answer, cut_at=-self.after_bytes - 1)


@dataclass(frozen=True)
class Trickle(Fault):
    """A byte of the body every so many seconds."""

    every_s: float

    def spoil(self, answer: Answer) -> Answer:
        return replace(answer, every_s=self.every_s)


@dataclass(frozen=True)
class Body(Fault):
    """Other bytes in place of the body, with a Content-Length that fits them."""

    body: bytes
    encoding: str | None = None

    def spoil(self, answer: Answer) -> Answer:
        return replace(answer, body=self.body).with_header("Content-Encoding", self.encoding)


@dataclass(frozen=True)
class ShortGzip(Fault):
    """The gzip stream ends early, and Content-Length agrees."""

    missing_bytes: int = 20

    def spoil(self, answer: Answer) -> Answer:
        return replace(answer, body=_gzipped(answer)[: -self.missing_bytes]).with_header("Content-Encoding", "gzip")


@dataclass(frozen=True)
class TwoMembers(Fault):
    """The body as two gzip members, one after the other: still one gzip stream."""

    def spoil(self, answer: Answer) -> Answer:
        plain = gzip.decompress(_gzipped(answer))
        half = len(plain) // 2
        members = gzip.compress(plain[:half]) + gzip.compress(plain[half:])
        return replace(answer, body=members).with_header("Content-Encoding", "gzip")


@dataclass(frozen=True)
class Header(Fault):
    """One header changed; None takes it away."""

    name: str
    value: str | None

    def spoil(self, answer: Answer) -> Answer:
        return answer.with_header(self.name, self.value)


@dataclass(frozen=True)
class OtherStatus(Fault):
    """MESH's answer under another status."""

    status: int

    def spoil(self, answer: Answer) -> Answer:
        return replace(answer, status=self.status)


@dataclass(frozen=True)
class ListedAgain(Fault):
    """A listing names each message twice, and again what it has named before, acknowledged or not."""

    named: list[str] = field(default_factory=list)

    def spoil(self, answer: Answer) -> Answer:
        listing = json.loads(answer.body)
        self.named.extend(one for one in listing["messages"] if one not in self.named)
        return replace(answer, body=json.dumps(listing | {"messages": [*self.named, *self.named]}).encode())


@dataclass(frozen=True)
class NoLength(Fault):
    """Neither Content-Length nor chunks: the end of the connection is the end of the body; cut after so many bytes."""

    after_bytes: int

    def spoil(self, answer: Answer) -> Answer:
        return replace(answer, body=answer.body[: self.after_bytes], has_length=False)


def _gzipped(answer: Answer) -> bytes:
    return answer.body if answer.header("Content-Encoding") == "gzip" else gzip.compress(answer.body)
