"""The bell: a worker hears of more at once, and nobody is hurt by one that does not ring."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sending import stock_frame
from serving import Server, kill
from test_reload import Installed
from waiting import wait_for

from fastlog.journal import Bell, Hearing, make_bell
from fastlog.journal.bell import MUCH, RING_EVERY

NAP = "NAP = 0.1\n"
LONG = "NAP = 600.0\n"


@pytest.fixture
def bell() -> Iterator[int]:
    bell = make_bell()
    yield bell
    os.close(bell)


def is_readable(hearing: Hearing) -> bool:
    return bool(select.select([hearing], [], [], 0)[0])


def test_each_worker_hears_each_time_that_there_is_much(bell: int) -> None:
    rung, both = Bell(bell), (Hearing(bell), Hearing(bell))
    for number in range(3):
        rung.ring(number * MUCH)
        for hearing in both:
            assert is_readable(hearing)
            hearing.heed()
            assert not is_readable(hearing)


def test_for_little_it_rings_now_and_then(bell: int) -> None:
    rung, hearing = Bell(bell), Hearing(bell)
    began, rings = time.monotonic(), 0
    while rings < 3:
        rung.ring(1)
        if is_readable(hearing):
            hearing.heed()
            rings += 1
    assert time.monotonic() - began >= 2 * RING_EVERY


def test_nobody_waits_for_a_worker_that_does_not_listen(bell: int) -> None:
    rung, hearing = Bell(bell), Hearing(bell)
    for number in range(100_000):
        rung.ring(number * MUCH)
    hearing.heed()
    assert not is_readable(hearing)


def wakes(server: Server, numbers: range) -> None:
    """Each of these records is stored before the next is sent."""
    with server.connect() as client:
        for number in numbers:
            client.sendall(stock_frame(f"number {number}"))
            server.wait_stored(number)


def test_a_worker_that_sleeps_is_woken_also_after_a_reload_and_a_crash(tmp_path: Path) -> None:
    server = Installed(tmp_path)
    server.edit("worker/worker.py", NAP, LONG)
    with server:
        wakes(server, range(1, 4))
        server.reload()
        wakes(server, range(4, 6))
        worker = server.children()["worker sqlite"]
        kill(worker)
        wait_for(lambda: server.children().get("worker sqlite", worker) != worker)
        wakes(server, range(6, 8))


def test_one_that_hears_nothing_looks_by_itself(tmp_path: Path) -> None:
    server = Installed(tmp_path)
    server.edit("worker/__main__.py", 'if "bell-fd" in values:', "if False:")
    with server:
        wakes(server, range(1, 4))
