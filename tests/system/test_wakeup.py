"""The wakeup: a worker reads new blocks at once, and also works without a wakeup."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conditions import wait_for
from installed_server import Installed
from senders import stock_frame
from servers import Server, kill

from fastlog.journal import Wakeup, WakeupReader, make_wakeup
from fastlog.journal.wakeup import NOTIFY_BYTES, NOTIFY_INTERVAL


@pytest.fixture
def wakeup() -> Iterator[int]:
    wakeup = make_wakeup()
    yield wakeup
    os.close(wakeup)


def is_readable(reader: WakeupReader) -> bool:
    return bool(select.select([reader], [], [], 0)[0])


def test_each_reader_is_notified_of_each_large_addition(wakeup: int) -> None:
    writer, readers = Wakeup(wakeup), (WakeupReader(wakeup), WakeupReader(wakeup))
    for number in range(3):
        writer.notify(number * NOTIFY_BYTES)
        for reader in readers:
            assert is_readable(reader)
            reader.clear()
            assert not is_readable(reader)


def test_small_additions_are_notified_at_intervals(wakeup: int) -> None:
    writer, reader = Wakeup(wakeup), WakeupReader(wakeup)
    began, notifications = time.monotonic(), 0
    while notifications < 3:
        writer.notify(1)
        if is_readable(reader):
            reader.clear()
            notifications += 1
    assert time.monotonic() - began >= 2 * NOTIFY_INTERVAL


def test_the_writer_never_waits_for_a_reader(wakeup: int) -> None:
    writer, reader = Wakeup(wakeup), WakeupReader(wakeup)
    for number in range(100_000):
        writer.notify(number * NOTIFY_BYTES)
    reader.clear()
    assert not is_readable(reader)


def send_one_by_one(server: Server, numbers: range) -> None:
    """Send each of these records after the one before is stored."""
    with server.connect() as client:
        for number in numbers:
            client.sendall(stock_frame(f"number {number}"))
            server.wait_stored(number)


def test_an_idle_worker_is_woken_even_after_a_reload_and_a_crash(tmp_path: Path) -> None:
    server = Installed(tmp_path)
    server.set("fastlog.worker.worker", POLL_INTERVAL=600.0)
    with server:
        send_one_by_one(server, range(1, 4))
        server.reload()
        send_one_by_one(server, range(4, 6))
        worker = server.children()["worker sqlite"]
        kill(worker)
        wait_for(lambda: server.children().get("worker sqlite", worker) != worker)
        send_one_by_one(server, range(6, 8))


def test_a_worker_without_a_wakeup_polls_the_journal(tmp_path: Path) -> None:
    server = Installed(tmp_path)
    server.set("fastlog.journal.wakeup", NOTIFY_BYTES=1 << 62, NOTIFY_INTERVAL=1e9)
    with server:
        send_one_by_one(server, range(1, 4))
