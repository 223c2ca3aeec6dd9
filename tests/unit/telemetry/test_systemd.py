"""The notify protocol, on sockets of every kind."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from cowbook.telemetry.systemd import Notifier


@contextlib.contextmanager
def receiver(kind: str, directory: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket that listens, and what $NOTIFY_SOCKET says of it."""
    name = f"cowbook-{uuid.uuid4().hex[:8]}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}" if kind == "abstract" else str(directory / name))
        listening.settimeout(60)
        yield listening, f"@{name}" if kind == "abstract" else str(directory / name)


@pytest.fixture(params=["abstract", "path"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, Notifier]]:
    """A listening socket and who talks to it."""
    with receiver(request.param, tmp_path) as (listening, address):
        notifier = Notifier({"NOTIFY_SOCKET": address})
        yield listening, notifier
        notifier.close()


def test_each_message_is_one_datagram(pair: tuple[socket.socket, Notifier]) -> None:
    """Each message is one datagram with exactly this text."""
    listening, notifier = pair
    notifier.ready()
    notifier.alive()
    notifier.stopping()
    notifier.extend(1.5)
    notifier.status("two\nlines ä")
    assert [listening.recv(1000) for _ in range(5)] == [
        *(b"READY=1", b"WATCHDOG=1", b"STOPPING=1", b"EXTEND_TIMEOUT_USEC=1500000", "STATUS=two lines ä".encode())
    ]


def test_reloading_carries_the_time(pair: tuple[socket.socket, Notifier]) -> None:
    """RELOADING and its time are in one datagram. By the time, systemd knows that an earlier READY is an old one."""
    listening, notifier = pair
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloading()
    match = re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=(\d+)", listening.recv(1000))
    assert match
    assert before <= int(match[1]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_an_unchanged_status_is_sent_once(pair: tuple[socket.socket, Notifier]) -> None:
    """A status is sent only if it differs from the last one."""
    listening, notifier = pair
    for text in ("a", "a", "b", "a"):
        notifier.status(text)
    notifier.ready()
    assert [listening.recv(1000) for _ in range(4)] == [b"STATUS=a", b"STATUS=b", b"STATUS=a", b"READY=1"]


def test_only_its_variables_are_removed_from_the_environment(tmp_path: Path) -> None:
    """Child processes do not inherit the variables, and other variables stay."""
    with receiver("path", tmp_path) as (listening, address):
        environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}
        notifier = Notifier(environ)
        assert environ == {"HOME": "/"}
        assert notifier.watchdog_seconds == 3
        notifier.ready()
        assert listening.recv(1000) == b"READY=1"
        notifier.close()


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "500000"}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, None),  # meant for another process
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": ""}, 0.5),
        ({"WATCHDOG_USEC": "nonsense"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": ""}, None),
    ],
)
def test_the_watchdogs_time_is_that_of_this_process(environ: dict[str, str], seconds: float | None) -> None:
    """The watchdog's time counts only if it is a number and meant for this process."""
    assert Notifier(environ).watchdog_seconds == seconds
    assert environ == {}


def test_nothing_happens_without_a_receiver(tmp_path: Path) -> None:
    """Without a variable, with an empty one, and with a missing socket, nothing happens."""
    for environ in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": str(tmp_path / "none")}, {"NOTIFY_SOCKET": "@none"}):
        notifier = Notifier(environ)
        notifier.ready()
        notifier.status("a")
        notifier.close()
        notifier.alive()  # after the end, too


def test_messages_arrive_again_when_the_receiver_is_back(tmp_path: Path) -> None:
    """Messages are lost while there is no receiver, and arrive when there is one again."""
    path = tmp_path / "notify"
    notifier = Notifier({"NOTIFY_SOCKET": str(path)})
    for _ in range(2):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.bind(str(path))
            listening.settimeout(60)
            notifier.alive()
            assert listening.recv(1000) == b"WATCHDOG=1"
        notifier.alive()
        path.unlink()
        notifier.alive()
    notifier.close()


def test_a_full_receiver_is_not_waited_for(pair: tuple[socket.socket, Notifier]) -> None:
    """If the receiver's queue is full, sending does not wait."""
    listening, notifier = pair
    for number in range(5000):
        notifier.status(f"{number} {'x' * 1000}")
    assert listening.recv(5000).startswith(b"STATUS=0 ")


def test_the_socket_is_not_inherited(pair: tuple[socket.socket, Notifier]) -> None:
    """Child processes do not inherit the socket."""
    _, notifier = pair
    assert notifier._socket is not None
    assert not notifier._socket.get_inheritable()
