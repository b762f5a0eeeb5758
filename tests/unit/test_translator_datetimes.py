"""The translator renders datetimes, timedeltas and zones in any state as Python does."""

from __future__ import annotations

import datetime
import pickle
import zoneinfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from translations import frame_with, is_plain, is_read, opcodes_with, record_of

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
