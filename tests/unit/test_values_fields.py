"""Fields of the schema that have values of other types, and rows that C has checked."""

from __future__ import annotations

import enum
import json
import pickle
from typing import Any

import pytest
from logged_values import BERLIN, MOMENT, Level, Number, Text, record_of

from fastlog.decode.record_builder import build_record, complete_record
from fastlog.decode.unpickle import unpickle
from fastlog.decode.validation import COLUMNS


class Name(str, enum.Enum):  # noqa: UP042  # as applications write it
    DB = "app.db"


class Real(float):
    pass


@pytest.mark.parametrize("protocol", range(6))
def test_a_field_takes_the_base_value_of_a_subclass(protocol: int) -> None:
    sent = {
        "levelno": Level.NOTICE,
        "name": Name.DB,
        "msg": Text("hello"),
        "threadName": Text("worker-1"),
        "lineno": Number(12),
        "created": Real(5.5),
        "process": Real(7.0),
    }
    actual = record_of(pickle.dumps(sent, protocol))
    assert (actual.levelno, actual.name, actual.message) == (25, "app.db", "hello")
    assert (actual.threadName, actual.lineno, actual.created) == ("worker-1", 12, 5.5)
    assert (actual.process, actual.extra) == (7, "{}")


def test_a_field_does_not_take_a_base_value_of_another_kind() -> None:
    sent = {"levelno": Text("notice"), "name": Number(5), "msg": "m"}
    actual = record_of(pickle.dumps(sent, 4))
    assert (actual.levelno, actual.name) == (None, None)
    assert [
        f'levelno: {{"!":"{Text.__module__}.Text","args":["notice"]}} is not an integer',
        f'name: {{"!":"{Number.__module__}.Number","args":[5]}} is not text',
    ] == json.loads(actual.extra)["!notes"]


def test_a_level_that_is_pickled_by_name_is_noted_and_its_number_comes_from_levelname() -> None:
    frame = (
        b"\x80\x04}(X\x07\0\0\0levelnoc__builtin__\ngetattr\ncapp\nLevel\nX\x06\0\0\0NOTICE\x86R"
        b"X\x09\0\0\0levelname%su."
    )
    frame = frame.replace(b"c__builtin__", b"cbuiltins")
    for name, levelno in ((b"Level 25", 25), (b"NOTICE", None), (b"WARNING", 30)):
        actual = record_of(frame % (b"\x8c" + bytes([len(name)]) + name))
        assert (actual.levelno, actual.levelname) == (levelno, name.decode())
        kept = json.loads(actual.extra)
        assert kept["levelno"] == "app.Level.NOTICE"
        assert kept["!notes"] == ["levelno: 'app.Level.NOTICE' is not an integer"]


# Frames whose fields C has checked


def tree(sent: dict[str, Any]) -> list[Any]:
    with unpickle(pickle.dumps(sent, 4)) as value:
        return list(value["pairs"])


@pytest.mark.parametrize("length", [60, 200, 2000, 100_000])
def test_completing_a_row_gives_the_record_of_the_whole_frame(length: int) -> None:
    """Small lengths make both cut values, and also columns when the marks take their room."""
    extras: list[dict[str, Any]] = [
        {"user": "bob", "when": MOMENT.replace(tzinfo=BERLIN)},
        {"message": "hello a 5", "more": (1, [2])},
        {"message": "hello %s %d", "asctime": "12:00"},
        {"big": ["x" * 50] * 40, "small": 1, "keys": {(1, 2): 3, None: 4}},
        {f"key{number}": [[]] for number in range(60)},
    ]
    fields: dict[str, Any] = {"name": "app", "levelno": 20, "levelname": "INFO", "created": 5.5}
    for message in ("hello %s %d", "é" * 10, "y" * 300):
        for rest in extras:
            sent = fields | {"msg": message} | rest
            with unpickle(pickle.dumps(sent, 4)) as value:
                expected = build_record(value, length, host="h", received=1.0, offset=2, idx=3)
            named = sent | {"message": message}
            columns = [named.get(name) for name in COLUMNS]
            actual = complete_record((*columns, "h", None, 1.0, None, 2, 3), tree(rest), length)
            assert expected == actual
