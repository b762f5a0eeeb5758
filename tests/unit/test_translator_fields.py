"""The translator and the fields of a record: which of their values are plain."""

from __future__ import annotations

import collections
import math
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from translations import check, frame_with, is_plain, is_read, record_of, rows_of

from fastlog.core import TREE
from fastlog.decode.bounds import WEIGHT
from fastlog.decode.c_engine import RECURRING, columns
from fastlog.decode.validation import FIELDS, TIMES
from fastlog.record import Record

NO_VALUE = (None, False, [], (), {}, "", b"")
IN_FIELDS = (
    *NO_VALUE,
    *("\n", b"\n", True, 0, 1, 0.0, -0.0, 1.5, " ", "\r", "\n\n", set(), bytearray(), 1 << 70),
    *(["a", "b\n"], ("a", "ü"), ["a", 1], ["a", None], [["a"]], {"a": 1}, [b"a", "b"], ["\0"]),
)


@pytest.mark.parametrize("protocol", [1, 2, 4])
@pytest.mark.parametrize("field", sorted({*FIELDS, "asctime", "args", "exc_info"}))
def test_any_value_of_a_field_gives_the_same_result(field: str, protocol: int) -> None:
    for value in IN_FIELDS:
        is_plain(pickle.dumps({"msg": "m", "levelname": "L", field: value}, protocol))
        is_plain(pickle.dumps({"msg": "m", "levelno": 1, "x": "y", field: value}, protocol))


@pytest.mark.parametrize("field", ["exc_text", "stack_info", "taskName", "thread", "lineno"])
def test_a_field_without_a_value_is_plain(field: str) -> None:
    """picologging sends `stack_info=False` with each record, which must stay fast."""
    feeds = () if field in ("thread", "lineno") else ("\n", b"\n")
    for value in (*NO_VALUE, *feeds):
        assert is_plain(pickle.dumps({"msg": "m", field: value}, 4)), value


def test_the_columns_have_the_names_that_clients_send() -> None:
    made = list(columns())
    named = [c for c in made if c.kind in ("time", "integer", "text", "trace", "message")]
    assert {column.name for column in named} == FIELDS
    own = [
        column
        for column in made
        if column.kind not in ("silent", "empty", "args", "twin", "nested")
    ]
    assert [("message" if c.name == "msg" else c.name) for c in own] == list(Record._fields)
    assert {c.name for c in made if c.recurs} == RECURRING


@pytest.mark.parametrize("number", [(1 << 63), (1 << 64) - 1])
def test_a_field_with_an_integer_beyond_64_bits_is_not_plain(
    number: int,
) -> None:
    assert check(frame_with(None, thread=number)) == TREE


@settings(deadline=None)
@given(st.integers(-(1 << 63), (1 << 63) - 1), st.sampled_from(["levelno", "lineno", "thread"]))
def test_an_integer_of_a_field_is_unchanged(number: int, name: str) -> None:
    fields = {"levelno": 1, "levelname": "L", name: number}
    (row,) = rows_of(frame_with(None, **fields))
    assert getattr(row, name) == number


def test_a_dict_of_another_class_is_a_record() -> None:
    ordered = collections.OrderedDict(msg="m", name="a", x=1)
    for protocol in (1, 2, 4):
        assert check(pickle.dumps(ordered, protocol)) == TREE
    assert is_read(b"capp\nC\n)R}X\3\0\0\0msgX\1\0\0\0msb.")


def test_an_object_never_names_a_field() -> None:
    latin = b"c_codecs\nencode\nX\x04\0\0\0nameX\6\0\0\0latin1\x86R"
    assert is_read(b"}(X\3\0\0\0msgX\1\0\0\0m" + latin + b"X\1\0\0\0nu.")


def test_a_field_that_is_set_twice_is_left_to_python() -> None:
    for first in (b"X\4\0\0\0name", b"U\4name"):
        for second in (b"X\4\0\0\0name", b"U\4name"):
            both = first + b"X\1\0\0\0a" + second + b"X\1\0\0\0b"
            assert check(b"}(X\3\0\0\0msgX\1\0\0\0m" + both + b"u.") == TREE


@pytest.mark.parametrize(
    ("created", "plain"),
    [
        (1.5, True),
        (-0.0, True),
        (None, True),
        (TIMES[0], True),
        (math.nextafter(TIMES[1], 0), True),
        (TIMES[1], False),
        (math.nextafter(TIMES[0], -math.inf), False),
        (math.nan, False),
        (math.inf, False),
        (5, True),
        (1 << 60, False),
        (True, False),
        ("5", False),
    ],
)
def test_a_time_is_plain_from_the_year_1_to_9999(created: Any, plain: bool) -> None:
    assert is_plain(frame_with(None, created=created)) is plain


@pytest.mark.parametrize("level", [{}, {"levelno": 5}, {"levelname": "X"}, {"levelno": None}])
def test_a_level_is_plain_if_both_its_fields_are_set_or_neither(level: dict[str, Any]) -> None:
    assert is_plain(frame_with(None, **level)) is not any(level.values())


MESSAGES = [
    ({"msg": "m", "message": "m"}, True),
    ({"msg": "m", "message": None}, True),
    ({"msg": "m", "message": "other", "args": (1,)}, False),
    ({"msg": "m", "message": "other", "args": {}}, True),
    ({"msg": "m", "message": ["m"], "exc_info": True}, True),
    ({"msg": "é", "message": "é".encode()}, True),
    ({"message": "m", "msg": "m", "args": {}, "exc_info": ""}, True),
    ({"msg": None, "message": "m"}, False),
    ({"msg": 5}, False),
    ({}, False),
    ({"msg": "m", "msecs": "5", "relativeCreated": [1]}, True),
]


@pytest.mark.parametrize(("sent", "plain"), MESSAGES)
def test_the_rules_for_messages_and_silent_attributes_hold(
    sent: dict[str, Any], plain: bool
) -> None:
    assert is_plain(pickle.dumps(sent, 3)) is plain


def test_an_attribute_that_equals_the_message_is_dropped_at_any_length() -> None:
    for text in ("x" * (WEIGHT - 99), "\n" * (WEIGHT // 2 - 99)):
        frame = pickle.dumps({"msg": text, "message": str(text)}, 1)
        assert is_read(frame)
        assert (record_of(frame).message, record_of(frame).extra) == (text, "{}")
