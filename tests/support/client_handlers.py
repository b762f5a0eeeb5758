"""Handlers of `fastlog_client` in this process, and records for them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fastlog_client as client
from conditions import wait_for
from protocol_server import FakeServer


class Hook(list[tuple[str, BaseException | None]]):
    """A hook that collects the reports."""

    def __call__(self, text: str, error: BaseException | None) -> None:
        self.append((text, error))

    def count_with(self, part: str) -> int:
        return sum(part in text for text, _ in list(self))


@contextmanager
def handler_of(server: FakeServer, **options: Any) -> Iterator[Any]:
    options.setdefault("on_error", Hook())
    handler = client.SocketHandler(*server.address, **options)
    try:
        yield handler
    finally:
        handler.close_timeout = min(handler.close_timeout, 2.0)
        end(handler)


def end(handler: Any) -> None:
    """End a handler as the end of its process does: it must not affect later tests."""
    handler._outbox.finish()
    wait_for(lambda: handler._outbox.sender is None, "the sender has ended")


def record(number: int = 0, msg: Any = "hello", args: Any = None, **extra: Any) -> Any:
    made = logging.LogRecord("app", logging.INFO, "/srv/app.py", 7, msg, args, None, "run")
    made.__dict__.update(extra, number=number)
    return made


def emit(handler: Any, numbers: Any, **extra: Any) -> None:
    for number in numbers:
        handler.handle(record(number, **extra))


def raised() -> Any:
    try:
        1 / 0  # noqa: B018 - it is to fail
    except ZeroDivisionError:
        return sys.exc_info()
