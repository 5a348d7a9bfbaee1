"""The clock of the machine is set back while the service runs: what waits is due so much earlier, not at once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mesh_itk3.handler import RetryLater
from mesh_itk3.scheduler import schedule
from mesh_itk3.service import Service, Signals
from mesh_itk3.simulator.messages import a_message
from support.composed import a_composed_daemon
from support.fake_mailbox import FakeMailbox, a_mesh_message
from support.sandbox import PRACTICE
from support.stage_world import FakeClock, ScriptedHandler, a_registry, captured


class SettableClock(FakeClock):
    """Its wall clock can be set without time passing."""

    elapsed_s = 0.0

    def monotonic(self) -> float:
        return self.elapsed_s

    def advance(self, **by: float) -> None:
        super().advance(**by)
        self.elapsed_s += timedelta(**by).total_seconds()


@pytest.fixture
def waiting(tmp_path):
    """A service whose handler has just asked for a day, and what looks at the clock."""
    handler, clock = ScriptedHandler(), SettableClock()
    handler.answers = [RetryLater(timedelta(days=1))]
    mailbox = FakeMailbox([a_mesh_message(a_message("ITK003D"))])
    daemon = a_composed_daemon(tmp_path, mailbox, registry=a_registry(handler), clock=clock)
    service = Service(daemon, Signals(), clock, None, None)
    scheduler = schedule([], daemon.progress, daemon.give_way)
    service._look_at_clock(scheduler)
    daemon.collect(PRACTICE)
    daemon.interpret()
    daemon.dispatch()
    assert len(handler.calls) == 1
    yield daemon, handler, lambda: service._look_at_clock(scheduler)
    daemon.close()


@pytest.mark.parametrize("by", [timedelta(minutes=5), timedelta(hours=2)], ids=["five minutes", "two hours"])
def test_a_handler_that_asked_for_a_day_is_called_after_a_day(waiting, by):
    daemon, handler, look = waiting
    said = captured()
    daemon.clock.at -= by
    daemon.clock.advance(seconds=10)
    assert daemon.dispatch() == 0, "before anybody has looked at the clock"
    look()
    assert [line["seconds"] for line in said if line["event"] == "clock.set_back"] == [by.total_seconds()]
    daemon.clock.advance(hours=23)
    look()
    assert (daemon.dispatch(), len(handler.calls)) == (0, 1)
    daemon.clock.advance(hours=1)
    assert (daemon.dispatch(), len(handler.calls)) == (1, 2)


def test_what_a_clock_put_off_that_was_ahead_by_more_than_mesh_bears_is_due_at_once(waiting):
    daemon, handler, _ = waiting
    daemon.clock.at -= timedelta(days=3650)
    assert (daemon.dispatch(), len(handler.calls)) == (1, 2)
