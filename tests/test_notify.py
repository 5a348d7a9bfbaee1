"""What systemd is told, through a real socket."""

from __future__ import annotations

import os
import socket

import pytest
import structlog

from mesh_itk3.adapters.notify import Notifier, watchdog_interval_s


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path):
    """The other end of NOTIFY_SOCKET, by a path or in the abstract namespace."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@mesh-itk3-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        listener.settimeout(5)
        yield name, lambda: listener.recv(4096).decode()


def test_systemd_hears_each_state(systemd):
    name, heard = systemd
    notifier = Notifier({"NOTIFY_SOCKET": name})

    notifier.ready()
    assert heard() == "READY=1"
    notifier.ready("3 mailboxes")
    assert heard() == "READY=1\nSTATUS=3 mailboxes"
    notifier.status("1 parked")
    assert heard() == "STATUS=1 parked"
    notifier.watchdog()
    assert heard() == "WATCHDOG=1"
    notifier.stopping()
    assert heard() == "STOPPING=1"
    notifier.reloading()
    told, clock = heard().split("\n")
    assert told == "RELOADING=1"
    assert int(clock.removeprefix("MONOTONIC_USEC=")) > 0


def test_status_cannot_smuggle_in_another_message(systemd):
    name, heard = systemd

    Notifier({"NOTIFY_SOCKET": name}).status("fine\nSTOPPING=1")

    assert heard() == "STATUS=fine?STOPPING=1"


def test_without_systemd_nothing_happens():
    notifier = Notifier({})

    notifier.ready()
    notifier.watchdog()

    assert notifier.watchdog_interval_s is None


def test_socket_that_nobody_reads_does_not_stop_the_daemon_but_is_said(tmp_path):
    with structlog.testing.capture_logs() as lines:
        Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).watchdog()

    assert [(line["event"], line["error_type"]) for line in lines] == [("service.unheard", "FileNotFoundError")]


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({"WATCHDOG_USEC": "120000000"}, 60.0),
        ({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": str(os.getpid())}, 60.0),
        ({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_watchdog_is_fed_twice_as_often_as_systemd_looks(environ, interval):
    assert watchdog_interval_s(environ) == interval
