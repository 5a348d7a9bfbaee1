"""What the outside saw: what MESH delivered and took, which files stand on the disk. It asks the ledger one thing only, over a
connection of its own: whether a row is committed at the moment in which MESH is told to forget a message.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from mesh_itk3.ports import Outgoing
from mesh_itk3.simulator.response_reader import read_response

FILED = frozenset({"30001", "30004"})
"""The codes with which a letter is filed; with the others nothing is."""
POLL_INTERVAL = timedelta(seconds=300)
RESEND_AFTER = timedelta(hours=1)
MAX_ATTEMPTS, MAX_INTERRUPTED = 3, 10
SHORTEST_RETENTION = timedelta(days=30)

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)

What = Literal["letter", "refused", "foreign", "other"]


@dataclass(frozen=True)
class Delivered:
    """One MESH message, as it was put into the inbox."""

    mesh_message_id: str
    body: bytes
    what: What
    """A letter to be accepted; one that is broken; one on somebody else's workflow; a response or report to us."""
    document: str = ""
    header_id: str = ""
    asks_infrastructure: bool = True
    asks_business: bool = True
    at: datetime = LONG_AGO
    """When it was put there."""


@dataclass(frozen=True)
class Answer:
    """A response of ours that MESH was given."""

    local_id: str
    body: bytes
    level: str
    code: str
    answers: str
    at: datetime
    is_taken: bool
    """False: MESH refused it for good."""


@dataclass
class Walk:
    """One walk over the inbox."""

    at: datetime
    is_page_full: bool = False
    acknowledged: int = 0
    walk_of: int = 0
    """Which life of the process made it."""


@dataclass
class Oracle:
    """`broken` says what was seen that must not be; a sentence each. It is looked at after every step."""

    directory: Path
    delivered: dict[str, Delivered] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    expired: set[str] = field(default_factory=set)
    """MESH gave them up before we had told it that we hold them."""
    answers: list[Answer] = field(default_factory=list)
    unknown_since: dict[str, datetime] = field(default_factory=dict)
    """By local id: when MESH first took it. A second send is legal only after a look-up failed, an hour later."""
    looked_up_in_vain: dict[str, datetime] = field(default_factory=dict)
    walks: list[Walk] = field(default_factory=list)
    opened: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    """By MESH message id: how often its handler has failed or asked for time."""
    killed: Counter[str] = field(default_factory=Counter)
    """By MESH message id: how often its handler has killed the process, or hung until it was killed."""
    finished: dict[str, str] = field(default_factory=dict)
    """By MESH message id: the last code with which its handler has finished."""
    deaths: int = 0
    faults: int = 0
    """How many jobs a fault of the disk or the ledger, or a lost lease, has cut short."""
    held: set[str] = field(default_factory=set)
    """By MESH message id: a person has stopped it."""
    abandoned: dict[str, set[str]] = field(default_factory=dict)
    """By MESH message id: the local ids of what was written to it when a person ended it."""
    endings: int = 0
    """How often a person has ended one."""
    arrived: set[str] = field(default_factory=set)
    """Local ids of responses that the other side has acknowledged."""
    people_have_seen: set[str] = field(default_factory=set)
    """Local ids of responses whose loss a person knows of."""
    may_follow_a_refusal: Counter[str] = field(default_factory=Counter)
    """By local id: how many refusals of MESH somebody has asked to be forgotten."""
    pruned: set[str] = field(default_factory=set)
    """MESH message ids of those whose bytes retention has let go of."""
    backup: tuple[int, frozenset[str], dict[str, set[str]]] = field(default_factory=lambda: (0, frozenset(), {}))
    """When it was taken: how many answers had been given, what was held, what had been ended."""
    restores: list[range] = field(default_factory=list)
    """Of which answers the ledger that was put back may know nothing: those between the backup and the restore."""
    broken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._payloads: dict[Path, tuple[int, bytes]] = {}
        self._letters: dict[Path, str] = {}
        self._ledger: sqlite3.Connection | None = None

    def close(self) -> None:
        """Closes what it looks with."""
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    # -- what MESH is told

    def acknowledges(self, mesh_message_id: str) -> None:
        """MESH deletes it now: whatever is not on the disk and committed is lost."""
        message = self.delivered[mesh_message_id]
        if message.what == "foreign":
            self.broken.append("a foreign message was acknowledged")
        self.acknowledged.add(mesh_message_id)
        self.looks_at_what_is_gone(self.walks[-1].at if self.walks else LONG_AGO)
        if self.lost():
            self.broken.append(f"{mesh_message_id} acknowledged without its bytes in the payload store")
        if not self._has_row(message):
            self.broken.append(f"{mesh_message_id} acknowledged before its row was committed")
        if self.walks:
            self.walks[-1].acknowledged += 1

    def lost(self) -> int:
        """Of how many acknowledged messages no file of their own holds the bytes."""
        return self._missing().total()

    def _missing(self) -> Counter[bytes]:
        held = Counter(self.delivered[each].body for each in self.acknowledged - self.pruned)
        return held - self._on_disk()

    def looks_at_what_is_gone(self, now: datetime) -> int:
        """After pruning or sweeping: of how many messages the bytes are gone. Others than those that may lose them are lost."""
        missing, gone = self._missing(), 0
        for mesh_message_id in sorted(self.acknowledged - self.pruned):
            message = self.delivered[mesh_message_id]
            if missing[message.body] > 0 and self._may_be_pruned(message, now):
                missing[message.body] -= 1
                self.pruned.add(mesh_message_id)
                gone += 1
        return gone

    def _may_be_pruned(self, message: Delivered, now: datetime) -> bool:
        """Old enough, and nobody waits for anything: answered as it asked, and each answer has arrived or is known as lost."""
        answers = [each for each in self.answers if each.answers == message.header_id]
        if now - message.at < SHORTEST_RETENTION or message.mesh_message_id in self.held:
            return False
        if message.what == "other" or message.mesh_message_id in self.abandoned:
            return True
        if any(each.local_id not in self.arrived | self.people_have_seen for each in answers):
            return False
        levels = {each.level for each in answers}
        is_told = not message.asks_infrastructure or "infrastructure" in levels
        # Where MESH has refused the 20013, the business response stays with it, and a person knows.
        is_given_up = any(not each.is_taken for each in answers)
        waits = message.mesh_message_id in self.finished and message.asks_business and "business" not in levels
        return message.what != "foreign" and is_told and (not waits or is_given_up)

    def _on_disk(self) -> Counter[bytes]:
        """What the payload store holds, and how often. A file is read once, and again when another has taken its name."""
        found: dict[Path, tuple[int, bytes]] = {}
        for path in (self.directory / "state" / "payloads").glob("*/*/*.bin"):
            number = path.stat().st_ino
            known = self._payloads.get(path)
            found[path] = known if known is not None and known[0] == number else (number, path.read_bytes())
        self._payloads = found
        return Counter(body for _, body in found.values())

    def _has_row(self, message: Delivered) -> bool:
        if self._ledger is None:
            self._ledger = sqlite3.connect(f"file:{self.directory}/state/ledger.db?mode=ro", uri=True, check_same_thread=False)
        query = "SELECT payload_name FROM message WHERE mesh_message_id = ?"
        row = self._ledger.execute(query, (message.mesh_message_id,)).fetchone()
        if row is None or row[0] is None:
            return row is not None and message.mesh_message_id in self.pruned
        return (self.directory / "state" / "payloads" / row[0]).is_file()

    def walks_from(self, at: datetime) -> Walk:
        """A walk begins. Rule 16: five minutes after the last, unless that brought a full page and something was taken."""
        if self.walks:
            last = self.walks[-1]
            may_follow_at_once = last.is_page_full and last.acknowledged and last.walk_of == self.deaths
            if at - last.at < POLL_INTERVAL and not may_follow_at_once:
                self.broken.append(f"polled {(at - last.at).total_seconds():.0f} s after the last poll")
        self.walks.append(Walk(at, walk_of=self.deaths))
        return self.walks[-1]

    # -- what MESH is sent

    def sees(self, outgoing: Outgoing, at: datetime, *, is_taken: bool) -> None:
        """A response reached MESH: it took it, or refused it for good."""
        read = read_response(outgoing.body)
        if read is None or read.level is None or read.code is None or read.answers is None:
            self.broken.append("what was sent is no ITK3 response")
            return
        answer = Answer(outgoing.local_id, outgoing.body, read.level, read.code, read.answers, at, is_taken)
        about = self._document_of(answer)
        if about is None:
            self.broken.append(f"{answer.code} answers something that is no letter")
            return
        if not self._may_be_answered(answer):
            self.broken.append(f"{answer.code} was written to a message that a person had ended")
        self._looks_at_repetition(answer)
        self.answers.append(answer)
        self._looks_at_document(about, answer)

    def _document_of(self, answer: Answer) -> str | None:
        return next((each.document for each in self.delivered.values() if each.header_id == answer.answers), None)

    def _looks_at_repetition(self, answer: Answer) -> None:
        earlier = [each for each in self.answers if each.local_id == answer.local_id]
        known = [each for n, each in enumerate(self.answers) if each in earlier and not self._is_forgotten(n)]
        if any(each.body != answer.body for each in known):
            self.broken.append(f"{answer.code} was sent again with other bytes")
        if sum(not each.is_taken for each in earlier) > self.may_follow_a_refusal[answer.local_id]:
            self.broken.append(f"{answer.code} was sent again after MESH had refused it for good")
        if not answer.is_taken:
            return
        first = self.unknown_since.setdefault(answer.local_id, answer.at)
        vain = self.looked_up_in_vain.get(answer.local_id)
        if first != answer.at and (vain is None or answer.at - first < RESEND_AFTER):
            self.broken.append(f"{answer.code} was sent twice although MESH could say that it had it")
        if first == answer.at and any(each.is_taken for each in earlier):
            self.broken.append(f"{answer.code} was sent twice at once")

    def _looks_at_document(self, document: str, answer: Answer) -> None:
        """At most one response of each level to a message, nothing after a negative, each only where it was asked for."""
        messages = self.about(document)
        asks = messages[0].asks_infrastructure if answer.level == "infrastructure" else messages[0].asks_business
        if not asks:
            self.broken.append(f"{answer.code} was sent although nobody asked for a response of that level")
        # After a restore another of them may be the one that is accepted; still each has one answer of each level at most.
        ids, times = self.local_ids(document), min(len(messages), 1 + self._times_forgotten(document, answer.level))
        if len(ids[answer.level]) > (len(messages) if answer.level == "infrastructure" else times):
            self.broken.append(f"more {answer.level} responses than may be")
        if answer.level == "infrastructure" and len(ids["20013"]) > times:
            self.broken.append("a second 20013 about one document")
        if messages[0].what == "refused" and (ids["20013"] or ids["business"]):
            self.broken.append(f"{answer.code} to a message that has to be refused")
        if answer.level == "business" and messages[0].asks_infrastructure and not self._is_told_positive(document):
            self.broken.append("a business response went out before MESH had taken the 20013")

    def _is_told_positive(self, document: str) -> bool:
        return any(each.code == "20013" and each.is_taken for each in self._answers_about(document))

    def _may_be_answered(self, answer: Answer) -> bool:
        """Nothing is written to what was ended; what was written before goes out."""
        ended = [
            self.abandoned.get(each.mesh_message_id) for each in self.delivered.values() if each.header_id == answer.answers
        ]
        return any(ids is None or answer.local_id in ids for ids in ended)

    # -- what people do

    def handles(self, mesh_message_id: str) -> None:
        """Its handler is called."""
        if mesh_message_id in self.held:
            self.broken.append(f"{mesh_message_id} was handled while a person held it")
        if mesh_message_id in self.abandoned:
            self.broken.append(f"{mesh_message_id} was handled after a person had ended it")

    def is_abandoned(self, mesh_message_id: str, local_ids: list[str]) -> None:
        """A person has ended it, with what is written to it by now."""
        self.held.discard(mesh_message_id)
        self.abandoned[mesh_message_id] = set(local_ids)
        self.endings += 1

    def may_be_sent_again(self, local_ids: Iterable[str]) -> None:
        """Whatever MESH has refused of them before."""
        for local_id in local_ids:
            refused = [each for each in self.answers if each.local_id == local_id and not each.is_taken]
            self.may_follow_a_refusal[local_id] = len(refused)

    def is_backed_up(self) -> None:
        """A copy of the ledger is taken as it is now."""
        self.backup = len(self.answers), frozenset(self.held), dict(self.abandoned)

    def is_restored(self) -> None:
        """A ledger of the time of the backup takes the place of the newer one. What was answered since is judged once more, and
        MESH is asked before an answer is sent; a refusal of MESH and what people did since are forgotten. That is all.
        """
        self.close()
        answered, held, abandoned = self.backup
        self.restores.append(range(answered, len(self.answers)))
        self.may_be_sent_again({each.local_id for each in self.answers})
        self.looked_up_in_vain.clear()  # it has to be asked anew
        self.held, self.abandoned = set(held), dict(abandoned)

    def _is_forgotten(self, number: int) -> bool:
        return any(number in forgotten for forgotten in self.restores)

    def _times_forgotten(self, document: str, level: str) -> int:
        """How often an answer of this level may have been forgotten by a restore."""
        about = {each.header_id for each in self.about(document)}
        numbers = {n for n, each in enumerate(self.answers) if each.level == level and each.answers in about}
        return sum(not numbers.isdisjoint(forgotten) for forgotten in self.restores)

    # -- what can be counted

    def about(self, document: str) -> list[Delivered]:
        """Every message with this document."""
        return [each for each in self.delivered.values() if each.document == document]

    def local_ids(self, document: str) -> dict[str, set[str]]:
        """Of all that was sent about a document, by level and by code."""
        found: dict[str, set[str]] = defaultdict(set)
        for each in self._answers_about(document):
            found[each.level].add(each.local_id)
            found[each.code].add(each.local_id)
            if not each.is_taken:
                found["refused"].add(each.local_id)
        found["refused"] -= {each.local_id for each in self._answers_about(document) if each.is_taken}
        return found

    def _answers_about(self, document: str) -> Iterator[Answer]:
        header_ids = {each.header_id for each in self.about(document)}
        return (each for each in self.answers if each.answers in header_ids)

    def letters(self) -> Counter[str]:
        """How many folders hold a letter of each MESH message. A folder without its metadata or bytes is broken."""
        for folder in (self.directory / "letters").glob("*/[!.]*"):
            if folder not in self._letters:
                self._letters[folder] = self._letter_in(folder)
        return Counter(self._letters.values())

    def _letter_in(self, folder: Path) -> str:
        mesh_message_id: str = json.loads((folder / "metadata.json").read_bytes())["mesh_message_id"]
        if (folder / "message.xml").read_bytes() != self.delivered[mesh_message_id].body:
            self.broken.append(f"the letter of {mesh_message_id} is not what was received")
        return mesh_message_id

    def may_be_parked(self, message: Delivered) -> bool:
        """Only what has failed or killed the process, so often that nobody tries it again: never another's victim."""
        by_others = self.killed.total() - self.killed[message.mesh_message_id]
        return self.failures[message.mesh_message_id] >= MAX_ATTEMPTS or self.deaths - by_others >= MAX_INTERRUPTED
