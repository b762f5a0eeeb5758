"""A handler that was closed: it opens again, sends what it has, and holds nothing afterwards."""

from __future__ import annotations

import collections
import gc
import logging
import logging.config
import os
import signal
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import fastlog_client as client
import pytest
from client_handlers import Hook, emit, end, handler_of
from conditions import wait_for
from fastlog_client import outbox
from fastlog_client.connection import Connection
from fastlog_client.gap import NOT_ENCODED, Gap
from fastlog_client.outbox import Outbox
from fastlog_client.process import process
from fastlog_client.sender import Sender
from fastlog_client.spool import Spool
from protocol_server import FakeServer


def test_the_end_of_the_process_declares_to_the_server_what_is_not_sent():
    with FakeServer(window=0) as server, handler_of(server, close_timeout=4.0) as handler:
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


@pytest.mark.parametrize("store", ["memory", "spool"])
def test_a_record_that_arrives_while_the_sender_ends_is_sent(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A finalizer in the sender's thread emits it. dictConfig() forgets the handler meanwhile."""
    options = {"spool": str(tmp_path / "s")} if store == "spool" else {}
    with FakeServer() as server, handler_of(server, **options) as handler:
        emit(handler, [1])
        assert handler.flush(30)

        def totals_of(*args: Any) -> Any:
            monkeypatch.undo()
            emit(handler, [2])
            return outbox.totals_of(*args)

        monkeypatch.setattr(outbox, "totals_of", totals_of)
        handler.close()
        wait_for(lambda: server.table.numbers() == [1, 2])


def test_a_thread_that_starts_after_the_sender_has_ended_leaves_the_outbox_alone():
    """Else the next record would not wake another sender."""
    with FakeServer() as server, handler_of(server) as handler:
        emit(handler, [1])
        sender = handler._outbox.sender
        handler.close()
        wait_for(lambda: handler._outbox.sender is None)
        sender._run()
        assert handler._outbox.needs_wakeup
        assert not handler._outbox.inbox


def test_after_a_thread_has_woken_a_sender_that_was_ending_the_next_record_is_sent():
    class Ending(Sender):
        """Ends while this thread is about to wake it."""

        @property
        def has_thread(self) -> bool:
            if threading.current_thread() in waking:
                waking.clear()
                handler.close()
                wait_for(lambda: handler._outbox.sender is None)
            return True

    waking: list[threading.Thread] = []
    with FakeServer() as server, handler_of(server) as handler:
        emit(handler, [1])
        assert handler.flush(30)
        del handler._outbox.sender.has_thread
        handler._outbox.sender.__class__ = Ending
        waking.append(threading.current_thread())
        handler._outbox.wake_sender()
        handler._outbox.room = 1000  # that thread had read it before, and writes what is left
        emit(handler, [2])
        wait_for(lambda: server.table.numbers() == [1, 2])


def test_a_gap_is_noticed_whatever_other_threads_put_meanwhile():
    class Interrupted(collections.deque[bytes | None]):
        def __getitem__(self, at: Any) -> Any:
            handler._outbox._keep(collections.deque((Gap(NOT_ENCODED, 1), None)))
            return super().__getitem__(at)

    with FakeServer() as server, handler_of(server) as handler:
        handler._outbox._keep(Interrupted((b"a record", None)))
        assert handler._outbox._has_gaps
        handler._outbox.inbox.clear()


@pytest.mark.parametrize("name", ["is_ready", "node"])
def test_a_connection_may_end_while_a_thread_looks_at_it(name: str):
    class Ending(Connection):
        _session = property(lambda _: sessions.pop(0))

    with FakeServer() as server, handler_of(server) as handler:
        emit(handler, [1])
        assert handler.flush(30)
        sessions = [handler._outbox.sender.connection._session, None, None]
        assert getattr(Ending.__new__(Ending), name)
