"""JSON frames: the quick reader gives the same as the reference, and reads ordinary frames."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastlog.decode.bounds import DEPTH, NODES
from fastlog.decode.json_frames import (
    NESTING,
    NUMBER_LENGTH,
    NUMBER_SPACING,
    QUICK_LENGTH,
    quick_line,
    quick_record,
    read_json,
)
from fastlog.decode.json_lines import encode
from fastlog.decode.record_builder import build_record
from fastlog.decode.validation import DROPPED, DROPPED_IF_EMPTY, FIELDS
from fastlog.errors import RejectedError
from fastlog.record import Record

WHERE: dict[str, Any] = {"host": "127.0.0.1", "received": 1e9, "offset": 5, "idx": 3}
HUGE = "7" * 4097
NAMES = (*sorted(FIELDS), *DROPPED, *DROPPED_IF_EMPTY, "message", "!notes", "!cut", "host", "extra")


def reference(frame: bytes) -> Record | None:
    """Return the record by the reference; None: the frame is rejected."""
    try:
        value = read_json(frame)
    except RejectedError:
        return None
    return build_record(value, len(frame), **WHERE)


def check(frame: bytes) -> bool:
    """Check that the quick readers agree with the reference; return whether they gave a record."""
    actual = quick_record(frame, **WHERE)
    line = quick_line(frame, **WHERE)
    assert (actual is None) == (line is None)
    if actual is None or line is None:
        return False
    assert repr(reference(frame)) == repr(actual)  # by repr, since 0 == -0.0 == False
    assert encode(actual) == line
    return True


def stock(**extra: object) -> dict[str, Any]:
    """Return the attributes of a record of the standard library."""
    record = logging.LogRecord("app.db", logging.INFO, "/srv/db.py", 7, "used %d", (5,), None, "f")
    record.msg, record.args = record.getMessage(), None
    return record.__dict__ | extra


def dumped(**extra: object) -> bytes:
    return json.dumps(stock(**extra)).encode()


def nested(depth: int) -> bytes:
    """Return a frame with containers inside each other; the record itself is not counted."""
    return b'{"a":' + b"[" * depth + b"]" * depth + b"}"


def failed(depth: int) -> str:
    """Return the traceback of an error at a call depth."""
    try:
        if depth:
            failed_at(depth)
    except ValueError:
        return traceback.format_exc()
    return ""


def failed_at(depth: int) -> None:
    if depth == 1:
        raise ValueError('no more "rows"\tof {table} [1]')
    failed_at(depth - 1)


# Frames for the quick reader

ORDINARY = {
    "stock record": dumped(),
    "stock record after a formatter": dumped(message="used 5", asctime="2026-11-23 10:00:00,123"),
    "stock record with extras": dumped(
        user="u77", request_id="c0ffee", ratio=0.25, ok=True, tags=["a", "b"], of={"a": [1, None]}
    ),
    "non-ASCII text, escaped": dumped(user="журнал 📜 \x1f\x7f"),
    "non-ASCII text, raw": json.dumps(stock(user="журнал 📜"), ensure_ascii=False).encode(),
    "default=str": json.dumps(stock(at=datetime.now(UTC), of={1, 2}), default=str).encode(),
    "indented": json.dumps(stock(), indent=2).encode(),
    "traceback": dumped(exc_text=failed(30), exc_info="ValueError('no more')"),
    "300 keys": dumped(
        data={f"key_{i}": i for i in range(300)}, **{f"k{i}": i for i in range(300)}
    ),
    "structured traceback": dumped(
        exception=[
            {"frames": [{"file": "a.py", "line": i, "locals": {"x": "1"}} for i in range(60)]}
        ]
    ),
    "brackets in text": dumped(user="[" * 100),
    "numbers": dumped(metrics=[i / 7 for i in range(300)], small=5e-324, large=-1.5e300),
    "integers beyond 64 bits": dumped(user=2**64, other=-(10**900)),
    "structlog": (
        b'{"event": "paid", "level": "info", "logger": "app", "timestamp": "2026-11-23T10:00:00Z"}'
    ),
    "python-json-logger": (
        b'{"asctime": "2026-11-23 10:00:00,123", "levelname": "WARNING", "name": "app",'
        b' "message": "disk at 91 %", "exc_info": "Traceback (most recent call last):\\n  ..."}'
    ),
    "the last time of the calendar": b'{"created":253402300799.9999}',
    "integer time": b'{"created": 1700000000, "msg": "x", "levelno": 25, "thread": null}',
    "neither level nor message": b'{"created": -0.0, "user": -0}',
    "level by name, unknown": b'{"msg": "x", "levelname": "SUCCESS"}',
    "loguru's empty traceback": b'{"msg": "x", "exc_text": "\\n", "stack_info": ""}',
    "empty": b"{}",
    "equal keys": b'{"a":1,"b":2,"a":3,"msg":1,"msg":"x","args":[1],"args":[]}',
    "as deep as it may be": nested(DEPTH),
    "as deep, with others beside it": b'{"b":[[],{}],"c":"[",' + nested(DEPTH)[1:],
    "digits of a long integer": b'{"a":' + HUGE[:NUMBER_LENGTH].encode() + b"}",
    "digits of a long float": b'{"a":0.' + b"7" * (NUMBER_LENGTH - 2) + b"}",
    "containers alone": b'{"a":[' + b"[[[]]]," * 2_000 + b"1]}",
    "long": b'{"a":"' + b"x" * (QUICK_LENGTH - 8) + b'"}',
    "wide": b'{"a":[' + b"1," * (NODES - 4) + b"1]}",
}


@pytest.mark.parametrize("frame", ORDINARY.values(), ids=ORDINARY)
def test_an_ordinary_frame_is_read_quickly_to_the_same_record(frame: bytes) -> None:
    assert check(frame)


# Frames for the reference

LEFT = {
    "no JSON": b"{",
    "two objects": b"{} {}",
    "an array": b"[1]",
    "a text": b'"msg"',
    "not UTF-8": b'{"a":"\xff"}',
    "a surrogate in UTF-8": b'{"a":"\xed\xa0\x80"}',
    "a key that is not UTF-8": b'{"\xff":1}',
    "lone surrogate": b'{"a":"\\ud800"}',
    "NUL in a text": b'{"a":"\\u0000"}',
    "NUL in a key": b'{"\\u0000":1}',
    "NaN": b'{"a":NaN}',
    "infinite": b'{"a":-Infinity}',
    "a float over the largest": b'{"a":1e400}',
    "floats over the largest": b'{"a":[1,1,1,1,1,1,1,1e400]}',
    "digits of a longer float": b'{"a":0.' + b"7" * 4000 + b"}",
    "digits of a longer integer": b'{"a":' + HUGE[1:].encode() + b"}",
    "an integer that is cut": b'{"a":' + HUGE.encode() + b"}",
    "an integer that is cut, in a column": b'{"lineno":-' + HUGE.encode() + b"}",
    "text that looks like such an integer": b'{"a":"' + HUGE.encode() + b'"}',
    "a column beyond 64 bits": b'{"lineno":9223372036854775808}',
    "text for a number": b'{"lineno":"7"}',
    "a float for an integer": b'{"levelno":20.0}',
    "a truth value for an integer": b'{"levelno":true}',
    "a number for text": b'{"name":5}',
    "a list of lines": b'{"exc_text":["a","b"]}',
    "a time that no calendar has": b'{"created":1e12}',
    "the first time after the calendar": b'{"created":253402300800}',
    "a time as text": b'{"created":"1700000000.5"}',
    "a message that is no text": b'{"msg":{"a":1}}',
    "a twin that is no text": b'{"message":[]}',
    "a twin that differs": b'{"msg":"x","message":"y"}',
    "arguments to merge": b'{"msg":"x %s","args":["y"]}',
    "too deep": nested(DEPTH + 1),
    "too deep in objects": b'{"a":' * (DEPTH + 2) + b"1" + b"}" * (DEPTH + 2),
    "too deep for the parser": nested(NESTING + 1),
    "too deep for msgspec": nested(10_000),
    "too long": b'{"a":"' + b"x" * (QUICK_LENGTH - 7) + b'"}',
    "too wide": b'{"a":[' + b"1," * NODES + b"1]}",
}


@pytest.mark.parametrize("frame", LEFT.values(), ids=LEFT)
def test_other_frames_are_left_to_the_reference(frame: bytes) -> None:
    assert not check(frame)


def test_a_frame_is_read_the_same_when_little_of_the_stack_is_left() -> None:
    def at_depth(depth: int) -> None:
        if depth:
            at_depth(depth - 1)
        else:
            check(nested(DEPTH))

    at_depth(sys.getrecursionlimit() - 300)


# Arbitrary frames

TEXTS = st.text(st.characters(codec=None), max_size=12) | st.sampled_from(
    ("", "\n", "INFO", "warn", "Level 25", "x\0", "\ud800", "[[[[{{{{", '"\\', "\\u0000", "é" * 9)
)
NUMBERS = (
    st.integers()
    | st.floats()
    | st.sampled_from((0, 25, 2**63, -(2**63), 2**64, 10**4096, 10**4095, 1.7e9, 1e15, 9e306))
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
KEYS = st.sampled_from(NAMES) | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(KEYS, SCALARS | VALUES, max_size=12)
TYPICAL = st.builds(lambda changes, extra: stock() | extra | changes, OBJECTS, OBJECTS)


@given(OBJECTS | TYPICAL, st.booleans())
@settings(max_examples=400, deadline=None)
def test_any_object_is_read_as_the_reference_reads_it(value: dict[str, Any], escaped: bool) -> None:
    text = json.dumps(value, ensure_ascii=escaped, separators=(",", ":"))
    check(text.encode("utf-8", "surrogatepass"))


@given(st.lists(st.tuples(KEYS, SCALARS), max_size=12))
@settings(max_examples=200, deadline=None)
def test_equal_keys_are_read_as_the_reference_reads_them(pairs: list[tuple[str, Any]]) -> None:
    members = (f"{json.dumps(key)}:{json.dumps(value)}" for key, value in [*pairs, *pairs[::2]])
    check(f"{{{','.join(members)}}}".encode())


PIECES = (
    *(b'"a"', b'"msg"', b'"created"', b'"lineno"', b'""', b'"\\', b"\\u00", b"\\ud83d", b"\\ude00"),
    *(b"{", b"}", b"[", b"]", b":", b",", b" ", b"\n", b"\0", b"\xff", b"\xc3\xa9", b"x", b'"'),
    *(b"0", b"1", b"-", b".", b"e", b"E+", b"9e306", b"e-324", b"null", b"true", b"false", b"NaN"),
)


@given(st.lists(st.sampled_from(PIECES), max_size=16))
@settings(max_examples=600, deadline=None)
@example([b'"a"', b":", b"1", b",", b"}"])
def test_any_bytes_are_read_as_the_reference_reads_them(pieces: list[bytes]) -> None:
    check(b"{" + b"".join(pieces))
    check(b'{"a":' + b"".join(pieces) + b"}")


DIGITS = st.text("0123456789", min_size=1, max_size=30)


@given(DIGITS, DIGITS | st.just(""), st.integers(-400, 400) | st.none(), st.booleans())
@settings(max_examples=400, deadline=None)
def test_any_number_is_read_as_the_reference_reads_it(
    whole: str, part: str, exponent: int | None, dense: bool
) -> None:
    number = str(int(whole)) + (f".{part}" if part else "")
    number += "" if exponent is None else f"e{exponent}"
    space = "" if dense else " " * 2 * NUMBER_SPACING
    numbers = f",{space}".join([number, f"-{number}"] * 3)
    check(f'{{"created":{number},{space}"a":[{numbers}]}}'.encode())


def test_the_tree_has_each_key_once() -> None:
    actual = read_json(b'{"a":111,"b":{"c":222,"c":3},"a":4}')
    assert repr(read_json(b'{"a":4,"b":{"c":3}}')) == repr(actual)
