"""The handler at its limit of memory, and records over the server's limit."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from client_handlers import emit, handler_of
from conditions import wait_for
from protocol_server import FakeServer


def full_handler(server: FakeServer, policy: str, **options: Any) -> Any:
    return handler_of(server, max_bytes=20_000, when_full=policy, **options)


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
def test_dropped_records_are_declared_in_their_place(policy: str):
    with FakeServer() as server, full_handler(server, policy) as handler:
        server.stop()
        emit(handler, range(1, 201))
        stats = handler.stats()
        assert stats["pending_bytes"] <= 20_000
        dropped = stats["dropped"]["memory full"]
        assert stats["pending"] == 200 - dropped
        assert 100 < dropped < 190
        assert handler._reporter.hook.count_with("memory full") >= 1
        server.restart()
        assert handler.flush()
        emit(handler, [201])
        assert handler.flush()
        server.wait_exact(201)
        kept = server.table.numbers()
        assert kept[-1] == 201
        assert (kept[0] == 1) == (policy == "drop_newest")
        gaps = [gap for _, gap in server.table.gaps]
        assert sum(gap.last - gap.first + 1 for gap in gaps) == dropped
        assert {gap.reason for gap in gaps} == {1}


def test_records_in_flight_stay_when_the_oldest_are_dropped():
    with (
        FakeServer(acks=False, window=5000) as server,
        full_handler(server, "drop_oldest") as handler,
    ):
        emit(handler, range(1, 21))
        wait_for(lambda: server.table.records)
        sent = len(server.table.records)
        emit(handler, range(21, 201))
        server.terms.acks = True
        server.send("ack")
        assert handler.flush()
        server.wait_exact(200)
        assert server.table.numbers()[:sent] == list(range(1, sent + 1))
        assert server.table.gaps[0][1].first > sent


def test_a_gap_is_dated_by_the_wall_clock_and_a_clock_jump_stops_nothing():
    now = [1_000_000.0]
    with (
        FakeServer() as server,
        full_handler(server, "drop_newest", wall_clock=lambda: now[0]) as handler,
    ):
        server.stop()
        emit(handler, range(1, 101))
        now[0] += 3600
        emit(handler, range(101, 111))
        now[0] -= 7200
        server.restart()
        assert handler.flush()
        (_, gap) = server.table.gaps[0]
        assert (gap.t0, gap.t1) == (1_000_000 * 10**6, 1_003_600 * 10**6)
        server.wait_exact(110)


def test_a_full_handler_blocks_until_there_is_room():
    with (
        FakeServer(acks=False) as server,
        full_handler(server, "block", block_timeout=30) as handler,
    ):
        thread = threading.Thread(target=emit, args=(handler, range(1, 201)))
        thread.start()
        wait_for(lambda: handler._outbox._waiters)
        assert len(server.table.records) < 200
        server.terms.acks = True
        server.send("ack")
        thread.join(30)
        assert handler.flush()
        assert server.table.numbers() == list(range(1, 201))


def test_a_full_handler_blocks_for_the_block_timeout_at_most():
    with FakeServer() as server:
        server.stop()
        with full_handler(server, "block", block_timeout=0.2, close_timeout=0) as handler:
            emit(handler, range(1, 30))
            while not handler.stats()["dropped"]["memory full"]:
                begin = time.monotonic()
                emit(handler, [0])
            assert 0.2 <= time.monotonic() - begin < 5


def test_it_never_blocks_a_running_event_loop():
    with FakeServer() as server:
        server.stop()
        with full_handler(server, "block", block_timeout=30, close_timeout=0) as handler:

            async def run() -> None:
                emit(handler, range(1, 101))

            begin = time.monotonic()
            asyncio.run(run())
            assert time.monotonic() - begin < 5
            assert handler.stats()["dropped"]["memory full"] > 0


def test_an_event_loop_does_not_wait_while_another_thread_waits_for_room():
    with FakeServer() as server:
        server.stop()
        with full_handler(server, "block", block_timeout=30, close_timeout=0) as handler:
            thread = threading.Thread(target=emit, args=(handler, range(1, 101)), daemon=True)
            thread.start()
            wait_for(lambda: handler._outbox._waiters)

            async def run() -> None:
                emit(handler, [101])

            begin = time.monotonic()
            asyncio.run(run())
            assert time.monotonic() - begin < 5
            server.restart()
            thread.join(30)
            assert not thread.is_alive()


def test_a_record_larger_than_the_memory_is_dropped_and_nothing_else():
    with FakeServer() as server, full_handler(server, "drop_oldest") as handler:
        server.stop()
        emit(handler, [1])
        emit(handler, [2], filler="x" * 30_000)
        emit(handler, [3])
        server.restart()
        assert handler.flush()
        server.wait_exact(3)
        assert server.table.numbers() == [1, 3]


def test_a_record_over_the_servers_limit_is_a_gap_and_reported():
    with FakeServer(max_record=2000) as server, handler_of(server) as handler:
        emit(handler, [1])
        emit(handler, [2], filler="x" * 3000)
        emit(handler, [3])
        assert handler.flush()
        server.wait_exact(3)
        assert server.table.numbers() == [1, 3]
        assert handler.stats()["dropped"]["over the server's limit"] == 1
        wait_for(lambda: handler._reporter.hook.count_with("over the server's limit"))
