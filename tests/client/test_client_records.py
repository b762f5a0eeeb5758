"""What the handler sends of a record: its values, its message and its traceback."""

from __future__ import annotations

import logging
import logging.config
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from client_handlers import emit, handler_of, raised, record
from protocol_server import FakeServer


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


def test_an_object_that_is_not_a_record_becomes_a_gap():
    with FakeServer() as server, handler_of(server) as handler:
        handler.emit(None)
        emit(handler, [2])
        assert handler.flush()
        server.wait_exact(2)
        assert server.table.gaps[0][1].reason == 5
        assert handler.stats()["dropped"]["could not be encoded"] == 1
