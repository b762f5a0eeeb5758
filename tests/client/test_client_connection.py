"""The handler and its connection: an absent, silent or failing server loses and doubles nothing."""

from __future__ import annotations

import itertools
import os
import re
import socket
import threading
import time
from pathlib import Path
from typing import Any

import fastlog_client as client
import pytest
from client_handlers import Hook, emit, end, handler_of
from conditions import wait_for
from fastlog_client.sockets import make_socket
from protocol_server import FakeServer

from fastlog.drill.ports import ReservedPort


@pytest.mark.parametrize("transport", ["tcp", "unix"])
def test_records_arrive(tmp_path: Path, transport: str):
    path = str(tmp_path / "socket") if transport == "unix" else None
    with FakeServer(path) as server, handler_of(server) as handler:
        emit(handler, range(1, 1001))
        assert handler.flush()
        assert server.table.numbers() == list(range(1, 1001))
        assert server.table.records[0][2]["msg"] == "hello"
        stats = handler.stats()
        assert (stats["emitted"], stats["acked"], stats["pending"]) == (1000, 1000, 0)
        assert stats["server"] == b"n".hex() * 16
        assert stats["connected"]
        handler.close()
        assert server.table.byes == [server.table.records[0][0]]


@pytest.mark.parametrize("names", [{}, {"TCP_KEEPIDLE": None, "TCP_KEEPALIVE": 4}])
def test_a_server_that_is_silent_is_probed(monkeypatch: pytest.MonkeyPatch, names: Any):
    for name, value in names.items():  # as macOS has them
        if value is None:
            monkeypatch.delattr(socket, name)
        else:
            monkeypatch.setattr(socket, name, value, raising=False)
    with make_socket(socket.AF_INET) as connection:
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        found = [connection.getsockopt(socket.IPPROTO_TCP, option) for option in (4, 5, 6)]
    assert found == [60, 15, 4]  # Linux: TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT


def test_without_a_record_there_is_no_connection_and_no_thread():
    before = threading.active_count()
    with FakeServer() as server:
        before = threading.active_count()
        with handler_of(server) as handler:
            assert threading.active_count() == before
            assert handler.flush()
        assert server.connections == 0


def test_emit_does_not_wait_when_the_server_is_absent_or_silent():
    with FakeServer(silent=True) as server, ReservedPort() as closed:
        server.terms.silent = True
        for port in (server.port, closed.number):
            handler = client.SocketHandler("127.0.0.1", port, on_error=Hook(), close_timeout=0.1)
            emit(handler, range(1000))
            begin = time.monotonic()
            end(handler)
            assert time.monotonic() - begin < 5
            stats = handler.stats()
            assert stats["left"] == stats["dropped"]["left at exit"] == stats["emitted"] == 1000


def test_records_are_kept_for_a_server_that_starts_later():
    with FakeServer() as server, handler_of(server) as handler:
        server.stop()
        emit(handler, range(1, 101))
        wait_for(lambda: handler.stats()["last_error"], "an attempt has failed")
        server.restart()
        assert handler.flush()
        server.wait_exact(100)


def test_an_outage_is_reported_once():
    with FakeServer() as server, handler_of(server) as handler:
        server.stop()
        emit(handler, [1])
        time_of_first = wait_for(lambda: handler.stats()["last_error"])
        emit(handler, [2])
        wait_for(
            lambda: (
                handler._outbox.sender.connection._delay
                and handler._outbox.sender.connection._delay > 0.1
            )
        )
        assert handler.stats()["last_error"] == time_of_first
        assert handler._reporter.hook.count_with("cannot connect") == 1
        server.restart()
        assert handler.flush()


def test_connections_that_are_reset_repeatedly_lose_and_double_nothing():
    with FakeServer() as server, handler_of(server) as handler:
        for step in range(40):
            emit(handler, range(step * 50 + 1, step * 50 + 51))
            wait_for(lambda: server.live() or handler.flush(0))
            if step % 3:
                server.reset()
        assert handler.flush(30)
        server.wait_exact(2000)
        assert handler.stats()["reconnects"] > 5


def test_records_whose_acknowledgements_are_lost_are_not_doubled():
    with FakeServer(acks=False) as server, handler_of(server) as handler:
        for step in range(1, 4):
            emit(handler, range(step * 100 - 99, step * 100 + 1))
            wait_for(lambda last=step * 100: len(server.table.records) == last)
            assert handler.stats()["pending"] == 100
            server.reset()
            assert handler.flush()  # the next WELCOME says what was committed
        server.wait_exact(300)


def test_acknowledgements_without_progress_cause_no_resend():
    with FakeServer(acks=False, window=2000) as server, handler_of(server) as handler:
        emit(handler, range(1, 101))
        wait_for(lambda: server.table.batches)
        sent = list(server.table.batches)
        for _ in range(20):
            server.send("ack", 0)
        wait_for(lambda: not handler.flush(0.2))
        assert server.table.batches == sent
        assert server.connections == 1
        server.terms.acks = True
        server.send("ack")
        assert handler.flush()
        server.wait_exact(100)


def test_a_server_that_never_answers_leads_to_a_new_connection():
    with FakeServer(keepalive=1, acks=False) as server, handler_of(server) as handler:
        emit(handler, [1])
        wait_for(lambda: server.table.records)
        server.terms.silent = True
        emit(handler, [2])
        wait_for(lambda: server.connections == 2, "it is given up after three keepalives")
        server.terms.silent, server.terms.acks = False, True
        server.reset()
        assert handler.flush(15)
        server.wait_exact(2)
        silences = re.findall(
            r"nothing received from the server for (\d+) s", str(handler._reporter.hook)
        )
        assert len(silences) == 1
        assert int(silences[0]) >= 3


def test_a_batch_that_the_socket_accepts_in_pieces_arrives():
    with FakeServer(window=64 << 20) as server, handler_of(server) as handler:
        emit(handler, range(1, 301), filler="x" * 50_000)
        assert handler.flush(30)
        server.wait_exact(300)


def test_the_delay_between_attempts_grows_and_a_record_shortens_it():
    with FakeServer() as server, handler_of(server) as handler:
        server.stop()
        emit(handler, [1])
        link = wait_for(lambda: handler._outbox.sender.connection)
        wait_for(lambda: (link._delay or 0) >= 0.64)
        attempts: list[float] = []
        seen = link._began_at
        until = time.monotonic() + 1.0
        number = 2
        while time.monotonic() < until:
            emit(handler, [number])
            number += 1
            if link._began_at != seen:
                seen = link._began_at
                attempts.append(seen)
            time.sleep(0.001)  # the application logs slowly
        gaps = [b - a for a, b in itertools.pairwise(attempts)]
        assert 8 <= len(attempts) <= 21, attempts
        assert min(gaps) >= 0.049
        server.restart()
        assert handler.flush()
        server.wait_exact(number - 1)


def test_the_handler_works_after_a_program_has_closed_all_its_files():
    with FakeServer() as server, handler_of(server) as handler:
        emit(handler, [1])
        assert handler.flush()
        sender = handler._outbox.sender
        for closed in (sender.connection._socket, sender.wakeup._reader, sender.wakeup._writer):
            os.close(os.dup(closed.fileno()))
            closed.close()
        emit(handler, [2])
        assert handler.flush(20)
        server.wait_exact(2)


def test_an_idle_sender_is_woken_by_a_record_while_the_server_wants_no_connection():
    with FakeServer() as server, handler_of(server, close_timeout=0.1) as handler:
        emit(handler, [1])
        assert handler.flush()
        server.send("notice", 60_000)  # it closes, and wants no connection for a minute
        server.reset()
        wait_for(lambda: not handler.stats()["connected"])
        wait_for(lambda: handler._outbox.needs_wakeup)
