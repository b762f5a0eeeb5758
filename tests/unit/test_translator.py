"""The translator gives what the Python engine gives: as rows, lines and trees."""

from __future__ import annotations

import bisect
import collections
import datetime
import gc
import graphlib
import json
import logging
import logging.handlers
import math
import pickle
import pickletools
import random
import re
import shutil
import struct
import subprocess
import sys
import sysconfig
import zoneinfo
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import grammar
import msgspec
import pytest
import shapes
from attacks import attacks
from hypothesis import example, given, settings
from hypothesis import strategies as st
from interpreters import VERSIONS, interpreters
from places import ROOT, SUPPORT

from fastlog import Translator
from fastlog.block import LENGTH, RUN, Block, Kind, Stamp, make_notices, make_run
from fastlog.core import EXTRA, FALLBACK, PLAIN, TREE, Column, verdict_text
from fastlog.decode import Decoder
from fastlog.decode.bounds import DEPTH, NODES, WEIGHT
from fastlog.decode.c_engine import BOUNDS, RECURRING, columns, meanings
from fastlog.decode.classes import READERS
from fastlog.decode.json_lines import encode
from fastlog.decode.texts import clean, text_of
from fastlog.decode.validation import FIELDS, TIMES
from fastlog.record import Record, Rejection, host_of

PYTHON, C, LINES = Decoder("python"), Decoder("c"), Decoder("c", "lines")
DATA_OPCODES = frozenset(
    {
        *("PROTO", "EMPTY_LIST", "EMPTY_DICT", "MARK", "STOP", "POP_MARK", "APPENDS", "SETITEM"),
        *("SETITEMS", "TUPLE", "TUPLE3", "MEMOIZE", "BINGET", "LONG_BINGET", "NONE", "NEWTRUE"),
        *("NEWFALSE", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "BINFLOAT"),
        *("SHORT_BINUNICODE", "BINUNICODE", "SHORT_BINBYTES", "BINBYTES"),
    }
)

ORDINARY = (
    *("none", "true", "false", "zero", "small", "short", "medium", "minus", "int31", "int32"),
    *("int63", "minus63", "float", "whole", "tiny", "nan", "inf", "minus_inf", "text", "empty"),
    *("latin", "cyrillic", "cjk", "arabic", "emoji", "nul", "surrogate", "lines", "quotes", "long"),
    *("wide", "bytes", "bytes_empty", "bytes_utf8", "bytes_latin", "bytes_nul", "bytes_quotes"),
    *("bytes_all", "bytes_long", "list", "list_empty", "list_long", "tuple_empty", "tuple1"),
    *("tuple2", "tuple3", "tuple4", "set", "set_empty", "frozenset", "dict", "dict_empty"),
    *("keys_int", "datetime", "uuid", "decimal"),
)
"""The shapes that the stock handler of every Python sends, and that are plain."""
OF_PYTHON_3 = ("bytearray", "datetime_utc", "datetime_offset", "datetime_fold")


def make_translator() -> Translator:
    return Translator(columns(), BOUNDS, meanings())


def body_of(frames: Iterable[bytes]) -> bytes:
    return b"".join(LENGTH.pack(len(frame)) + frame for frame in frames)


def translate(*frames: bytes) -> tuple[list[int], bytes]:
    """Return the verdicts and the translation."""
    translator = make_translator()
    translator.begin(1.5, 7)
    verdicts = translator.run(body_of(frames), len(frames), 0, "h")
    return list(verdicts or [PLAIN] * len(frames)), bytes(translator.end().rows)


def rows_of(*frames: bytes) -> list[Record]:
    return [Record._make(row) for row in pickle.loads(translate(*frames)[1])]


def verdict_of(frame: bytes) -> int:
    return translate(frame)[0][0]


def check(frame: bytes) -> int:
    """Return the verdict, after asserting that both engines give the same records and lines."""
    payload = make_run(Kind.STOCK, [frame], peer="h:1")
    block = Block(0, len(payload), 0, 1, 1_500_000, memoryview(payload))
    by_python = PYTHON.decode(block)
    assert repr(C.decode(block)) == repr(by_python)
    lines = b"".join(encode(record) + b"\n" for record in by_python.records)
    assert LINES.decode(block).lines == lines
    return verdict_of(frame)


def is_plain(frame: bytes) -> bool:
    return check(frame) == PLAIN


def is_read(frame: bytes) -> bool:
    """Return whether the translator reads the frame, plain or not."""
    return check(frame) in (PLAIN, EXTRA, TREE)


def record_of(frame: bytes) -> Record:
    payload = make_run(Kind.STOCK, [frame], peer="h:1")
    (record,) = C.decode(Block(0, len(payload), 0, 1, 1_500_000, memoryview(payload))).records
    return record


def frame_with(value: Any, protocol: int = 1, **fields: Any) -> bytes:
    return pickle.dumps({"msg": "m", **fields, "x": value}, protocol)


def opcodes_with(opcodes: bytes) -> bytes:
    """Return a record whose attribute `x` is the value that these opcodes push."""
    return b"\x80\x02}(X\x03\0\0\0msgX\x02\0\0\0hiX\x01\0\0\0x" + opcodes + b"u."


# What is plain


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    if request.param not in interpreters():
        pytest.skip(f"no Python {request.param} on this machine")
    return str(request.param)


def test_the_shapes_of_ordinary_log_records_are_plain(version: str) -> None:
    ordinary = {*ORDINARY, *(OF_PYTHON_3 if version != "2.7" else ())}
    frames = [f for f in shapes.frames(version) if f.shape in ordinary]
    assert [(f.shape, f.how) for f in frames if verdict_of(f.data) != PLAIN] == []
    assert {f.shape for f in frames if f.how == "socket"} == ordinary


def test_no_shape_of_any_protocol_is_a_fallback(version: str) -> None:
    assert [(f.shape, f.how) for f in shapes.frames(version) if not is_read(f.data)] == []


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
    own = [column for column in made if column.kind not in ("silent", "empty", "args", "twin")]
    assert [("message" if c.name == "msg" else c.name) for c in own] == list(Record._fields)
    assert {c.name for c in made if c.recurs} == RECURRING


# Equal to the Python engine


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 10**12))
def test_any_pickle_of_the_grammar_gives_the_same_result(seed: int) -> None:
    is_plain(grammar.frame(seed))


def test_the_grammar_reaches_every_verdict_that_matters() -> None:
    verdicts = [verdict_of(grammar.frame(seed)) for seed in range(1500)]
    assert verdicts.count(PLAIN) > 300
    assert verdicts.count(EXTRA) > 100
    assert verdicts.count(TREE) > 100
    assert len(set(verdicts)) > 8


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.floats(allow_nan=True), max_size=30),
    st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=4).map(float), max_size=9),
)
@example([0.0, -0.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 2e23, 1e23], [])
@example([1e-5, 9.999999999999999e-6, 1e15, 9999999999999998.0, 1e16, 4.35, 9007199254740993.0], [])
def test_a_float_is_written_as_msgspec_writes_it(floats: list[float], more: list[float]) -> None:
    assert is_plain(frame_with(floats + more))
    finite = [each for each in floats + more if math.isfinite(each)]
    (row,) = rows_of(frame_with(finite))
    assert row.extra == msgspec.json.encode({"x": finite}).decode()


def test_a_million_floats_are_written_as_msgspec_writes_them() -> None:
    chance = random.Random(5)
    for _ in range(100):
        bits = [struct.unpack("<d", chance.randbytes(8))[0] for _ in range(4000)]
        near = [2.0 ** chance.randrange(-1074, 1024) for _ in range(1000)]
        tens = [10.0 ** chance.randrange(-323, 309) for _ in range(1000)]
        short = [round(chance.random() * 10**6, chance.randrange(9)) for _ in range(4000)]
        floats = [each for each in bits + near + tens + short if math.isfinite(each)]
        (row,) = rows_of(frame_with(floats, 4))
        assert row.extra == msgspec.json.encode({"x": floats}).decode()


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
@example("".join(map(chr, range(1, 0x250))))
def test_a_text_is_escaped_as_msgspec_escapes_it(text: str) -> None:
    (row,) = rows_of(pickle.dumps({"msg": text, "x": text, "y" + text: 1}, 4))
    assert row.extra == msgspec.json.encode({"x": text, "y" + text: 1}).decode()
    assert row.message == text


EDGES = (0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0)


def test_bytes_are_utf8_if_python_decodes_them() -> None:
    """Tests every first byte with every second byte at an edge, and a few bytes after them."""
    sequences = [
        bytes((first, second))[:length] + bytes(rest)
        for first in range(256)
        for second in EDGES
        for length in (1, 2)
        for rest in ((), (0x80,), (0xBF, 0x80), (0xC0, 0x80), (0x80, 0x7F), (0x80, 0x80, 0x80))
    ]
    head = b"}X\3\0\0\0msg"
    verdicts, translation = translate(
        *(head + b"\x8c" + bytes([len(data)]) + data + b"s." for data in sequences)
    )
    expected = []
    for data, verdict in zip(sequences, verdicts, strict=True):
        try:
            expected.append(clean(data.decode("utf-8", "surrogatepass")))
            assert verdict == PLAIN, data
        except UnicodeDecodeError:
            assert verdict_text(verdict) == "malformed pickle: text is not UTF-8", data
    assert expected == [Record._make(row).message for row in pickle.loads(translation)]
    rows = rows_of(*(head + b"C" + bytes([len(data)]) + data + b"s." for data in sequences))
    assert [row.message for row in rows] == [text_of(data) for data in sequences]


@settings(deadline=None)
@given(st.integers(-(1 << 63), (1 << 64) - 1), st.integers(0, 5))
@example(-(1 << 63), 0)
@example((1 << 64) - 1, 1)
def test_an_integer_of_64_bits_is_plain_in_every_protocol(number: int, protocol: int) -> None:
    assert is_plain(frame_with(number, protocol or 1))


@pytest.mark.parametrize("protocol", [1, 2])
@pytest.mark.parametrize("number", [1 << 64, -(1 << 63) - 1, 10**19 * 2, 10**30, -(10**40)])
def test_an_integer_of_more_bits_is_kept(number: int, protocol: int) -> None:
    assert check(frame_with(number, protocol)) == EXTRA
    assert check(frame_with({number: number}, protocol)) == EXTRA


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


SAMPLES = {
    "datetime": b"\x07\xea\x0b\x17\x0e\x05\x06\x00\x03\x15",
    "date": b"\x07\xea\x0b\x17",
    "time": b"\x0e\x05\x06\x00\x03\x15",
}


@settings(deadline=None)
@given(st.sampled_from(sorted(SAMPLES)), st.binary(min_size=1, max_size=11), st.integers(0, 9))
@example("datetime", b"\x00\x01\x02\x1d\x00\x00\x00\x00\x00\x00", 0)  # year 1 has no leap day
@example("datetime", b"\x07\xd0\x02\x1d\x17\x3b\x3b\x0f\x42\x3f", 0)  # 2000 has one
@example("datetime", b"\x07\x6c\x02\x1d\x00\x00\x00\x00\x00\x00", 0)  # 1900 has none
@example("datetime", b"\x27\x0f\x0c\x1f\x17\x3b\x3b\x0f\x42\x40", 0)
@example("date", b"\x00\x00\x01\x01", 0)
@example("time", b"\x98\x00\x00\x00\x00\x00", 0)
def test_any_state_of_a_datetime_gives_the_same_result(kind: str, state: bytes, at: int) -> None:
    corrupt = bytearray(SAMPLES[kind])
    corrupt[at % len(corrupt)] = state[0]
    for data in (state, bytes(corrupt)):
        text = b"C" + bytes([len(data)]) + data
        is_plain(opcodes_with(b"cdatetime\n%b\n" % kind.encode() + text + b"\x85R"))


@settings(deadline=None)
@given(*[st.integers(-(10**10), 10**10) | st.integers(-3, 86_400 * 2) for _ in range(3)])
@example(-1, 0, 0)
@example(1, 86_399, 999_999)
@example(-999_999_999, 0, 0)
@example(99_999_999, 36_000, 0)
@example(0, 1 << 62, 0)
@example(100_000_001, 0, 0)
@example(0, 0, 1 << 63)
@example(0, 0, 1_000_000)
def test_any_timedelta_gives_the_same_result(days: int, seconds: int, micros: int) -> None:
    args = pickle.dumps((days, seconds, micros), 2)[2:-1].replace(b"q\0", b"")
    delta = b"cdatetime\ntimedelta\n" + args + b"R"
    is_plain(opcodes_with(delta))
    zoned = b"cdatetime\ndatetime\nC\x0a" + SAMPLES["datetime"]
    is_plain(opcodes_with(zoned + b"cdatetime\ntimezone\n" + delta + b"\x85R\x86R"))


ZONE = (
    b"c__builtin__\ngetattr\nczoneinfo\nZoneInfo\nX\x09\0\0\0_unpickle\x86R"
    b"X\x0d\0\0\0Europe/Berlin\x88\x86R"
)


@pytest.mark.parametrize("protocol", range(6))
def test_a_datetime_with_a_named_zone_is_plain(protocol: int) -> None:
    moment = datetime.datetime(2026, 11, 23, 14, 5, 6, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
    frame = frame_with(moment, protocol)
    assert is_plain(frame)
    assert record_of(frame).extra == '{"x":"2026-11-23T14:05:06[Europe/Berlin]"}'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Europe/Berlin", b"Europe\0Berlin"),
        (b"X\x0d\0\0\0Europe/Berlin", b"C\x0dEurope/Berlin"),
        (b"X\x0d\0\0\0Europe/Berlin", b"K\1"),
        (b"X\x0d\0\0\0Europe/Berlin", b"X\x41\0\0\0" + b"z" * 65),
        (b"X\x0d\0\0\0Europe/Berlin\x88\x86", b")"),
        (b"X\x0d\0\0\0Europe/Berlin\x88\x86", b"X\1\0\0\0z\x85"),
        (b"_unpickle", b"_unpicKle"),
        (b"ZoneInfo", b"ZoneInfa"),
        (b"__builtin__", b"builtins"),
        (b"getattr", b"getattq"),
        (b"\x88\x86R", b"\x88\x86R}b"),
    ],
)
def test_a_call_similar_to_a_zone_gives_the_same_result(old: bytes, new: bytes) -> None:
    zone = ZONE.replace(old, new)
    assert zone != ZONE
    moment = b"cdatetime\ndatetime\nC\x0a" + SAMPLES["datetime"]
    assert is_read(opcodes_with(moment + zone + b"\x86R"))
    assert is_read(opcodes_with(b"\x80\x04" + moment + zone + b"\x86R"))


@settings(deadline=None)
@given(st.lists(st.sampled_from(["/", "", "a", "/b", "c/", "."]), max_size=5))
def test_the_parts_of_a_path_are_joined_as_posixpath_joins_them(parts: list[str]) -> None:
    args = b"(" + b"".join(pickle.dumps(part, 1)[:-1].replace(b"q\0", b"") for part in parts)
    assert is_read(opcodes_with(b"cpathlib\nPosixPath\n" + args + b"tR"))


@settings(deadline=None)
@given(st.integers(-5, (1 << 128) + 5) | st.integers(0, 1 << 64), st.integers(1, 2))
@example((1 << 128) - 1, 1)
@example((1 << 128) - 1, 2)
@example(1 << 128, 1)
@example(1 << 128, 2)
@example(1 << 135, 2)
@example(1 << 150, 1)
@example(1 << 150, 2)
@example(-1, 1)
def test_any_uuid_gives_the_same_result(number: int, protocol: int) -> None:
    state = pickle.dumps({"int": number}, protocol).removeprefix(b"\x80\x02")[:-1]
    is_plain(opcodes_with(b"cuuid\nUUID\n)\x81" + state + b"b"))


IN_C = (
    *("_codecs.encode", "builtins.bytes", "builtins.bytearray", "builtins.set"),
    *("builtins.frozenset", "datetime.datetime", "datetime.timedelta", "datetime.timezone"),
    *("decimal.Decimal", "uuid.UUID", "builtins.getattr", "zoneinfo.ZoneInfo"),
)
"""The classes whose objects C renders. It treats all others alike, so a sample is enough."""
CLASSES = (*IN_C, *sorted(READERS.keys() - set(IN_C))[::8])
ARGUMENTS = (
    *(
        b")",
        b"N\x85",
        b"K\1\x85",
        b"X\1\0\0\0a\x85",
        b"C\1a\x85",
        b"]\x85",
        b"}\x85",
        b"(K\1K\2K\3t",
    ),
    *(b"capp\nC\nX\3\0\0\0RED\x86", b"capp\nC\n)RX\3\0\0\0RED\x86"),
    *(b"X\1\0\0\0aX\6\0\0\0latin1\x86", b"](K\1K\2e\x85", b"capp\nf\n\x85", b"capp\nf\nN\x86"),
    *(b"C\4\x07\xea\1\1\x85", b"C\6\1\1\1\1\1\1\x85", b"C\x0a\x07\xea\1\1\1\1\1\1\1\1N\x86"),
)
STATES = (b"N", b")", b"K\1\x85", b"}", b"X\1\0\0\0a", b"](K\1e")
ENDS = (b"", b"Nb", b"}b", b"](K\1e", b"(K\1K\2u", b"}X\3\0\0\0intK\1sb", b"NK\1\x86b")


@pytest.mark.parametrize("name", [*CLASSES, "app.Thing", "copyreg._reconstructor", "app.getattr"])
def test_a_known_class_gives_the_same_result_for_any_arguments_and_state(
    name: str,
) -> None:
    module, _, name = name.rpartition(".")
    for arguments in ARGUMENTS:
        for end in ENDS:
            for call in (b"R", b"\x81"):
                opcodes = f"c{module}\n{name}\n".encode() + arguments + call + end
                is_plain(opcodes_with(opcodes))
                is_plain(opcodes_with(b"]" + opcodes + b"a"))


@pytest.mark.parametrize("name", [*CLASSES, "app.Thing", "app.getattr"])
def test_a_class_in_protocol_1_gives_the_same_result(name: str) -> None:
    module, _, name = name.rpartition(".")
    for base in ("object", "tuple", "dict", "list", "unicode"):
        for state in STATES:
            names = f"c{module}\n{name}\nc__builtin__\n{base}\n".encode()
            made = b"ccopy_reg\n_reconstructor\n(" + names + state + b"tR"
            for end in ENDS:
                is_plain(opcodes_with(made + end))


def test_an_object_fetched_before_its_state_is_set_has_the_state() -> None:
    thing = b"capp\nC\n)Rq\7h\7h\7}X\1\0\0\0kK\1sb"
    frame = opcodes_with(b"(" + thing + b"t")
    assert is_read(frame)
    assert record_of(frame).extra.count('"state":{"k":1}') == 3


@pytest.mark.parametrize("made", [b"capp\nC\n)R", b"cuuid\nUUID\n)\x81"])
def test_a_second_state_of_an_object_is_seen_by_all_references(made: bytes) -> None:
    first, second = b"}X\3\0\0\0intK\1sb", b"}X\3\0\0\0intK\2sb"
    is_plain(opcodes_with(b"(" + made + b"q\7" + first + b"h\7" + second + b"t"))
    is_plain(opcodes_with(b"(" + made + b"q\7" + first + second + b"h\7t"))


@pytest.mark.parametrize("pairs", [15, 16, 40])
def test_the_integer_of_a_uuid_is_searched_in_a_small_state_only(pairs: int) -> None:
    state = pickle.dumps({**{f"k{n}": n for n in range(pairs)}, "int": 5}, 2)[2:-1]
    assert is_plain(opcodes_with(b"cuuid\nUUID\n)\x81" + state + b"b")) is (pairs == 15)


@pytest.mark.parametrize("text", ["", "a", "\0", "é", "ÿ\x80", "Ā", "я", "aя", "\ud800", "📜"])
def test_bytes_encoded_as_text_give_the_same_result(text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    args = b"X" + struct.pack("<I", len(data)) + data + b"X\6\0\0\0latin1\x86"
    plain = is_plain(opcodes_with(b"c_codecs\nencode\n" + args + b"R"))
    assert plain is all(char <= "\xff" for char in text)


@pytest.mark.parametrize("length", [256, 257])
def test_long_names_of_classes_are_cut(length: int) -> None:
    long = b"n" * length
    assert is_read(opcodes_with(b"c" + long + b"\nC\n)R"))
    assert is_read(opcodes_with(b"capp\n" + long + b"\n)R"))
    assert is_read(opcodes_with(b"capp\n" + long + b"\n"))
    assert record_of(opcodes_with(b"capp\n" + long + b"\n")).extra == '{"x":"app.%s"}' % ("n" * 256)


@pytest.mark.parametrize(("part", "count"), [(b"a", 256), (b"a", 257), (b"a" * 40, 99), (b"", 300)])
def test_paths_are_read_up_to_their_size_limit(part: bytes, count: int) -> None:
    args = b"(" + (b"\x8c" + bytes([len(part)]) + part) * count + b"t"
    assert is_read(opcodes_with(b"cpathlib\nPosixPath\n" + args + b"R"))
    long = b"X" + struct.pack("<I", 4096) + b"a" * 4096
    assert is_read(opcodes_with(b"cpathlib\nPosixPath\n" + long + b"\x85R"))
    is_plain(opcodes_with(b"cpathlib\nPosixPath\n" + long + b"X\1\0\0\0b\x86R"))


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


def test_an_object_in_itself_becomes_a_tree() -> None:
    for cycle in (
        b"capp\nC\n)Rq\7}X\1\0\0\0kh\7sb",
        b"capp\nC\n)Rq\7](h\7h\7h\7eb",
        b"]q\7h\7a",
        b"}q\7Nh\7s",
    ):
        assert check(opcodes_with(cycle)) == EXTRA
    record = b"}q\7(X\3\0\0\0msgX\1\0\0\0mX\1\0\0\0xh\7u."
    assert check(record) == TREE


def test_cycles_leave_no_garbage() -> None:
    frames = [opcodes_with(b"]q\7(h\7capp\nC\n)Rq\x08h\x08h\7e"), b"}q\7(X\1\0\0\0xh\7u."] * 50
    payload = make_run(Kind.STOCK, frames, peer="h:1")
    block = Block(0, len(payload), 0, len(frames), 1_500_000, memoryview(payload))
    gc.collect()
    gc.disable()
    try:
        for decoder in (C, LINES, PYTHON):
            decoder.decode(block)
        assert gc.collect() < 20
    finally:
        gc.enable()


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


# Bounds


def nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = ([value], (value,), {"k": value})[level % 3]
    return value


def test_containers_are_plain_up_to_the_depth_limit() -> None:
    assert is_plain(frame_with(nested(DEPTH)))
    assert not is_plain(frame_with(nested(DEPTH + 1)))


def test_an_object_counts_as_a_level_of_depth() -> None:
    moment = b"cdecimal\nDecimal\nX\x01\0\0\x001\x85R"
    for depth, expected in ((DEPTH - 1, True), (DEPTH, False)):
        assert is_plain(opcodes_with(b"]" * depth + moment + b"a" * depth)) is expected


def test_values_are_plain_up_to_their_limit() -> None:
    assert is_plain(frame_with([None] * (NODES - 10), 4))
    assert not is_plain(frame_with([None] * NODES, 4))
    assert not is_plain(frame_with([[None] * 90 for _ in range(NODES // 90)], 4))


@pytest.mark.parametrize("text", ["x" * 1000, "\1" * 1000, "é" * 500, '"' * 1000])
def test_texts_are_plain_up_to_the_weight_limit(text: str) -> None:
    """The limit is not exact: no frame that is cut is plain, and few others are left to Python."""
    for key in ("x", "msg"):
        outcomes = []
        for times in (1, 3, 5, 6, 7, 8, 9, 10, 12, 15, 20, 40):
            data = {"msg": "m", "y": [text] * times} | ({"msg": text} if key == "msg" else {})
            outcomes.append(is_plain(pickle.dumps(data, 1)))
        # Six bytes for each, twice, are too much.
        assert outcomes[0] is (key == "x" or "\1" not in text)
        assert not outcomes[-1]
        assert outcomes == sorted(outcomes, reverse=True)


def test_a_long_message_is_plain_up_to_the_weight_limit() -> None:
    for size, expected in ((900_000, True), (WEIGHT - 3, True), (WEIGHT + 1, False)):
        assert is_plain(pickle.dumps({"msg": "x" * size}, 1)) is expected
    assert is_plain(pickle.dumps({"msg": "\n" * (WEIGHT // 2 - 9)}, 1))
    assert not is_plain(pickle.dumps({"msg": "\n" * (WEIGHT // 2 + 9)}, 1))


def test_an_attribute_that_equals_the_message_is_dropped_at_any_length() -> None:
    for text in ("x" * (WEIGHT - 99), "\n" * (WEIGHT // 2 - 99)):
        frame = pickle.dumps({"msg": text, "message": str(text)}, 1)
        assert is_read(frame)
        assert (record_of(frame).message, record_of(frame).extra) == (text, "{}")


def test_dicts_are_plain_up_to_2048_keys() -> None:
    for keys, expected in ((300, True), (2_040, True), (2_048, False), (6_000, False)):
        assert is_plain(frame_with({str(key): key for key in range(keys)})) is expected
        assert is_plain(frame_with({key: key for key in range(keys)})) is expected
    nested = {str(key): {"a": key, "b": {"a": 1}} for key in range(500)}
    assert is_plain(frame_with(nested))


def test_equal_keys_are_left_to_python() -> None:
    for first, second in ((1, "1"), ("a", b"a"), (None, "None"), (True, "True")):
        assert check(frame_with({first: 1, second: 2}, 4)) == EXTRA
        assert check(pickle.dumps({"msg": "m", first: 1, second: 2}, 4)) == EXTRA
        assert is_plain(frame_with([{first: 1}, {second: 2}], 4))


@pytest.mark.parametrize("size", [0, 1, 253, 254, 255, 256, 510, 511, 512, 100_000])
def test_a_memo_index_is_bounded_by_the_length_of_the_frame(size: int) -> None:
    for index in range(max(0, size // 2 - 3), size // 2 + 24):  # 33 bytes are not of the text
        for put in (b"r" + struct.pack("<I", index), b"q" + bytes([index % 256])):
            frame = b"}X\x03\0\0\0msgX\x01\0\0\0m" + put + b"s"
            frame += b"X\x01\0\0\0yB" + struct.pack("<I", size) + b"z" * size + b"s."
            is_plain(frame)


def test_a_memo_index_beyond_the_arrays_is_a_fallback() -> None:
    slots, size = 1 << 17, 300_000
    for index in (slots - 1, slots, slots + 10_000):
        put = b"X\1\0\0\0yr" + struct.pack("<I", index) + b"C\1z"
        frame = opcodes_with(b"(" + put + b"B" + struct.pack("<I", size) + b"z" * size + b"t")
        assert (check(frame) == FALLBACK) == (index >= slots)


@pytest.mark.parametrize("count", [65_535, 65_536, 70_000])
def test_containers_beyond_the_limit_become_one_node(count: int) -> None:
    assert is_read(opcodes_with(b"(" + b"]0" * (count - 4) + b"]](]]et"))


def test_more_values_than_the_arrays_hold_are_a_fallback() -> None:
    for count, expected in ((100_000, EXTRA), (140_000, FALLBACK)):
        assert check(opcodes_with(b"(" + b"N" * count + b"t")) == expected


def test_a_frame_that_fills_the_pool_is_read() -> None:
    """The table of written texts then has its full size, and these texts are all over it."""
    texts = b"".join(b"X\x32\0\0\0%050d\x94" % number for number in range(250))
    again = b"".join(b"h%c" % number for number in range(250))

    def frame(more: int) -> bytes:
        lists = b"(" + texts + again + (b"(" + b"N" * 100_000 + b"l") * 5
        return opcodes_with(lists + b"(" + b"N" * more + b"l" + b"l")

    most = bisect.bisect_left(range(50_000), True, key=lambda more: check(frame(more)) == FALLBACK)
    assert 20_000 < most < 24_000
    for more in range(most - 3, most):
        assert is_read(frame(more))


def test_memoize_counts_slots_as_pickle_does() -> None:
    holes = b"X\1\0\0\0ar\6\0\0\0X\1\0\0\0b\x94X\1\0\0\0c\x94h\1h\2h\6"
    assert is_plain(opcodes_with(b"(" + holes + b"t"))
    assert pickle.loads(b"(" + holes + b"t.") == ("a", "b", "c", "b", "c", "a")


@pytest.mark.parametrize("marks", [9_999, 10_000, 10_001])
def test_open_marks_are_bounded(marks: int) -> None:
    is_plain(b"}X\3\0\0\0msg" + b"(" * marks + b"t" * marks + b"s.")
    is_plain(b"(" * marks)


REJECTED = [
    (b"", "no STOP"),
    (b"N", "no STOP"),
    (b"X\6\0\0\0abcd.", "truncated"),
    (b"\x8c", "truncated"),
    (b"h", "truncated"),
    (b"q", "truncated"),
    (b"j\0\0\0", "truncated"),
    (b"G\0\0\0\0\0\0\0", "truncated"),
    (b"I5", "truncated"),
    (b"cos\nsystem", "truncated"),
    (b"e.", "stack underflow"),
    (b"]a.", "stack underflow"),
    (b"(q\0.", "stack underflow"),
    (b"(q\2.", "stack underflow"),
    (b"(r\2\0\0\0.", "stack underflow"),
    (b"N(\x85.", "stack underflow"),
    (b"NNNr\xff\0\0\0.", "memo index out of bounds"),
    (b"h\0.", "memo slot not set"),
    (b"X\2\0\0\0\xc3(.", "text is not UTF-8"),
    (b"X\1\0\0\0\xc3\x85.", "text is not UTF-8"),
    (b"X\2\0\0\0\xe2\x82\x85.", "text is not UTF-8"),
    (b"X\3\0\0\0\xf0\x9f\x93\x85.", "text is not UTF-8"),
    (b"\x95\2\0\0\0\0\0\0\0X\0\0\0\0.", "truncated"),
    (b"\x95\x0b\0\0\0\0\0\0\0\x95\1\0\0\0\0\0\0\0N.", "nested frame"),
    (b"\x95\0\0\0\0\0\0\0\0N.", "frame length"),
    (b"\x95\xff\xff\xff\xff\xff\xff\xff\xffN.", "frame length"),
    (b"\x80\6N.", "unknown protocol"),
    (b"N..", "bytes behind STOP"),
    (b"N(.", "open mark"),
    (b"N(N.", "open mark"),
    (b"NN.", "not one value"),
    (b".", "not one value"),
    (b"I05\n.", "not a number"),
    (b"I+5\n.", "not a number"),
    (b"I\n.", "not a number"),
    (b"I-\n.", "not a number"),
    (b"I5L\n.", "not a number"),
    (b"L5\n.", "not a number"),
    (b"I 5\n.", "not a number"),
    (b"\x8b\xff\xff\xff\xffN.", "negative length"),
    (b"T\0\0\0\x80N.", "negative length"),
    (b"S'a\n.", "string without quotes"),
    (b"S'\n.", "string without quotes"),
    (b"Sa\n.", "string without quotes"),
    (b"S'\\xAB'\n.", "string without quotes"),
    (b"S'\\q'\n.", "string without quotes"),
    (b"V\\u12\n.", "text is not UTF-8"),
    (b"V\\U00110000\n.", "text is not UTF-8"),
    (b"F1.5.\n.", "not a number"),
    (b"F1e\n.", "not a number"),
    (b"Finfinity\n.", "not a number"),
    (b"p0\n.", "stack underflow"),
    (b"Np1234567\n.", "memo index out of bounds"),
    (b"Np\n.", "memo index out of bounds"),
    (b"g5\n.", "memo slot not set"),
    (b"0.", "stack underflow"),
    (b"1.", "stack underflow"),
    (b"(o.", "stack underflow"),
    (b"(Nd.", "key without a value"),
    (b"NN\x93.", "global without a name"),
    (b"N)R.", "call of what is no global"),
    (b"ca\nb\n]R.", "arguments that are no tuple"),
    (b"ca\nb\n)]\x92.", "arguments that are no tuple"),
    (b"]Nb.", "BUILD of what is no object"),
    (b"}(Nu.", "key without a value"),
    (b"NNa.", "APPEND to what is no list"),
    (b"](NNu.", "SETITEM in what is no dict"),
    (b"](N\x90.", "ADDITEMS to what is no set"),
    (b"\xff.", "unknown opcode"),
]
FORBIDDEN = {
    "2": "DUP",
    "P": "PERSID",
    "Q": "BINPERSID",
    "\x82": "EXT1",
    "\x83": "EXT2",
    "\x84": "EXT4",
    "\x97": "NEXT_BUFFER",
    "\x98": "READONLY_BUFFER",
}


@pytest.mark.parametrize(("frame", "reason"), REJECTED, ids=[repr(f)[2:-1] for f, _ in REJECTED])
def test_a_malformed_pickle_is_rejected_for_the_same_reason(frame: bytes, reason: str) -> None:
    assert not is_plain(frame)
    assert verdict_text(verdict_of(frame)) == f"malformed pickle: {reason}"


@pytest.mark.parametrize("opcode", FORBIDDEN)
def test_a_forbidden_opcode_is_rejected_by_name(opcode: str) -> None:
    frame = b"N" + opcode.encode("latin-1") + b"."
    assert not is_plain(frame)
    assert verdict_text(verdict_of(frame)) == f"forbidden opcode {FORBIDDEN[opcode]}"


def test_every_beginning_of_a_stock_frame_gives_the_same_result() -> None:
    record = logging.LogRecord("app", 30, "/a.py", 12, "m %s", ("é",), None, "run")
    record.x = {"a": [1, 2.5, (None,)]}
    frame = logging.handlers.SocketHandler("localhost", 0).makePickle(record)[4:]
    for end in range(len(frame)):
        assert not is_plain(frame[:end])
    assert is_plain(frame)


# Attacks


def test_all_attacks_together_take_little_memory_and_time() -> None:
    """tracemalloc does not see the memory of C code, so a process of its own measures it."""
    script = """
import resource, sys, time
sys.path.insert(0, sys.argv[1])
from attacks import attacks
from fastlog import Translator
from fastlog.decode.c_engine import BOUNDS, columns, meanings
frames = [frame for frame, _ in attacks(1 << 20).values()]
translator = Translator(columns(), BOUNDS)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.process_time()
for frame in frames:
    translator.begin(1.5, 7)
    translator.run(len(frame).to_bytes(4, "big") + frame, 1, 0, "h")
    assert len(translator.end().rows) < 8 << 20
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, time.process_time() - started)
"""
    command = [sys.executable, "-c", script, str(SUPPORT)]
    out = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()
    assert int(out[0]) < 64 * 1024  # KiB; a frame of 1 MiB among them
    assert float(out[1]) < 2.0  # seconds, for 50 MB of attacks


# The translation itself


def only_data(translation: bytes) -> bool:
    found = {opcode.name for opcode, _, _ in pickletools.genops(translation)}
    return found <= DATA_OPCODES


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=5))
def test_the_translation_holds_nothing_but_data(seeds: list[int]) -> None:
    verdicts, translation = translate(*map(grammar.frame, seeds))
    assert only_data(translation)
    assert len(pickle.loads(translation)) == sum(map(verdicts.count, (PLAIN, EXTRA, TREE)))


def test_the_translation_of_attacks_and_of_every_shape_holds_nothing_but_data() -> None:
    frames = [frame for frame, _ in attacks(1 << 14).values()]
    frames += [f.data for f in shapes.frames(max(interpreters(), key=VERSIONS.index))]
    assert only_data(translate(*frames)[1])


def test_loading_a_translation_imports_and_calls_nothing() -> None:
    code = (
        "import sys\n"
        "from fastlog.block import Block, Kind, make_run\n"
        "from fastlog.decode import Decoder\n"
        "decoder = Decoder('c')\n"
        "data = b'}(X\\x03\\0\\0\\0msgX\\x02\\0\\0\\0hiX\\x01\\0\\0\\0a' \\\n"
        " b'c_codecs\\nencode\\n(X\\x02\\0\\0\\0lsX\\x06\\0\\0\\0latin1tRu.'\n"
        "evil = data.replace(b'c_codecs\\nencode', b'cposix\\nsystem')\n"
        "run = make_run(Kind.STOCK, [data, evil, data], peer='h:1')\n"
        "block = Block(0, len(run), 0, 3, 0, memoryview(run))\n"
        "before, events = set(sys.modules), []\n"
        "sys.addaudithook(lambda name, args: events.append(name) if name != 'builtins.id' else 0)\n"
        "records = decoder.decode(block).records\n"
        "print([r.extra for r in records], sorted(set(sys.modules) - before), events)\n"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    expected = ['{"a":"ls"}', '{"a":{"!":"posix.system","args":["ls","latin1"]}}', '{"a":"ls"}']
    assert f"{expected} [] []" == result.stdout.strip()


def test_a_recurring_value_is_written_once_and_shared() -> None:
    fields = {"levelno": 20, "levelname": "INFO", "name": "app.db", "thread": 1 << 46}
    frames = [frame_with(None, pathname=f"/srv/{n % 2}.py", **fields) for n in range(600)]
    verdicts, translation = translate(*frames)
    assert set(verdicts) == {PLAIN}
    assert translation.count(b"app.db") == translation.count(b"/srv/1.py") == 1
    rows = [Record._make(row) for row in pickle.loads(translation)]
    for name in ("levelname", "name", "thread", "host", "received", "offset"):
        assert len({id(getattr(row, name)) for row in rows}) == 1
    assert [row.pathname for row in rows] == ["/srv/0.py", "/srv/1.py"] * 300
    assert [row.idx for row in rows] == list(range(600))


def test_rows_are_right_for_any_number_of_recurring_texts() -> None:
    """More texts than the memo takes or one byte counts, and long texts, which it does not take."""
    names = [f"logger.{n % 1000}" + "x" * (n % 300) for n in range(3000)]
    rows = rows_of(*[frame_with(None, name=name, thread=(1 << 40) + n % 900)
                     for n, name in enumerate(names)])  # fmt: skip
    assert [row.name for row in rows] == names
    assert [row.thread for row in rows] == [(1 << 40) + n % 900 for n in range(3000)]


def test_a_block_does_not_depend_on_the_one_before() -> None:
    translator = make_translator()
    frames = [frame_with(None, name=name) for name in ("a", "b", "b")]
    translations = []
    for offset in (7, 7, 9):
        translator.begin(1.5, offset)
        assert translator.run(body_of(frames), 3, 0, "h") is None
        translations.append(bytes(translator.end().rows))
    assert translations[0] == translations[1]
    assert pickle.loads(translations[2])[0][-2] == 9


def test_a_frame_does_not_depend_on_the_frames_before_it() -> None:
    alone = {seed: rows_of(grammar.frame(seed)) for seed in range(300)}
    frames = [grammar.frame(seed) for seed in range(300)]
    in_one_block = rows_of(*frames)
    expected = [row for rows in alone.values() for row in rows]
    assert repr([row[:-1] for row in in_one_block]) == repr([row[:-1] for row in expected])


def test_a_frame_cannot_read_the_memo_of_the_frame_before_it() -> None:
    before = b"}q\0X\3\0\0\0msgX\1\0\0\0aq\1s."
    after = b"}q\0X\3\0\0\0msgh\1s."  # its slot 1 is not set
    assert len(rows_of(before)) == 1
    assert len(rows_of(before, after)) == 1


# The interface


def test_a_run_whose_lengths_do_not_fit_is_an_error_and_the_next_block_is_read() -> None:
    translator = make_translator()
    good = body_of([frame_with(1)])
    for body, frames in ((good, 2), (good[:-1], 1), (good + b"x", 1), (b"\0\0", 1), (b"", 1)):
        translator.begin(1.5, 0)
        with pytest.raises(ValueError, match="does not fit"):
            translator.run(body, frames, 0, "h")
    translator.begin(1.5, 0)
    assert translator.run(good, 1, 0, "h") is None
    assert len(pickle.loads(translator.end().rows)) == 1


def test_a_run_without_frames_is_plain() -> None:
    translator = make_translator()
    translator.begin(1.5, 0)
    assert translator.run(b"", 0, 0, "") is None
    assert pickle.loads(translator.end().rows) == []


@pytest.mark.parametrize(
    "wrong",
    [
        [Column("a", "colour")],
        [Column("", "text")],
        [Column("a" * 64, "text")],
        [Column("a", "text"), Column("a", "integer")],
        [Column(f"c{n}", "text") for n in range(33)],
        [Column("a", "text", key='a"b')],
        [Column("a", "text", key="a" * 64)],
    ],
)
def test_a_column_out_of_range_is_rejected(wrong: list[Column]) -> None:
    with pytest.raises(ValueError, match="column"):
        Translator(wrong, BOUNDS)


@pytest.mark.parametrize("wrong", [{"depth": 65}, {"nodes": (1 << 20) + 1}])
def test_a_bound_out_of_range_is_rejected(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="bound"):
        Translator(columns(), BOUNDS._replace(**wrong))


def test_rows_have_the_columns_of_any_schema() -> None:
    mine = [Column("level", "integer"), Column("extra", "extra"), Column("text", "message")]
    translator = Translator(
        mine, BOUNDS._replace(depth=4, nodes=100, weight=1000, times=(0.0, 1.0))
    )
    translator.begin(0.0, 0)
    frame = pickle.dumps({"text": "t", "level": -7, "more": [1, {"a": None}]}, 4)
    assert translator.run(body_of([frame]), 1, 0, "h") is None
    assert pickle.loads(translator.end().rows) == [(-7, '{"more":[1,{"a":null}]}', "t")]


def test_lines_have_the_keys_of_any_schema() -> None:
    bounds = BOUNDS._replace(depth=4, nodes=100, weight=1000, times=(0.0, 1.0))
    mine = [
        Column("args", "silent"),
        Column("level", "integer", key="severity"),
        Column("text", "message"),
        Column("extra", "extra"),
    ]
    translator = Translator(mine, bounds, lines=True)
    translator.begin(0.0, 0)
    good = pickle.dumps({"text": 'a "b"\n', "level": -7, "more": [1]}, 4)
    assert translator.run(body_of([good, b"no pickle", good]), 3, 0, "h") is not None
    line = b'{"severity":-7,"text":"a \\"b\\"\\n","extra":{"more":[1]}}\n'
    assert bytes(translator.end().lines) == line + b"\n" + line


@pytest.mark.parametrize("lines", [False, True])
def test_a_schema_can_repeat_a_column_of_long_text(lines: bool) -> None:
    mine = [Column(name, name, key=f"{name}{n}") for n in range(8) for name in ("extra", "host")]
    translator = Translator(mine, BOUNDS, lines=lines)
    translator.begin(0.0, 0)
    extra, host = {"a": "x" * 100_000}, "h" * 100_000
    assert translator.run(body_of([pickle.dumps(extra, 4)]), 1, 0, host) is None
    if lines:
        row = list(json.loads(bytes(translator.end().lines)).values())
    else:
        row = [x if x == host else json.loads(x) for x in pickle.loads(translator.end().rows)[0]]
    assert row == [extra, host] * 8


def test_rows_without_a_column_are_empty_objects() -> None:
    translator = Translator([Column("a", "silent")], BOUNDS, lines=True)
    translator.begin(0.0, 0)
    assert translator.run(body_of([pickle.dumps({"a": 1.5}, 1)] * 2), 2, 0, "h") is None
    assert bytes(translator.end().lines) == b"{}\n{}\n"


@pytest.mark.parametrize("length", [*range(20), 4095, 4096, 70_000])
def test_a_text_is_escaped_in_a_line_at_every_place(length: int) -> None:
    """The code tests eight bytes at a time, so each place and each length is tried."""
    texts = ["x" * at + odd + "y" * (length - at - 1)
             for at in {0, 1, 6, 7, 8, 9, length - 2, length - 1} if 0 <= at < length
             for odd in '"\\\n\x1f\x7f\x01 é!'] + ["x" * length]  # fmt: skip
    for text in texts:
        assert is_plain(pickle.dumps({"msg": text, "name": text, "x": text}, 4))


@pytest.mark.parametrize("kind", [Kind.STOCK, Kind.BATCH])
def test_a_run_of_either_kind_of_records_is_translated(kind: Kind) -> None:
    stamp = Stamp(bytes(16), 1, 1) if kind is Kind.BATCH else None
    payload = make_run(kind, [frame_with(1)], peer="h:1", stamp=stamp)
    block = Block(0, len(payload), 0, 1, 1_500_000, memoryview(payload))
    assert json.loads(C.decode(block).records[0].extra) == {"x": 1}
    assert repr(C.decode(block)) == repr(PYTHON.decode(block))


@settings(max_examples=300, deadline=None)
@given(st.text("0123456789.:[]abcunix%é", max_size=30))
@example("[::1]:5")
@example("::1")
@example("[")
@example(":")
def test_the_host_of_a_run_is_the_peer_without_its_port(peer: str) -> None:
    payload = make_run(Kind.STOCK, [frame_with(1)], peer=peer)
    block = Block(0, len(payload), 0, 1, 1_500_000, memoryview(payload))
    assert C.decode(block).records[0].host == host_of(peer)
    assert LINES.decode(block).lines == encode(C.decode(block).records[0]) + b"\n"


def test_a_block_of_every_kind_of_run_gives_the_same_result() -> None:
    good, bad, json_ = frame_with(1), b"no pickle", b'{"msg": "j"}'
    stamp = Stamp(bytes(16), 1, 1)
    gap = struct.pack(">QQBQQ", 5, 9, 1, 1, 2)
    runs = [
        make_run(Kind.STOCK, [good, bad, json_, good], peer="a:1"),
        make_run(Kind.GAP, [gap], peer="b:1", stamp=stamp),
        make_run(Kind.BATCH, [json_, good], peer="b:1", stamp=stamp),
        make_notices([Rejection("c:1", "http", 3)]),
        make_run(Kind.PADDING, []),
        make_run(Kind.STOCK, [], peer="d:1"),
        make_run(9, [good, good], peer="e:1"),
        make_run(Kind.STOCK, [bad, good], peer="f:1"),
    ]  # fmt: skip
    payload = b"".join(runs)
    block = Block(0, len(payload), 0, 12, 1_500_000, memoryview(payload))
    read = PYTHON.decode(block)
    assert [record.idx for record in read.records] == [0, 2, 3, 5, 6, 11]
    assert repr(C.decode(block)) == repr(read)
    assert LINES.decode(block).lines == b"".join(encode(each) + b"\n" for each in read.records)
    assert repr(LINES.decode(block).notices) == repr(read.notices)


def test_runs_that_do_not_fit_are_an_error() -> None:
    translator = make_translator()
    good = make_run(Kind.BATCH, [frame_with(1)], peer="h:1", stamp=Stamp(bytes(16), 1, 1))
    cuts = [good[:cut] for cut in range(1, len(good))]
    short = RUN.pack(Kind.BATCH, 0, 0, 1, 0, 31) + bytes(31)
    for payload, frames in [
        *((cut, 1) for cut in cuts),
        (good, 0),
        (good, 2),
        (b"", 1),
        (short, 0),
        (RUN.pack(9, 0, 0, 1, (1 << 32) - 1, 0), 1),  # frames that would need 4 GB of verdicts
    ]:
        translator.begin(1.5, 0)
        with pytest.raises(ValueError, match="does not fit"):
            translator.block(payload, frames)
    translator.begin(1.5, 0)
    assert translator.block(good, 1) is None


def shared(made: bytes, use: bytes, times: int) -> bytes:
    """Return a record with a value in slot 0 of the memo, and uses of it."""
    return opcodes_with(b"(" + made + b"q\0" + use * times + b"t")


LONG = b"X" + struct.pack("<I", 200_000) + b"n" * 200_000
SHARED = {
    "text": (LONG, b"h\0", 50_000),
    "bytes": (b"B" + struct.pack("<I", 200_000) + b"\xff" * 200_000, b"h\0", 50_000),
    "names of globals": (LONG, b"h\0h\0\x93", 50_000),
    "names of globals that are dropped": (LONG, b"h\0h\0\x930", 50_000),
    "a global": (b"c" + b"m" * 300 + b"\n" + b"n" * 300 + b"\n", b"h\0", 50_000),
    "objects of a global": (b"c" + b"m" * 300 + b"\n" + b"n" * 300 + b"\n", b"h\0)R", 50_000),
    "digits": (b"L" + b"7" * 4_096 + b"L\n", b"h\0", 50_000),
    "more digits": (b"L" + b"7" * 9_000 + b"L\n", b"h\0", 50_000),
    "bytes of an integer": (b"\x8b" + struct.pack("<I", 1_700) + b"\x7f" * 1_700, b"h\0", 50_000),
    "more bytes of one": (b"\x8b" + struct.pack("<I", 1_701) + b"\x7f" * 1_701, b"h\0", 50_000),
}


@pytest.mark.parametrize("name", SHARED)
def test_a_shared_value_is_written_once(name: str) -> None:
    frame = shared(*SHARED[name])
    assert is_read(frame)
    assert len(translate(frame)[1]) < 8 * len(frame)


def test_more_texts_than_any_table_holds_are_written() -> None:
    """Each is fetched from the same slot of the memo, which the next text uses again."""
    texts = b"".join(b"\x8c\x0c%012dp0\n0g0\n" % number for number in range(270_000))
    payload = body_of([opcodes_with(b"(" + texts + b"t")])
    translator = make_translator()
    translator.begin(1.5, 7)
    assert translator.run(payload, 1, 0, "h") in (bytes([EXTRA]), bytes([FALLBACK]))


# The folder in C


def compilers() -> list[str]:
    """Return the C compiler of this Python, and clang if it is installed."""
    own = str(sysconfig.get_config_var("CC")).split()[0]
    return [own, *(["clang"] if shutil.which("clang") else [])]


def copy_alone(folder: Path) -> Path:
    """Copy the folder of the translator with the two headers that it needs, and nothing else."""
    for name in ("runs.h", "framer/framer.h", *FOLDER):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "csrc" / name, folder / name)
    return folder


FOLDER = [f"translate/{path.name}" for path in (ROOT / "csrc/translate").glob("*.[ch]")]
STRICT = ("-Wall", "-Wextra", "-Werror", "-O1", "-g")


@pytest.mark.parametrize("compiler", compilers())
def test_the_folder_alone_makes_a_c_program_that_reads_no_byte_too_many(
    compiler: str, tmp_path: Path
) -> None:
    """Each frame, and each beginning of it, is at the end of a page; the next is protected."""
    frames = [frame for frame, _ in attacks(1 << 8).values() if len(frame) < 4000]
    frames += [f.data for f in shapes.frames(max(interpreters(), key=VERSIONS.index))]
    frames += [grammar.frame(seed) for seed in range(500)]
    corpus = tmp_path / "frames"
    corpus.write_bytes(body_of([frame for frame in frames if len(frame) < 3000]))
    program = tmp_path / "embed"
    folder = copy_alone(tmp_path / "csrc")
    subprocess.run(
        [compiler, "-std=c11", "-D_GNU_SOURCE", *STRICT, f"-I{folder}", f"-I{ROOT / 'tests'}",
         *map(str, (folder / "translate").glob("*.c")),
         str(SUPPORT / "embed_translator.c"), "-o", str(program)],
        check=True,
    )  # fmt: skip
    out = subprocess.run([program, corpus], capture_output=True, text=True, check=False)
    assert (out.returncode, out.stdout) == (0, "ok\n"), out.stderr


@pytest.mark.parametrize("compiler", compilers())
def test_each_header_is_complete(compiler: str, tmp_path: Path) -> None:
    folder = copy_alone(tmp_path / "csrc")
    check_only = [compiler, *STRICT, f"-I{folder}", "-fsyntax-only", "-std=c11"]
    source = tmp_path / "only.c"
    for header in (folder / "translate").glob("*.h"):
        source.write_text(f'#include "translate/{header.name}"\n')
        subprocess.run([*check_only, str(source)], check=True)


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_the_public_header_is_also_cpp(compiler: str, tmp_path: Path) -> None:
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler} on this machine")
    folder = copy_alone(tmp_path / "csrc")
    public = str(folder / "translate/translate.h")
    check_only = [compiler, *STRICT, f"-I{folder}", "-fsyntax-only", "-std=c++17", "-x", "c++"]
    subprocess.run([*check_only, public], check=True)


def test_the_files_of_the_folder_include_each_other_one_way() -> None:
    """A header and its source are one file here, so calls go one way as well."""
    includes: dict[str, set[str]] = {}
    for name in FOLDER:
        path = ROOT / "csrc" / name
        found = re.findall(r'#include "([a-z_]+)\.h"', path.read_text(encoding="utf-8"))
        includes.setdefault(path.stem, set()).update(set(found) - {path.stem})
    assert "values" in graphlib.TopologicalSorter(includes).static_order()  # or a CycleError
