"""What is due about a decision that waits for a person: reminders before its deadline, then alarms at a bounded rhythm or
the configured decision. PURE: when it began, what was last said and `now` in, one answer out.

ITK3 sets no time limit for a business response, but a missing one counts as failure at the sender.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from mesh_itk3.itk3.response_codes import BusinessCode
from mesh_itk3.patient_match import CANNOT_SAY


class Due(Enum):
    """What has to be done now."""

    NOTHING = "nothing"
    REMIND = "remind"
    """The deadline is near."""
    ESCALATE = "escalate"
    """The deadline has passed, and still nobody has decided."""
    DECIDE = "decide"
    """The deadline has passed, people had their notice, and the configuration says what is then decided."""


DEADLINE: Final = timedelta(days=3)
REMINDERS: Final = (timedelta(hours=24), timedelta(hours=4))
ESCALATE_EVERY: Final = timedelta(hours=24)
"""Guesses, all three: a working day's notice, half a day's, and then daily. ITK3 and GP Connect publish no figures."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """The rules, as configured."""

    deadline: timedelta = DEADLINE
    """From when the message began to wait."""
    reminders: tuple[timedelta, ...] = REMINDERS
    """So long before the deadline; one that would come before the waiting began is left out."""
    escalate_every: timedelta = ESCALATE_EVERY
    at_deadline: BusinessCode | None = None
    """What is decided when nobody has; None: nothing ever is, it is only said."""

    @property
    def first_notice(self) -> timedelta:
        """How long a message waits before anything is due about it."""
        return min((at for before in self.reminders if (at := self.deadline - before) > timedelta(0)), default=self.deadline)

    @property
    def last_reminder(self) -> timedelta:
        """How long before the deadline the last reminder is due; zero where there is none."""
        return min((before for before in self.reminders if before < self.deadline), default=timedelta(0))

    @property
    def notice(self) -> timedelta:
        """How long people have to act between a notice and a decision that is made by itself."""
        return self.last_reminder or self.escalate_every

    def ends_at(self, since: datetime) -> datetime:
        """The deadline of a message that has waited since then."""
        return since + self.deadline

    def code_for(self, reason: str | None) -> BusinessCode | None:
        """What is decided by itself about a message that waits for this reason. Never anything where no register could
        answer: a patient whom nobody has looked up waits for a person (design rule 5).
        """
        return None if reason in CANNOT_SAY else self.at_deadline


def due(rules: Deadlines, *, since: datetime, said_at: datetime | None, now: datetime, may_decide: bool = True) -> Due:
    """What is due about a message that has waited since `since` and about which something was last said at `said_at`.

    Of several notices that fell due unsaid (the daemon did not run), one is given. `may_decide` False: the configured
    decision cannot be taken for this message, so that its deadline is escalated as if there were none. Nothing is decided
    before people have had their notice: after a downtime the first look says that it is overdue.
    """
    over = now - rules.ends_at(since)
    if over >= timedelta(0) and rules.at_deadline is not None and may_decide and _has_notice(rules, since, said_at):
        return Due.DECIDE if said_at is not None and now - said_at >= rules.notice else Due.NOTHING
    last = _last_notice(rules, since, over, now)
    if last is None or (said_at is not None and said_at >= last):
        return Due.NOTHING
    return Due.ESCALATE if over >= timedelta(0) else Due.REMIND


def _has_notice(rules: Deadlines, since: datetime, said_at: datetime | None) -> bool:
    """Whether the last reminder, or an alarm after it, has been given."""
    return said_at is not None and said_at >= rules.ends_at(since) - rules.last_reminder


def _last_notice(rules: Deadlines, since: datetime, over: timedelta, now: datetime) -> datetime | None:
    """The latest time up to now at which something was to be said."""
    ends_at = rules.ends_at(since)
    if over >= timedelta(0):
        return ends_at + over // rules.escalate_every * rules.escalate_every
    times = (ends_at - before for before in rules.reminders)
    return max((at for at in times if since < at <= now), default=None)
