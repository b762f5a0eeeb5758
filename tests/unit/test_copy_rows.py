"""COPY data: from C and from Python the same bytes, and the values of the records in them."""

from __future__ import annotations

import pickle
import struct
from datetime import UTC, datetime, timedelta

import pytest
from builders import make_record
from decoding import block_of
from hypothesis import given, settings
from hypothesis import strategies as st
from translations import NODE

from fastlog import Translator
from fastlog.decode import Decoder, copy_rows
from fastlog.decode.c_engine import BOUNDS, columns


def frame(**fields: object) -> bytes:
    return pickle.dumps({"msg": "m", **fields}, 4)


def test_plain_frames_come_first_and_all_have_their_idx() -> None:
    block = block_of(frame(name="a"), b'{"msg":"json"}', b"junk", frame(name="b"))
    decoded = Decoder("c", "copy", NODE).decode(block)
    assert [idx for idx, _ in copy_rows.tuples(decoded.copy)] == [0, 3, 1]
    assert [record.message for record in copy_rows.decode(decoded.copy)] == ["m", "m", "json"]
    assert [notice.idx for notice in decoded.notices] == [2]
    assert [idx for idx, _ in copy_rows.tuples(decoded.without({0, 1}).copy)] == [3]


@settings(deadline=None)
@given(
    created=st.floats(-62_135_596_800.0, 253_402_300_799.0),
    number=st.none() | st.integers(-(1 << 63), (1 << 63) - 1),
    text=st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
)
def test_the_tuple_of_a_record_has_its_values(
    created: float, number: int | None, text: str | None
) -> None:
    record = make_record("é", created=created, thread=number, name=text, extra='{"a":[1]}', idx=70)
    encoded = copy_rows.encode(record, NODE)
    assert copy_rows.decode(encoded) == [record]
    assert encoded.endswith(struct.pack(">ii", 4, 70) + struct.pack(">i", 16) + NODE)


@settings(deadline=None)
@given(
    created=st.floats(-62_135_596_800.0, 253_402_300_799.0),
    number=st.integers(-(1 << 63), (1 << 63) - 1),
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
)
def test_c_writes_the_same_bytes_as_python(created: float, number: int, text: str) -> None:
    block = block_of(frame(created=created, thread=number, name=text, x=text))
    by_c, by_python = (Decoder(engine, "copy", NODE).decode(block) for engine in ("c", "python"))
    assert by_c.copy == by_python.copy


@pytest.mark.parametrize("seconds", [0.0, 0.1234565, 946_684_800.0, -1.5, 1_795_000_000.123456])
def test_a_time_is_rounded_to_the_nearest_microsecond(seconds: float) -> None:
    exact = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(
        microseconds=copy_rows.microseconds(seconds)
    )
    assert abs(exact.timestamp() - seconds) <= 0.5e-6 + 1e-9


def test_a_time_that_postgresql_cannot_have_is_cut() -> None:
    for seconds, expected in ((1e300, 9 * 10**18), (-1e300, -9 * 10**18)):
        assert copy_rows.microseconds(seconds) == expected
        translator = Translator(columns(), BOUNDS, form="copy")
        translator.begin(seconds, 0)
        body = frame()
        translator.run(struct.pack(">I", len(body)) + body, 1, 0, "h")
        assert bytes(translator.end().copy).count(struct.pack(">iq", 8, expected)) == 2


def test_the_node_has_sixteen_bytes() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        Translator(columns(), BOUNDS, form="copy", node=b"short")
