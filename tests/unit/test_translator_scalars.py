"""The translator writes numbers and texts as Python and msgspec write them."""

from __future__ import annotations

import math
import pickle
import random
import struct

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from translations import check, frame_with, is_plain, opcodes_with, rows_of, translate

from fastlog.core import EXTRA, PLAIN, verdict_text
from fastlog.decode.texts import clean, text_of
from fastlog.record import Record


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


@pytest.mark.parametrize("text", ["", "a", "\0", "é", "ÿ\x80", "Ā", "я", "aя", "\ud800", "📜"])
def test_bytes_encoded_as_text_give_the_same_result(text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    args = b"X" + struct.pack("<I", len(data)) + data + b"X\6\0\0\0latin1\x86"
    plain = is_plain(opcodes_with(b"c_codecs\nencode\n" + args + b"R"))
    assert plain is all(char <= "\xff" for char in text)


@pytest.mark.parametrize("length", [*range(20), 4095, 4096, 70_000])
def test_a_text_is_escaped_in_a_line_at_every_place(length: int) -> None:
    """The code tests eight bytes at a time, so each place and each length is tried."""
    texts = ["x" * at + odd + "y" * (length - at - 1)
             for at in {0, 1, 6, 7, 8, 9, length - 2, length - 1} if 0 <= at < length
             for odd in '"\\\n\x1f\x7f\x01 é!'] + ["x" * length]  # fmt: skip
    for text in texts:
        assert is_plain(pickle.dumps({"msg": text, "name": text, "x": text}, 4))
