"""The values that applications log are stored as `docs/pickle.md` says; with real pickles."""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import enum
import fractions
import functools
import http
import ipaddress
import json
import logging
import pathlib
import pickle
import re
import signal
import socket
import ssl
import struct
import time
import types
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any

import pytest

from fastlog.decode import read_record
from fastlog.decode.record_builder import build_record, complete_record
from fastlog.decode.unpickle import unpickle
from fastlog.decode.validation import COLUMNS
from fastlog.record import Record


def record_of(frame: bytes) -> Record:
    return read_record(frame, host="h", received=1.0, offset=2, idx=3)


def extra_of(frame: bytes) -> Any:
    return json.loads(record_of(frame).extra)


# The standard library


class Level(enum.IntEnum):
    NOTICE = 25


class Name(str, enum.Enum):  # noqa: UP042  # as applications write it
    DB = "app.db"


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Real(float):
    pass


MOMENT = datetime.datetime(2026, 11, 23, 14, 5, 6)
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")

STANDARD: dict[str, tuple[Any, Any]] = {
    "zoned": (MOMENT.replace(tzinfo=BERLIN), "2026-11-23T14:05:06[Europe/Berlin]"),
    "offset with a name": (
        MOMENT.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=1), "X")),
        "2026-11-23T14:05:06+01:00",
    ),
    "offset of seconds": (
        MOMENT.replace(tzinfo=datetime.timezone(datetime.timedelta(seconds=61))),
        "2026-11-23T14:05:06+00:01:01",
    ),
    "fold": (MOMENT.replace(fold=1), "2026-11-23T14:05:06"),
    "zone": (BERLIN, "Europe/Berlin"),
    "timezone": (datetime.timezone(datetime.timedelta(hours=1)), "UTC+01:00"),
    "utc": (datetime.timezone.utc, "UTC"),  # noqa: UP017
    "struct_time": (time.gmtime(0), "1970-01-01T00:00:00+00:00"),
    "IPv4Address": (ipaddress.ip_address("10.0.0.1"), "10.0.0.1"),
    "IPv6Address": (ipaddress.ip_address("fe80::1"), "fe80::1"),
    "IPv6Address with a scope": (ipaddress.ip_address("fe80::1%eth0"), "fe80::1%eth0"),
    "IPv4Network": (ipaddress.ip_network("10.0.0.0/8"), "10.0.0.0/8"),
    "IPv6Network": (ipaddress.ip_network("fe80::/10"), "fe80::/10"),
    "IPv4Interface": (ipaddress.ip_interface("10.0.0.1/8"), "10.0.0.1/8"),
    "IPv6Interface": (ipaddress.ip_interface("::1/64"), "::1/64"),
    "Fraction": (fractions.Fraction(1, 3), "1/3"),
    "complex": (1 + 2j, "(1+2j)"),
    "range": (range(3), "range(0, 3)"),
    "range with a step": (range(0, 10, 2), "range(0, 10, 2)"),
    "slice": (slice(1, None), "slice(1, None, None)"),
    "pattern": (re.compile("a+", re.IGNORECASE), "a+"),
    "pattern of bytes": (re.compile(b"a+"), "a+"),
    "UUID": (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    "Decimal": (decimal.Decimal("1.50"), "1.50"),
    "UserDict": (collections.UserDict(a=1), {"a": 1}),
    "UserList": (collections.UserList([1]), [1]),
    "UserString": (collections.UserString("x"), "x"),
    "ChainMap": (collections.ChainMap({"a": 1}, {"a": 2, "b": 3}), {"a": 1, "b": 3}),
    "SimpleNamespace": (types.SimpleNamespace(a=1), {"a": 1}),
    "deque": (collections.deque([1, 2], maxlen=5), [1, 2]),
    "Counter": (collections.Counter("aab"), {"a": 2, "b": 1}),
    "defaultdict": (collections.defaultdict(list, {"a": [1]}), {"a": [1]}),
    "OrderedDict": (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    "array of int": (array.array("i", [1, -2]), [1, -2]),
    "array of float": (array.array("f", [0.1]), None),
    "array of double": (array.array("d", [0.1]), [0.1]),
    "partial": (
        functools.partial(int, "5", base=10),
        {"!": "functools.partial", "func": "builtins.int", "args": ["5"], "kwargs": {"base": 10}},
    ),
    "int": (int, "builtins.int"),
    "range class": (range, "builtins.range"),
    "NoneType": (type(None), "builtins.NoneType"),
    "Ellipsis": (..., "builtins.Ellipsis"),
    "path": (pathlib.PurePosixPath("/var/log"), "/var/log"),
    "path of Windows": (pathlib.PureWindowsPath("C:/logs/app.log"), "C:\\logs\\app.log"),
    "HTTPStatus": (http.HTTPStatus.NOT_FOUND, 404),
    "HTTPMethod": (http.HTTPMethod.GET, "GET"),
    "Signals": (signal.SIGTERM, 15),
    "AddressFamily": (socket.AF_INET, 2),
    "TLSVersion": (ssl.TLSVersion.TLSv1_3, 772),
    "RegexFlag": (re.IGNORECASE, 2),
    "ValueError": (ValueError("bad", 1), {"!": "builtins.ValueError", "args": ["bad", 1]}),
    "IntEnum of an application": (Level.NOTICE, {"!": f"{__name__}.Level", "args": [25]}),
}


@pytest.mark.parametrize("name", STANDARD)
def test_a_value_of_the_standard_library_is_readable_at_every_protocol(name: str) -> None:
    value, expected = STANDARD[name]
    for protocol in range(6):
        actual = extra_of(pickle.dumps({"msg": "m", "x": value}, protocol))["x"]
        if name == "array of float" and protocol < 3:
            assert actual == [struct.unpack("f", struct.pack("f", 0.1))[0]]
        else:
            assert actual == ([0.1] if name == "array of float" else expected), protocol


@pytest.mark.parametrize("protocol", range(6))
def test_a_shared_value_has_the_same_text_everywhere(protocol: int) -> None:
    value = uuid.UUID(int=7)
    zoned = MOMENT.replace(tzinfo=BERLIN)
    frame = pickle.dumps({"x": [value, value], "y": {"z": value}, "t": [zoned, zoned]}, protocol)
    text = str(value)
    assert {
        "x": [text, text],
        "y": {"z": text},
        "t": ["2026-11-23T14:05:06[Europe/Berlin]"] * 2,
    } == extra_of(frame)


def test_names_of_python_2_become_those_of_python_3() -> None:
    frame = pickle.dumps({"a": range, "b": collections.UserDict(a=1), "c": str, "d": int}, 2)
    assert b"xrange" in frame and b"IterableUserDict" in frame
    expected = {"a": "builtins.range", "b": {"a": 1}, "c": "builtins.str", "d": "builtins.int"}
    assert expected == extra_of(frame)


# Fields of the schema


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
        f'levelno: {{"!":"{__name__}.Text","args":["notice"]}} is not an integer',
        f'name: {{"!":"{__name__}.Number","args":[5]}} is not text',
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
            actual = complete_record((*columns, "h", 1.0, None, 2, 3), tree(rest), length)
            assert expected == actual


# Messages that come with their arguments

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


# Work is bounded by the bytes of the frame


def text(data: str) -> bytes:
    return b"X" + struct.pack("<I", len(data)) + data.encode()


def cls(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def frame(value: bytes, again: bytes, times: int = 19_000) -> bytes:
    return (
        b"\x80\x04}(" + text("msg") + text("m") + text("x")
        + b"(" + value + again * times + b"tu."
    )  # fmt: skip


PATH = b"(" + text("a") + b"q\x01" + b"h\x01" * 254 + text("C:\\") + b"t"
"""256 parts, of which the last is absolute."""
DTYPE = cls("numpy", "dtype") + text("f8") + b"\x89\x88\x87R(K\x03" + text("<") + b"NNNNNNtb"
ARRAY = b"(K\x01M\xd0\x07\x85" + DTYPE + b"\x89B" + struct.pack("<I", 16_000) + b"\1" * 16_000
PAIRS = b"](" + b"NN\x86" * 8000 + b"e"
NESTED_DICTS = b"](" + b"}" * 9000 + b"e"
SLOTS = b"}(" + b"".join(text(f"k{number}") + b"N" for number in range(2000)) + b"u"

WORK: dict[str, tuple[bytes, bytes]] = {
    "one path": (cls("pathlib", "WindowsPath") + PATH + b"Rq\x00", b"h\x00"),
    "paths of the same parts": (
        cls("pathlib", "WindowsPath") + b"q\x02" + PATH + b"q\x03R", b"h\x02h\x03R"),
    "one OrderedDict": (
        cls("collections", "OrderedDict") + PAIRS + b"\x85Rq\x02", b"h\x02"),
    "OrderedDicts of the same pairs": (
        cls("collections", "OrderedDict") + b"q\x02" + PAIRS + b"\x85q\x03R", b"h\x02h\x03R"),
    "OrderedDicts of bad pairs": (
        cls("collections", "OrderedDict") + b"q\x02" + PAIRS[:-1] + b"Ne\x85q\x03R",
        b"h\x02h\x03R"),
    "ChainMaps of the same maps": (
        cls("collections", "ChainMap") + b"q\x02)R}" + text("maps") + NESTED_DICTS + b"sq\x03b",
        b"h\x02)Rh\x03b"),
    "objects with the same slots": (
        cls("app", "C") + b"q\x02)R" + SLOTS + SLOTS + b"\x86q\x03b", b"h\x02)Rh\x03b"),
    "datetimes in one zone of many arguments": (
        cls("datetime", "datetime") + b"q\x02C\x0a\x07\xea\x0b\x17\x0e\x05\x06\x00\x03\x15"
        + cls("copyreg", "__newobj__") + b"(" + cls("app", "Zone") + b"N" * 9000 + b"tR"
        + b"\x86q\x03R", b"h\x02h\x03R"),
    "arrays of the same bytes": (
        cls("numpy.core.multiarray", "_reconstruct") + b"q\x02)q\x05R" + ARRAY + b"tq\x03b",
        b"h\x02h\x05Rh\x03b"),
    "arrays that lie about their shape": (
        cls("numpy.core.multiarray", "_reconstruct") + b"q\x02)q\x05R"
        + ARRAY.replace(b"M\xd0\x07", b"M\xd0\x08") + b"tq\x03b", b"h\x02h\x05Rh\x03b"),
    "ranges": (
        cls("builtins", "range") + b"q\x02\x8a\x10" + b"\x7f" * 16 + b"q\x01h\x01h\x01\x87q\x03R",
        b"h\x02h\x03R"),
    "objects with the same kwargs": (
        cls("app", "C") + b"q\x02)}(" + b"NN" * 9000 + b"uq\x03\x92", b"h\x02)h\x03\x92"),
    "objects of no known class": (cls("app", "C") + b"q\x02)R", b"h\x02)R"),
    "objects of a class with a long name": (cls("a" * 70_000, "C") + b"q\x02)R", b"h\x02)R"),
    "copyreg with many arguments": (
        cls("copyreg", "__newobj__") + b"q\x02("
        + cls("pandas._libs.tslibs.nattype", "_nat_unpickle") + b"N" * 9000 + b"tq\x03R",
        b"h\x02h\x03R"),
    "results that are called": (cls("app", "C") + b")R)R)R)R)R)Rq\x02)R", b"h\x02)R"),
    "keys that are tuples": (b"}q\x02(" + b")N" * 9000 + b"u", b""),
}  # fmt: skip


@pytest.mark.parametrize("name", WORK)
def test_the_work_for_a_frame_is_bounded_by_its_bytes(name: str) -> None:
    """Each takes a tenth of a second at most. Without the bound, the work for one long argument
    would be done 19,000 times, which takes a second to minutes."""
    sent = frame(*WORK[name])
    started = time.process_time()
    actual = record_of(sent)
    assert time.process_time() - started < 0.5
    assert actual.message == "m"


def test_long_messages_with_many_conversions_are_merged_in_linear_time() -> None:
    for msg, args in (("%s" * 9000, (None,) * 9000), ("%(" * 40_000, (1,)), ("%%" * 50_000, (1,))):
        started = time.process_time()
        record_of(pickle.dumps({"msg": msg, "args": args}, 4))
        assert time.process_time() - started < 1.0


def call_count(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Return a function that returns how often the reader of UUIDs was called."""
    from fastlog.decode import classes, object_reader

    calls: list[Any] = []
    reader = classes.READERS["uuid.UUID"]

    def counted(node: Any, work: Any) -> Any:
        calls.append(node)
        return reader(node, work)

    monkeypatch.setitem(classes.READERS, "uuid.UUID", counted)
    monkeypatch.setattr(object_reader, "_READERS_BY_TEXT", {})
    return lambda: len(calls)


def test_a_shared_object_is_read_once_for_each_record(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = call_count(monkeypatch)
    value = uuid.UUID(int=7)
    record_of(pickle.dumps({"x": [value] * 1000}, 4))
    assert calls() == 1
