"""The bounds of the translator: each at its limit, and the memory that attacks take."""

from __future__ import annotations

import bisect
import pickle
import struct
import subprocess
import sys
from typing import Any

import pytest
from places import SUPPORT
from translations import (
    body_of,
    check,
    frame_with,
    is_plain,
    is_read,
    make_translator,
    opcodes_with,
    verdict_of,
)

from fastlog.core import EXTRA, FALLBACK
from fastlog.decode.bounds import DEPTH, NODES, WEIGHT


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

    most = bisect.bisect_left(
        range(50_000), True, key=lambda more: verdict_of(frame(more)) == FALLBACK
    )
    assert 20_000 < most < 24_000
    assert check(frame(most)) == FALLBACK
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


def test_more_texts_than_any_table_holds_are_written() -> None:
    """Each is fetched from the same slot of the memo, which the next text uses again."""
    texts = b"".join(b"\x8c\x0c%012dp0\n0g0\n" % number for number in range(270_000))
    payload = body_of([opcodes_with(b"(" + texts + b"t")])
    translator = make_translator()
    translator.begin(1.5, 7)
    assert translator.run(payload, 1, 0, "h") in (bytes([EXTRA]), bytes([FALLBACK]))
