"""Frames of real interpreters are decoded to what they logged."""

from __future__ import annotations

import json
import logging
import logging.handlers
import time
from functools import cache

import pytest
import shapes
from decoding import record_of
from interpreters import VERSIONS, interpreters

from fastlog.record import Record


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    if request.param not in interpreters():
        pytest.skip(f"no Python {request.param} on this machine")
    return str(request.param)


@cache
def record_once(data: bytes) -> Record:
    """Decode a frame. Picklers of several interpreters write the same bytes."""
    return record_of(data)


def test_every_shape_of_every_pickler_is_decoded_to_its_normal_form(version: str) -> None:
    wrong = []
    frames = shapes.frames(version)
    for shape, how, data in frames:
        record = record_once(data)
        extra = json.loads(record.extra)
        message = "user bob" if how == "socket" else "m"
        if (
            {"x"} != set(extra)
            or not shapes.accepts(shape, extra["x"])
            or record.message != message
        ):
            wrong.append((shape, how, record.extra[:200]))
    assert wrong == []
    assert len({shape for shape, _, _ in frames}) > 85
    assert len({how for _, how, _ in frames}) >= 7


def test_a_stock_record_has_every_field(version: str) -> None:
    frame = next(
        data for shape, how, data in shapes.frames(version) if (shape, how) == ("text", "socket")
    )
    actual = record_of(frame)
    expected = {
        "levelno": 30,
        "levelname": "WARNING",
        "name": "app.db",
        "message": "user bob",
        "pathname": "/srv/app.py",
        "filename": "app.py",
        "module": "app",
        "lineno": 12,
        "funcName": "run",
        "processName": "MainProcess",
        "threadName": "MainThread",
        "taskName": None,
        "exc_text": None,
        "stack_info": None,
        "host": "127.0.0.1",
        "received": 1.5,
        "extra": '{"x":"plain"}',
    }
    fields = actual._asdict()
    assert expected == {name: fields[name] for name in expected}
    assert abs(actual.created - time.time()) < 600
    assert actual.process and actual.thread


def test_a_traceback_is_stored_as_it_was_formatted() -> None:
    record = logging.LogRecord("app", 40, "/a.py", 1, "failed", None, None)
    try:
        raise ValueError("no")
    except ValueError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    handler = logging.handlers.SocketHandler("localhost", 0)
    actual = record_of(handler.makePickle(record)[4:])
    assert actual.exc_text and actual.exc_text.endswith("ValueError: no")
    assert actual.extra == "{}"
