"""A stored record has at most 8 times the bytes of its frame plus 1 KiB, whatever was sent."""

from __future__ import annotations

import json
import pickle
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import grammar
import pytest
from attacks import attacks
from conditions import wait_for
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import Server

from fastlog.block import LENGTH, Block, Kind, make_run
from fastlog.decode import Decoder
from fastlog.decode.bounds import WEIGHT, WEIGHT_MORE
from fastlog.decode.json_lines import encode
from fastlog.decode.object_reader import ObjectReader
from fastlog.decode.renderer import Renderer
from fastlog.decode.validation import FIELDS
from fastlog.decode.work import Work
from fastlog.record import RAW_BYTES, Record

PYTHON, C, LINES = Decoder("python"), Decoder("c"), Decoder("c", "lines")
HOST = "fe80:1234:5678:9abc:def0:1234:5678:9abc%eth0.1234567890"
"""The longest host of a peer."""


def bound_of(frame: bytes) -> int:
    return 8 * len(frame) + 1024


def stored_bytes(record: Record) -> int:
    """Return the bytes of the texts of a record as JSON writes them: they bound its size in any
    store."""
    texts = [
        value
        for name, value in record._asdict().items()
        if isinstance(value, str) and name not in ("host", "extra")
    ]
    written = sum(len(json.dumps(text, ensure_ascii=False).encode()) - 2 for text in texts)
    return written + len(record.extra.encode())


def check(frame: bytes) -> None:
    """Check the bound, for a line and for a row, and that the engines agree."""
    payload = make_run(Kind.STOCK, [frame], peer=f"[{HOST}]:65535")
    block = Block(2**62, 2**62 + len(payload), 2**62, 1, 1_785_000_000_123_457, memoryview(payload))
    read = PYTHON.decode(block)
    assert repr(C.decode(block)) == repr(read)
    assert LINES.decode(block).lines == b"".join(encode(each) + b"\n" for each in read.records)
    for record in read.records:
        assert len(encode(record)) + 1 <= bound_of(frame)
        texts = [value for value in record if isinstance(value, str)]
        assert sum(len(text.encode()) for text in texts) <= bound_of(frame)
    for _, note, _ in read.notices:
        assert len(note.raw) <= min(RAW_BYTES, len(frame))  # type: ignore[union-attr]


def test_names_numbers_and_host_fit_the_constant_part_of_the_bound() -> None:
    numbers = {float: -1.2345678901234567e-300, int | None: -(2**63), int: 2**63}
    values = [
        HOST if name == "host"
        else "{}" if name == "extra"
        else "" if kind is str
        else None if kind == (str | None)
        else numbers[kind]
        for name, kind in get_type_hints(Record).items()
    ]  # fmt: skip
    for nothing in (None, ""):
        record = Record(*[nothing if value is None else value for value in values])
        assert len(encode(record)) + 1 - stored_bytes(record) <= 1024 - WEIGHT_MORE


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 10**12))
def test_any_pickle_of_the_grammar_stays_below_the_bound(seed: int) -> None:
    check(grammar.frame(seed))


def test_every_attack_stays_below_the_bound() -> None:
    for frame, _ in attacks(1 << 12).values():
        if len(frame) < 20_000:
            check(frame)


# Frames that are made to become large: a value that is used many times, anywhere


def text(data: str) -> bytes:
    raw = data.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(raw)) + raw


def numbered(times: int, opcodes: bytes) -> bytes:
    return b"".join(opcodes % struct.pack("<H", number) for number in range(times))


VALUES: dict[str, bytes] = {
    "a text": text("some text of middling length " * 3),
    "a long text": text("x" * 2000),
    "control characters": text("\1" * 100),
    "NULs": text("\0" * 100),
    "surrogates": text("\udcff" * 100),
    "quotes": text('"\\' * 50),
    "wide characters": text("📜" * 80),
    "bytes that are no text": b"C\x80" + b"\xff" * 128,
    "NULs in bytes": b"C\x80" + b"\0" * 128,
    "a float": b"G" + struct.pack(">d", -1.2345678901234567e-300),
    "NaN": b"G" + struct.pack(">d", float("nan")),
    "minus infinity": b"G" + struct.pack(">d", float("-inf")),
    "an integer of 64 bits": b"\x8a\x08" + struct.pack("<q", -(2**63)),
    "an integer of many bits": b"\x8a\xff" + b"\x7f" * 255,
    "a huge integer": b"\x8b" + struct.pack("<I", 2000) + b"\x7f" * 2000,
    "None": b"N",
    "False": b"\x89",
    "an empty list": b"]",
    "an empty dict": b"}",
    "a list": b"](K\1K\2e",
    "a dict with long keys": b"}(" + text("k" * 200) + b"NK\1Nu",
    "a class": b"cmodule\nClass\n",
    "a class with a long name": b"c" + b"m" * 250 + b"\n" + b"C" * 250 + b"\n",
    "an object": b"cmodule\nClass\n)R",
    "an object with arguments": b"cmodule\nClass\n(K\1" + text("a" * 50) + b"tR",
    "an object with a state": b"cmodule\nClass\n)R}" + text("k") + b"Nsb",
    "a slotted object": b"cmodule\nClass\n)RN}" + text("k" * 50) + b"Ns\x86b",
    "a datetime": b"cdatetime\ndatetime\nC\x0a\x07\xea\x0b\x17\x0e\x05\x06\x00\x03\x15\x85R",
    "a timedelta": b"cdatetime\ntimedelta\n(J\xff\xff\xff\xffK\1K\1tR",
    "a UUID": b"cuuid\nUUID\n)\x81}" + text("int") + b"K\1sb",
    "a path": b"cpathlib\nPosixPath\n(" + text("/a") * 20 + b"tR",
    "nested lists": b"]" * 20 + b"a" * 19,
}
KEYS = {
    name: VALUES[name] for name in VALUES if not name.startswith(("an empty", "a list", "a dict"))
}

USES: dict[str, Callable[[random.Random, int], bytes]] = {
    "in a list": lambda chance, times: text("x") + b"](" + b"h\0" * times + b"e",
    "in lists": lambda chance, times: text("x") + b"](" + b"h\0\x85" * times + b"e",
    "in a dict": lambda chance, times: (
        text("x") + b"}(" + numbered(times, b"M%bh\0") + b"u"
    ),
    "as keys": lambda chance, times: text("x") + b"](" + b"}h\0Ns" * times + b"e",
    "as attributes": lambda chance, times: numbered(times, b"M%bh\0"),
    "as keys of one dict": lambda chance, times: (
        text("x") + b"}(" + numbered(times, b"h\0M%b\x86N") + b"u"
    ),
    "in arguments": lambda chance, times: (
        text("x") + b"](" + b"cm\nC\n(h\0tR" * times + b"e"
    ),
    "in all fields": lambda chance, times: b"".join(
        text(name) + b"h\0" for name in sorted(FIELDS)
    ),
    "in all fields and a list": lambda chance, times: b"".join(
        text(name) + b"h\0" for name in sorted(FIELDS)
    ) + text("x") + b"](" + b"h\0" * times + b"e",
    "in some fields": lambda chance, times: b"".join(
        text(name) + b"h\0" for name in chance.sample(sorted(FIELDS), 5)
    ),
    "as the message": lambda chance, times: text("msg") + b"](" + b"h\0" * times + b"e",
    "as colliding keys": lambda chance, times: (
        text("x") + b"}(" + b"h\0N" * times + b"u"
    ),
}  # fmt: skip


def amplified(value: bytes, use: str, times: int, seed: int = 0) -> bytes:
    """Return a frame in which a value is stored in the memo once, and then used many times."""
    uses = USES[use](random.Random(seed), times)
    message = b"" if b"msg" in uses else text("msg") + text("m")
    return b"\x80\x02}(" + message + text("once") + value + b"q\0" + uses + b"u."


@pytest.mark.parametrize("use", USES)
def test_a_value_that_is_used_often_stays_below_the_bound(use: str) -> None:
    for value in KEYS if "key" in use else VALUES:
        for times in (1, 40, 300):
            check(amplified(VALUES[value], use, times))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**12))
def test_any_mixture_of_values_and_uses_stays_below_the_bound(seed: int) -> None:
    chance = random.Random(seed)
    parts = []
    for _ in range(chance.randrange(1, 4)):
        use = chance.choice(sorted(USES))
        value = VALUES[chance.choice(sorted(KEYS if "key" in use else VALUES))]
        uses = USES[use](chance, chance.choice((1, 3, 10, 40)))
        parts.append(text(f"once{chance.random()}") + value + b"q\0" + uses)
    check(b"\x80\x02}(" + b"".join(parts) + b"u.")


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(
    st.sampled_from(sorted(FIELDS)) | st.text(max_size=8),
    st.none() | st.integers() | st.text(max_size=20) | st.lists(st.text(max_size=9), max_size=4),
    max_size=20,
))  # fmt: skip
def test_any_json_object_stays_below_the_bound(sent: dict[str, Any]) -> None:
    check(json.dumps(sent).encode())


def test_an_ordinary_record_is_not_cut() -> None:
    sent = {"msg": "y" * 100, "request": {"headers": {f"h{i}": "v" * 9 for i in range(40)}},
            "lines": ["\n"] * 30, "numbers": [1.5] * 50, "name": "ü" * 40}  # fmt: skip
    for protocol in (1, 2, 4):
        frame = pickle.dumps(sent, protocol)
        check(frame)
        payload = make_run(Kind.STOCK, [frame], peer="h:1")
        (record,) = C.decode(Block(0, len(payload), 0, 1, 1, memoryview(payload))).records
        assert "cut" not in repr(record)


def test_a_record_over_the_largest_weight_is_cut_to_exactly_that_weight() -> None:
    frame = pickle.dumps({"msg": "x" * (WEIGHT + 500), "name": "n"}, 4)
    check(frame)
    payload = make_run(Kind.STOCK, [frame], peer="h:1")
    (record,) = C.decode(Block(0, len(payload), 0, 1, 1, memoryview(payload))).records
    assert record.message == "x" * (WEIGHT - 1) + "… [cut: 501 more]"  # "n" takes the last byte


# The budget of the renderer


@pytest.mark.parametrize(
    "sent", ["x" * 50, "\1" * 50, '"\\' * 25, "é" * 40, "📜" * 20, "a\\u0001\\"]
)
def test_a_text_is_cut_to_the_bytes_that_its_json_may_take(sent: str) -> None:
    for room in range(60):
        _cut(sent, room)


def _cut(sent: str, room: int) -> None:
    renderer = Renderer(room, 10, ObjectReader(Work(0)))
    out = renderer.text(sent)
    kept = out.split("… [cut")[0]
    assert sent.startswith(kept)
    assert len(json.dumps(kept, ensure_ascii=False).encode()) - 2 <= room
    assert (out == sent) is (
        not renderer.spent or len(json.dumps(sent, ensure_ascii=False).encode()) - 2 == room
    )


def test_a_budget_is_reduced_by_the_bytes_that_json_takes() -> None:
    members = [1, -5, 1.5, 1e300, None, True, "t\n", [], {"pairs": []}]
    members.append({"pairs": ["k", [[2.5]]]})
    values = ["a", members, "b", {"pairs": ["c", "é"]}]
    renderer = Renderer(10_000, 1000, ObjectReader(Work(0)))
    out = renderer.mapping(values, 0)
    written = len(json.dumps(out, ensure_ascii=False, separators=(",", ":")).encode())
    assert 0 <= written - (10_000 - renderer.room) < 12  # an empty container, "1e+300"
    assert Renderer(written + 1, 1000, ObjectReader(Work(0))).mapping(values, 0) == out
    assert out["b"] == {"c": "é"}


# On a real disk

TINY = amplified(VALUES["a text"], "in a list", 95)
PAGE = 4096
"""Bytes of a page of SQLite, which holds one of these rows."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    sinks = "sqlite:", f"ndjson://{tmp_path}/out.ndjson"
    with Server(tmp_path, sinks=sinks) as running:
        yield running


def test_many_small_frames_do_not_fill_the_disk(server: Server) -> None:
    count, frame = 3000, TINY
    assert len(frame) == 322
    data = (LENGTH.pack(len(frame)) + frame) * count
    with server.connect(data):
        wait_for(lambda: len(server.records()) == count, "the records are stored")
    lines = server.home / "out.ndjson"
    wait_for(lambda: lines.read_bytes().count(b"\n") == count, "the lines are written")
    assert lines.stat().st_size <= count * bound_of(frame)
    server.stop()
    stored = sum(path.stat().st_size for path in server.logs.iterdir())
    assert stored <= count * (max(bound_of(frame), PAGE) + 100) + (1 << 20)
