"""The wakeup: a worker hears of more at once, and nobody is hurt by one that does not ring."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conditions import wait_for
from senders import stock_frame
from servers import Server, kill
from test_reload import Installed

from fastlog.journal import Wakeup, WakeupReader, make_wakeup
from fastlog.journal.wakeup import MUCH, RING_EVERY

NAP = "NAP = 0.1\n"
LONG = "NAP = 600.0\n"


@pytest.fixture
def wakeup() -> Iterator[int]:
    wakeup = make_wakeup()
    yield wakeup
    os.close(wakeup)


def is_readable(hearing: WakeupReader) -> bool:
    return bool(select.select([hearing], [], [], 0)[0])


def test_each_worker_hears_each_time_that_there_is_much(wakeup: int) -> None:
    rung, both = Wakeup(wakeup), (WakeupReader(wakeup), WakeupReader(wakeup))
    for number in range(3):
        rung.notify(number * MUCH)
        for hearing in both:
            assert is_readable(hearing)
            hearing.clear()
            assert not is_readable(hearing)


def test_for_little_it_rings_now_and_then(wakeup: int) -> None:
    rung, hearing = Wakeup(wakeup), WakeupReader(wakeup)
    began, rings = time.monotonic(), 0
    while rings < 3:
        rung.notify(1)
        if is_readable(hearing):
            hearing.clear()
            rings += 1
    assert time.monotonic() - began >= 2 * RING_EVERY


def test_nobody_waits_for_a_worker_that_does_not_listen(wakeup: int) -> None:
    rung, hearing = Wakeup(wakeup), WakeupReader(wakeup)
    for number in range(100_000):
        rung.notify(number * MUCH)
    hearing.clear()
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
    server.edit("worker/__main__.py", 'if "wakeup-fd" in values:', "if False:")
    with server:
        wakes(server, range(1, 4))
