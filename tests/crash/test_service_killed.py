"""SIGKILL in the running service, which is two processes: the one that talks to MESH, the one that reads and files, or both, at
points of either. What a restart finds is whole; when only the inner process dies, the service itself goes on and answers.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable

import pytest

from crash.running_service import a_service, everything, look_and_restart, until_killed_or_done
from crash.scenarios import ANSWERED
from crash.sweep import IS_OVERNIGHT, MOST, first, say, step
from crash.tls_front import tls_front
from crash.world import a_world
from support.authority import an_authority
from support.eventually import eventually

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(7200 if IS_OVERNIGHT else 300)]
VICTIMS = ("service", "inner", "both")
STRIDES = {"service": 17, "inner": 9}
RELOAD_STRIDE = 29
CERTIFICATE_STRIDE = 7


def sweep(stride: int, trial: Callable[[int, str], bool]) -> int:
    """Kills the service, the inner process and both in turn, at rising points (overnight: each of the three at each), until a
    trial ends without; how many kills.
    """
    kills = 0
    for turn, n in enumerate(range(first(stride), MOST, step(stride))):
        for victim in VICTIMS if IS_OVERNIGHT else (VICTIMS[turn % len(VICTIMS)],):
            if not trial(n, victim):
                return kills
            kills += 1
    raise AssertionError("a run that never ends")


@pytest.mark.parametrize("process", ["service", "inner"])
def test_a_service_killed_at_work_has_lost_nothing_and_answers_nothing_twice(world, process):
    def trial(n: int, victim: str) -> bool:
        begun = everything(world)
        with a_service(world, process, n, victim) as running:
            running.arm()
            running.run()
            until_killed_or_done(running, begun.expected)
            look_and_restart(running, begun.expected)
            return running.was_killed()

    kills = sweep(STRIDES[process], trial)
    say(f"the service, points of {process}", kills, None, STRIDES[process])
    assert kills >= 2


def test_a_service_killed_while_it_reads_its_configuration_again_has_lost_nothing(world):
    def trial(n: int, victim: str) -> bool:
        with a_service(world, "service", n, victim) as running:
            running.run()
            eventually(lambda: world.practice.logged("service.started"))
            begun = [world.send(ANSWERED, "completed")]
            running.arm()
            os.kill(running.pid, signal.SIGHUP)
            eventually(lambda: running.was_killed() or world.practice.logged("config.reloaded"))
            until_killed_or_done(running, begun)
            look_and_restart(running, begun)
            passed.update(running.points())
            return running.was_killed()

    passed: set[str] = set()
    kills = sweep(RELOAD_STRIDE, trial)
    say("the service, reloading", kills, None, RELOAD_STRIDE)
    # The old one closed, the new one composed, held and started: each lies between two of these.
    assert {
        "before ledger.release",
        "after ledger.close",
        "after daemon.composed",
        "before ledger.hold",
        "after ledger.held",
    } <= passed


@pytest.fixture
def secured(tmp_path, sandbox, warm):
    """A world whose practice reaches MESH with a client certificate, and the two files of which one is current."""
    authority = an_authority(tmp_path, "mesh")
    server, client, another = authority.issue("server"), authority.issue("client"), authority.issue("another")
    current = tmp_path / "current.pem"
    shutil.copy(client, current)
    with tls_front(server, authority.file, sandbox.port) as url:
        keys = {"client_certificate": current, "client_key": current, "ca_file": authority.file}
        extra = "\n".join(f'{key} = "{file}"' for key, file in keys.items())
        with a_world(tmp_path, sandbox, warm, url=url, mesh_extra=extra) as world:
            yield world, current, another.read_bytes()


def test_a_service_killed_over_a_half_written_certificate_goes_on_when_it_is_whole(secured):
    world, certificate, another = secured

    def trial(n: int, victim: str) -> bool:
        with a_service(world, "service", n, victim) as running:
            running.run()
            eventually(lambda: world.practice.logged("service.started"))
            certificate.write_bytes(another[: len(another) // 2])
            begun = [world.send(ANSWERED, "completed")]
            running.arm()
            os.kill(running.pid, signal.SIGHUP)
            said = world.practice.logged
            eventually(lambda: running.was_killed() or (said("config.reloaded") and said("credentials.rejected")))
            running.disarm()
            is_restarted = running.was_killed() and victim != "inner"
            if is_restarted:
                running.stop()
                world.check_durable(begun)
                running.run()  # with what stands in the file now
                eventually(lambda: len(said("service.started")) == 2)
            running.stop(is_restarted=is_restarted)  # at a point that it passed as it was disarmed it may yet die
            certificate.write_bytes(another)
            world.check_durable(begun)
            world.recover()  # at once, while a service waits up to a minute before it asks again
            world.check_settled(begun)
            assert "Traceback" not in world.log_tail()
            return running.was_killed()

    kills = sweep(CERTIFICATE_STRIDE, trial)
    say("the service, a half-written certificate", kills, None, CERTIFICATE_STRIDE)
    assert kills >= 1
