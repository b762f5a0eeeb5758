"""The handler in a program: each emitted record arrives once, whatever happens."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import logging.config
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastlog_client as client
import pytest
from client_handlers import Hook, emit, end, free_port, handler_of, raised, record
from conditions import wait_for
from fastlog_client.outbox import Outbox
from fastlog_client.process import process
from fastlog_client.sockets import make_socket
from fastlog_client.spool import Spool
from places import CLIENT
from protocol_server import FIX_CONFIG, NEW_ID, RETRY, FakeServer, Peer

# ---- the connection ----


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
    with FakeServer(silent=True) as server:
        server.terms.silent = True
        for port in (server.port, free_port()):
            handler = client.SocketHandler("127.0.0.1", port, on_error=Hook(), close_timeout=0.1)
            emit(handler, range(1000))
            begin = time.monotonic()
            end(handler)
            assert time.monotonic() - begin < 2
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
        wait_for(lambda: server.connections == 2, "it is given up after three keepalives", 10)
        server.terms.silent, server.terms.acks = False, True
        server.reset()
        assert handler.flush(15)
        server.wait_exact(2)
        assert handler._reporter.hook.count_with("nothing received from the server for 3 s") == 1


def test_a_batch_that_the_socket_accepts_in_pieces_arrives():
    with FakeServer(window=64 << 20) as server, handler_of(server) as handler:
        emit(handler, range(1, 301), filler="x" * 50_000)
        assert handler.flush(30)
        server.wait_exact(300)


# ---- answers of a server ----


@pytest.mark.parametrize("has_spool", [False, True])
def test_an_acknowledgement_of_what_was_not_sent_drops_nothing(has_spool: bool, tmp_path: Path):
    options = {"spool": str(tmp_path)} if has_spool else {}
    with FakeServer(acks=False) as server, handler_of(server, **options) as handler:
        emit(handler, range(1, 11))
        wait_for(lambda: len(server.table.records) == 10)
        server.send("ack", 4)
        wait_for(lambda: handler.stats()["acked"] == 4)
        server.terms.acks = True
        server.send("ack", 11)
        wait_for(lambda: handler.stats()["new_ids"] == 1)
        assert handler.flush()
        stats = handler.stats()
        assert (stats["acked"], stats["pending"], sum(stats["dropped"].values())) == (10, 0, 0)
        assert stats["resent_records"] == 6
        assert server.table.numbers() == [*range(1, 11), *range(5, 11)]
        assert len({hello.client for hello in server.table.hellos}) == 2
        assert handler._reporter.hook.count_with("acknowledged records that were not sent") == 1
        assert (
            handler._reporter.hook.count_with("6 records are sent again: some may be stored") == 1
        )


@pytest.mark.parametrize("has_spool", [False, True])
def test_a_server_that_always_acknowledges_too_much_gets_no_flood_and_nothing_is_dropped(
    has_spool: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    options = {"spool": str(tmp_path)} if has_spool else {}
    ack = Peer.ack
    monkeypatch.setattr(Peer, "ack", lambda self: ack(self, (1 << 64) - 1))
    with FakeServer() as server, handler_of(server, **options) as handler:
        emit(handler, range(1, 4))
        begin = time.monotonic()
        wait_for(lambda: server.connections == 4)
        assert time.monotonic() - begin >= 0.2
        stats = handler.stats()
        assert (stats["acked"], stats["pending"]) == (0, 3)
        assert handler._reporter.hook.count_with("acknowledged records that were not sent") == 1
        monkeypatch.setattr(Peer, "ack", ack)
        assert handler.flush()
        assert server.table.numbers()[-3:] == [1, 2, 3]


def test_a_new_id_comes_with_a_report_of_what_may_be_stored_twice():
    with FakeServer(acks=False) as server, handler_of(server) as handler:
        emit(handler, [1, 2])
        wait_for(lambda: len(server.table.records) == 2)
        server.terms.acks = True
        server.send("error", 3, NEW_ID)
        assert handler.flush()
        assert handler.stats()["new_ids"] == 1
        assert (
            handler._reporter.hook.count_with("2 records are sent again: some may be stored") == 1
        )


def test_an_error_with_the_action_retry_leads_to_a_retry():
    with FakeServer(error=(6, RETRY)) as server, handler_of(server) as handler:
        emit(handler, [1])
        begin = time.monotonic()
        wait_for(lambda: server.connections >= 3)
        assert time.monotonic() - begin >= 0.2
        server.terms.error = None
        assert handler.flush()
        server.wait_exact(1)


def test_an_error_of_the_configuration_is_reported_and_retried_later():
    with (
        FakeServer(error=(2, FIX_CONFIG)) as server,
        handler_of(server, retry_interval=0.5) as handler,
    ):
        emit(handler, [1])
        wait_for(lambda: handler._reporter.hook.count_with("(code 2)"))
        begin = time.monotonic()
        emit(handler, [2])  # it cuts nothing short here
        server.terms.error = None
        assert handler.flush()
        assert time.monotonic() - begin > 0.2
        server.wait_exact(2)
        assert server.connections == 2


def test_an_error_with_the_action_new_id_leads_to_a_new_id_and_all_records():
    with FakeServer() as server, handler_of(server) as handler:
        emit(handler, range(1, 11))
        assert handler.flush()
        server.reset()
        server.terms.error = (3, NEW_ID)
        emit(handler, range(11, 21))
        wait_for(lambda: len(server.table.hellos) > 2)
        server.terms.error = None
        assert handler.flush()
        assert server.table.numbers() == list(range(1, 21))
        assert [sequence for _, sequence, _ in server.table.records[10:]] == list(range(1, 11))
        stats = handler.stats()
        assert (stats["emitted"], stats["acked"], stats["pending"]) == (20, 20, 0)


def test_after_a_notice_the_client_waits_for_its_retry_time():
    with FakeServer() as server, handler_of(server) as handler:
        emit(handler, [1])
        assert handler.flush()
        server.send("notice", 400)
        wait_for(lambda: handler._outbox.sender.connection._session.retry_ms)
        emit(handler, [2])
        begin = time.monotonic()
        server.reset()
        assert handler.flush()
        assert time.monotonic() - begin > 0.35
        server.wait_exact(2)
        assert handler._reporter.hook == []  # an announced restart is not an error


@pytest.mark.parametrize("secret", ["right", "wrong"])
def test_both_sides_prove_that_they_have_the_key(secret: str):
    with (
        FakeServer(key=("web", "right"), secret_of_proof=secret) as server,
        handler_of(server, key="web:right", close_timeout=0.1) as handler,
    ):
        emit(handler, [1])
        if secret == "right":
            assert handler.flush(5)
        else:
            wait_for(lambda: handler._reporter.hook.count_with("not prove that it has the key"))
            assert not handler.flush(0.2)
        assert server.table.numbers() == ([1] if secret == "right" else [])
        assert not any("right" in text for text, _ in handler._reporter.hook)


def test_a_peer_of_an_unknown_protocol_is_reported():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        hook = Hook()
        port = listener.getsockname()[1]
        handler = client.SocketHandler("127.0.0.1", port, on_error=hook, close_timeout=0)
        handler.handle(record(1))
        connection, _ = listener.accept()
        connection.sendall(b"220 mail.example.com ESMTP\r\n")
        wait_for(lambda: hook.count_with("does not speak the fastlog protocol"))
        connection.close()
        end(handler)


# ---- the limit ----


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


# ---- records ----


class Unprintable:
    def __reduce__(self) -> Any:
        raise RuntimeError("not this one")

    __repr__ = __reduce__


class Long(Unprintable):
    def __repr__(self) -> str:
        return "x" * 100_000


def generator() -> Iterator[int]:
    yield 1


def nested() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (threading.Lock(), "<unlocked _thread.lock object"),
        (generator(), "<generator object"),
        (lambda: 1, "<function <lambda>"),
        ({"deep": [threading.Lock()]}, "{'deep': [<unlocked"),
        (Unprintable(), "<unprintable Unprintable>"),
        ([Unprintable()], "<unprintable list>"),
        (Long(), "x" * 4096 + "..."),
        (nested(), "<unprintable list>"),
    ],
    ids=["lock", "generator", "lambda", "within", "unprintable", "list", "long", "nested"],
)
def test_values_that_cannot_be_pickled_are_sent_as_text(value: Any, text: str):
    with FakeServer() as server, handler_of(server) as handler:
        emit(handler, [1], request=value, user={"id": [1, 2]})
        assert handler.flush()
        (_, _, attributes) = server.table.records[0]
        assert attributes["request"].startswith(text)
        assert len(attributes["request"]) < 4200
        assert attributes["user"] == {"id": [1, 2]}
        assert handler._reporter.hook.count_with("request") == 1


def test_arguments_that_do_not_fit_are_sent_with_the_message():
    with FakeServer() as server, handler_of(server) as handler:
        handler.handle(record(1, "%d of %d", ("x",)))
        handler.handle(record(2, "%s", (Unprintable(),)))
        assert handler.flush()
        texts = [attributes["msg"] for _, _, attributes in server.table.records]
        assert texts == ["'%d of %d' % ('x',)", "'%s' % <unprintable tuple>"]


class Braces(logging.LogRecord):
    def getMessage(self) -> str:  # noqa: N802 - logging's name
        return str(self.msg).format(*self.args)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (record(1, "%s is %d", ("x", 3)), "x is 3"),
        (record(1, "100 %"), "100 %"),
        (record(1, "%(a)s", ({"a": 5},)), "5"),
        (record(1, 42), "42"),
        (record(1, ValueError("bad")), "bad"),
    ],
)
def test_the_message_is_what_the_standard_handler_would_send(made: Any, message: str):
    with FakeServer() as server, handler_of(server) as handler:
        handler.handle(made)
        handler.handle(Braces("app", 20, "p", 1, "{} and {}", (1, 2), None))
        assert handler.flush()
        assert [a["msg"] for _, _, a in server.table.records] == [message, "1 and 2"]
        assert server.table.records[0][2]["args"] is None


def test_the_record_is_unchanged_for_the_handlers_that_follow():
    with FakeServer() as server, handler_of(server) as handler:
        made = record(1, "%s", ("x",))
        made.exc_info = raised()
        made.message = "set by another handler"
        before = dict(made.__dict__)
        handler.handle(made)
        assert made.__dict__ == before
        assert handler.flush()
        (_, _, sent) = server.table.records[0]
        assert "ZeroDivisionError" in sent["exc_text"]
        assert sent["exc_info"] is None
        assert "message" not in sent


def test_the_formatter_makes_the_traceback_and_one_that_fails_becomes_text():
    class Mine(logging.Formatter):
        def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
            if self.datefmt:
                raise RuntimeError("cannot")
            return "mine"

    with FakeServer() as server, handler_of(server) as handler:
        for fails in (None, "fails"):
            handler.setFormatter(Mine(datefmt=fails))
            made = record(1)
            made.exc_info = raised()
            handler.handle(made)
        assert handler.flush()
        texts = [attributes["exc_text"] for _, _, attributes in server.table.records]
        assert texts[0] == "mine"
        assert "ZeroDivisionError" in texts[1]


def test_an_object_that_is_not_a_record_becomes_a_gap():
    with FakeServer() as server, handler_of(server) as handler:
        handler.emit(None)
        emit(handler, [2])
        assert handler.flush()
        server.wait_exact(2)
        assert server.table.gaps[0][1].reason == 5
        assert handler.stats()["dropped"]["could not be encoded"] == 1


def test_filters_decide_and_may_replace_the_record():
    class Redact(logging.Filter):
        def filter(self, made: Any) -> Any:
            if made.number == 1:
                return False
            return logging.makeLogRecord({**made.__dict__, "msg": "redacted"})

    with FakeServer() as server, handler_of(server) as handler:
        handler.addFilter(Redact())
        emit(handler, [1, 2])
        assert handler.flush()
        assert [a["number"] for _, _, a in server.table.records] == [2]
        if sys.version_info >= (3, 12):
            assert server.table.records[0][2]["msg"] == "redacted"


# ---- in a program ----


def test_records_of_many_threads_arrive_in_the_order_of_each():
    with FakeServer() as server, handler_of(server) as handler:
        threads = [
            threading.Thread(target=emit, args=(handler, range(500)), kwargs={"thread": thread})
            for thread in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert handler.flush()
        server.wait_exact(4000)
        for thread in range(8):
            numbers = [a["number"] for _, _, a in server.table.records if a["thread"] == thread]
            assert numbers == list(range(500))


def test_records_that_the_hook_logs_do_not_recurse():
    logger = logging.Logger("app")

    def hook(text: str, error: BaseException | None) -> None:
        logger.error("%s", text, extra={"number": 0, "lock": threading.Lock()})

    with FakeServer() as server, handler_of(server, on_error=hook) as handler:
        logger.addHandler(handler)
        server.stop()
        emit(handler, [1])
        wait_for(lambda: handler.stats()["emitted"] == 2)
        server.restart()
        assert handler.flush()
        assert server.table.numbers() == [1, 0]


def test_a_hook_that_fails_has_no_effect():
    def hook(text: str, error: BaseException | None) -> None:
        raise RuntimeError("a broken hook")

    with FakeServer() as server, handler_of(server, on_error=hook) as handler:
        emit(handler, [1], lock=threading.Lock())
        assert handler.flush()


def test_a_signal_handler_that_logs_anywhere_does_not_deadlock(tmp_path: Path):
    import signal

    with FakeServer() as server, handler_of(server, spool=str(tmp_path)) as handler:
        caught = []

        def on_signal(*_: object) -> None:
            caught.append(1)
            emit(handler, [-1])

        before = signal.signal(signal.SIGALRM, on_signal)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
            emit(handler, range(3000))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert caught
        assert handler.flush(30)
        server.wait_exact(3000 + len(caught))
        assert [n for n in server.table.numbers() if n >= 0] == list(range(3000))


def test_by_default_one_line_a_minute_goes_to_stderr(capsys: pytest.CaptureFixture[str]):
    handler = client.SocketHandler("127.0.0.1", free_port(), close_timeout=0)
    emit(handler, [1, 2], lock=threading.Lock())
    end(handler)
    lines = capsys.readouterr().err.splitlines()
    assert sum("lock" in line for line in lines) == 1
    assert all(line.startswith("fastlog_client: 127.0.0.1:") for line in lines)


def test_nothing_goes_to_stderr_without_raise_exceptions(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    handler = client.SocketHandler("127.0.0.1", free_port(), close_timeout=0)
    emit(handler, [1], lock=threading.Lock())
    end(handler)
    assert capsys.readouterr().err == ""


def test_flush_returns_whether_everything_has_arrived():
    with FakeServer(acks=False) as server, handler_of(server) as handler:
        emit(handler, [1])
        assert not handler.flush(0.1)
        server.terms.acks = True
        wait_for(server.live)
        server.reset()
        assert handler.flush(10)


def test_the_end_of_the_process_declares_to_the_server_what_is_not_sent():
    with FakeServer(window=0) as server, handler_of(server, close_timeout=1.0) as handler:
        emit(handler, range(1, 11))
        wait_for(server.live)
        end(handler)
        assert server.table.gaps[0][1][:3] == (1, 10, 6)
        assert handler._reporter.hook.count_with("10 records were left at exit: they are lost") == 1
        assert handler.stats()["dropped"]["left at exit"] == 10


@pytest.mark.parametrize("spool", [False, True], ids=["memory", "spool"])
@pytest.mark.parametrize("how", ["close", "shutdown", "dictConfig"])
def test_a_handler_that_was_closed_opens_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, spool: bool
):
    """Without a server too: nothing waits, and nothing is lost."""
    options = {"spool": str(tmp_path / "spool")} if spool else {}
    with FakeServer() as server, handler_of(server, **options) as handler:
        monkeypatch.setattr(logging, "_handlerList", [weakref.ref(handler)])
        emit(handler, [1])
        assert handler.flush()
        close_by(how, handler)
        emit(handler, range(2, 11))
        assert handler.flush()
        server.stop()
        emit(handler, range(11, 1001))
        begin = time.monotonic()
        for number in range(1001, 1006):
            close_by(how, handler)
            emit(handler, [number])
        assert time.monotonic() - begin < 3
        server.restart()
        assert handler.flush(30)
        assert server.table.numbers() == list(range(1, 1006))
        stats = handler.stats()
        assert (stats["emitted"], stats["acked"], stats["pending"]) == (1005, 1005, 0)


def close_by(how: str, handler: Any) -> None:
    if how == "dictConfig":
        logging._handlerList.append(weakref.ref(handler))  # type: ignore[attr-defined]
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})
    elif how == "shutdown":
        logging.shutdown([weakref.ref(handler)])
    else:
        handler.close()


def test_a_handler_that_is_closed_and_unreferenced_continues_to_send():
    with FakeServer() as server:
        server.stop()
        closed = weakref.ref(log_and_close(server, 100))
        gc.collect()
        server.restart()
        server.wait_exact(100)
        wait_for(lambda: server.table.byes, "it has sent BYE")
        wait_for(lambda: is_collected(closed), "it is gone")


def log_and_close(server: FakeServer, count: int) -> Any:
    handler = client.SocketHandler(*server.address, on_error=Hook())
    emit(handler, range(1, count + 1))
    wait_for(lambda: handler.stats()["last_error"] or handler.stats()["acked"], "it has tried")
    handler.close()
    return handler


def is_collected(thing: weakref.ref[Any]) -> bool:
    gc.collect()
    return thing() is None


def test_handlers_that_were_closed_hold_no_thread_descriptor_or_memory():
    def held() -> tuple[int, int]:
        return sum(1 for _ in Path("/proc/self/fd").iterdir()), threading.active_count()

    with FakeServer() as server:
        before = held()
        for _ in range(200):
            log_and_close(server, 1)
        wait_for(lambda: len(server.table.byes) == 200, "all have sent BYE")
        wait_for(lambda: all(now <= then for now, then in zip(held(), before, strict=True)))
        wait_for(lambda: not process.sending, "nothing is left to send")
        gc.collect()
        assert sum(isinstance(thing, client.SocketHandler) for thing in gc.get_objects()) < 20


def test_it_can_be_configured_by_a_dict(tmp_path: Path):
    path = str(tmp_path / "socket")
    with FakeServer(path) as server:
        logging.config.dictConfig(
            {
                "version": 1,
                "disable_existing_loggers": False,
                "handlers": {
                    "fastlog": {
                        "class": "fastlog_client.SocketHandler",
                        "level": "INFO",
                        "host": path,
                        "max_bytes": 1_000_000,
                        "when_full": "spool",
                        "spool": str(tmp_path / "spool"),
                    }
                },
                "loggers": {"configured": {"handlers": ["fastlog"], "propagate": False}},
            }
        )
        logger = logging.getLogger("configured")
        logger.warning("hello %s", "you", extra={"number": 7})
        (handler,) = logger.handlers
        assert handler.flush(5)  # type: ignore[call-arg]
        assert server.table.numbers() == [7]
        logger.removeHandler(handler)
        handler.close()
        wait_for(lambda: list((tmp_path / "spool").iterdir()) == [])


@pytest.mark.parametrize(
    "options",
    [
        {"when_full": "panic"},
        {"when_full": "spool"},
        {"key": "no-secret"},
        {"key": ":x"},
        {"host": "/run/socket", "port": 9020},
        {"host": ""},
        {"port": "many"},
    ],
)
def test_an_argument_that_makes_no_sense_is_rejected(options: dict[str, Any]):
    with pytest.raises(ValueError):
        client.SocketHandler(**{"host": "localhost", **options})


def test_a_spool_that_cannot_be_made_is_rejected_at_once(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        client.SocketHandler("127.0.0.1", 9020, spool=str(tmp_path / "file" / "spool"))


def test_a_spool_whose_disk_fails_later_keeps_the_records_in_memory(tmp_path: Path):
    with FakeServer() as server, handler_of(server, spool=str(tmp_path / "spool")) as handler:
        (tmp_path / "spool").rmdir()
        emit(handler, [1])
        assert handler.flush()
        server.wait_exact(1)
        assert handler._reporter.hook.count_with("kept in memory") == 1


# ---- sockets that the program closes ----


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


_INTERRUPTED = """
import logging, random, signal, sys, threading, time
import fastlog_client

class Interrupt(Exception):
    pass

armed = False  # a second one must not come while the first is caught

def interrupt(_, frame):
    global armed
    # Not in Thread.start(): that then removes the thread from a list of threading, from which the
    # thread, which may run already, tries to remove itself: a KeyError of CPython's own.
    if armed and not is_in(threading.__file__, frame):
        armed = False
        raise Interrupt

def is_in(path, frame):
    while frame is not None and frame.f_code.co_filename != path:
        frame = frame.f_back
    return frame is not None

signal.signal(signal.SIGALRM, interrupt)
handler = fastlog_client.SocketHandler(
    "127.0.0.1", 1, max_bytes=int(sys.argv[1]), on_error=lambda *_: None, close_timeout=0.1
)
record = logging.makeLogRecord({"msg": "x"})
end = time.time() + 3
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0007)
while time.time() < end:
    try:
        armed = True
        for _ in range(random.randrange(300)):
            handler.emit(record)
        armed = False
    except Interrupt:
        pass
signal.setitimer(signal.ITIMER_REAL, 0)
last = threading.Thread(target=handler.emit, args=(record,))
last.start()
last.join(10)
handler.emit(record)
print("free" if not last.is_alive() else "stuck")
"""


@pytest.mark.parametrize("room", [1000, 1 << 26])
def test_a_signal_handler_that_raises_anywhere_leaves_no_lock_behind(room: int) -> None:
    """A time limit of a task queue does this, or a Ctrl-C that the program catches."""
    directory = str(CLIENT)
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED, str(room)],
        env={**os.environ, "PYTHONPATH": directory},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("free\n", "")


@pytest.mark.skipif(not hasattr(os, "register_at_fork"), reason="this Python knows no fork hooks")
def test_close_in_a_child_does_not_wait_for_a_sender_that_was_ending_in_the_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The fork interrupts close() after the sender has released the store, before it has ended."""
    is_closing, may_go_on, children = threading.Event(), threading.Event(), []
    close = Spool.close

    def close_slowly(spool: Any) -> None:
        is_closing.set()
        may_go_on.wait(30)
        close(spool)

    def fork_once(outbox: Any, seconds: float) -> None:
        if is_closing.wait(seconds) and not children:
            children.append(os.fork())
            if children == [0]:
                signal.alarm(20)
            else:
                may_go_on.set()

    with FakeServer() as server, handler_of(server, spool=str(tmp_path / "s")) as handler:
        emit(handler, [1])
        assert handler.flush(30)
        monkeypatch.setattr(Spool, "close", close_slowly)
        monkeypatch.setattr(Outbox, "_pause", fork_once)
        handler.close_timeout = 60.0
        try:
            handler.close()
        finally:
            if children == [0]:
                os._exit(0)
        assert os.waitpid(children[0], 0)[1] == 0
