"""Messages are merged with the arguments that come with them."""

from __future__ import annotations

import decimal
import http
import json
import logging
import pickle
import time
import uuid
from typing import Any

import pytest
from logged_values import Level, Number, Text, record_of

MERGED: list[tuple[str, Any, str]] = [
    ("%s has %d", ("user", 7), "user has 7"),
    ("%(a)s", {"a": "dict"}, "dict"),
    ("%(a)s and %(b)5.1f%%", {"a": 1, "b": 2.25, "c": None}, "1 and   2.2%"),
    ("%s", {"a": 1}, '{"a":1}'),
    ("%r %r", ("it's", 1), '"it\'s" 1'),
    ("%a", ("é",), "'\\xe9'"),
    ("%s %s %s", (None, True, 1.5), "None True 1.5"),
    ("%05d|%-5d|%+d|% d|%x|%#o|%X", (1, 2, 3, 4, 255, 8, 171), "00001|2    |+3| 4|ff|0o10|AB"),
    ("%e %.3g %G", (1.5, 2.0, 1e-10), "1.500000e+00 2 1E-10"),
    ("%d %i %u", (True, 2.9, -3), "1 2 -3"),
    ("%*d|%-*d|%.*f", (5, 1, 5, 2, 2, 1.239), "    1|2    |1.24"),
    ("%.2s|%5.1s", ("abc", "xyz"), "ab|    x"),
    ("%c%c", ("a", 98), "ab"),
    ("%ld %hs", (1, "x"), "1 x"),
    ("100%% of %s", ("x",), "100% of x"),
    ("%s", ([1, "a"],), '[1,"a"]'),
    ("%s", (uuid.UUID(int=7),), "00000000-0000-0000-0000-000000000007"),
    ("%.1f", (decimal.Decimal("1.25"),), f"{1.25:.1f}"),
    ("%d %s %s", (Number(5), Level.NOTICE, Text("t")), "5 25 t"),
    ("%s", (ValueError("bad"),), "bad"),
    ("%d", (http.HTTPStatus.OK,), "200"),
    ("%s", (float("nan"),), "nan"),
    ("%f", (float("inf"),), "inf"),
    ("%d", (2**100,), str(2**100)),
    ("%s %s", ("a\0", "\ud800"), "a\\x00 \\ud800"),
]


@pytest.mark.parametrize(("msg", "args", "expected"), MERGED)
def test_a_message_is_merged_with_plain_arguments(msg: str, args: Any, expected: str) -> None:
    actual = record_of(pickle.dumps({"msg": msg, "args": args}, 4))
    assert (expected, "{}") == (actual.message, actual.extra)


def test_a_json_object_is_merged_too() -> None:
    sent = {"msg": "%s has %d in %(unit)s", "args": {"unit": "kg"}}
    assert "!notes" in record_of(json.dumps(sent).encode()).extra
    sent = {"msg": "%s has %d", "args": ["user", 7]}
    actual = record_of(json.dumps(sent).encode())
    assert (actual.message, actual.extra) == ("user has 7", "{}")


NOT_MERGED: list[tuple[Any, Any, str]] = [
    ("brace {}", ("style",), "not all arguments fit into the message"),
    ("%s %s", ("one",), "not enough arguments for the message"),
    ("%d", ("text",), "an argument is no number"),
    ("%x", (1.5,), "an argument is no integer"),
    ("%c", ("text",), "an argument does not fit its conversion"),
    ("%q", ("text",), "'%q' is no conversion"),
    ("100%", ("text",), "'%' is no conversion"),
    ("%(b)s", {"a": 1}, "no argument 'b'"),
    ("%(b)s", ("a",), "no argument 'b'"),
    ("%1000000000d", (1,), "a width or a precision is too large"),
    ("%.999999999f", (1.0,), "a width or a precision is too large"),
    ("%*d", (10**9, 1), "a width or a precision is too large"),
    ("%.*f", ("x", 1), "a width or a precision is too large"),
    ("%999d" * 100, (1,) * 100, "the result is too long"),
    (
        "%(a).1s" * 10_000,
        {"a": "x" * 100_000},
        "the arguments are too long for so many conversions",
    ),
    ({"event": "x"}, ("a",), "the message is no text"),
]


@pytest.mark.parametrize(("msg", "args", "reason"), NOT_MERGED)
def test_arguments_that_cannot_be_merged_are_kept_with_a_note(
    msg: Any, args: Any, reason: str
) -> None:
    started = time.process_time()
    actual = record_of(pickle.dumps({"msg": msg, "args": args}, 4))
    assert time.process_time() - started < 1
    assert actual.message == (msg if isinstance(msg, str) else '{"event":"x"}')
    kept = json.loads(actual.extra)
    assert kept["!notes"] == [f"args: not merged with the message: {reason}"]
    assert kept["args"] == json.loads(json.dumps(args))


def test_a_pickled_log_record_is_merged() -> None:
    record = logging.LogRecord("app", 30, "/a.py", 7, "%s has %d", ("user", 7), None)
    for protocol in range(6):
        for sent in (record, record.__dict__):
            actual = record_of(pickle.dumps(sent, protocol))
            assert (actual.message, actual.levelno, actual.extra) == ("user has 7", 30, "{}")


def test_a_message_that_equals_the_merged_msg_is_dropped() -> None:
    sent = {"msg": "%s has %d", "args": ("user", 7), "message": "user has 7"}
    actual = record_of(pickle.dumps(sent, 4))
    assert (actual.message, actual.extra) == ("user has 7", "{}")


def test_the_args_of_a_json_client_that_sends_a_message_are_an_attribute() -> None:
    actual = record_of(b'{"message": "task %s done", "args": [1]}')
    assert (actual.message, actual.extra) == ("task %s done", '{"args":[1]}')
