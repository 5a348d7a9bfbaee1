"""What time retention counts from: this machine's, as far as MESH vouches for it."""

from datetime import UTC, datetime, timedelta

import pytest

from mesh_itk3.retention import HELD_BACK_AFTER, counts_from, is_held_back

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
YEARS = timedelta(days=3 * 365)
MINUTES, MONTHS = timedelta(minutes=5), timedelta(days=90)


@pytest.mark.parametrize(
    ("clock", "answered", "counted_from", "held_back"),
    [
        (NOW, [NOW - MINUTES], NOW - MINUTES, False),
        (NOW, [NOW - MINUTES, NOW - MONTHS, None], NOW - MINUTES, False),
        (NOW + YEARS, [NOW], NOW, True),
        (NOW + YEARS, [NOW, None], NOW, True),
        (NOW + MONTHS, [NOW - MINUTES], NOW - MINUTES, True),
        (NOW - YEARS, [NOW], NOW - YEARS, False),
        (NOW, [NOW + YEARS], NOW, False),
        (NOW, [], None, False),
        (NOW + YEARS, [None, None], None, False),
        (NOW + HELD_BACK_AFTER, [NOW], NOW, False),
        (NOW + HELD_BACK_AFTER + MINUTES, [NOW], NOW, True),
    ],
    ids=[
        "MESH answered a moment ago",
        "one mailbox is enough: it is the clock of one machine",
        "the clock is years ahead and MESH refuses it",
        "years ahead, and a mailbox that was never answered",
        "MESH is away for months",
        "the clock was set back",
        "MESH answered while the clock was ahead, which is over",
        "no mailbox",
        "never answered",
        "as long as MESH may leave a daily poll unanswered",
        "longer",
    ],
)
def test_nothing_grows_old_faster_than_mesh_vouches_for(clock, answered, counted_from, held_back):
    assert counts_from(clock, answered) == counted_from
    assert is_held_back(clock, counted_from) is held_back
