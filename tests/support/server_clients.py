"""Handlers of `fastlog_client` that log to a real server."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import fastlog_client as client
from conditions import wait_for
from servers import Server


@contextmanager
def handler_of(port: int, **options: Any) -> Iterator[Any]:
    options.setdefault("on_error", lambda text, error: None)
    handler = client.SocketHandler("127.0.0.1", port, **options)
    try:
        yield handler
    finally:
        handler.close_timeout = min(handler.close_timeout, 2.0)
        handler._outbox.finish()  # what the end of its process does


def emit(handler: Any, numbers: Any, **extra: Any) -> None:
    for number in numbers:
        made = logging.LogRecord("app", 20, "/srv/app.py", 7, "n", None, None, "run")
        made.__dict__.update(extra, number=number)
        handler.handle(made)


def stored(server: Server) -> list[int]:
    """Return the numbers in the order in which they were stored."""
    return [json.loads(row["extra"])["number"] for row in server.records()]


class Logging(threading.Thread):
    """A thread that logs 0, 1, 2 … until `stop`."""

    def __init__(self, handler: Any, pause: float = 0.001) -> None:
        super().__init__(daemon=True)
        self.count = 0
        self._handler, self._pause = handler, pause
        self._ended = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._ended.wait(self._pause):
            emit(self._handler, [self.count])
            self.count += 1

    def stop(self) -> int:
        self._ended.set()
        self.join(30)
        return self.count


def disturb(server: Server, port: int, times: int, how: Callable[[], None], **options: Any) -> None:
    """Log without a break while `how` is called so many times; then compare what is stored."""
    with handler_of(port, **options) as handler:
        thread = Logging(handler)
        for _ in range(times):
            before = thread.count
            wait_for(lambda least=before + 200: thread.count >= least)
            how()
        count = thread.stop()
        assert handler.flush(60)
        server.wait_stored(count)
        assert stored(server) == list(range(count))
        assert server.losses() == server.rejected() == []
