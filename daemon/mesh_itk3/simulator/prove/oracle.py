"""The judge of a trial, of a sweep of kills, of a fault: joins what was sent, what MESH holds, what went over the wire, what
lies on the disk. Pure.

It knows nothing of how the daemon works: no stage, no adapter, no port. The ledger's rows are evidence like the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Final

from mesh_itk3.simulator.prove.evidence import Call, Evidence, Message, Row, RowResponse, Sending, Violation
from mesh_itk3.simulator.prove.operator_oracle import held_stands, parked_with_cause

NEGATIVE: Final = ("1", "2")
POSITIVE: Final = "20013"
FINAL: Final = frozenset({"completed", "rejected", "correlated", "uncorrelated", "foreign", "abandoned"})
"""States after which nothing more is to happen."""
WAITING: Final = "awaiting_decision"
LEAST_SPACING: Final = 0.25
"""Of an interval between two walks. A guess: no machine delays one by more."""
GONE_OUT: Final = frozenset({"sent", "delivered", "undelivered"})

INVARIANTS: Final[Mapping[str, str]] = {
    "lost": "Every message that MESH has taken is in the ledger or still in the inbox.",
    "acknowledged, not durable": "The file of what is acknowledged holds the bytes that were sent.",
    "second response": "At most one response of each level to a message.",
    "repeated differently": "A response that is sent again has the same bytes.",
    "business after a negative": "Nothing follows a negative infrastructure response.",
    "business before infrastructure": "A business response goes out after the infrastructure response.",
    "wrong code": "A response has the code that its message deserves.",
    "answers nothing": "A response answers something that was sent, to whom it came from.",
    "missing response": "Every response that is deserved goes out.",
    "second letter": "One letter for each document.",
    "wrong letter": "A letter is whole, and of a message that deserves one.",
    "missing letter": "Every document that is taken is filed.",
    "no next step": "In the end nothing is left that nobody is going to finish.",
    "foreign touched": "What is on another's workflow stays in MESH, unacknowledged.",
    "ledger disagrees": "The ledger says of each response what went over the wire.",
    "parked without cause": "Parked is only what MESH refuses for good, and what a person holds.",
    "held goes on": "Nothing happens to what a person holds or has abandoned.",
    "operator not obeyed": "An operator's command does what it says, or changes nothing and says so.",
    "hot loop": "A run makes a bounded number of calls of MESH.",
    "polled too soon": "Two walks over an inbox are an interval apart.",
    "run failed": "A run ends, and in order.",
}
"""Name -> what has to hold."""


def at_any_time(e: Evidence) -> list[Violation]:
    """What must hold after every kill, before anything else runs."""
    return [*_kept(e), *_foreign(e), *_responses(e), *_letters(e), *parked_with_cause(e), *held_stands(e)]


def in_the_end(e: Evidence) -> list[Violation]:
    """What must hold when everything is settled, besides."""
    return [*at_any_time(e), *_answered(e), *_filed(e), *_finished(e), *_compared(e)]


# ------------------------------------------------------------------------------------------------ nothing lost


def _kept(e: Evidence) -> Iterator[Violation]:
    for each in e.sent:
        status = e.inbox.get(each.mesh_message_id)
        row = e.rows.get(each.mesh_message_id)
        if row is None and status != "accepted":
            yield Violation("lost", f"{each.mesh_message_id}: MESH has it as {status}, the ledger has no row")
        if row is not None and status == "acknowledged" and not each.is_foreign and row.file_sha256 != each.sha256:
            what = "no file" if row.file_sha256 is None else "other bytes than were sent"
            yield Violation("acknowledged, not durable", f"{each.mesh_message_id}: {what}")


def _foreign(e: Evidence) -> Iterator[Violation]:
    for each in e.sent:
        if each.is_foreign and e.inbox.get(each.mesh_message_id) != "accepted":
            yield Violation("foreign touched", f"{each.mesh_message_id}: {e.inbox.get(each.mesh_message_id)}")


# ------------------------------------------------------------------------------------------------ responses


def _responses(e: Evidence) -> Iterator[Violation]:
    yield from _refused(e)
    by_answered: dict[str, dict[str, Sending]] = {}
    for sending in e.sendings:
        known = by_answered.setdefault(sending.answers, {})
        first = known.setdefault(sending.local_id, sending)
        if first.sha256 != sending.sha256:
            yield Violation("repeated differently", f"{sending.code} to {sending.answers}")
    for answers, sendings in by_answered.items():
        found = list(sendings.values())
        group = e.groups.get(answers)
        if group is None or any(each.to != e.sender for each in found):
            yield Violation("answers nothing", f"{[each.code for each in found]} to {answers}")
        else:
            yield from _of_one_group(answers, group, [each.code for each in found])


def _refused(e: Evidence) -> Iterator[Violation]:
    """What MESH has refused goes out as it was, or not at all."""
    taken = {each.local_id: each for each in e.sendings}
    by_what: dict[tuple[str, str], set[str]] = {}
    for each in e.sendings:
        by_what.setdefault((each.answers, each.code), set()).add(each.local_id)
    for refused in {(each.local_id, each.sha256): each for each in e.refused}.values():
        again = taken.get(refused.local_id)
        if again is not None and again.sha256 != refused.sha256:
            yield Violation("repeated differently", f"{again.code} to {again.answers}, after a refusal")
        if again is None and by_what.get((refused.answers, refused.code)):
            yield Violation("repeated differently", f"{refused.code} to {refused.answers} under another id, after a refusal")


def _of_one_group(answers: str, group: Sequence[Message], codes: Sequence[str]) -> Iterator[Violation]:
    """`codes` in the order in which they went out, each response once."""
    deserved = Counter(code for each in group for code in _now_deserved(each))
    surplus = Counter(codes) - deserved
    for code in surplus.elements():
        yield Violation(_what_is_wrong(code, codes, group, deserved), f"{code} to {answers}, beside {list(codes)}")
    for each in group:
        business = [code for code in each.codes if code.startswith("3") and code in codes]
        if POSITIVE in each.codes and business and POSITIVE not in codes[: codes.index(business[0])]:
            yield Violation("business before infrastructure", f"{business[0]} to {answers}")


def _now_deserved(each: Message) -> tuple[str, ...]:
    return tuple(code for code in each.codes if not (each.waits and code.startswith("3")))


def _what_is_wrong(code: str, codes: Sequence[str], group: Sequence[Message], deserved: Counter[str]) -> str:
    level = code[0] == "3"
    if level and not any(each.codes and each.codes[0] == POSITIVE for each in group) and _is_any_negative(codes):
        return "business after a negative"
    is_too_many = sum((each[0] == "3") == level for each in codes) > sum(
        (each[0] == "3") == level for each in deserved.elements()
    )
    return "second response" if is_too_many and any((each[0] == "3") == level for each in deserved) else "wrong code"


def _is_any_negative(codes: Sequence[str]) -> bool:
    return any(code.startswith(NEGATIVE) and code != POSITIVE for code in codes)


def _answered(e: Evidence) -> Iterator[Violation]:
    gone_out: dict[str, dict[str, str]] = {}
    for sending in e.sendings:
        gone_out.setdefault(sending.answers, {})[sending.local_id] = sending.code
    for answers, group in e.groups.items():
        missing = Counter(code for each in group for code in each.codes) - Counter(gone_out.get(answers, {}).values())
        for code in missing:
            yield Violation("missing response", f"{code} to {answers}")


# ------------------------------------------------------------------------------------------------ letters


def _letters(e: Evidence) -> Iterator[Violation]:
    known = {each.mesh_message_id: each for each in e.sent}
    filed: Counter[str] = Counter()
    for letter in e.letters:
        message = known.get(letter.mesh_message_id)
        if message is None or not _deserves_letter(message, e):
            yield Violation("wrong letter", f"{letter.path}: its message deserves none")
            continue
        filed[message.message_header_id or message.mesh_message_id] += 1
        if letter.sha256 != message.sha256 or letter.missing:
            yield Violation("wrong letter", f"{letter.path}: {letter.missing or 'other bytes than were sent'}")
    for document, count in filed.items():
        if count > 1:
            yield Violation("second letter", f"{document}: {count}")


def _deserves_letter(message: Message, e: Evidence) -> bool:
    """Of a message that came twice either may be the one that is taken."""
    group = e.groups.get(message.message_header_id or "", [message])
    return any(each.is_filed and not each.waits for each in group)


def _filed(e: Evidence) -> Iterator[Violation]:
    filed = {letter.mesh_message_id for letter in e.letters}
    for group in e.groups.values():
        if any(each.is_filed for each in group) and not any(each.mesh_message_id in filed for each in group):
            yield Violation("missing letter", group[0].mesh_message_id)


# ------------------------------------------------------------------------------------------------ the end


def _finished(e: Evidence) -> Iterator[Violation]:
    for each in e.sent:
        row = e.rows.get(each.mesh_message_id)
        if not each.is_foreign and e.inbox.get(each.mesh_message_id) != "acknowledged":
            yield Violation("no next step", f"{each.mesh_message_id}: still in the inbox")
        if row is not None:
            yield from _left_behind(each, row)
    for group in [*e.groups.values(), *([each] for each in e.sent if each.message_header_id is None)]:
        found = Counter(e.rows[each.mesh_message_id].state for each in group if each.mesh_message_id in e.rows)
        if found != Counter(each.state for each in group):
            yield Violation("no next step", f"{group[0].mesh_message_id}: {dict(found)}, not {[each.state for each in group]}")


def _left_behind(each: Message, row: Row) -> Iterator[Violation]:
    left = [
        f"is {row.state}" if row.state not in FINAL and not (each.waits and row.state == WAITING) else "",
        "is in progress" if row.is_in_progress else "",
        "waits for a time" if row.is_due else "",
        *(f"a response is {response.state}" for response in row.responses if not _is_settled(row, response)),
    ]
    for what in filter(None, left):
        yield Violation("no next step", f"{each.mesh_message_id}: {what}")


def _is_settled(row: Row, response: RowResponse) -> bool:
    """What MESH had refused is given up with the message that is abandoned."""
    return response.state in GONE_OUT or (row.state == "abandoned" and response.state == "parked")


def _compared(e: Evidence) -> Iterator[Violation]:
    on_the_wire = {each.local_id: each.sha256 for each in e.sendings}
    in_the_ledger = {
        response.local_id: response.sha256
        for row in e.rows.values()
        for response in row.responses
        if response.state in GONE_OUT or row.state != "abandoned"
    }
    for local_id in sorted(on_the_wire.keys() | in_the_ledger.keys()):
        if on_the_wire.get(local_id) != in_the_ledger.get(local_id):
            yield Violation("ledger disagrees", f"response {local_id}")


# ------------------------------------------------------------------------------------------------ calls


def of_one_round(calls: Sequence[Call], *, messages: int, is_disturbed: bool) -> list[Violation]:
    """The calls of one `run --once` that had so many messages before it. Undisturbed it walks until a walk brings nothing;
    each walk before brought something.
    """
    lists = sum(call.verb == "list" for call in calls)
    most_lists = (messages + 2) * (9 if is_disturbed else 1) + 2
    most_calls = 30 + 60 * (messages + 1)
    found = []
    if lists > most_lists:
        found.append(Violation("polled too soon", f"{lists} walks over an inbox with {messages} messages"))
    if len(calls) > most_calls:
        found.append(Violation("hot loop", f"{len(calls)} calls for {messages} messages"))
    return found


def of_a_service(calls: Sequence[Call], *, interval_s: float, started_at: float) -> list[Violation]:
    """The calls of one daemon. Its walks keep a beat: one that a busy machine delays may stand close before the next, but so
    many walks always take their number of intervals, less one.
    """
    walks = [call.at for call in calls if call.verb == "list" and call.at >= started_at]
    for first, second in combinations(range(len(walks)), 2):
        took_s = walks[second] - walks[first]
        if took_s < max(second - first - 1, LEAST_SPACING) * interval_s:
            return [Violation("polled too soon", f"{second - first + 1} walks within {took_s:.2f} s")]
    return []
